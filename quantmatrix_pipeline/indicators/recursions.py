"""Recursive averages (exponential, Wilder) of many series at once, one bar after the other.

Each is carried as a decaying sum, S = keep * S[1] + x, whose product with a constant weight is the average.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from quantmatrix_pipeline.indicators.compiled import compiled
from quantmatrix_pipeline.indicators.panel import Floats


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


class RecursiveAverage:
    """A recursive average over `width` instruments that goes on from tile to tile."""

    def __init__(self, spec: Recursion, width: int) -> None:
        self._spec = spec
        self._sum = np.zeros(width)

    def advance(self, row0: int, x: Floats, out: Floats) -> None:
        """Take in the inputs of the bars from `row0` on and write their averages, shape (rows, width) each.

        Rows before the seed is complete may hold anything.
        """
        own = self._spec
        _average(row0, own.first, own.seed, own.keep, own.seed_scale, own.weight, x, self._sum, out)


@compiled
def _average(
    row0: int,
    first: int,
    seed: int,
    keep: float,
    seed_scale: float,
    weight: float,
    x: Floats,
    total: Floats,
    out: Floats,
) -> None:
    rows, width = x.shape
    for k in range(max(first - row0, 0), rows):
        kept = keep if row0 + k > seed else 1.0
        scale = seed_scale if row0 + k == seed else 1.0
        for i in range(width):
            total[i] = (total[i] * kept + x[k, i]) * scale
            out[k, i] = total[i] * weight
