"""Single bars that are off the level of their stretch: whose number it is, and what became of it.

All comparisons are between the first side and the second brought to its level. "Agrees" is within the tolerance.
"""

from __future__ import annotations

import numpy as np

from quantmatrix_pipeline.bars.batch import Bools, Floats
from quantmatrix_pipeline.bars.reconcile.causes import CAUSES, Cause
from quantmatrix_pipeline.bars.reconcile.pair import CLOSE, HIGH, LOW, OPEN, PRICE_ROWS, VOLUME, Pair, Rows

REACH = 5  # sessions on either side in which a bar of another day is looked for
TO_THE_DIGIT = 2e-4  # vendors write four decimals, or round an adjusted price
THIN = 0.02  # of the other side's volume
MANY_TIMES = np.log(3.0)
STEPS = (5.0, 2.5, 1.0, 0.5, 0.25, 0.1, 0.05, 0.02, 0.01)  # in which prices may be written
NOBODY, FIRST, SECOND = -1, 0, 1


class Prints:
    """Finds the causes of some rows of a pair, one after the other; what has a cause keeps it.

    Called with NumPy's warnings off: any numbers may come.

    Parameters
    ----------
    pair
        All bars: neighbours are looked at too.
    rows
        The rows in question.
    price, volume
        Shape (n,): ln(second / first) of the level that each row of the pair belongs to.
    tolerance
        Relative difference of prices up to which they agree.
    """

    def __init__(self, pair: Pair, rows: Rows, price: Floats, volume: Floats, tolerance: float) -> None:
        self._pair = pair
        self._rows = rows
        scale = np.exp(price[rows])
        self._sides = (pair.first[:, rows], pair.second[:, rows] / np.array([scale] * 4 + [np.exp(volume[rows])]))
        self._tolerance = tolerance
        a, b = self._sides
        self._apart = ~(np.abs(b[PRICE_ROWS] / a[PRICE_ROWS] - 1) <= tolerance)
        self._level = price
        self.cause = np.full(len(rows), CAUSES.index(Cause.UNEXPLAINED), np.int8)
        self.suspect = np.full(len(rows), NOBODY, np.int8)
        self._open = np.ones(len(rows), np.bool_)

    def find(self) -> None:
        """Set `cause` and `suspect`, the side in doubt."""
        for find in (self._shifted, self._flat, self._thin, self._huge, self._coarse, self._repeated, self._printed):
            find()
            if not self._open.any():
                return
        apart = self._apart
        self._note(apart[CLOSE] & (apart.sum(0) == 1), Cause.CLOSING, NOBODY)

    def _note(self, which: Bools, cause: Cause, suspect: int) -> None:
        which = which & self._open
        self.cause[which] = CAUSES.index(cause)
        self.suspect[which] = suspect
        self._open &= ~which

    def _shifted(self) -> None:
        """A bar whose four prices are those of the other side's bar a few sessions away, where that is not flat."""
        pair, rows = self._pair, self._rows
        for side, own, other in ((SECOND, pair.second, pair.first), (FIRST, pair.first, pair.second)):
            sign = -1.0 if side == SECOND else 1.0
            here = own[PRICE_ROWS][:, rows] * np.exp(sign * self._level[rows])
            for k in (*range(1, REACH + 1), *range(-1, -REACH - 1, -1)):
                there = np.clip(rows + k, 0, len(pair) - 1)
                valid = (rows + k == there) & (pair.instrument[there] == pair.instrument[rows])
                theirs = other[PRICE_ROWS][:, there]
                valid &= theirs[HIGH] > theirs[LOW]
                # Where the day there is right on both sides, this row is the one that is wrong.
                at_home = own[PRICE_ROWS][:, there] * np.exp(sign * self._level[there])
                copied = _near(at_home, theirs).all(0)
                same = valid & _near(here, theirs).all(0)
                self._note(same & copied, Cause.DATE_SHIFT, side)
                self._note(same, Cause.DATE_SHIFT, NOBODY)

    def _flat(self) -> None:
        """No range at all, where the other side has one."""
        a, b = ((s[HIGH] == s[LOW]) & (s[OPEN] == s[CLOSE]) & (s[OPEN] == s[HIGH]) for s in self._sides)
        self._note(a & ~b, Cause.REPEATED, FIRST)
        self._note(b & ~a, Cause.REPEATED, SECOND)

    def _thin(self) -> None:
        a, b = (np.nan_to_num(side[VOLUME]) for side in self._sides)
        self._note(a < THIN * b, Cause.THIN, FIRST)
        self._note(b < THIN * a, Cause.THIN, SECOND)

    def _huge(self) -> None:
        """A price many times too high or low: the side that jumps from its own close before is in doubt."""
        a, b = self._sides
        off = (np.abs(np.log(b[PRICE_ROWS] / a[PRICE_ROWS])) > MANY_TIMES).any(0)
        jumps = []
        before = np.maximum(self._rows - 1, 0)
        for side, all_ in zip(self._sides, (self._pair.first, self._pair.second), strict=True):
            moves = np.abs(np.log(side[PRICE_ROWS] / all_[CLOSE, before]))
            jumps.append(np.nanmax(np.where(np.isfinite(moves), moves, 0.0), axis=0))
        knows = self._pair.follows[self._rows]
        self._note(off & knows & (jumps[FIRST] > 2 * jumps[SECOND]), Cause.BAD_PRINT, FIRST)
        self._note(off & knows & (jumps[SECOND] > 2 * jumps[FIRST]), Cause.BAD_PRINT, SECOND)
        self._note(off, Cause.BAD_PRINT, NOBODY)

    def _coarse(self) -> None:
        """All four prices of one side are whole multiples of a step, and the other's lie within 0.6 of it."""
        a, b = self._sides
        distance = np.abs(a[PRICE_ROWS] - b[PRICE_ROWS]).max(0)
        for side, suspect in ((a, FIRST), (b, SECOND)):
            step = np.zeros(len(self._rows))
            for width in reversed(STEPS):  # the widest that fits stays
                whole = np.abs(side[PRICE_ROWS] / width - np.rint(side[PRICE_ROWS] / width)).max(0) < 1e-4
                step[whole] = width
            matters = step >= 0.5 * self._tolerance * np.abs(a[CLOSE])
            self._note((step > 0) & matters & (distance <= 0.6 * step), Cause.ROUNDING, suspect)

    def _repeated(self) -> None:
        """An open that is to the digit the close before or the close of its own bar, where the other's is not."""
        apart = self._apart
        only_open = apart[OPEN] & ~apart[CLOSE]
        before = np.maximum(self._rows - 1, 0)
        repeats = []
        for side, all_ in zip(self._sides, (self._pair.first, self._pair.second), strict=True):
            level = 1.0 if all_ is self._pair.first else np.exp(self._level[before])
            previous = all_[CLOSE, before] / level
            stale = _near(side[OPEN], previous) & self._pair.follows[self._rows]
            repeats.append(stale | _near(side[OPEN], side[CLOSE]))
        self._note(only_open & repeats[FIRST] & ~repeats[SECOND], Cause.REPEATED, FIRST)
        self._note(only_open & repeats[SECOND] & ~repeats[FIRST], Cause.REPEATED, SECOND)

    def _printed(self) -> None:
        """Closes agree, and an open, a high or a low stands on one side only; who has the wider range is in doubt.

        Where the range is the same, or each side is wider at one end, nobody is.
        """
        a, b = self._sides
        apart = self._apart
        which = ~apart[CLOSE] & apart[:CLOSE].any(0)
        wider = [
            (apart[HIGH] & (own[HIGH] > other[HIGH])) | (apart[LOW] & (own[LOW] < other[LOW]))
            for own, other in ((a, b), (b, a))
        ]
        self._note(which & wider[FIRST] & ~wider[SECOND], Cause.BAD_PRINT, FIRST)
        self._note(which & wider[SECOND] & ~wider[FIRST], Cause.BAD_PRINT, SECOND)
        self._note(which, Cause.BAD_PRINT, NOBODY)


def _near(a: Floats, b: Floats) -> Bools:
    near: Bools = np.abs(a / b - 1) <= TO_THE_DIGIT
    return near
