"""A split between two fetches moves no ratio, and puts levels into the shares of the session that they belong to."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from quantmatrix_pipeline.indicators.catalogue import COLUMNS
from quantmatrix_pipeline.warehouse.engine import Warehouse
from quantmatrix_pipeline_tests.pipeline.running import Chain, Folder, hashes, sessions, walk

DAYS = sessions("2021-12-31", 262)
BEFORE, AFTER = DAYS[-2], DAYS[-1]
LEVELS = ["close", *(c.name for c in COLUMNS if c.level)]
SHARES = [c.name for c in COLUMNS if c.shares]
RATIOS = [c.name for c in COLUMNS if not c.level and not c.shares and c.kind == "float"]
PRICES = ["open", "high", "low", "close"]


def twins(ratio: float) -> pd.DataFrame:
    """TWIN never splits; SPLIT walks the same way and trades in `ratio` new shares per old one from AFTER on."""
    twin = walk(["TWIN", "SPY"], DAYS)
    split = twin[twin["symbol"] == "TWIN"].assign(symbol="SPLIT", volume=lambda b: b["volume"].astype(float))
    split.loc[split["date"] >= AFTER, PRICES] /= ratio
    split.loc[split["date"] >= AFTER, "volume"] *= ratio
    return pd.concat([twin, split], ignore_index=True)


def analysis(warehouse: Warehouse, symbol: str, session: object) -> pd.Series:
    rows = warehouse.rows(
        "SELECT h.* FROM market_analysis_history h JOIN instrument_symbols s USING (instrument_id)"
        " WHERE s.symbol = :symbol AND h.session = :session",
        symbol=symbol,
        session=session,
    )
    assert len(rows) == 1
    return pd.Series(dict(rows[0]._mapping))


@pytest.fixture
def two_nights(chain: Chain, folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QM_HISTORY_SESSIONS", str(len(DAYS)))


@pytest.mark.parametrize(("written", "ratio"), [("2", 2.0), ("3/2", 1.5), ("1/10", 0.1)])
def test_a_split_between_two_fetches_moves_no_ratio_and_levels_are_in_the_sessions_unit(
    chain: Chain, folder: Folder, warehouse: Warehouse, two_nights: None, written: str, ratio: float
) -> None:
    bars = twins(ratio)
    folder.write(bars[bars["date"] <= BEFORE], splits="symbol,ex_date,ratio\n")
    assert chain.run(BEFORE).success
    recorded = analysis(warehouse, "SPLIT", BEFORE)
    folder.write(bars, splits=f"symbol,ex_date,ratio\nSPLIT,{AFTER},{written}\n")
    done = chain.run(AFTER)
    assert done.facts["daily_bars"]["asked"].startswith("3 symbols, 3 sessions"), "nothing is fetched again for a split"
    assert done.facts["daily_bars"]["flagged"] == 0, "a known split is no gap and no volume spike"

    split, twin = analysis(warehouse, "SPLIT", AFTER), analysis(warehouse, "TWIN", AFTER)
    np.testing.assert_allclose(split[RATIOS].astype(float), twin[RATIOS].astype(float), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(split[LEVELS].astype(float) * ratio, twin[LEVELS].astype(float), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(split[SHARES].astype(float) / ratio, twin[SHARES].astype(float), rtol=1e-9)
    assert (split["ma_aligned"], split["ma_bucket"]) == (twin["ma_aligned"], twin["ma_bucket"])
    pd.testing.assert_series_equal(analysis(warehouse, "SPLIT", BEFORE), recorded)

    again = chain.run(BEFORE)
    assert again.facts["indicator_history"]["unchanged"] == 3, "a later split changes nothing about a session before it"


def test_a_split_that_the_source_does_not_know_is_flagged_as_a_gap(
    chain: Chain, folder: Folder, warehouse: Warehouse, two_nights: None
) -> None:
    folder.write(twins(2.0))
    done = chain.run(AFTER)
    reasons = {row["reason"]: row["bars"] for row in done.rows("daily_bars", "reasons")}
    assert reasons == {"gap": 1, "split_like": 1}
    flagged = warehouse.rows("SELECT symbol, session FROM bars WHERE gap_detected")
    assert [tuple(row) for row in flagged] == [("SPLIT", AFTER)]


def test_a_split_that_arrives_late_takes_the_gap_back_and_restates_its_sessions(
    chain: Chain, folder: Folder, warehouse: Warehouse, two_nights: None
) -> None:
    bars = twins(2.0)
    # The split trades from the second last session on; the source says so a session later.
    early = (bars["symbol"] == "SPLIT") & (bars["date"] == BEFORE)
    bars.loc[early, PRICES] /= 2
    bars.loc[early, "volume"] *= 2
    folder.write(bars[bars["date"] <= BEFORE], splits="symbol,ex_date,ratio\n")
    chain.run(BEFORE)
    wrong = analysis(warehouse, "SPLIT", BEFORE)
    folder.write(bars, splits=f"symbol,ex_date,ratio\nSPLIT,{BEFORE},2\n")
    late = chain.run(AFTER)
    assert late.facts["daily_bars"]["rescored"] == 1
    assert warehouse.scalar("SELECT count(*) FROM price_data WHERE gap_detected") == 0
    split, twin = analysis(warehouse, "SPLIT", AFTER), analysis(warehouse, "TWIN", AFTER)
    np.testing.assert_allclose(split[RATIOS].astype(float), twin[RATIOS].astype(float), rtol=1e-9, atol=1e-9)

    assert late.facts["indicator_history"]["restated"] == 1, (
        "the night that learns of the split restates what it touches"
    )
    revisions = warehouse.rows(
        "SELECT revision, sma_5 FROM market_analysis_history h JOIN instrument_symbols s USING (instrument_id)"
        " WHERE symbol = 'SPLIT' AND session = :session ORDER BY revision",
        session=BEFORE,
    )
    assert [row.revision for row in revisions] == [1, 2]
    assert revisions[0].sma_5 == wrong["sma_5"], "what was recorded then is still there"
    twin_before = analysis(warehouse, "TWIN", BEFORE)
    assert revisions[1].sma_5 * 2 == pytest.approx(twin_before["sma_5"], rel=1e-12)
    settled = hashes(warehouse)
    assert chain.run(BEFORE).facts["indicator_history"]["restated"] == 0
    assert hashes(warehouse) == settled
