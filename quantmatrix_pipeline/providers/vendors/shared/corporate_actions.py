"""Splits and dividends out of vendors' numbers, and prices with an adjustment for splits undone."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from fractions import Fraction

import numpy as np

from quantmatrix_pipeline.bars.adjustment import SplitTable, to_raw
from quantmatrix_pipeline.bars.batch import BarBatch, Basis
from quantmatrix_pipeline.errors import MalformedResponse, UnsupportedRequest
from quantmatrix_pipeline.providers.answers import DailyAnswer, Dividend, Split
from quantmatrix_pipeline.providers.contract import BarRequest
from quantmatrix_pipeline.providers.transport.calls import Answer, Call
from quantmatrix_pipeline.providers.transport.kept_for import NEW_YORK
from quantmatrix_pipeline.providers.vendors.shared.held_bars import HeldBars

_LEAST, _MOST = 1e-6, 1e6  # shares on either side of a split


def split_of(vendor: str, call: Call, ex_date: date, new: float, old: float) -> Split:
    """Return the split of `new` shares for `old` ones.

    Numbers are taken as their decimal text, so that 1.05 for 1 is 21/20.

    Raises
    ------
    MalformedResponse
        If either is no number of shares.
    """
    if not (_LEAST < new < _MOST and _LEAST < old < _MOST):
        what = f"{call.endpoint}: a split of {ex_date} into {new} for {old}"
        raise MalformedResponse(vendor, what, symbol=call.symbol)
    return Split(call.symbol or "", ex_date, Fraction(str(new)) / Fraction(str(old)))


def dividend_of(vendor: str, call: Call, ex_date: date, amount: float, currency: str | None) -> Dividend:
    """Return a dividend; one without a currency is in US dollars.

    Raises
    ------
    MalformedResponse
        If it is no amount.
    """
    if not (amount > 0 and np.isfinite(amount)):
        what = f"{call.endpoint}: a dividend of {ex_date} over {amount}"
        raise MalformedResponse(vendor, what, symbol=call.symbol)
    return Dividend(call.symbol or "", ex_date, amount, (currency or "USD").upper())


def named(vendor: str, symbol: str | None) -> str:
    """Return the symbol that actions are asked of.

    Raises
    ------
    UnsupportedRequest
        If those of the whole market are.
    """
    if symbol is None:
        raise UnsupportedRequest(vendor, "has no splits or dividends of the whole market", symbol="the whole market")
    return symbol


def today(answer: Answer) -> date:
    """Return the day of New York on which an answer came."""
    return answer.learned_at.astimezone(NEW_YORK).date()


def as_traded(
    vendor: str, request: BarRequest, bars: BarBatch, splits: Sequence[Split] | None, learned_at: datetime
) -> DailyAnswer:
    """Return one symbol's bars on the sessions asked for: as traded where the splits are known, else adjusted.

    Parameters
    ----------
    bars
        Adjusted for all splits up to the day of New York on which they came.
    splits
        All since the first session asked for; older ones do no harm. None where the plan does not give them.
    learned_at
        When the bars came.
    """
    batch = HeldBars(bars).serve([request], weekends=False)
    silent = () if len(batch) else (request.symbol,)
    day = learned_at.astimezone(NEW_YORK).date()
    if splits is None:
        return DailyAnswer(vendor, Basis.SPLIT, day, batch, silent=silent, learned_at=learned_at)
    contained = [s for s in splits if s.ex_date <= day]
    table = SplitTable.build(
        [0] * len(contained), np.array([s.ex_date for s in contained], "datetime64[D]"), [s.ratio for s in contained]
    )
    adjusted = np.stack([batch.open, batch.high, batch.low, batch.close])
    until = np.datetime64(day, "D")
    price, volume = to_raw(adjusted, batch.volume, batch.symbol_index, batch.session, until, table)
    return DailyAnswer(
        vendor,
        Basis.RAW,
        None,
        BarBatch(batch.symbols, batch.symbol_index, batch.session, price[0], price[1], price[2], price[3], volume),
        splits=tuple(s for s in contained if s.ex_date >= request.first),
        silent=silent,
        learned_at=learned_at,
    )
