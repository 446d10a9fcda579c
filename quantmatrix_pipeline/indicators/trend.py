"""Wilder's directional movement: +DI, -DI and ADX."""

from __future__ import annotations

import numpy as np

from quantmatrix_pipeline.indicators.panel import Floats
from quantmatrix_pipeline.indicators.recursions import Recursions, wilder, wilder_sum
from quantmatrix_pipeline.indicators.tile import Tile


class DirectionalMovement:
    """plus_di, minus_di and adx over 14 bars (Wilder 1978).

    The larger of H - H[1] and L[1] - L, where positive, is the bar's movement up or down; a tie is neither. The sums
    begin with bars 1..13 and show from bar 14, ADX is Wilder's average of DX from bar 14 on and shows from bar 27. As
    in TA-Lib a DI without any true range is 0, and ADX stays as it was over a bar whose DX is undefined.
    """

    memory: int | None = None

    def __init__(self, width: int) -> None:
        self._sums = Recursions([wilder_sum(14)] * 3, width)
        self._adx = Recursions([wilder(14, first=14)], width)

    def advance(self, tile: Tile) -> None:
        sums = tile.work.floats("stack", tile.rows, 3, tile.width)
        self._movement(tile, sums[:, 0], sums[:, 1])
        np.copyto(sums[:, 2], tile.true_range)
        self._sums.advance(tile.row0, sums, sums, tile.work)

        true_range, still = sums[:, 2], tile.flags("still")
        np.equal(true_range, 0.0, out=still)
        plus, minus = sums[:, 0], sums[:, 1]
        for name, movement in (("plus_di", plus), ("minus_di", minus)):
            movement /= true_range
            movement *= 100.0
            np.copyto(movement, 0.0, where=still)
            np.copyto(tile.out(name), movement)

        total, undirected = tile.scratch("a"), tile.flags("undirected")
        np.add(plus, minus, out=total)
        np.equal(total, 0.0, out=undirected)
        index = tile.work.floats("dx", tile.rows, 1, tile.width)
        dx = index[:, 0]
        np.subtract(plus, minus, out=dx)
        np.absolute(dx, out=dx)
        dx /= total
        dx *= 100.0
        hold = None
        if undirected.any():
            np.copyto(dx, 0.0, where=undirected)
            hold = undirected[:, None]
        self._adx.advance(tile.row0, index, index, tile.work, hold)
        np.copyto(tile.out("adx"), dx)

    @staticmethod
    def _movement(tile: Tile, plus: Floats, minus: Floats) -> None:
        known = tile.since(1)
        up, down = tile.scratch("a")[known], tile.scratch("b")[known]
        larger = tile.flags("larger")[known]
        np.subtract(tile.high()[known], tile.high(1), out=up)
        np.subtract(tile.low(1), tile.low()[known], out=down)
        for movement, mine, other in ((plus, up, down), (minus, down, up)):
            movement[: known.start] = 0.0
            np.greater(mine, other, out=larger)
            np.maximum(mine, 0.0, out=movement[known])
            np.multiply(movement[known], larger, out=movement[known])  # a masked copy mispredicts at every other bar
