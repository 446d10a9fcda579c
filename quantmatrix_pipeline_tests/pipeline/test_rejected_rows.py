"""Rows that are no bars: the sound ones beside them are stored, each refusal has its reason, and the counts add up."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from quantmatrix_pipeline.warehouse import audit
from quantmatrix_pipeline.warehouse.engine import Warehouse
from quantmatrix_pipeline.warehouse.row_counts import RowCounter
from quantmatrix_pipeline_tests.pipeline.running import Chain, Folder, hashes, sessions, walk
from quantmatrix_pipeline_tests.shared_data import shared_data

DAYS = sessions("2021-12-31", 30)
TONIGHT = DAYS[-1]
SATURDAY = pd.Timestamp("2021-12-18").date()


def add_up(facts: dict[str, Any], rows_in: int) -> bool:
    stored: int = facts["inserted"] + facts["revised"] + facts["unchanged"]
    rejected: int = facts["rejected"]
    return stored + rejected == rows_in


@pytest.fixture
def spoilt() -> pd.DataFrame:
    """Two symbols of 30 bars; three of AAA's are broken, and a Saturday's stands among them."""
    bars = walk(["AAA", "SPY"], DAYS).astype({"volume": float})
    at = bars.index[bars["symbol"] == "AAA"]
    bars.loc[at[5], "high"] = bars.loc[at[5], "low"] / 2
    bars.loc[at[6], "close"] = float("nan")
    bars.loc[at[7], "volume"] = -5
    return pd.concat([bars, bars.loc[[at[8]]].assign(date=SATURDAY)], ignore_index=True)


def test_sound_rows_are_stored_and_the_broken_ones_logged_with_their_reasons(
    chain: Chain, folder: Folder, warehouse: Warehouse, spoilt: pd.DataFrame
) -> None:
    folder.write(spoilt)
    done = chain.run(TONIGHT)
    assert done.success
    facts = done.facts["daily_bars"]
    assert (facts["inserted"], facts["rejected"]) == (57, 4)
    assert add_up(facts, len(spoilt))
    logged = warehouse.rows("SELECT session, reason_codes FROM validation_log WHERE symbol = 'AAA' ORDER BY session")
    assert {row.session: set(row.reason_codes) for row in logged} == {
        DAYS[5]: {"high_below_open_close", "high_below_low"},
        DAYS[6]: {"not_finite"},
        DAYS[7]: {"negative_volume"},
        SATURDAY: {"not_a_session"},
    }
    assert done.checks["bars_obey_the_rules"].passed


def test_the_share_of_validated_bars_is_that_of_the_runs_sessions(
    chain: Chain, folder: Folder, warehouse: Warehouse
) -> None:
    quiet = walk(["AAA", "BBB", "SPY"], DAYS)
    quiet.loc[(quiet["symbol"] == "AAA") & (quiet["date"] == TONIGHT), "volume"] = 100_000_000  # a spike costs 0.2
    quiet.loc[(quiet["symbol"] == "BBB") & (quiet["date"] == DAYS[-2]), "volume"] = 100_000_000
    folder.write(quiet)
    facts = chain.run(TONIGHT).facts["daily_bars"]
    assert (facts["inserted"], facts["flagged"]) == (90, 2)
    assert facts["validated_share"] == pytest.approx(2 / 3, rel=1e-15)
    assert audit.validated_share(warehouse, DAYS[-2], TONIGHT) == pytest.approx(4 / 6, rel=1e-15)
    assert audit.validated_share(warehouse, SATURDAY, SATURDAY) is None


def test_a_nights_bars_are_flagged_from_the_thresholds_that_are_set(
    chain: Chain, folder: Folder, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    bars = walk(["AAA", "BBB", "SPY"], DAYS)
    at_end = bars["date"] == TONIGHT
    bars.loc[(bars["symbol"] == "AAA") & at_end, "volume"] = 100_000_000  # a spike by default
    bars.loc[(bars["symbol"] == "BBB") & at_end, "volume"] = 400_000  # a drop for who sets it so
    folder.write(bars)
    monkeypatch.setenv("QM_VOLUME_SPIKE", "1000")
    monkeypatch.setenv("QM_VOLUME_DROP", "0.5")
    monkeypatch.setenv("QM_VALIDATED_QUALITY", "0.95")
    assert chain.run(TONIGHT).facts["daily_bars"]["validated_share"] == pytest.approx(2 / 3, rel=1e-15)
    flagged = warehouse.rows("SELECT symbol, session, quality_score, volume_anomaly FROM bars WHERE NOT validated")
    assert [tuple(row) for row in flagged] == [("BBB", TONIGHT, 0.9, True)]


def test_a_hole_that_was_refused_says_so_and_a_weekends_row_fills_none(
    chain: Chain, folder: Folder, spoilt: pd.DataFrame
) -> None:
    folder.write(spoilt)
    check = chain.run(TONIGHT).checks["no_session_missing_inside_a_life"]
    (worst,) = [r.data for r in check.metadata["worst"].value.records]
    assert (worst["symbol"], worst["missing"], worst["rejected"]) == ("AAA", 3, 3)


def test_the_same_refusals_again_stand_in_the_log_once(
    chain: Chain, folder: Folder, warehouse: Warehouse, spoilt: pd.DataFrame
) -> None:
    folder.write(spoilt)
    chain.run(TONIGHT)
    before = hashes(warehouse, ["validation_log", "price_data"])
    again = chain.run(TONIGHT)
    assert again.facts["daily_bars"]["asked"].startswith("1 symbols, 3 sessions")
    assert hashes(warehouse, ["validation_log", "price_data"]) == before
    assert warehouse.scalar("SELECT count(*) FROM validation_log") == 4


def test_the_real_rows_that_break_rules_are_refused_to_the_last_and_nothing_of_them_is_stored(
    chain: Chain, folder: Folder, warehouse: Warehouse
) -> None:
    real = pd.read_parquet(shared_data("bad_rows", "rule_violations.parquet"))
    real["date"] = pd.to_datetime(real["date"]).dt.date
    session = real["date"].mode()[0]  # the day on which that vendor served most of them
    inside = real[real["date"] == session]
    folder.write(pd.concat([inside, walk(["SPY"], sessions(str(session), 30))], ignore_index=True))
    done = chain.run(session)
    facts = done.facts["daily_bars"]
    assert (facts["rejected"], facts["inserted"]) == (len(inside), 30)
    assert len(inside) >= 50
    assert warehouse.scalar("SELECT count(*) FROM validation_log") == len(inside)
    assert warehouse.scalar("SELECT count(*) FROM bars WHERE symbol <> 'SPY'") == 0


def test_a_folder_without_one_usable_bar_fails_in_one_clear_line_and_writes_no_bar(
    chain: Chain, folder: Folder, warehouse: Warehouse
) -> None:
    folder.path.mkdir()
    (folder.path / "source.toml").write_text('[[bars]]\npath = "bars.csv"\nbasis = "raw"\n')
    (folder.path / "bars.csv").write_text("<html>404 not found</html>\n")
    done = chain.run(TONIGHT)
    assert not done.success
    (error,) = set(done.errors.values())
    assert "bars.csv" in error
    assert RowCounter()(warehouse)["price_data"] == 0
