"""What a schedule's tick had to skip is launched when what stood in its way is over, once, and until the next tick."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import uuid4
from zoneinfo import ZoneInfo

import pytest
from dagster import DagsterInstance, DagsterRun, DagsterRunStatus, RunRequest
from dagster._core.scheduler.instigation import InstigatorStatus

from quantmatrix_pipeline.job_names import RESTORE
from quantmatrix_pipeline_tests.pipeline.running import Folder, sessions, walk
from quantmatrix_pipeline_tests.pipeline.ticks import Sensor, leave_tick, schedule_tick, switch_on

NEW_YORK = ZoneInfo("America/New_York")
DAYS = sessions("2021-12-31", 6)
EVENING = datetime(2021, 12, 30, 17, 30, tzinfo=NEW_YORK)
CRON = "30 17 * * 1-5"
NIGHTLY, LEAST_DISK = "nightly_chain", "quantmatrix_pipeline.health.machine.LEAST_DISK_GB"
NOTHING = "no tick waits for a preflight check, or for a run to end"


@pytest.fixture
def instance(on_disk: DagsterInstance) -> DagsterInstance:
    return on_disk


@pytest.fixture
def later(environment: None, folder: Folder, instance: DagsterInstance, monkeypatch: pytest.MonkeyPatch) -> Sensor:
    """The sensor, ten minutes after the nightly tick."""
    folder.write(walk(["SPY"], DAYS))
    monkeypatch.setenv("QM_NOW", (EVENING + timedelta(minutes=10)).isoformat())
    return Sensor("retry_skipped_ticks", instance)


def skip(instance: DagsterInstance, reason: str | None, at: datetime = EVENING) -> str:
    """Leave the nightly tick in the instance as the daemon does: skipped, and why."""
    assert reason is not None
    leave_tick(instance, switch_on(instance, NIGHTLY, CRON, EVENING - timedelta(days=9)), at, skipped=reason)
    return reason


def fail(instance: DagsterInstance, run: RunRequest) -> None:
    """Leave a run that was asked for in the instance, as one that failed."""
    tags = {"dagster/run_key": str(run.run_key), "dagster/partition": str(run.partition_key)}
    instance.add_run(DagsterRun(RESTORE, run_id=str(uuid4()), status=DagsterRunStatus.FAILURE, tags=tags))


def asked(run: RunRequest) -> dict[str, str]:
    """Return a run's tags but for who asked for it."""
    return {tag: v for tag, v in run.tags.items() if tag not in ("dagster/sensor_name", "dagster/schedule_name")}


def test_a_full_disk_costs_no_night(later: Sensor, instance: DagsterInstance, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as full:
        full.setattr(LEAST_DISK, 1e9)
        why = skip(instance, schedule_tick(NIGHTLY, EVENING, instance).skipped)
        assert why.startswith("preflight disk: ")
        assert str(later.tick().skipped).startswith(f"{NIGHTLY} of 2021-12-30 17:30 EST: preflight disk: ")
    (run,) = later.tick().runs
    on_time = schedule_tick(NIGHTLY, EVENING, instance).runs[0]
    assert (run.job_name, run.partition_key, run.run_key) == (RESTORE, "2021-12-30", on_time.run_key)
    assert asked(run) == asked(on_time)
    fail(instance, run)
    assert later.tick().runs == [], "what failed is not launched again here"


def test_a_later_tick_of_the_session_is_made_up_for_though_the_run_of_an_earlier_one_failed(
    later: Sensor, instance: DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QM_NIGHTLY_CRON", "30 17,20 * * 1-5")
    (first,) = schedule_tick(NIGHTLY, EVENING, instance).runs
    fail(instance, first)
    late = EVENING + timedelta(hours=3)
    monkeypatch.setenv("QM_NOW", (late + timedelta(minutes=10)).isoformat())
    skip(instance, "preflight disk: 0.1 GB are free", late)
    (run,) = later.tick().runs
    assert (run.job_name, run.partition_key) == (RESTORE, first.partition_key)
    assert run.run_key == schedule_tick(NIGHTLY, late, instance).runs[0].run_key
    fail(instance, run)
    assert later.tick().runs == [], "one run a tick"


def test_it_waits_for_a_run_under_way_and_gives_way_to_the_next_tick(
    later: Sensor, instance: DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    older = DagsterRun(
        RESTORE, run_id=str(uuid4()), status=DagsterRunStatus.STARTED, tags={"dagster/partition": "2021-12-28"}
    )
    instance.add_run(older)
    why = skip(instance, schedule_tick(NIGHTLY, EVENING, instance).skipped)
    assert why == f"already running: a run of {RESTORE} is under way"
    assert why in str(later.tick().skipped)
    instance.delete_run(older.run_id)
    assert len(later.tick().runs) == 1
    monkeypatch.setenv("QM_NOW", (EVENING + timedelta(days=1)).isoformat())
    assert "the tick of 2021-12-31 17:30 or a later one makes up for it" in str(later.tick().skipped)


@pytest.mark.parametrize(
    "reason",
    ["maintenance window until 18:00 EST", "no session closed since 2021-12-29", "2021-12-30 has closed, and other"],
)
def test_what_was_skipped_on_purpose_stays_skipped(later: Sensor, instance: DagsterInstance, reason: str) -> None:
    skip(instance, reason)
    assert later.tick().skipped == NOTHING


def test_a_schedule_that_is_off_or_gone_launches_nothing(later: Sensor, instance: DagsterInstance) -> None:
    skip(instance, "preflight disk: 0.1 GB are free")
    gone = switch_on(instance, "of_an_older_file", CRON, EVENING)
    leave_tick(instance, gone, datetime.now(UTC), skipped="preflight disk: 0.1 GB are free")
    assert len(later.tick().runs) == 1
    (state,) = [s for s in instance.all_instigator_state() if s.instigator_name == NIGHTLY]
    instance.update_instigator_state(state.with_status(InstigatorStatus.STOPPED))
    assert later.tick().skipped == NOTHING
