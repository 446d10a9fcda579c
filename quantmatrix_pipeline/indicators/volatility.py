"""True range and what is measured in it: ATR, ATR in percent, distance from an average in ATR."""

from __future__ import annotations

import numpy as np

from quantmatrix_pipeline.indicators.catalogue import ATR_WINDOWS
from quantmatrix_pipeline.indicators.family import Family
from quantmatrix_pipeline.indicators.panel import Floats
from quantmatrix_pipeline.indicators.recursions import wilder
from quantmatrix_pipeline.indicators.tile import Tile, where_zero


def true_range(tile: Tile, out: Floats) -> None:
    """Write TR = max(H, C[1]) - min(L, C[1]) (Wilder 1978); bar 0 has no close before it, and nobody counts its TR."""
    np.maximum(tile.high, tile.close_before, out=out)
    out -= np.minimum(tile.low, tile.close_before, out=tile.scratch("a"))


class AverageTrueRange(Family):
    """atr_n, atrp_n = 100 ATR / C and atr_distance = (C - SMA50) / ATR14; reads sma_50.

    Where ATR14 is zero the price has not moved since the first bar, so it stands on its average: the distance is 0.
    """

    averages = tuple(wilder(n, first=1) for n in ATR_WINDOWS)
    memory = None

    def feed(self, tile: Tile, inputs: Floats) -> None:
        span = tile.scratch("true range")
        true_range(tile, span)
        np.copyto(inputs, span[:, None])

    def write(self, tile: Tile, sums: Floats, second_sums: Floats) -> None:
        for k, n in enumerate(ATR_WINDOWS):
            average = np.multiply(sums[:, k], self.averages[k].weight, out=tile.scratch(f"atr_{n}"))
            tile.write_level(f"atr_{n}", average)
            percent = np.divide(average, tile.close, out=tile.scratch("a"))
            np.multiply(percent, 100.0, out=tile.out(f"atrp_{n}"))
        atr14 = tile.scratch("atr_14")
        still = where_zero(atr14, tile)
        distance = np.subtract(tile.close, tile.scratch("sma_50"), out=tile.scratch("a"))
        np.divide(distance, atr14, out=tile.out("atr_distance"))
        if still is not None:
            np.copyto(tile.out("atr_distance"), 0.0, where=still)
