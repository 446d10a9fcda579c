"""Split adjustment: from the share unit a price is stored in to any other.

Model. Splits change how many shares an ownership stake is, so every price has a share unit. Per instrument let

    U(t) = product of the ratios of all splits with ex-date <= t

be the number of today's-style shares, as of day t, that one share of the very first day has become. A stored price has
an *anchor*, the day in whose unit it is quoted: its session for `raw` prices, the later of its session and its basis
date for prices that a vendor had already adjusted for splits up to that date. Then

    forward price = price * U(anchor)        forward volume = volume / U(anchor)

are in the unit of the first day, which no later split ever moves; and the split-adjusted series as of day T, in the
unit of T, is forward price / U(T). On a series without splits all factors are exactly 1. Dividends are added to this
model in `bars.dividends`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from typing import Self

import numpy as np
import numpy.typing as npt

from quantmatrix_pipeline.bars.batch import Basis, Dates, Floats, Ints

_QUOTED_DECIMALS = 6
_ROUNDINGS = 1e-13  # relative: a few hundred roundings of float64
_LARGE = 1e8  # from here on six decimals are more than float64 holds
_DAYS = 1 << 32  # more than the days of any calendar: an instrument's keys never reach the next one's


class Adjust(StrEnum):
    """Which series a reader wants: as traded, in the shares of one day, or with dividends reinvested as well."""

    RAW = "raw"
    SPLIT = "split"
    TOTAL_RETURN = "total_return"


@dataclass(frozen=True, slots=True)
class Steps:
    """A step function of the day for many instruments, built once and asked for many rows; 1.0 before the first step.

    Attributes
    ----------
    keys
        Shape (m,), ascending: instrument index and day of each step, packed into one int64 for one binary search.
    units
        Shape (m,): the value from that day on.
    """

    keys: npt.NDArray[np.int64]
    units: Floats

    @classmethod
    def none(cls) -> Self:
        """Return the steps of instruments that have none."""
        return cls(np.empty(0, np.int64), np.empty(0, np.float64))

    def unit(self, instrument_index: Ints, day: Dates) -> Floats:
        """Return the value on each row's day: float64 of the rows' shape, 1.0 before an instrument's first step.

        `instrument_index` and `day` broadcast against each other and may be in any order.
        """
        if not len(self.keys):
            return np.ones(np.broadcast_shapes(np.shape(instrument_index), np.shape(day)))
        wanted = pack(instrument_index, day)
        step = np.searchsorted(self.keys, wanted, side="right") - 1
        found = np.maximum(step, 0)
        own = (step >= 0) & (self._instrument()[found] == np.asarray(instrument_index))
        return np.where(own, self.units[found], 1.0)

    def _instrument(self) -> npt.NDArray[np.int64]:
        # Days before 1970 are negative: half a span up, the quotient is the instrument again.
        return (self.keys + _DAYS // 2) // _DAYS


def pack(instrument_index: Ints, day: Dates) -> npt.NDArray[np.int64]:
    """Return one sortable number per (instrument, day)."""
    return np.asarray(instrument_index, np.int64) * _DAYS + np.asarray(day, "datetime64[D]").astype(np.int64)


class SplitTable(Steps):
    """U(t) of many instruments."""

    __slots__ = ()

    @classmethod
    def build(cls, instrument_index: Iterable[int], ex_date: Dates, ratio: Iterable[Fraction]) -> SplitTable:
        """Build the steps from splits in any order.

        Parameters
        ----------
        instrument_index
            Which instrument each split concerns, >= 0.
        ex_date
            Shape (m,), datetime64[D]: the first day on which the new shares trade.
        ratio
            New shares per old share: 4 for 4-for-1, 1/10 for a 1-for-10 reverse split, 21/20 for a stock dividend of
            5 %. Products are exact; one rounding to float64 per step is all that is lost. Two ratios on one day
            multiply.

        Raises
        ------
        ValueError
            A ratio that is not positive, a day that is NaT, or columns of unequal length.
        """
        days = np.asarray(ex_date, "datetime64[D]")
        steps = sorted(zip(instrument_index, days.astype(np.int64).tolist(), ratio, strict=True))
        keys: list[int] = []
        units: list[float] = []
        current, unit = -1, Fraction(1)
        for instrument, day, step in steps:
            if step <= 0 or instrument < 0 or np.isnat(np.datetime64(day, "D")):
                raise ValueError(f"split of instrument {instrument} on day {day}: ratio {step}; a split has all three")
            if instrument != current:
                current, unit = instrument, Fraction(1)
            unit *= step
            keys.append(instrument * _DAYS + day)
            units.append(float(unit))
        return cls(np.array(keys, np.int64), np.array(units, np.float64))


def anchor(session: Dates, basis: Basis, basis_date: np.datetime64 | None) -> Dates:
    """Return the day in whose share unit each price is quoted, shape of `session`.

    `basis_date` is the last day whose splits an adjusted price contains; a bar after it is quoted as it traded.

    Raises
    ------
    ValueError
        An adjusted basis without its date, or raw prices with one.
    """
    if basis is Basis.RAW:
        if basis_date is not None:
            raise ValueError(f"raw prices have no basis date, got {basis_date}")
        return session
    if basis_date is None or np.isnat(basis_date):
        raise ValueError(f"prices of basis {basis.value} need the date up to which they are adjusted")
    return np.maximum(session, basis_date)


def forward_price(price: Floats, unit: Floats) -> Floats:
    """Return prices in the unit of each instrument's first day: price * U(anchor)."""
    return price * unit


def forward_volume(volume: Floats, unit: Floats) -> Floats:
    """Return volumes in shares of each instrument's first day: volume / U(anchor)."""
    return volume / unit


def split_adjusted(price: Floats, unit: Floats, as_of_unit: Floats | float) -> Floats:
    """Return prices in the unit of day T: price * (U(anchor) / U(T)), `as_of_unit` being U(T) per row.

    The quotient is taken first, so that a price whose anchor lies in T's own unit comes back bit for bit.
    """
    return price * (unit / as_of_unit)


def to_raw(
    price: Floats, volume: Floats, instrument_index: Ints, session: Dates, basis_date: np.datetime64, splits: SplitTable
) -> tuple[Floats, Floats]:
    """Undo a source's split adjustment with its own splits.

    Parameters
    ----------
    price, volume
        Shape (n,) or (k, n) with rows last: as the source gave them, adjusted for all splits up to `basis_date`.
    instrument_index, session
        Shape (n,).
    basis_date
        The last day whose splits are contained in the adjustment.
    splits
        The source's splits, complete between the first session and `basis_date`.

    Returns
    -------
    Price and volume as traded: price * U(anchor) / U(session), volume the other way round, each with the roundings of
    adjusting and undoing taken off (`as_quoted`).
    """
    quoted = splits.unit(instrument_index, anchor(session, Basis.SPLIT, basis_date))
    factor = quoted / splits.unit(instrument_index, session)
    moved = factor != 1
    return np.where(moved, as_quoted(price * factor), price), np.where(moved, as_quoted(volume / factor), volume)


def as_quoted(value: Floats) -> Floats:
    """Return the short decimals behind numbers that arithmetic moved by a few units in the last place.

    Prices are quoted in at most six decimals and volumes in fewer. A number within a relative 1e-13 of one with six
    decimals is that one; any other, and any over 10^8 that is not whole, stays as it is. So what was 499.23 before
    somebody adjusted it is 499.23 again, to the bit, whoever's adjustment was undone.
    """
    quoted = np.where(np.abs(value) < _LARGE, np.round(value, _QUOTED_DECIMALS), np.round(value))
    return np.where(np.abs(quoted - value) <= _ROUNDINGS * np.abs(value), quoted, value)
