"""Momentum of the close: RSI and MACD."""

from __future__ import annotations

import numpy as np

from quantmatrix_pipeline.indicators.family import Family
from quantmatrix_pipeline.indicators.panel import Floats
from quantmatrix_pipeline.indicators.recursions import ema, wilder
from quantmatrix_pipeline.indicators.tile import Tile, where_zero


class RelativeStrengthIndex(Family):
    """rsi = 100 G / (G + D): Wilder's averages over 14 bars of gains and of losses (Wilder 1978).

    The first change is bar 1's, the first value bar 14's. Where neither gain nor loss is left the index is 0, as TA-Lib
    has it: there is enough history, so NaN would say something wrong.
    """

    columns = ("rsi",)
    averages = (wilder(14, first=1), wilder(14, first=1))
    memory = None

    def feed(self, tile: Tile, inputs: Floats) -> None:
        gain, loss = inputs
        change = np.subtract(tile.close, tile.close_before, out=tile.scratch("a"))
        np.maximum(change, 0.0, out=gain)
        np.subtract(gain, change, out=loss)

    def write(self, tile: Tile, sums: Floats, second_sums: Floats) -> None:
        gain, loss = sums  # both of one weight, which cancels
        total = np.add(gain, loss, out=loss)
        still = where_zero(total, tile)
        share = np.divide(gain, total, out=gain)
        rsi = np.multiply(share, 100.0, out=tile.out("rsi"))
        if still is not None:
            np.copyto(rsi, 0.0, where=still)


class MovingAverageConvergenceDivergence(Family):
    """macd = EMA12 - EMA26, macd_signal = EMA9 of it, macd_histogram = their difference (Appel 1979).

    As in TA-Lib both averages begin at bar 25 (EMA12 from the mean of bars 14..25) and the signal at bar 33; none of
    the three is shown earlier.
    """

    columns = ("macd", "macd_signal", "macd_histogram")
    averages = (ema(12, seed=25), ema(26))
    second_averages = (ema(9, seed=33),)
    memory = None

    def feed(self, tile: Tile, inputs: Floats) -> None:
        np.copyto(inputs, tile.close)

    def feed_again(self, tile: Tile, sums: Floats, inputs: Floats) -> None:
        fast, slow = sums
        fast *= self.averages[0].weight
        slow *= self.averages[1].weight
        macd = np.subtract(fast, slow, out=tile.out("macd"))
        np.copyto(inputs[0], macd)

    def write(self, tile: Tile, sums: Floats, second_sums: Floats) -> None:
        signal = np.multiply(second_sums[0], self.second_averages[0].weight, out=tile.out("macd_signal"))
        np.subtract(tile.out("macd"), signal, out=tile.out("macd_histogram"))
