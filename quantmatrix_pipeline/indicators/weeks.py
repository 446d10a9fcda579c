"""Completed weeks of many instruments: in which week a session lies, and sums of the last n weeks by doubling."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from quantmatrix_pipeline.indicators.compiled import compiled
from quantmatrix_pipeline.indicators.panel import Bools, Dates, Floats

_RING = 64  # weeks kept: a power of two, more than any sum reaches back
_MONDAY = 3  # the epoch was a Thursday


def week_number(session: Dates) -> npt.NDArray[np.int64]:
    """Number the calendar weeks, Monday to Sunday, in which sessions lie; a NaT is in a week of its own."""
    return np.asarray((session.view(np.int64) + _MONDAY) // 7)


class CompletedWeeks:
    """Sums of the last n completed weeks, one value per week and instrument, that go on from tile to tile.

    A sum is put together from sums of 1, 2, 4, ... weeks, the longest over the newest weeks: a fixed tree over the
    values that it covers, so that its bits depend on them alone.
    """

    def __init__(self, width: int, least: int, sums: Sequence[tuple[int, int]]) -> None:
        """`sums` are the numbers of weeks that are summed, each with how many weeks before the last completed one its
        newest lies; all are NaN until `least` weeks are complete.
        """
        longest = max(n for n, _ in sums)
        self._least = least
        self._wanted = np.array(sums)
        self._count = np.zeros(width, np.int64)
        self._ring = np.zeros((longest.bit_length(), _RING, width))
        self._state = np.full((len(sums), width), np.nan)

    def advance(self, starts: Bools, before: Floats, outs: Sequence[Floats]) -> None:
        """Write each row's sums of the weeks before its own, shape (rows, width) each.

        A week is completed by the first bar of another (`starts`), with the value of the bar before (`before`). A week
        without a bar of the instrument is none of its.
        """
        _complete(starts, before, self._wanted, self._least, self._count, self._ring, self._state, tuple(outs))


@compiled
def _complete(
    starts: Bools,
    before: Floats,
    wanted: npt.NDArray[np.int64],
    least: int,
    count: npt.NDArray[np.int64],
    ring: Floats,
    state: Floats,
    outs: tuple[Floats, ...],
) -> None:
    rows, width = starts.shape
    powers = len(ring)
    last = _RING - 1  # of a power of two: what it leaves of a number is the remainder
    for k in range(rows):
        for i in range(width):
            if not starts[k, i]:
                continue
            total, week = before[k, i], count[i]
            ring[0, week & last, i] = total
            for power in range(1, powers):
                total += ring[power - 1, (week - (1 << (power - 1))) & last, i]
                ring[power, week & last, i] = total
            count[i] = week + 1
            for j in range(len(wanted)):
                n, at = wanted[j, 0], week - wanted[j, 1]
                total = 0.0
                for power in range(powers - 1, -1, -1):
                    if n >> power & 1:
                        total += ring[power, at & last, i]
                        at -= 1 << power
                state[j, i] = total if count[i] >= least else np.nan
        for j in range(len(wanted)):
            for i in range(width):
                outs[j][k, i] = state[j, i]
