"""True range and what is measured in it: ATR, ATR in percent, distance from an average in ATR."""

from __future__ import annotations

import numpy as np

from quantmatrix_pipeline.indicators.catalogue import ATR_WINDOWS
from quantmatrix_pipeline.indicators.recursions import Recursions, wilder
from quantmatrix_pipeline.indicators.tile import Tile


class TrueRange:
    """TR = the greatest of H - L, |H - C[1]| and |L - C[1]|, for the families that follow (Wilder 1978).

    The first bar has no close before it: its true range is unknown, held as 0 and used by none.
    """

    memory: int | None = None

    def __init__(self, width: int) -> None:
        pass

    def advance(self, tile: Tile) -> None:
        known = tile.since(1)
        high, low, before = tile.high()[known], tile.low()[known], tile.close(1)
        span, reach = tile.true_range[known], tile.scratch("a")[known]
        tile.true_range[: known.start] = 0.0
        np.subtract(high, low, out=span)
        for extreme in (high, low):
            np.subtract(extreme, before, out=reach)
            np.absolute(reach, out=reach)
            np.maximum(span, reach, out=span)


class AverageTrueRange:
    """atr_n, atrp_n = 100 ATR / C and atr_distance = (C - SMA50) / ATR14; reads sma_50.

    Where ATR14 is zero the price has not moved since the first bar, so it stands on its average: the distance is 0.
    """

    memory: int | None = None

    def __init__(self, width: int) -> None:
        self._averages = Recursions([wilder(n, first=1) for n in ATR_WINDOWS], width)

    def advance(self, tile: Tile) -> None:
        ranges = tile.work.floats("stack", tile.rows, len(ATR_WINDOWS), tile.width)
        self._averages.advance(tile.row0, tile.true_range[:, None], ranges, tile.work)
        close = tile.close()
        for k, n in enumerate(ATR_WINDOWS):
            np.copyto(tile.out(f"atr_{n}"), ranges[:, k])
            percent = np.divide(ranges[:, k], close, out=tile.scratch("a"))
            np.multiply(percent, 100.0, out=tile.out(f"atrp_{n}"))
        distance, still = tile.scratch("a"), tile.flags("still")
        atr14 = ranges[:, ATR_WINDOWS.index(14)]
        np.equal(atr14, 0.0, out=still)
        np.subtract(close, tile.out("sma_50"), out=distance)
        np.divide(distance, atr14, out=tile.out("atr_distance"))
        np.copyto(tile.out("atr_distance"), 0.0, where=still)
