"""Splits named late, for another day, wrongly, or taken back: night by night, the indicators stay continuous."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import numpy as np
import pandas as pd
import pytest

from quantmatrix_pipeline.indicators.catalogue import COLUMNS
from quantmatrix_pipeline.warehouse.engine import Warehouse
from quantmatrix_pipeline_tests.pipeline.running import Chain, Folder, sessions, walk

DAYS = sessions("2021-12-31", 60)
NIGHTS = DAYS[-5:]
EX = NIGHTS[2]  # on which the price splits, where it does
PRICES = ["open", "high", "low", "close"]
RATIOS = [c.name for c in COLUMNS if not c.level and not c.shares and not c.shared and c.kind == "float"]
LEVELS = ["close", *(c.name for c in COLUMNS if c.level)]


@dataclass(frozen=True)
class Story:
    """What happens to SPLIT, which walks as TWIN does.

    Attributes
    ----------
    traded
        New shares per old one from EX on.
    named
        For each night the splits that the source names: ex-date and ratio.
    continuous_from
        The first night from which on each night's indicators are those of TWIN the same night.
    reasons
        Why the claims that do not count don't, at the end.
    """

    traded: float
    named: tuple[tuple[tuple[date, str], ...], ...]
    continuous_from: int = 0
    reasons: tuple[str, ...] = ()
    check_fails_on: tuple[int, ...] = ()


def always(*splits: tuple[date, str], since: int = 0) -> tuple[tuple[tuple[date, str], ...], ...]:
    return tuple(splits if night >= since else () for night in range(len(NIGHTS)))


STORIES = {
    "named in time": Story(2, always((EX, "2"), since=2)),
    "announced two nights before": Story(2, always((EX, "2"))),
    "named a session late": Story(2, always((EX, "2"), since=3), continuous_from=3, check_fails_on=(2,)),
    "named for the session after": Story(
        2,
        always((NIGHTS[3], "2"), since=2),
        continuous_from=3,
        reasons=("prices_split_on_another_day",),
        check_fails_on=(2,),
    ),
    "named for the session before": Story(
        2, always((NIGHTS[1], "2"), since=1), reasons=("prices_split_on_another_day",)
    ),
    "named for the session after, then rightly": Story(
        2, (*always((NIGHTS[3], "2"))[:4], ((EX, "2"),)), continuous_from=3, check_fails_on=(2,)
    ),
    "wrong, against the prices": Story(1, always((EX, "4")), reasons=("refuted_by_prices",)),
    "wrong by ratio, then corrected": Story(
        2, (*always((EX, "3"))[:3], *always((EX, "2"))[3:]), continuous_from=3, check_fails_on=(2,)
    ),
    "wrong, too small for prices to tell, and taken back": Story(
        1, (*always((EX, "21/20"))[:4], ()), continuous_from=4
    ),
    "a reverse split, taken back and named again": Story(
        0.1, (*always((EX, "1/10"))[:3], (), ((EX, "1/10"),)), continuous_from=4, check_fails_on=(3,)
    ),
}


def market(traded: float) -> pd.DataFrame:
    twin = walk(["TWIN", "SPY"], DAYS)
    split = twin[twin["symbol"] == "TWIN"].assign(symbol="SPLIT", volume=lambda b: b["volume"].astype(float))
    split.loc[split["date"] >= EX, PRICES] /= traded
    split.loc[split["date"] >= EX, "volume"] *= traded
    return pd.concat([twin, split], ignore_index=True)


def newest(warehouse: Warehouse, symbol: str) -> pd.DataFrame:
    """Return the newest revision of every recorded session of a symbol."""
    rows = warehouse.rows(
        "SELECT DISTINCT ON (session) h.*"
        " FROM market_analysis_history h JOIN instrument_symbols s USING (instrument_id)"
        " WHERE s.symbol = :symbol ORDER BY session, revision DESC",
        symbol=symbol,
    )
    return pd.DataFrame([dict(row._mapping) for row in rows]).set_index("session")


def assert_walks_like_its_twin(warehouse: Warehouse, traded: float, days: list[date]) -> None:
    split, twin = newest(warehouse, "SPLIT").loc[days], newest(warehouse, "TWIN").loc[days]
    np.testing.assert_allclose(split[RATIOS].astype(float), twin[RATIOS].astype(float), rtol=1e-9, atol=1e-9)
    shares = np.where(np.array(days) >= EX, traded, 1.0)[:, None]
    np.testing.assert_allclose(split[LEVELS].astype(float) * shares, twin[LEVELS].astype(float), rtol=1e-9, atol=1e-9)


QUICK = ("named a session late",)  # the others are slow


@pytest.mark.parametrize("story", [pytest.param(s, marks=[pytest.mark.slow] * (s not in QUICK)) for s in STORIES])
def test_indicators_are_continuous_and_the_history_is_restated_where_it_must_be(
    chain: Chain, folder: Folder, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch, story: str
) -> None:
    told = STORIES[story]
    # Repair would put a bar between the two days right instead, which is as continuous; here the splits are settled.
    monkeypatch.setenv("QM_REPAIR", "false")
    monkeypatch.setenv("QM_HISTORY_SESSIONS", str(len(DAYS)))
    bars = market(told.traded)
    for number, night in enumerate(NIGHTS):
        splits = "".join(f"SPLIT,{ex_date},{ratio}\n" for ex_date, ratio in told.named[number])
        folder.write(bars[bars["date"] <= night], splits=f"symbol,ex_date,ratio\n{splits}")
        done = chain.run(night)
        assert done.success, done.errors
        if number >= told.continuous_from:
            assert_walks_like_its_twin(warehouse, told.traded, list(NIGHTS[: number + 1]))
        assert done.checks["splits_explain_the_prices"].passed == (number not in told.check_fails_on), night
    conflicts = warehouse.rows("SELECT reason FROM action_conflicts WHERE NOT in_force ORDER BY action_id")
    assert tuple(row.reason for row in conflicts) == told.reasons
    revisions = warehouse.scalar(
        "SELECT max(revision) FROM market_analysis_history h JOIN instrument_symbols s USING (instrument_id)"
        " WHERE s.symbol = 'SPLIT'"
    )
    assert (revisions > 1) == (told.continuous_from > 0), "what was recorded before is restated, and only then"
    assert warehouse.scalar("SELECT count(*) FROM bars WHERE gap_detected") == 0


def test_a_jump_that_nobody_explains_is_held_and_the_check_shows_it(
    chain: Chain, folder: Folder, warehouse: Warehouse
) -> None:
    folder.write(market(2), splits="symbol,ex_date,ratio\n")
    check = chain.run(NIGHTS[-1]).checks["splits_explain_the_prices"]
    assert not check.passed
    assert check.metadata["held_jumps"].value == 1
    (jump,) = (dict(record.data) for record in check.metadata["jumps"].records)
    assert (jump["symbol"], jump["session"], jump["vendor"]) == ("SPLIT", str(EX), "files")
    held = warehouse.rows(
        "SELECT symbol, session, gap_detected, validated, quality_score FROM bars WHERE NOT validated"
    )
    assert [tuple(row) for row in held] == [("SPLIT", EX, True, False, 0.8)]
