"""Simple and exponential moving averages, and what their order says about the trend."""

from __future__ import annotations

import numpy as np

from quantmatrix_pipeline.indicators.catalogue import EMA_WINDOWS, MA_BUCKET_LABELS, SMA_WINDOWS
from quantmatrix_pipeline.indicators.compiled import compiled
from quantmatrix_pipeline.indicators.family import Family
from quantmatrix_pipeline.indicators.panel import Floats
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
        bucket = tile.out("ma_bucket")
        _side(1.0 + TOLERANCE, (tile.close, *(tile.out(f"sma_{n}") for n in _BUCKET)), bucket)
        bucket += _NEUTRAL  # LAGGING and LEADING stand on either side of it
        bucket[: tile.since(max(SMA_WINDOWS) - 1).start] = _UNKNOWN
        _descend(
            1.0 + TOLERANCE, (tile.out("ema_21"), *(tile.out(f"sma_{n}") for n in _ALIGNED)), tile.out("ma_aligned")
        )


@compiled
def _side(raised: float, chain: tuple[Floats, ...], out: Floats) -> None:
    """Write 1 where each of the chain stands above the next, -1 where it stands below it, else 0."""
    rows, width = out.shape
    lagging = np.empty(width)
    for k in range(rows):
        out[k] = 1.0
        lagging[:] = 1.0
        for n in range(len(chain) - 1):
            a, b = chain[n], chain[n + 1]
            for i in range(width):
                out[k, i] = out[k, i] if a[k, i] > b[k, i] * raised else 0.0
                lagging[i] = lagging[i] if a[k, i] * raised < b[k, i] else 0.0
        for i in range(width):
            out[k, i] -= lagging[i]


@compiled
def _descend(raised: float, chain: tuple[Floats, ...], out: Floats) -> None:
    """Write 1 where none of the chain stands below the next, else 0."""
    rows, width = out.shape
    for k in range(rows):
        out[k] = 1.0
        for n in range(len(chain) - 1):
            a, b = chain[n], chain[n + 1]
            for i in range(width):
                out[k, i] = out[k, i] if a[k, i] * raised >= b[k, i] else 0.0
