"""Momentum of the close: RSI and MACD."""

from __future__ import annotations

import numpy as np

from quantmatrix_pipeline.indicators.recursions import Recursions, ema, wilder
from quantmatrix_pipeline.indicators.tile import Tile


class RelativeStrengthIndex:
    """rsi = 100 G / (G + D): Wilder's averages over 14 bars of gains and of losses (Wilder 1978).

    The first change is bar 1's, the first value bar 14's. Where neither gain nor loss is left the index is 0, as TA-Lib
    has it: there is enough history, so NaN would say something wrong.
    """

    memory: int | None = None

    def __init__(self, width: int) -> None:
        self._averages = Recursions([wilder(14, first=1), wilder(14, first=1)], width)

    def advance(self, tile: Tile) -> None:
        moves = tile.work.floats("stack", tile.rows, 2, tile.width)
        gain, loss = moves[:, 0], moves[:, 1]
        known = tile.since(1)
        gain[: known.start] = 0.0
        np.subtract(tile.close()[known], tile.close(1), out=gain[known])
        np.negative(gain, out=loss)
        np.maximum(moves, 0.0, out=moves)
        self._averages.advance(tile.row0, moves, moves, tile.work)

        total, still = tile.scratch("a"), tile.flags("still")
        np.add(gain, loss, out=total)
        np.equal(total, 0.0, out=still)
        np.divide(gain, total, out=total)
        rsi = np.multiply(total, 100.0, out=tile.out("rsi"))
        np.copyto(rsi, 0.0, where=still)


class MovingAverageConvergenceDivergence:
    """macd = EMA12 - EMA26, macd_signal = EMA9 of it, macd_histogram = their difference (Appel 1979).

    As in TA-Lib both averages begin at bar 25 (EMA12 from the mean of bars 14..25) and the signal at bar 33; none of
    the three is shown earlier.
    """

    memory: int | None = None

    def __init__(self, width: int) -> None:
        self._averages = Recursions([ema(12, seed=25), ema(26)], width)
        self._signal = Recursions([ema(9, seed=33)], width)

    def advance(self, tile: Tile) -> None:
        averages = tile.work.floats("stack", tile.rows, 2, tile.width)
        self._averages.advance(tile.row0, tile.close()[:, None], averages, tile.work)
        signal = tile.work.floats("signal", tile.rows, 1, tile.width)
        macd = np.subtract(averages[:, 0], averages[:, 1], out=tile.scratch("a"))
        np.copyto(tile.out("macd"), macd)
        self._signal.advance(tile.row0, macd[:, None], signal, tile.work)
        np.copyto(tile.out("macd_signal"), signal[:, 0])
        np.subtract(macd, signal[:, 0], out=tile.out("macd_histogram"))
