"""Which sessions of which instruments to ask a source for: those that are missing, none twice in vain, and beside them
the newest stored ones, which a vendor may have corrected.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
import numpy.typing as npt

from quantmatrix_pipeline.bars.batch import Basis, Bools, Dates
from quantmatrix_pipeline.bars.presence import excepted_mask, stored_mask
from quantmatrix_pipeline.bars.sessions import TradingCalendar
from quantmatrix_pipeline.providers.answers import Listing
from quantmatrix_pipeline.providers.contract import BarRequest, Provider
from quantmatrix_pipeline.warehouse import bars as bar_tables
from quantmatrix_pipeline.warehouse import fetches, gaps
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
    recheck: int = 0,
) -> list[BarRequest]:
    """Return one request per instrument that misses sessions of [first, last], both ends inclusive.

    Who is asked at all is asked again for its newest `recheck` stored sessions of the window: one request about one
    symbol fetches a range anyway, and where nothing is missing nothing is asked. Bars less dividends are left out,
    since each dividend to come changes all of them.

    A hole inside an instrument's life is asked for again each time. What lies before its first bar is not, once one of
    the vendors has answered from there on with a later bar (or says itself, as a finite source does, what it holds).
    Nothing is asked for from a delisting on, nor from before the day on which a name passed to the instrument, nor what
    was recorded as missing for good (`bar_exceptions`).
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
    accepted = [(e.instrument_id, e.first, e.last) for e in gaps.exceptions(warehouse, calendar.name)]
    missing &= ~excepted_mask(window, ids, accepted)
    wanted = missing
    if recheck:
        again = _newest(stored_mask(window, ids, have_instrument, have_session), recheck)
        lowered = bar_tables.instruments_of_basis(warehouse, Basis.SPLIT_DIVIDEND, window[0].item())
        again[np.isin(ids, lowered)] = False
        wanted = missing | (again & missing.any(axis=1, keepdims=True))
    return [
        BarRequest(instrument.symbol, window[row])
        for instrument, row in zip(instruments, wanted, strict=True)
        if row.any()
    ]


@dataclass(frozen=True, slots=True)
class Lacking:
    """What a fetch would ask for: how many symbols and sessions, and the requests, those with the most first."""

    symbols: int
    sessions: int
    most: Sequence[BarRequest]

    @classmethod
    def of(cls, requests: Sequence[BarRequest]) -> Lacking:
        """Count requests."""
        most = sorted(requests, key=lambda r: (-len(r.sessions), r.symbol))
        return cls(len(requests), sum(len(r.sessions) for r in requests), most)


def lacking(
    warehouse: Warehouse,
    provider: Provider,
    calendar: TradingCalendar,
    instruments: Sequence[Tracked],
    first: date,
    last: date,
) -> Lacking:
    """Return what these instruments lack of [first, last], both ends inclusive, and a fetch would ask for."""
    return Lacking.of(plan_daily(warehouse, provider.vendors, calendar, instruments, first, last, provider.listings()))


def window_start(calendar: TradingCalendar, first: date, depth: int) -> date:
    """Return the session `depth` - 1 before `first`, or the calendar's first where it does not reach back that far."""
    place = int(calendar.index_of(np.array([calendar.require_session(first)], "datetime64[D]"))[0])
    return calendar.sessions[max(0, place - depth + 1)].item()  # type: ignore[no-any-return]


def _newest(stored: Bools, count: int) -> Bools:
    """Return the last `count` of the stored bars of each instrument, shape of the mask."""
    from_the_end = np.cumsum(stored[:, ::-1], axis=1, dtype=np.int32)[:, ::-1]
    return np.asarray(stored & (from_the_end <= count), np.bool_)


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
    ids = [i.instrument_id for i in instruments]
    missing = ~stored_mask(window, ids, have_instrument, have_session)

    gone = np.array([i.delisted_on or date.max for i in instruments], dtype="datetime64[D]")[:, None]
    missing &= window < gone
    begun = np.array([i.named_since or date.min for i in instruments], dtype="datetime64[D]")[:, None]
    missing &= window >= begun
    nothing = (date.max, date.min)
    for stretches in empty:
        empty_from = np.array([stretches.get(i, nothing)[0] for i in ids], dtype="datetime64[D]")[:, None]
        first_bar = np.array([stretches.get(i, nothing)[1] for i in ids], dtype="datetime64[D]")[:, None]
        missing &= ~((window >= empty_from) & (window < first_bar))
    return missing
