"""Trend lines through pivots, and how many of the newest still hold."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from quantmatrix_pipeline.indicators.averages import TOLERANCE
from quantmatrix_pipeline.indicators.family import Family
from quantmatrix_pipeline.indicators.panel import Bools, Floats
from quantmatrix_pipeline.indicators.recursions import RecursiveAverage, wilder
from quantmatrix_pipeline.indicators.sides import SIDES, SidedPrice, just_above, just_below
from quantmatrix_pipeline.indicators.tile import TILE_ROWS, Tile

PIVOT_BARS = 20  # on each side of a pivot
PIVOTS = 10  # remembered
LINES = 3  # from the newest pivots
LEEWAY = 0.1  # in ATR14, by which a price may lie beyond a line

_ATR = wilder(14, first=1)

_RING = 1 << (PIVOTS + TILE_ROWS // PIVOT_BARS).bit_length()
"""Pivots kept for each side of an instrument: those remembered, and as many more as a tile may hold."""

_SINCE = np.arange(1, PIVOT_BARS + 1)[:, None]
_EARLIER = np.arange(1, PIVOTS)[:, None]

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
    memory = None

    def __init__(self, width: int) -> None:
        flat = SIDES * width
        self._low = SidedPrice("trend low", PIVOT_BARS, width)
        self._leeway = RecursiveAverage(replace(_ATR, weight=LEEWAY * _ATR.weight), width)
        self._bound = np.full((PIVOT_BARS, flat), np.nan)
        self._lowest = np.full((PIVOT_BARS + 1, flat), np.nan)
        self._found = np.zeros(flat, np.int64)  # pivots so far; the n-th stands in row n of a ring, counted from 0
        self._pivots = np.full((_RING, flat), np.nan)
        self._pivot_bars = np.zeros((_RING, flat))
        self._partner = np.zeros((_RING, flat), np.int64)  # how many pivots before stands the line's older one; 0: none
        self._lines = np.zeros((3, LINES, flat))  # level at the newer pivot, slope per bar, the newer pivot's bar
        self._holds = np.zeros((LINES, flat), np.bool_)  # the line from pivot n is in row n % LINES

    def feed(self, tile: Tile) -> None:
        leeway = tile.scratch("leeway")
        self._leeway.advance(tile.row0, tile.true_range, leeway)
        low = self._low.advance(tile, tile.low, tile.high).reshape(-1, SIDES * tile.width)
        bounds = self._bounds(tile, low[PIVOT_BARS:], leeway)
        row, place = self._new_pivots(tile, low)
        drawn = self._draw(row, place, (tile.row0 - PIVOT_BARS + row).astype(np.float64), low[row, place], bounds)
        self._follow(tile, bounds[PIVOT_BARS:], drawn)

    def _bounds(self, tile: Tile, low: Floats, leeway: Floats) -> Floats:
        """Return what a line may reach and still hold, shape (20 + rows, places): from 20 bars before the tile on."""
        bounds = tile.work.floats("trend bound", PIVOT_BARS + tile.rows, low.shape[1])
        bounds[:PIVOT_BARS] = self._bound
        own = bounds[PIVOT_BARS:]
        sided = (tile.rows, SIDES, tile.width)
        np.add(low.reshape(sided), leeway[:, None], out=own.reshape(sided))
        rounding = np.absolute(low, out=tile.work.floats("trend rounding", *low.shape))
        rounding *= TOLERANCE
        own += rounding
        self._bound[...] = bounds[tile.rows :]
        return bounds

    def _new_pivots(self, tile: Tile, low: Floats) -> tuple[Places, Places]:
        """Return the rows at which pivots become known, ascending, and whose they are."""
        lowest = tile.work.floats("trend lowest", PIVOT_BARS + 1 + tile.rows, low.shape[1])
        lowest[: PIVOT_BARS + 1] = self._lowest
        _lowest(tile, low, lowest[PIVOT_BARS + 1 :])
        self._lowest[...] = lowest[tile.rows :]
        below = low[: tile.rows] < lowest[PIVOT_BARS + 1 :]  # few; rounding is looked at in these alone
        row, place = np.divmod(np.flatnonzero(below), low.shape[1])
        candidate = low[row, place]
        pivots = candidate < just_below(lowest[row + PIVOT_BARS + 1, place])
        pivots &= candidate <= just_above(lowest[row, place])
        return row[pivots], place[pivots]

    def _draw(self, row: Places, place: Places, bar: Floats, level: Floats, bounds: Floats) -> _Drawn:
        """Take in pivots, in the order of the rows at which they become known, and draw the line from each."""
        flat = len(self._found)
        pivots, pivot_bars, partners = (ring.ravel() for ring in (self._pivots, self._pivot_bars, self._partner))
        number = self._found[place] + _rank(place)
        self._found += np.bincount(place, minlength=flat)
        own = number % _RING * flat + place
        pivots[own], pivot_bars[own] = level, bar

        lower = pivots[(number - _EARLIER) % _RING * flat + place] < just_below(level)
        holds = lower.any(axis=0)
        partner = np.where(holds, lower.argmax(axis=0) + 1, 0)
        partners[own] = partner
        at = np.flatnonzero(holds)
        older = (number[at] - partner[at]) % _RING * flat + place[at]
        slope = np.zeros(len(row))
        slope[at] = (level[at] - pivots[older]) / (bar[at] - pivot_bars[older])
        since = bounds.ravel()[(row[at] + _SINCE) * flat + place[at]]
        holds[at] = (level[at] + slope[at] * _SINCE <= since).all(axis=0)

        gone_row, gone_at = [], []
        for age in (1, 2):  # a line goes once its older pivot is no longer among those remembered
            forgotten = np.flatnonzero(partners[(number - age) % _RING * flat + place] + age >= PIVOTS)
            gone_row.append(row[forgotten])
            gone_at.append((number[forgotten] - age) % LINES * flat + place[forgotten])
        rows = np.concatenate(gone_row)
        order = np.argsort(rows, kind="stable")
        return _Drawn(
            row,
            number % LINES * flat + place,
            np.stack((level, slope, bar)),
            holds,
            rows[order],
            np.concatenate(gone_at)[order],
        )

    def _follow(self, tile: Tile, bound: Floats, drawn: _Drawn) -> None:
        """Go through the tile bar by bar: which lines still hold, and which are new."""
        level, slope, pivot_bar = self._lines
        lines, holds = self._lines.reshape(3, -1), self._holds.ravel()
        reached = tile.work.floats("trend reached", 1, *level.shape)[0]
        within = tile.work.bools("trend within", 1, *level.shape)[0]
        any_holds = bool(holds.any())
        new, gone = (np.searchsorted(r, np.arange(tile.rows + 1)).tolist() for r in (drawn.row, drawn.gone_row))
        for k, count in enumerate(self._counts(tile)):
            if any_holds:
                np.subtract(float(tile.row0 + k), pivot_bar, out=reached)
                np.multiply(slope, reached, out=reached)
                np.add(level, reached, out=reached)
                np.less_equal(reached, bound[k], out=within)
                np.logical_and(self._holds, within, out=self._holds)
            if new[k] < new[k + 1]:
                some = slice(new[k], new[k + 1])
                at = drawn.at[some]
                lines[:, at] = drawn.lines[:, some]
                holds[at] = drawn.holds[some]
                any_holds = any_holds or bool(drawn.holds[some].any())
            if gone[k] < gone[k + 1]:
                holds[drawn.gone_at[gone[k] : gone[k + 1]]] = False
            np.sum(self._holds.view(np.int8), axis=0, dtype=np.int8, out=count)

    def write(self, tile: Tile) -> None:
        counts = self._counts(tile)
        np.copyto(tile.out("trend_up_count"), counts[:, : tile.width])
        np.copyto(tile.out("trend_down_count"), counts[:, tile.width :])

    @staticmethod
    def _counts(tile: Tile) -> npt.NDArray[np.int8]:
        """Shape (rows, 2 x width): lines under lows, then lines over highs."""
        return tile.work.bools("trend lines", tile.rows, SIDES * tile.width).view(np.int8)


@dataclass(frozen=True, slots=True)
class _Drawn:
    """The lines of a tile's new pivots, shape (pivots,) each, ascending by the row at which they become known.

    `at` is a line's place among all lines, `lines` what stands there (level, slope, bar of the pivot), `holds` whether
    it holds there; `gone_row` and `gone_at` are the rows and the places of older lines that end.
    """

    row: Places
    at: Places
    lines: Floats
    holds: Bools
    gone_row: Places
    gone_at: Places


def _rank(place: Places) -> Places:
    """Count, for each entry, the equal ones before it."""
    order = np.argsort(place, kind="stable")
    ascending = place[order]
    rank = np.empty_like(place)
    rank[order] = np.arange(len(place)) - np.searchsorted(ascending, ascending)
    return rank


def _lowest(tile: Tile, price: Floats, out: Floats) -> None:
    """Write the lowest of each row and the nineteen before it, for the last rows of `price`, as many as `out` has."""
    lowest = price[-len(out) - PIVOT_BARS + 1 :]
    for n, lag in enumerate((1, 2, 4, 8)):
        shorter = tile.work.floats(f"trend lowest {n % 2}", len(lowest) - lag, out.shape[1])
        lowest = np.minimum(lowest[lag:], lowest[:-lag], out=shorter)
    np.minimum(lowest[4:], lowest[:-4], out=out)
