"""Sums and extremes of the last n bars, for several n at once, by doubling.

A reduction over n bars is put together from two shorter ones, the second some bars earlier: 100 = 50 now and 50 of 50
bars ago. A value is therefore a fixed tree over the n bars it covers: nothing drifts, and the bits depend on those
bars alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from quantmatrix_pipeline.indicators.panel import Floats
from quantmatrix_pipeline.indicators.tile import TILE_ROWS


@dataclass(frozen=True)
class Step:
    """The reduction over `size` bars: that over `recent` bars, with that over `earlier` bars as of `lag` bars ago."""

    size: int
    recent: int
    earlier: int
    lag: int


def sum_step(recent: int, earlier: int) -> Step:
    """Put a sum together from two neighbouring ones: no bar counts twice."""
    return Step(recent + earlier, recent, earlier, recent)


def extreme_steps(windows: Sequence[int]) -> list[Step]:
    """Cover each window with two runs of one power of two, which may overlap: an extreme may count a bar twice."""
    powers = [1 << p for p in range(max(windows).bit_length())]
    steps = [Step(2 * size, size, size, size) for size in powers[:-1]]
    for n in windows:
        size = 1 << (n.bit_length() - 1)
        if size != n:
            steps.append(Step(n, size, size, n - size))
    return steps


class _Ring:
    """The tile's rows and the last `depth` before them, overwritten in turn; zeros stand before the first bar."""

    def __init__(self, depth: int, width: int) -> None:
        self._capacity = TILE_ROWS * (1 + -(-depth // TILE_ROWS))
        self._data = np.zeros((self._capacity, width))

    def now(self, row0: int, rows: int) -> Floats:
        """Return the tile's own rows: whole tiles fit the ring, so these never wrap."""
        start = row0 % self._capacity
        return self._data[start : start + rows]

    def lagged(self, row0: int, rows: int, lag: int) -> Iterator[tuple[slice, Floats]]:
        """Yield the rows `lag` bars earlier, in one piece or two, each with the tile's rows that it belongs to."""
        start = (row0 - lag) % self._capacity
        head = min(rows, self._capacity - start)
        yield slice(0, head), self._data[start : start + head]
        if head < rows:
            yield slice(head, rows), self._data[: rows - head]


class RollingReduction:
    """A reduction (`np.add`, `np.maximum`, `np.minimum`) over the last n bars, for each size that `steps` makes.

    Only the sizes that a longer one reads back in time are kept from tile to tile. Rows with fewer than n bars before
    them hold a reduction with zeros: the caller's look-back hides them.
    """

    def __init__(self, operation: np.ufunc, steps: Sequence[Step], width: int) -> None:
        self._operation = operation
        self._steps = steps
        depth: dict[int, int] = {}
        for step in steps:
            depth[step.earlier] = max(depth.get(step.earlier, 0), step.lag)
        self._rings = {size: _Ring(lag, width) for size, lag in depth.items()}

    def advance(self, row0: int, x: Floats, scratch: Floats) -> Iterator[tuple[int, Floats]]:
        """Take in the bars from `row0` on and yield each size with its reductions, in the order of the steps.

        Parameters
        ----------
        x
            Shape (rows, width): the bars.
        scratch
            Shape (rows, width): holds what only the caller needs. A yielded array is read only, and good until the
            next.
        """
        rows = len(x)
        now = {size: ring.now(row0, rows) for size, ring in self._rings.items()}
        np.copyto(now[1], x)
        for step in self._steps:
            into = now.get(step.size, scratch)
            recent = now[step.recent]
            for part, earlier in self._rings[step.earlier].lagged(row0, rows, step.lag):
                self._operation(recent[part], earlier, out=into[part])
            yield step.size, into
