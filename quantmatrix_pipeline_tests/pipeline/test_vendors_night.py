"""Nights of the whole chain with vendors as its source: who was asked for what, who served, what stayed undone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest

from quantmatrix_pipeline.indicators.catalogue import COLUMNS
from quantmatrix_pipeline.warehouse.engine import Warehouse
from quantmatrix_pipeline_tests.pipeline.running import CALENDAR, Chain, Outcome, hashes, walk
from quantmatrix_pipeline_tests.vendor_server import (
    KEYS,
    Market,
    SplitOf,
    Trouble,
    Vendors,
    at,
    broken,
    garbage,
    limited,
    premium,
    vendors,
)

NEWEST = CALENDAR.newest_closed(datetime.now(UTC), timedelta(minutes=30))
DAYS: list[date] = list(CALENDAR.window(NEWEST, 42).tolist())
BEFORE, NIGHT = DAYS[-2], DAYS[-1]
DEPTH = 40
DOW = [f"DJ{chr(65 + n // 10)}{chr(65 + n % 10)}" for n in range(30)]
SPLIT, TWIN = DOW[0], DOW[1]  # walk alike, until one of them splits
LACKED = DOW[7]  # not in the whole market
STALE = DOW[8]  # in the whole market until the night
NOBODYS = DOW[9]
PRICES = ["open", "high", "low", "close"]
TRACKED = len(DOW) + 1  # and SPY


def market() -> Market:
    bars = walk([*DOW, "SPY"], DAYS)
    bars = bars[~bars["symbol"].isin([SPLIT, NOBODYS])]
    split = bars[bars["symbol"] == TWIN].assign(symbol=SPLIT).astype(dict.fromkeys([*PRICES, "volume"], float))
    after = split["date"] >= NIGHT
    split.loc[after, PRICES] /= 2
    split.loc[after, "volume"] *= 2
    return Market(
        pd.concat([bars, split], ignore_index=True),
        splits=[SplitOf(SPLIT, NIGHT, 2, 1)],
        members=DOW,
        lacking={"polygon": {LACKED}, "fmp": set(DOW), "yfinance": {LACKED}},
        ends={("polygon", STALE): BEFORE},
    )


@pytest.fixture
def served(environment: None, database_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> Iterator[Vendors]:
    """A user of the vendors with their keys, unlimited budgets, and members from where they are free."""
    with vendors(market()) as running:
        running.enter(monkeypatch, "finnhub", "twelve_data", "polygon", "fmp")
        for name, value in {
            "QM_DATABASE_URL": database_url,
            "QM_DATA_DIR": str(tmp_path / "data"),
            "QM_SOURCE": "vendors",
            "QM_HISTORY_SESSIONS": str(DEPTH),
            "QM_RECHECK_SESSIONS": "0",
            "QM_BENCHMARK": "SPY",
            "QM_POLYGON_BUDGET": "none",
            "QM_TWELVE_DATA_BUDGET": "none",
            "QM_BUDGET_WAIT_SECONDS": "0",
        }.items():
            monkeypatch.setenv(name, value)
        yield running


def vendors_of(warehouse: Warehouse, session: date) -> dict[str, str]:
    """Return symbol -> the vendor whose bar of a session is stored."""
    found = warehouse.rows("SELECT symbol, vendor FROM bars WHERE session = :session", session=session)
    return {row.symbol: row.vendor for row in found}


def requests_of(warehouse: Warehouse, done: Outcome) -> dict[tuple[str, str], Any]:
    """Return (vendor, capability) -> the row of `provider_requests` that a run wrote; at most one each."""
    found = warehouse.rows("SELECT * FROM provider_requests WHERE run_id = :run", run=done.run_id)
    assert len({(row.vendor, row.capability, row.started_at) for row in found}) == len(found)
    return {(row.vendor, row.capability): row for row in found}


def failures(done: Outcome) -> dict[str, str]:
    assert done.success, done.errors
    if done.facts["daily_bars"]["failures"] == "none":
        return {}
    return {row["symbol"]: row["why"] for row in done.rows("daily_bars", "failures")}


def kinds(served: Vendors) -> Counter[str]:
    """Return how often Polygon was asked which kind of question."""
    return Counter("/".join(call.path.split("/")[2:5]) for call in served.calls("polygon"))


def test_a_first_load_comes_by_symbol_and_the_next_session_by_one_call_for_the_whole_market(
    chain: Chain, served: Vendors, warehouse: Warehouse
) -> None:
    first = chain.run(BEFORE)
    assert set(failures(first)) == {NOBODYS}
    # 40 sessions by date are more calls than 31 symbols in batches of 8; of one whose price jumped splits are asked.
    assert kinds(served) == {"v3/reference/splits": 1}
    assert len(served.calls("twelve_data")) == 4
    assert set(vendors_of(warehouse, BEFORE).values()) == {"twelve_data"}
    assert warehouse.scalar("SELECT count(*) FROM bars") == (TRACKED - 1) * DEPTH

    served.forget()
    second = chain.run(NIGHT)
    told = failures(second)
    assert set(told) == {NOBODYS}
    for reason in ("polygon: ", "twelve_data: ", "yfinance: ", "finnhub: not in this plan", "ALPHA_VANTAGE_API_KEY"):
        assert reason in told[NOBODYS]
    assert kinds(served) == {"v2/aggs/grouped": 1, "v3/reference/splits": 1, "v3/reference/dividends": 1}
    (batch,) = served.calls("twelve_data")
    assert set(batch.query["symbol"].split(",")) == {LACKED, STALE, NOBODYS}
    assert [call.path.rsplit("/", 1)[1] for call in served.calls("yfinance", "/v8/finance/chart")] == [NOBODYS]
    others = {LACKED: "twelve_data", STALE: "twelve_data"}
    assert vendors_of(warehouse, NIGHT) == {
        symbol: others.get(symbol, "polygon") for symbol in [*DOW, "SPY"] if symbol != NOBODYS
    }
    assert (second.facts["daily_bars"]["inserted"], second.facts["daily_bars"]["splits"]) == (TRACKED - 1, 1)

    facts = hashes(warehouse, ("price_data", "price_data_revisions", "corporate_actions", "market_analysis_history"))
    served.forget()
    third = chain.run(NIGHT)
    assert set(failures(third)) == {NOBODYS}
    assert third.facts["daily_bars"]["asked"].startswith("1 symbols, ")
    assert kinds(served) == {}
    assert {call.query["symbol"] for call in served.calls("twelve_data")} == {NOBODYS}
    assert hashes(warehouse, tuple(facts)) == facts


def test_once_all_is_there_a_run_asks_nobody_for_bars(chain: Chain, served: Vendors, warehouse: Warehouse) -> None:
    served.market.lacking = {}
    served.market.ends = {}
    served.market.bars = walk([*DOW, "SPY"], DAYS)
    assert failures(chain.run(NIGHT)) == {}
    served.forget()
    again = chain.run(NIGHT)
    assert failures(again) == {}
    assert again.facts["daily_bars"]["asked"].startswith("0 symbols, 0 sessions")
    assert set(served.count()) <= {"wikipedia", "fmp"}, "members are asked for again, bars are not"
    assert again.facts["daily_bars"]["vendor_requests"] == "none"


def test_a_split_that_the_markets_splits_tell_moves_no_ratio(
    chain: Chain, served: Vendors, warehouse: Warehouse
) -> None:
    assert chain.run(BEFORE).success
    assert chain.run(NIGHT).facts["daily_bars"]["flagged"] == 0, "a known split is no gap and no volume spike"
    (action,) = warehouse.rows("SELECT kind, ex_date, numerator, denominator, vendor FROM corporate_actions")
    assert tuple(action) == ("split", NIGHT, 2, 1, "polygon")
    split, twin = (analysis(warehouse, symbol) for symbol in (SPLIT, TWIN))
    ratios = [c.name for c in COLUMNS if not c.level and not c.shares and c.kind == "float"]
    levels = ["close", *(c.name for c in COLUMNS if c.level)]
    assert twin[ratios].notna().sum() >= 5
    np.testing.assert_allclose(split[ratios].astype(float), twin[ratios].astype(float), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(split[levels].astype(float) * 2, twin[levels].astype(float), rtol=1e-9, atol=1e-9)


def analysis(warehouse: Warehouse, symbol: str) -> pd.Series:
    (row,) = warehouse.rows(
        "SELECT h.* FROM market_analysis_history h JOIN instrument_symbols s USING (instrument_id)"
        " WHERE s.symbol = :symbol AND h.session = :night",
        symbol=symbol,
        night=NIGHT,
    )
    return pd.Series(dict(row._mapping))


def test_what_was_asked_of_whom_is_kept_per_run_and_shown_as_a_table(
    chain: Chain, served: Vendors, warehouse: Warehouse
) -> None:
    assert chain.run(BEFORE).success
    served.forget()
    done = chain.run(NIGHT)
    asked = requests_of(warehouse, done)
    assert sum(row.calls for (vendor, _), row in asked.items() if vendor == "polygon") == len(served.calls("polygon"))
    assert (asked["polygon", "grouped_bars"].calls, asked["polygon", "grouped_bars"].symbols) == (1, TRACKED)
    assert asked["twelve_data", "daily_bars"].symbols == 3
    assert asked["yfinance", "daily_bars"].errors == {"SymbolNotFound": 1}
    assert sum(row.undone for row in asked.values()) == 1
    assert asked["polygon", "grouped_bars"].p95_ms > 0
    shown = {(row["vendor"], row["capability"]): row for row in done.rows("daily_bars", "vendor_requests")}
    for key, row in shown.items():
        assert (row["calls"], row["symbols"], row["undone"]) == (
            asked[key].calls,
            asked[key].symbols,
            asked[key].undone,
        )
    assert {key for key in asked if key[1] != "constituents"} == set(shown)
    texts = repr([*shown.values(), done.facts, *asked.values()])
    assert not [key for key in KEYS.values() if key in texts]


def test_members_come_from_the_page_where_the_feed_is_not_in_the_plan_and_the_reason_is_kept(
    chain: Chain, served: Vendors, warehouse: Warehouse
) -> None:
    done = chain.run(BEFORE, job="refresh_constituents")
    assert done.success, done.errors
    assert len(served.calls("fmp")) == 1, "who lacks one index in its plan is not asked for the next"
    (refresh,) = warehouse.rows("SELECT index_code, fetched, provider_used, fallback_used, note FROM index_refreshes")
    assert tuple(refresh)[:4] == ("DOW30", 30, "wikipedia", True)
    assert refresh.note.startswith("fmp: ")
    shown = {row["vendor"]: row for row in done.rows("index_constituents", "vendor_requests") if row["symbols"]}
    assert {vendor: (row["calls"], row["passed_over"]) for vendor, row in shown.items()} == {"wikipedia": (1, "")}
    refused = [row for row in done.rows("index_constituents", "vendor_requests") if row["vendor"] == "fmp"]
    assert sum(row["calls"] for row in refused) == 1
    assert {row["passed_over"] for row in refused} == {"UnsupportedRequest 1", "CircuitOpen 1"}
    assert warehouse.scalar("SELECT count(*) FROM index_constituents WHERE is_active") == 30


def test_a_budget_by_date_that_ends_leaves_sessions_undone_and_the_next_run_goes_on_from_there(
    chain: Chain, served: Vendors, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    served.market.lacking = {}
    served.market.ends = {}
    served.market.bars = walk([*DOW, "SPY"], DAYS)
    monkeypatch.setenv("QM_HISTORY_SESSIONS", "5")
    monkeypatch.setenv("POLICY_EOD", "polygon")
    monkeypatch.setenv("POLICY_EOD_BULK", "polygon")
    monkeypatch.setenv("QM_POLYGON_BUDGET", "4/day")  # the splits, and three of five sessions
    first = chain.run(NIGHT)
    told = failures(first)
    assert len(told) == min(TRACKED, 20), "the table shows the first rows"
    assert first.facts["daily_bars"]["failed_symbols"] == TRACKED
    assert all("polygon: " in why and ("allowance" in why or "budget" in why) for why in told.values()), told
    assert len(served.calls("polygon")) == 4
    # The newest three that the budget held out for, as the splits were asked first; tonight is not behind old nights.
    assert stored(warehouse) == dict.fromkeys(DAYS[-3:], TRACKED)
    # Each symbol, and the market's dividends, which come after the bars.
    assert sum(row.undone for row in requests_of(warehouse, first).values()) == TRACKED + 1

    served.forget()
    monkeypatch.setenv("QM_POLYGON_BUDGET", "40/day")  # as good as another day
    second = chain.run(NIGHT)
    assert failures(second) == {}
    asked = [call.path.rsplit("/", 1)[1] for call in served.calls("polygon", "/v2/aggs/grouped")]
    assert asked == [str(day) for day in DAYS[-5:-3]]
    assert stored(warehouse) == dict.fromkeys(DAYS[-5:], TRACKED)


def test_a_budget_by_symbol_that_ends_leaves_symbols_undone_and_the_next_run_goes_on_from_there(
    chain: Chain, served: Vendors, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    served.market.lacking = {}
    served.market.bars = walk([*DOW, "SPY"], DAYS)
    monkeypatch.setenv("POLICY_EOD", "twelve_data")
    monkeypatch.setenv("QM_TWELVE_DATA_BUDGET", "16/day")  # a credit per symbol
    first = chain.run(NIGHT)
    told = failures(first)
    assert len(told) == TRACKED - 16
    assert all("twelve_data" in why and "budget" in why for why in told.values())
    have = set(vendors_of(warehouse, NIGHT))
    assert len(have) == 16
    assert have.isdisjoint(told)

    served.forget()
    monkeypatch.setenv("QM_TWELVE_DATA_BUDGET", "40/day")
    second = chain.run(NIGHT)
    assert failures(second) == {}
    asked = [symbol for call in served.calls("twelve_data") for symbol in call.query["symbol"].split(",")]
    assert sorted(asked) == sorted(told)
    assert set(vendors_of(warehouse, NIGHT)) == {*DOW, "SPY"}


def stored(warehouse: Warehouse) -> dict[date, int]:
    """Return session -> how many bars of it are stored."""
    found = warehouse.rows("SELECT session, count(*) AS bars FROM bars GROUP BY session")
    return {row.session: row.bars for row in found}


def test_what_lies_before_a_plans_reach_is_asked_for_once_somebody_reaches_it(
    chain: Chain, served: Vendors, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    served.market.lacking = {}
    served.market.ends = {}
    served.market.bars = walk([*DOW, "SPY"], DAYS)
    monkeypatch.setenv("POLICY_EOD", "polygon")
    monkeypatch.setenv("POLICY_EOD_BULK", "polygon")
    monkeypatch.setenv("QM_POLYGON_HISTORY_DAYS", "30")
    reach = datetime.now(UTC).date() - timedelta(days=30)
    first = chain.run(NIGHT)
    assert all(f"reaches back to {reach} only" in why for why in failures(first).values())
    within = [day for day in DAYS[-DEPTH:] if day >= reach]
    assert 0 < len(within) < DEPTH
    assert stored(warehouse) == dict.fromkeys(within, TRACKED)

    served.forget()
    monkeypatch.setenv("QM_POLYGON_HISTORY_DAYS", "730")
    second = chain.run(NIGHT)
    assert failures(second) == {}
    assert second.facts["daily_bars"]["asked"].startswith(f"{TRACKED} symbols, {TRACKED * (DEPTH - len(within))} sess")
    assert stored(warehouse) == dict.fromkeys(DAYS[-DEPTH:], TRACKED)

    served.forget()
    third = chain.run(NIGHT)
    assert third.facts["daily_bars"]["asked"].startswith("0 symbols")
    assert kinds(served) == {}


@pytest.mark.parametrize("trouble", [broken, garbage, limited(600), premium], ids=["500", "a page", "429", "premium"])
def test_a_market_vendor_in_trouble_costs_the_night_nothing_but_calls(
    chain: Chain, served: Vendors, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch, trouble: Trouble
) -> None:
    served.market.lacking = {}
    served.market.bars = walk([*DOW, "SPY"], DAYS)
    monkeypatch.setenv("QM_HISTORY_SESSIONS", "5")
    monkeypatch.setenv("QM_CALL_DEADLINE_SECONDS", "15")
    served.trouble["polygon"] = trouble
    done = chain.run(NIGHT)
    assert failures(done) == {}
    assert set(vendors_of(warehouse, NIGHT).values()) == {"twelve_data"}
    told = {row["vendor"]: row for row in done.rows("daily_bars", "vendor_requests") if row["errors"]}
    assert "polygon" in told
    assert warehouse.scalar("SELECT count(*) FROM validation_log") == 0


def test_a_split_that_the_market_vendor_can_not_tell_is_had_of_another_one(
    chain: Chain, served: Vendors, warehouse: Warehouse
) -> None:
    assert chain.run(BEFORE).success
    served.trouble["polygon"] = at("/v3/", premium)
    done = chain.run(NIGHT)
    assert done.success
    (action,) = warehouse.rows("SELECT kind, ex_date, numerator, denominator, vendor FROM corporate_actions")
    assert tuple(action) == ("split", NIGHT, 2, 1, "fmp")
    assert {call.query["symbol"] for call in served.calls("fmp", "/splits")} == {SPLIT}, "the one that jumped"
    assert warehouse.scalar("SELECT count(*) FROM bars WHERE gap_detected") == 0


def test_a_jump_as_of_a_split_that_no_vendor_knows_is_held_until_two_said_so_and_then_believed(
    chain: Chain, served: Vendors, warehouse: Warehouse
) -> None:
    assert chain.run(BEFORE).success
    served.market.splits = []
    served.trouble["fmp"] = served.trouble["yfinance"] = at("/", premium)  # only the vendor of the bar itself answers
    held = chain.run(NIGHT)
    state = "SELECT gap_detected, validated, quality_score FROM bars WHERE symbol = :symbol AND session = :night"
    assert [tuple(row) for row in warehouse.rows(state, symbol=SPLIT, night=NIGHT)] == [(True, False, 0.8)]
    assert not held.checks["splits_explain_the_prices"].passed

    warehouse.execute("DELETE FROM price_data_1d WHERE session = :night", {"night": NIGHT})
    served.trouble.clear()
    believed = chain.run(NIGHT)
    asked = warehouse.rows("SELECT vendor, found FROM split_lookups ORDER BY vendor")
    assert [tuple(row) for row in asked] == [("polygon", False), ("yfinance", False)]
    assert [tuple(row) for row in warehouse.rows(state, symbol=SPLIT, night=NIGHT)] == [(True, True, 1.0)]
    assert believed.checks["splits_explain_the_prices"].passed
