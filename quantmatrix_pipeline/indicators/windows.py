"""Sums and extremes of the last n bars, for several n at once, by binary doubling.

A sum of 2m bars is the sum of m bars plus the one m bars ago; any n is put together from such powers of two. A value is
therefore a fixed tree over the n bars it covers: nothing drifts, and the bits depend on those bars alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from quantmatrix_pipeline.indicators.panel import Floats
from quantmatrix_pipeline.indicators.tile import TILE_ROWS

Part = tuple[int, int]  # (size, lag): the reduction of `size` bars that ends `lag` bars ago


def disjoint_parts(n: int) -> list[Part]:
    """Cut the last n bars into powers of two, the smallest nearest: short lags need little memory. For sums."""
    parts: list[Part] = []
    lag = 0
    for power in range(n.bit_length()):
        if n >> power & 1:
            parts.append((1 << power, lag))
            lag += 1 << power
    return parts


def overlapping_parts(n: int) -> list[Part]:
    """Cover the last n bars with at most two runs of one power of two. For extremes, which may count a bar twice."""
    size = 1 << (n.bit_length() - 1)
    return [(size, 0)] if size == n else [(size, 0), (size, n - size)]


class _Ring:
    """The last `depth` rows and the tile's own, overwritten in turn; zeros stand before the first bar."""

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
    """A reduction (`np.add`, `np.maximum`, `np.minimum`) over the last n bars for each n of `windows`.

    Rows with fewer than n bars before them hold a reduction with zeros: the caller's look-back hides them.
    """

    def __init__(self, operation: np.ufunc, windows: Sequence[int], width: int) -> None:
        self._operation = operation
        cut = disjoint_parts if operation is np.add else overlapping_parts
        self._parts = {n: cut(n) for n in windows}
        self._sizes = [
            1 << p for p in range(max(size for parts in self._parts.values() for size, _ in parts).bit_length())
        ]
        depth = {size: size for size in self._sizes[:-1]} | {self._sizes[-1]: 0}
        for parts in self._parts.values():
            for size, lag in parts:
                depth[size] = max(depth[size], lag)
        self._rings = {size: _Ring(depth[size], width) for size in self._sizes}

    def advance(self, row0: int, x: Floats) -> None:
        """Take in the bars from `row0` on; shape (rows, width)."""
        rows = len(x)
        np.copyto(self._rings[1].now(row0, rows), x)
        for size in self._sizes[1:]:
            half = self._rings[size // 2]
            into, recent = self._rings[size].now(row0, rows), half.now(row0, rows)
            for part, earlier in half.lagged(row0, rows, size // 2):
                self._operation(recent[part], earlier, out=into[part])

    def over(self, n: int, row0: int, out: Floats) -> Floats:
        """Write the reduction over the last n bars of the rows just taken in to `out`, and return it."""
        rows = len(out)
        (size, _), *others = self._parts[n]
        total = self._rings[size].now(row0, rows)
        if not others:
            np.copyto(out, total)
        for size, lag in others:
            for part, earlier in self._rings[size].lagged(row0, rows, lag):
                self._operation(total[part], earlier, out=out[part])
            total = out
        return out
