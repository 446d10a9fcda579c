"""How far the price stands from its averages, counted in percent and in true ranges."""

from __future__ import annotations

from quantmatrix_pipeline.indicators.catalogue import MATRIX_EMA_WINDOWS, MATRIX_SMA_WINDOWS
from quantmatrix_pipeline.indicators.compiled import compiled
from quantmatrix_pipeline.indicators.family import Family
from quantmatrix_pipeline.indicators.panel import Floats
from quantmatrix_pipeline.indicators.performance import percent_change
from quantmatrix_pipeline.indicators.tile import Tile

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
        for name, average in _AVERAGES.items():
            if tile.wants(name):
                _in_ranges(tile.close, tile.out(average), atr, tile.out(name))
        if tile.wants(_MULTIPLE):
            _multiple(tile.close, tile.out("sma_50"), atr, tile.out(_MULTIPLE))
        for name, average in _PERCENT.items():
            if tile.wants(name):
                percent_change(tile.close, tile.out(average), tile.out(name))


@compiled
def _in_ranges(close: Floats, average: Floats, atr: Floats, out: Floats) -> None:
    rows, width = close.shape
    for k in range(rows):
        for i in range(width):
            distance = (close[k, i] - average[k, i]) / atr[k, i]
            out[k, i] = 0.0 if atr[k, i] == 0.0 else distance


@compiled
def _multiple(close: Floats, average: Floats, atr: Floats, out: Floats) -> None:
    rows, width = close.shape
    for k in range(rows):
        for i in range(width):
            multiple = (close[k, i] / average[k, i] - 1.0) / (atr[k, i] / close[k, i])
            out[k, i] = 0.0 if atr[k, i] == 0.0 else multiple
