"""Splits and dividends out of vendors' numbers, and prices with an adjustment for splits undone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import date, datetime
from fractions import Fraction

import numpy as np

from quantmatrix_pipeline.bars.adjustment import SplitTable, to_raw
from quantmatrix_pipeline.bars.batch import BarBatch, Basis
from quantmatrix_pipeline.errors import MalformedResponse, UnsupportedRequest
from quantmatrix_pipeline.providers.answers import ActionsAnswer, DailyAnswer, Dividend, Split
from quantmatrix_pipeline.providers.contract import BarRequest
from quantmatrix_pipeline.providers.transport.calls import Call
from quantmatrix_pipeline.providers.transport.kept_for import NEW_YORK, keep_until_close, keep_until_midnight
from quantmatrix_pipeline.providers.vendors.shared.market_hours import day_in_new_york
from quantmatrix_pipeline.providers.vendors.shared.served_bars import serve_daily

_LEAST, _MOST = 1e-6, 1e6  # shares on either side of a split


def ratio_of(new: float, old: float) -> Fraction | None:
    """Return the ratio of a split into `new` shares for `old` ones, None where either is no number of shares.

    Numbers are taken as their decimal text, so that 1.05 for 1 is 21/20.
    """
    if not (_LEAST < new < _MOST and _LEAST < old < _MOST):
        return None
    return Fraction(str(new)) / Fraction(str(old))


def is_amount(cash: float) -> bool:
    """Return whether a dividend can be of so much."""
    return cash > 0 and bool(np.isfinite(cash))


def split_of(vendor: str, call: Call, ex_date: date, new: float, old: float) -> Split:
    """Return the split of `new` shares for `old` ones, of the symbol that `call` names.

    Raises
    ------
    MalformedResponse
        If either is no number of shares.
    """
    ratio = ratio_of(new, old)
    if ratio is None:
        what = f"{call.endpoint}: a split of {ex_date} into {new} for {old}"
        raise MalformedResponse(vendor, what, symbol=call.symbol)
    return Split(call.symbol or "", ex_date, ratio)


def dividend_of(vendor: str, call: Call, ex_date: date, amount: float, currency: str | None) -> Dividend:
    """Return a dividend of the symbol that `call` names; one without a currency is in US dollars.

    Raises
    ------
    MalformedResponse
        If it is no amount.
    """
    if not is_amount(amount):
        what = f"{call.endpoint}: a dividend of {ex_date} over {amount}"
        raise MalformedResponse(vendor, what, symbol=call.symbol)
    return Dividend(call.symbol or "", ex_date, amount, (currency or "USD").upper())


def serve_splits(vendor: str, symbol: str | None, first: date, last: date, found: Iterable[Split]) -> ActionsAnswer:
    """Return those of the splits found whose ex-dates are in [first, last], both inclusive."""
    return ActionsAnswer(vendor, symbol, first, last, splits=tuple(s for s in found if first <= s.ex_date <= last))


def serve_dividends(
    vendor: str, symbol: str | None, first: date, last: date, found: Iterable[Dividend]
) -> ActionsAnswer:
    """Return those of the dividends found whose ex-dates are in [first, last], both inclusive."""
    return ActionsAnswer(vendor, symbol, first, last, dividends=tuple(d for d in found if first <= d.ex_date <= last))


def named(vendor: str, symbol: str | None) -> str:
    """Return the symbol that actions are asked of.

    Raises
    ------
    UnsupportedRequest
        If those of the whole market are; names it, or the error would say that there are no actions of any symbol.
    """
    if symbol is None:
        raise UnsupportedRequest(vendor, "has no splits or dividends of the whole market", symbol="the whole market")
    return symbol


def keep_actions(now: datetime) -> float:
    """Return the seconds for which actions are kept.

    That is to the end of New York's day at most, so that no price is undone with the splits of an earlier day.
    """
    return min(keep_until_close(now), keep_until_midnight(now, NEW_YORK))


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
    day = day_in_new_york(learned_at)
    answer = serve_daily(vendor, request, bars, learned_at, adjusted_until=day)
    if splits is None:
        return answer
    contained = [s for s in splits if s.ex_date <= day]
    table = SplitTable.build(
        [0] * len(contained), np.array([s.ex_date for s in contained], "datetime64[D]"), [s.ratio for s in contained]
    )
    batch = answer.bars
    adjusted = np.stack([batch.open, batch.high, batch.low, batch.close])
    until = np.datetime64(day, "D")
    price, volume = to_raw(adjusted, batch.volume, batch.symbol_index, batch.session, until, table)
    return replace(
        answer,
        basis=Basis.RAW,
        basis_date=None,
        bars=BarBatch(batch.symbols, batch.symbol_index, batch.session, price[0], price[1], price[2], price[3], volume),
        splits=tuple(s for s in contained if s.ex_date >= request.first),
        splits_told={request.symbol: (request.first, day)},
    )
