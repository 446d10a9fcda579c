"""Ticks of the entries on a real instance: conditions that Dagster's runs and the machine answer, claims, retries."""

from __future__ import annotations

import os
from datetime import date, datetime
from pathlib import Path
from uuid import uuid4
from zoneinfo import ZoneInfo

import pytest
from dagster import (
    DagsterEvent,
    DagsterEventType,
    DagsterInstance,
    DagsterRun,
    DagsterRunStatus,
    ScheduleEvaluationContext,
)
from dagster._core.events import JobFailureData

from quantmatrix_pipeline.automation import schedules as built
from quantmatrix_pipeline.automation.facts import DagsterFacts
from quantmatrix_pipeline.automation.jobs.known import known
from quantmatrix_pipeline.cli.schedules import validate
from quantmatrix_pipeline.definitions import build_defs
from quantmatrix_pipeline.errors import ConfigurationError
from quantmatrix_pipeline.resources.platform import Platform
from quantmatrix_pipeline.schedules.decide import Launch
from quantmatrix_pipeline.schedules.entry import Preflight
from quantmatrix_pipeline.schedules.file import in_force
from quantmatrix_pipeline.settings import load
from quantmatrix_pipeline.warehouse.coverage import heartbeats
from quantmatrix_pipeline.warehouse.engine import Warehouse
from quantmatrix_pipeline_tests.pipeline.running import Folder, sessions, walk
from quantmatrix_pipeline_tests.pipeline.ticks import Sensor, schedule_tick

NEW_YORK = ZoneInfo("America/New_York")
DAYS = sessions("2021-12-31", 6)
EVENING = datetime(2021, 12, 31, 17, 30, tzinfo=NEW_YORK)


@pytest.fixture
def instance(on_disk: DagsterInstance) -> DagsterInstance:
    return on_disk


@pytest.fixture
def installed(environment: None, folder: Folder) -> None:
    folder.write(walk(["SPY"], DAYS))


def leave(
    instance: DagsterInstance, job: str, status: DagsterRunStatus = DagsterRunStatus.SUCCESS, **tags: str
) -> DagsterRun:
    """Leave a run in the instance, with tags of Dagster's own by their last word."""
    return instance.add_run(
        DagsterRun(job, run_id=str(uuid4()), status=status, tags={f"dagster/{tag}": v for tag, v in tags.items()})
    )


def test_missed_sessions_are_one_range_a_run_under_way_is_not_doubled_and_a_done_range_is_done(
    installed: None, instance: DagsterInstance
) -> None:
    leave(instance, "restore_daily_coverage", partition=str(DAYS[2]))
    leave(instance, "restore_daily_coverage", DagsterRunStatus.FAILURE, partition=str(DAYS[3]))
    (run,) = schedule_tick("nightly_chain", EVENING, instance).runs
    assert run.partition_key is None
    ends = {f"dagster/asset_partition_range_{end}": str(day) for end, day in (("start", DAYS[3]), ("end", DAYS[5]))}
    assert {tag: run.tags.get(tag) for tag in ends} == ends
    assert run.tags["quantmatrix/session"] == f"{DAYS[3]}..{DAYS[5]}"
    assert (run.tags["dagster/max_runtime"], run.tags["qm/slow_after_s"], run.tags["dagster/priority"]) == (
        "7200", "3600", "10",
    )  # fmt: skip

    under_way = leave(
        instance,
        "restore_daily_coverage",
        DagsterRunStatus.STARTING,
        asset_partition_range_start=str(DAYS[3]),
        asset_partition_range_end=str(DAYS[5]),
    )
    facts = DagsterFacts(instance, Platform())
    assert facts.newest_done("restore_daily_coverage") == DAYS[5]
    assert facts.under_way(job="restore_daily_coverage") == 1
    assert schedule_tick("nightly_chain", EVENING, instance).skipped is not None
    instance.delete_run(under_way.run_id)
    leave(instance, "restore_daily_coverage", DagsterRunStatus.STARTED)
    said = schedule_tick("nightly_chain", EVENING, instance).skipped
    assert said == "already running: a run of restore_daily_coverage is under way"


def test_a_broken_file_takes_no_schedule_down_and_the_sensor_says_what_is_wrong(
    installed: None, instance: DagsterInstance, warehouse: Warehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "ours.yaml"
    monkeypatch.setenv("QM_SCHEDULES_FILE", str(file))
    file.write_text("version: 1\nschedules:\n  ours: {job: restate, cron: 0 1 * * *}\n")
    sensor = Sensor("schedules_file", instance)
    assert "is right" in str(sensor.tick().skipped)
    file.write_text("version: 1\nschedules:\n  ours: {job: no_such_job, cron: 0 1 * * *}\n")
    assert "ours.job: there is no job 'no_such_job'" in str(sensor.tick().skipped)
    file.write_text(
        "version: 1\nschedules:\n  ours: {job: restore_daily_coverage, cron: 0 1 * * *}\n"
        "  yours: {job: restate, cron: 0 1 * * *, partition: newest,\n"
        "          config: {ops: {record_what_is_due: {config: {sinse: x}}}}}\n"
    )
    said = str(sensor.tick().skipped)
    assert "ours.partition: restore_daily_coverage is about sessions; write newest or missed" in said
    assert "yours.partition: restate is about no session; leave newest away" in said
    assert 'yours.config: Received unexpected config entry "sinse" at path root:ops:record_what_is_due:config' in said
    assert heartbeats(warehouse)["schedules_file"][1] == {"fault": said.partition("in force: ")[2]}
    with pytest.raises(ConfigurationError, match="sinse"):
        validate(file)
    (schedule,) = build_defs().get_repository_def().schedule_defs
    assert (schedule.name, schedule.job_name) == ("ours", "restate")


def test_of_two_daemons_one_launches_a_tick_and_a_try_in_the_ui_takes_nothing(
    installed: None, instance: DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalogue = in_force(load()).catalogue
    monkeypatch.setenv("QM_NOW", EVENING.isoformat())

    def evaluate(log_key: list[str] | None) -> object:
        with ScheduleEvaluationContext(
            instance_ref=instance.get_ref(),
            scheduled_execution_time=EVENING,
            repository_name=None,
            schedule_name="nightly_chain",
            log_key=log_key,
        ) as context:
            return built._evaluate(catalogue, "nightly_chain", context, Platform())

    monkeypatch.setattr("psutil.pid_exists", lambda pid: True)
    daemon = ["repository", "nightly_chain", "17"]
    assert hasattr(evaluate(None), "run_key")
    assert hasattr(evaluate(daemon), "run_key")
    monkeypatch.setattr(built, "SAME_SECONDS", 0)
    assert hasattr(evaluate(daemon), "run_key"), "a tick that failed is tried again"
    assert "already launched by another daemon" in str(evaluate([*daemon[:2], "18"]))
    monkeypatch.setattr(os, "getpid", lambda: 1)
    assert "already launched by another daemon" in str(evaluate(daemon))
    assert hasattr(evaluate(None), "run_key")


def test_preflight_checks_say_what_they_miss(
    installed: None, instance: DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts = DagsterFacts(instance, Platform())
    open_, closed = (datetime(2021, 12, 31, hour, 0, tzinfo=NEW_YORK) for hour in (11, 17))
    assert [facts.missing(check, closed) for check in Preflight] == [None] * 4
    assert "2021-12-31 is final at 2021-12-31 21:30 UTC" in str(facts.missing(Preflight.LAST_SESSION_CLOSED, open_))
    monkeypatch.setattr("quantmatrix_pipeline.health.machine.LEAST_DISK_GB", 1e9)
    assert "are needed" in str(facts.missing(Preflight.DISK, closed))
    monkeypatch.setenv("QM_DATABASE_URL", "postgresql://nobody:secret@127.0.0.1:9/none")
    away = str(DagsterFacts(instance, Platform()).missing(Preflight.DATABASE, closed))
    assert "127.0.0.1" in away
    assert "secret" not in away


def test_a_failed_run_is_launched_again_after_its_pause_as_often_as_it_may(
    installed: None, instance: DagsterInstance, warehouse: Warehouse
) -> None:
    tags = {"qm/retries": "2", "qm/backoff_s": "0", "qm/schedule": "nightly_chain", "team": "data"}

    def fail(**more: str) -> DagsterRun:
        return instance.add_run(
            DagsterRun(
                "restore_daily_coverage",
                run_id=str(uuid4()),
                status=DagsterRunStatus.FAILURE,
                tags={**tags, "dagster/partition": str(DAYS[5]), "dagster/run_key": "x", **more},
            )
        )

    sensor = Sensor("retry_failed_runs", instance)
    assert sensor.tick().skipped == "no failed run is to be retried"
    failed = fail()
    fail(**{"qm/attempt": "2"})
    fail(**{"dagster/will_retry": "true"})
    (again,) = sensor.tick().runs
    assert (again.job_name, again.partition_key) == ("restore_daily_coverage", str(DAYS[5]))
    assert (again.tags["qm/attempt"], again.tags["qm/retry_of"], again.tags["team"]) == ("1", failed.run_id, "data")
    assert "dagster/run_key" not in again.tags
    leave_retry = DagsterRun("restore_daily_coverage", run_id=str(uuid4()), tags={"qm/retry_of": failed.run_id})
    instance.add_run(leave_retry)
    assert sensor.tick().runs == []
    fail(**{"qm/backoff_s": "3600"})
    assert sensor.tick().skipped == "1 failed runs wait for their pause to end"


def test_a_retry_waits_while_a_run_of_its_job_is_under_way_or_its_entry_is_in_maintenance(
    installed: None, instance: DagsterInstance, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "schedules.yaml"
    monkeypatch.setenv("QM_SCHEDULES_FILE", str(file))
    monkeypatch.setenv("QM_NOW", "2021-12-31T23:00:00Z")  # 18:00 in New York
    entries = (
        "version: 1\nschedules:\n"
        "  night: {job: restore_daily_coverage, partition: newest, cron: 0 0 * * *,\n"
        "          maintenance: [{start: '17:00', end: 'END'}]}\n"
        "  twice: {job: backup, cron: 0 0 * * *, safety: {single_flight: false, max_concurrency: 2}}\n"
    )

    def leave(job: str, status: DagsterRunStatus, **tags: str) -> DagsterRun:
        named = {f"qm/{tag}": value for tag, value in tags.items()}
        return instance.add_run(DagsterRun(job, run_id=str(uuid4()), status=status, tags=named))

    sensor = Sensor("retry_failed_runs", instance)
    file.write_text(entries.replace("END", "19:00"))
    failed = leave("restore_daily_coverage", DagsterRunStatus.FAILURE, retries="soon")
    assert sensor.tick().skipped == "no failed run is to be retried", "a tag that can't be read counts as absent"
    failed = leave("restore_daily_coverage", DagsterRunStatus.FAILURE, retries="1", backoff_s="0", schedule="night")
    assert sensor.tick().skipped == "restore_daily_coverage: maintenance window until 19:00 EST"
    Sensor("schedules_file", instance).tick()
    file.write_text(entries.replace("END", "18:00") + "  misfit: {job: no_such_job, cron: 0 0 * * *}\n")
    waits = sensor.tick().skipped
    assert waits == "restore_daily_coverage: maintenance window until 19:00 EST", "what is refused holds for no sensor"
    file.write_text(entries.replace("END", "18:00"))
    going = leave("restore_daily_coverage", DagsterRunStatus.STARTED)
    assert (
        sensor.tick().skipped == "restore_daily_coverage: already running: a run of restore_daily_coverage is under way"
    )
    instance.delete_run(going.run_id)
    leave("restore_daily_coverage", DagsterRunStatus.FAILURE, retries="1", backoff_s="0", schedule="night")
    (again,) = sensor.tick().runs
    assert again.tags["qm/retry_of"] == failed.run_id, "of two the older one; the other waits for it"
    leave("restore_daily_coverage", DagsterRunStatus.STARTED, retry_of=failed.run_id)
    # Where single flight is off, its own number counts; an entry that is gone is one at a time.
    for schedule, job in (("twice", "backup"), ("gone", "restate")):
        leave(job, DagsterRunStatus.STARTED, schedule=schedule)
        leave(job, DagsterRunStatus.FAILURE, retries="1", backoff_s="0", schedule=schedule)
    assert [run.job_name for run in sensor.tick().runs] == ["backup"]


def test_a_run_that_its_timeout_ended_is_launched_again_though_it_counts_as_canceled(
    installed: None, instance: DagsterInstance
) -> None:
    tags = {"qm/retries": "1", "qm/backoff_s": "0", "dagster/max_runtime": "60"}

    def cancel(message: str) -> str:
        run = instance.add_run(DagsterRun("restate", run_id=str(uuid4()), status=DagsterRunStatus.STARTED, tags=tags))
        instance.report_run_canceling(run, message)
        instance.report_run_canceled(run)
        return run.run_id

    cancel("Sending run termination request.")
    hung = cancel("Canceling due to exceeding maximum runtime of 60 seconds.")
    (again,) = Sensor("retry_failed_runs", instance).tick().runs
    assert again.tags["qm/retry_of"] == hung
    assert again.tags["dagster/max_runtime"] == "60"


def test_what_another_run_of_its_job_has_done_since_is_not_done_once_more(
    installed: None, instance: DagsterInstance
) -> None:
    sensor = Sensor("retry_failed_runs", instance)
    retried = {"qm/retries": "1", "qm/backoff_s": "0"}

    def leave_ended(job: str, ending: DagsterEventType, symbol: str = "", **tags: str) -> None:
        config = {"ops": {"fetch_symbols": {"config": {"symbols": [symbol]}}}} if symbol else {}
        tags = {f"dagster/{tag}": value for tag, value in tags.items()} | retried
        run = DagsterRun(job, run_id=str(uuid4()), status=DagsterRunStatus.STARTED, tags=tags, run_config=config)
        why = JobFailureData(None, None) if ending is DagsterEventType.RUN_FAILURE else None
        event = DagsterEvent(ending.value, job, event_specific_data=why)
        instance.report_dagster_event(event, instance.add_run(run).run_id)

    def to_be_retried() -> list[str]:
        return [run.job_name for run in sensor.tick().runs]

    ends = [f"asset_partition_range_{end}" for end in ("start", "end")]
    leave_ended("restore_daily_coverage", DagsterEventType.RUN_SUCCESS, partition=str(DAYS[3]))
    leave_ended(
        "restore_daily_coverage", DagsterEventType.RUN_FAILURE, **dict(zip(ends, map(str, DAYS[2:4]), strict=True))
    )
    leave_ended("refresh_coverage", DagsterEventType.RUN_SUCCESS, partition=str(DAYS[2]))
    leave_ended("restore_daily_coverage", DagsterEventType.RUN_SUCCESS, partition=str(DAYS[3]))
    assert to_be_retried() == ["restore_daily_coverage"], "of its two sessions one is done"
    leave_ended(
        "restore_daily_coverage", DagsterEventType.RUN_SUCCESS, **dict(zip(ends, map(str, DAYS[1:5:3]), strict=True))
    )
    assert to_be_retried() == []
    leave_ended("backfill_symbols", DagsterEventType.RUN_FAILURE, "AAA")
    leave_ended("backfill_symbols", DagsterEventType.RUN_SUCCESS, "BBB")
    assert to_be_retried() == ["backfill_symbols"], "other symbols are other work"
    leave_ended("backfill_symbols", DagsterEventType.RUN_SUCCESS, "AAA")
    assert sensor.tick().skipped == "no failed run is to be retried"


def test_every_packaged_entry_makes_a_run_that_its_job_accepts(installed: None, instance: DagsterInstance) -> None:
    definitions = build_defs()
    catalogue = in_force(load()).catalogue
    resolved = {job.name: job for job in definitions.get_repository_def().get_all_jobs() if job.name[0] != "_"}
    assert {name: (job.sessions, job.timeout_s) for name, job in known(definitions).items()} == {
        name: (job.partitions_def is not None, float(job.tags["dagster/max_runtime"])) for name, job in resolved.items()
    }, "what is known of jobs before Dagster resolves them"
    for name, entry in catalogue.schedules.items():
        job = definitions.resolve_job_def(entry.job)
        has_sessions = job.partitions_def is not None
        assert has_sessions == (entry.partition.value != "none"), name
        session = date(2021, 12, 31) if has_sessions else None
        request = built.request(catalogue, name, Launch(session, session), EVENING)
        assert request.partition_key == (str(session) if session else None)
        assert request.tags["qm/schedule"] == name
