"""What Yahoo answers when asked for a chart: a symbol's bars of days or minutes, with its splits and dividends.

Charts are adjusted for every split until today and carry the splits and dividends of their window; where the window
reaches to today, they become what was traded. Stamps are seconds since 1970, so that no clock change is ambiguous.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec
import numpy as np
import numpy.typing as npt
import pandas as pd

from quantmatrix_pipeline.bars.adjustment import SplitTable, to_raw
from quantmatrix_pipeline.bars.batch import Bools, Dates, Floats
from quantmatrix_pipeline.errors import MalformedResponse
from quantmatrix_pipeline.providers.answers import DailyAnswer, Dividend, IntradayBars, Split
from quantmatrix_pipeline.providers.contract import BarRequest, IntradayRequest
from quantmatrix_pipeline.providers.symbols import to_vendor
from quantmatrix_pipeline.providers.transport.calls import Answer, Call
from quantmatrix_pipeline.providers.transport.kept_for import NEW_YORK
from quantmatrix_pipeline.providers.transport.reading import decode, one_symbol, same_symbol
from quantmatrix_pipeline.providers.vendors.shared import served_bars
from quantmatrix_pipeline.providers.vendors.shared.corporate_actions import split_of
from quantmatrix_pipeline.providers.vendors.shared.market_hours import SECONDS
from quantmatrix_pipeline.providers.vendors.yahoo_session import BEFORE_LISTING, VENDOR

_LATE_EVENING = np.timedelta64(2, "h")  # after a clock change some days are stamped an hour or two before midnight

Seconds = npt.NDArray[np.int64]


class _Theirs(msgspec.Struct, rename="camel"):
    """A shape with Yahoo's names."""


class _Stretch(_Theirs):
    start: int
    end: int


class _Trading(_Theirs):
    regular: _Stretch


class _Meta(_Theirs):
    symbol: str
    exchange_timezone_name: str
    currency: str | None = None
    instrument_type: str | None = None
    current_trading_period: _Trading | None = None
    trading_periods: list[list[_Stretch]] | None = None


class _Columns(_Theirs):
    open: list[float | None] | None = None
    high: list[float | None] | None = None
    low: list[float | None] | None = None
    close: list[float | None] | None = None
    volume: list[float | None] | None = None


class _Indicators(_Theirs):
    quote: list[_Columns]


class _Paid(_Theirs):
    date: int
    amount: float
    currency: str | None = None


class _Divided(_Theirs):
    date: int
    numerator: float
    denominator: float


class _Events(_Theirs):
    dividends: dict[str, _Paid] = {}
    splits: dict[str, _Divided] = {}


class _Chart(_Theirs):
    meta: _Meta
    indicators: _Indicators
    timestamp: list[int] | None = None
    events: _Events | None = None


class _Charts(_Theirs):
    result: list[_Chart] | None = None


class _ChartBody(_Theirs):
    chart: _Charts


@dataclass(frozen=True, slots=True)
class _Bars:
    """A chart's rows that have a price; shapes (n,), (4, n) and (n,), ascending."""

    at: Seconds
    prices: Floats
    volume: Floats


@dataclass(frozen=True, slots=True)
class _Traded:
    """A chart that reaches to today, with prices, volumes and dividends as they were."""

    session: Dates
    prices: Floats
    volume: Floats
    splits: tuple[Split, ...]
    dividends: tuple[Dividend, ...]


def read_daily(call: Call, request: BarRequest, answer: Answer) -> DailyAnswer:
    """Transform a chart that reaches to today into raw bars on the sessions asked for.

    A session that had not closed when the answer came has no bar; a null stays NaN where other prices of the row are
    given. Splits and dividends are those since the day before the first session.

    Raises
    ------
    MalformedResponse
        If it is no chart of this symbol.
    """
    traded = _read_traded(call, answer)
    columns = (*traded.prices, traded.volume)
    bars = one_symbol(request.symbol, traded.session, columns)
    served = served_bars.serve_daily(VENDOR, request, bars, answer.learned_at)
    return replace(served, splits=traded.splits, dividends=traded.dividends)


def read_actions(call: Call, answer: Answer) -> tuple[tuple[Split, ...], tuple[Dividend, ...]]:
    """Transform a chart that reaches to today into its splits and its dividends in shares of their own days."""
    traded = _read_traded(call, answer)
    return traded.splits, traded.dividends


def read_intraday(call: Call, request: IntradayRequest, answer: Answer) -> IntradayBars:
    """Transform an intraday chart into the bars that open in [start, end) and have closed, in regular hours.

    Prices stay split-adjusted as of the answer's day: the splits after the window are not in it.

    Raises
    ------
    MalformedResponse
        If it is no chart of this symbol, or its bars don't ascend.
    """
    chart = _read_chart(call, answer)
    adjusted_until = answer.learned_at.astimezone(NEW_YORK if chart is None else _zone(call, chart)).date()
    bars = _Bars(np.empty(0, np.int64), np.empty((4, 0)), np.empty(0)) if chart is None else _read_bars(call, chart)
    # The live price comes as a bar of its own, stamped with the second at which it was made.
    keep = bars.at % SECONDS[request.interval] == 0
    if chart is not None:
        keep &= _in_regular_hours(chart, bars.at)
    opened_at, columns = bars.at[keep].astype("datetime64[s]"), (*bars.prices[:, keep], bars.volume[keep])
    served = served_bars.serve_intraday(
        VENDOR, request, opened_at, columns, answer.learned_at, adjusted_until=adjusted_until
    )
    if np.any(np.diff(served.opened_at) <= np.timedelta64(0, "s")):
        raise MalformedResponse(VENDOR, f"{call.endpoint}: two bars open at the same time", symbol=call.symbol)
    return served


def serve_intraday(parts: Sequence[IntradayBars]) -> IntradayBars:
    """Return the bars of consecutive windows of one question as one answer."""
    first = parts[0]
    columns = {
        name: np.concatenate([getattr(part, name) for part in parts])
        for name in ("opened_at", "open", "high", "low", "close", "volume")
    }
    return IntradayBars(
        first.vendor,
        first.symbol,
        first.interval,
        first.basis,
        first.basis_date,
        learned_at=parts[-1].learned_at,
        **columns,
    )


def _read_traded(call: Call, answer: Answer) -> _Traded:
    chart = _read_chart(call, answer)
    if chart is None:
        return _Traded(np.empty(0, "datetime64[D]"), np.empty((4, 0)), np.empty(0), (), ())
    symbol, zone = call.symbol or "", _zone(call, chart)
    bars = _read_bars(call, chart)
    session = _days(bars.at, zone)
    keep = _closed(chart, bars.at, answer.learned_at)
    if len(session) > 1 and session[-1] == session[-2]:
        keep[-2] = False  # the same day twice: the last row is the later one, with the volume of the whole day
    session, prices, volume = session[keep], bars.prices[:, keep], bars.volume[keep]

    events = chart.events or _Events()
    divided = sorted(events.splits.values(), key=lambda event: event.date)
    split_on = _days(np.array([event.date for event in divided], np.int64), zone)
    splits = tuple(
        split_of(VENDOR, call, day, event.numerator, event.denominator)
        for day, event in zip(split_on.tolist(), divided, strict=True)
    )
    paid = sorted(events.dividends.values(), key=lambda event: event.date)
    paid_on = _days(np.array([event.date for event in paid], np.int64), zone)
    amount = np.array([event.amount for event in paid], np.float64)

    if len(session) or len(paid_on):
        table = SplitTable.build([0] * len(splits), split_on, [split.ratio for split in splits])
        last = np.concatenate([session, split_on, paid_on]).max()
        prices, volume = to_raw(prices, volume, np.zeros(len(session), np.int32), session, last, table)
        amount, _ = to_raw(amount, amount, np.zeros(len(paid_on), np.int32), paid_on, last, table)  # adjusted alike
    currency = chart.meta.currency or "USD"
    return _Traded(
        session,
        prices,
        volume,
        splits,
        tuple(
            Dividend(symbol, day, cash, event.currency or currency)
            for day, cash, event in zip(paid_on.tolist(), amount.tolist(), paid, strict=True)
        ),
    )


def _read_chart(call: Call, answer: Answer) -> _Chart | None:
    """Return the chart; None where the window ends before the first trade."""
    charts = decode(VENDOR, call, answer, _ChartBody).chart
    if not charts.result:
        if BEFORE_LISTING in answer.content:
            return None
        raise MalformedResponse(VENDOR, f"{call.endpoint}: neither a chart nor an error", symbol=call.symbol)
    chart = charts.result[0]
    same_symbol(VENDOR, call, to_vendor(VENDOR, call.symbol or ""), chart.meta.symbol)
    return chart


def _read_bars(call: Call, chart: _Chart) -> _Bars:
    at = np.array(chart.timestamp or [], np.int64)
    quote = chart.indicators.quote[0] if chart.indicators.quote else _Columns()
    rows = []
    for name in ("open", "high", "low", "close", "volume"):
        column = np.array(getattr(quote, name) or [], np.float64)  # a null becomes NaN
        if len(column) != len(at) or np.any(np.isinf(column)):
            what = f"{call.endpoint}: {len(at)} stamps, {len(column)} values of {name}, or one of them infinite"
            raise MalformedResponse(VENDOR, what, symbol=call.symbol)
        rows.append(column)
    prices, volume = np.stack(rows[:4]), rows[4]
    traded = np.flatnonzero(~np.isnan(prices).all(axis=0))  # rows of nulls stand for times without trade
    order = traded[np.argsort(at[traded], kind="stable")]
    return _Bars(at[order], prices[:, order], volume[order])


def _zone(call: Call, chart: _Chart) -> ZoneInfo:
    name = chart.meta.exchange_timezone_name
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        raise MalformedResponse(VENDOR, f"{call.endpoint}: no time zone: {name!r}", symbol=call.symbol) from None


def _days(at: Seconds, zone: ZoneInfo) -> Dates:
    """Return the exchange's day of each stamp of a day, its open or its midnight."""
    there = pd.DatetimeIndex(at.astype("datetime64[s]")).tz_localize("UTC").tz_convert(zone).tz_localize(None)
    return (there.to_numpy() + _LATE_EVENING).astype("datetime64[D]")


def _closed(chart: _Chart, at: Seconds, learned_at: datetime) -> Bools:
    """Return which days had closed when the answer came: all, but for the one that is still traded."""
    trading = chart.meta.current_trading_period
    if trading is None or learned_at.timestamp() >= trading.regular.end:
        return np.ones(len(at), np.bool_)
    return at < trading.regular.start


def _in_regular_hours(chart: _Chart, at: Seconds) -> Bools:
    """Return which bars open in regular hours; Yahoo adds one at the close, and others around half days.

    Coins trade always, though their days are said to end a minute before midnight.
    """
    stretches = sorted((s.start, s.end) for day in chart.meta.trading_periods or [] for s in day)
    if not stretches or chart.meta.instrument_type == "CRYPTOCURRENCY":
        return np.ones(len(at), np.bool_)
    start, end = np.array(stretches).T
    place = np.searchsorted(start, at, side="right") - 1
    inside: Bools = (place >= 0) & (at < end[np.maximum(place, 0)])
    return inside
