"""The gap scan: what every tracked instrument lacks and why, kept as stretches in `bar_gaps`."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime

import numpy as np
import pyarrow as pa

from quantmatrix_pipeline.bars.presence import stored_mask
from quantmatrix_pipeline.bars.sessions import TradingCalendar
from quantmatrix_pipeline.coverage.expected import ACCEPTED, ORDER, Accepted, Known, Reason, reasons, stretches
from quantmatrix_pipeline.warehouse import audit, universe
from quantmatrix_pipeline.warehouse import bars as bar_tables
from quantmatrix_pipeline.warehouse import gaps as tables
from quantmatrix_pipeline.warehouse.engine import Warehouse
from quantmatrix_pipeline.warehouse.universe import Tracked


@dataclass(frozen=True, slots=True)
class GapScan:
    """What a scan found; `by_reason` is reason -> stretches, sessions, with `accepted:` before what was accepted."""

    instruments: int
    first: date
    last: date
    came: int
    gone: int
    cursors: int
    by_reason: Mapping[str, tuple[int, int]]
    seconds: float


def scan(warehouse: Warehouse, calendar: TradingCalendar, last: date, *, depth: int, now: datetime) -> GapScan:
    """Bring `bar_gaps`, `exchange_days` and the cursors up to what is stored.

    Every tracked instrument is looked at from its first bar, or from `depth` - 1 sessions before `last` where that is
    earlier, up to `last` or the newest bar of all where that is later.
    """
    started = time.perf_counter()
    last = max(last, tables.newest_session(warehouse) or last)
    tracked = universe.tracked(warehouse)
    ids = [t.instrument_id for t in tracked]
    usual = _depth_start(calendar, last, depth)
    table, first = _missing(warehouse, calendar, tracked, usual, last)
    came, gone = tables.write(warehouse, table, now)
    tables.write_exchange_days(warehouse, calendar.name, calendar.special_days(first, last))
    moved = tables.advance_cursors(warehouse, now)
    found = tables.by_reason(warehouse)
    return GapScan(len(ids), first, last, came, gone, moved, found, time.perf_counter() - started)


def _depth_start(calendar: TradingCalendar, last: date, depth: int) -> date:
    inside = calendar.sessions_in(calendar.sessions[0].item(), last)
    return inside[max(0, len(inside) - depth)].item()  # type: ignore[no-any-return]


def _missing(
    warehouse: Warehouse, calendar: TradingCalendar, tracked: Sequence[Tracked], usual: date, last: date
) -> tuple[pa.Table, date]:
    """Return the stretches that are missing, as `tables.GAPS`, and the first session that was looked at."""
    ids = [t.instrument_id for t in tracked]
    named_since = {t.instrument_id: t.named_since for t in tracked if t.named_since}
    counted = tables.counted(warehouse, calendar.sessions[0].item(), last)
    starts = np.array(
        [min(counted[i].first, usual) if i in counted else usual for i in ids], "datetime64[D]"
    )  # each instrument's own first session
    first = min(starts.min().item(), usual) if len(ids) else usual
    window = calendar.sessions_in(first, last)
    own = np.searchsorted(window, starts)
    bars = np.array([counted[i].bars if i in counted else 0 for i in ids], np.int64)
    # Who has as many bars as there were sessions lacks none: their keys, most of all, need not be read.
    unproved = tables.unproved_ids(warehouse)
    lacking = (bars < len(window) - own) | np.array([i in unproved for i in ids], np.bool_)
    rows = np.flatnonzero(lacking)
    some = [ids[row] for row in rows.tolist()]
    if not some:
        return tables.GAPS.empty_table(), first
    stored = stored_mask(window, some, *bar_tables.stored_sessions(warehouse, some, first, last))
    codes = reasons(window, some, stored, _known(warehouse, calendar, some, named_since, last))
    codes[np.arange(len(window)) < own[rows][:, None]] = 0
    found = stretches(codes)
    names = np.array(["", *ORDER], object)
    return (
        pa.table(
            {
                "instrument_id": pa.array(np.array(some, np.int32)[found.row]),
                "first_session": pa.array(window[found.first]),
                "last_session": pa.array(window[found.last]),
                "sessions": pa.array((found.last - found.first + 1).astype(np.int32)),
                "reason": pa.array(names[found.code & ~ACCEPTED], pa.string()),
                "accepted": pa.array((found.code & ACCEPTED) != 0),
            }
        ),
        first,
    )


def _known(
    warehouse: Warehouse,
    calendar: TradingCalendar,
    ids: Sequence[int],
    named_since: Mapping[int, date],
    last: date,
) -> Known:
    listed_on, delisted_on = tables.listings(warehouse, ids)
    # Whose name was another's before began on the day on which it took it over.
    for i, day in named_since.items():
        listed_on[i] = max(day, listed_on.get(i, day))
    return Known(
        listed_on=listed_on,
        delisted_on=delisted_on,
        empty=tables.cursor_stretches(warehouse),
        answered=tables.answered(warehouse),
        rejected=audit.rejected_days(warehouse, last),
        accepted=[
            Accepted(e.instrument_id, e.first, e.last, Reason(e.reason))
            for e in tables.exceptions(warehouse, calendar.name)
        ],
    )
