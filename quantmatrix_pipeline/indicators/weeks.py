"""Completed weeks of many instruments: in which week a session lies, and sums of the last n weeks by doubling."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from quantmatrix_pipeline.indicators.panel import Dates, Floats

Columns = npt.NDArray[np.intp]

_RING = 64  # weeks kept: a power of two, more than any sum reaches back
_MONDAY = 3  # the epoch was a Thursday


def week_number(session: Dates) -> npt.NDArray[np.int64]:
    """Number the calendar weeks, Monday to Sunday, in which sessions lie; a NaT is in a week of its own."""
    return np.asarray((session.view(np.int64) + _MONDAY) // 7)


def week_starts(session: Dates) -> list[Columns]:
    """Tell, for each row of sessions but the first, in which columns a new calendar week begins.

    A week without a bar of the instrument is none of its; the row after an instrument's last bar begins one.
    """
    week = week_number(session)
    row, column = np.nonzero(week[1:] != week[:-1])
    first = np.searchsorted(row, np.arange(len(week)))
    return [column[first[k] : first[k + 1]] for k in range(len(week) - 1)]


class CompletedWeeks:
    """One value per completed week and instrument, and the sums of the last n of them.

    A sum is put together from sums of 1, 2, 4, ... weeks, the longest over the newest weeks: a fixed tree over the
    values that it covers, so that its bits depend on them alone.

    Attributes
    ----------
    count
        Shape (width,): how many weeks each instrument has completed.
    """

    def __init__(self, width: int, longest: int) -> None:
        """`longest` is the highest number of weeks that a sum will be asked for."""
        self.count = np.zeros(width, np.int64)
        self._width = width
        self._sums = [np.zeros(_RING * width) for _ in range(longest.bit_length())]

    def push(self, columns: Columns, value: Floats) -> None:
        """Complete a week of the instruments at `columns` with these values."""
        week = self.count[columns]
        total = value
        for power, sums in enumerate(self._sums):
            if power:
                half = 1 << (power - 1)
                total = total + self._sums[power - 1][self._place(week - half, columns)]
            sums[self._place(week, columns)] = total
        self.count[columns] = week + 1

    def total(self, columns: Columns, n: int, lag: int = 0) -> Floats:
        """Return the sum of n completed weeks of which the newest lies `lag` before the last; zeros stand before the
        first.
        """
        week = self.count[columns] - 1 - lag
        total: Floats | None = None
        for power in range(n.bit_length() - 1, -1, -1):
            if n >> power & 1:
                part = self._sums[power][self._place(week, columns)]
                total = part if total is None else total + part
                week = week - (1 << power)
        assert total is not None
        return total

    def _place(self, week: npt.NDArray[np.int64], columns: Columns) -> npt.NDArray[np.int64]:
        return (week & (_RING - 1)) * self._width + columns
