"""The schedules: constituents weekly, the chain nightly after the close, coverage hourly. All in exchange time."""

from dagster import (
    DefaultScheduleStatus,
    RunRequest,
    ScheduleDefinition,
    ScheduleEvaluationContext,
    SkipReason,
    schedule,
)

from quantmatrix_pipeline.automation import jobs
from quantmatrix_pipeline.resources.platform import Platform

SESSION_TAG = "quantmatrix/session"


def build(cron: str, timezone: str) -> list[ScheduleDefinition]:
    """Return the schedules; `cron` is the nightly chain's, in `timezone`."""

    @schedule(
        name="nightly_chain",
        job_name=jobs.RESTORE,
        cron_schedule=cron,
        execution_timezone=timezone,
        default_status=DefaultScheduleStatus.RUNNING,
    )
    def nightly_chain(context: ScheduleEvaluationContext, platform: Platform) -> RunRequest | SkipReason:
        """The guided chain for the session that just closed; on a holiday the tick is skipped, and says so."""
        ticked = context.scheduled_execution_time.date()
        session = platform.newest_session()
        if not platform.source.listings() and session != ticked:
            return SkipReason(
                f"{ticked} is no session of {platform.calendar.name}, or it has not closed; newest: {session}"
            )
        return _run(session, run_key=f"chain-{session}")

    @schedule(
        name="weekly_constituents",
        job_name=jobs.REFRESH_CONSTITUENTS,
        cron_schedule="0 6 * * 6",
        execution_timezone=timezone,
        default_status=DefaultScheduleStatus.RUNNING,
    )
    def weekly_constituents(context: ScheduleEvaluationContext, platform: Platform) -> RunRequest:
        """Index members and tracked set, on Saturday morning."""
        return _run(platform.newest_session(), run_key=f"constituents-{context.scheduled_execution_time:%Y-%m-%d}")

    @schedule(
        name="hourly_coverage",
        job_name=jobs.REFRESH_COVERAGE,
        cron_schedule="5 * * * *",
        execution_timezone=timezone,
        default_status=DefaultScheduleStatus.RUNNING,
    )
    def hourly_coverage(context: ScheduleEvaluationContext, platform: Platform) -> RunRequest:
        """The coverage as of the newest closed session, also when a step of the chain failed before it."""
        return _run(platform.newest_session(), run_key=f"coverage-{context.scheduled_execution_time:%Y-%m-%dT%H}")

    return [nightly_chain, weekly_constituents, hourly_coverage]


def _run(session: object, run_key: str) -> RunRequest:
    return RunRequest(run_key=run_key, partition_key=str(session), tags={SESSION_TAG: str(session)})
