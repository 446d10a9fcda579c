"""The rules a daily bar must pass, for a whole batch at once: what rejects it, what lowers its score, what is reviewed.

Hard rules reject. Each new row is judged by itself against them, then repeats of one key among the sound rows:
identical ones are kept once, and of contradicting ones none is kept, since nothing says which is right. A rejected row
takes no part in what is said about any other, so a broken repeat does not spoil a sound row.

Soft rules look at the sound bars of an instrument in sequence, in one share unit (`bars.adjustment`), so that a known
split is no move. "Previous" means the previous sound bar, whatever number of sessions lies between. Comparisons are
strict and allow a relative 1e-12: a move from 100.00 to 110.00 is 10 %, not more, in binary fractions as on paper.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntFlag, auto

import numpy as np
import numpy.typing as npt

from quantmatrix_pipeline.bars.adjustment import forward_price, forward_volume
from quantmatrix_pipeline.bars.batch import FIELDS, Bools, Dates, Floats, Ints
from quantmatrix_pipeline.bars.sessions import NO_SESSION, TradingCalendar
from quantmatrix_pipeline.bars.split_evidence import looks_like_a_split
from quantmatrix_pipeline.bars.thresholds import DEFAULT_THRESHOLDS, Thresholds
from quantmatrix_pipeline.bars.volume_reference import TOLERANCE, WINDOW, volume_anomalies

CONTEXT_BARS = WINDOW  # stored bars to hand over before an instrument's first new one

FULL_SCORE, EXTREME_MOVE_COST, SPIKE_COST, DROP_COST = 100, 50, 20, 10  # hundredths: sums of them are exact
HELD_AT = 80  # at most: used, but not validated before somebody else was asked
USABLE_QUALITY = 0.5  # a bar scored below is used for no number; from here to `Thresholds.validated`, flagged and used

Flags = npt.NDArray[np.uint16]


class Reason(IntFlag):
    """What was found about a bar; the lower-case name is its code in the validation log."""

    NOT_FINITE = auto()
    NOT_POSITIVE = auto()
    NEGATIVE_VOLUME = auto()
    HIGH_BELOW_OPEN_CLOSE = auto()
    LOW_ABOVE_OPEN_CLOSE = auto()
    HIGH_BELOW_LOW = auto()
    NOT_A_SESSION = auto()
    DUPLICATE = auto()
    CONFLICTING_DUPLICATE = auto()
    EXTREME_MOVE = auto()
    VOLUME_SPIKE = auto()
    VOLUME_DROP = auto()
    GAP = auto()
    STALE = auto()
    SPLIT_LIKE = auto()


SOFT = Reason.EXTREME_MOVE | Reason.VOLUME_SPIKE | Reason.VOLUME_DROP | Reason.GAP | Reason.SPLIT_LIKE


def codes(flags: int) -> list[str]:
    """Return the reason codes of one row's flags, in the order of `Reason`: 5 -> ['not_finite', 'negative_volume']."""
    return [str(reason.name).lower() for reason in Reason(int(flags))]


@dataclass(frozen=True, slots=True)
class BarRows:
    """n bars, ascending by (instrument, session): new ones, and stored ones as context.

    Attributes
    ----------
    instrument_index
        Shape (n,), >= 0.
    session
        Shape (n,), datetime64[D].
    open, high, low, close, volume
        Shape (n,): in the share unit in which they are stored.
    unit
        Shape (n,): U(anchor) of each row, see `bars.adjustment`; all ones without splits.
    is_new
        Shape (n,): rows to judge. The others are stored bars, of which `CONTEXT_BARS` before the first new one suffice;
        a stored bar whose key a sound new row bears is superseded by it.
    without_volume
        Shape (number of instruments,): True for an index, which has no volume of its own. Its volume may be NaN and is
        never an anomaly.
    withheld
        Shape (n,): rows that repair found to be no trade, to be refused; none where not given.
    believed
        Shape (n,): bars whose jump was looked up with another vendor, who knows of no split; None: none was.
    """

    instrument_index: Ints
    session: Dates
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats
    unit: Floats
    is_new: Bools
    without_volume: Bools
    withheld: Bools | None = None
    believed: Bools | None = None

    def __len__(self) -> int:
        return len(self.session)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the rules say of each row, shape (n,) in the order of the rows; the limits here are those of `Thresholds`.

    Context rows get none: nothing flagged, nothing rejected, not validated, score NaN.

    Attributes
    ----------
    reasons
        uint16 flags of `Reason`, hard and soft ones.
    rejected
        A hard rule is broken: the bar must not be stored as a price. Its score is 0.
    quality_score
        1.0 less 0.5 for a move over 500 %, 0.2 for a volume over 10 times, 0.1 for one under a tenth of the reference;
        at most 0.8 for a gap as of a split that nobody named and about which no other vendor was asked.
    validated
        A score of 0.85 or more.
    gap_detected
        The open lies more than 10 % off the previous close.
    volume_anomaly
        The volume is over 10 times or under a tenth of the reference.
    """

    reasons: Flags
    rejected: Bools
    quality_score: Floats
    validated: Bools
    gap_detected: Bools
    volume_anomaly: Bools


def validate(rows: BarRows, calendar: TradingCalendar, limits: Thresholds = DEFAULT_THRESHOLDS) -> Verdict:
    """Judge the new rows of a batch by all rules; it never stops at the first fault.

    Raises
    ------
    ValueError
        The rows don't ascend by (instrument, session).
    """
    same_key = _same_key_as_before(rows)
    reasons = _hard_faults(rows, calendar)
    if same_key.any():
        _mark_duplicates(rows, same_key, reasons)
    kept = reasons == 0
    if same_key.any():
        kept &= ~_superseded(rows, same_key, kept)
    _mark_soft(rows, kept, reasons, limits)

    reasons[~rows.is_new] = 0
    rejected = (reasons & ~np.uint16(SOFT)) != 0
    gap, move = _has(reasons, Reason.GAP), _has(reasons, Reason.EXTREME_MOVE)
    spike, drop = _has(reasons, Reason.VOLUME_SPIKE), _has(reasons, Reason.VOLUME_DROP)
    hundredths = FULL_SCORE - EXTREME_MOVE_COST * move - SPIKE_COST * spike - DROP_COST * drop
    hundredths[_has(reasons, Reason.SPLIT_LIKE) & (hundredths > HELD_AT)] = HELD_AT
    hundredths[rejected] = 0
    score = hundredths / 100
    score[~rows.is_new] = np.nan
    validated = (hundredths >= round(limits.validated * FULL_SCORE)) & rows.is_new
    return Verdict(reasons, rejected, score, validated, gap, spike | drop)


def _has(reasons: Flags, reason: Reason) -> Bools:
    return np.asarray(reasons & np.uint16(reason), np.bool_)


def _mark(reasons: Flags, where: Bools | npt.NDArray[np.intp], reason: Reason) -> None:
    reasons[where] |= np.uint16(reason)


# --- hard rules -----------------------------------------------------------------------------------------------------


def _same_key_as_before(rows: BarRows) -> Bools:
    """Tell which rows bear the same (instrument, session) as the row before them."""
    same = np.zeros(len(rows), np.bool_)
    if len(rows) < 2:
        return same
    instrument, session = rows.instrument_index, rows.session
    same_instrument = instrument[1:] == instrument[:-1]
    ascending = (instrument[1:] > instrument[:-1]) | (same_instrument & (session[1:] >= session[:-1]))
    # A row without a date sorts nowhere; it is rejected as no session of the calendar.
    ascending |= np.isnat(session[1:]) | np.isnat(session[:-1])
    if not ascending.all():
        at = int(np.argmin(ascending)) + 1
        raise ValueError(f"rows must ascend by (instrument, session): row {at} does not follow row {at - 1}")
    same[1:] = same_instrument & (session[1:] == session[:-1])
    return same


def _hard_faults(rows: BarRows, calendar: TradingCalendar) -> Flags:
    """Return the flags of what is wrong with each row by itself, context rows included.

    A comparison with NaN is False: a missing number is reported as not finite, not as breaking rules of order too.
    """
    reasons = np.zeros(len(rows), np.uint16)
    open_, high, low, close, volume = (getattr(rows, field) for field in FIELDS)
    finite = np.isfinite(open_) & np.isfinite(high) & np.isfinite(low) & np.isfinite(close)
    finite &= np.isfinite(volume) | (np.isnan(volume) & rows.without_volume[rows.instrument_index])
    faults = {
        Reason.NOT_FINITE: ~finite,
        Reason.NOT_POSITIVE: (open_ <= 0) | (high <= 0) | (low <= 0) | (close <= 0),
        Reason.NEGATIVE_VOLUME: volume < 0,
        Reason.HIGH_BELOW_OPEN_CLOSE: (high < open_) | (high < close),
        Reason.LOW_ABOVE_OPEN_CLOSE: (low > open_) | (low > close),
        Reason.HIGH_BELOW_LOW: high < low,
        Reason.NOT_A_SESSION: calendar.index_of(rows.session) == NO_SESSION,
    }
    if rows.withheld is not None:
        faults[Reason.STALE] = rows.withheld
    for reason, broken in faults.items():
        if broken.any():
            _mark(reasons, broken, reason)
    return reasons


def _mark_duplicates(rows: BarRows, same_key: Bools, reasons: Flags) -> None:
    """Among sound new rows of one key: identical ones are kept once, contradicting ones not at all."""
    key = np.cumsum(~same_key)
    candidates = np.flatnonzero(rows.is_new & (reasons == 0))
    again = np.flatnonzero(key[candidates[1:]] == key[candidates[:-1]])
    later, earlier = candidates[again + 1], candidates[again]
    equal = np.ones(len(later), np.bool_)
    for field in (*FIELDS, "unit"):
        values = getattr(rows, field)
        equal &= (values[later] == values[earlier]) | (np.isnan(values[later]) & np.isnan(values[earlier]))
    contradicted = np.isin(key[candidates], key[later[~equal]])
    _mark(reasons, candidates[contradicted], Reason.CONFLICTING_DUPLICATE)
    _mark(reasons, later[~np.isin(key[later], key[later[~equal]])], Reason.DUPLICATE)


def _superseded(rows: BarRows, same_key: Bools, kept: Bools) -> Bools:
    """Tell which stored rows have a sound new row of the same key."""
    key = np.cumsum(~same_key)
    return ~rows.is_new & np.isin(key, key[rows.is_new & kept])


# --- soft rules -----------------------------------------------------------------------------------------------------


def _mark_soft(rows: BarRows, kept: Bools, reasons: Flags, limits: Thresholds) -> None:
    """Flag moves, gaps and volumes on the sequence of kept bars, in one share unit per instrument."""
    at: npt.NDArray[np.intp] | slice = slice(None) if kept.all() else np.flatnonzero(kept)
    instrument, unit, is_new = rows.instrument_index[at], rows.unit[at], rows.is_new[at]
    n = len(instrument)
    if n < 2:
        return
    follows = instrument[1:] == instrument[:-1]
    judged = np.flatnonzero(follows & is_new[1:]) + 1
    close = forward_price(rows.close[at], unit)
    own, before = close[judged], close[judged - 1]
    opened = forward_price(rows.open[at][judged], unit[judged])
    moved = judged[np.abs(own - before) > before * (limits.extreme_move * (1 + TOLERANCE))]
    gap = np.abs(opened - before) > before * (limits.gap * (1 + TOLERANCE))
    gapped = judged[gap]
    like = gapped[np.array([looks_like_a_split(x) for x in np.log(opened[gap] / before[gap]).tolist()], np.bool_)]
    if rows.believed is not None:
        like = like[~rows.believed[at][like]]

    has_volume = ~rows.without_volume[instrument]
    volume = forward_volume(rows.volume[at], unit)
    if not has_volume.all():
        volume = np.where(has_volume, volume, 0.0)  # a NaN would spread into the neighbours' bounds
    spike, drop = volume_anomalies(volume, _bars_before(follows), is_new & has_volume, limits)

    place = np.arange(len(rows))[at]
    for reason, found in {
        Reason.EXTREME_MOVE: moved,
        Reason.VOLUME_SPIKE: spike,
        Reason.VOLUME_DROP: drop,
        Reason.GAP: gapped,
        Reason.SPLIT_LIKE: like,
    }.items():
        _mark(reasons, place[found], reason)


def _bars_before(follows: Bools) -> npt.NDArray[np.intp]:
    """Return how many rows of its own instrument precede each row, from which rows follow their predecessor."""
    starts = np.concatenate([[0], np.flatnonzero(~follows) + 1])
    lengths = np.diff(starts, append=len(follows) + 1)
    return np.asarray(np.arange(len(follows) + 1) - np.repeat(starts, lengths), np.intp)
