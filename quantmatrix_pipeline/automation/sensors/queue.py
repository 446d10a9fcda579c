"""The sensor that has the backfill queue worked: one run at a time, and never before tonight's chain."""

import json

from dagster import (
    RunRequest,
    RunsFilter,
    SensorDefinition,
    SensorEvaluationContext,
    SensorResult,
    SkipReason,
)

from quantmatrix_pipeline import clock
from quantmatrix_pipeline.automation.jobs.queue import held_back
from quantmatrix_pipeline.automation.runs.under_way import UNDER_WAY, chain_under_way
from quantmatrix_pipeline.automation.sensors.declare import running_sensor
from quantmatrix_pipeline.automation.sensors.turn import chain_has_had_its_turn
from quantmatrix_pipeline.job_names import WORK_QUEUE
from quantmatrix_pipeline.resources.platform import Platform
from quantmatrix_pipeline.warehouse import backfill as queue
from quantmatrix_pipeline.warehouse import coverage as tables

SENSOR = "backfill_queue"


def build() -> list[SensorDefinition]:
    """Return the sensor."""

    @running_sensor(SENSOR, every_seconds=60, job_name=WORK_QUEUE)
    def backfill_queue(context: SensorEvaluationContext, platform: Platform) -> SensorResult | SkipReason:
        """Put what was never fetched into the queue, and work it while it holds something, one run at a time."""
        now = clock.now()
        tables.beat(platform.warehouse, SENSOR, now)
        if context.instance.get_runs_count(RunsFilter(job_name=WORK_QUEUE, statuses=UNDER_WAY)):
            return SkipReason("a run of the queue is under way")
        session = platform.newest_session()
        if not chain_has_had_its_turn(context.instance, platform.calendar, session, now):
            return SkipReason(f"{session} has just closed; its chain comes first")
        if chain_under_way(context.instance):
            return SkipReason("a chain is under way, before which the queue's work stands back")
        queued = queue.enqueue(
            platform.warehouse, queue.open_gaps(platform.warehouse), origin="gaps", priority=0, now=now
        )
        ready = queue.claimable(platform.warehouse, now)
        if not ready:
            return SkipReason("the queue holds nothing that could be taken now")
        if why := held_back(platform):
            return SkipReason(f"{ready} jobs wait; postponed: {why}")
        # A run that could not get on, as when a budget is used up, is not repeated at once.
        latch = json.loads(context.cursor) if context.cursor else {}
        if (
            latch.get("ready") == ready
            and now.timestamp() - latch["at"] < 60 * platform.settings.stale_cooldown_minutes
        ):
            return SkipReason(f"{ready} jobs wait, as many as when the last run began; cooling down")
        return SensorResult(
            run_requests=[
                RunRequest(run_key=f"backfill-{now:%Y-%m-%dT%H:%M:%S}", tags={"quantmatrix/queued": str(queued)})
            ],
            cursor=json.dumps({"ready": ready, "at": now.timestamp()}),
        )

    return [backfill_queue]
