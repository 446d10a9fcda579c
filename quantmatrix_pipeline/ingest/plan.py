"""Which sessions of which instruments to ask a source for: exactly those that are missing, and none twice in vain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date

import numpy as np
import numpy.typing as npt

from quantmatrix_pipeline.bars.batch import Bools, Dates
from quantmatrix_pipeline.bars.sessions import TradingCalendar
from quantmatrix_pipeline.providers.answers import Listing
from quantmatrix_pipeline.providers.contract import BarRequest
from quantmatrix_pipeline.warehouse import bars as bar_tables
from quantmatrix_pipeline.warehouse import fetches
from quantmatrix_pipeline.warehouse.engine import Warehouse
from quantmatrix_pipeline.warehouse.universe import Tracked


def plan_daily(
    warehouse: Warehouse,
    vendors: Sequence[str],
    calendar: TradingCalendar,
    instruments: Sequence[Tracked],
    first: date,
    last: date,
    held: Sequence[Listing] = (),
) -> list[BarRequest]:
    """Return one request per instrument that misses sessions of [first, last], both ends inclusive.

    A hole inside an instrument's life is asked for again each time. What lies before its first bar is not, once one of
    the vendors has answered from there on with a later bar (or says itself, as a finite source does, what it holds).
    Nothing is asked for from a delisting on.
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
        empty=[*(fetches.cursors(warehouse, vendor) for vendor in vendors), _not_held(instruments, held)],
    )
    return [
        BarRequest(instrument.symbol, window[row])
        for instrument, row in zip(instruments, missing, strict=True)
        if row.any()
    ]


def _not_held(instruments: Sequence[Tracked], held: Sequence[Listing]) -> dict[int, tuple[date, date]]:
    """Return instrument_id -> the stretch before the first bar that a finite source holds, which needs no asking."""
    ids = {i.symbol: i.instrument_id for i in instruments}
    return {ids[x.symbol]: (date.min, x.first_bar) for x in held if x.symbol in ids and x.first_bar is not None}


def missing_sessions(
    window: Dates,
    instruments: Sequence[Tracked],
    have_instrument: npt.NDArray[np.int32],
    have_session: Dates,
    *,
    empty: Sequence[Mapping[int, tuple[date, date]]],
) -> Bools:
    """Return a mask of shape (instruments, sessions of `window`): what is worth asking for.

    Parameters
    ----------
    window
        Sessions, sorted.
    have_instrument, have_session
        The keys of the stored bars inside the window.
    empty
        For each source: instrument_id -> the stretch, end exclusive, in which it is known to have nothing.
    """
    ids = np.array([i.instrument_id for i in instruments], dtype=np.int64)
    order = np.argsort(ids)
    row = order[np.searchsorted(ids[order], have_instrument)]
    missing = np.ones((len(ids), len(window)), dtype=bool)
    missing[row, np.searchsorted(window, have_session)] = False

    gone = np.array([i.delisted_on or date.max for i in instruments], dtype="datetime64[D]")[:, None]
    missing &= window < gone
    nothing = (date.max, date.min)
    for stretches in empty:
        empty_from = np.array([stretches.get(int(i), nothing)[0] for i in ids], dtype="datetime64[D]")[:, None]
        first_bar = np.array([stretches.get(int(i), nothing)[1] for i in ids], dtype="datetime64[D]")[:, None]
        missing &= ~((window >= empty_from) & (window < first_bar))
    return missing
