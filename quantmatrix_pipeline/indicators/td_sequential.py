"""TD Sequential: nine closes that run against those of four bars before, and the countdown that follows them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from quantmatrix_pipeline.indicators.family import Family
from quantmatrix_pipeline.indicators.panel import Bools, Floats
from quantmatrix_pipeline.indicators.sides import SIDES, SidedPrice, just_above, just_below
from quantmatrix_pipeline.indicators.tile import Tile

SETUP, COUNTDOWN = 9, 13
QUALIFYING = 8  # the countdown bar whose close the thirteenth has to reach

_AGO = 4  # bars between the closes that a setup compares
_NAMES = ("buy", "sell")

Counts = npt.NDArray[np.int8]
Places = npt.NDArray[np.intp]


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
        shape = (SIDES, width)
        self._close = SidedPrice("td close", _AGO, width)
        self._low = SidedPrice("td low", 3, width)
        self._true_high = SidedPrice("td true high", SETUP - 1, width)
        self._never_flipped = np.ones(shape, np.bool_)
        self._run = np.zeros(shape, np.int8)  # bars of the setup, and one more than 9 while it goes on after it
        self._to_undercut = np.full(shape, np.nan)
        self._perfect = np.zeros(shape, np.bool_)
        self._active = np.zeros(shape, np.bool_)
        self._count = np.zeros(shape, np.int8)
        self._tdst = np.full(shape, np.nan)
        self._eighth = np.full(shape, np.nan)

    def feed(self, tile: Tile) -> None:
        close = self._close.advance(tile, tile.close, tile.close)
        low = self._low.advance(tile, tile.low, tile.high)
        true_high_above = np.maximum(tile.high, tile.close_before)
        true_low_below = np.minimum(tile.low, tile.close_before)
        true_high = self._true_high.advance(tile, true_high_above, true_low_below)
        true_low = np.stack((true_low_below, -true_high_above), axis=1)

        falls = close[_AGO:] < just_below(close[:-_AGO])
        self._leave_out_unflipped(tile, falls)
        settles = close[_AGO:] <= just_above(low[1:-2])
        level = _highest_of_nine(true_high)
        undercut = np.minimum(low[:-3], low[1:-2])  # at bar 9 the lows of bars 6 and 7
        undercuts = np.minimum(low[2:-1], low[3:]) < just_below(undercut)

        setups, counts, completes, perfects = self._results(tile)
        for k in range(tile.rows):
            at = self._set_up(falls[k], low[3 + k], undercut[k], undercuts[k], completes[k], perfects[k])
            np.minimum(self._run, SETUP, out=setups[k])
            self._count_down(at, completes[k], true_low[k], level[k], settles[k], low[3 + k], close[_AGO + k])
            np.copyto(counts[k], self._count)
            self._active &= self._count < COUNTDOWN

    def _leave_out_unflipped(self, tile: Tile, falls: Bools) -> None:
        """A run that began before the first bars may have begun anywhere: no flip, no setup."""
        if self._never_flipped.any():
            known = falls[max(_AGO - tile.row0, 0) :]
            unflipped = np.logical_and.accumulate(np.concatenate((self._never_flipped[None], known)))
            known &= ~unflipped[1:]
            self._never_flipped = unflipped[-1]

    def _set_up(
        self, falls: Bools, low: Floats, undercut: Floats, undercuts: Bools, complete: Bools, perfect_out: Bools
    ) -> Places:
        """Go on by a bar; write where it is the ninth of a setup, and return these places, counted through."""
        run = self._run
        np.add(run, 1, out=run)
        np.minimum(run, SETUP + 1, out=run)
        np.multiply(run, falls.view(np.int8), out=run)
        np.equal(run, SETUP, out=complete)
        self._perfect |= low < self._to_undercut
        self._perfect &= run > SETUP
        at = np.flatnonzero(complete)
        if len(at):
            self._perfect |= complete & undercuts
            self._to_undercut.ravel()[at] = just_below(undercut.ravel()[at])
        np.copyto(perfect_out, self._perfect)
        return at

    def _count_down(
        self, at: Places, complete: Bools, true_low: Floats, level: Floats, settles: Bools, low: Floats, close: Floats
    ) -> None:
        cancelled = true_low > self._tdst
        cancelled |= complete[::-1]
        np.greater(self._active, cancelled, out=self._active)  # active and not cancelled
        if len(at):
            self._active |= complete
            self._tdst.ravel()[at] = just_above(level.ravel()[at])
            self._count.ravel()[at] = 0
        np.multiply(self._count, self._active.view(np.int8), out=self._count)
        counts = low <= self._eighth
        counts |= self._count < COUNTDOWN - 1
        counts &= settles
        counts &= self._active
        np.add(self._count, counts.view(np.int8), out=self._count)
        counts &= self._count == QUALIFYING
        eighth = np.flatnonzero(counts)
        if len(eighth):
            self._eighth.ravel()[eighth] = just_above(close.ravel()[eighth])

    def write(self, tile: Tile) -> None:
        setups, counts, completes, perfects = self._results(tile)
        for side, name in enumerate(_NAMES):
            np.copyto(tile.out(f"td_{name}_setup"), setups[:, side])
            np.copyto(tile.out(f"td_{name}_complete"), completes[:, side])
            np.copyto(tile.out(f"td_{name}_countdown"), counts[:, side])
            np.copyto(tile.out(f"td_perfect_{name}"), perfects[:, side])

    @staticmethod
    def _results(tile: Tile) -> tuple[Counts, Counts, Bools, Bools]:
        """Shape (rows, 2, width) each: setup, countdown, complete, perfect."""
        shape = (tile.rows, SIDES, tile.width)
        return (
            tile.work.bools("td setup", *shape).view(np.int8),
            tile.work.bools("td countdown", *shape).view(np.int8),
            tile.work.bools("td complete", *shape),
            tile.work.bools("td perfect", *shape),
        )


def _highest_of_nine(price: Floats) -> Floats:
    """Return the highest of each row and the eight before it, for the rows that have them."""
    two = np.maximum(price[1:], price[:-1])
    four = np.maximum(two[2:], two[:-2])
    eight = np.maximum(four[4:], four[:-4])
    highest: Floats = np.maximum(eight[1:], price[:-8])
    return highest
