"""Where the close stands in the range of the last n bars."""

from __future__ import annotations

import numpy as np

from quantmatrix_pipeline.indicators.catalogue import RANGE_WINDOWS
from quantmatrix_pipeline.indicators.family import Family
from quantmatrix_pipeline.indicators.panel import Floats
from quantmatrix_pipeline.indicators.tile import Tile, where_zero
from quantmatrix_pipeline.indicators.windows import RollingReduction, extreme_steps

MIDDLE = 50.0
_NAMES = {n: name for name, n in RANGE_WINDOWS.items()}


class RangePosition(Family):
    """range_pos = 100 (C - lowest L) / (highest H - lowest L) of the last n bars, this one included: 0 to 100.

    A window without any range is 50, the middle: NaN means "not enough history" and nothing else, and a price that
    has not moved is neither at its high nor at its low.
    """

    columns = tuple(f"range_pos_{name}" for name in RANGE_WINDOWS)
    memory = max(RANGE_WINDOWS.values()) - 1

    def __init__(self, width: int) -> None:
        steps = extreme_steps(list(RANGE_WINDOWS.values()))
        self._highest = RollingReduction(np.maximum, steps, width)
        self._lowest = RollingReduction(np.minimum, steps, width)

    def feed(self, tile: Tile, inputs: Floats) -> None:
        span, position = tile.scratch("a"), tile.scratch("b")
        highs = self._highest.advance(tile, tile.high)
        lows = self._lowest.advance(tile, tile.low)
        for (n, highest), (_, lowest) in zip(highs, lows, strict=True):
            if n not in _NAMES:
                continue
            np.subtract(highest, lowest, out=span)
            flat = where_zero(span, tile)
            np.subtract(tile.close, lowest, out=position)
            np.divide(position, span, out=position)
            out = np.multiply(position, 100.0, out=tile.out(f"range_pos_{_NAMES[n]}"))
            if flat is not None:
                np.copyto(out, MIDDLE, where=flat)
