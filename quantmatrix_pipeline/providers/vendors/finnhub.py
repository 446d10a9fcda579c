"""Finnhub: quotes and companies in every plan; bars, options, actions and members of indices in paid ones.

Bars are columns of numbers with times in seconds; daily ones come adjusted for splits, which the splits, one more call,
undo; intraday ones come as traded, a month at a time. A quote of zeros, or a company without anything, is one that is
not known. Market capitalisations are in millions. What the plan lacks is refused with 403.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from functools import partial
from http import HTTPStatus
from statistics import median
from types import MappingProxyType
from typing import Annotated

import msgspec
import numpy as np
import numpy.typing as npt

from quantmatrix_pipeline import clock
from quantmatrix_pipeline.bars.batch import Basis, Floats
from quantmatrix_pipeline.errors import (
    AuthFailed,
    MalformedResponse,
    RateLimited,
    SymbolNotFound,
    UnsupportedRequest,
    VendorError,
)
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
from quantmatrix_pipeline.providers.contract import BarRequest, Capability, IntradayRequest, Offer
from quantmatrix_pipeline.providers.symbols import from_vendor, to_vendor
from quantmatrix_pipeline.providers.transport.calls import Answer, Call
from quantmatrix_pipeline.providers.transport.http import Http, retry_after
from quantmatrix_pipeline.providers.transport.kept_for import NEW_YORK, keep_until_close, keep_until_midnight
from quantmatrix_pipeline.providers.transport.reading import decode, finite, one_symbol, same_symbol
from quantmatrix_pipeline.providers.transport.vendor import Access, HttpVendor
from quantmatrix_pipeline.providers.vendors.shared.corporate_actions import (
    as_traded,
    dividend_of,
    named,
    split_of,
    today,
)
from quantmatrix_pipeline.providers.vendors.shared.market_hours import closed_bars, closed_sessions

VENDOR = "finnhub"
EARNINGS_AHEAD = timedelta(days=120)  # a quarter, and some days for who is late
_MONTH = timedelta(days=30)  # the most of intraday bars that one call brings
_MARGIN = timedelta(days=10)  # over any holidays: a known symbol then has a bar, even if not on the day asked for
_DAY = 24 * 3600.0
_LONGEST_PAUSE = 3600.0  # seconds; a limit per minute that renews later than this is none
_MILLION = 1e6
_PERCENT = 100.0
_FRACTIONS = 3.0  # a chain whose median implied volatility is below this is not in percent
_RESOLUTIONS = {"1m": "1", "5m": "5"}
# In every plan: when these are refused, it is the symbol that the plan does not have.
_FREE = frozenset({Capability.QUOTES, Capability.PROFILE})


@dataclass(frozen=True, slots=True)
class _Index:
    symbol: str
    minimum: int  # fewer members than this is a broken answer, not a change of the index


INDICES: Mapping[str, _Index] = MappingProxyType(
    {"SP500": _Index("^GSPC", 490), "NASDAQ100": _Index("^NDX", 95), "DOW30": _Index("^DJI", 30)}
)

UnixSeconds = Annotated[int, msgspec.Meta(ge=0, lt=1 << 33)]  # up to the year 2242


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


class _Said(msgspec.Struct):
    error: str


@dataclass(frozen=True, slots=True)
class Candles:
    """Bars as they came, ascending; `columns` are open, high, low, close, volume, `at` seconds since 1970."""

    at: npt.NDArray[np.int64]
    columns: tuple[Floats, ...]
    learned_at: datetime


class Finnhub(HttpVendor):
    """Serves quotes, companies, bars, options, splits, dividends and members of indices.

    Parameters
    ----------
    http
        Its client.
    reach_days
        How many calendar days back the plan has bars; None: no limit.
    """

    name = VENDOR

    def __init__(self, http: Http, reach_days: int | None) -> None:
        intraday = Offer(reach_days=reach_days)
        super().__init__(
            http,
            {
                Capability.DAILY_BARS: Offer(calls=2, reach_days=reach_days),
                Capability.BARS_5M: intraday,
                Capability.BARS_1M: intraday,
                Capability.QUOTES: Offer(),
                Capability.OPTIONS_CHAIN: Offer(),
                Capability.CONSTITUENTS: Offer(),
                Capability.PROFILE: Offer(calls=2),
                Capability.SPLITS: Offer(),
                Capability.DIVIDENDS: Offer(),
            },
        )
        # Once the plan has said so, it is not asked again.
        self._splits_refused = False
        self._calendar_refused = False

    async def daily_bars(self, requests: Sequence[BarRequest]) -> DailyAnswer:
        (request,) = requests
        now = clock.now()
        call = daily_query(request, now)
        bars = await self.http.ask(call, lambda answer: read_candles(call, answer))
        splits: tuple[Split, ...] | None = None
        if not self._splits_refused:
            last = now.astimezone(NEW_YORK).date()
            try:
                splits = (await self.splits(request.symbol, request.first, last)).splits
            except UnsupportedRequest:
                self._splits_refused = True
        return serve_daily(call, request, bars, splits)

    async def intraday_bars(self, request: IntradayRequest) -> IntradayBars:
        calls = intraday_queries(request, clock.now())
        parts = [await self.http.ask(call, partial(read_month, call)) for call in calls]
        return serve_intraday(calls[0], request, parts)

    async def quotes(self, symbols: Sequence[str]) -> Sequence[Quote]:
        (symbol,) = symbols
        call = quote_query(symbol)
        return [await self.http.ask(call, lambda answer: read_quote(call, answer))]

    async def splits(self, symbol: str | None, first: date, last: date) -> ActionsAnswer:
        call = actions_query(Capability.SPLITS, named(VENDOR, symbol), first, last, clock.now())
        return await self.http.ask(call, lambda answer: read_splits(call, first, last, answer))

    async def dividends(self, symbol: str | None, first: date, last: date) -> ActionsAnswer:
        call = actions_query(Capability.DIVIDENDS, named(VENDOR, symbol), first, last, clock.now())
        return await self.http.ask(call, lambda answer: read_dividends(call, first, last, answer))

    async def profile(self, symbol: str) -> Profile:
        call = profile_query(symbol)
        profile = await self.http.ask(call, lambda answer: read_profile(call, answer))
        if self._calendar_refused:
            return profile
        earnings = earnings_query(symbol, clock.now())
        try:
            following = await self.http.ask(earnings, lambda answer: read_earnings(earnings, answer))
        except UnsupportedRequest:
            self._calendar_refused = True
            return profile
        return replace(profile, next_earnings=following)

    async def constituents(self, index: str, session: date) -> ConstituentsAnswer:
        if index not in INDICES:
            raise UnsupportedRequest(VENDOR, f"has the members of {', '.join(INDICES)} only", symbol=index)
        call = constituents_query(index)
        return await self.http.ask(call, lambda answer: read_constituents(call, index, answer))

    async def options_chain(self, symbol: str, expiry: date | None = None) -> OptionChain:
        call = options_query(symbol)
        return await self.http.ask(call, lambda answer: read_options(call, expiry, answer))


def connect(access: Access) -> Finnhub:
    """Return Finnhub as the settings reach it."""
    return Finnhub(access.http(VENDOR, refusal, key_name="token"), access.reach_days)


# --- queries ----------------------------------------------------------------------------------------------------------


def daily_query(request: BarRequest, now: datetime) -> Call:
    """Transform a question for daily bars; some days more are asked for, so that no bar at all means not known."""
    first = datetime.combine(request.first - _MARGIN, time(), UTC)
    end = datetime.combine(request.last + timedelta(days=1), time(), UTC)
    return _candles_query(Capability.DAILY_BARS, request.symbol, "D", first, end, keep_until_close(now))


def intraday_queries(request: IntradayRequest, now: datetime) -> list[Call]:
    """Transform a question for intraday bars into one call per month, ascending. A month not over yet is not kept."""
    capability = Capability.BARS_1M if request.interval == "1m" else Capability.BARS_5M
    calls = []
    start = request.start
    while start < request.end:
        end = min(start + _MONTH, request.end)
        keep = keep_until_close(now) if end < now else 0.0
        calls.append(_candles_query(capability, request.symbol, _RESOLUTIONS[request.interval], start, end, keep))
        start = end
    return calls


def _candles_query(
    capability: Capability, symbol: str, resolution: str, start: datetime, end: datetime, keep: float
) -> Call:
    return Call(
        capability,
        f"stock/candle/{resolution}",
        "/stock/candle",
        {
            "symbol": to_vendor(VENDOR, symbol),
            "resolution": resolution,
            "from": str(int(start.timestamp())),
            "to": str(int(end.timestamp())),
        },
        symbol=symbol,
        keep_seconds=keep,
    )


def quote_query(symbol: str) -> Call:
    """Transform a question for a quote."""
    params = {"symbol": to_vendor(VENDOR, symbol)}
    return Call(Capability.QUOTES, "quote", "/quote", params, symbol=symbol, keep_seconds=60.0)


def profile_query(symbol: str) -> Call:
    """Transform a question for what a company is."""
    params = {"symbol": to_vendor(VENDOR, symbol)}
    endpoint = "stock/profile2"
    return Call(Capability.PROFILE, endpoint, f"/{endpoint}", params, symbol=symbol, keep_seconds=_DAY)


def earnings_query(symbol: str, now: datetime) -> Call:
    """Transform a question for the days on which a company will report, from today on."""
    first = now.astimezone(NEW_YORK).date()
    params = {
        "symbol": to_vendor(VENDOR, symbol),
        "from": first.isoformat(),
        "to": (first + EARNINGS_AHEAD).isoformat(),
    }
    endpoint = "calendar/earnings"
    return Call(Capability.PROFILE, endpoint, f"/{endpoint}", params, symbol=symbol, keep_seconds=_DAY)


def actions_query(capability: Capability, symbol: str, first: date, last: date, now: datetime) -> Call:
    """Transform a question for the splits or dividends of [first, last], both inclusive.

    Kept to the end of New York's day at most, so that no price is undone with the splits of an earlier day.
    """
    endpoint = "stock/split" if capability is Capability.SPLITS else "stock/dividend"
    params = {"symbol": to_vendor(VENDOR, symbol), "from": first.isoformat(), "to": last.isoformat()}
    keep = min(keep_until_close(now), keep_until_midnight(now, NEW_YORK))
    return Call(capability, endpoint, f"/{endpoint}", params, symbol=symbol, keep_seconds=keep)


def constituents_query(index: str) -> Call:
    """Transform a question for the present members of an index."""
    params = {"symbol": INDICES[index].symbol}
    endpoint = "index/constituents"
    return Call(Capability.CONSTITUENTS, endpoint, f"/{endpoint}", params, symbol=index, keep_seconds=_DAY)


def options_query(symbol: str) -> Call:
    """Transform a question for all options on a symbol."""
    params = {"symbol": to_vendor(VENDOR, symbol)}
    endpoint = "stock/option-chain"
    return Call(Capability.OPTIONS_CHAIN, endpoint, f"/{endpoint}", params, symbol=symbol, keep_seconds=60.0)


# --- answers ----------------------------------------------------------------------------------------------------------


def read_candles(call: Call, answer: Answer) -> Candles:
    """Transform bars; the answer does not say whose they are.

    Raises
    ------
    SymbolNotFound
        If there is not one: an unknown symbol is answered like a time without trade.
    MalformedResponse
        If it is not of the documented shape, its columns are not of one length, its times do not ascend, or a price is
        none.
    """
    candles = read_month(call, answer)
    if not len(candles.at):
        start, end = (datetime.fromtimestamp(int(call.params[name]), UTC) for name in ("from", "to"))
        what = f"no bar from {start} to {end}: not known there, or not traded in that time"
        raise SymbolNotFound(VENDOR, what, symbol=call.symbol)
    return candles


def read_month(call: Call, answer: Answer) -> Candles:
    """Transform bars of a time in which there may be none.

    Raises
    ------
    MalformedResponse
        As `read_candles`.
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
    return Candles(at, (*prices, np.array(body.v, np.float64)), answer.learned_at)


def serve_daily(call: Call, request: BarRequest, candles: Candles, splits: Sequence[Split] | None) -> DailyAnswer:
    """Return the closed bars on the sessions asked for: as traded where the splits are known, else adjusted for splits.

    Wherever in New York's day the vendor stamps a session, from midnight to its close, that is the same day in UTC.

    Raises
    ------
    MalformedResponse
        If two bars are of one day.
    """
    session = candles.at.astype("datetime64[s]").astype("datetime64[D]")
    twice = np.flatnonzero(np.diff(session) == np.timedelta64(0, "D"))
    if len(twice):
        raise MalformedResponse(VENDOR, f"{call.endpoint}: two bars of {session[twice[0]]}", symbol=call.symbol)
    closed = closed_sessions(session, candles.learned_at)
    bars = one_symbol(request.symbol, session[closed], [column[closed] for column in candles.columns])
    return as_traded(VENDOR, request, bars, splits, candles.learned_at)


def serve_intraday(call: Call, request: IntradayRequest, parts: Sequence[Candles]) -> IntradayBars:
    """Return the bars of all months that open in [start, end) and have closed, as traded.

    Raises
    ------
    SymbolNotFound
        If there is not one in any month: an unknown symbol is answered like a time without trade.
    """
    at, place = np.unique(np.concatenate([part.at for part in parts]), return_index=True)  # an end is the next start
    if not len(at):
        what = f"no bar from {request.start} to {request.end}: not known there, or not traded in that time"
        raise SymbolNotFound(VENDOR, what, symbol=call.symbol)
    learned_at = parts[-1].learned_at
    opened_at = at.astype("datetime64[s]")
    inside = (at >= request.start.timestamp()) & (at < request.end.timestamp())
    inside &= closed_bars(opened_at, request.interval, learned_at)
    columns = [np.concatenate(column)[place][inside] for column in zip(*(p.columns for p in parts), strict=True)]
    opened, high, low, close, volume = columns
    return IntradayBars(
        vendor=VENDOR,
        symbol=request.symbol,
        interval=request.interval,
        basis=Basis.RAW,
        basis_date=None,
        opened_at=opened_at[inside],
        open=opened,
        high=high,
        low=low,
        close=close,
        volume=volume,
        learned_at=learned_at,
    )


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
        open=_positive(said.open),
        high=_positive(said.high),
        low=_positive(said.low),
        previous_close=_positive(said.previous),
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
    millions = _positive(said.millions)
    return Profile(
        VENDOR,
        symbol,
        answer.learned_at,
        name=said.name or None,
        exchange=said.exchange or None,
        industry=said.industry or None,
        market_cap=_positive(millions * _MILLION) if millions else None,
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
    return min((row.date for row in said.days if row.date >= today(answer)), default=None)


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
    return ActionsAnswer(
        VENDOR, call.symbol, first, last, splits=tuple(s for s in found.values() if first <= s.ex_date <= last)
    )


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
    return ActionsAnswer(
        VENDOR, call.symbol, first, last, dividends=tuple(d for d in found if first <= d.ex_date <= last)
    )


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
    members: dict[str, Member] = {}
    for number, theirs in enumerate(body.constituents, 1):
        try:
            symbol = from_vendor(VENDOR, theirs)
        except UnsupportedRequest as error:
            what = f"{call.endpoint}: member {number}: {theirs[:40]!r} is no symbol"
            raise MalformedResponse(VENDOR, what, symbol=index) from error
        if symbol in members:
            raise MalformedResponse(VENDOR, f"{call.endpoint}: {theirs!r} stands twice", symbol=index)
        members[symbol] = Member(symbol, names.get(theirs) or None)
    if len(members) < INDICES[index].minimum:
        what = f"{call.endpoint}: {len(members)} members, fewer than {INDICES[index].minimum}"
        raise MalformedResponse(VENDOR, what, symbol=index)
    return ConstituentsAnswer(VENDOR, index, today(answer), tuple(members.values()))


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
    volatilities = [iv for _, _, option in sides if (iv := _positive(option.implied_volatility)) is not None]
    if volatilities and median(volatilities) < _FRACTIONS:
        what = f"{call.endpoint}: implied volatilities around {median(volatilities):.3f} can't be percent"
        raise MalformedResponse(VENDOR, what, symbol=symbol)
    contracts = tuple(_contract(day, right, o) for day, right, o in sides if expiry in (None, day))
    return OptionChain(VENDOR, symbol, answer.learned_at, contracts, underlying_price=_positive(body.last_trade_price))


def _contract(expiry: date, right: Right, option: _Option) -> OptionContract:
    percent = _positive(option.implied_volatility)
    return OptionContract(
        option.contract_name,
        right,
        expiry,
        option.strike,
        bid=_at_least_zero(option.bid),
        ask=_at_least_zero(option.ask),
        last=_positive(option.last_price),
        volume=_at_least_zero(option.volume),
        open_interest=_at_least_zero(option.open_interest),
        implied_volatility=percent / _PERCENT if percent is not None else None,
    )


def _positive(value: float | None) -> float | None:
    return value if value is not None and np.isfinite(value) and value > 0 else None


def _at_least_zero(value: float | None) -> float | None:
    return value if value is not None and np.isfinite(value) and value >= 0 else None


def refusal(call: Call, answer: Answer) -> VendorError | None:
    """Return the error that an answer carries, whatever its status."""
    try:
        text = " ".join(msgspec.json.decode(answer.content, type=_Said).error.split())[:300]
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
    what = f"{call.endpoint}: {text}"
    if answer.status == HTTPStatus.TOO_MANY_REQUESTS or "API limit reached" in text:
        return RateLimited(VENDOR, text, symbol=call.symbol, retry_after=_pause(answer))
    if answer.status == HTTPStatus.UNAUTHORIZED or "API key" in text:
        return AuthFailed(VENDOR, f"{text}; check FINNHUB_API_KEY")
    if answer.status == HTTPStatus.FORBIDDEN or "have access to this resource" in text:
        symbol = call.symbol if call.capability in _FREE and call.endpoint != "calendar/earnings" else None
        return UnsupportedRequest(VENDOR, f"{what} (the plan behind FINNHUB_API_KEY)", symbol=symbol)
    if answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return None
    return MalformedResponse(VENDOR, what, symbol=call.symbol)


def _pause(answer: Answer) -> float | None:
    """Return the seconds to wait: as `Retry-After` says, or to the second at which the limit renews."""
    told = retry_after(answer)
    reset = answer.headers.get("x-ratelimit-reset", "")
    if told is None and reset.isdecimal():
        wait = int(reset) - answer.learned_at.timestamp()
        return wait if 0 < wait <= _LONGEST_PAUSE else None
    return told
