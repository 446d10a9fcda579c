"""What a schedule's tick looks up before it launches anything: Dagster's runs, the warehouse, the vendors, the disk."""

from __future__ import annotations

from datetime import date, datetime, timedelta

from dagster import DagsterInstance, DagsterRunStatus, RunsFilter

from quantmatrix_pipeline.automation.runs.under_way import ENDED, UNDER_WAY
from quantmatrix_pipeline.dagster_client.session_tags import sessions_in
from quantmatrix_pipeline.errors import QuantMatrixError
from quantmatrix_pipeline.health import machine
from quantmatrix_pipeline.health.finding import Verdict
from quantmatrix_pipeline.resources.platform import Platform
from quantmatrix_pipeline.schedules.entry import Preflight

LOOKED_AT = 50  # a job's newest runs; a session that an older one did is done once more


class DagsterFacts:
    """The facts as of now; see `schedules.decide.Facts`."""

    def __init__(self, instance: DagsterInstance, platform: Platform) -> None:
        self._instance = instance
        self._platform = platform

    def newest_session(self, at: datetime) -> date:
        return self._platform.newest_session(at)

    def newest_done(self, job: str) -> date | None:
        of_job = RunsFilter(job_name=job, statuses=[DagsterRunStatus.SUCCESS, *UNDER_WAY])
        runs = self._instance.get_runs(of_job, limit=LOOKED_AT)
        return max((sessions[1] for run in runs if (sessions := sessions_in(run.tags))), default=None)

    def under_way(self, *, job: str | None = None, schedule: str | None = None) -> int:
        tags = {"qm/schedule": schedule} if schedule else {}
        return self._instance.get_runs_count(RunsFilter(job_name=job, statuses=UNDER_WAY, tags=tags))

    def has_ended(self, job: str, since: datetime, session: date | None, *, well: bool) -> bool:
        statuses = [DagsterRunStatus.SUCCESS] if well else ENDED
        ended = self._instance.get_runs(
            RunsFilter(job_name=job, statuses=statuses, updated_after=since), limit=LOOKED_AT
        )
        return any(
            session is None or ((of := sessions_in(run.tags)) is not None and of[0] <= session <= of[1])
            for run in ended
        )

    def missing(self, check: Preflight, at: datetime) -> str | None:
        try:
            match check:
                case Preflight.DATABASE:
                    self._platform.warehouse.ping()
                    return None
                case Preflight.VENDOR_BUDGET:
                    return self._platform.out_of_calls()
                case Preflight.DISK:
                    found = machine.disk(self._platform.settings)
                    return found.detail if found.state is Verdict.BAD else None
                case Preflight.LAST_SESSION_CLOSED:
                    return self._open_session(at)
        except QuantMatrixError as error:
            return str(error)

    def _open_session(self, at: datetime) -> str | None:
        calendar, day = self._platform.calendar, at.date()
        near = calendar.sessions_in(day - timedelta(days=1), day + timedelta(days=1))
        for session, minutes in zip(near.tolist(), calendar.minutes(near).tolist(), strict=True):
            close = calendar.close(session)
            final = close + self._platform.grace
            if close - timedelta(minutes=minutes) <= at < final:
                return f"the session {session} is final at {final:%Y-%m-%d %H:%M} UTC"
        return None
