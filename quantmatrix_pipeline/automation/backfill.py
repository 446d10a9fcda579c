"""The backfill queue's job and the sensor that launches it: one run at a time, and never before tonight's chain."""

import json
import os
import socket
import time
from functools import partial

from dagster import (
    DefaultSensorStatus,
    JobDefinition,
    OpExecutionContext,
    RunRequest,
    RunsFilter,
    SensorDefinition,
    SensorEvaluationContext,
    SensorResult,
    SkipReason,
    job,
    op,
    sensor,
)

from quantmatrix_pipeline import clock
from quantmatrix_pipeline.automation.turn import chain_has_had_its_turn
from quantmatrix_pipeline.automation.watching import UNDER_WAY
from quantmatrix_pipeline.coverage.gaps import scan
from quantmatrix_pipeline.ingest.backfill import work
from quantmatrix_pipeline.ingest.daily import ingest_stretches
from quantmatrix_pipeline.providers.routing.overview import spent_for_today
from quantmatrix_pipeline.resources.platform import BARS, Platform
from quantmatrix_pipeline.warehouse import backfill as queue
from quantmatrix_pipeline.warehouse import coverage as tables

JOB = "work_backfill_queue"
SENSOR = "backfill_queue"
LOCK_WAIT_SECONDS = 5.0  # a chain that holds the lock comes first; the next run goes on


def jobs() -> list[JobDefinition]:
    """Return the queue's job; safe to run twice, since jobs of the queue are claimed."""

    @op(name="work_queue")
    def work_queue(context: OpExecutionContext, platform: Platform) -> None:
        """Fetch what the queue holds until it is empty, a chain comes, or the rest of the day's calls is tonight's."""
        settings = platform.settings
        done = work(
            platform.warehouse,
            lambda stretches, now: ingest_stretches(
                platform.warehouse,
                platform.source,
                platform.calendar,
                stretches,
                now=now,
                **platform.fetching | {"lock_wait_seconds": LOCK_WAIT_SECONDS},
            ),
            worker=f"{socket.gethostname()}:{os.getpid()}:{context.run_id}",
            pace=platform.backfill_pace,
            clock=clock.now,
            wait=time.sleep,
            hold=partial(_hold, platform),
            most_seconds=settings.backfill_run_seconds,
        )
        scan(
            platform.warehouse,
            platform.calendar,
            platform.newest_session(),
            depth=settings.history_sessions,
            now=clock.now(),
        )
        context.add_output_metadata(
            {
                "done": done.done,
                "put_back_or_failed": done.failed,
                "inserted": done.inserted,
                "batches": done.batches,
                "stopped": done.stopped or "nothing is left that could be taken now",
            }
        )

    @job(
        name=JOB,
        description="Fetch what the backfill queue holds, within the limits per tier, while no chain wants to.",
        tags={"dagster/max_runtime": "7200", "quantmatrix/backfill": "queue"},
    )
    def work_backfill_queue() -> None:
        work_queue()

    return [work_backfill_queue]


def _hold(platform: Platform) -> str | None:
    return spent_for_today(platform.bar_vendors(), BARS, platform.settings.backfill_budget_share)


def sensors() -> list[SensorDefinition]:
    """Return the sensor."""

    @sensor(name=SENSOR, job_name=JOB, minimum_interval_seconds=60, default_status=DefaultSensorStatus.RUNNING)
    def backfill_queue(context: SensorEvaluationContext, platform: Platform) -> SensorResult | SkipReason:
        """Put what was never fetched into the queue, and work it while it holds something, one run at a time."""
        now = clock.now()
        tables.beat(platform.warehouse, SENSOR, now)
        if context.instance.get_runs_count(RunsFilter(job_name=JOB, statuses=UNDER_WAY)):
            return SkipReason("a run of the queue is under way")
        session = platform.newest_session()
        if not chain_has_had_its_turn(context.instance, platform.calendar, session, now):
            return SkipReason(f"{session} has just closed; its chain comes first")
        queued = queue.enqueue(
            platform.warehouse, queue.open_gaps(platform.warehouse), origin="gaps", priority=0, now=now
        )
        ready = queue.claimable(platform.warehouse, now)
        if not ready:
            return SkipReason("the queue holds nothing that could be taken now")
        if why := _hold(platform):
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
