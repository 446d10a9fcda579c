"""Stretches over which two sources differ by one factor, and the corporate action behind the end of each.

Two sources that adjust prices by other factors differ by ln(second close / first close) = L over all sessions before
the action, to the last digits, and by the L of the next stretch from its ex-date on. A bad bar leaves the level and
comes back. So a stretch is a run of at least 5 closes whose L moves by no more than 0.1 % from bar to bar, once
shorter runs are taken out.

What the end of a stretch at session D says, with p the step of L in prices and v that of the volumes (both logarithms,
second against first), tried in this order:

    three or more steps of one sign, of 2 % at most each,   dividend_adjustment
    15 to 150 sessions apart
    |p| = ln r of a common split, within 0.2 %              split_vintage: one of them has the split, the other hasn't
    p + v = 0 within 0.2 %, v not 0                         shares are counted otherwise by one side. Where a price
                                                            fell over D by half of |p| or more, value left: spin_off.
                                                            Else split_vintage
    v not 0                                                 spin_off: one side took it for a split, the other lowered
                                                            prices by what it was worth
    v = 0, or not known                                     spin_off where a price fell over D by half of |p| or more,
                                                            or D lies after the last common bar; else unexplained

A last stretch that differs has no end in sight: its action lies after the last common bar. Where one before it agrees
better, it began to differ with its own first session instead.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np

from quantmatrix_pipeline.bars.batch import Bools, Floats, Ints
from quantmatrix_pipeline.bars.reconcile.causes import Cause
from quantmatrix_pipeline.bars.reconcile.pair import CLOSE, OPEN, VOLUME, Pair, Rows
from quantmatrix_pipeline.bars.split_evidence import COMMON, SMALLEST

STEADY = 1e-3  # by which the logarithm of two closes' ratio may move within a stretch
LEAST = 5  # bars of a stretch
SAME = 2e-3  # how near two logarithms lie that are the same number
DIVIDEND_STEP = 0.02
DIVIDEND_GAP = (15, 150)  # sessions between two ex-dates
DIVIDENDS = 3  # steps of one sign from which on they are dividends


@dataclass(frozen=True, slots=True)
class Stretch:
    """Sessions of one instrument, from `first` to `last` (both inclusive), over which two sources differ by one factor.

    Attributes
    ----------
    rows
        Where it stands in the pair, end exclusive.
    price_ratio, volume_ratio
        second / first, the median of its closes and volumes; the latter NaN without volumes.
    step_price, step_volume
        By which those change with its action: price_ratio by the one of the sessions beyond it.
    cause
        Of its difference; `none` where the level is the same number on both sides.
    ex_date
        The first session beyond the action, None where that lies after the last common bar.
    """

    instrument: int
    first: date
    last: date
    rows: tuple[int, int]
    price_ratio: float
    volume_ratio: float
    step_price: float
    step_volume: float
    cause: Cause
    ex_date: date | None


@dataclass(frozen=True, slots=True)
class Levels:
    """Stretches of a pair and, per row, which one it belongs to (-1: none) and ln(second / first) of its prices."""

    stretches: tuple[Stretch, ...]
    of_row: Rows
    price: Floats
    volume: Floats


def levels(pair: Pair) -> Levels:
    """Return the stretches of all instruments, with the cause of each."""
    with np.errstate(divide="ignore", invalid="ignore"):
        x = np.log(pair.second[CLOSE] / pair.first[CLOSE])
        w = np.log(pair.second[VOLUME] / pair.first[VOLUME])
    w[~np.isfinite(w)] = np.nan
    of_row, level = _runs(pair, x)
    volume = _medians(w, of_row, len(level))
    stretches = _explained(pair, of_row, level, volume)
    named = np.append(level, 0.0)[of_row]  # -1, no stretch: no level
    shares = np.append(np.nan_to_num(volume), 0.0)[of_row]
    return Levels(stretches, of_row, named, shares)


def _runs(pair: Pair, x: Floats) -> tuple[Rows, Floats]:
    """Return to which stretch each row belongs (-1: its instrument has none), and the level of each."""
    rows = np.flatnonzero(np.isfinite(x))
    run = _numbered(pair, x, rows)
    kept = rows[np.bincount(run, minlength=1)[run] >= LEAST] if len(rows) else rows
    of_row = np.full(len(pair), -1, np.intp)
    if not len(kept):
        return of_row, np.empty(0)
    own = _numbered(pair, x, kept)
    of_row[kept] = own
    level = _medians(x, of_row, int(own[-1]) + 1)
    # What is off joins the stretch before or after it, whose level is nearer: an ex-date may be such a row.
    loose = np.flatnonzero(of_row < 0)
    after = np.searchsorted(kept, loose)
    sides = []
    for at in (np.maximum(after - 1, 0), np.minimum(after, len(kept) - 1)):
        there = pair.instrument[kept[at]] == pair.instrument[loose]
        distance = np.abs(np.nan_to_num(x[loose]) - level[own[at]])
        sides.append((np.where(there, own[at], -1), np.where(there, distance, np.inf)))
    (before, near), (behind, far) = sides
    of_row[loose] = np.where(near <= far, before, behind)
    # A stretch never goes back: between two, the rows up to the last that is nearer to the earlier one belong to it.
    order = np.where(of_row >= 0, of_row, len(level))
    of_row = np.where(of_row >= 0, np.minimum.accumulate(order[::-1])[::-1], -1)
    return of_row, level


def _numbered(pair: Pair, x: Floats, rows: Rows) -> Rows:
    """Return for each of the rows the number of its run: same instrument, steady ratio."""
    begins = np.ones(len(rows), np.bool_)
    begins[1:] = pair.instrument[rows][1:] != pair.instrument[rows][:-1]
    begins[1:] |= np.abs(np.diff(x[rows])) > STEADY
    return np.cumsum(begins) - 1


def _medians(values: Floats, of_row: Rows, count: int) -> Floats:
    """Return the median of the numbers of each stretch, NaN where it has none."""
    rows = np.flatnonzero((of_row >= 0) & np.isfinite(values))
    order = rows[np.lexsort((values[rows], of_row[rows]))]
    size = np.bincount(of_row[rows], minlength=count)
    start = np.cumsum(size) - size
    found = np.full(count, np.nan)
    some = size > 0
    found[some] = (values[order[(start + (size - 1) // 2)[some]]] + values[order[(start + size // 2)[some]]]) / 2
    return found


def _explained(pair: Pair, of_row: Rows, level: Floats, volume: Floats) -> tuple[Stretch, ...]:
    if not len(level):
        return ()
    rows = np.flatnonzero(of_row >= 0)
    number = np.arange(len(level))
    first = rows[np.searchsorted(of_row[rows], number)]
    last = rows[np.searchsorted(of_row[rows], number, side="right") - 1]
    instrument = pair.instrument[first]
    chained = _dividends(instrument, level, first)
    steps = [_step(pair, k, instrument, level, volume, first, bool(chained[k])) for k in number.tolist()]
    found = []
    for k, step in enumerate(steps):
        # A level is the sum of all steps beyond it; what is told is the largest, of dividends the next.
        end = int(np.searchsorted(instrument, instrument[k], side="right"))
        main = max(steps[k:end], key=lambda s: abs(s.price)) if step.ahead else step
        main = step if main.cause is Cause.DIVIDEND else main
        differs = abs(level[k]) > SAME
        found.append(
            Stretch(
                instrument=int(instrument[k]),
                first=pair.session[first[k]].item(),
                last=pair.session[last[k]].item(),
                rows=(int(first[k]), int(last[k]) + 1),
                price_ratio=math.exp(level[k]),
                volume_ratio=math.exp(volume[k]),
                step_price=math.exp(main.price),
                step_volume=math.exp(main.volume),
                cause=main.cause if differs else Cause.NONE,
                ex_date=main.ex_date if differs else None,
            )
        )
    return tuple(found)


@dataclass(frozen=True, slots=True)
class _Step:
    """From a stretch to the one beyond its action, logarithms; `ahead`: that one is later, or after the last bar."""

    price: float
    volume: float
    cause: Cause
    ex_date: date | None
    ahead: bool


def _step(pair: Pair, k: int, instrument: Ints, level: Floats, volume: Floats, first: Rows, chained: bool) -> _Step:
    onward = k + 1 < len(level) and instrument[k + 1] == instrument[k]
    backward = not onward and k > 0 and instrument[k - 1] == instrument[k] and abs(level[k - 1]) < abs(level[k])
    if not onward and not backward:
        p, v = float(level[k]), float(volume[k])
        return _Step(p, v, _cause(p, v, (), chained), None, ahead=True)
    other = k + 1 if onward else k - 1
    at = int(first[max(k, other)])
    p, v = float(level[k] - level[other]), float(volume[k] - volume[other])
    moves = tuple(_move(float(side[CLOSE, at - 1]), float(side[OPEN, at])) for side in (pair.first, pair.second))
    return _Step(p, v, _cause(p, v, moves, chained), pair.session[at].item(), ahead=onward)


def _move(close: float, open_: float) -> float:
    """Return ln(open / close before), 0 where either is no price: what vendors send is not validated here."""
    return math.log(open_ / close) if 0 < close < math.inf and 0 < open_ < math.inf else 0.0


def _cause(p: float, v: float, moves: Sequence[float], chained: bool) -> Cause:
    """Return the cause of a step; `moves` are those of both sides over it, ln(open / close before), or none."""
    if chained:
        return Cause.DIVIDEND
    if abs(p) >= SMALLEST and any(abs(abs(p) - math.log(ratio)) <= SAME for ratio in COMMON):
        return Cause.SPLIT_VINTAGE
    fell = any(move <= -abs(p) / 2 for move in moves)
    if abs(p + v) <= SAME < abs(v):
        return Cause.SPIN_OFF if fell else Cause.SPLIT_VINTAGE
    return Cause.SPIN_OFF if fell or abs(v) > SAME or not moves else Cause.UNEXPLAINED


def _dividends(instrument: Ints, level: Floats, first: Rows) -> Bools:
    """Tell which stretches end with a step that is one of several dividends'."""
    step = np.append(-np.diff(level), 0.0)
    same = np.append(instrument[1:] == instrument[:-1], False)
    apart = np.append(np.diff(first), 0)  # from the stretch's own beginning, which is the ex-date before, to its end
    small = same & (np.abs(step) > 0) & (np.abs(step) <= DIVIDEND_STEP)
    found = np.zeros(len(level), np.bool_)
    begin = 0
    for k in range(1, len(level) + 1):
        goes_on = (
            k < len(level)
            and small[k]
            and small[k - 1]
            and instrument[k] == instrument[k - 1]
            and np.sign(step[k]) == np.sign(step[k - 1])
            and DIVIDEND_GAP[0] <= apart[k] <= DIVIDEND_GAP[1]
        )
        if not goes_on:
            if k - begin >= DIVIDENDS:
                found[begin:k] = small[begin]
            begin = k
    return found
