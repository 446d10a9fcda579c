"""Ticks are Dagster's, to the second, through every change of the clocks; and what no cron reads alike is refused."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import islice
from zoneinfo import ZoneInfo

import pytest
from dagster._utils.schedules import schedule_execution_time_iterator

from quantmatrix_pipeline.schedules.cron import checked, ticks

CRONS = (
    "30 17 * * 1-5",
    "5 * * * *",
    "*/15 * * * *",
    "30 2 * * *",
    "0 3 * * 0",
    "30 1 * * *",
    "15,45 1-3 * * *",
    "0 2 1 * *",
    "0 */2 * * *",
    "59 23 31 * *",
    "0 0 29 2 *",
)
# Clocks are put forward and back on different days, by one hour, by half of one, and never.
ZONES = ("America/New_York", "Europe/London", "Australia/Lord_Howe", "Asia/Kolkata", "UTC")
STARTS = (
    datetime(2026, 3, 7, 12, tzinfo=UTC),
    datetime(2026, 3, 28, 20, 13, tzinfo=UTC),
    datetime(2026, 4, 4, 1, tzinfo=UTC),
    datetime(2026, 10, 24, 20, tzinfo=UTC),
    datetime(2026, 10, 31, 20, tzinfo=UTC),
)


@pytest.mark.parametrize("cron", CRONS)
def test_the_ticks_are_those_of_dagsters_scheduler(cron: str) -> None:
    for zone in ZONES:
        for start in STARTS:
            ours = list(islice(ticks(cron, ZoneInfo(zone), start), 10))
            # Dagster's begins with the start itself, where that is a tick.
            theirs = schedule_execution_time_iterator(start.timestamp() + 0.001, cron, zone, ascending=True)
            assert [t.timestamp() for t in ours] == [t.timestamp() for t in islice(theirs, 10)], (zone, start)
            assert {str(t.tzinfo) for t in ours} == {zone}


def test_in_the_hour_that_is_missing_a_tick_comes_late_and_in_the_repeated_one_the_second_time() -> None:
    new_york = ZoneInfo("America/New_York")
    spring = next(ticks("30 2 * * *", new_york, datetime(2026, 3, 8, 5, tzinfo=UTC)))
    assert spring.isoformat() == "2026-03-08T03:00:00-04:00"
    autumn = next(ticks("30 1 * * *", new_york, datetime(2026, 11, 1, 4, tzinfo=UTC)))
    assert autumn.isoformat() == "2026-11-01T01:30:00-05:00"


@pytest.mark.parametrize(
    ("cron", "said"),
    [
        ("* * * *", "five fields"),
        ("0 0 0 * * *", "five fields"),
        ("@daily", "five fields"),
        ("60 * * * *", "bad minute"),
        ("0 0 31 2 *", "bad day-of-month"),
        ("0 0 1 * 1", "read as 'or' by some"),
        ("0 0 * * 1#2;x", "is no day of week"),
        ("H * * * *", "bad minute"),
    ],
)
def test_what_is_no_cron_is_refused_with_the_reason(cron: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        checked(cron)


def test_blanks_do_not_matter() -> None:
    assert checked("  0   6 * *  sat ") == "0 6 * * sat"
