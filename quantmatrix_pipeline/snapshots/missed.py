"""Sessions that passed without being recorded: nights on which nothing ran."""

from __future__ import annotations

from datetime import date

from quantmatrix_pipeline.bars.sessions import TradingCalendar
from quantmatrix_pipeline.warehouse import history
from quantmatrix_pipeline.warehouse.engine import Warehouse


def missed_sessions(
    warehouse: Warehouse, calendar: TradingCalendar, first: date | None = None, last: date | None = None
) -> list[date]:
    """Return the sessions of [first, last], both ends inclusive, of which there are bars and no row of the history.

    By default up to the newest that was recorded; none before the first that ever was.
    """
    began, newest = history.oldest_recorded(warehouse), history.newest_recorded(warehouse)
    if began is None or newest is None:
        return []
    days: list[date] = calendar.sessions_in(max(first or began, began), last or newest).tolist()
    return history.unrecorded(warehouse, days)
