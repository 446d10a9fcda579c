"""Trend lines through pivots, and how many of the newest still hold."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from quantmatrix_pipeline.indicators.averages import TOLERANCE
from quantmatrix_pipeline.indicators.compiled import compiled
from quantmatrix_pipeline.indicators.family import Family
from quantmatrix_pipeline.indicators.panel import Floats
from quantmatrix_pipeline.indicators.recursions import RecursiveAverage, wilder
from quantmatrix_pipeline.indicators.sides import SidedPrice
from quantmatrix_pipeline.indicators.tile import Tile
from quantmatrix_pipeline.indicators.windows import Reduction, RollingReduction, extreme_steps

PIVOT_BARS = 20  # on each side of a pivot
PIVOTS = 10  # remembered
LINES = 3  # from the newest pivots
LEEWAY = 0.1  # in ATR14, by which a price may lie beyond a line

_ATR = wilder(14, first=1)
_LEEWAY = replace(_ATR, weight=LEEWAY * _ATR.weight)


class TrendLines(Family):
    """trend_up_count and trend_down_count: lines under rising lows and over falling highs that hold.

    - A pivot low is the lowest of the 20 bars on each side; of equal lows the last one. It is known 20 bars later, and
      nothing is drawn through it before.
    - Of the last ten pivot lows, each of the newest three has a line from the newest earlier one that lies lower. Where
      there is none, or it is no longer among the ten, there is no line.
    - A line holds while no low since its newer pivot has been below it by more than 0.1 ATR14 of the low's own bar. One
      that was broken stays so. Highs are the same upside down.

    Comparisons are relative to 1e-12.

    Rules: trend lines through successive lows and highs in John J. Murphy, Technical Analysis of the Financial Markets
    (1999), and in Robert D. Edwards and John Magee, Technical Analysis of Stock Trends (1948). The numbers are this
    project's.
    """

    columns = ("trend_up_count", "trend_down_count")
    memory = None

    def __init__(self, width: int) -> None:
        self._leeway = RecursiveAverage(_LEEWAY, width)
        self._sides = [_Side(sign, width) for sign in (1.0, -1.0)]

    def feed(self, tile: Tile) -> None:
        leeway = tile.scratch("leeway")
        self._leeway.advance(tile.row0, tile.true_range, leeway)
        for side, low, name in zip(self._sides, (tile.low, tile.high), self.columns, strict=True):
            side.advance(tile, low, leeway, tile.out(name))


class _Side:
    """The lines under lows, or with a sign of -1 those over highs: the same rules on prices turned upside down."""

    def __init__(self, sign: float, width: int) -> None:
        self._low = SidedPrice("trend low", sign, PIVOT_BARS, width)
        self._lowest = RollingReduction(Reduction.LOWEST, extreme_steps((PIVOT_BARS,)), (PIVOT_BARS,), width)
        self._lowest_before = np.full((PIVOT_BARS + 1, width), np.nan)
        self._bounds = np.full((PIVOT_BARS, width), np.nan)
        self._found = np.zeros(width, np.int64)  # pivots so far; the n-th stands in row n % PIVOTS, counted from 0
        self._pivots = np.full((2, PIVOTS, width), np.nan)  # bar, price
        self._reach = np.zeros((PIVOTS, width), np.int64)  # how many pivots before stands the line's older one; 0: none
        self._lines = np.zeros((3, LINES, width))  # level at the newer pivot, slope per bar, the newer pivot's bar
        self._holds = np.zeros((LINES, width))  # the line from pivot n is in row n % LINES

    def advance(self, tile: Tile, price: Floats, leeway: Floats, out: Floats) -> None:
        """Write how many lines hold."""
        low = self._low.advance(tile, price)
        lowest = tile.work.floats("trend lowest", PIVOT_BARS + 1 + tile.rows, tile.width)
        bounds = tile.work.floats("trend bounds", PIVOT_BARS + tile.rows, tile.width)
        lowest[: PIVOT_BARS + 1], bounds[:PIVOT_BARS] = self._lowest_before, self._bounds
        self._lowest.advance(tile.row0, low[PIVOT_BARS:], [1.0], [lowest[PIVOT_BARS + 1 :]])
        _bound(TOLERANCE, low[PIVOT_BARS:], leeway, bounds[PIVOT_BARS:])
        state = (self._found, self._pivots, self._reach, self._lines, self._holds)
        _follow(tile.row0, TOLERANCE, low, lowest, bounds, *state, out)
        self._lowest_before[:], self._bounds[:] = lowest[tile.rows :], bounds[tile.rows :]


@compiled
def _bound(tolerance: float, low: Floats, leeway: Floats, out: Floats) -> None:
    """Write what a line may reach at a bar and still hold."""
    rows, width = low.shape
    for k in range(rows):
        for i in range(width):
            out[k, i] = low[k, i] + leeway[k, i] + tolerance * abs(low[k, i])


@compiled
def _follow(
    row0: int,
    tolerance: float,
    low: Floats,
    lowest: Floats,
    bounds: Floats,
    found: npt.NDArray[np.int64],
    pivots: Floats,
    reach: npt.NDArray[np.int64],
    lines: Floats,
    holds: Floats,
    out: Floats,
) -> None:
    """`low` and `bounds` begin twenty bars before the others, `lowest` of twenty bars each twenty-one before."""
    rows, width = out.shape
    for k in range(rows):
        bar = row0 + k
        for n in range(LINES):
            for i in range(width):
                reached = lines[0, n, i] + lines[1, n, i] * (bar - lines[2, n, i])
                holds[n, i] = holds[n, i] if reached <= bounds[k + PIVOT_BARS, i] else 0.0
        for i in range(width):
            level, after, before = low[k, i], lowest[k + PIVOT_BARS + 1, i], lowest[k, i]
            if level >= after or bar < 2 * PIVOT_BARS:
                continue  # nearly always
            if not (level < after - tolerance * abs(after) and level <= before + tolerance * abs(before)):
                continue
            number, pivot_bar = found[i], float(bar - PIVOT_BARS)
            found[i] = number + 1
            own, line = number % PIVOTS, number % LINES
            pivots[0, own, i], pivots[1, own, i], reach[own, i] = pivot_bar, level, 0
            lines[0, line, i], lines[1, line, i], lines[2, line, i] = level, 0.0, pivot_bar
            holds[line, i] = 0.0
            for earlier in range(1, min(PIVOTS, number + 1)):
                older = (number - earlier) % PIVOTS
                if pivots[1, older, i] < level - tolerance * abs(level):
                    slope = (level - pivots[1, older, i]) / (pivot_bar - pivots[0, older, i])
                    reach[own, i], lines[1, line, i], holds[line, i] = earlier, slope, 1.0
                    for since in range(1, PIVOT_BARS + 1):
                        if not level + slope * since <= bounds[k + since, i]:
                            holds[line, i] = 0.0
                    break
            for age in range(1, min(LINES, number + 1)):  # a line goes once its older pivot is no longer remembered
                if reach[(number - age) % PIVOTS, i] + age >= PIVOTS:
                    holds[(number - age) % LINES, i] = 0.0
        for i in range(width):
            out[k, i] = holds[0, i] + holds[1, i] + holds[2, i]
