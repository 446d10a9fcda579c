"""Restating: what a late bar, a correction or an action made untrue in the history is recorded again."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import lru_cache
from typing import Any

from quantmatrix_pipeline.bars.sessions import TradingCalendar
from quantmatrix_pipeline.snapshots.breadth import record_breadth
from quantmatrix_pipeline.snapshots.method import DEFAULT_METHOD, Method
from quantmatrix_pipeline.snapshots.panel import read_panel
from quantmatrix_pipeline.snapshots.record import record_history, update_snapshots
from quantmatrix_pipeline.warehouse import history as tables
from quantmatrix_pipeline.warehouse.engine import Warehouse


@dataclass(frozen=True, slots=True)
class RestateReport:
    """What a restating did: of how many instruments the history was due, and what became of its rows; `seconds` in all,
    of them `history_seconds` until the history was committed.
    """

    instruments: int
    counts: tables.HistoryCounts
    snapshots_changed: int
    history_seconds: float
    seconds: float


def restate(
    warehouse: Warehouse,
    calendar: TradingCalendar,
    *,
    now: datetime,
    grace: timedelta,
    method: Method = DEFAULT_METHOD,
    also: Sequence[int] = (),
    since: date | None = None,
    lock_wait_seconds: float = 600,
) -> RestateReport:
    """Record again, as new revisions, what is due and differs; then the breadth that follows from it, and
    the snapshots.

    Due is an instrument from the first session on that something new touches. Averages, ranges and sums look back over
    a stated number of bars, but recursive ones (EMA, Wilder's averages, on-balance volume) over all: so every recorded
    session from there on is computed, and those whose numbers are the same stay as they are.

    Parameters
    ----------
    also, since
        Instruments that are taken for due as well, from a session on; from their first recorded one by default.
    """
    started = time.perf_counter()
    mark_due(warehouse, also, since)
    instruments, newest = tables.due(warehouse), tables.newest_recorded(warehouse)
    counts, changed, history_seconds = tables.HistoryCounts(0, 0, 0), 0, 0.0
    if instruments and newest is not None:
        # One reading of the bars for all three, when what is due was taken; what is learned meanwhile is due again.
        once = lru_cache(maxsize=1)(lambda day: read_panel(warehouse, day))
        how: dict[str, Any] = {
            "now": now, "method": method, "lock_wait_seconds": lock_wait_seconds, "panel_up_to": once
        }  # fmt: skip
        counts = record_history(warehouse, newest, newest, **how).counts
        history_seconds = time.perf_counter() - started
        record_breadth(warehouse, newest, newest, **how)
        changed = update_snapshots(warehouse, calendar, newest, grace=grace, **how).changed
    return RestateReport(instruments, counts, changed, history_seconds, time.perf_counter() - started)


def mark_due(warehouse: Warehouse, instrument_ids: Sequence[int], since: date | None = None) -> None:
    """Have the next recording take these instruments for due from a session on; from their first recorded one by
    default.
    """
    if instrument_ids:
        with warehouse.arrow() as transaction:
            tables.mark_due(transaction, dict.fromkeys(instrument_ids, since or date(1, 1, 1)))
