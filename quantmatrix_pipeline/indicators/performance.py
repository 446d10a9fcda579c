"""Change of the close in percent: over n bars, and since the calendar period began."""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt

from quantmatrix_pipeline.indicators.catalogue import PERF_WINDOWS
from quantmatrix_pipeline.indicators.compiled import compiled
from quantmatrix_pipeline.indicators.family import Family
from quantmatrix_pipeline.indicators.panel import Bools, Floats
from quantmatrix_pipeline.indicators.tile import Tile

_FIRST_YEAR, _LAST_YEAR = 1800, 2299  # exchanges kept no sessions before, and nobody lives to see the end
_FIRST_DAY = np.datetime64(f"{_FIRST_YEAR}-01-01", "D").astype(np.int64)
_MONTHS_IN_PERIOD = {"perf_mtd": 1, "perf_qtd": 3, "perf_ytd": 12}


@compiled
def percent_change(close: Floats, base: Floats, out: Floats) -> None:
    """Write 100 (close / base - 1), shape (rows, width) each."""
    rows, width = close.shape
    for k in range(rows):
        for i in range(width):
            out[k, i] = (close[k, i] / base[k, i] - 1.0) * 100.0


class BarPerformance(Family):
    """perf_nd = 100 (C / C[n] - 1)."""

    columns = tuple(f"perf_{n}d" for n in PERF_WINDOWS)

    def write(self, tile: Tile) -> None:
        for n in PERF_WINDOWS:
            if not tile.wants(f"perf_{n}d"):
                continue
            known = tile.since(n)
            percent_change(tile.close[known], tile.earlier_close(n), tile.out(f"perf_{n}d")[known])


class CalendarPerformance(Family):
    """perf_mtd, perf_qtd, perf_ytd = 100 (C / B - 1), B the last close before the bar's month, quarter or year.

    The close before the period counts however long ago it was (a halt); an instrument that began within the period has
    none, and NaN. Only the order of the sessions is used: which of them traded is the calendar's business. Where a
    year's first bars are is left in `tile.flags("year begins")` for the families that follow.
    """

    columns = tuple(_MONTHS_IN_PERIOD)
    memory = None

    def __init__(self, width: int) -> None:
        self._base = np.full((len(_MONTHS_IN_PERIOD), width), np.nan)

    def feed(self, tile: Tile) -> None:
        begins = tile.flags("year begins")
        outs = tuple(tile.out(name) for name in _MONTHS_IN_PERIOD)
        _since_periods(
            _month_of_day(), tile.days - _FIRST_DAY, tile.close, tile.close_before, self._base, begins, *outs
        )


@compiled
def _since_periods(
    month_of_day: npt.NDArray[np.int32],
    day: npt.NDArray[np.int64],
    close: Floats,
    before: Floats,
    base: Floats,
    year_begins: Bools,
    month_change: Floats,
    quarter_change: Floats,
    year_change: Floats,
) -> None:
    """`day` counts from the first that `month_of_day` has, and begins with the row before the others'."""
    rows, width = close.shape
    last_day = len(month_of_day) - 1
    month = np.empty(width, np.int64)
    for i in range(width):
        month[i] = month_of_day[min(max(day[0, i], 0), last_day)]
    for k in range(rows):
        for i in range(width):
            this, last = month_of_day[min(max(day[k + 1, i], 0), last_day)], month[i]  # after the last bar: month 0
            year_begins[k, i] = False
            if this != last:
                month[i] = this
                base[0, i] = before[k, i]
                if this // 3 != last // 3:
                    base[1, i] = before[k, i]
                if this // 12 != last // 12:
                    year_begins[k, i] = True
                    base[2, i] = before[k, i]
        for i in range(width):
            month_change[k, i] = (close[k, i] / base[0, i] - 1.0) * 100.0
        for i in range(width):
            quarter_change[k, i] = (close[k, i] / base[1, i] - 1.0) * 100.0
        for i in range(width):
            year_change[k, i] = (close[k, i] / base[2, i] - 1.0) * 100.0


@cache
def _month_of_day() -> npt.NDArray[np.int32]:
    """Month of each day from January of `_FIRST_YEAR` on: a look-up is much faster than calendar arithmetic."""
    days = np.arange(f"{_FIRST_YEAR}-01-01", f"{_LAST_YEAR + 1}-01-01", dtype="datetime64[D]")
    months = days.astype("datetime64[M]").view(np.int64)
    numbers: npt.NDArray[np.int32] = (months - months[0]).astype(np.int32)
    return numbers
