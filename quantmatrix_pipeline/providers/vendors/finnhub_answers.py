"""What Finnhub answers, as values: bars in columns, quotes, companies, splits, dividends, members, options."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime
from statistics import median

import msgspec
import numpy as np

from quantmatrix_pipeline.errors import MalformedResponse, SymbolNotFound, UnsupportedRequest
from quantmatrix_pipeline.providers.answers import (
    ActionsAnswer,
    ConstituentsAnswer,
    DailyAnswer,
    IntradayBars,
    Member,
    OptionChain,
    OptionContract,
    Profile,
    Quote,
    Right,
    Split,
)
from quantmatrix_pipeline.providers.contract import BarRequest, IntradayRequest
from quantmatrix_pipeline.providers.transport.calls import Answer, Call
from quantmatrix_pipeline.providers.transport.reading import UnixSeconds, decode, finite, positive, same_symbol
from quantmatrix_pipeline.providers.vendors.shared import served_bars
from quantmatrix_pipeline.providers.vendors.shared.corporate_actions import (
    as_traded,
    dividend_of,
    serve_dividends,
    serve_splits,
    split_of,
)
from quantmatrix_pipeline.providers.vendors.shared.index_members import serve_members
from quantmatrix_pipeline.providers.vendors.shared.market_hours import day_in_new_york
from quantmatrix_pipeline.providers.vendors.shared.served_bars import BarsPart, closed_daily_bars, no_bar, united

VENDOR = "finnhub"
_MILLION = 1e6
_PERCENT = 100.0
_FRACTIONS = 3.0  # a chain whose median implied volatility is below this is not in percent


class _Columns(msgspec.Struct, rename={"status": "s"}):
    status: str
    o: list[float | None] = []
    h: list[float | None] = []
    l: list[float | None] = []  # noqa: E741
    c: list[float | None] = []
    v: list[float | None] = []
    t: list[UnixSeconds] = []


class _Quote(msgspec.Struct, rename={"price": "c", "open": "o", "high": "h", "low": "l", "previous": "pc", "at": "t"}):
    price: float
    at: UnixSeconds
    open: float | None = None
    high: float | None = None
    low: float | None = None
    previous: float | None = None


class _Company(msgspec.Struct):
    ticker: str | None = None
    name: str | None = None
    exchange: str | None = None
    industry: str | None = msgspec.field(default=None, name="finnhubIndustry")
    millions: float | None = msgspec.field(default=None, name="marketCapitalization")
    currency: str | None = None


class _Earnings(msgspec.Struct):
    symbol: str
    date: date


class _Calendar(msgspec.Struct):
    days: list[_Earnings] = msgspec.field(name="earningsCalendar")


class _SplitRow(msgspec.Struct, rename="camel"):
    symbol: str
    date: date
    from_factor: float
    to_factor: float


class _DividendRow(msgspec.Struct):
    symbol: str
    date: date
    amount: float  # in shares of its time; `adjustedAmount` is in today's
    currency: str | None = None


class _Part(msgspec.Struct):
    symbol: str
    name: str | None = None


class _Members(msgspec.Struct):
    symbol: str
    constituents: list[str]
    parts: list[_Part] | None = msgspec.field(default=None, name="constituentsBreakdown")


class _Option(msgspec.Struct, rename="camel"):
    contract_name: str
    strike: float
    bid: float | None = None
    ask: float | None = None
    last_price: float | None = None
    volume: float | None = None
    open_interest: float | None = None
    implied_volatility: float | None = None  # percent a year


class _Sides(msgspec.Struct):
    calls: list[_Option] = msgspec.field(default_factory=list, name="CALL")
    puts: list[_Option] = msgspec.field(default_factory=list, name="PUT")


class _Expiry(msgspec.Struct, rename="camel"):
    expiration_date: date
    options: _Sides


class _Chain(msgspec.Struct, rename="camel"):
    code: str
    data: list[_Expiry]
    last_trade_price: float | None = None


def read_daily(call: Call, answer: Answer) -> BarsPart:
    """Transform bars; the answer does not say whose they are.

    Raises
    ------
    SymbolNotFound
        If there is not one: an unknown symbol is answered like a time without trade.
    MalformedResponse
        If it is not of the documented shape, its columns are not of one length, its times do not ascend, or a price is
        none.
    """
    part = read_intraday(call, answer)
    if not len(part):
        start, end = (datetime.fromtimestamp(int(call.params[name]), UTC) for name in ("from", "to"))
        raise no_bar(VENDOR, call.symbol, start, end)
    return part


def read_intraday(call: Call, answer: Answer) -> BarsPart:
    """Transform bars of a time in which there may be none.

    Raises
    ------
    MalformedResponse
        As `read_daily`.
    """
    body = decode(VENDOR, call, answer, _Columns)
    if body.status not in ("ok", "no_data"):
        raise MalformedResponse(VENDOR, f"{call.endpoint}: status {body.status[:60]!r}", symbol=call.symbol)
    given = [body.o, body.h, body.l, body.c, body.v]
    lengths = {len(body.t), *map(len, given)}
    if len(lengths) != 1 or (body.status == "ok") != bool(body.t):
        what = f"{call.endpoint}: status {body.status}, {len(body.t)} times and columns of {sorted(lengths)} values"
        raise MalformedResponse(VENDOR, what, symbol=call.symbol)
    at = np.array(body.t, np.int64)
    back = np.flatnonzero(np.diff(at) <= 0)
    if len(back):
        what = f"{call.endpoint}: bar {back[0] + 2} is not later than the one before it"
        raise MalformedResponse(VENDOR, what, symbol=call.symbol)
    prices = [finite(VENDOR, call, name, column) for name, column in zip("ohlc", given, strict=False)]
    return BarsPart(at.astype("datetime64[s]"), (*prices, np.array(body.v, np.float64)), answer.learned_at)


def serve_daily(call: Call, request: BarRequest, part: BarsPart, splits: Sequence[Split] | None) -> DailyAnswer:
    """Return the closed bars on the sessions asked for: as traded where the splits are known, else adjusted for splits.

    Wherever in New York's day the vendor stamps a session, from midnight to its close, that is the same day in UTC.

    Raises
    ------
    MalformedResponse
        If two bars are of one day.
    """
    session = part.opened_at.astype("datetime64[D]")
    twice = np.flatnonzero(np.diff(session) == np.timedelta64(0, "D"))
    if len(twice):
        raise MalformedResponse(VENDOR, f"{call.endpoint}: two bars of {session[twice[0]]}", symbol=call.symbol)
    bars = closed_daily_bars(request.symbol, session, part.columns, part.learned_at)
    return as_traded(VENDOR, request, bars, splits, part.learned_at)


def serve_intraday(request: IntradayRequest, months: Sequence[BarsPart]) -> IntradayBars:
    """Return the bars of all months that open in [start, end) and have closed, as traded.

    Raises
    ------
    SymbolNotFound
        If there is not one in any month: an unknown symbol is answered like a time without trade.
    """
    opened_at, columns = united(months)  # the end of a month is the start of the next
    if not len(opened_at):
        raise no_bar(VENDOR, request.symbol, request.start, request.end)
    return served_bars.serve_intraday(VENDOR, request, opened_at, columns, months[-1].learned_at)


def read_quote(call: Call, answer: Answer) -> Quote:
    """Transform a quote; the answer does not say whose it is.

    Raises
    ------
    SymbolNotFound
        If it is all zeros.
    MalformedResponse
        If it is not of the documented shape, or has no price or no time.
    """
    said = decode(VENDOR, call, answer, _Quote)
    symbol = call.symbol or ""
    finite(VENDOR, call, "c", [said.price])
    if said.price == 0 and said.at == 0:
        raise SymbolNotFound(VENDOR, "a quote of zeros: not known there", symbol=symbol)
    if said.price <= 0 or said.at == 0:
        what = f"{call.endpoint}: a price of {said.price} at {said.at} s"
        raise MalformedResponse(VENDOR, what, symbol=symbol)
    return Quote(
        VENDOR,
        symbol,
        said.price,
        datetime.fromtimestamp(said.at, UTC),
        answer.learned_at,
        open=positive(said.open),
        high=positive(said.high),
        low=positive(said.low),
        previous_close=positive(said.previous),
    )


def read_profile(call: Call, answer: Answer) -> Profile:
    """Transform what a company is; Finnhub's industries are its own, and there is no sector.

    Raises
    ------
    SymbolNotFound
        If there is nothing.
    MalformedResponse
        If it is not of the documented shape, or another symbol's.
    """
    said = decode(VENDOR, call, answer, _Company)
    symbol = call.symbol or ""
    if said.ticker is None:
        raise SymbolNotFound(VENDOR, "no profile: not known there", symbol=symbol)
    same_symbol(VENDOR, call, call.params["symbol"], said.ticker)
    millions = positive(said.millions)
    return Profile(
        VENDOR,
        symbol,
        answer.learned_at,
        name=said.name or None,
        exchange=said.exchange or None,
        industry=said.industry or None,
        market_cap=positive(millions * _MILLION) if millions else None,
        currency=said.currency or None,
    )


def read_earnings(call: Call, answer: Answer) -> date | None:
    """Return the next day on which the company will report, None where none is known.

    Raises
    ------
    MalformedResponse
        If it is not of the documented shape, or another symbol's.
    """
    said = decode(VENDOR, call, answer, _Calendar)
    for row in said.days:
        same_symbol(VENDOR, call, call.params["symbol"], row.symbol)
    return min((row.date for row in said.days if row.date >= day_in_new_york(answer.learned_at)), default=None)


def read_splits(call: Call, first: date, last: date, answer: Answer) -> ActionsAnswer:
    """Transform splits; from 1 to 4 is 4-for-1.

    Raises
    ------
    MalformedResponse
        If it is not of the documented shape, another symbol's, or a split is none.
    """
    found: dict[date, Split] = {}
    for row in decode(VENDOR, call, answer, list[_SplitRow]):
        same_symbol(VENDOR, call, call.params["symbol"], row.symbol)
        split = split_of(VENDOR, call, row.date, row.to_factor, row.from_factor)
        if found.setdefault(row.date, split) != split:
            what = f"{call.endpoint}: two splits of {row.date}, by {found[row.date].ratio} and by {split.ratio}"
            raise MalformedResponse(VENDOR, what, symbol=call.symbol)
    return serve_splits(VENDOR, call.symbol, first, last, found.values())


def read_dividends(call: Call, first: date, last: date, answer: Answer) -> ActionsAnswer:
    """Transform dividends, as they were paid per share of their time.

    Raises
    ------
    MalformedResponse
        If it is not of the documented shape, another symbol's, or a dividend is none.
    """
    found = []
    for row in decode(VENDOR, call, answer, list[_DividendRow]):
        same_symbol(VENDOR, call, call.params["symbol"], row.symbol)
        found.append(dividend_of(VENDOR, call, row.date, row.amount, row.currency))
    return serve_dividends(VENDOR, call.symbol, first, last, found)


def read_constituents(call: Call, index: str, answer: Answer) -> ConstituentsAnswer:
    """Transform the members of an index, as of the day of the answer in New York; names where the answer has them.

    Raises
    ------
    MalformedResponse
        If it is not of the documented shape, another index's, or can't be the index: too few, one twice, one that is
        no symbol.
    """
    body = decode(VENDOR, call, answer, _Members)
    same_symbol(VENDOR, call, call.params["symbol"], body.symbol)
    names = {part.symbol: part.name for part in body.parts or ()}
    members = [Member(theirs, names.get(theirs) or None) for theirs in body.constituents]
    return serve_members(VENDOR, call, index, day_in_new_york(answer.learned_at), members, "member")


def read_options(call: Call, expiry: date | None, answer: Answer) -> OptionChain:
    """Transform the options on a symbol: of one expiry, or of all where none is named.

    Raises
    ------
    SymbolNotFound
        If there is not one.
    UnsupportedRequest
        If none expires on the day asked for.
    MalformedResponse
        If it is not of the shape that its clients read, another symbol's, a strike is none, or the implied volatilities
        can't be in percent.
    """
    body = decode(VENDOR, call, answer, _Chain)
    symbol = call.symbol or ""
    same_symbol(VENDOR, call, call.params["symbol"], body.code)
    days = sorted(each.expiration_date for each in body.data)
    if not days:
        raise SymbolNotFound(VENDOR, "no options: not known there, or none are listed", symbol=symbol)
    if expiry is not None and expiry not in days:
        known = ", ".join(day.isoformat() for day in days[:12])
        raise UnsupportedRequest(VENDOR, f"no options expire on {expiry}; on these days: {known}", symbol=symbol)
    sides = [
        (each.expiration_date, right, option)
        for each in body.data
        for right, options in ((Right.CALL, each.options.calls), (Right.PUT, each.options.puts))
        for option in options
    ]
    finite(VENDOR, call, "strike", [option.strike for _, _, option in sides])
    volatilities = [iv for _, _, option in sides if (iv := positive(option.implied_volatility)) is not None]
    if volatilities and median(volatilities) < _FRACTIONS:
        what = f"{call.endpoint}: implied volatilities around {median(volatilities):.3f} can't be percent"
        raise MalformedResponse(VENDOR, what, symbol=symbol)
    contracts = tuple(_contract(day, right, o) for day, right, o in sides if expiry in (None, day))
    return OptionChain(VENDOR, symbol, answer.learned_at, contracts, underlying_price=positive(body.last_trade_price))


def _contract(expiry: date, right: Right, option: _Option) -> OptionContract:
    percent = positive(option.implied_volatility)
    return OptionContract(
        option.contract_name,
        right,
        expiry,
        option.strike,
        bid=_at_least_zero(option.bid),
        ask=_at_least_zero(option.ask),
        last=positive(option.last_price),
        volume=_at_least_zero(option.volume),
        open_interest=_at_least_zero(option.open_interest),
        implied_volatility=percent / _PERCENT if percent is not None else None,
    )


def _at_least_zero(value: float | None) -> float | None:
    return value if value is not None and np.isfinite(value) and value >= 0 else None
