"""How far the price stands from its averages, counted in percent and in true ranges."""

from __future__ import annotations

import numpy as np

from quantmatrix_pipeline.indicators.catalogue import MATRIX_EMA_WINDOWS, MATRIX_SMA_WINDOWS
from quantmatrix_pipeline.indicators.family import Family
from quantmatrix_pipeline.indicators.panel import Floats
from quantmatrix_pipeline.indicators.tile import Tile, where_zero


class AtrMatrix(Family):
    """atrx_sma_n, atr_dist_eman, pct_dist_eman and atr_multiple_sma_50; reads the averages and atr_14.

    `atr_distance` and `atr_multiple_sma_50` differ: the one counts the distance from SMA50 in ATR14, the other divides
    two percentages, that of the distance (of SMA50) by that of the range (of C), and so is C / SMA50 times as large.

    Where ATR14 is zero the price has not moved since the first bar, so it stands on all its averages: 0.
    """

    def write(self, tile: Tile, sums: Floats, second_sums: Floats) -> None:
        atr = tile.scratch("atr_14")
        still = where_zero(atr, tile)
        averages = {f"atrx_sma_{n}": f"sma_{n}" for n in MATRIX_SMA_WINDOWS}
        averages |= {f"atr_dist_ema{n}": f"ema_{n}" for n in MATRIX_EMA_WINDOWS}
        for name, average in averages.items():
            distance = np.subtract(tile.close, tile.scratch(average), out=tile.scratch("a"))
            np.divide(distance, atr, out=tile.out(name))
        multiple = np.divide(tile.close, tile.scratch("sma_50"), out=tile.scratch("a"))
        multiple -= 1.0
        multiple /= np.divide(atr, tile.close, out=tile.scratch("b"))
        np.copyto(tile.out("atr_multiple_sma_50"), multiple)
        if still is not None:
            for name in (*averages, "atr_multiple_sma_50"):
                np.copyto(tile.out(name), 0.0, where=still)
        for n in MATRIX_EMA_WINDOWS:
            percent = np.divide(tile.close, tile.scratch(f"ema_{n}"), out=tile.scratch("a"))
            percent -= 1.0
            np.multiply(percent, 100.0, out=tile.out(f"pct_dist_ema{n}"))
