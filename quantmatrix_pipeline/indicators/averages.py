"""Simple and exponential moving averages, and what their order says about the trend."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from quantmatrix_pipeline.indicators.catalogue import EMA_WINDOWS, MA_BUCKET_LABELS, SMA_WINDOWS
from quantmatrix_pipeline.indicators.panel import Bools, Floats
from quantmatrix_pipeline.indicators.recursions import Recursions, ema
from quantmatrix_pipeline.indicators.tile import Tile
from quantmatrix_pipeline.indicators.windows import RollingReduction, sum_step

TOLERANCE = 1e-12  # relative: an average of equal cent prices misses them by an ulp, which is no crossing

# (recent, earlier): few additions that reach every window, each sum serving the longer ones.
_ADDITIONS = (
    *((1, 1), (2, 2), (4, 1), (4, 4), (5, 5), (10, 4), (10, 10), (20, 1), (20, 20), (10, 40)),
    *((50, 50), (100, 50), (100, 100)),
)
_SUMS = [sum_step(recent, earlier) for recent, earlier in _ADDITIONS]

_ALIGNED = ("ema_21", "sma_21", "sma_50", "sma_100", "sma_200")
_BUCKET = ("sma_5", "sma_8", "sma_21", "sma_50", "sma_100", "sma_200")
_UNKNOWN, _NEUTRAL = MA_BUCKET_LABELS.index("UNKNOWN"), MA_BUCKET_LABELS.index("NEUTRAL")


class SimpleAverages:
    """sma_n: the mean of the last n closes."""

    memory: int | None = max(SMA_WINDOWS) - 1

    def __init__(self, width: int) -> None:
        self._sums = RollingReduction(np.add, _SUMS, width)

    def advance(self, tile: Tile) -> None:
        for n, total in self._sums.advance(tile.row0, tile.close(), tile.scratch("a")):
            if n in SMA_WINDOWS:
                np.multiply(total, 1.0 / n, out=tile.out(f"sma_{n}"))


class ExponentialAverages:
    """ema_n: weight 2/(n+1), begun with the mean of the first n closes."""

    memory: int | None = None

    def __init__(self, width: int) -> None:
        self._averages = Recursions([ema(n) for n in EMA_WINDOWS], width)

    def advance(self, tile: Tile) -> None:
        averages = tile.work.floats("stack", tile.rows, len(EMA_WINDOWS), tile.width)
        self._averages.advance(tile.row0, tile.close()[:, None], averages, tile.work)
        for k, n in enumerate(EMA_WINDOWS):
            np.copyto(tile.out(f"ema_{n}"), averages[:, k])


class AverageOrder:
    """ma_aligned and ma_bucket: whether price and averages stand in order; reads the averages' columns.

    Comparisons are relative to 1e-12: `a > b` holds where a > b (1 + 1e-12), `a < b` where a (1 + 1e-12) < b, `a >= b`
    where a (1 + 1e-12) >= b.
    """

    memory: int | None = 0

    def __init__(self, width: int) -> None:
        pass

    def advance(self, tile: Tile) -> None:
        chain = [tile.close(), *(tile.out(name) for name in _BUCKET)]
        raised = list(tile.work.floats("raised", len(chain), tile.rows, tile.width))
        for value, above in zip(chain, raised, strict=True):
            np.multiply(value, 1.0 + TOLERANCE, out=above)
        leading, lagging, aligned = (tile.flags(name) for name in ("leading", "lagging", "aligned"))
        _all_hold(np.greater, chain[:-1], raised[1:], tile, leading)
        _all_hold(np.less, raised[:-1], chain[1:], tile, lagging)
        bucket = tile.out("ma_bucket")
        side = np.subtract(leading.view(np.int8), lagging.view(np.int8), out=leading.view(np.int8))
        np.add(side, np.int8(_NEUTRAL), out=bucket)  # LAGGING and LEADING stand on either side of NEUTRAL
        bucket[: tile.since(max(SMA_WINDOWS) - 1).start] = _UNKNOWN

        ema_raised = np.multiply(tile.out(_ALIGNED[0]), 1.0 + TOLERANCE, out=tile.scratch("a"))
        raised_of = dict(zip(_BUCKET, raised[1:], strict=True))
        left = [ema_raised, *(raised_of[name] for name in _ALIGNED[1:-1])]
        _all_hold(np.greater_equal, left, [tile.out(name) for name in _ALIGNED[1:]], tile, aligned)
        np.copyto(tile.out("ma_aligned"), aligned)


def _all_hold(comparison: np.ufunc, left: Sequence[Floats], right: Sequence[Floats], tile: Tile, out: Bools) -> None:
    """Write where the comparison holds for every pair."""
    holds = tile.flags("holds")
    out.fill(True)
    for a, b in zip(left, right, strict=True):
        comparison(a, b, out=holds)
        np.logical_and(out, holds, out=out)
