"""Wilder's directional movement: +DI, -DI and ADX."""

from __future__ import annotations

import numpy as np

from quantmatrix_pipeline.indicators.family import Family
from quantmatrix_pipeline.indicators.panel import Bools, Floats
from quantmatrix_pipeline.indicators.recursions import wilder, wilder_sum
from quantmatrix_pipeline.indicators.tile import Tile, where_zero


class DirectionalMovement(Family):
    """plus_di, minus_di and adx over 14 bars (Wilder 1978).

    The larger of H - H[1] and L[1] - L, where positive, is the bar's movement up or down; a tie is neither. The sums
    begin with bars 1..13 and show from bar 14, ADX is Wilder's average of DX from bar 14 on and shows from bar 27. As
    in TA-Lib a DI without any true range is 0, and ADX stays as it was over a bar whose DX is undefined.
    """

    columns = ("adx", "plus_di", "minus_di")
    averages = (wilder_sum(14),) * 3
    second_averages = (wilder(14, first=14),)
    memory = None

    def feed(self, tile: Tile, inputs: Floats) -> None:
        up, down, larger = tile.scratch("a"), tile.scratch("b"), tile.flags("larger")
        np.subtract(tile.high, tile.high_before, out=up)
        np.subtract(tile.low_before, tile.low, out=down)
        for movement, mine, other in ((inputs[0], up, down), (inputs[1], down, up)):
            np.greater(mine, other, out=larger)
            np.maximum(mine, 0.0, out=movement)
            np.multiply(movement, larger, out=movement)  # a masked copy mispredicts at every other bar
        np.copyto(inputs[2], tile.true_range)

    def feed_again(self, tile: Tile, sums: Floats, inputs: Floats) -> Bools | None:
        (plus, minus, _), dx = sums, inputs[0]
        total = np.add(plus, minus, out=tile.scratch("a"))
        np.subtract(plus, minus, out=dx)
        np.absolute(dx, out=dx)
        np.divide(dx, total, out=dx)
        undirected = np.equal(total, 0.0, out=tile.flags("undirected"))
        return undirected if undirected.any() else None

    def write(self, tile: Tile, sums: Floats, second_sums: Floats) -> None:
        plus, minus, span = sums
        still = where_zero(span, tile)
        per_range = np.divide(100.0, span, out=span)
        for name, movement in (("plus_di", plus), ("minus_di", minus)):
            index = np.multiply(movement, per_range, out=tile.out(name))
            if still is not None:
                np.copyto(index, 0.0, where=still)
        np.multiply(second_sums[0], 100.0 * self.second_averages[0].weight, out=tile.out("adx"))
