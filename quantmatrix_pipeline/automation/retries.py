"""The sensor that launches a failed run of a schedule again, after the pause its entry names, doubled each time."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from dagster import (
    DagsterInstance,
    DagsterRun,
    DagsterRunStatus,
    DefaultSensorStatus,
    RunRequest,
    RunsFilter,
    SensorDefinition,
    SensorEvaluationContext,
    SensorResult,
    SkipReason,
    sensor,
)
from dagster._core.definitions.target import ExecutableDefinition

from quantmatrix_pipeline import clock
from quantmatrix_pipeline.dagster_client.session_tags import PARTITION, RANGE
from quantmatrix_pipeline.resources.platform import Platform
from quantmatrix_pipeline.warehouse import coverage as tables

SENSOR = "retry_failed_runs"
ATTEMPT, RETRY_OF = "qm/attempt", "qm/retry_of"
LOOKS_BACK = timedelta(days=2)
LOOKED_AT = 100
_DAGSTERS_OWN = ("dagster/", ".dagster/")
_KEPT = (
    "dagster/max_runtime",
    "dagster/priority",
    *RANGE,
)


def sensors(jobs: Sequence[ExecutableDefinition]) -> list[SensorDefinition]:
    """Return the sensor; `jobs` are all that it may launch again."""

    @sensor(name=SENSOR, jobs=jobs, minimum_interval_seconds=30, default_status=DefaultSensorStatus.RUNNING)
    def retry_failed_runs(context: SensorEvaluationContext, platform: Platform) -> SensorResult | SkipReason:
        """Launch failed runs again whose schedule says how often, each once, after its pause."""
        tables.beat(platform.warehouse, SENSOR, clock.now())
        # A run's end is by the machine's clock, whatever QM_NOW says.
        due, later = _failed(context.instance, datetime.now(UTC))
        if due:
            return SensorResult(run_requests=[_again(run) for run in due])
        return SkipReason(
            f"{later} failed runs wait for their pause to end" if later else "no failed run is to be retried"
        )

    return [retry_failed_runs]


def _failed(instance: DagsterInstance, now: datetime) -> tuple[list[DagsterRun], int]:
    """Return the failed runs whose retry is due, and how many are to be retried later."""
    due, later = [], 0
    failed = RunsFilter(statuses=[DagsterRunStatus.FAILURE], updated_after=now - LOOKS_BACK)
    for record in instance.get_run_records(failed, limit=LOOKED_AT):
        run = record.dagster_run
        attempt = int(run.tags.get(ATTEMPT, 0))
        # Where its process crashed, Dagster itself launches it again.
        if attempt >= int(run.tags.get("qm/retries", 0)) or run.tags.get("dagster/will_retry") == "true":
            continue
        if instance.get_runs_count(RunsFilter(tags={RETRY_OF: run.run_id})):
            continue
        ended = datetime.fromtimestamp(record.end_time or record.update_timestamp.timestamp(), UTC)
        pause = timedelta(seconds=int(run.tags.get("qm/backoff_s", 0)) * 2**attempt)
        if ended + pause <= now:
            due.append(run)
        else:
            later += 1
    return due, later


def _again(run: DagsterRun) -> RunRequest:
    kept = {tag: v for tag, v in run.tags.items() if not tag.startswith(_DAGSTERS_OWN) or tag in _KEPT}
    return RunRequest(
        run_key=f"retry-{run.run_id}",
        job_name=run.job_name,
        run_config=run.run_config,
        tags={**kept, ATTEMPT: str(int(run.tags.get(ATTEMPT, 0)) + 1), RETRY_OF: run.run_id},
        partition_key=run.tags.get(PARTITION),
    )
