"""The daily partitions: one key per session of the equity calendar, and what a run covers of them."""

from __future__ import annotations

from datetime import date, datetime, time
from functools import lru_cache

import numpy as np
from dagster import AssetExecutionContext, BackfillPolicy, DailyPartitionsDefinition

from quantmatrix_pipeline.bars.sessions import trading_calendar

WEEKENDS = "0 0 * * 0,6"  # a string exclusion is a cron string
ONE_RUN = BackfillPolicy.single_run()


@lru_cache(maxsize=4)
def session_partitions(calendar_name: str, first: date) -> DailyPartitionsDefinition:
    """Return the sessions of a calendar from `first` on as daily partitions in the exchange's time zone.

    A key becomes valid on its own day (`end_offset=1`), since a session's chain runs after its close. The newest key
    Dagster shows can lie ahead of the last close: what is due is said by our calendar, never by the newest key.
    """
    calendar = trading_calendar(calendar_name)
    days = np.arange(np.datetime64(first), calendar.sessions[-1] + 1)
    weekdays = days[np.is_busday(days)]
    holidays = weekdays[calendar.index_of(weekdays) < 0]
    return DailyPartitionsDefinition(
        start_date=datetime.combine(first, time()),
        timezone=str(calendar.timezone),
        end_offset=1,
        exclusions=[WEEKENDS, *(datetime.combine(day.item(), time()) for day in holidays)],
    )


def sessions_of(context: AssetExecutionContext) -> tuple[date, date]:
    """Return the first and the last session that this run covers; they differ in a range run."""
    keys = context.partition_key_range
    return date.fromisoformat(keys.start), date.fromisoformat(keys.end)
