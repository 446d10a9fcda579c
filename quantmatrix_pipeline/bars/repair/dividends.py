"""Dividends and the adjustment for them, checked against each other and against what the price did on the ex-date.

A vendor that gives closes, closes adjusted for dividends, and the dividends says each dividend twice: as an amount d,
and as the step 1 - a of its adjustment at the ex-date, where a should be the yield y = d / p on the close p before.
Both can be wrong by the same faults: a hundred times too much or too little (pence for pounds), an amount in the shares
of before a split on the same day, a dividend that stands twice within days, one dated a session off, a step that is
missing. What is true is chosen among the amounts that such a fault would make out of d, by how likely each is:

    score(q) = -(log10(q / 1.2 %))^2 / (2 x 0.55^2) x min(n, 3)  -  sum over n dividends of min(r^2 / (2 s^2), 8)

q is the yield that a candidate amounts to (its median in the first term), r how far the ex-date's low lies off the
close before less that yield and less the usual distance of a low, s the usual move of a day; a bar without trade says
nothing. Dividends of one kind of mismatch and of a like yield (within a factor of 3) are decided together: a vendor
errs in kind. The confidence is 1 / (1 + exp(-margin)), the margin being that between the best two scores. That a
dividend stands twice has 1 less the relative difference of the two amounts; it stays on the day on which the price fell
more, which may be the wrong one of the two: then the adjusted closes between them are off, instead of all before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from quantmatrix_pipeline.bars.batch import Bools, Dates, Floats
from quantmatrix_pipeline.bars.repair.catalogue import MIN_CONFIDENCE

_TYPICAL, _DECADES = 0.012, 0.55  # of a payment's yield: the middle, and the spread of its logarithm
_FARTHEST = 8.0  # what one ex-date can say against a candidate: a price has other reasons to move
_PEERS = 3  # so many dividends of one kind speak for themselves
_SAME = 0.05  # relative: a step that lies so near is the dividend's
_LIKE = 0.10  # relative: amounts so near are one dividend's
_TWICE_WITHIN = np.timedelta64(7, "D")
_SPECIAL = 0.05  # yield from which the day of the drop can be told
_LEAST_MOVE = 0.004


class Fault(StrEnum):
    """What was wrong with a dividend."""

    AMOUNT = "amount"  # the dividend's amount
    ADJUSTMENT = "adjustment"  # the step of the adjusted closes
    BOTH = "amount_and_adjustment"
    TWICE = "stands_twice"
    DATE = "date"


@dataclass(frozen=True, slots=True)
class DividendSeries:
    """Bars of one instrument with its dividends, ascending; shape (n,) each.

    Attributes
    ----------
    session
        datetime64[D].
    open, high, low, close, volume
        In one share unit; NaN where there is no bar.
    adjusted_close
        The close less dividends, as the vendor has it: its ratio to the close steps at each ex-date.
    dividend
        Cash per share on its ex-date, in the unit of the prices, 0 for none.
    split
        New shares per old one on the day of a split, 1 (or 0, as vendors write it) for none.
    """

    session: Dates
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats
    adjusted_close: Floats
    dividend: Floats
    split: Floats


@dataclass(frozen=True, slots=True)
class DividendFinding:
    """One dividend put right: the row it stood on, what was wrong, its amount before and after, how surely."""

    row: int
    fault: Fault
    amount: float
    repaired: float
    confidence: float


@dataclass(frozen=True, slots=True)
class DividendRepairs:
    """Dividends and adjusted closes as they should be, shape (n,), and what was found.

    What is found at less than the confidence asked for is told, and not carried out.
    """

    dividend: Floats
    adjusted_close: Floats
    found: tuple[DividendFinding, ...]


def repair_dividends(bars: DividendSeries, at_least: float = MIN_CONFIDENCE) -> DividendRepairs:
    """Check the dividends of one instrument and their adjustment against each other and the prices.

    Parameters
    ----------
    bars
        Prices are not changed: only dividends and adjusted closes are.
    at_least
        The confidence from which a repair is carried out.
    """
    view = _View(bars)
    found: list[DividendFinding] = []
    amount = bars.dividend.copy()
    step = view.step.copy()
    open_ = list(view.rows)
    for row, twin in _twice(view):
        sure = view.likeness(row, twin)
        found.append(DividendFinding(row, Fault.TWICE, float(amount[row]), 0.0, sure))
        open_.remove(row)
        if sure >= at_least:
            amount[row], step[row] = 0.0, 1.0
    for row, day in _misdated(view, open_):
        found.append(DividendFinding(row, Fault.DATE, float(amount[row]), float(amount[row]), MIN_CONFIDENCE))
        open_.remove(row)
        if at_least <= MIN_CONFIDENCE:
            amount[day], amount[row] = amount[row], 0.0
            step[row], step[day] = 1.0, 1 - amount[day] / view.before[day]
    for kind, rows in view.clusters(open_):
        times, sure = view.decide(kind, rows)
        for row in rows:
            true = float(amount[row]) * times(row)
            wrong_step = kind is not _Kind.DOUBLE and not abs(view.share(row, true) - 1) <= _SAME
            if true == amount[row] and not wrong_step:
                continue
            fault = Fault.AMOUNT if not wrong_step else Fault.ADJUSTMENT if true == amount[row] else Fault.BOTH
            found.append(DividendFinding(row, fault, float(amount[row]), true, sure))
            if sure >= at_least:
                amount[row] = true
                step[row] = 1 - true / view.before[row] if wrong_step else step[row]
    return DividendRepairs(amount, view.adjusted(step), tuple(sorted(found, key=lambda f: f.row)))


class _Kind(StrEnum):
    """How the step of a dividend stands to its yield."""

    AGREES = "agrees"
    HUNDREDTH = "hundredth"  # a hundredth of it
    SPLIT = "split"  # of the amount in the shares after the split of that day
    DOUBLE = "double"  # of two dividends
    NONE = "none"
    OTHER = "other"


class _View:
    """What is asked of a series again and again."""

    def __init__(self, bars: DividendSeries) -> None:
        self.bars = bars
        self.there: Bools = np.isfinite(bars.close) & (bars.close > 0)
        known = np.where(self.there, np.arange(len(bars.close)), -1)
        last = np.maximum.accumulate(known)
        self.previous = np.concatenate([[-1], last[:-1]])  # the bar before each row, -1 for none
        with np.errstate(all="ignore"):
            self.factor = np.where(self.there, bars.adjusted_close / bars.close, np.nan)
            self.before = np.where(self.previous >= 0, bars.close[self.previous], np.nan)
            # The step of a row without a bar shows at the next one that has one.
            following = np.minimum.accumulate(np.where(self.there, np.arange(len(known)), len(known))[::-1])[::-1]
            self.bar_of = np.minimum(following, len(known) - 1)
            step = np.where(self.previous >= 0, self.factor[self.previous], np.nan) / self.factor[self.bar_of]
        self.step = np.where(np.isfinite(step), step, np.nan)
        moves = np.diff(np.log(bars.close[self.there]))
        traded = moves[moves != 0]
        self.move = max(_LEAST_MOVE, float(1.4826 * np.median(np.abs(traded))) if len(traded) else 0.0)
        with np.errstate(all="ignore"):
            lows = np.log(self.before / bars.low)
        self.usual_low = float(np.nanmedian(lows[self.there & (bars.volume > 0)])) if self.there.any() else 0.0
        self.rows = [int(r) for r in np.flatnonzero(bars.dividend > 0) if np.isfinite(self.before[r])]

    def likeness(self, row: int, twin: int) -> float:
        """Return 1 less the relative difference of two amounts, one of which may be a hundred times the other."""
        ratio = float(self.bars.dividend[row] / self.bars.dividend[twin])
        return 1 - min(abs(ratio * times - 1) for times in (1.0, 100.0, 0.01))

    def fall(self, row: int) -> float:
        """Return by how much the close fell over the close before, as a logarithm."""
        return float(np.log(self.before[row] / self.bars.close[self.bar_of[row]]))

    def low_fall(self, row: int) -> float:
        """Return how much farther than usually the low lay under the close before; NaN where nothing was traded."""
        at = self.bar_of[row]
        b = self.bars
        if b.high[at] == b.low[at] or not b.volume[at] > 0:
            return float("nan")
        return float(np.log(self.before[row] / b.low[at])) - self.usual_low

    def share(self, row: int, amount: float) -> float:
        """Return how large a dividend's step is, in steps of an amount; of two conventions the one that fits better.

        A vendor multiplies by 1 - d / p, p the close before, or by 1 / (1 + d / c), c the close of the ex-date.
        """
        a = 1 - float(self.step[row])
        before, after = float(self.before[row]), float(self.bars.close[self.bar_of[row]])
        return min(a * before / amount, a * (1 + after / amount), key=lambda share: abs(share - 1))

    def kind(self, row: int) -> _Kind:
        amount = float(self.bars.dividend[row])
        ratio = self.share(row, amount)
        split = float(self.bars.split[row])
        if split not in (0.0, 1.0) and _near(self.share(row, amount / split), 1.0):
            return _Kind.SPLIT
        if not np.isfinite(ratio):
            return _Kind.OTHER
        if abs(ratio - 1) <= _SAME:
            return _Kind.AGREES
        if abs(ratio - 2) <= 2 * _SAME:
            return _Kind.DOUBLE
        if 1 / 200 <= ratio <= 1 / 50:
            return _Kind.HUNDREDTH
        return _Kind.NONE if abs(ratio) < 1 / 500 else _Kind.OTHER

    def clusters(self, rows: Sequence[int]) -> list[tuple[_Kind, list[int]]]:
        """Part the dividends by kind and, where amount and step agree, by yield."""
        found: list[tuple[_Kind, list[int]]] = []
        for kind in _Kind:
            own = sorted((self._yield(r), r) for r in rows if self.kind(r) is kind)
            cluster: list[int] = []
            for at, (y, row) in enumerate(own):
                if cluster and kind is _Kind.AGREES and y > 3 * own[at - 1][0]:
                    found.append((kind, cluster))
                    cluster = []
                cluster.append(row)
            if cluster:
                found.append((kind, cluster))
        return found

    def decide(self, kind: _Kind, rows: Sequence[int]) -> tuple[_Times, float]:
        """Return by what the amounts of a cluster are to be multiplied, and how surely."""
        if kind is _Kind.SPLIT:
            return _Times(1.0, self.bars.split), 0.99  # amount and step say the same, in two units
        if kind is _Kind.DOUBLE:
            return _Times(1.0), 1.0
        candidates = [1.0, 0.01]
        if kind is _Kind.AGREES and (len(rows) >= _PEERS or self._equals_a_peer(rows)):
            candidates.append(100.0)
        scores = sorted(((self._score(rows, times), times) for times in candidates), reverse=True)
        return _Times(scores[0][1]), _confidence(scores[0][0] - scores[1][0])

    def adjusted(self, step: Floats) -> Floats:
        """Return the adjusted closes that follow from the steps, from the last bar backwards."""
        bars = np.flatnonzero(self.there)
        own = np.ones(len(bars))
        before, after = self.factor[bars[:-1]], self.factor[bars[1:]]
        with np.errstate(all="ignore"):
            stood = before / after
        own[1:] = np.where(np.isfinite(stood) & (stood > 0), stood, 1.0)
        place = {int(row): at for at, row in enumerate(bars)}
        told = {int(r) for r in np.flatnonzero((self.bars.dividend > 0) | (step != self.step)) if self.previous[r] >= 0}
        for row in sorted(told):
            if np.isfinite(step[row]) and (at := place.get(int(self.bar_of[row]))) is not None:
                own[at] = step[row]
        result = self.bars.adjusted_close.copy()
        last = self.factor[bars[-1]]
        factor = np.concatenate([np.cumprod(own[:0:-1])[::-1], [1.0]]) * last
        result[bars] = self.bars.close[bars] * factor
        unchanged = np.isclose(result, self.bars.adjusted_close, rtol=1e-9, atol=0)
        return np.where(unchanged, self.bars.adjusted_close, result)

    def _yield(self, row: int) -> float:
        return float(self.bars.dividend[row] / self.before[row])

    def _equals_a_peer(self, rows: Sequence[int]) -> bool:
        others = [float(self.bars.dividend[r]) for r in self.rows if r not in rows]
        return any(_near(100 * float(self.bars.dividend[r]), other, _LIKE) for r in rows for other in others)

    def _score(self, rows: Sequence[int], times: float) -> float:
        yields = np.array([self._yield(row) * times for row in rows])
        if (yields >= 1).any():
            return -1e9
        total = -float(np.log10(np.median(yields) / _TYPICAL) ** 2) / (2 * _DECADES**2) * min(len(rows), _PEERS)
        for row, q in zip(rows, yields, strict=True):
            off = self.low_fall(row) + float(np.log1p(-q))
            if np.isfinite(off):
                total -= min(off**2 / (2 * self.move**2), _FARTHEST)
        return total


@dataclass(frozen=True, slots=True)
class _Times:
    """A factor for the amounts of a cluster; with splits, that of each row's split besides."""

    factor: float
    split: Floats | None = None

    def __call__(self, row: int) -> float:
        return self.factor if self.split is None else self.factor / float(self.split[row])


def _twice(view: _View) -> list[tuple[int, int]]:
    """Return dividends that stand twice within days, perhaps a hundredfold: the one to go, and the one that stays.

    The one stays on whose day the price fell more.
    """
    found = []
    for one, other in zip(view.rows, view.rows[1:], strict=False):
        if view.bars.session[other] - view.bars.session[one] > _TWICE_WITHIN:
            continue
        ratio = float(view.bars.dividend[one] / view.bars.dividend[other])
        if any(_near(ratio, times, _LIKE) for times in (1.0, 100.0, 0.01)):
            found.append((one, other) if view.fall(other) > view.fall(one) else (other, one))
    return found


def _misdated(view: _View, rows: Sequence[int]) -> list[tuple[int, int]]:
    """Return special dividends without a fall on their day and with one of their size a session before or after."""
    found = []
    for row in rows:
        size = -float(np.log1p(-min(view._yield(row), 0.99)))
        if view._yield(row) < _SPECIAL or view._yield(row) >= 1 or not view.low_fall(row) < size / 4:
            continue
        for day in (row + 1, row - 1):
            if 0 < day < len(view.there) and view.there[day] and np.isfinite(view.before[day]):
                fell = view.low_fall(day)
                if 0.6 * size <= fell <= 1.4 * size and view.bars.dividend[day] == 0:
                    found.append((row, day))
                    break
    return found


def _near(one: float, other: float, within: float = _SAME) -> bool:
    return bool(abs(one - other) <= within * abs(other))


def _confidence(margin: float) -> float:
    return float(1 / (1 + np.exp(-min(margin, 50.0))))
