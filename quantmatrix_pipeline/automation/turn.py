"""Whose turn it is: between a close and the nightly chain everything is a session old, and nothing is wrong."""

from __future__ import annotations

from datetime import date, datetime, timedelta

from dagster import DagsterInstance, DagsterRunStatus, RunsFilter

from quantmatrix_pipeline.bars.sessions import TradingCalendar
from quantmatrix_pipeline.job_names import RESTORE

# So long after a close the others wait for the chain. Then it is late, and must not keep them from saying so.
PATIENCE = timedelta(hours=4)


def chain_has_had_its_turn(instance: DagsterInstance, calendar: TradingCalendar, session: date, now: datetime) -> bool:
    """Tell whether a chain has ended since `session` closed, or should have by now."""
    closed = calendar.close(session)
    if now - closed > PATIENCE:
        return True
    ended = RunsFilter(
        job_name=RESTORE,
        statuses=[DagsterRunStatus.SUCCESS, DagsterRunStatus.FAILURE, DagsterRunStatus.CANCELED],
        updated_after=closed,
    )
    return instance.get_runs_count(ended) > 0
