"""Simple and exponential moving averages, and what their order says about the trend."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from quantmatrix_pipeline.indicators.catalogue import EMA_WINDOWS, MA_BUCKET_LABELS, SMA_WINDOWS
from quantmatrix_pipeline.indicators.panel import Floats
from quantmatrix_pipeline.indicators.recursions import Recursions, ema
from quantmatrix_pipeline.indicators.tile import Tile
from quantmatrix_pipeline.indicators.windows import RollingReduction

TOLERANCE = 1e-12  # relative: an average of equal cent prices misses them by an ulp, which is no crossing

_ALIGNED = ("ema_21", "sma_21", "sma_50", "sma_100", "sma_200")
_BUCKET = ("sma_5", "sma_8", "sma_21", "sma_50", "sma_100", "sma_200")
_UNKNOWN, _LAGGING, _NEUTRAL, _LEADING = range(len(MA_BUCKET_LABELS))


class SimpleAverages:
    """sma_n: the mean of the last n closes."""

    memory: int | None = max(SMA_WINDOWS) - 1

    def __init__(self, width: int) -> None:
        self._sums = RollingReduction(np.add, SMA_WINDOWS, width)

    def advance(self, tile: Tile) -> None:
        self._sums.advance(tile.row0, tile.close())
        for n in SMA_WINDOWS:
            average = self._sums.over(n, tile.row0, tile.out(f"sma_{n}"))
            average *= 1.0 / n


class ExponentialAverages:
    """ema_n: weight 2/(n+1), begun with the mean of the first n closes."""

    memory: int | None = None

    def __init__(self, width: int) -> None:
        self._averages = Recursions([ema(n) for n in EMA_WINDOWS], width)

    def advance(self, tile: Tile) -> None:
        averages = tile.work.floats("stack", tile.rows, len(EMA_WINDOWS), tile.width)
        np.copyto(averages, tile.close()[:, None])
        self._averages.advance(tile.row0, averages, tile.work)
        for k, n in enumerate(EMA_WINDOWS):
            np.copyto(tile.out(f"ema_{n}"), averages[:, k])


class AverageOrder:
    """ma_aligned and ma_bucket: whether price and averages stand in order; reads the averages' columns.

    Both compare with a relative tolerance: `>=` holds down to a shortfall of 1e-12, `>` needs an excess of 1e-12.
    """

    memory: int | None = 0

    def __init__(self, width: int) -> None:
        pass

    def advance(self, tile: Tile) -> None:
        aligned, leading, lagging = tile.flags("aligned"), tile.flags("leading"), tile.flags("lagging")
        self._all(np.greater_equal, 1.0 - TOLERANCE, [tile.out(name) for name in _ALIGNED], tile, aligned)
        np.copyto(tile.out("ma_aligned"), aligned)

        chain = [tile.close(), *(tile.out(name) for name in _BUCKET)]
        self._all(np.greater, 1.0 + TOLERANCE, chain, tile, leading)
        self._all(np.less, 1.0 - TOLERANCE, chain, tile, lagging)
        bucket = tile.out("ma_bucket")
        bucket.fill(_NEUTRAL)
        np.copyto(bucket, _LEADING, where=leading)
        np.copyto(bucket, _LAGGING, where=lagging)
        bucket[: tile.since(max(SMA_WINDOWS) - 1).start] = _UNKNOWN

    @staticmethod
    def _all(
        comparison: np.ufunc,
        margin: float,
        chain: Sequence[Floats],
        tile: Tile,
        out: np.ndarray[tuple[int, ...], np.dtype[np.bool_]],
    ) -> None:
        """Write whether `comparison(a, margin * b)` holds for all neighbours a, b of the chain."""
        bound, holds = tile.scratch("a"), tile.flags("holds")
        out.fill(True)
        for left, right in zip(chain, chain[1:], strict=False):
            np.multiply(right, margin, out=bound)
            comparison(left, bound, out=holds)
            np.logical_and(out, holds, out=out)
