"""The bars that two sources have in common, side by side."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from quantmatrix_pipeline.bars.batch import FIELDS, BarBatch, Bools, Dates, Floats, Ints
from quantmatrix_pipeline.bars.repair.second_source import Keys, packed

PRICE_ROWS = slice(0, 4)  # of an array (5, n) of FIELDS
OPEN, HIGH, LOW, CLOSE, VOLUME = range(5)
Rows = npt.NDArray[np.intp]


@dataclass(frozen=True)
class Pair:
    """n bars of each of two sources, ascending by (instrument, session), one per key, in the same share units.

    Attributes
    ----------
    instrument
        Shape (n,): which instrument, any numbering.
    session
        Shape (n,), datetime64[D].
    first, second
        Shape (5, n): open, high, low, close, volume as each source has them; NaN where it has none.
    only_first, only_second
        How many bars one of them has and the other has not, of instruments that both have.
    """

    instrument: Ints
    session: Dates
    first: Floats
    second: Floats
    only_first: int = 0
    only_second: int = 0

    def __len__(self) -> int:
        return len(self.session)

    @cached_property
    def follows(self) -> Bools:
        """Whether the row before is of the same instrument, shape (n,)."""
        same = np.zeros(len(self), np.bool_)
        same[1:] = self.instrument[1:] == self.instrument[:-1]
        return same


def relative(first: Floats, second: Floats) -> Floats:
    """Return how far the second lies off the first, shape (5, n) as they are.

    Prices: second / first - 1. Volumes: the difference by the larger of the two, so that 0 and 100 shares differ by 1
    and not by infinity. NaN where either has no number.
    """
    found = np.full(first.shape, np.nan)
    with np.errstate(divide="ignore", invalid="ignore"):
        found[PRICE_ROWS] = second[PRICE_ROWS] / first[PRICE_ROWS] - 1
        larger = np.maximum(first[VOLUME], second[VOLUME])
        found[VOLUME] = np.where(larger == 0, 0.0, (second[VOLUME] - first[VOLUME]) / larger)
    return found


def align(first: BarBatch, second: BarBatch) -> tuple[tuple[str, ...], Pair]:
    """Put the bars of two sources side by side; `instrument` counts the symbols that are returned beside the pair.

    A key that stands twice in one source is taken as it stands last.
    """
    symbols = tuple(sorted(set(first.symbols) & set(second.symbols)))
    place = {symbol: row for row, symbol in enumerate(symbols)}
    a_keys, a_rows = _keys(first, place)
    b_keys, b_rows = _keys(second, place)
    keys, a_at, b_at = np.intersect1d(a_keys, b_keys, assume_unique=True, return_indices=True)
    a, b = a_rows[a_at], b_rows[b_at]
    days = first.session[a].astype("datetime64[D]")
    return symbols, Pair(
        (keys >> 32).astype(np.int32),
        days,
        np.array([getattr(first, name)[a] for name in FIELDS], np.float64).reshape(len(FIELDS), len(a)),
        np.array([getattr(second, name)[b] for name in FIELDS], np.float64).reshape(len(FIELDS), len(b)),
        only_first=len(a_keys) - len(keys),
        only_second=len(b_keys) - len(keys),
    )


def _keys(batch: BarBatch, place: dict[str, int]) -> tuple[Keys, Rows]:
    """Return the distinct sorted keys of a batch and the row of each, of the symbols that have a place."""
    own = np.array([place.get(symbol, -1) for symbol in batch.symbols] or [-1], np.int32)
    index = own[batch.symbol_index]
    rows = np.flatnonzero(index >= 0)
    keys = packed(index[rows], batch.session[rows])
    unique, last = np.unique(keys[::-1], return_index=True)
    return unique, rows[::-1][last]
