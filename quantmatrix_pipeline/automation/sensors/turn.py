"""Whose turn it is: between a close and the nightly chain everything is a session old, and nothing is wrong."""

from __future__ import annotations

from datetime import UTC, date, datetime

from dagster import DagsterInstance, RunsFilter

from quantmatrix_pipeline.automation.runs.attempts import Next, what_follows
from quantmatrix_pipeline.automation.runs.under_way import ENDED
from quantmatrix_pipeline.bars.sessions import TradingCalendar
from quantmatrix_pipeline.coverage.standing import CHAIN_DONE_BY
from quantmatrix_pipeline.job_names import RESTORE

LOOKED_AT = 20  # the newest runs of the chain; how those before them ended says nothing about tonight


def chain_has_had_its_turn(instance: DagsterInstance, calendar: TradingCalendar, session: date, now: datetime) -> bool:
    """Tell whether a chain has ended since `session` closed, for good, or should have by now.

    One that failed and is going to be launched again has not ended for good.
    """
    closed = calendar.close(session)
    if now - closed >= CHAIN_DONE_BY:
        return True
    ended = RunsFilter(
        job_name=RESTORE,
        statuses=ENDED,
        updated_after=closed,
    )
    wall = datetime.now(UTC)  # a run's end is by the machine's clock, whatever QM_NOW says
    records = instance.get_run_records(ended, limit=LOOKED_AT)
    return any(what_follows(instance, record, wall) is not Next.AWAITED for record in records)
