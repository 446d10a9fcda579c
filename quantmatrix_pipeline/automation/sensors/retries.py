"""The sensor that launches a failed run of a schedule again, after the pause its entry names, doubled each time."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from dagster import (
    DagsterInstance,
    DagsterRun,
    DagsterRunStatus,
    RunRequest,
    RunsFilter,
    SensorDefinition,
    SensorEvaluationContext,
    SensorResult,
    SkipReason,
)
from dagster._core.definitions.target import ExecutableDefinition

from quantmatrix_pipeline import clock
from quantmatrix_pipeline.automation.facts import DagsterFacts
from quantmatrix_pipeline.automation.runs.attempts import (
    ATTEMPT,
    RETRY_OF,
    attempt,
    done_since,
    due,
    ended,
    failed,
    launched_again,
)
from quantmatrix_pipeline.automation.sensors.declare import running_sensor
from quantmatrix_pipeline.dagster_client.runs import FAILED_CHECKS
from quantmatrix_pipeline.dagster_client.session_tags import PARTITION, RANGE
from quantmatrix_pipeline.resources.platform import Platform
from quantmatrix_pipeline.schedules.decide import busy, in_maintenance
from quantmatrix_pipeline.schedules.entry import Catalogue, Entry
from quantmatrix_pipeline.warehouse import coverage as tables

SENSOR = "retry_failed_runs"
LOOKS_BACK = timedelta(days=2)
LOOKED_AT = 100
_DAGSTERS_OWN = ("dagster/", ".dagster/")
_KEPT = (
    "dagster/max_runtime",
    "dagster/priority",
    *RANGE,
)


def build(jobs: Sequence[ExecutableDefinition], catalogue: Catalogue) -> list[SensorDefinition]:
    """Return the sensor; `jobs` are all that it may launch again, `catalogue` the entries that are schedules."""

    @running_sensor(SENSOR, every_seconds=30, jobs=jobs)
    def retry_failed_runs(context: SensorEvaluationContext, platform: Platform) -> SensorResult | SkipReason:
        """Launch failed runs again whose schedule says how often, each once, after its pause, as its schedule may."""
        tables.beat(platform.warehouse, SENSOR, clock.now())
        # A run's end is by the machine's clock, whatever QM_NOW says.
        runs, later = _failed(context.instance, datetime.now(UTC))
        again, waits = _free(context.instance, platform, catalogue, runs) if runs else ([], [])
        if again:
            return SensorResult(run_requests=[_again(run) for run in again])
        waits += [f"{later} failed runs wait for their pause to end"] if later else []
        return SkipReason("; ".join(waits) or "no failed run is to be retried")

    return [retry_failed_runs]


def _failed(instance: DagsterInstance, now: datetime) -> tuple[list[DagsterRun], int]:
    """Return the failed runs whose retry is due and needed, the oldest first, and how many are to be retried later."""
    runs, later = [], 0
    ended_badly = [DagsterRunStatus.FAILURE, DagsterRunStatus.CANCELED]
    lately = RunsFilter(statuses=ended_badly, updated_after=now - LOOKS_BACK)
    for record in instance.get_run_records(lately, limit=LOOKED_AT):
        run = record.dagster_run
        at = due(run, ended(record))
        if at is None or launched_again(instance, run) or not failed(instance, run) or done_since(instance, record):
            continue
        if at <= now:
            runs.append(run)
        else:
            later += 1
    return runs[::-1], later


def _free(
    instance: DagsterInstance, platform: Platform, catalogue: Catalogue, runs: Sequence[DagsterRun]
) -> tuple[list[DagsterRun], list[str]]:
    """Return those that their schedules let go now, and why the others wait."""
    facts = DagsterFacts(instance, platform)
    free: list[DagsterRun] = []
    waits = []
    for run in runs:
        name = run.tags.get("qm/schedule", "")
        # Of an entry that is gone, its run's tags are left.
        entry = catalogue.schedules.get(name) or Entry(job=run.job_name, cron="0 0 * * *")
        local = clock.now().astimezone(entry.zone(platform.calendar.timezone))
        reason = in_maintenance(entry, local) or busy(entry, name, facts)
        if reason is None and run.job_name in {other.job_name for other in free}:
            reason = f"already running: a run of {run.job_name} is about to be"
        if reason is None:
            free.append(run)
        else:
            waits.append(f"{run.job_name}: {reason}")
    return free, waits


def _again(run: DagsterRun) -> RunRequest:
    kept = {tag: v for tag, v in run.tags.items() if not tag.startswith(_DAGSTERS_OWN) or tag in _KEPT}
    kept.pop(FAILED_CHECKS, None)
    return RunRequest(
        run_key=f"retry-{run.run_id}",
        job_name=run.job_name,
        run_config=run.run_config,
        tags={**kept, ATTEMPT: str(attempt(run) + 1), RETRY_OF: run.run_id},
        partition_key=run.tags.get(PARTITION),
    )
