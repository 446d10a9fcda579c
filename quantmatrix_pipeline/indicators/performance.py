"""Change of the close in percent: over n bars, and since the calendar period began."""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt

from quantmatrix_pipeline.indicators.catalogue import PERF_WINDOWS
from quantmatrix_pipeline.indicators.family import Family
from quantmatrix_pipeline.indicators.panel import Dates, Floats
from quantmatrix_pipeline.indicators.tile import Tile

_FIRST_YEAR, _LAST_YEAR = 1800, 2299  # exchanges kept no sessions before, and nobody lives to see the end
_FIRST_DAY = np.datetime64(f"{_FIRST_YEAR}-01-01", "D").astype(np.int64)
_MONTHS_IN_PERIOD = {"perf_mtd": 1, "perf_qtd": 3, "perf_ytd": 12}


def _percent_change(close: Floats, base: Floats, scratch: Floats, out: Floats) -> None:
    np.divide(close, base, out=scratch)
    np.subtract(scratch, 1.0, out=scratch)
    np.multiply(scratch, 100.0, out=out)


class BarPerformance(Family):
    """perf_nd = 100 (C / C[n] - 1)."""

    columns = tuple(f"perf_{n}d" for n in PERF_WINDOWS)

    def write(self, tile: Tile, sums: Floats, second_sums: Floats) -> None:
        for n in PERF_WINDOWS:
            if not tile.wants(f"perf_{n}d"):
                continue
            known = tile.since(n)
            _percent_change(
                tile.close[known], tile.earlier_close(n), tile.scratch("a")[known], tile.out(f"perf_{n}d")[known]
            )


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
        self._month = np.full((1, width), -1, np.int32)

    def feed(self, tile: Tile, inputs: Floats) -> None:
        month = month_number(tile.session)
        before = np.concatenate((month[:1] if tile.row0 == 0 else self._month, month[:-1]))
        row, column = np.nonzero(month != before)  # few: one bar in twenty
        close_before, this, last = (values[row, column] for values in (tile.close_before, month, before))
        base = tile.work.floats("base", tile.rows + 1, *self._base.shape)
        base[0] = self._base
        begins = [this // months != last // months for months in _MONTHS_IN_PERIOD.values()]
        first = np.searchsorted(row, np.arange(tile.rows + 1))
        year_begins = tile.flags("year begins")
        year_begins.fill(False)
        year_begins[row[begins[-1]], column[begins[-1]]] = True
        for k in range(tile.rows):
            base[k + 1] = base[k]
            here = slice(first[k], first[k + 1])
            if here.start < here.stop:
                for period, starts in enumerate(begins):
                    begun = starts[here]
                    base[k + 1, period, column[here][begun]] = close_before[here][begun]
        self._base[...] = base[tile.rows]
        self._month = month[-1:]

    def write(self, tile: Tile, sums: Floats, second_sums: Floats) -> None:
        base = tile.work.floats("base", tile.rows + 1, *self._base.shape)[1:]
        for period, name in enumerate(_MONTHS_IN_PERIOD):
            _percent_change(tile.close, base[:, period], tile.scratch("a"), tile.out(name))


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
