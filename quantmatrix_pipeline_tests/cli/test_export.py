"""`qm export`: the file holds what SQL says, in each of the formats."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import psycopg
import pytest

from quantmatrix_pipeline_tests.cli.conftest import Done, Installation

SELECTIONS = {
    "bars": "SELECT symbol, session, open, high, low, close, volume, quality_score, vendor, basis FROM bars",
    "snapshots": "SELECT symbol, session, close, rsi, sma_20, atr_14, ma_bucket"
    " FROM market_analysis_cache JOIN symbols USING (instrument_id)",
    "history": "SELECT symbol, session, revision, close, rsi, sma_20, atr_14, ma_bucket"
    " FROM market_analysis_history JOIN symbols USING (instrument_id)",
}
READERS: dict[str, Callable[[Path], pd.DataFrame]] = {
    "parquet": pd.read_parquet,
    "csv": pd.read_csv,
    "arrow": pd.read_feather,
}


def by_sql(installation: Installation, what: str) -> pd.DataFrame:
    with psycopg.connect(installation.url) as connection:
        cursor = connection.execute(f'{SELECTIONS[what]} ORDER BY symbol COLLATE "C", session')
        return pd.DataFrame(cursor.fetchall(), columns=[column.name for column in cursor.description or ()])


def export(installation: Installation, file: Path, what: str, *more: str) -> Done:
    return installation.qm("export", what, "--format", file.suffix[1:], "--output", str(file), *more)


@pytest.mark.parametrize("suffix", READERS)
@pytest.mark.parametrize("what", SELECTIONS)
def test_an_exported_file_equals_sql(filled: Installation, tmp_path: Path, what: str, suffix: str) -> None:
    file = tmp_path / f"out.{suffix}"
    done = export(filled, file, what)
    assert done.code == 0, done.stderr
    expected = by_sql(filled, what)
    assert len(expected) > 0
    assert f"{len(expected):,} rows" in done.stdout
    written = READERS[suffix](file)
    assert {"instrument_id", "source_id"}.isdisjoint(written.columns)
    written, expected = (
        t[list(expected.columns)].assign(session=pd.to_datetime(t.session).dt.date) for t in (written, expected)
    )
    pd.testing.assert_frame_equal(written, expected, check_dtype=False, check_exact=True)
    assert list(tmp_path.glob("*.part")) == []


def test_symbols_and_days_are_chosen_with_both_ends_inclusive(filled: Installation, tmp_path: Path) -> None:
    first, last = filled.folder.sessions[-20], filled.folder.sessions[-10]
    days = ["--start", str(first), "--end", str(last)]
    export(filled, tmp_path / "some.parquet", "bars", "--symbol", "S003", "--symbol", "s004", *days)
    written = pd.read_parquet(tmp_path / "some.parquet")
    expected = by_sql(filled, "bars")
    expected = expected[expected.symbol.isin(["S003", "S004"]) & expected.session.between(first, last)]
    assert list(zip(written.symbol, written.session, strict=True)) == list(
        zip(expected.symbol, expected.session, strict=True)
    )


def test_an_unknown_symbol_writes_no_file(filled: Installation, tmp_path: Path) -> None:
    done = export(filled, tmp_path / "none.csv", "bars", "--symbol", "NOBODY")
    assert done.code == 2
    assert "NOBODY" in done.error
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there_is_named(filled: Installation, tmp_path: Path) -> None:
    done = export(filled, tmp_path / "nowhere" / "bars.csv", "bars")
    assert done.code == 2
    assert "nowhere" in done.error


def test_bars_are_exported_in_the_series_asked_for_with_the_factor_beside_each_price(
    filled: Installation, tmp_path: Path
) -> None:
    export(filled, tmp_path / "stored.parquet", "bars")
    stored = pd.read_parquet(tmp_path / "stored.parquet")
    assert set(stored["factor"]) == {1.0}
    assert stored["adjust"].isna().all()
    done = export(filled, tmp_path / "total.parquet", "bars", "--adjust", "total_return", "--convention", "ex_close")
    assert done.code == 0, done.stderr
    total = pd.read_parquet(tmp_path / "total.parquet")
    assert (set(total["adjust"]), set(total["convention"])) == ({"total_return"}, {"ex_close"})
    assert list(zip(total.symbol, total.session, strict=True)) == list(zip(stored.symbol, stored.session, strict=True))
    np.testing.assert_allclose(total["close"], stored["close"] * total["factor"], rtol=1e-15)
    np.testing.assert_allclose(total["volume"], stored["volume"] * total["volume_factor"], rtol=1e-15)
