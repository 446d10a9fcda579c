"""The runs that ended since the last look, each once, and a failed one when no further attempt will speak for it."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import UTC, datetime

from dagster import DagsterInstance, RepositoryDefinition

from quantmatrix_pipeline.alerts.events import Run
from quantmatrix_pipeline.automation.runs import events, reports
from quantmatrix_pipeline.automation.runs.attempts import Next, what_follows

AT_ONCE = 50
READING_SECONDS = 15.0  # what is not looked at by then is looked at the next time


def ended_runs(
    instance: DagsterInstance, repository: RepositoryDefinition | None, cursor: events.EndedCursor, now: float
) -> list[Run]:
    """Return runs in the order in which they ended, and move the cursor past them.

    A failed run that is to be launched again comes with the wish that nothing is told; should the further attempt not
    come, the run comes once more without it. One that hung until its timeout is never held back.

    Parameters
    ----------
    now
        Seconds since 1970 of the machine's clock.
    """
    deadline = time.monotonic() + READING_SECONDS
    found: list[Run] = []
    held = list(cursor.held)
    for event in events.ended_since(instance, cursor, AT_ONCE):
        run = reports.report(instance, event.run_id, repository, now)
        if run is not None and cursor.is_news(run.run_id, run.outcome, event.at):
            follows = _follows(instance, run, now)
            if follows is Next.AWAITED:
                cursor.held.append(run.run_id)
            found.append(run if follows is Next.NOTHING else _untold(run))
        cursor.handled[event.number] = event.at
        if time.monotonic() > deadline:  # one at each look, however slow the storage is, or none would ever be read
            break
    cursor.settle(now)
    come: list[Run] = []
    for run_id in held:  # after what is new, but of those at least one as well
        if (run := _held(instance, repository, cursor, run_id, now)) is not None:
            come.append(run)
        if time.monotonic() > deadline:
            break
    return come + found  # they ended before


def _held(
    instance: DagsterInstance,
    repository: RepositoryDefinition | None,
    cursor: events.EndedCursor,
    run_id: str,
    now: float,
) -> Run | None:
    """Return a run that was held back, where nobody came to speak for it; one that still is goes to the end."""
    run = reports.report(instance, run_id, repository, now)
    follows = Next.LAUNCHED if run is None else _follows(instance, run, now)
    cursor.held.remove(run_id)
    if follows is Next.AWAITED:
        cursor.held.append(run_id)
    return run if follows is Next.NOTHING else None


def _follows(instance: DagsterInstance, run: Run, now: float) -> Next:
    record = instance.get_run_record_by_id(run.run_id) if run.outcome == "failure" and not run.timed_out else None
    return Next.NOTHING if record is None else what_follows(instance, record, datetime.fromtimestamp(now, UTC))


def _untold(run: Run) -> Run:
    return replace(run, wishes=replace(run.wishes, on=frozenset()))
