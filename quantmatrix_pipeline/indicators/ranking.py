"""Ranks of rows of numbers, among all of a row and among groups of its columns, from one sorting of each row."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt

from quantmatrix_pipeline.indicators.compiled import compiled
from quantmatrix_pipeline.indicators.panel import Floats

Ranks = npt.NDArray[np.unsignedinteger]
Groups = npt.NDArray[np.int64]
Counts = npt.NDArray[np.int32]

_ROWS_AT_ONCE = 64
_DIGITS, _DIGIT_BITS = 3, 11  # that a row is sorted by: the upper half of a number, by eleven bits at a time


def twice_ranks(values: Floats, groups: Groups, threads: int = 1) -> tuple[Ranks, Counts]:
    """Rank each row's values within groups of its columns, ascending from 1; equal ones share the mean of their ranks.

    Parameters
    ----------
    values
        Shape (rows, n), contiguous; NaN has no rank.
    groups
        Shape (groupings, n): for each way to group the columns the number of each one's group, from 0; -1: in none.

    Returns
    -------
    Twice the rank, which is whole, of shape (rows, groupings, n), 0 where there is none; and how many values of each
    group are ranked, of shape (rows, groupings, groups).
    """
    rows, n = values.shape
    dtype = np.uint16 if 2 * n <= np.iinfo(np.uint16).max else np.uint32
    ranks = np.zeros((rows, len(groups), n), dtype)
    counts = np.zeros((rows, len(groups), int(groups.max(initial=0)) + 1), np.int32)

    def rank(first: int) -> None:
        some = slice(first, first + _ROWS_AT_ONCE)
        _rank(values[some], values[some].view(np.uint64), groups, ranks[some], counts[some])

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(rank, range(0, rows, _ROWS_AT_ONCE)))
    return ranks, counts


@compiled
def _rank(values: Floats, bits: npt.NDArray[np.uint64], groups: Groups, ranks: Ranks, counts: Counts) -> None:
    """A number's bits, all turned over where it is negative and the first where it is not, ascend as the numbers do.

    The upper half of them is sorted digit by digit, the column in the lower half. What that leaves in disorder are
    neighbours that differ by less than a millionth.
    """
    rows, n = values.shape
    half, first_bit = np.uint64(32), np.uint64(1 << 63)
    lower, digit_mask = np.uint64((1 << 32) - 1), np.uint64((1 << _DIGIT_BITS) - 1)
    keys, sorted_keys = np.empty(n, np.uint64), np.empty(n, np.uint64)
    begin = np.empty((_DIGITS, 1 << _DIGIT_BITS), np.int64)
    order, ascending = np.empty(n, np.int64), np.empty(n)
    equal, seen = np.zeros(counts.shape[2], np.int64), np.empty(counts.shape[2], np.int64)
    for row in range(rows):
        known = 0
        begin[:] = 0
        for i in range(n):
            if np.isnan(values[row, i]):
                continue
            key = bits[row, i]
            key = (~key if key & first_bit else key | first_bit) >> half
            for digit in range(_DIGITS):
                begin[digit, np.int64((key >> np.uint64(_DIGIT_BITS * digit)) & digit_mask)] += 1
            keys[known] = key << half | np.uint64(i)
            known += 1
        for digit in range(_DIGITS):
            total = 0
            for d in range(1 << _DIGIT_BITS):
                count = begin[digit, d]
                begin[digit, d] = total
                total += count
            shift = half + np.uint64(_DIGIT_BITS * digit)
            for j in range(known):
                own_digit = np.int64((keys[j] >> shift) & digit_mask)
                sorted_keys[begin[digit, own_digit]] = keys[j]
                begin[digit, own_digit] += 1
            keys, sorted_keys = sorted_keys, keys
        for j in range(known):
            column = np.int64(keys[j] & lower)
            value, at = values[row, column], j
            while at > 0 and ascending[at - 1] > value:
                ascending[at], order[at] = ascending[at - 1], order[at - 1]
                at -= 1
            ascending[at], order[at] = value, column
        for grouping in range(len(groups)):
            group = groups[grouping]
            seen[:] = 0
            first = 0
            while first < known:
                last = first
                while last + 1 < known and ascending[last + 1] == ascending[first]:
                    last += 1
                if last == first:  # by far the most
                    own = group[order[first]]
                    if own >= 0:
                        seen[own] += 1
                        ranks[row, grouping, order[first]] = 2 * seen[own]
                    first += 1
                    continue
                for j in range(first, last + 1):
                    own = group[order[j]]
                    if own >= 0:
                        equal[own] += 1
                for j in range(first, last + 1):
                    own = group[order[j]]
                    if own >= 0:
                        ranks[row, grouping, order[j]] = 2 * seen[own] + equal[own] + 1
                for j in range(first, last + 1):
                    own = group[order[j]]
                    if own >= 0:
                        seen[own] += equal[own]
                        equal[own] = 0
                first = last + 1
            for number in range(len(seen)):
                counts[row, grouping, number] = seen[number]
