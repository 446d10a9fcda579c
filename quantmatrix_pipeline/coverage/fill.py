"""How full each session is: of the instruments that should have a bar and a recorded row, how many have one."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime

import numpy as np

from quantmatrix_pipeline.bars.batch import Dates, Ints
from quantmatrix_pipeline.bars.sessions import TradingCalendar
from quantmatrix_pipeline.warehouse import coverage_fill as tables
from quantmatrix_pipeline.warehouse.coverage_fill import SessionFill
from quantmatrix_pipeline.warehouse.engine import Warehouse

LOOKED_AT = 60  # sessions up to a run's last: what comes later than that is counted by a run over its range


def alive(sessions: Dates, begun: Sequence[date], ended: Sequence[date]) -> Ints:
    """Return how many instruments live on each session: begun on it or before, and not ended on it or before."""
    starts, ends = (np.sort(np.array(days, "datetime64[D]")) for days in (begun, ended))
    return np.asarray(
        np.searchsorted(starts, sessions, side="right") - np.searchsorted(ends, sessions, side="right"), np.int32
    )


def update_fill(
    warehouse: Warehouse, calendar: TradingCalendar, first: date, last: date, now: datetime
) -> list[SessionFill]:
    """Count the sessions from `first`, or the newest `LOOKED_AT` where that is earlier, to `last`, and keep the counts.

    Sessions before the first bar of all are left out.
    """
    begun, ended = tables.lives(warehouse)
    if not begun:
        return []
    inside = calendar.sessions_in(min(begun), last)
    sessions = inside[min(max(0, len(inside) - LOOKED_AT), int(np.searchsorted(inside, np.datetime64(first, "D")))) :]
    if not len(sessions):
        return []
    counted = tables.counted(warehouse, sessions[0].item(), last)
    expected = alive(sessions, begun, ended).tolist()
    fills = [
        SessionFill(day, due, *counted.get(day, (0, 0))) for day, due in zip(sessions.tolist(), expected, strict=True)
    ]
    tables.write(warehouse, fills, now)
    return fills
