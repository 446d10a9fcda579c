"""Sums and extremes of the last n bars, for several n at once, by doubling.

A reduction over n bars is put together from two shorter ones, the second some bars earlier: 100 = 50 now and 50 of 50
bars ago. A value is therefore a fixed tree over the n bars it covers: nothing drifts, and the bits depend on those
bars alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import numpy.typing as npt

from quantmatrix_pipeline.indicators.compiled import compiled
from quantmatrix_pipeline.indicators.panel import Floats


class Reduction(IntEnum):
    """How two reductions become that of both."""

    SUM, HIGHEST, LOWEST = range(3)


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


class RollingReduction:
    """A reduction over the last n bars, for each n of `windows`, that goes on from tile to tile.

    Rows with fewer than n bars before them hold a reduction with zeros: the caller's look-back hides them. An extreme
    is no number only where the bar itself is none.
    """

    def __init__(self, reduction: Reduction, steps: Sequence[Step], windows: Sequence[int], width: int) -> None:
        """`windows` are among the sizes that the steps make, each from earlier ones."""
        sizes = [1, *(step.size for step in steps)]
        depth = {size: 1 + max((step.lag for step in steps if step.earlier == size), default=0) for size in sizes}
        begin = dict(zip(sizes, np.cumsum([0, *depth.values()]).tolist(), strict=False))
        place = {size: windows.index(size) if size in windows else -1 for size in sizes}
        self._reduction = int(reduction)
        self._rings = np.array([(begin[size], depth[size]) for size in sizes])
        self._steps = np.array(
            [(sizes.index(step.recent), sizes.index(step.earlier), step.lag, place[step.size]) for step in steps]
        )
        self._past = np.zeros((sum(depth.values()), width))

    def advance(self, row0: int, x: Floats, factors: Sequence[float], outs: Sequence[Floats]) -> None:
        """Take in the bars from `row0` on; write, for each window, the reduction times its factor.

        `x` and each of `outs` have the shape (rows, width).
        """
        _reduce(self._reduction, row0, x, self._rings, self._steps, self._past, np.array(factors), tuple(outs))


@compiled
def _reduce(
    reduction: int,
    row0: int,
    x: Floats,
    rings: npt.NDArray[np.int64],
    steps: npt.NDArray[np.int64],
    past: Floats,
    factors: Floats,
    outs: tuple[Floats, ...],
) -> None:
    """Each size has a ring of rows in `past`, as many as a later step reaches back."""
    rows, width = x.shape
    for k in range(rows):
        bar = row0 + k
        into = rings[0, 0] + bar % rings[0, 1]
        for i in range(width):
            past[into, i] = x[k, i]
        for s in range(len(steps)):
            recent, earlier, lag, place = steps[s]
            into = rings[s + 1, 0] + bar % rings[s + 1, 1]
            a = rings[recent, 0] + bar % rings[recent, 1]
            b = rings[earlier, 0] + (bar - lag) % rings[earlier, 1]
            if reduction == 0:
                for i in range(width):
                    past[into, i] = past[a, i] + past[b, i]
            elif reduction == 1:
                for i in range(width):
                    past[into, i] = past[b, i] if past[b, i] > past[a, i] else past[a, i]
            else:
                for i in range(width):
                    past[into, i] = past[b, i] if past[b, i] < past[a, i] else past[a, i]
            if place >= 0:
                out, factor = outs[place], factors[place]
                for i in range(width):
                    out[k, i] = past[into, i] * factor
