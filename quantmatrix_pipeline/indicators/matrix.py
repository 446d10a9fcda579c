"""How far the price stands from its averages, counted in percent and in true ranges."""

from __future__ import annotations

import numpy as np

from quantmatrix_pipeline.indicators.catalogue import MATRIX_EMA_WINDOWS, MATRIX_SMA_WINDOWS
from quantmatrix_pipeline.indicators.family import Family
from quantmatrix_pipeline.indicators.tile import Tile, where_zero

_AVERAGES = {
    "atr_distance": "sma_50",
    **{f"atrx_sma_{n}": f"sma_{n}" for n in MATRIX_SMA_WINDOWS},
    **{f"atr_dist_ema{n}": f"ema_{n}" for n in MATRIX_EMA_WINDOWS},
}
_PERCENT = {f"pct_dist_ema{n}": f"ema_{n}" for n in MATRIX_EMA_WINDOWS}
_MULTIPLE = "atr_multiple_sma_50"


class AtrMatrix(Family):
    """atr_distance and atrx_sma_n, atr_dist_eman, pct_dist_eman, atr_multiple_sma_50; reads the averages and atr_14.

    `atr_distance` and `atr_multiple_sma_50` differ: the one counts the distance from SMA50 in ATR14, the other divides
    two percentages, that of the distance (of SMA50) by that of the range (of C), and so is C / SMA50 times as large.

    Where ATR14 is zero the price has not moved since the first bar, so it stands on all its averages: 0.
    """

    columns = (*_AVERAGES, _MULTIPLE, *_PERCENT)
    reads = ("atr_14", *_AVERAGES.values())

    def write(self, tile: Tile) -> None:
        atr = tile.out("atr_14")
        still = where_zero(atr, tile)
        wanted = [name for name in _AVERAGES if tile.wants(name)]
        for name in wanted:
            distance = np.subtract(tile.close, tile.out(_AVERAGES[name]), out=tile.scratch("a"))
            np.divide(distance, atr, out=tile.out(name))
        if tile.wants(_MULTIPLE):
            wanted.append(_MULTIPLE)
            multiple = np.divide(tile.close, tile.out("sma_50"), out=tile.scratch("a"))
            multiple -= 1.0
            in_percent = np.divide(atr, tile.close, out=tile.scratch("b"))
            np.divide(multiple, in_percent, out=tile.out(_MULTIPLE))
        if still is not None:
            for name in wanted:
                np.copyto(tile.out(name), 0.0, where=still)
        for name, average in _PERCENT.items():
            if tile.wants(name):
                percent = np.divide(tile.close, tile.out(average), out=tile.scratch("a"))
                percent -= 1.0
                np.multiply(percent, 100.0, out=tile.out(name))
