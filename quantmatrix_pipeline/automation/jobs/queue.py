"""The job that works the backfill queue, and queues beforehand what it is asked to."""

import os
import socket
import time
from collections.abc import Iterator
from functools import partial
from typing import Literal

from dagster import (
    AssetObservation,
    In,
    JobDefinition,
    Nothing,
    OpExecutionContext,
    Out,
    Output,
    job,
    op,
)
from pydantic import Field

from quantmatrix_pipeline import clock
from quantmatrix_pipeline.assets.metadata import would_fetch
from quantmatrix_pipeline.automation.jobs.symbols import StretchConfig, stretch
from quantmatrix_pipeline.automation.jobs.tags import LIMITS
from quantmatrix_pipeline.coverage.gaps import scan
from quantmatrix_pipeline.dagster_client.session_tags import written
from quantmatrix_pipeline.ingest.backfill import ask, work
from quantmatrix_pipeline.ingest.daily import ingest_stretches
from quantmatrix_pipeline.job_names import WORK_QUEUE
from quantmatrix_pipeline.providers.routing.overview import spent_for_today
from quantmatrix_pipeline.resources.platform import BARS, Platform
from quantmatrix_pipeline.universe.scope import part_of
from quantmatrix_pipeline.warehouse import backfill as queue

LOCK_WAIT_SECONDS = 5.0  # a chain that holds the lock comes first; the next run goes on


class QueueConfig(StretchConfig):
    """What is queued before the queue is worked."""

    symbols: list[str] = Field([], description="tracked symbols; empty: nothing is queued")
    tier: Literal["own", "T0", "T1", "T2"] = Field(
        "own", description="within whose limits it is fetched; own: each symbol's"
    )
    priority: int = Field(queue.ASKED_BY_A_PERSON, description="within the tier: the greater, the sooner")


def build() -> list[JobDefinition]:
    """Return the queue's job; safe to run twice, since jobs of the queue are claimed."""

    @op(out=Out(Nothing, is_required=False))
    def queue_stretch(context: OpExecutionContext, config: QueueConfig, platform: Platform) -> Iterator[Output[None]]:
        """Queue what the named symbols lack of a stretch; by default nobody is named, and the queue is as it is."""
        part = part_of(platform.warehouse, "symbols", symbols=config.symbols)
        if not part.tracked and config.dry_run:
            said = "nothing: no symbol was named, and a dry run leaves alone what is queued already"
            context.log_event(AssetObservation("daily_bars", metadata={"would_ask": said}))
            return
        if not part.tracked:
            yield Output(None)
            return
        first, last = stretch(config, platform.calendar, platform.newest_session(), platform.settings.history_sessions)
        asked = ask(
            platform.warehouse,
            platform.calendar,
            part.tracked,
            first,
            last,
            now=clock.now(),
            tier=None if config.tier == "own" else config.tier,
            priority=config.priority,
            dry_run=config.dry_run,
        )
        if config.dry_run:
            context.log_event(AssetObservation("daily_bars", metadata=would_fetch(asked.lacking)))
            return
        counts = {"symbols": asked.lacking.symbols, "sessions": asked.lacking.sessions, "queued": asked.made}
        yield Output(None, metadata={"who": part.told, "stretch": written(first, last), **counts})

    @op(name="work_queue", ins={"queued": In(Nothing)})
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
            hold=partial(held_back, platform),
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
        name=WORK_QUEUE,
        description="Fetch what the backfill queue holds, within the limits per tier, while no chain wants to; before"
        " that, what named symbols lack of a stretch may be queued.",
        tags=LIMITS | {"quantmatrix/backfill": "queue"},
    )
    def work_backfill_queue() -> None:
        work_queue(queue_stretch())

    return [work_backfill_queue]


def held_back(platform: Platform) -> str | None:
    """Say why the queue is not worked: what is left of today's calls is tonight's; None: it may be."""
    return spent_for_today(platform.bar_vendors(), BARS, platform.settings.backfill_budget_share)
