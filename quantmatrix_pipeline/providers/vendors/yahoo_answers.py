"""What Yahoo answers, as values: its charts, quotes, company modules and option chains, and its ways of saying no.

Charts are adjusted for every split until today and carry the splits and dividends of their window; where the window
reaches to today, they become what was traded. Stamps are seconds since 1970, so that no clock change is ambiguous.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from fractions import Fraction
from http import HTTPStatus
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec
import numpy as np
import numpy.typing as npt
import pandas as pd

from quantmatrix_pipeline.bars.adjustment import SplitTable, to_raw
from quantmatrix_pipeline.bars.batch import BarBatch, Basis, Bools, Dates, Floats
from quantmatrix_pipeline.errors import (
    MalformedResponse,
    SymbolNotFound,
    UnsupportedRequest,
    VendorError,
    VendorUnavailable,
)
from quantmatrix_pipeline.providers.answers import (
    DailyAnswer,
    Dividend,
    IntradayBars,
    OptionChain,
    OptionContract,
    Profile,
    Quote,
    Right,
    Split,
)
from quantmatrix_pipeline.providers.contract import BarRequest, IntradayRequest
from quantmatrix_pipeline.providers.symbols import to_vendor
from quantmatrix_pipeline.providers.transport.calls import Answer, Call
from quantmatrix_pipeline.providers.transport.kept_for import NEW_YORK
from quantmatrix_pipeline.providers.transport.reading import decode, same_symbol
from quantmatrix_pipeline.providers.vendors.shared.held_bars import HeldBars
from quantmatrix_pipeline.providers.vendors.shared.market_hours import SECONDS, closed_bars
from quantmatrix_pipeline.providers.vendors.yahoo_session import BEFORE_LISTING, VENDOR

LONGEST_REFUSAL = 4096  # bytes; a chart need not be read twice to see that it is no refusal
_LATE_EVENING = np.timedelta64(2, "h")  # after a clock change some days are stamped an hour or two before midnight
_OUT_OF_REACH = ("not available for startTime", "must be within the last", "allowed to be fetched")

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


class _Error(_Theirs):
    code: str | None = None
    description: str | None = None


class _Charts(_Theirs):
    result: list[_Chart] | None = None
    error: _Error | None = None


class _ChartBody(_Theirs):
    chart: _Charts


class _Last(_Theirs):
    symbol: str
    regular_market_price: float | None = None
    regular_market_time: int | None = None
    regular_market_open: float | None = None
    regular_market_day_high: float | None = None
    regular_market_day_low: float | None = None
    regular_market_previous_close: float | None = None
    regular_market_volume: float | None = None
    bid: float | None = None
    ask: float | None = None
    market_cap: float | None = None
    currency: str | None = None


class _Lasts(_Theirs):
    result: list[_Last]


class _QuoteBody(_Theirs):
    quote_response: _Lasts


class _Company(_Theirs):
    sector: str | None = None
    industry: str | None = None


class _Listed(_Theirs):
    symbol: str | None = None
    long_name: str | None = None
    short_name: str | None = None
    exchange_name: str | None = None
    currency: str | None = None
    market_cap: float | None = None


class _Earnings(_Theirs):
    earnings_date: list[int] = []


class _Calendar(_Theirs):
    earnings: _Earnings | None = None


class _Modules(_Theirs):
    price: _Listed
    asset_profile: _Company | None = None
    calendar_events: _Calendar | None = None


class _Summaries(_Theirs):
    result: list[_Modules]


class _SummaryBody(_Theirs):
    quote_summary: _Summaries


class _Contract(_Theirs):
    contract_symbol: str
    strike: float
    expiration: int
    last_price: float | None = None
    bid: float | None = None
    ask: float | None = None
    volume: float | None = None
    open_interest: float | None = None
    implied_volatility: float | None = None


class _Expiry(_Theirs):
    calls: list[_Contract]
    puts: list[_Contract]


class _Underlying(_Theirs):
    regular_market_price: float | None = None


class _Chain(_Theirs):
    underlying_symbol: str
    expiration_dates: list[int]
    options: list[_Expiry]
    quote: _Underlying | None = None


class _Chains(_Theirs):
    result: list[_Chain]


class _ChainBody(_Theirs):
    option_chain: _Chains


class _Failed(_Theirs):
    error: _Error | None = None


# --- charts -----------------------------------------------------------------------------------------------------------


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
    index = np.zeros(len(traded.session), np.int32)
    batch = BarBatch((request.symbol,), index, traded.session, *columns)
    bars = HeldBars(batch).serve([request], weekends=False)
    return DailyAnswer(
        VENDOR,
        Basis.RAW,
        None,
        bars,
        splits=traded.splits,
        dividends=traded.dividends,
        silent=() if len(bars) else (request.symbol,),
        learned_at=answer.learned_at,
    )


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
    basis_date = answer.learned_at.astimezone(NEW_YORK if chart is None else _zone(call, chart)).date()
    bars = _Bars(np.empty(0, np.int64), np.empty((4, 0)), np.empty(0)) if chart is None else _read_bars(call, chart)
    keep = (bars.at >= request.start.timestamp()) & (bars.at < request.end.timestamp())
    # The live price comes as a bar of its own, stamped with the second at which it was made.
    keep &= bars.at % SECONDS[request.interval] == 0
    opened_at = bars.at.astype("datetime64[s]")
    keep &= closed_bars(opened_at, request.interval, answer.learned_at)
    if chart is not None:
        keep &= _in_regular_hours(chart, bars.at)
    if np.any(np.diff(bars.at[keep]) <= 0):
        raise MalformedResponse(VENDOR, f"{call.endpoint}: two bars open at the same time", symbol=call.symbol)
    opened, high, low, close = bars.prices[:, keep]
    return IntradayBars(
        vendor=VENDOR,
        symbol=request.symbol,
        interval=request.interval,
        basis=Basis.SPLIT,
        basis_date=basis_date,
        opened_at=opened_at[keep],
        open=opened,
        high=high,
        low=low,
        close=close,
        volume=bars.volume[keep],
        learned_at=answer.learned_at,
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
    ratios = [_ratio(call, event) for event in divided]
    paid = sorted(events.dividends.values(), key=lambda event: event.date)
    paid_on = _days(np.array([event.date for event in paid], np.int64), zone)
    amount = np.array([event.amount for event in paid], np.float64)

    if len(session) or len(paid_on):
        table = SplitTable.build([0] * len(ratios), split_on, ratios)
        last = np.concatenate([session, split_on, paid_on]).max()
        prices, volume = to_raw(prices, volume, np.zeros(len(session), np.int32), session, last, table)
        amount, _ = to_raw(amount, amount, np.zeros(len(paid_on), np.int32), paid_on, last, table)  # adjusted alike
    currency = chart.meta.currency or "USD"
    return _Traded(
        session,
        prices,
        volume,
        tuple(Split(symbol, day, ratio) for day, ratio in zip(split_on.tolist(), ratios, strict=True)),
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


def _ratio(call: Call, event: _Divided) -> Fraction:
    """Return new shares per old share, as announced."""
    if not (0 < event.numerator < np.inf and 0 < event.denominator < np.inf):
        what = f"{call.endpoint}: a split of {event.numerator} for {event.denominator}"
        raise MalformedResponse(VENDOR, what, symbol=call.symbol)
    return Fraction(str(event.numerator)) / Fraction(str(event.denominator))


# --- quotes, companies, options ---------------------------------------------------------------------------------------


def read_quotes(call: Call, symbols: Mapping[str, str], answer: Answer) -> list[Quote]:
    """Transform last prices; `symbols` are those asked for, theirs -> canonical.

    A symbol without a price, or without its time, is as one that is not known. A bid or ask of 0 is none.

    Raises
    ------
    MalformedResponse
        If it is not of that shape, or names a symbol that was not asked for.
    """
    quotes = []
    for last in decode(VENDOR, call, answer, _QuoteBody).quote_response.result:
        if last.symbol not in symbols:
            raise MalformedResponse(
                VENDOR, f"{call.endpoint}: asked for {', '.join(symbols)}, answered with {last.symbol}"
            )
        if last.regular_market_price is None or last.regular_market_time is None:
            continue
        quotes.append(
            Quote(
                VENDOR,
                symbols[last.symbol],
                last.regular_market_price,
                datetime.fromtimestamp(last.regular_market_time, UTC),
                answer.learned_at,
                open=last.regular_market_open,
                high=last.regular_market_day_high,
                low=last.regular_market_day_low,
                previous_close=last.regular_market_previous_close,
                volume=last.regular_market_volume,
                bid=last.bid or None,
                ask=last.ask or None,
                market_cap=last.market_cap,
                currency=last.currency or "USD",
            )
        )
    return quotes


def read_profile(call: Call, answer: Answer) -> Profile:
    """Transform a company's modules; the next earnings date is the first one from the answer's day on.

    Raises
    ------
    SymbolNotFound
        If there are none.
    MalformedResponse
        If they are not of that shape, or another company's.
    """
    found = decode(VENDOR, call, answer, _SummaryBody).quote_summary.result
    if not found:
        raise SymbolNotFound(VENDOR, "not known there", symbol=call.symbol)
    modules = found[0]
    listed, company = modules.price, modules.asset_profile or _Company()
    same_symbol(VENDOR, call, to_vendor(VENDOR, call.symbol or ""), listed.symbol)
    earnings = modules.calendar_events.earnings if modules.calendar_events else None
    today = answer.learned_at.astimezone(NEW_YORK).date()
    days = [datetime.fromtimestamp(at, NEW_YORK).date() for at in (earnings.earnings_date if earnings else [])]
    return Profile(
        VENDOR,
        call.symbol or "",
        answer.learned_at,
        name=listed.long_name or listed.short_name,
        exchange=listed.exchange_name,
        sector=company.sector or None,
        industry=company.industry or None,
        market_cap=listed.market_cap,
        currency=listed.currency,
        next_earnings=min((day for day in days if day >= today), default=None),
    )


def read_options(call: Call, expiry: date | None, answer: Answer) -> OptionChain:
    """Transform the options of one expiry.

    Raises
    ------
    SymbolNotFound
        If the underlying is not known.
    UnsupportedRequest
        If nothing expires on the day asked for; names the days on which something does.
    MalformedResponse
        If it is not of that shape, or another underlying's or day's.
    """
    found = decode(VENDOR, call, answer, _ChainBody).option_chain.result
    if not found:
        raise SymbolNotFound(VENDOR, "not known there", symbol=call.symbol)
    chain = found[0]
    same_symbol(VENDOR, call, to_vendor(VENDOR, call.symbol or ""), chain.underlying_symbol)
    days = [_utc_day(at) for at in chain.expiration_dates]
    if expiry is not None and expiry not in days:
        known = ", ".join(str(day) for day in days) or "none"
        raise UnsupportedRequest(VENDOR, f"no options expire on {expiry}; on these days: {known}", symbol=call.symbol)
    contracts = tuple(
        _contract(right, theirs)
        for listed in chain.options
        for right, side in ((Right.CALL, listed.calls), (Right.PUT, listed.puts))
        for theirs in side
    )
    other = {c.expiry for c in contracts} - {expiry}
    if expiry is not None and other:
        what = f"{call.endpoint}: asked for {expiry}, answered with {min(other)}"
        raise MalformedResponse(VENDOR, what, symbol=call.symbol)
    return OptionChain(
        VENDOR,
        call.symbol or "",
        answer.learned_at,
        contracts,
        underlying_price=chain.quote.regular_market_price if chain.quote else None,
    )


def _contract(right: Right, theirs: _Contract) -> OptionContract:
    return OptionContract(
        theirs.contract_symbol,
        right,
        _utc_day(theirs.expiration),
        theirs.strike,
        bid=theirs.bid,
        ask=theirs.ask,
        last=theirs.last_price,
        volume=theirs.volume,
        open_interest=theirs.open_interest,
        implied_volatility=theirs.implied_volatility,
    )


def _utc_day(at: int) -> date:
    return datetime.fromtimestamp(at, UTC).date()


# --- refusals ---------------------------------------------------------------------------------------------------------


def refusal(call: Call, answer: Answer) -> VendorError | None:
    """Return the error that an answer carries, in whichever of Yahoo's envelopes it comes."""
    if answer.status < HTTPStatus.BAD_REQUEST and len(answer.content) > LONGEST_REFUSAL:
        return None
    if b"Will be right back" in answer.content:
        return VendorUnavailable(VENDOR, f"{call.endpoint}: Yahoo Finance is down", symbol=call.symbol)
    error = _said(answer)
    if error is None:
        if answer.status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            return _no_entry(call, f"HTTP {answer.status}: {answer.text(160)}")
        return None
    code, text = error.code or "", error.description or ""
    if answer.content and BEFORE_LISTING in answer.content:
        return None
    if code == "Not Found":
        return SymbolNotFound(VENDOR, text or "not known there", symbol=call.symbol)
    if code == "Unauthorized":
        return _no_entry(call, text)
    if any(words in text for words in _OUT_OF_REACH):
        return UnsupportedRequest(VENDOR, text, symbol=call.symbol)
    if answer.status == HTTPStatus.TOO_MANY_REQUESTS or answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return None  # the status says it
    return MalformedResponse(VENDOR, f"{call.endpoint}: {code}: {text}", symbol=call.symbol)


def _no_entry(call: Call, text: str) -> MalformedResponse:
    # There is no key that could be wrong, and charts may be had where quotes are refused: no `AuthFailed`, which would
    # close all that Yahoo offers.
    what = f"{call.endpoint}: {text}; Yahoo takes none of yfinance's cookies: wait, or try a newer yfinance"
    return MalformedResponse(VENDOR, what, symbol=call.symbol)


def _said(answer: Answer) -> _Error | None:
    try:
        body = msgspec.json.decode(answer.content, type=dict[str, Any])
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
    for envelope in body.values():
        try:
            error = msgspec.convert(envelope, _Failed).error
        except msgspec.ValidationError:
            continue
        if error is not None:
            return error
    return None


def joined(parts: Sequence[IntradayBars]) -> IntradayBars:
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
