"""Recursive averages (exponential, Wilder) of many series at once, one bar after the other.

Each is carried as a decaying sum, S = keep * S[1] + x, whose product with a constant weight is the average: so the
inputs go in as they are, the weight is applied while the column is written, and a step is two operations however many
averages are stacked.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from quantmatrix_pipeline.indicators.panel import Bools, Floats
from quantmatrix_pipeline.indicators.tile import Workspace


@dataclass(frozen=True)
class Recursion:
    """One recursive average, `weight` times a decaying sum S.

    Attributes
    ----------
    first
        The first bar whose input counts; inputs before it may be anything.
    seed
        The bar at which the seed is complete: there S = seed_scale * (x[first] + ... + x[seed]).
    keep
        What is left of S one bar later, after the seed.
    weight
        The average is weight * S, from the bar `seed` on.
    seed_scale
        Brings the sum of the seed's inputs to the scale of S.
    """

    first: int
    seed: int
    keep: float
    weight: float
    seed_scale: float = 1.0


def ema(n: int, seed: int | None = None) -> Recursion:
    """Exponential average with weight 2/(n+1), begun with the mean of n inputs that end at bar `seed` (default n-1)."""
    seed = n - 1 if seed is None else seed
    weight = 2.0 / (n + 1)
    return Recursion(seed - n + 1, seed, 1.0 - weight, weight, seed_scale=(n + 1) / (2.0 * n))


def wilder(n: int, first: int) -> Recursion:
    """Wilder's average with weight 1/n, begun with the mean of the n inputs from bar `first` on."""
    return Recursion(first, first + n - 1, (n - 1) / n, 1.0 / n)


def wilder_sum(n: int) -> Recursion:
    """Wilder's decaying sum, y = y[1] - y[1]/n + x, begun with the sum of bars 1..n-1."""
    return Recursion(1, n - 1, (n - 1) / n, 1.0)


class Recursions:
    """`count` recursive averages over `width` instruments that go on from tile to tile."""

    def __init__(self, specs: Sequence[Recursion], width: int) -> None:
        self.count = len(specs)
        self._specs = specs
        self._keep = np.array([s.keep for s in specs])[:, None]
        self._steady_keep = np.repeat(self._keep, width, axis=1)  # spelled out: broadcasting costs per call
        self._settled = max((s.seed for s in specs), default=-1) + 1
        self._state = np.zeros((len(specs), width))

    def advance(self, row0: int, stack: Floats, work: Workspace, hold: Mapping[int, Bools] | None = None) -> None:
        """Turn the inputs of the bars from `row0` on into their decaying sums, in place.

        Parameters
        ----------
        stack
            Shape (count, rows, width).
        hold
            For some of the averages, shape (rows, width): where true, a bar has no input and the sum stays as it was.
        """
        if not self.count:
            return
        k, rows, width = stack.shape
        keeps: Iterable[Floats] = [self._steady_keep] * rows
        scales: Mapping[int, list[int]] = {}
        if row0 < self._settled:
            keeps, scales = self._seeding(row0, stack)
        kept = work.floats("kept", 1, k, width)[0]
        last: Floats = self._state
        for row, (value, keep) in enumerate(zip(stack.transpose(1, 0, 2), keeps, strict=True)):
            np.multiply(last, keep, out=kept)
            np.add(value, kept, out=value)
            for index, flags in hold.items() if hold else ():
                np.copyto(value[index], last[index], where=flags[row])
            for index in scales.get(row, ()):
                value[index] *= self._specs[index].seed_scale
            last = value
        np.copyto(self._state, last)

    def _seeding(self, row0: int, stack: Floats) -> tuple[Iterable[Floats], dict[int, list[int]]]:
        """Blank the inputs that don't count; return what is kept at each row, and which seeds are complete there."""
        scales: dict[int, list[int]] = {}
        for index, spec in enumerate(self._specs):
            stack[index, : max(spec.first - row0, 0)] = 0.0
            scales.setdefault(spec.seed - row0, []).append(index)
        bar = np.arange(row0, row0 + stack.shape[1])[:, None, None]
        seed = np.array([spec.seed for spec in self._specs])[:, None]
        return np.where(bar <= seed, 1.0, self._keep), scales
