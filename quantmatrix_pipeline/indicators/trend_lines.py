"""Trend lines through pivots, and how many of the newest still hold."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from quantmatrix_pipeline.indicators.averages import TOLERANCE
from quantmatrix_pipeline.indicators.family import Family
from quantmatrix_pipeline.indicators.panel import Bools, Floats
from quantmatrix_pipeline.indicators.recursions import wilder
from quantmatrix_pipeline.indicators.sides import SIDES, SidedPrice, just_above, just_below
from quantmatrix_pipeline.indicators.tile import Tile
from quantmatrix_pipeline.indicators.volatility import true_range

PIVOT_BARS = 20  # on each side of a pivot
PIVOTS = 10  # remembered
LINES = 3  # from the newest pivots
LEEWAY = 0.1  # in ATR14, by which a price may lie beyond a line

Places = npt.NDArray[np.intp]


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
    averages = (wilder(14, first=1),)
    memory = None

    def __init__(self, width: int) -> None:
        flat = SIDES * width
        self._low = SidedPrice("trend low", PIVOT_BARS, width)
        self._bound = np.full((PIVOT_BARS, flat), np.nan)
        self._lowest = np.full((PIVOT_BARS + 1, flat), np.nan)
        self._pivots = np.full((PIVOTS, flat), np.nan)  # the newest first
        self._pivot_bars = np.zeros((PIVOTS, flat))
        self._level = np.zeros((LINES, flat))  # at the line's newer pivot
        self._slope = np.zeros((LINES, flat))  # per bar
        self._partner = np.zeros((LINES, flat))  # place of its older pivot among the pivots
        self._holds = np.zeros((LINES, flat), np.bool_)
        self._any_holds = False

    def feed(self, tile: Tile, inputs: Floats) -> None:
        true_range(tile, inputs[0])

    def feed_again(self, tile: Tile, sums: Floats, inputs: Floats) -> Bools | None:
        flat = (-1, SIDES * tile.width)
        low = self._low.advance(tile, tile.low, tile.high).reshape(flat)
        leeway = sums[0] * (LEEWAY * self.averages[0].weight)
        bound = low[PIVOT_BARS:] + np.concatenate((leeway, leeway), axis=1)
        bound += TOLERANCE * np.absolute(low[PIVOT_BARS:])
        bounds = np.concatenate((self._bound, bound))
        lowest = np.concatenate((self._lowest, _lowest(low)[-tile.rows :]))
        self._bound, self._lowest = bounds[tile.rows :], lowest[tile.rows :]

        candidate = low[: tile.rows]
        pivots = candidate < just_below(lowest[PIVOT_BARS + 1 :])
        pivots &= candidate <= just_above(lowest[: tile.rows])
        row, place = np.nonzero(pivots)
        first = np.searchsorted(row, np.arange(tile.rows + 1)).tolist()
        counts = self._counts(tile).reshape(flat)
        for k in range(tile.rows):
            bar = float(tile.row0 + k)
            if self._any_holds:
                age = bar - self._pivot_bars[:LINES]
                self._holds &= self._level + self._slope * age <= bound[k]
            at = place[first[k] : first[k + 1]]
            if len(at):
                self._draw(at, bar - PIVOT_BARS, candidate[k, at], bounds[k + 1 : k + 1 + PIVOT_BARS, at])
            if self._any_holds:
                np.sum(self._holds, axis=0, out=counts[k])
            else:
                counts[k] = 0.0
        self._any_holds = bool(self._holds.any())
        return None

    def _draw(self, at: Places, bar: float, level: Floats, bounds: Floats) -> None:
        """Take in the pivots of some instruments, all at one bar, and draw the lines from them.

        `bounds` are those of the bars since, shape (20, len(at)): what a line may reach and still hold.
        """
        self._pivots[1:, at], self._pivots[0, at] = self._pivots[:-1, at], level
        self._pivot_bars[1:, at], self._pivot_bars[0, at] = self._pivot_bars[:-1, at], bar
        for state in (self._level, self._slope, self._partner, self._holds):
            state[1:, at] = state[:-1, at]
        self._partner[1:, at] += 1.0
        self._holds[1:, at] &= self._partner[1:, at] < PIVOTS

        lower = self._pivots[1:, at] < just_below(level)
        partner = 1 + lower.argmax(axis=0)
        slope = (level - self._pivots[partner, at]) / (bar - self._pivot_bars[partner, at])
        since = np.arange(1.0, PIVOT_BARS + 1.0)[:, None]
        self._level[0, at], self._slope[0, at], self._partner[0, at] = level, slope, partner
        self._holds[0, at] = lower.any(axis=0) & (level + slope * since <= bounds).all(axis=0)
        self._any_holds = self._any_holds or bool(self._holds[0, at].any())

    def write(self, tile: Tile, sums: Floats, second_sums: Floats) -> None:
        counts = self._counts(tile)
        np.copyto(tile.out("trend_up_count"), counts[:, 0])
        np.copyto(tile.out("trend_down_count"), counts[:, 1])

    @staticmethod
    def _counts(tile: Tile) -> Floats:
        """Shape (rows, 2, width): lines under lows, lines over highs."""
        return tile.work.floats("trend lines", tile.rows, SIDES, tile.width)


def _lowest(price: Floats) -> Floats:
    """Return the lowest of each row and the nineteen before it, for the rows that have them."""
    lowest = price
    for lag in (1, 2, 4, 8, 4):
        lowest = np.minimum(lowest[lag:], lowest[:-lag])
    return lowest
