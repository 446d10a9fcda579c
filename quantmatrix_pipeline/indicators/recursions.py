"""Recursive averages (exponential, Wilder) of many series at once, one bar after the other.

Each is y = keep * y[1] + take * x after a seed, which is a weighted sum of the first inputs. Seed and steady state are
the same step with other coefficients, so one kernel serves them all and a step is two operations on contiguous memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from quantmatrix_pipeline.indicators.panel import Bools, Floats
from quantmatrix_pipeline.indicators.tile import Workspace


@dataclass(frozen=True)
class Recursion:
    """One recursive average.

    Attributes
    ----------
    first
        The first bar whose input counts; inputs before it must be finite, no more.
    seed
        The bar at which the seed is complete: there y = seed_weight * (x[first] + ... + x[seed]).
    seed_weight, keep, take
        Weight of each input of the seed; of the last value and of the new input after it.
    """

    first: int
    seed: int
    seed_weight: float
    keep: float
    take: float


def ema(n: int, seed: int | None = None) -> Recursion:
    """Exponential average with weight 2/(n+1), begun with the mean of n inputs that end at bar `seed` (default n-1)."""
    seed = n - 1 if seed is None else seed
    weight = 2.0 / (n + 1)
    return Recursion(seed - n + 1, seed, 1.0 / n, 1.0 - weight, weight)


def wilder(n: int, first: int) -> Recursion:
    """Wilder's average with weight 1/n, begun with the mean of the n inputs from bar `first` on."""
    return Recursion(first, first + n - 1, 1.0 / n, (n - 1) / n, 1.0 / n)


def wilder_sum(n: int) -> Recursion:
    """Wilder's decaying sum, y = y[1] - y[1]/n + x, begun with the sum of bars 1..n-1."""
    return Recursion(1, n - 1, 1.0, 1.0 - 1.0 / n, 1.0)


class Recursions:
    """k recursive averages over `width` instruments that go on from tile to tile."""

    def __init__(self, specs: Sequence[Recursion], width: int) -> None:
        k = len(specs)
        self._first = np.array([s.first for s in specs])
        self._seed = np.array([s.seed for s in specs])
        self._seed_weight = np.array([s.seed_weight for s in specs])
        self._keep = np.array([s.keep for s in specs])
        self._take = np.array([s.take for s in specs])
        self._steady_keep = np.repeat(self._keep, width).reshape(k, width)  # spelled out: broadcasting costs per call
        self._settled = int(self._seed.max()) + 1
        self._state = np.zeros((k, width))

    def advance(self, row0: int, x: Floats, out: Floats, work: Workspace, hold: Bools | None = None) -> None:
        """Write the averages of the bars from `row0` on to `out`.

        Parameters
        ----------
        x
            The inputs, of shape (rows, k, width) or broadcast to it; may be `out` itself.
        out
            Shape (rows, k, width), contiguous.
        hold
            Shape (rows, k, width): where true, a bar has no input and the average stays as it was.
        """
        rows, k, width = out.shape
        bar = np.arange(row0, row0 + rows)[:, None]
        if row0 >= self._settled:
            np.multiply(x, self._take[:, None], out=out)
            keeps: Sequence[Floats] = [self._steady_keep] * rows
        else:
            take = np.where(bar < self._first, 0.0, np.where(bar <= self._seed, self._seed_weight, self._take))
            np.multiply(x, take[..., None], out=out)
            keeps = list(np.where(bar <= self._first, 0.0, np.where(bar <= self._seed, 1.0, self._keep))[..., None])
        kept = work.floats("kept", 1, k, width)[0]
        last: Floats = self._state
        for row, (value, keep) in enumerate(zip(out, keeps, strict=True)):
            np.multiply(last, keep, out=kept)
            np.add(value, kept, out=value)
            if hold is not None:
                np.copyto(value, last, where=hold[row])
            last = value
        np.copyto(self._state, last)
