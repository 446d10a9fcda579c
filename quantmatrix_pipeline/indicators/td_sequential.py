"""TD Sequential: nine closes that run against those of four bars before, and the countdown that follows them."""

from __future__ import annotations

import numpy as np

from quantmatrix_pipeline.indicators.averages import TOLERANCE
from quantmatrix_pipeline.indicators.compiled import compiled
from quantmatrix_pipeline.indicators.family import Family
from quantmatrix_pipeline.indicators.panel import Floats
from quantmatrix_pipeline.indicators.sides import SidedPrice
from quantmatrix_pipeline.indicators.tile import Tile

SETUP, COUNTDOWN = 9, 13
QUALIFYING = 8  # the countdown bar whose close the thirteenth has to reach

_AGO = 4  # bars between the closes that a setup compares
_NAMES = ("buy", "sell")


class TdSequential(Family):
    """td_*_setup, td_*_complete, td_perfect_*, td_*_countdown, of the buy side and, upside down, of the sell side.

    - Price flip: a close below that of four bars before, after one that was not below. It is bar 1 of a buy setup,
      which goes on while closes stay below those of four bars before; the count stops at 9, and is 0 outside a run.
    - Complete: on the bar of the 9. Perfect: from the 9 to the end of the run once the low of bar 8, 9 or a later one
      of the run was below the lows of bars 6 and 7 both.
    - Countdown: from the 9 on, that bar included, each close at or below the low of two bars before counts, whether
      bars lie between or not. The thirteenth counts only if its low is at or below the close of the eighth, and is
      waited for. The count stands between; after 13 it is over, and 0.
    - It is cancelled by the 9 of a sell setup, and by a true low above TDST, the highest true high of the nine bars of
      its setup. Another 9 of a buy setup begins it anew (recycling).

    Comparisons are relative to 1e-12, so that a split makes no two equal prices differ.

    Rules: Thomas R. DeMark, The New Science of Technical Analysis (1994); Jason Perl, DeMark Indicators (2008).
    Where the books leave a choice, this is the one of DeMark's article Countertrend Forex Trading with TD Sequential
    (2010): the close before the flip may equal that of four bars before, perfection is strict and may come late.
    """

    columns = tuple(
        f"td_{name}"
        for side in _NAMES
        for name in (f"{side}_setup", f"{side}_complete", f"{side}_countdown", f"perfect_{side}")
    )
    memory = None

    def __init__(self, width: int) -> None:
        self._sides = [_Side(sign, width) for sign in (1.0, -1.0)]

    def feed(self, tile: Tile) -> None:
        for side, name in zip(self._sides, _NAMES, strict=True):
            names = (f"td_{name}_setup", f"td_{name}_complete", f"td_perfect_{name}")
            setup, complete, perfect = (tile.out(column) for column in names)
            side.set_up(tile, setup, complete, perfect)
        buy, sell = self._sides
        bought, sold = (tile.out(f"td_{name}_complete") for name in _NAMES)
        buy.count_down(tile, bought, sold, tile.out("td_buy_countdown"))
        sell.count_down(tile, sold, bought, tile.out("td_sell_countdown"))


class _Side:
    """The buy side, or with a sign of -1 the sell side: the same rules on prices turned upside down."""

    def __init__(self, sign: float, width: int) -> None:
        self._upright = sign > 0
        self._close = SidedPrice("td close", sign, SETUP, width)
        self._low = SidedPrice("td low", sign, 3, width)
        self._high = SidedPrice("td high", sign, SETUP - 1, width)
        self._flipped, self._run, self._perfect = (np.zeros(width) for _ in range(3))
        self._to_undercut = np.full(width, np.nan)
        self._active, self._count = (np.zeros(width) for _ in range(2))
        self._tdst, self._eighth = (np.full(width, np.nan) for _ in range(2))

    def set_up(self, tile: Tile, setup: Floats, complete: Floats, perfect: Floats) -> None:
        """Go on through the tile's bars, for both sides before either counts down."""
        low, high = (tile.low, tile.high) if self._upright else (tile.high, tile.low)
        closes = self._close.advance(tile, tile.close)
        lows, highs = self._low.advance(tile, low), self._high.advance(tile, high)
        self._bars = closes, lows, highs
        flipped, run, was_perfect, to_undercut = self._flipped, self._run, self._perfect, self._to_undercut
        _set_up(tile.row0, TOLERANCE, closes, lows, flipped, run, was_perfect, to_undercut, setup, complete, perfect)

    def count_down(self, tile: Tile, complete: Floats, other_complete: Floats, countdown: Floats) -> None:
        """Go on through the same bars; a setup of the other side that is complete cancels."""
        closes, lows, highs = self._bars
        active, count, tdst, eighth = self._active, self._count, self._tdst, self._eighth
        _count_down(TOLERANCE, closes, lows, highs, complete, other_complete, active, count, tdst, eighth, countdown)


# The rules as arithmetic on whole rows, flags as 0.0 and 1.0: what a branch per bar would cost is many times as much.
# Only what happens at one bar in a hundred is a branch.


@compiled
def _set_up(
    row0: int,
    tolerance: float,
    close: Floats,
    low: Floats,
    flipped: Floats,
    run: Floats,
    perfect: Floats,
    to_undercut: Floats,
    setup_out: Floats,
    complete_out: Floats,
    perfect_out: Floats,
) -> None:
    """`close` begins nine bars before the others, `low` three."""
    rows, width = setup_out.shape
    falls = np.empty(width)
    for k in range(rows):
        for i in range(width):
            ago = close[k + SETUP - _AGO, i]
            falls[i] = 1.0 if close[k + SETUP, i] < ago - tolerance * abs(ago) else 0.0
        if row0 + k >= _AGO:
            # A run that began before the first bars may have begun anywhere: no flip, no setup.
            for i in range(width):
                flipped[i] = 1.0 if falls[i] == 0.0 else flipped[i]
        for i in range(width):
            run[i] = (run[i] + 1.0 if run[i] < SETUP + 1.0 else run[i]) * falls[i] * flipped[i]
        for i in range(width):
            perfect[i] = 1.0 if low[k + 3, i] < to_undercut[i] else perfect[i]
        for i in range(width):
            perfect[i] = perfect[i] if run[i] > SETUP else 0.0
        for i in range(width):
            setup_out[k, i] = run[i] if run[i] < SETUP else float(SETUP)
        for i in range(width):
            complete_out[k, i] = 1.0 if run[i] == SETUP else 0.0
        for i in range(width):
            if run[i] == SETUP:
                undercut = min(low[k, i], low[k + 1, i])  # of bars 6 and 7
                to_undercut[i] = undercut - tolerance * abs(undercut)
                perfect[i] = 1.0 if min(low[k + 2, i], low[k + 3, i]) < to_undercut[i] else 0.0
        for i in range(width):
            perfect_out[k, i] = perfect[i]


@compiled
def _count_down(
    tolerance: float,
    close: Floats,
    low: Floats,
    high: Floats,
    complete: Floats,
    other_complete: Floats,
    active: Floats,
    count: Floats,
    tdst: Floats,
    eighth: Floats,
    out: Floats,
) -> None:
    """`close` begins nine bars before the others, `low` three, `high` eight."""
    rows, width = out.shape
    counts = np.empty(width)
    for k in range(rows):
        for i in range(width):
            before, lowest = close[k + SETUP - 1, i], low[k + 3, i]
            active[i] = 0.0 if (before if before < lowest else lowest) > tdst[i] else active[i]
        for i in range(width):
            active[i] *= 1.0 - other_complete[k, i]
        for i in range(width):
            if complete[k, i] != 0.0:
                active[i], count[i] = 1.0, 0.0
                level = high[k, i]
                for j in range(SETUP):
                    level = max(level, high[k + j, i], close[k + j, i])
                tdst[i] = level + tolerance * abs(level)
        for i in range(width):
            limit = low[k + 1, i] + tolerance * abs(low[k + 1, i])
            counts[i] = active[i] if close[k + SETUP, i] <= limit else 0.0
        for i in range(width):
            counts[i] = counts[i] if (count[i] < COUNTDOWN - 1) | (low[k + 3, i] <= eighth[i]) else 0.0
        for i in range(width):
            count[i] = count[i] * active[i] + counts[i]
        for i in range(width):
            eighth_price = close[k + SETUP, i] + tolerance * abs(close[k + SETUP, i])
            eighth[i] = eighth_price if (counts[i] != 0.0) & (count[i] == QUALIFYING) else eighth[i]
        for i in range(width):
            out[k, i] = count[i]
        for i in range(width):
            active[i] = active[i] if count[i] < COUNTDOWN else 0.0
