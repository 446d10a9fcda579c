"""Which sessions of which instruments to ask a source for: exactly those that are missing, and none twice in vain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date

import numpy as np
import numpy.typing as npt

from quantmatrix_pipeline.bars.batch import Bools, Dates
from quantmatrix_pipeline.bars.sessions import TradingCalendar
from quantmatrix_pipeline.providers.contract import BarRequest
from quantmatrix_pipeline.warehouse import bars as bar_tables
from quantmatrix_pipeline.warehouse.engine import Warehouse
from quantmatrix_pipeline.warehouse.universe import Tracked


def plan_daily(
    warehouse: Warehouse,
    vendor: str,
    calendar: TradingCalendar,
    instruments: Sequence[Tracked],
    first: date,
    last: date,
) -> list[BarRequest]:
    """Return one request per instrument that misses sessions of [first, last], both ends inclusive.

    A hole inside an instrument's life is asked for again each time. Sessions before its first bar are asked for once per
    vendor: when that vendor had nothing there, it was not listed yet. Nothing is asked for after a delisting.
    """
    if not instruments:
        return []
    window = calendar.sessions_in(first, last)
    ids = [i.instrument_id for i in instruments]
    have_instrument, have_session = bar_tables.stored_sessions(warehouse, ids, first, last)
    missing = missing_sessions(
        window,
        instruments,
        have_instrument,
        have_session,
        born=bar_tables.first_sessions(warehouse, ids),
        asked=bar_tables.cursors(warehouse, vendor),
    )
    return [
        BarRequest(instrument.symbol, window[row])
        for instrument, row in zip(instruments, missing, strict=True)
        if row.any()
    ]


def missing_sessions(
    window: Dates,
    instruments: Sequence[Tracked],
    have_instrument: npt.NDArray[np.int32],
    have_session: Dates,
    *,
    born: Mapping[int, date],
    asked: Mapping[int, tuple[date, date]],
) -> Bools:
    """Return a mask of shape (instruments, sessions of `window`): what is worth asking for.

    Parameters
    ----------
    window
        Sessions, sorted.
    have_instrument, have_session
        The keys of the stored bars inside the window.
    born
        instrument_id -> session of its first stored bar, wherever that lies.
    asked
        instrument_id -> the inclusive range that the vendor has already answered for.
    """
    ids = np.array([i.instrument_id for i in instruments], dtype=np.int64)
    order = np.argsort(ids)
    row = order[np.searchsorted(ids[order], have_instrument)]
    missing = np.ones((len(ids), len(window)), dtype=bool)
    missing[row, np.searchsorted(window, have_session)] = False

    never = np.datetime64("9999-12-31")
    first_bar = np.array([born.get(int(i), never) for i in ids], dtype="datetime64[D]")[:, None]
    nothing = (date.max, date.min)
    asked_from = np.array([asked.get(int(i), nothing)[0] for i in ids], dtype="datetime64[D]")[:, None]
    asked_until = np.array([asked.get(int(i), nothing)[1] for i in ids], dtype="datetime64[D]")[:, None]
    gone = np.array([i.delisted_on or never for i in instruments], dtype="datetime64[D]")[:, None]
    before_life = (window < first_bar) & (window >= asked_from) & (window <= asked_until)
    return missing & ~before_life & (window < gone)
