"""What is told of Dagster by the signs of life that it left, while it runs and after it died."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from quantmatrix_pipeline.health.finding import Verdict
from quantmatrix_pipeline.health.unattended import FILE_SENSOR, WATCH, is_running, unattended

NOW = datetime(2021, 12, 31, 22, tzinfo=UTC)
WALL = NOW.timestamp()


def beats(age: timedelta = timedelta(seconds=30), **said: Any) -> dict[str, tuple[datetime, Mapping[str, Any]]]:
    """The watch's heartbeat, of some age, as of a Dagster that is well but for what is `said`."""
    at = WALL - age.total_seconds()
    detail = {
        "daemons": {"SCHEDULER": at - 20, "SENSOR": at - 20},
        "due": {"nightly_chain": WALL + 3600},
        "sensors": {"alert_on_failed_run": at - 25, WATCH: at - 60},
        "intervals": {"alert_on_failed_run": 30, WATCH: 60},
        "failing": {},
    }
    return {WATCH: (NOW - age, detail | said)}


def found(signs: Mapping[str, tuple[datetime, Mapping[str, Any]]]) -> dict[str, tuple[Verdict, str]]:
    return {finding.what: (finding.state, finding.detail) for finding in unattended(signs, NOW, WALL)}


def test_all_is_well() -> None:
    assert {state for state, _ in found(beats()).values()} == {Verdict.OK}
    assert set(found(beats())) == {"daemon", "sensors", "schedules"}


def test_where_nothing_ever_ran_that_is_no_fault() -> None:
    assert found({}) == {"daemon": (Verdict.NOTE, "no sensor has ticked yet; `qm up` runs them")}


def test_a_daemon_that_ended_is_told_with_the_schedules_that_are_late_since() -> None:
    signs = beats(timedelta(hours=5), due={"nightly_chain": WALL - 7200, "hourly_coverage": WALL + 60})
    assert not is_running(signs, NOW)
    told = found(signs)
    assert told["daemon"] == (Verdict.BAD, "no sign of life since 2021-12-31 17:00:00Z; start `qm up` again")
    state, detail = told["schedules"]
    assert state is Verdict.BAD
    assert detail.startswith("nightly_chain should have ticked at 2021-12-31 20:00:00Z")
    assert "hourly" not in detail


@pytest.mark.parametrize(("seconds", "dead"), [(270, False), (300, True)])
def test_a_daemon_that_ran_here_is_a_fault_after_five_silent_minutes_whether_or_not_anything_is_late(
    seconds: int, dead: bool
) -> None:
    told = found(beats(timedelta(seconds=seconds), due={"weekly_backup": WALL + 86400}))
    assert (told["daemon"][0] is Verdict.BAD) is dead
    assert ("schedules" not in told) is dead


@pytest.mark.parametrize(("seconds", "late"), [(299, False), (301, True)])
def test_a_schedule_is_late_five_minutes_after_its_tick_was_due(seconds: int, late: bool) -> None:
    state, _ = found(beats(due={"nightly_chain": WALL - seconds}))["schedules"]
    assert (state is Verdict.BAD) is late


def test_one_dead_thread_of_a_living_daemon_is_named() -> None:
    told = found(beats(daemons={"SCHEDULER": WALL - 900, "SENSOR": WALL - 10}))
    assert told["daemon"] == (Verdict.BAD, "SCHEDULER silent since 2021-12-31 21:45:00Z: restart `qm up`")


def test_one_silent_sensor_among_others_is_named_and_one_with_a_long_pause_is_not() -> None:
    sensors = {"backfill_queue": WALL - 400, "digest": WALL - 3700}
    told = found(beats(sensors=sensors, intervals={"backfill_queue": 60, "digest": 3600}))
    assert told["sensors"][0] is Verdict.BAD
    assert "backfill_queue last ticked 2021-12-31 21:53:20Z" in told["sensors"][1]
    assert "digest" not in told["sensors"][1]


def test_a_tick_that_failed_is_told_with_its_reason() -> None:
    told = found(beats(failing={"nightly_chain": "KeyError: 'x'"}))
    assert told["tick of nightly_chain"] == (Verdict.BAD, "the last one failed: KeyError: 'x'")


def test_schedules_that_dagster_did_not_take_are_told_with_what_is_wrong() -> None:
    assert "schedules loaded" not in found(beats() | {FILE_SENSOR: (NOW, {})})
    told = found(beats() | {FILE_SENSOR: (NOW, {"fault": "ours.partition: newest or missed"})})
    expected = "the last good ones stay in force: ours.partition: newest or missed"
    assert told["schedules loaded"] == (Verdict.BAD, expected)


def test_a_watch_that_is_off_while_others_tick_is_told_and_one_that_comes_later_is_no_fault() -> None:
    others = {"alert_on_failed_run": (NOW, {})}
    state, detail = found(beats(timedelta(hours=1)) | others)["daemon"]
    assert state is Verdict.BAD
    assert f"{WATCH} last did 2021-12-31 21:00:00Z" in detail
    assert {state for state, _ in found(others).values()} == {Verdict.NOTE}
