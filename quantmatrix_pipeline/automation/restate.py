"""The job `restate`: what became untrue in the history is recorded again, whichever sessions that concerns."""

from dagster import JobDefinition, OpExecutionContext, job, op

from quantmatrix_pipeline import clock
from quantmatrix_pipeline.resources.platform import Platform
from quantmatrix_pipeline.snapshots.restate import restate


def build(tags: dict[str, str]) -> JobDefinition:
    """Return the job; it has no session, since what is due says itself from when on."""

    @op
    def record_what_is_due(context: OpExecutionContext, platform: Platform) -> None:
        """New revisions of the rows that late bars, corrections and actions touch; nothing due, nothing done."""
        done = restate(
            platform.warehouse,
            platform.calendar,
            now=clock.now(),
            grace=platform.grace,
            method=platform.method,
            lock_wait_seconds=platform.settings.lock_wait_seconds,
        )
        context.add_output_metadata(
            {
                "instruments": done.instruments,
                "restated": done.counts.restated,
                "unchanged": done.counts.unchanged,
                "snapshots_changed": done.snapshots_changed,
                "seconds": round(done.seconds, 3),
            }
        )

    @job(name="restate", tags=tags, description="Record again what bars and actions that came late made untrue.")
    def restate_job() -> None:
        record_what_is_due()

    return restate_job
