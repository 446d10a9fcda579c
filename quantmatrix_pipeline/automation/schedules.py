"""The schedules: constituents and profiles weekly, the chain nightly after the close, coverage hourly.

All in exchange time.
"""

from datetime import date

from dagster import (
    DefaultScheduleStatus,
    RunRequest,
    RunsFilter,
    ScheduleDefinition,
    ScheduleEvaluationContext,
    SkipReason,
    schedule,
)

from quantmatrix_pipeline.automation import jobs
from quantmatrix_pipeline.automation.turn import chain_has_had_its_turn
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
        """The guided chain for the newest session closed at the tick; a holiday closes none, and its tick says so."""
        tick = context.scheduled_execution_time
        session = platform.newest_session(tick)
        key = f"chain-{session}"
        if context.instance.get_runs_count(RunsFilter(tags={"dagster/run_key": key})):
            return SkipReason(f"no session closed since {session}, whose chain was started before ({tick:%A %Y-%m-%d})")
        return _run(session, key)

    @schedule(
        name="weekly_constituents",
        job_name=jobs.REFRESH_CONSTITUENTS,
        cron_schedule="0 6 * * 6",
        execution_timezone=timezone,
        default_status=DefaultScheduleStatus.RUNNING,
    )
    def weekly_constituents(context: ScheduleEvaluationContext, platform: Platform) -> RunRequest:
        """Index members and tracked set, on Saturday morning."""
        tick = context.scheduled_execution_time
        return _run(platform.newest_session(tick), f"constituents-{tick:%Y-%m-%d}")

    @schedule(
        name="hourly_coverage",
        job_name=jobs.REFRESH_COVERAGE,
        cron_schedule="5 * * * *",
        execution_timezone=timezone,
        default_status=DefaultScheduleStatus.RUNNING,
    )
    def hourly_coverage(context: ScheduleEvaluationContext, platform: Platform) -> RunRequest | SkipReason:
        """The coverage as of the newest closed session, also when a step of the chain failed before it."""
        tick = context.scheduled_execution_time
        session = platform.newest_session(tick)
        if not chain_has_had_its_turn(context.instance, platform.calendar, session, tick):
            return SkipReason(f"{session} has just closed; its chain comes first")
        return _run(session, f"coverage-{tick:%Y-%m-%dT%H}")

    @schedule(
        name="weekly_profiles",
        job_name=jobs.REFRESH_PROFILES,
        cron_schedule="0 7 * * 6",
        execution_timezone=timezone,
        default_status=DefaultScheduleStatus.RUNNING,
    )
    def weekly_profiles(context: ScheduleEvaluationContext) -> RunRequest:
        """What companies are, on Saturday morning, an hour after the members whose profiles are asked for."""
        return RunRequest(run_key=f"profiles-{context.scheduled_execution_time:%Y-%m-%d}")

    return [nightly_chain, weekly_constituents, hourly_coverage, weekly_profiles]


def _run(session: date, run_key: str) -> RunRequest:
    return RunRequest(run_key=run_key, partition_key=str(session), tags={SESSION_TAG: str(session)})
