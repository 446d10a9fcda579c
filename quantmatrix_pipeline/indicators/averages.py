"""Simple and exponential moving averages, and what their order says about the trend."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from quantmatrix_pipeline.indicators.catalogue import EMA_WINDOWS, MA_BUCKET_LABELS, SMA_WINDOWS
from quantmatrix_pipeline.indicators.family import Family
from quantmatrix_pipeline.indicators.panel import Bools
from quantmatrix_pipeline.indicators.recursions import RecursiveAverage, ema
from quantmatrix_pipeline.indicators.tile import Tile
from quantmatrix_pipeline.indicators.windows import Reduction, RollingReduction, sum_step

TOLERANCE = 1e-12  # relative: an average of equal cent prices misses them by an ulp, which is no crossing

# (recent, earlier): few additions that reach every window, each sum serving the longer ones.
_ADDITIONS = (
    *((1, 1), (2, 2), (4, 1), (4, 4), (5, 5), (10, 4), (10, 10), (20, 1), (20, 20), (10, 40)),
    *((50, 50), (100, 50), (100, 100)),
)
_SUMS = [sum_step(recent, earlier) for recent, earlier in _ADDITIONS]

_BUCKET = (5, 8, 21, 50, 100, 200)  # windows of the simple averages that ma_bucket compares, after the close
_ALIGNED = (21, 50, 100, 200)  # those that ma_aligned compares, after ema_21
_UNKNOWN, _NEUTRAL = MA_BUCKET_LABELS.index("UNKNOWN"), MA_BUCKET_LABELS.index("NEUTRAL")


class SimpleAverages(Family):
    """sma_n: the mean of the last n closes."""

    columns = tuple(f"sma_{n}" for n in SMA_WINDOWS)
    memory = max(SMA_WINDOWS) - 1

    def __init__(self, width: int) -> None:
        self._sums = RollingReduction(Reduction.SUM, _SUMS, SMA_WINDOWS, width)

    def feed(self, tile: Tile) -> None:
        shares = [1.0 / n for n in SMA_WINDOWS]
        self._sums.advance(tile.row0, tile.close, shares, [tile.out(name) for name in self.columns])


class ExponentialAverages(Family):
    """ema_n: weight 2/(n+1), begun with the mean of the first n closes."""

    columns = tuple(f"ema_{n}" for n in EMA_WINDOWS)
    memory = None

    def __init__(self, width: int) -> None:
        self._averages = [RecursiveAverage(ema(n), width) for n in EMA_WINDOWS]

    def feed(self, tile: Tile) -> None:
        for name, average in zip(self.columns, self._averages, strict=True):
            average.advance(tile.row0, tile.close, tile.out(name))


class AverageOrder(Family):
    """ma_aligned and ma_bucket: whether price and averages stand in order; reads what the averages left.

    Comparisons are relative to 1e-12: `a > b` holds where a > b (1 + 1e-12), `a < b` where a (1 + 1e-12) < b, `a >= b`
    where a (1 + 1e-12) >= b.
    """

    columns = ("ma_aligned", "ma_bucket")
    reads = ("ema_21", *(f"sma_{n}" for n in _BUCKET))

    def write(self, tile: Tile) -> None:
        chain = [tile.close, *(tile.out(f"sma_{n}") for n in _BUCKET)]
        raised = [tile.scratch(f"raised {place}") for place in range(len(chain))]
        for value, above in zip(chain, raised, strict=True):
            np.multiply(value, 1.0 + TOLERANCE, out=above)
        leading, lagging, aligned, holds = (tile.flags(name) for name in ("leading", "lagging", "aligned", "holds"))
        leading.fill(True)
        lagging.fill(True)
        for (a, a_raised), (b, b_raised) in pairwise(zip(chain, raised, strict=True)):
            _narrow(leading, np.greater(a, b_raised, out=holds))
            _narrow(lagging, np.less(a_raised, b, out=holds))
        bucket = tile.out("ma_bucket")
        side = np.subtract(leading.view(np.int8), lagging.view(np.int8), out=leading.view(np.int8))
        np.add(side, np.int8(_NEUTRAL), out=bucket)  # LAGGING and LEADING stand on either side of NEUTRAL
        bucket[: tile.since(max(SMA_WINDOWS) - 1).start] = _UNKNOWN

        a_raised = np.multiply(tile.out("ema_21"), 1.0 + TOLERANCE, out=tile.scratch("a"))
        aligned.fill(True)
        for n in _ALIGNED:
            _narrow(aligned, np.greater_equal(a_raised, tile.out(f"sma_{n}"), out=holds))
            a_raised = raised[1 + _BUCKET.index(n)]
        np.copyto(tile.out("ma_aligned"), aligned)


def _narrow(flags: Bools, further: Bools) -> None:
    np.logical_and(flags, further, out=flags)
