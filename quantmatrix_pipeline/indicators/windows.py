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
from quantmatrix_pipeline.indicators.tile import TILE_ROWS, Tile, Workspace


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


class _Past:
    """The tile's rows and those up to `depth` before them; anything finite stands before the first bar.

    Where few rows before are asked for, only they are kept from tile to tile: the tile's own stand in scratch memory
    that never leaves the cache. Otherwise all are kept in a ring of whole tiles, overwritten in turn.
    """

    def __init__(self, size: int, depth: int, width: int) -> None:
        self._name = f"last {size}"
        self._depth = depth
        self._ring = depth > TILE_ROWS
        self._capacity = TILE_ROWS * (1 + -(-depth // TILE_ROWS))
        self._kept = np.zeros((self._capacity if self._ring else depth, width))

    def begin(self, row0: int, rows: int, work: Workspace, scope: str) -> Floats:
        """Return the tile's own rows, to be written."""
        self._row0, self._rows = row0, rows
        if self._ring:
            start = row0 % self._capacity
            return self._kept[start : start + rows]  # whole tiles fit the ring, so these never wrap
        self._near = work.floats(f"{scope} {self._name}", self._depth + rows, self._kept.shape[1])
        self._near[: self._depth] = self._kept
        return self._near[self._depth :]

    def lagged(self, lag: int) -> Iterator[tuple[slice, Floats]]:
        """Yield the rows `lag` bars earlier, in one piece or two, each with the tile's rows that it belongs to."""
        if not self._ring:
            yield slice(0, self._rows), self._near[self._depth - lag : self._depth - lag + self._rows]
            return
        start = (self._row0 - lag) % self._capacity
        head = min(self._rows, self._capacity - start)
        yield slice(0, head), self._kept[start : start + head]
        if head < self._rows:
            yield slice(head, self._rows), self._kept[: self._rows - head]

    def end(self) -> None:
        """Keep what later tiles will ask for."""
        if not self._ring:
            self._kept[:] = self._near[self._rows :]


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
        self._past = {size: _Past(size, lag, width) for size, lag in depth.items()}

    def advance(self, tile: Tile, x: Floats) -> Iterator[tuple[int, Floats]]:
        """Take in the tile's bars and yield each size with its reductions, in the order of the steps.

        `x` and the reductions have the shape (rows, width). A yielded array is read only, and good until the next; the
        iteration has to be finished, since only then is kept what the next tile needs.
        """
        scope = self._operation.__name__
        now = {size: past.begin(tile.row0, tile.rows, tile.work, scope) for size, past in self._past.items()}
        np.copyto(now[1], x)
        for step in self._steps:
            into = now[step.size] if step.size in now else tile.scratch(f"{scope} {step.size}")
            recent = now[step.recent]
            for part, earlier in self._past[step.earlier].lagged(step.lag):
                self._operation(recent[part], earlier, out=into[part])
            yield step.size, into
        for past in self._past.values():
            past.end()
