"""Where the close stands in the range of the last n bars."""

from __future__ import annotations

from quantmatrix_pipeline.indicators.catalogue import RANGE_WINDOWS
from quantmatrix_pipeline.indicators.compiled import compiled
from quantmatrix_pipeline.indicators.family import Family
from quantmatrix_pipeline.indicators.panel import Floats
from quantmatrix_pipeline.indicators.tile import Tile
from quantmatrix_pipeline.indicators.windows import Reduction, RollingReduction, extreme_steps

_WINDOWS = tuple(RANGE_WINDOWS.values())


class RangePosition(Family):
    """range_pos = 100 (C - lowest L) / (highest H - lowest L) of the last n bars, this one included: 0 to 100.

    A window without any range is 50, the middle: NaN means "not enough history" and nothing else, and a price that
    has not moved is neither at its high nor at its low.
    """

    columns = tuple(f"range_pos_{name}" for name in RANGE_WINDOWS)
    memory = max(_WINDOWS) - 1

    def __init__(self, width: int) -> None:
        steps = extreme_steps(_WINDOWS)
        self._highest = RollingReduction(Reduction.HIGHEST, steps, _WINDOWS, width)
        self._lowest = RollingReduction(Reduction.LOWEST, steps, _WINDOWS, width)

    def feed(self, tile: Tile) -> None:
        lowest = [tile.scratch(f"lowest {n}") for n in _WINDOWS]
        highest = [tile.out(name) for name in self.columns]
        ones = [1.0] * len(_WINDOWS)
        self._highest.advance(tile.row0, tile.high, ones, highest)
        self._lowest.advance(tile.row0, tile.low, ones, lowest)
        for low, high in zip(lowest, highest, strict=True):
            _position(tile.close, low, high, high)


@compiled
def _position(close: Floats, lowest: Floats, highest: Floats, out: Floats) -> None:
    rows, width = close.shape
    for k in range(rows):
        for i in range(width):
            span = highest[k, i] - lowest[k, i]
            position = (close[k, i] - lowest[k, i]) / span * 100.0
            out[k, i] = 50.0 if span == 0.0 else position
