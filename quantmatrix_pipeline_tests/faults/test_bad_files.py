"""Broken files through the whole chain: the wrong is logged with its reason, the sound is stored, the counts add up."""

from __future__ import annotations

import json
import shutil
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psycopg
import pytest

from quantmatrix_pipeline.bars.sessions import trading_calendar
from quantmatrix_pipeline_tests.faults import chain
from quantmatrix_pipeline_tests.faults.folders import frame
from quantmatrix_pipeline_tests.fingerprint import fingerprints
from quantmatrix_pipeline_tests.shared_data import shared_data

SESSIONS: list[date] = trading_calendar("XNYS").sessions_in(date(2021, 11, 1), date(2021, 12, 31)).tolist()
DECLARED = '[[bars]]\npath = "."\nbasis = "raw"\n'


def environment(folder: Path, url: str, last: date = SESSIONS[-1], depth: int = len(SESSIONS)) -> dict[str, str]:
    return {
        "QM_DATABASE_URL": url,
        "QM_SOURCE": "files",
        "QM_FILES_DIR": str(folder),
        "QM_NOW": f"{last}T23:30:00Z",
        "QM_HISTORY_SESSIONS": str(depth),
        "QM_BENCHMARK": "AAA",
        "QM_WIKIPEDIA_BASE_URL": "http://127.0.0.1:9",
    }


def ingest(folder: Path, url: str, data_dir: Path, **options: Any) -> dict[str, Any]:
    """Run the chain and return what the asset of the bars says of itself; the counts must add up by SQL as well."""
    qm = chain.run(["run", "--json"], environment(folder, url, **options), data_dir)
    report = json.loads(next(line for line in qm.output.splitlines() if line.startswith("{")))
    bars: dict[str, Any] = report["facts"]["daily_bars"]
    assert query(url, "SELECT count(*) FROM price_data") == [(bars["inserted"],)]
    assert query(url, "SELECT count(*) FROM validation_log") == [(bars["rejected"],)]
    assert query(url, "SELECT count(*) FROM validation_log WHERE reason_codes = '{}' OR payload = '{}'") == [(0,)]
    return bars


def query(url: str, statement: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(url) as connection:
        return connection.execute(statement).fetchall()


def log(url: str) -> list[tuple[str | None, date | None, tuple[str, ...]]]:
    rows = query(url, "SELECT symbol, session, reason_codes FROM validation_log ORDER BY symbol, session, log_id")
    return [(symbol, session, tuple(codes)) for symbol, session, codes in rows]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "files"
    path.mkdir()
    (path / "source.toml").write_text(DECLARED)
    return path


def test_every_kind_of_broken_row_is_logged_with_its_reason_and_the_sound_rows_beside_it_are_stored(
    folder: Path, empty_database_url: str, data_dir: Path
) -> None:
    bars = frame(["AAA", "BBB", "CCC"], SESSIONS, seed=1)
    rows = bars.symbol == "BBB"
    at = bars.index[rows]
    bars.loc[at[3], "close"] = np.nan
    bars.loc[at[5], "high"] = bars.loc[at[5], "low"] / 2
    bars.loc[at[7], "low"] = bars.loc[at[7], "high"] * 2
    bars.loc[at[9], "open"] = 0.0
    bars.loc[at[11], ["open", "high", "low", "close"]] *= -1
    bars.loc[at[13], "volume"] = -5.0
    same, other = bars.loc[[at[15]]], bars.loc[[at[17]]].assign(close=lambda row: row.low)
    friday = next(day for day in SESSIONS[20:] if day.weekday() == 4)
    weekend = bars.loc[[at[19]]].assign(date=friday + timedelta(days=1))
    pd.concat([bars, same, other, weekend]).to_parquet(folder / "bars.parquet", index=False)

    done = ingest(folder, empty_database_url, data_dir)

    day = [SESSIONS[i] for i in range(len(SESSIONS))]
    found = [(session, codes) for symbol, session, codes in log(empty_database_url) if symbol == "BBB"]
    assert found == sorted(
        [
            (day[3], ("not_finite",)),
            (day[5], ("high_below_open_close", "high_below_low")),
            (day[7], ("low_above_open_close", "high_below_low")),
            (day[9], ("not_positive", "low_above_open_close")),
            (day[11], ("not_positive", "high_below_open_close", "low_above_open_close", "high_below_low")),
            (day[13], ("negative_volume",)),
            (day[15], ("duplicate",)),
            (day[17], ("conflicting_duplicate",)),
            (day[17], ("conflicting_duplicate",)),
            (friday + timedelta(days=1), ("not_a_session",)),
        ]
    )
    assert len(log(empty_database_url)) == len(found)
    refused = {3, 5, 7, 9, 11, 13, 17}
    assert query(empty_database_url, "SELECT symbol, count(*) FROM bars GROUP BY symbol ORDER BY symbol") == [
        ("AAA", len(SESSIONS)),
        ("BBB", len(SESSIONS) - len(refused)),
        ("CCC", len(SESSIONS)),
    ]
    assert done["inserted"] + done["rejected"] == len(bars) + 3
    negative = query(
        empty_database_url, "SELECT payload FROM validation_log WHERE 'negative_volume' = ANY (reason_codes)"
    )
    written = bars.loc[at[13]]
    assert negative == [({name: float(written[name]) for name in ("open", "high", "low", "close", "volume")},)]


def test_the_same_broken_folder_read_again_logs_nothing_twice(
    folder: Path, empty_database_url: str, data_dir: Path
) -> None:
    bars = frame(["AAA", "BBB"], SESSIONS, seed=2)
    bars.loc[4, "high"] = 0.01
    bars.to_parquet(folder / "bars.parquet", index=False)
    ingest(folder, empty_database_url, data_dir)
    before = fingerprints(empty_database_url)
    chain.run(["run"], environment(folder, empty_database_url), data_dir)
    assert fingerprints(empty_database_url) == before
    assert len(log(empty_database_url)) == 1


def test_a_cell_of_the_wrong_type_and_lines_that_are_none_cost_only_themselves(
    folder: Path, empty_database_url: str, data_dir: Path
) -> None:
    bars = frame(["AAA"], SESSIONS, seed=3).drop(columns="symbol").astype(object)
    bars.loc[2, "open"] = "n/a yet"
    bars.loc[4, "date"] = "2021-13-45"
    lines = bars.to_csv(index=False).splitlines()
    lines[10:10] = ['{"error": "rate limited"}', "12,13"]
    (folder / "AAA.csv").write_text("\n".join(lines) + "\n")

    done = ingest(folder, empty_database_url, data_dir)

    assert done["inserted"] == len(SESSIONS) - 2
    reasons = sorted(codes for _, _, codes in log(empty_database_url))
    assert reasons == [("bad_date",), ("unreadable_row",), ("unreadable_row",), ("wrong_type",)]
    (typed,) = query(
        empty_database_url,
        "SELECT symbol, detail, payload ->> 'open' FROM validation_log WHERE reason_codes = '{wrong_type}'",
    )
    assert typed == ("AAA", "AAA.csv: row 4, column 'open': 'n/a yet'", "n/a yet")


def test_a_truncated_parquet_is_reported_by_its_name_and_the_other_files_are_stored(
    folder: Path, empty_database_url: str, data_dir: Path
) -> None:
    frame(["AAA"], SESSIONS, seed=4).to_parquet(folder / "AAA.parquet", index=False)
    frame(["BBB"], SESSIONS, seed=5).to_parquet(folder / "BBB.parquet", index=False)
    whole = (folder / "BBB.parquet").read_bytes()
    (folder / "BBB.parquet").write_bytes(whole[: len(whole) // 2])

    done = ingest(folder, empty_database_url, data_dir)

    assert done["inserted"] == len(SESSIONS)
    assert log(empty_database_url) == [("BBB", None, ("unreadable_file",))]
    (detail,) = query(empty_database_url, "SELECT detail FROM validation_log")
    assert "BBB.parquet" in detail[0]


def test_a_symbol_that_no_file_knows_keeps_its_error_and_takes_nothing_from_the_others(
    folder: Path, empty_database_url: str, data_dir: Path
) -> None:
    frame(["AAA", "BBB"], SESSIONS, seed=6).to_parquet(folder / "bars.parquet", index=False)
    chain.run(["symbols", "add", "GHOST"], environment(folder, empty_database_url), data_dir)
    done = ingest(folder, empty_database_url, data_dir)
    assert done["failed_symbols"] == 1
    assert query(empty_database_url, "SELECT symbol, count(*) FROM bars GROUP BY symbol ORDER BY symbol") == [
        ("AAA", len(SESSIONS)),
        ("BBB", len(SESSIONS)),
    ]


def test_the_real_bad_rows_are_refused_one_and_all_or_stored_and_the_counts_add_up(
    folder: Path, empty_database_url: str, data_dir: Path
) -> None:
    real = pd.read_parquet(shared_data("bad_rows", "rule_violations.parquet"))
    real.to_parquet(folder / "real.parquet", index=False)
    days = pd.to_datetime(real.date)
    depth = len(trading_calendar("XNYS").sessions_in(days.min().date(), days.max().date()))

    done = ingest(folder, empty_database_url, data_dir, last=days.max().date(), depth=depth)

    prices = real[["open", "high", "low", "close"]]
    broken = (
        prices.isna().any(axis=1)
        | (prices <= 0).any(axis=1)
        | (real.high < real[["open", "close"]].max(axis=1))
        | (real.low > real[["open", "close"]].min(axis=1))
        | ~(real.volume >= 0)
    )
    assert broken.sum() > 200
    assert done["inserted"] + done["rejected"] == len(real)
    assert done["rejected"] >= broken.sum()
    by_rules = "('high_below_open_close', 'low_above_open_close', 'high_below_low', 'not_positive', 'not_finite')"
    refused = query(
        empty_database_url,
        f"SELECT count(*) FROM validation_log WHERE EXISTS (SELECT FROM unnest(reason_codes) c WHERE c IN {by_rules})",
    )
    assert refused == [(int(broken.sum()),)]


def test_real_error_pages_in_place_of_files_are_reported_and_the_real_file_beside_them_is_used(
    folder: Path, empty_database_url: str, data_dir: Path
) -> None:
    for name in ("BRK.B.csv", "CCL.csv", "ZTS.csv"):
        shutil.copy(shared_data("bad_rows", name), folder / name)
    newest = date(2020, 1, 2)
    done = ingest(folder, empty_database_url, data_dir, last=newest, depth=300)
    assert done["inserted"] > 0
    assert query(empty_database_url, "SELECT DISTINCT symbol FROM bars") == [("CCL",)]
    reported = {symbol for symbol, _, codes in log(empty_database_url) if codes == ("unreadable_file",)}
    assert reported == {"BRK.B", "ZTS"}


@pytest.mark.parametrize("content", ["nothing", "an error page", "no declaration"])
def test_a_folder_without_anything_usable_is_one_line_a_code_and_an_untouched_warehouse(
    folder: Path, database_url: str, data_dir: Path, content: str
) -> None:
    if content == "an error page":
        (folder / "AAA.csv").write_text("<html><body>502 Bad Gateway</body></html>\n")
    elif content == "no declaration":
        (folder / "source.toml").unlink()
    before = fingerprints(database_url)
    qm = chain.start(["run"], environment(folder, database_url), data_dir)
    assert qm.wait() not in (0, None)
    lines = [line for line in qm.output.splitlines() if line.strip()]
    assert len(lines) == 1
    assert lines[0].startswith("error")
    assert str(folder) in lines[0]
    assert fingerprints(database_url) == before
