"""Ages in sessions, by the clock of QM_NOW; and for each broken state its reason and the job that mends it."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest

from quantmatrix_pipeline.coverage.report import coverage_as_of, stale_as_of, stale_symbols
from quantmatrix_pipeline.coverage.state import CoverageReport
from quantmatrix_pipeline.ingest.daily import ingest_daily
from quantmatrix_pipeline.resources.platform import Platform
from quantmatrix_pipeline.snapshots.record import update_snapshots
from quantmatrix_pipeline.warehouse.engine import Warehouse
from quantmatrix_pipeline_tests.pipeline.running import CALENDAR, Chain, Folder, sessions, walk

DAYS = sessions("2021-12-31", 30)
TONIGHT, LAST_NIGHT = DAYS[-1], DAYS[-2]
NOW = datetime(2021, 12, 31, 22, 30, tzinfo=UTC)
TEN = [f"S{n}" for n in range(9)] + ["SPY"]


def report(warehouse: Warehouse, session: date = TONIGHT) -> CoverageReport:
    found = coverage_as_of(warehouse, CALENDAR, session, target=0.9)
    assert stale_as_of(warehouse, CALENDAR, session) == (found.expected, stale_symbols(found)), "the short look differs"
    return found


@pytest.mark.parametrize(
    ("last_bar", "now", "bucket"),
    [
        ("2021-12-10", "2021-12-10T22:30:00Z", "<=24h"),  # Friday evening
        ("2021-12-10", "2021-12-12T12:00:00Z", "<=24h"),  # Sunday: a weekend is no staleness
        ("2021-12-10", "2021-12-13T20:59:00Z", "<=24h"),  # Monday before the close
        ("2021-12-10", "2021-12-13T21:29:59Z", "<=24h"),  # Monday, the grace not over
        ("2021-12-10", "2021-12-13T21:30:00Z", "24-48h"),  # Monday evening
        ("2021-12-10", "2021-12-14T21:30:00Z", ">48h"),  # Tuesday evening
        ("2021-11-24", "2021-11-25T23:00:00Z", "<=24h"),  # the evening of Thanksgiving
        ("2021-11-24", "2021-11-26T18:29:59Z", "<=24h"),  # the half day after it, 13:00 and grace
        ("2021-11-24", "2021-11-26T18:30:00Z", "24-48h"),
        ("2021-07-02", "2021-07-05T22:00:00Z", "<=24h"),  # Independence Day, observed, after a weekend: summer time
        ("2021-07-02", "2021-07-06T20:30:00Z", "24-48h"),
    ],
)
def test_an_age_counts_closed_sessions_not_hours(
    chain: Chain,
    folder: Folder,
    warehouse: Warehouse,
    monkeypatch: pytest.MonkeyPatch,
    last_bar: str,
    now: str,
    bucket: str,
) -> None:
    days = sessions(last_bar, 3)
    folder.write(walk(["SPY"], days))
    assert chain.run(days[-1]).success
    monkeypatch.setenv("QM_SOURCE", "yfinance")  # which session is due is the calendar's to say, by the clock
    monkeypatch.setenv("QM_NOW", now)
    found = report(warehouse, Platform().newest_session())
    assert found.buckets == {"<=24h": 0, "24-48h": 0, ">48h": 0, "none": 0} | {bucket: 1}


def test_every_instrument_is_in_one_bucket_and_each_but_the_fresh_is_named(
    chain: Chain, folder: Folder, warehouse: Warehouse
) -> None:
    bars = walk(["AAA", "BBB", "CCC", "SPY"], DAYS)
    last = {"AAA": DAYS[-2], "BBB": DAYS[-3], "SPY": TONIGHT, "CCC": DAYS[10]}
    folder.write(
        bars[bars["date"] <= bars["symbol"].map(last)],
        instruments=f"symbol,delisted_on\nCCC,{DAYS[11]}\n",
    )
    chain.run(TONIGHT)
    found = report(warehouse)
    assert found.buckets == {"<=24h": 1, "24-48h": 1, ">48h": 1, "none": 0}
    assert found.stale == {"24-48h": ["AAA"], ">48h": ["BBB"], "none": []}
    assert (found.tracked_count, found.expected, found.delisted) == (4, 3, 1)
    assert sum(found.buckets.values()) == found.expected
    assert found.by_tier == {"T0": found.buckets}
    # Each session as it was filled: CCC is there until its last day, and nothing before the first bars.
    filled = {
        row.session: row for row in warehouse.rows("SELECT session, expected, bars, snapshots FROM coverage_fill")
    }
    assert sorted(filled) == DAYS
    assert [tuple(filled[day])[1:4] for day in (DAYS[0], DAYS[10], DAYS[11], DAYS[-2], TONIGHT)] == [
        (4, 4, 0), (4, 4, 0), (3, 3, 0), (3, 2, 0), (3, 1, 1),
    ]  # fmt: skip
    # On a session before its last day it was expected like the others.
    earlier = report(warehouse, DAYS[10])
    assert (earlier.expected, earlier.delisted, earlier.buckets["<=24h"]) == (4, 0, 4)


def test_before_anything_is_tracked_the_job_to_press_is_the_constituents(warehouse: Warehouse) -> None:
    assert report(warehouse).headline() == f"{TONIGHT} degraded: nothing is tracked yet -> press refresh_constituents"


def test_below_the_promise_the_job_to_press_is_the_chain(chain: Chain, folder: Folder, warehouse: Warehouse) -> None:
    bars = walk(TEN, DAYS)
    folder.write(bars[(bars["date"] < TONIGHT) | ~bars["symbol"].isin(["S3", "S4"])])
    chain.run(TONIGHT)
    assert report(warehouse).headline() == (
        f"{TONIGHT} degraded: 8 of 10 instruments fresh (80.0%), 90% promised -> press restore_daily_coverage"
    )


def test_over_48h_and_without_a_bar_the_job_to_press_fetches_the_stale_only(
    chain: Chain, folder: Folder, warehouse: Warehouse
) -> None:
    bars = walk(TEN, DAYS)
    folder.write(bars[(bars["date"] < LAST_NIGHT) | (bars["symbol"] != "S3")])
    chain.run(TONIGHT)
    assert report(warehouse).headline() == f"{TONIGHT} degraded: 1 over 48h: S3 -> press backfill_stale_daily"
    folder.write(bars[bars["symbol"] != "SPY"])
    chain.run(TONIGHT, job="backfill_stale_daily")
    assert report(warehouse).headline().startswith(f"{TONIGHT} ok: 10 of 10"), (
        "what was stored stays, whatever a file lost"
    )


def test_an_instrument_without_any_bar_is_named(chain: Chain, folder: Folder, warehouse: Warehouse) -> None:
    folder.write(walk(TEN[:-1], DAYS))
    chain.run(TONIGHT)
    assert report(warehouse).headline() == f"{TONIGHT} degraded: 1 without any bar: SPY -> press backfill_stale_daily"


@pytest.fixture
def platform(chain: Chain, folder: Folder) -> Platform:
    """Tonight's bars are stored, nothing is computed from them."""
    folder.write(walk(TEN, DAYS))
    chain.run(LAST_NIGHT)
    platform = Platform()
    ingest_daily(platform.warehouse, platform.source, CALENDAR, TONIGHT, TONIGHT, depth=30, now=NOW)
    return platform


def test_bars_without_snapshots_name_the_recompute_job_and_it_mends_them(
    chain: Chain, warehouse: Warehouse, platform: Platform
) -> None:
    broken = report(warehouse)
    assert broken.headline() == (
        f"{TONIGHT} degraded: 10 fresh instruments lack a snapshot; 10 fresh instruments lack a history row"
        " -> press recompute_indicators"
    )
    assert chain.run(TONIGHT, job=str(broken.job)).success
    assert report(warehouse).headline() == f"{TONIGHT} ok: 10 of 10 instruments fresh (100.0%)"


def test_snapshots_without_history_name_the_job_that_records_it_and_it_mends_them(
    chain: Chain, warehouse: Warehouse, platform: Platform
) -> None:
    update_snapshots(platform.warehouse, CALENDAR, TONIGHT, grace=timedelta(minutes=30), now=NOW)
    broken = report(warehouse)
    assert broken.headline() == f"{TONIGHT} degraded: 10 fresh instruments lack a history row -> press record_history"
    assert chain.run(TONIGHT, job=str(broken.job)).success
    assert report(warehouse).status == "ok"


def test_a_snapshot_expires_when_the_next_session_has_closed(
    chain: Chain, folder: Folder, warehouse: Warehouse
) -> None:
    folder.write(walk(["SPY"], sessions("2021-11-24", 3)))
    chain.run(date(2021, 11, 24))
    expiry = warehouse.scalar("SELECT expiry_timestamp FROM market_analysis_cache")
    assert expiry == datetime(2021, 11, 26, 18, 30, tzinfo=UTC), (
        "Thanksgiving is passed over, the half day closes early"
    )
