"""Change of the close in percent: over n bars, and since the calendar period began."""

from __future__ import annotations

import numpy as np

from quantmatrix_pipeline.indicators.catalogue import PERF_WINDOWS
from quantmatrix_pipeline.indicators.panel import Floats
from quantmatrix_pipeline.indicators.tile import Tile

_MONTHS_IN_PERIOD = {"perf_mtd": 1, "perf_qtd": 3, "perf_ytd": 12}


def _percent_change(close: Floats, base: Floats, out: Floats) -> None:
    np.divide(close, base, out=out)
    out -= 1.0
    out *= 100.0


class BarPerformance:
    """perf_nd = 100 (C / C[n] - 1)."""

    memory: int | None = 0

    def __init__(self, width: int) -> None:
        pass

    def advance(self, tile: Tile) -> None:
        for n in PERF_WINDOWS:
            known = tile.since(n)
            _percent_change(tile.close()[known], tile.close(n), tile.out(f"perf_{n}d")[known])


class CalendarPerformance:
    """perf_mtd, perf_qtd, perf_ytd = 100 (C / B - 1), B the last close before the bar's month, quarter or year.

    The close before the period counts however long ago it was (a halt); an instrument that began within the period has
    none, and NaN. Only the order of the sessions is used: which of them traded is the calendar's business.
    """

    memory: int | None = None

    def __init__(self, width: int) -> None:
        self._base = {name: np.full(width, np.nan) for name in _MONTHS_IN_PERIOD}
        self._month = np.full(width, np.iinfo(np.int64).min)

    def advance(self, tile: Tile) -> None:
        month = tile.session.astype("datetime64[M]").view(np.int64)
        before = np.concatenate((self._month[None], month[:-1]))
        known = tile.since(1)
        close, base, begins = tile.close(), tile.scratch("a"), tile.flags("begins")
        for name, months in _MONTHS_IN_PERIOD.items():
            np.not_equal(month // months, before // months, out=begins)
            last = self._base[name]
            base[: known.start] = np.nan
            for row, close_before in enumerate(tile.close(1), start=known.start):
                np.copyto(base[row], last)
                np.copyto(base[row], close_before, where=begins[row])
                last = base[row]
            self._base[name] = last.copy()
            _percent_change(close, base, tile.out(name))
        self._month = month[-1].copy()
