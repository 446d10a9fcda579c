"""How things stand now: a report that was fine is none any more once a session has closed after it, or nobody works the
backfill queue.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta

import pyarrow as pa
import pytest

from quantmatrix_pipeline.bars.sessions import trading_calendar
from quantmatrix_pipeline.coverage.report import coverage_as_of, save
from quantmatrix_pipeline.coverage.standing import standing
from quantmatrix_pipeline.warehouse import backfill, counters, gaps, universe
from quantmatrix_pipeline.warehouse.engine import Warehouse
from quantmatrix_pipeline_tests.market_nights import DAYS, SYMBOLS, Market

CALENDAR = trading_calendar()
TONIGHT: date = DAYS[-1].item()
AFTER_CLOSE = CALENDAR.close(TONIGHT) + timedelta(hours=1)
EVERYONE = {(symbol, day): 1.0 for symbol in range(len(SYMBOLS)) for day in range(len(DAYS))}
NEXT_CLOSE = CALENDAR.close(CALENDAR.next(TONIGHT))


@pytest.fixture
def market(database_url: str) -> Iterator[Market]:
    """A market whose last session is stored, computed and reported."""
    warehouse = Warehouse(database_url)
    one = Market(warehouse)
    ids = [t.instrument_id for t in one.instruments.values()]
    universe.track(warehouse, TONIGHT, {i: ["watch_list"] for i in ids})
    yield one
    warehouse.close()


def night(one: Market, vendor: str) -> None:
    one.store(AFTER_CLOSE, EVERYONE, vendor=vendor)
    one.record(AFTER_CLOSE, len(DAYS) - 1, len(DAYS) - 1)
    report(one)


def report(one: Market) -> None:
    save(one.warehouse, coverage_as_of(one.warehouse, CALENDAR, TONIGHT, target=0.9), AFTER_CLOSE)


def headline(one: Market, now: datetime) -> str:
    return standing(one.warehouse, CALENDAR, now).headline


def test_what_goes_wrong_after_a_report_is_told_with_the_job_to_press(market: Market) -> None:
    assert headline(market, AFTER_CLOSE) == "no coverage report was made yet -> press restore_daily_coverage"
    night(market, "polygon")
    fine = f"{TONIGHT} ok: 3 of 3 instruments fresh (100.0%)"
    assert headline(market, AFTER_CLOSE) == fine

    # The next session's chain has its time.
    assert headline(market, NEXT_CLOSE + timedelta(hours=3, minutes=59)) == fine
    assert headline(market, NEXT_CLOSE + timedelta(hours=4)) == (
        f"{TONIGHT} degraded: no report of {NEXT_CLOSE:%Y-%m-%d}, which has closed -> press restore_daily_coverage"
    )

    ids = [t.instrument_id for t in market.instruments.values()]
    wanted = [(i, TONIGHT, TONIGHT) for i in ids[:2]]
    backfill.enqueue(market.warehouse, wanted, origin="request", priority=0, now=AFTER_CLOSE)
    assert headline(market, AFTER_CLOSE + timedelta(hours=5, minutes=59)) == fine
    assert headline(market, AFTER_CLOSE + timedelta(hours=7)) == (
        f"{TONIGHT} degraded: 2 backfill jobs wait, the longest for 7 h -> press work_backfill_queue"
    )

    universe.apply_members(
        market.warehouse, "DOW30", TONIGHT, ids, provider_used="files", fallback_used=False, note=None, now=AFTER_CLOSE
    )
    market.warehouse.execute(
        "UPDATE index_constituents SET is_active = false, became_inactive_at = :now", {"now": TONIGHT}
    )
    report(market)
    assert headline(market, AFTER_CLOSE) == f"{TONIGHT} degraded: no members of DOW30 -> press refresh_constituents"


def test_a_source_that_ends_misses_no_session(market: Market) -> None:
    night(market, "sample")
    assert headline(market, datetime(2026, 1, 1, tzinfo=UTC)) == f"{TONIGHT} ok: 3 of 3 instruments fresh (100.0%)"


def test_parts_that_are_stored_are_counted_with_their_new_bars(market: Market) -> None:
    market.store(AFTER_CLOSE, EVERYONE)
    corrected = {(0, 5): 1.01, (1, 5): 1.0}
    market.store(AFTER_CLOSE + timedelta(hours=1), corrected, {(2, 3): 1.0})
    market.store(AFTER_CLOSE + timedelta(hours=2), {(2, 3): 1.0}, vendor="yfinance")
    found = {b.provider: b for b in counters.batches(market.warehouse)}
    assert {name: (b.type, b.batches, b.bars) for name, b in found.items()} == {
        "polygon": ("bars_1d", 3, len(EVERYONE) + 1),
        "yfinance": ("bars_1d", 1, 0),
    }
    for batches in found.values():
        assert sum(batches.buckets) == batches.batches
        assert batches.sum_ms > 0


def test_a_gap_is_found_once_however_it_grows_and_again_when_it_comes_back(market: Market) -> None:
    one = market.instruments["AAA"].instrument_id

    def scan(*stretches: tuple[int, int, str]) -> int:
        rows = [
            {
                "instrument_id": one,
                "first_session": DAYS[first].item(),
                "last_session": DAYS[last].item(),
                "sessions": last - first + 1,
                "reason": reason,
                "accepted": False,
            }
            for first, last, reason in stretches
        ]
        gaps.write(market.warehouse, pa.Table.from_pylist(rows, schema=gaps.GAPS), AFTER_CLOSE)
        return counters.gaps_found(market.warehouse)["1d"]

    assert scan((0, 1, "not_listed"), (4, 5, "not_fetched")) == 1
    assert scan((0, 1, "not_listed"), (4, 6, "not_fetched")) == 1, "it grew"
    assert scan((4, 6, "vendor_hole"), (9, 9, "rejected")) == 2, "a reason that changes is no new gap"
    assert scan((9, 9, "rejected")) == 2
    assert scan((4, 5, "not_fetched"), (9, 9, "rejected")) == 3
