"""Total return: cash dividends reinvested on their ex-dates, as factors beside those of the splits.

A dividend of cash D per share of the instrument's first day (the unit of forward prices FC, see `bars.adjustment`)
lowers what was paid before its ex-date e by a factor. Two conventions are in use, and each series names its own:

    previous_close    f = 1 - D / FC(last bar before e)          = 1 - d / C(t-1)
    ex_close          f = 1 / (1 + D / FC(first bar from e on))  = s / (s + d / C(t))

On the right in prices as traded, for a dividend of d per share held at the close before, with the ratio s of a split on
the same day (else 1); splits divide by s besides. The first is that of CRSP's, Yahoo's and most vendors' adjusted
closes. The second says that the cash bought shares at the close of the ex-date, and is never zero or negative. With

    V(t) = product of 1 / f of all dividends with ex-date <= t

the total-return series as of day T is forward price * V(paid) / (U(T) * V(T)), where `paid` is the session for prices
without dividends and the anchor for those that a vendor had lowered by them already.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from quantmatrix_pipeline.bars.adjustment import SplitTable, Steps, as_quoted, pack, to_raw
from quantmatrix_pipeline.bars.batch import Dates, Floats, Ints

_DAY = np.timedelta64(1, "D")


class Convention(StrEnum):
    """Which close a dividend is measured by."""

    PREVIOUS_CLOSE = "previous_close"
    EX_CLOSE = "ex_close"


@dataclass(frozen=True, slots=True)
class CashDividends:
    """Dividends of many instruments, in any order; several of one instrument and ex-date add up.

    Attributes
    ----------
    instrument_index
        Shape (m,), >= 0.
    ex_date
        Shape (m,), datetime64[D]: the first day on which a buyer does not get it.
    amount
        Shape (m,): cash per share held at the close before, in the currency of the prices.
    """

    instrument_index: Ints
    ex_date: Dates
    amount: Floats

    @classmethod
    def none(cls) -> CashDividends:
        return cls(np.empty(0, np.int32), np.empty(0, "datetime64[D]"), np.empty(0))


@dataclass(frozen=True, slots=True)
class RefusedDividend:
    """A dividend that would have turned prices to nothing or below: not paid out of this price, whatever it is."""

    instrument_index: int
    ex_date: date
    amount: float
    close: float  # the close before, as traded

    def __str__(self) -> str:
        return (
            f"dividend of {self.amount:g} on {self.ex_date} is left out: 1 - {self.amount:g} / {self.close:g} is no"
            " factor; its amount, currency or ex-date is wrong"
        )


class DividendTable(Steps):
    """V(t) of many instruments."""

    __slots__ = ()

    @classmethod
    def build(
        cls,
        dividends: CashDividends,
        instrument_index: Ints,
        session: Dates,
        forward_close: Floats,
        splits: SplitTable,
        convention: Convention,
    ) -> tuple[DividendTable, list[RefusedDividend]]:
        """Build the steps from dividends and the closes that they are measured by.

        Parameters
        ----------
        instrument_index, session
            Shape (n,), ascending by both: the bars at hand.
        forward_close
            Shape (n,): their closes in the unit of the instruments' first days.
        splits
            Of the same instruments.

        Returns
        -------
        The steps, and what was refused for a factor of zero or less. A dividend before an instrument's first bar moves
        no price and makes no step; likewise one after its last bar where the convention needs the close behind it.
        """
        own, day, amount = _per_day(dividends)
        if not len(own) or not len(session):
            return cls.none(), []
        forward = amount * splits.unit(own, day - _DAY)
        keys = pack(instrument_index, session)
        behind = np.searchsorted(keys, pack(own, day))  # the first bar from the ex-date on
        before = behind - 1
        usable = (before >= 0) & (instrument_index[np.maximum(before, 0)] == own)
        if convention is Convention.EX_CLOSE:
            at = np.minimum(behind, len(session) - 1)
            usable &= (behind < len(session)) & (instrument_index[at] == own)
            growth = 1 + forward / forward_close[at]
            refused: list[RefusedDividend] = []
        else:
            factor = 1 - forward / forward_close[np.maximum(before, 0)]
            refused = [
                RefusedDividend(
                    int(own[k]),
                    day[k].item(),
                    float(amount[k]),
                    float(forward_close[before[k]] / splits.unit(own[k], day[k] - _DAY)),
                )
                for k in np.flatnonzero(usable & (factor <= 0))
            ]
            usable &= factor > 0
            growth = 1 / np.where(usable, factor, 1.0)
        kept = np.flatnonzero(usable)
        return cls(pack(own[kept], day[kept]), _products(own[kept], growth[kept])), refused


def _per_day(dividends: CashDividends) -> tuple[Ints, Dates, Floats]:
    """Return instrument, ex-date and amount, ascending, one row per instrument and day."""
    keys = pack(dividends.instrument_index, dividends.ex_date)
    _, first, place = np.unique(keys, return_index=True, return_inverse=True)
    amount: Floats = np.bincount(place, weights=dividends.amount, minlength=len(first)).astype(np.float64)
    return dividends.instrument_index[first], dividends.ex_date[first], amount


def _products(own: Ints, growth: Floats) -> Floats:
    """Return the running product of each instrument's growth, oldest first, one after the other."""
    result = growth.copy()
    for k in range(1, len(result)):
        if own[k] == own[k - 1]:
            result[k] *= result[k - 1]
    return result


def undo_dividends(
    price: npt.NDArray[np.float64],
    volume: Floats,
    session: Dates,
    basis_date: np.datetime64,
    splits: SplitTable,
    dividends: Sequence[tuple[np.datetime64, float]],
    convention: Convention,
) -> tuple[Floats, Floats]:
    """Undo a source's adjustment of one instrument for splits and dividends with its own splits and dividends.

    From the newest to the oldest each dividend's factor follows from adjusted prices alone: with the product G of the
    factors behind it known, the adjusted close before the ex-date is (C(t-1) - d) G, or the one on it C(t) G.

    Parameters
    ----------
    price
        Shape (4, n): open, high, low and close, adjusted for all actions up to `basis_date`; ascending by session.
    volume
        Shape (n,): adjusted for splits, as everybody does, but not for dividends.
    splits
        The source's splits of instrument 0, complete between the first session and `basis_date`.
    dividends
        (ex-date, amount) likewise.

    Returns
    -------
    Price and volume as traded.

    Raises
    ------
    ValueError
        Two bars on one day: which of them a dividend is measured by is not known.
    """
    if (session[1:] <= session[:-1]).any():
        raise ValueError("sessions must ascend, one bar each")
    own = np.zeros(len(session), np.int32)
    lowered, shares = to_raw(price, volume, own, session, basis_date, splits)
    unit = splits.unit(own, session)
    _, days, amounts = _per_day(
        CashDividends(
            np.zeros(len(dividends), np.int32),
            np.array([day for day, _ in dividends], "datetime64[D]"),
            np.array([amount for _, amount in dividends], np.float64),
        )
    )
    forward = amounts * splits.unit(np.zeros(len(days), np.int32), days - _DAY)
    growth, later = np.ones(len(session)), 1.0
    for day, cash in zip(days[::-1], forward[::-1], strict=True):
        behind = int(np.searchsorted(session, day))
        if day > basis_date or behind == 0 or (convention is Convention.EX_CLOSE and behind == len(session)):
            continue
        if convention is Convention.PREVIOUS_CLOSE:
            lowered_close = lowered[3, behind - 1] * unit[behind - 1] * later  # by this dividend alone
            later *= 1 + cash / lowered_close
        else:
            later *= 1 + cash / (lowered[3, behind] * unit[behind] * later)
        growth[:behind] = later
    moved = growth != 1
    return np.where(moved, as_quoted(lowered * growth), lowered), shares
