"""Wilder's directional movement: +DI, -DI and ADX."""

from __future__ import annotations

import numpy as np

from quantmatrix_pipeline.indicators.compiled import compiled
from quantmatrix_pipeline.indicators.family import Family
from quantmatrix_pipeline.indicators.panel import Floats
from quantmatrix_pipeline.indicators.recursions import wilder, wilder_sum
from quantmatrix_pipeline.indicators.tile import Tile

_SUM, _ADX = wilder_sum(14), wilder(14, first=14)


class DirectionalMovement(Family):
    """plus_di, minus_di and adx over 14 bars (Wilder 1978).

    The larger of H - H[1] and L[1] - L, where positive, is the bar's movement up or down; a tie is neither. The sums
    begin with bars 1..13 and show from bar 14, ADX is Wilder's average of DX from bar 14 on and shows from bar 27. As
    in TA-Lib a DI without any true range is 0, and ADX stays as it was over a bar whose DX is undefined.
    """

    columns = ("adx", "plus_di", "minus_di")
    memory = None

    def __init__(self, width: int) -> None:
        self._sums = np.zeros((4, width))

    def feed(self, tile: Tile) -> None:
        bars = (tile.high, tile.high_before, tile.low, tile.low_before, tile.true_range)
        outs = (tile.out(name) for name in self.columns)
        _directional_movement(
            tile.row0, _SUM.seed, _ADX.first, _ADX.seed, _SUM.keep, _ADX.weight * 100.0, *bars, self._sums, *outs
        )


@compiled
def _directional_movement(
    row0: int,
    seed: int,
    adx_first: int,
    adx_seed: int,
    keep: float,
    adx_weight: float,
    high: Floats,
    high_before: Floats,
    low: Floats,
    low_before: Floats,
    true_range: Floats,
    sums: Floats,
    adx: Floats,
    plus_di: Floats,
    minus_di: Floats,
) -> None:
    """A loop per result: more arrays in one, and it would no longer become vector instructions."""
    rows, width = high.shape
    plus, minus, span, dx = sums[0], sums[1], sums[2], sums[3]
    for k in range(rows):
        bar = row0 + k
        kept = keep if bar > seed else 1.0
        for i in range(width):
            up, down = high[k, i] - high_before[k, i], low_before[k, i] - low[k, i]
            plus[i] = plus[i] * kept + (0.0 if up < 0.0 else up) * (1.0 if up > down else 0.0)
        for i in range(width):
            up, down = high[k, i] - high_before[k, i], low_before[k, i] - low[k, i]
            minus[i] = minus[i] * kept + (0.0 if down < 0.0 else down) * (1.0 if down > up else 0.0)
        if bar == 0:  # there is no bar before it, and no true range
            continue
        for i in range(width):
            span[i] = span[i] * kept + true_range[k, i]
        for i in range(width):
            per_range = 0.0 if span[i] == 0.0 else 100.0 / span[i]
            plus_di[k, i] = plus[i] * per_range
        for i in range(width):
            per_range = 0.0 if span[i] == 0.0 else 100.0 / span[i]
            minus_di[k, i] = minus[i] * per_range
        if bar < adx_first:
            continue
        kept = keep if bar > adx_seed else 1.0
        for i in range(width):
            total = plus[i] + minus[i]
            dx[i] = dx[i] if total == 0.0 else dx[i] * kept + abs(plus[i] - minus[i]) / total
        for i in range(width):
            adx[k, i] = dx[i] * adx_weight
