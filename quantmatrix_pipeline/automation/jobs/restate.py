"""The job `restate`: what became untrue in the history is recorded again, whichever sessions that concerns."""

from collections.abc import Sequence
from datetime import date
from typing import Any

from dagster import Config, JobDefinition, OpExecutionContext, job, op
from pydantic import Field

from quantmatrix_pipeline import clock
from quantmatrix_pipeline.assets.configs import day
from quantmatrix_pipeline.automation.jobs.tags import LIMITS, ONE_AT_A_TIME
from quantmatrix_pipeline.job_names import RESTATE
from quantmatrix_pipeline.resources.platform import Platform
from quantmatrix_pipeline.snapshots.restate import restate
from quantmatrix_pipeline.universe.scope import part_of
from quantmatrix_pipeline.warehouse import history


class RestateConfig(Config):
    """What is taken for due besides what is."""

    symbols: list[str] = Field([], description="tracked symbols that are recorded again as well, due or not")
    since: str | None = Field(None, description="those from this session on (YYYY-MM-DD); empty: from their first one")
    dry_run: bool = Field(False, description="Only say of how many instruments the history is due, and end there.")


def build() -> list[JobDefinition]:
    """Return the job; it has no session, since what is due says itself from when on."""

    @op
    def record_what_is_due(context: OpExecutionContext, config: RestateConfig, platform: Platform) -> None:
        """New revisions of the rows that late bars, corrections and actions touch; nothing due, nothing done."""
        also = part_of(platform.warehouse, "symbols", symbols=config.symbols)
        if config.dry_run:
            context.add_output_metadata({"due": history.due(platform.warehouse), "also": also.told})
            return
        context.add_output_metadata(restate_all(platform, also.ids, day(config.since, "since")))

    @job(
        name=RESTATE,
        tags=ONE_AT_A_TIME | LIMITS,
        description="Record again what bars and actions that came late made untrue.",
    )
    def restate_job() -> None:
        record_what_is_due()

    return [restate_job]


def restate_all(platform: Platform, also: Sequence[int] = (), since: date | None = None) -> dict[str, Any]:
    """Record what is due again, and `also` these instruments from a session on; return what an operator asks first."""
    done = restate(
        platform.warehouse,
        platform.calendar,
        now=clock.now(),
        grace=platform.grace,
        method=platform.method,
        also=also,
        since=since,
        lock_wait_seconds=platform.settings.lock_wait_seconds,
    )
    return {
        "instruments": done.instruments,
        "restated": done.counts.restated,
        "recorded": done.counts.recorded,
        "unchanged": done.counts.unchanged,
        "snapshots_changed": done.snapshots_changed,
        "seconds": round(done.seconds, 3),
    }
