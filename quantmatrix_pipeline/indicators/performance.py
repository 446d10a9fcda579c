"""Change of the close in percent: over n bars, and since the calendar period began."""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt

from quantmatrix_pipeline.indicators.catalogue import PERF_WINDOWS
from quantmatrix_pipeline.indicators.panel import Dates, Floats
from quantmatrix_pipeline.indicators.tile import Tile

_FIRST_YEAR, _LAST_YEAR = 1800, 2299  # exchanges kept no sessions before, and nobody lives to see the end
_FIRST_DAY = np.datetime64(f"{_FIRST_YEAR}-01-01", "D").astype(np.int64)
_MONTHS_IN_PERIOD = {"perf_mtd": 1, "perf_qtd": 3, "perf_ytd": 12}


def _percent_change(close: Floats, base: Floats, scratch: Floats, out: Floats) -> None:
    np.divide(close, base, out=scratch)
    np.subtract(scratch, 1.0, out=scratch)
    np.multiply(scratch, 100.0, out=out)


class BarPerformance:
    """perf_nd = 100 (C / C[n] - 1)."""

    memory: int | None = 0

    def __init__(self, width: int) -> None:
        pass

    def advance(self, tile: Tile) -> None:
        for n in PERF_WINDOWS:
            known = tile.since(n)
            out = tile.out(f"perf_{n}d")[known]
            _percent_change(tile.close()[known], tile.close(n), tile.scratch("a")[known], out)


class CalendarPerformance:
    """perf_mtd, perf_qtd, perf_ytd = 100 (C / B - 1), B the last close before the bar's month, quarter or year.

    The close before the period counts however long ago it was (a halt); an instrument that began within the period has
    none, and NaN. Only the order of the sessions is used: which of them traded is the calendar's business.
    """

    memory: int | None = None

    def __init__(self, width: int) -> None:
        self._base = {name: np.full(width, np.nan) for name in _MONTHS_IN_PERIOD}
        self._month = np.full(width, -1, np.int32)

    def advance(self, tile: Tile) -> None:
        month = np.concatenate((self._month[None], month_number(tile.session)))
        known = tile.since(1)
        close, base, begins = tile.close(), tile.scratch("a"), tile.flags("begins")
        for name, months in _MONTHS_IN_PERIOD.items():
            period = month // months
            np.not_equal(period[1:], period[:-1], out=begins)
            last = self._base[name]
            base[: known.start] = np.nan
            for row, close_before in enumerate(tile.close(1), start=known.start):
                np.copyto(base[row], last)
                np.copyto(base[row], close_before, where=begins[row])
                last = base[row]
            np.copyto(self._base[name], last)
            _percent_change(close, base, tile.scratch("b"), tile.out(name))
        self._month = month[-1]


def month_number(session: Dates) -> npt.NDArray[np.int32]:
    """Count the months of sessions from January of `_FIRST_YEAR`; a NaT is month 0."""
    day = session.view(np.int64) - _FIRST_DAY
    return np.take(_month_of_day(), day, mode="clip")


@cache
def _month_of_day() -> npt.NDArray[np.int32]:
    """Month of each day from January of `_FIRST_YEAR` on: a look-up is much faster than calendar arithmetic."""
    days = np.arange(f"{_FIRST_YEAR}-01-01", f"{_LAST_YEAR + 1}-01-01", dtype="datetime64[D]")
    months = days.astype("datetime64[M]").view(np.int64)
    numbers: npt.NDArray[np.int32] = (months - months[0]).astype(np.int32)
    return numbers
