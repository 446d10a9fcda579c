"""Which sessions an instrument should have a daily bar of, and why it lacks one: masks, no database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import Any

import numpy as np
import numpy.typing as npt

from quantmatrix_pipeline.bars.batch import Bools, Dates


class Reason(StrEnum):
    """Why there is no bar of a session; where several hold, the first of them."""

    DELISTED = "delisted"
    NOT_LISTED = "not_listed"
    HALTED = "halted"
    OUTAGE = "outage"
    REJECTED = "rejected"
    VENDOR_HOLE = "vendor_hole"
    NOT_FETCHED = "not_fetched"


ORDER = tuple(Reason)
CODE = {reason: np.uint8(place + 1) for place, reason in enumerate(ORDER)}  # 0: there is a bar
OUTSIDE_THE_LIFE = (Reason.DELISTED, Reason.NOT_LISTED)
ACCEPTED = np.uint8(128)  # added to the code of what somebody recorded as an exception


@dataclass(frozen=True, slots=True)
class Accepted:
    """What was recorded as missing for good: sessions from `first` to `last`, both inclusive.

    `instrument_id` is None where it holds for all, as when the exchange was down.
    """

    instrument_id: int | None
    first: date
    last: date
    reason: Reason


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of the instruments' bars besides the stored ones; every mapping is by instrument_id.

    Attributes
    ----------
    listed_on, delisted_on
        The first day of trading, and the first day without.
    empty
        For each source: the stretch, end exclusive, in which it is known to have nothing before its first bar.
    answered
        The stretch, both ends inclusive, about which a source has answered: what is missing in it, it did not have.
    rejected
        (instrument_id, session) of which a row came and was refused.
    accepted
        The exceptions in force.
    """

    listed_on: Mapping[int, date]
    delisted_on: Mapping[int, date]
    empty: Sequence[Mapping[int, tuple[date, date]]]
    answered: Mapping[int, tuple[date, date]]
    rejected: Sequence[tuple[int, date]]
    accepted: Sequence[Accepted]


def reasons(window: Dates, ids: Sequence[int], stored: Bools, known: Known) -> npt.NDArray[np.uint8]:
    """Say of every session why there is no bar.

    Parameters
    ----------
    window
        Sessions, sorted.
    ids
        The instruments, one per row of `stored`.
    stored
        Shape (instruments, sessions of `window`): which bars there are.

    Returns
    -------
    Codes of the same shape: 0 where there is a bar, else that of the reason, plus `ACCEPTED` where it was recorded as
    an exception.
    """
    codes = np.full(stored.shape, CODE[Reason.NOT_FETCHED], np.uint8)
    place = {i: row for row, i in enumerate(ids)}
    begun: Bools = np.asarray(stored.any(axis=1), np.bool_)
    first_bar_at = stored.argmax(axis=1)
    for i, (first, last) in known.answered.items():
        if i in place:
            row, span = place[i], _span(window, first, last)
            codes[row, span] = CODE[Reason.VENDOR_HOLE]
            if begun[row] and i not in known.listed_on:  # who never had anything before its first bar was not listed
                codes[row, span.start : max(span.start, min(span.stop, int(first_bar_at[row])))] = CODE[
                    Reason.NOT_LISTED
                ]
    for silence in known.empty:
        for i, (first, first_bar) in silence.items():
            if i in place:
                before = Reason.VENDOR_HOLE if i in known.listed_on else Reason.NOT_LISTED
                span = _span(window, first, first_bar, closed=False)
                stop = min(span.stop, int(first_bar_at[place[i]])) if begun[place[i]] else span.stop
                codes[place[i], span.start : max(stop, span.start)] = CODE[before]
    refused = [(place[i], day) for i, day in known.rejected if i in place]
    if refused:
        rows = np.array([row for row, _ in refused], np.int64)
        days = np.array([day for _, day in refused], "datetime64[D]")
        at = np.minimum(np.searchsorted(window, days), len(window) - 1)
        inside = window[at] == days
        codes[rows[inside], at[inside]] = CODE[Reason.REJECTED]
    for one in known.accepted:
        accepted_rows: Any = slice(None) if one.instrument_id is None else place.get(one.instrument_id)
        if accepted_rows is not None:
            codes[accepted_rows, _span(window, one.first, one.last)] = CODE[one.reason] + ACCEPTED
    for i, listed in known.listed_on.items():
        if i in place:
            codes[place[i], _span(window, date.min, listed, closed=False)] = CODE[Reason.NOT_LISTED]
    for i, gone in known.delisted_on.items():
        if i in place:
            codes[place[i], _span(window, gone, date.max)] = CODE[Reason.DELISTED]
    codes[stored] = 0
    return codes


def _span(window: Dates, first: date, last: date, *, closed: bool = True) -> slice:
    """Return the places in `window` from `first` to `last`, the end inclusive when `closed`."""
    side = "right" if closed else "left"
    return slice(
        int(np.searchsorted(window, np.datetime64(first, "D"))),
        int(np.searchsorted(window, np.datetime64(last, "D"), side=side)),  # type: ignore[call-overload]
    )


@dataclass(frozen=True, slots=True)
class Stretches:
    """Consecutive sessions without a bar for one reason, sorted by instrument and session; all arrays of shape (n,).

    `row` is the instrument's row in the mask, `first` and `last` are places in the window, both inclusive.
    """

    row: npt.NDArray[np.int64]
    first: npt.NDArray[np.int64]
    last: npt.NDArray[np.int64]
    code: npt.NDArray[np.uint8]


def stretches(codes: npt.NDArray[np.uint8]) -> Stretches:
    """Return the runs of equal codes other than 0 in each row."""
    if not codes.size:
        nothing = np.empty(0, np.int64)
        return Stretches(nothing, nothing, nothing, np.empty(0, np.uint8))
    begins = codes != 0
    begins[:, 1:] &= codes[:, 1:] != codes[:, :-1]
    ends = codes != 0
    ends[:, :-1] &= codes[:, :-1] != codes[:, 1:]
    width = codes.shape[1]
    first = np.flatnonzero(begins)
    last = np.flatnonzero(ends)
    return Stretches(first // width, first % width, last % width, codes.reshape(-1)[first])
