"""Two sources' bars compared field by field, each difference with its cause."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from quantmatrix_pipeline.bars.batch import Bools, Floats
from quantmatrix_pipeline.bars.reconcile.causes import CAUSES, Cause
from quantmatrix_pipeline.bars.reconcile.levels import Levels, Stretch, levels
from quantmatrix_pipeline.bars.reconcile.pair import PRICE_ROWS, VOLUME, Pair, relative
from quantmatrix_pipeline.bars.reconcile.prints import NOBODY, Prints


@dataclass(frozen=True, slots=True)
class Limits:
    """Relative differences up to which two sources agree, each inclusive."""

    price: float = 0.002
    volume: float = 0.2


DEFAULT_LIMITS = Limits()


@dataclass(frozen=True, slots=True)
class Comparison:
    """What was found, row by row of the pair.

    Attributes
    ----------
    relative
        Shape (5, n): how far the second lies off the first, see `pair.relative`.
    differs
        Shape (5, n): open, high, low, close, volume beyond its limit; a number that one side lacks does not differ.
    cause
        Shape (n,): place in `CAUSES`.
    suspect
        Shape (n,): 0 the first source, 1 the second, -1 neither or nobody can tell.
    levels
        The stretches of one factor, and to which each row belongs.
    """

    pair: Pair
    relative: Floats
    differs: Bools
    cause: npt.NDArray[np.int8]
    suspect: npt.NDArray[np.int8]
    levels: Levels

    @property
    def any_differs(self) -> Bools:
        """Which bars differ in any field, shape (n,)."""
        return np.asarray(self.differs.any(0), np.bool_)

    @property
    def price_differs(self) -> Bools:
        """Which bars differ in a price, shape (n,)."""
        return np.asarray(self.differs[PRICE_ROWS].any(0), np.bool_)

    def stretch(self, row: int) -> Stretch | None:
        """Return the stretch of a row, where it has one."""
        number = int(self.levels.of_row[row])
        return None if number < 0 else self.levels.stretches[number]


def compare(pair: Pair, limits: Limits = DEFAULT_LIMITS) -> Comparison:
    """Compare two sources field by field and say why they differ.

    A bar whose prices agree once its stretch's factor is taken off has the stretch's cause; one that doesn't is looked
    at alone. Where its own fault is found, that is its cause, beside whatever the stretch does. What is left keeps the
    stretch's cause if that alone is beyond the limit. Any numbers may come: what is no price differs from what is one.
    """
    with np.errstate(all="ignore"):
        return _compare(pair, limits)


def _compare(pair: Pair, limits: Limits) -> Comparison:
    apart = relative(pair.first, pair.second)
    differs = np.abs(apart) > np.array([[limits.price]] * 4 + [[limits.volume]])
    found = levels(pair)
    cause = np.full(len(pair), CAUSES.index(Cause.NONE), np.int8)
    suspect = np.full(len(pair), NOBODY, np.int8)
    by_price = differs[PRICE_ROWS].any(0)
    of_stretch = np.array([CAUSES.index(s.cause) for s in found.stretches] + [CAUSES.index(Cause.NONE)], np.int8)
    cause[by_price] = of_stretch[found.of_row[by_price]]
    rest = np.abs(pair.second[PRICE_ROWS] / (pair.first[PRICE_ROWS] * np.exp(found.price)) - 1)
    rows = np.flatnonzero(by_price & (rest > limits.price).any(0))
    if len(rows):
        prints = Prints(pair, rows, found.price, found.volume, limits.price)
        prints.find()
        alone = prints.cause != CAUSES.index(Cause.UNEXPLAINED)
        alone |= np.abs(np.expm1(found.price[rows])) <= limits.price
        cause[rows[alone]] = prints.cause[alone]
        suspect[rows[alone]] = prints.suspect[alone]
    none = by_price & (cause == CAUSES.index(Cause.NONE))
    cause[none] = CAUSES.index(Cause.UNEXPLAINED)
    cause[differs[VOLUME] & ~by_price] = CAUSES.index(Cause.VOLUME)
    return Comparison(pair, apart, differs, cause, suspect, found)
