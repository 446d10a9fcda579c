"""What was asked of a source, laid out so that a part of its answer is compared with it in one step."""

from __future__ import annotations

from collections.abc import Mapping

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
    since
        Shape (m,), datetime64[D]: the first session asked for.
    """

    def __init__(
        self, calendar: TradingCalendar, instruments: Mapping[str, Tracked], requests: Mapping[str, BarRequest]
    ) -> None:
        asked = {s: r.sessions for s, r in requests.items() if s in instruments and len(r.sessions)}
        self._calendar = calendar
        self._place = {symbol: place for place, symbol in enumerate(asked)}
        self.instrument_id: Ints = np.array([instruments[s].instrument_id for s in asked], np.int32)
        self.since: Dates = np.array([days[0] for days in asked.values()], "datetime64[D]")
        at = [calendar.index_of(days) for days in asked.values()]
        # One row more than there are symbols, one column more on either side: what nobody asked for is found there.
        self._start = min((int(places.min()) for places in at), default=0) - 1
        width = max((int(places.max()) for places in at), default=0) - self._start + 2
        self._wanted: Bools = np.zeros((len(asked) + 1, width), np.bool_)
        for row, places in zip(self._wanted, at, strict=False):
            row[places - self._start] = True

    def only_asked(self, bars: BarBatch) -> tuple[BarBatch, Ints]:
        """Leave out what nobody asked for: another symbol's answer, or another session's, must not become a bar.

        A row dated on no session at all stays; validation refuses it and the log says so. Returned beside the bars is
        the place of each row's symbol in `instrument_id`.
        """
        place = np.array([self._place.get(symbol, UNKNOWN) for symbol in bars.symbols] or [UNKNOWN], np.int32)
        place = place[bars.symbol_index]
        at = self._calendar.index_of(bars.session)
        column = np.clip(at - self._start, 0, self._wanted.shape[1] - 1)
        wanted = self._wanted[place, column] | ((at < 0) & (place != UNKNOWN))
        return (bars, place) if wanted.all() else (bars.take(wanted), place[wanted])
