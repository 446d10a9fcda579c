"""What may be launched over HTTP: the jobs by name, and how a run of one is put into Dagster's queue."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Annotated, Any

from fastapi import Depends

from quantmatrix_pipeline import clock, job_names
from quantmatrix_pipeline.api.admin import Admin, RunningDagster
from quantmatrix_pipeline.api.former_names import INTRADAY, SUCCESSORS, Config, Successor, merged, plain
from quantmatrix_pipeline.api.models.admin import Launched
from quantmatrix_pipeline.api.parameters import CurrentSettings, OpenWarehouse
from quantmatrix_pipeline.api.problems import no_intraday_bars, refused
from quantmatrix_pipeline.bars.sessions import TradingCalendar, trading_calendar
from quantmatrix_pipeline.dagster_client import Dagster, launch
from quantmatrix_pipeline.dagster_client.session_tags import SESSION, written
from quantmatrix_pipeline.errors import SessionNotClosed
from quantmatrix_pipeline.providers.select import build_for
from quantmatrix_pipeline.settings import Settings
from quantmatrix_pipeline.warehouse.engine import Warehouse

JOBS = "/api/v1/market-data/admin/jobs"

# Job -> whether a run of it is about a session, or a range of sessions.
TASKS: Mapping[str, bool] = {
    job_names.RESTORE: True,
    job_names.BACKFILL_STALE: True,
    job_names.BACKFILL_SYMBOLS: False,
    job_names.BACKFILL_INDEX: False,
    job_names.RECOMPUTE: True,
    job_names.RECORD: True,
    job_names.BACKFILL_HISTORY: False,
    job_names.REFRESH_COVERAGE: True,
    job_names.REFRESH_CONSTITUENTS: True,
    job_names.REFRESH_PROFILES: False,
    job_names.RESTATE: False,
    job_names.VALIDATE: False,
    job_names.WORK_QUEUE: False,
    job_names.RETENTION: False,
    job_names.BACKUP: False,
    job_names.VERIFY_BACKUP: False,
    job_names.DIGEST: False,
}


@dataclass(frozen=True, slots=True)
class Launcher:
    """Launches runs on behalf of somebody who holds an admin key."""

    dagster: Dagster
    admin: str
    settings: Settings
    warehouse: Warehouse

    @property
    def calendar(self) -> TradingCalendar:
        return trading_calendar(self.settings.calendar)

    def newest_closed(self) -> date:
        """Return the newest session that has closed, plus grace, whatever the source can serve."""
        grace = timedelta(minutes=self.settings.close_grace_minutes)
        return self.calendar.newest_closed(clock.now(), grace)

    def newest_session(self) -> date:
        """Return the newest session that has closed, plus grace, and that the source can serve."""
        return build_for(self.settings, self.warehouse).provider.newest_session(self.newest_closed())

    def start_named(
        self, task: str, config: Config, *, session: date | None = None, priority: int | None = None
    ) -> Launched:
        """Launch a run of what somebody calls `task`: one of `TASKS`, or a name that it had in another system.

        Raises
        ------
        RequestError
            There is no such task, it is about bars that are not stored, it takes no session, or it lacks a field.
        """
        name = plain(task)
        if name in INTRADAY:
            raise no_intraday_bars("5m")
        wanted = Successor(name) if name in TASKS else SUCCESSORS.get(name)
        if wanted is None:
            raise refused([("task", f"{task!r} may not be launched here; these may: {', '.join(TASKS)}")])
        if session is not None and not TASKS[wanted.job]:
            raise refused([("session", f"{wanted.job} takes none")])
        if wanted.needs is not None:
            op, needed = wanted.needs
            if not config.get(op, {}).get(needed):
                where = "must be there, in the body of /api/v1/market-data/admin/tasks/run"
                raise refused([(f"config.{op}.{needed}", f"{where}: {name} is about those that are named")])
        return self.start(wanted.job, merged(wanted.config, config), first=session, priority=priority)

    def start(
        self,
        job: str,
        config: Mapping[str, Any] | None = None,
        *,
        first: date | None = None,
        last: date | None = None,
        priority: int | None = None,
    ) -> Launched:
        """Launch a run of one of `TASKS`.

        Parameters
        ----------
        config
            By op, as in the launchpad; None: the job's defaults.
        first, last
            The sessions, both inclusive, of a job that takes some; both None: the newest; one of them: that one.
        priority
            In Dagster's queue: the higher, the sooner.

        Raises
        ------
        NotASession, SessionNotClosed
            A session was named that is none, or not over yet.
        VendorUnavailable
            No source that bars are stored of answers, so that the newest session is not known.
        DagsterUnreachable, DagsterRefused
            No Dagster runs, or the configuration is not one of the job's.
        """
        tags = {"qm/actor": self.admin}
        if priority is not None:
            tags["dagster/priority"] = str(priority)
        partition: str | None = None
        partitions: tuple[str, str] | None = None
        if TASKS[job]:
            begin, end = self._sessions(first, last)
            tags[SESSION] = written(begin, end)
            partition, partitions = (str(begin), None) if begin == end else (None, (str(begin), str(end)))
        ops = {op: {"config": dict(given)} for op, given in (config or {}).items()}
        run_id = launch(
            self.dagster,
            job,
            config={"ops": ops} if ops else None,
            tags=tags,
            partition=partition,
            partitions=partitions,
        )
        return launched(self.dagster, run_id, job, tags.get(SESSION))

    def _sessions(self, first: date | None, last: date | None) -> tuple[date, date]:
        newest = self.newest_session()
        begin, end = (self.calendar.require_session(day) for day in (first or last or newest, last or first or newest))
        if end > newest:
            raise SessionNotClosed(f"{end} can't be run yet: the newest session is {newest}")
        return begin, end


def launched(dagster: Dagster, run_id: str, job: str, sessions: str | None) -> Launched:
    """Return the body that says which run was launched, and where it can be followed."""
    return Launched(run_id=run_id, task=job, session=sessions, follow=f"{JOBS}/{run_id}", url=dagster.page(run_id))


async def _launcher(
    admin: Admin, in_force: CurrentSettings, dagster: RunningDagster, warehouse: OpenWarehouse
) -> Launcher:
    return Launcher(dagster, admin, in_force.settings, warehouse)


Launching = Annotated[Launcher, Depends(_launcher)]
