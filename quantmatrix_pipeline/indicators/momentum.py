"""Momentum of the close: RSI and MACD."""

from __future__ import annotations

import numpy as np

from quantmatrix_pipeline.indicators.compiled import compiled
from quantmatrix_pipeline.indicators.family import Family
from quantmatrix_pipeline.indicators.panel import Floats
from quantmatrix_pipeline.indicators.recursions import RecursiveAverage, ema, wilder
from quantmatrix_pipeline.indicators.tile import Tile

_RSI = wilder(14, first=1)


class RelativeStrengthIndex(Family):
    """rsi = 100 G / (G + D): Wilder's averages over 14 bars of gains and of losses (Wilder 1978).

    The first change is bar 1's, the first value bar 14's. Where neither gain nor loss is left the index is 0, as TA-Lib
    has it: there is enough history, so NaN would say something wrong.
    """

    columns = ("rsi",)
    memory = None

    def __init__(self, width: int) -> None:
        self._sums = np.zeros((2, width))

    def feed(self, tile: Tile) -> None:
        gains, losses = self._sums
        _rsi(tile.row0, _RSI.seed, _RSI.keep, tile.close, tile.close_before, gains, losses, tile.out("rsi"))


@compiled
def _rsi(
    row0: int, seed: int, keep: float, close: Floats, before: Floats, gains: Floats, losses: Floats, out: Floats
) -> None:
    rows, width = close.shape
    for k in range(rows):
        kept = keep if row0 + k > seed else 1.0
        for i in range(width):
            change = close[k, i] - before[k, i]  # none at bar 0, before which stands bar 0 itself
            gain = 0.0 if change < 0.0 else change
            gains[i] = gains[i] * kept + gain
            losses[i] = losses[i] * kept + (gain - change)
        for i in range(width):
            total = gains[i] + losses[i]  # both of one weight, which cancels
            out[k, i] = 0.0 if total == 0.0 else gains[i] / total * 100.0


class MovingAverageConvergenceDivergence(Family):
    """macd = EMA12 - EMA26, macd_signal = EMA9 of it, macd_histogram = their difference (Appel 1979).

    As in TA-Lib both averages begin at bar 25 (EMA12 from the mean of bars 14..25) and the signal at bar 33; none of
    the three is shown earlier.
    """

    columns = ("macd", "macd_signal", "macd_histogram")
    memory = None

    def __init__(self, width: int) -> None:
        self._fast, self._slow, self._signal = (
            RecursiveAverage(spec, width) for spec in (ema(12, seed=25), ema(26), ema(9, seed=33))
        )

    def feed(self, tile: Tile) -> None:
        fast, slow = tile.scratch("a"), tile.scratch("b")
        self._fast.advance(tile.row0, tile.close, fast)
        self._slow.advance(tile.row0, tile.close, slow)
        macd = np.subtract(fast, slow, out=tile.out("macd"))
        self._signal.advance(tile.row0, macd, tile.out("macd_signal"))

    def write(self, tile: Tile) -> None:
        np.subtract(tile.out("macd"), tile.out("macd_signal"), out=tile.out("macd_histogram"))
