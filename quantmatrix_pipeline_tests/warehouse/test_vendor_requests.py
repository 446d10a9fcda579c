"""The record of a run is written whole, and what grows for ever loses nothing when several write at once."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from quantmatrix_pipeline.warehouse import vendor_requests
from quantmatrix_pipeline.warehouse.engine import Warehouse
from quantmatrix_pipeline.warehouse.vendor_requests import LATENCY_BOUNDS_MS, Counters, RequestRow

NIGHT = datetime(2026, 11, 20, 22, tzinfo=UTC)
ROW = RequestRow(
    "fmp", "daily_bars", 7, 5, {"RateLimited": 2, "VendorUnavailable": 1}, 12.5, 80.0, {"RateLimited": 3}, 4
)
BUCKETS = [1, 0, 2, *[0] * (len(LATENCY_BOUNDS_MS) - 2)]
COUNTED = Counters(
    {("daily_bars", "fmp"): 5, ("quotes", "finnhub"): 1},
    {("fmp", "historical", "RateLimited"): 2},
    {("fmp", "historical"): (BUCKETS, 61.5)},
)


@pytest.fixture
def warehouse(database_url: str) -> Iterator[Warehouse]:
    opened = Warehouse(database_url)
    yield opened
    opened.close()


def write(warehouse: Warehouse, *rows: RequestRow, at: datetime = NIGHT, counted: Counters = COUNTED) -> None:
    vendor_requests.write(warehouse, "run-1", at - timedelta(minutes=5), at, rows, counted)


def test_a_runs_rows_are_read_back_as_they_were(warehouse: Warehouse) -> None:
    write(warehouse, ROW, RequestRow("polygon", "grouped_bars", 0, 0, {}, None, None, {}, 9))
    first, second = warehouse.rows("SELECT * FROM provider_requests ORDER BY vendor")
    assert (first.run_id, first.started_at, first.finished_at) == ("run-1", NIGHT - timedelta(minutes=5), NIGHT)
    assert RequestRow(*(getattr(first, name) for name in RequestRow.__slots__)) == ROW
    assert (second.vendor, second.p50_ms, second.undone) == ("polygon", None, 9)


def test_counters_grow_by_what_each_run_adds(warehouse: Warehouse) -> None:
    assert vendor_requests.counters(warehouse) == Counters()
    write(warehouse)
    write(warehouse, counted=Counters({("quotes", "finnhub"): 4}))
    write(warehouse)
    assert vendor_requests.counters(warehouse) == Counters(
        {("daily_bars", "fmp"): 10, ("quotes", "finnhub"): 6},
        {("fmp", "historical", "RateLimited"): 4},
        {("fmp", "historical"): ([2 * n for n in BUCKETS], 123.0)},
    )


def test_eight_writers_at_once_lose_nothing(warehouse: Warehouse) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: write(warehouse, ROW), range(40)))
    counted = vendor_requests.counters(warehouse)
    assert counted.selected["daily_bars", "fmp"] == 200
    assert counted.latency["fmp", "historical"] == ([40 * n for n in BUCKETS], 40 * 61.5)
    assert warehouse.rows("SELECT count(*) AS n FROM provider_requests")[0].n == 40


def test_recent_calls_and_errors_are_summed_by_vendor_from_a_moment_on(warehouse: Warehouse) -> None:
    write(warehouse, ROW, at=NIGHT - timedelta(days=2))
    write(warehouse, ROW, RequestRow("fmp", "quotes", 3, 3, {}, 1.0, 1.0, {}, 0), at=NIGHT)
    write(warehouse, RequestRow("finnhub", "quotes", 1, 1, {"AuthFailed": 1}, 1.0, 1.0, {}, 0), at=NIGHT)
    assert vendor_requests.recent(warehouse, NIGHT - timedelta(days=1)) == {
        "finnhub": (1, 1, NIGHT),
        "fmp": (10, 3, NIGHT),
    }
    assert vendor_requests.recent(warehouse, NIGHT)["fmp"][0] == 10
    assert vendor_requests.recent(warehouse, NIGHT + timedelta(seconds=1)) == {}
