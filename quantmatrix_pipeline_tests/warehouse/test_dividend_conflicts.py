"""Dividends that two vendors tell differently, in the warehouse: what counts, since when, and what is kept."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta

import pytest

from quantmatrix_pipeline.bars.batch import BarBatch, Basis
from quantmatrix_pipeline.ingest.dividends import settle_dividends
from quantmatrix_pipeline.ingest.load import store_answer
from quantmatrix_pipeline.ingest.report import IngestReport
from quantmatrix_pipeline.providers.answers import DailyAnswer, Dividend
from quantmatrix_pipeline.warehouse import actions, audit, universe
from quantmatrix_pipeline.warehouse.engine import Warehouse
from quantmatrix_pipeline_tests.market_nights import CALENDAR, DAYS, Market

NIGHT = datetime(2021, 12, 31, 22, tzinfo=UTC)
PAID: date = DAYS[15].item()
NEXT: date = DAYS[16].item()


@pytest.fixture
def market(database_url: str) -> Iterator[Market]:
    """Three symbols, of which AAA lost a tenth of its price on PAID."""
    warehouse = Warehouse(database_url)
    market = Market(warehouse)
    market.store(NIGHT, {(s, d): 0.9 if s == 0 and d >= 15 else 1.0 for s in range(3) for d in range(len(DAYS))})
    universe.track(warehouse, DAYS[-1].item(), {t.instrument_id: ["watch_list"] for t in market.instruments.values()})
    yield market
    warehouse.close()


def tell(market: Market, vendor: str, now: datetime, *said: Dividend) -> None:
    answer = DailyAnswer(vendor, Basis.RAW, None, BarBatch.empty(), dividends=said)
    report = IngestReport(vendor, PAID, PAID)
    store_answer(market.warehouse, CALENDAR, market.instruments, {}, answer, report, now)


def in_force(market: Market, at: datetime | None = None) -> set[tuple[str, date, float]]:
    ids = {t.instrument_id: symbol for symbol, t in market.instruments.items()}
    with market.warehouse.arrow() as transaction:
        found = actions.read_dividends(transaction, at).to_pylist()
    return {(ids[row["instrument_id"]], row["ex_date"], row["amount"]) for row in found}


def test_what_explains_the_prices_counts_and_both_are_kept_with_the_evidence(market: Market) -> None:
    tenth = round(100 * 0.1, 2)
    later = NIGHT + timedelta(days=1)
    tell(market, "polygon", NIGHT, Dividend("AAA", PAID, tenth), Dividend("BBB", PAID, 0.20), Dividend("CCC", PAID, 1))
    assert settle_dividends(market.warehouse, NIGHT) == {}, "nobody says otherwise"
    before = in_force(market)
    tell(market, "yfinance", later, Dividend("AAA", NEXT, tenth), Dividend("BBB", PAID, 0.21), Dividend("CCC", PAID, 1))
    assert ("AAA", NEXT, tenth) in in_force(market), "two dividends of what was one"
    counts = settle_dividends(market.warehouse, later)
    assert counts == {
        "explains_prices": 1,
        "another_explains_prices": 1,
        "prices_do_not_tell": 1,
        "outvoted": 1,
        "agreed": 2,
    }
    assert in_force(market) == {("AAA", PAID, tenth), ("BBB", PAID, 0.21), ("CCC", PAID, 1.0)}
    assert in_force(market, NIGHT) == before, "what was known then is known as of then"
    conflicts = market.warehouse.rows("SELECT symbol, vendor, in_force, evidence FROM action_conflicts ORDER BY 1, 2")
    assert [(c.symbol, c.vendor, c.in_force) for c in conflicts] == [
        ("AAA", "polygon", True),
        ("AAA", "yfinance", False),
        ("BBB", "polygon", False),
        ("BBB", "yfinance", True),
    ]
    assert conflicts[0].evidence["left_over"] < 0.1 < conflicts[1].evidence["left_over"]
    assert audit.dividend_conflicts(market.warehouse) == 1

    # Looked at again, nothing is said twice; what is taken back leaves the other alone again.
    written = market.warehouse.scalar("SELECT count(*) FROM action_verdicts")
    settle_dividends(market.warehouse, later + timedelta(hours=1))
    assert market.warehouse.scalar("SELECT count(*) FROM action_verdicts") == written
    with market.warehouse.arrow() as transaction:
        told = market.warehouse.rows("SELECT action_id FROM corporate_actions WHERE vendor = 'polygon'")
        actions.withdraw(transaction, [row.action_id for row in told], later + timedelta(days=1))
    assert settle_dividends(market.warehouse, later + timedelta(days=1))["undisputed"] == 1
    assert in_force(market) == {("AAA", NEXT, tenth), ("BBB", PAID, 0.21), ("CCC", PAID, 1.0)}
