"""What was asked of a source, laid out so that a part of its answer is compared with it in one step."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from itertools import repeat

import numpy as np

from quantmatrix_pipeline.bars.batch import BarBatch, Bools, Dates, Ints
from quantmatrix_pipeline.bars.sessions import TradingCalendar
from quantmatrix_pipeline.providers.contract import BarRequest
from quantmatrix_pipeline.warehouse.universe import Tracked

UNKNOWN = -1


class Asked:
    """The requests of one fetch.

    Parameters
    ----------
    calendar
        Of the sessions asked for.
    instruments, requests
        By symbol. A request for a symbol that is no instrument asks for nothing.

    Attributes
    ----------
    instrument_id
        Shape (m,), int32: one entry per symbol asked for.
    """

    def __init__(
        self, calendar: TradingCalendar, instruments: Mapping[str, Tracked], requests: Mapping[str, BarRequest]
    ) -> None:
        asked = {s: r.sessions for s, r in requests.items() if s in instruments and len(r.sessions)}
        self._calendar = calendar
        self._place = {symbol: place for place, symbol in enumerate(asked)}
        self.instrument_id: Ints = np.array([instruments[s].instrument_id for s in asked], np.int32)
        at = [calendar.index_of(days) for days in asked.values()]
        # One row more than there are symbols, one column more on either side: what nobody asked for is found there.
        self._start = min((int(places.min()) for places in at), default=0) - 1
        width = max((int(places.max()) for places in at), default=0) - self._start + 2
        self._wanted: Bools = np.zeros((len(asked) + 1, width), np.bool_)
        for row, places in zip(self._wanted, at, strict=False):
            row[places - self._start] = True

    def since(self, asked_from: date | None) -> Dates:
        """Return the first session asked for of each symbol, where only those from `asked_from` on were; NaT for none.

        Shape (m,), datetime64[D].
        """
        wanted = self._wanted[:-1, self._column_of(asked_from) :]
        first = self._start + self._column_of(asked_from) + wanted.argmax(axis=1)
        return np.where(wanted.any(axis=1), self._calendar.sessions[first], np.datetime64("NaT"))

    def only_asked(self, bars: BarBatch, asked_from: date | None) -> tuple[BarBatch, Ints]:
        """Leave out what nobody asked for: another symbol's answer, or another session's, must not become a bar.

        A row dated on no session at all stays; validation refuses it and the log says so. Returned beside the bars is
        the place of each row's symbol in `instrument_id`. Of a source that was asked only from `asked_from` on, what
        lies before was not asked for.
        """
        places = np.fromiter(map(self._place.get, bars.symbols, repeat(UNKNOWN)), np.int32, len(bars.symbols))
        place = places[bars.symbol_index]
        at = self._calendar.index_of(bars.session)
        column = np.clip(at - self._start, 0, self._wanted.shape[1] - 1)
        wanted = self._wanted[place, column] & (column >= self._column_of(asked_from))
        wanted |= (at < 0) & (place != UNKNOWN)
        return (bars, place) if wanted.all() else (bars.take(wanted), place[wanted])

    def _column_of(self, day: date | None) -> int:
        """Return the first column of sessions on or after a day; the first of all for None."""
        if day is None:
            return 0
        place = int(np.searchsorted(self._calendar.sessions, np.datetime64(day, "D"))) - self._start
        return min(max(place, 0), len(self._wanted[0]) - 1)
