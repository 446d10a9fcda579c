"""What people do with a schedule in a running Dagster: pause it, resume it, run it now; recorded with who did it."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from quantmatrix_pipeline.bars.sessions import trading_calendar
from quantmatrix_pipeline.dagster_client import UNDER_WAY, Dagster, launch, runs, start_schedule, stop_schedule
from quantmatrix_pipeline.dagster_client.session_tags import SESSION, sessions_in, written
from quantmatrix_pipeline.errors import QuantMatrixError, WarehouseError
from quantmatrix_pipeline.providers.select import build_for
from quantmatrix_pipeline.schedules.decide import Exchange, missed
from quantmatrix_pipeline.schedules.entry import Entry, Partition
from quantmatrix_pipeline.settings import Settings
from quantmatrix_pipeline.warehouse import schedules as audit
from quantmatrix_pipeline.warehouse.engine import Warehouse

log = logging.getLogger(__name__)

LOOKED_AT = 50


@dataclass(frozen=True, slots=True)
class Launch:
    """A run that was launched; `sessions` is what it is about, `first..last` where they are several, None: nothing."""

    run_id: str
    job: str
    sessions: str | None


def exchange(settings: Settings) -> Exchange:
    """Return the sessions that the settings name."""
    return Exchange(trading_calendar(settings.calendar), timedelta(minutes=settings.close_grace_minutes))


def pause(dagster: Dagster, warehouse: Warehouse, name: str, actor: str, now: datetime) -> None:
    """Let a schedule tick no more until it is resumed, whatever happens to its entry or to Dagster.

    Raises
    ------
    DagsterUnreachable, DagsterRefused
        No Dagster runs, or it has no such schedule.
    """
    with audit.recorded(warehouse, [audit.Change(actor, "pause", name, {})], now):
        stop_schedule(dagster, name)


def resume(dagster: Dagster, warehouse: Warehouse, name: str, actor: str, now: datetime) -> None:
    """Let a schedule tick, whether its entry is enabled or not.

    Raises
    ------
    DagsterUnreachable, DagsterRefused
        No Dagster runs, or it has no such schedule.
    """
    with audit.recorded(warehouse, [audit.Change(actor, "resume", name, {})], now):
        start_schedule(dagster, name)


def run_now(
    dagster: Dagster,
    warehouse: Warehouse,
    settings: Settings,
    name: str,
    entry: Entry,
    actor: str,
    now: datetime,
    session: date | None = None,
) -> Launch:
    """Launch a schedule's run now, whatever its conditions are.

    That it is to be launched is recorded before, and what came of it after: what can't be recorded is not launched. A
    run whose outcome can't be added is under way all the same; its tag `qm/actor` says whose it is.

    Parameters
    ----------
    dagster, warehouse, settings
        Where it runs, where it is recorded, which source serves the sessions.
    name, entry
        The schedule.
    actor, now
        Who, and when.
    session
        The session; None: those the entry's next tick would be about, and the newest where there is none.

    Raises
    ------
    NotASession
        `session` is none.
    VendorUnavailable
        No source that bars are stored of answers, so that the newest session is not known.
    DagsterUnreachable, DagsterRefused
        No Dagster runs, or the job is none of its.
    """
    tags = entry.run_tags(name) | {"qm/actor": actor}
    due = _due(dagster, warehouse, settings, entry, now, session)
    if due is not None:
        tags[SESSION] = written(*due)
    one = str(due[0]) if due and due[0] == due[1] else None
    several = (str(due[0]), str(due[1])) if due and due[0] != due[1] else None
    recorded = audit.record(warehouse, audit.Change(actor, "run_now", name, {}), now)
    try:
        run_id = launch(dagster, entry.job, config=entry.config, tags=tags, partition=one, partitions=several)
    except QuantMatrixError as error:
        _add(warehouse, recorded, now, error=str(error))
        raise
    _add(warehouse, recorded, now, run_id=run_id)
    return Launch(run_id, entry.job, tags.get(SESSION))


def _add(warehouse: Warehouse, recorded: int, now: datetime, **came: str) -> None:
    """Add what came of a launch to its record; who asked for it is told that in any case, and not that this failed."""
    try:
        audit.outcome(warehouse, recorded, now, **came)
    except WarehouseError as error:
        log.warning("what came of launch %d of schedule_audit could not be added: %s (%s)", recorded, came, error)


def newest_done(dagster: Dagster, job: str) -> date | None:
    """Return the newest session that a run of a job did, or is about to do."""
    found = runs(dagster, job=job, statuses=("SUCCESS", *UNDER_WAY), limit=LOOKED_AT)
    return max((sessions[1] for run in found if (sessions := sessions_in(run.tags))), default=None)


def _due(
    dagster: Dagster, warehouse: Warehouse, settings: Settings, entry: Entry, now: datetime, session: date | None
) -> tuple[date, date] | None:
    if entry.partition is Partition.NONE:
        return None
    sessions = exchange(settings)
    if session is not None:
        return sessions.calendar.require_session(session), session
    source = build_for(settings, warehouse).provider
    newest = source.newest_session(sessions.calendar.newest_closed(now, sessions.grace))
    if entry.partition is Partition.MISSED:
        due = missed(sessions.calendar, newest_done(dagster, entry.job), newest, entry.catch_up)
        if due:
            return due[0], due[-1]
    return newest, newest
