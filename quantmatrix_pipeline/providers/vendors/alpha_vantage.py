"""Alpha Vantage: a hundred daily bars as traded, quotes, companies, splits and dividends; intraday bars in paid plans.

One path, told apart by `function`; every answer has status 200, and a refusal is a text under one of three names, which
only its words tell apart. Any key is accepted; one that is wrong is answered like one that is used up. Rows are objects
by date, newest first, all numbers as text, nothing as "None" or "-". Intraday times are New York wall time of the open;
only the regular session is asked for, and nothing trades in the hour that a year has twice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import partial
from http import HTTPStatus

import msgspec
import numpy as np

from quantmatrix_pipeline import clock
from quantmatrix_pipeline.bars.batch import BarBatch, Basis, Floats
from quantmatrix_pipeline.errors import (
    AuthFailed,
    MalformedResponse,
    QuotaExhausted,
    RateLimited,
    SymbolNotFound,
    UnsupportedRequest,
    VendorError,
)
from quantmatrix_pipeline.providers.answers import (
    ActionsAnswer,
    DailyAnswer,
    Instants,
    IntradayBars,
    Profile,
    Quote,
)
from quantmatrix_pipeline.providers.contract import BarRequest, Capability, IntradayRequest, Offer
from quantmatrix_pipeline.providers.symbols import to_vendor
from quantmatrix_pipeline.providers.transport.calls import Answer, Call
from quantmatrix_pipeline.providers.transport.kept_for import NEW_YORK, keep_until_close
from quantmatrix_pipeline.providers.transport.reading import (
    decode,
    finite,
    instants,
    one_symbol,
    same_symbol,
    sessions,
)
from quantmatrix_pipeline.providers.transport.vendor import Access, HttpVendor
from quantmatrix_pipeline.providers.vendors.shared.corporate_actions import dividend_of, named, split_of
from quantmatrix_pipeline.providers.vendors.shared.held_bars import HeldBars
from quantmatrix_pipeline.providers.vendors.shared.market_hours import closed_bars, closed_sessions

VENDOR = "alpha_vantage"
PATH = "/query"
MOST_ROWS = 100  # of daily bars; more (`outputsize=full`) is for paid plans
DAILY_REACH = 140  # calendar days: no more than a hundred sessions
BURST_PAUSE = 1.5  # seconds; one call a second is allowed
_MINUTE = 60.0
_DAY = 24 * 3600.0
_OPEN, _CLOSE = time(9, 30), time(16)
_ZONES = ("US/Eastern", "America/New_York")
_INTERVALS = {"1m": "1min", "5m": "5min"}
_NOTHING = ("None", "-", "")


class _Row(
    msgspec.Struct,
    gc=False,
    rename={"open": "1. open", "high": "2. high", "low": "3. low", "close": "4. close", "volume": "5. volume"},
):
    open: float
    high: float
    low: float
    close: float
    volume: float | None = None


class _DailyMeta(msgspec.Struct, rename={"symbol": "2. Symbol", "zone": "5. Time Zone"}):
    symbol: str
    zone: str


class _Daily(msgspec.Struct, rename={"meta": "Meta Data", "rows": "Time Series (Daily)"}):
    meta: _DailyMeta
    rows: dict[str, _Row]


class _IntradayMeta(msgspec.Struct, rename={"symbol": "2. Symbol", "interval": "4. Interval", "zone": "6. Time Zone"}):
    symbol: str
    interval: str
    zone: str


class _Intraday(
    msgspec.Struct, rename={"meta": "Meta Data", "by_1m": "Time Series (1min)", "by_5m": "Time Series (5min)"}
):
    meta: _IntradayMeta
    by_1m: dict[str, _Row] | None = None
    by_5m: dict[str, _Row] | None = None


class _GlobalQuote(
    msgspec.Struct,
    rename={
        "symbol": "01. symbol",
        "open": "02. open",
        "high": "03. high",
        "low": "04. low",
        "price": "05. price",
        "volume": "06. volume",
        "day": "07. latest trading day",
        "previous": "08. previous close",
    },
):
    symbol: str | None = None
    open: float | None = None
    high: float | None = None
    low: float | None = None
    price: float | None = None
    volume: float | None = None
    day: date | None = None
    previous: float | None = None


class _Quoted(msgspec.Struct, rename={"quote": "Global Quote"}):
    quote: _GlobalQuote


class _Overview(msgspec.Struct, rename="pascal"):
    symbol: str | None = None
    name: str | None = None
    exchange: str | None = None
    currency: str | None = None
    sector: str | None = None
    industry: str | None = None
    market_capitalization: str | None = None


class _SplitRow(msgspec.Struct):
    effective_date: date
    split_factor: float


class _Splits(msgspec.Struct):
    symbol: str
    data: list[_SplitRow]


class _DividendRow(msgspec.Struct):
    ex_dividend_date: date
    amount: float


class _Dividends(msgspec.Struct):
    symbol: str
    data: list[_DividendRow]


class _Said(
    msgspec.Struct, rename={"information": "Information", "note": "Note", "error": "Error Message"}, kw_only=True
):
    information: str = ""
    note: str = ""
    error: str = ""


@dataclass(frozen=True, slots=True)
class Month:
    """A month's intraday bars as they came, newest first; `columns` are open, high, low, close, volume."""

    opened_at: Instants
    columns: tuple[Floats, ...]
    learned_at: datetime


class AlphaVantage(HttpVendor):
    """Serves bars, quotes, companies, splits and dividends of shares and funds."""

    name = VENDOR

    async def daily_bars(self, requests: Sequence[BarRequest]) -> DailyAnswer:
        (request,) = requests
        call = daily_query(request.symbol, clock.now())
        return await self.http.ask(call, lambda answer: read_daily(call, request, answer))

    async def intraday_bars(self, request: IntradayRequest) -> IntradayBars:
        calls = intraday_queries(request, clock.now())
        return serve_intraday(request, [await self.http.ask(call, partial(read_month, call)) for call in calls])

    async def quotes(self, symbols: Sequence[str]) -> Sequence[Quote]:
        (symbol,) = symbols
        call = quote_query(symbol)
        return [await self.http.ask(call, lambda answer: read_quote(call, answer))]

    async def splits(self, symbol: str | None, first: date, last: date) -> ActionsAnswer:
        call = actions_query(Capability.SPLITS, named(VENDOR, symbol))
        return await self.http.ask(call, lambda answer: read_splits(call, first, last, answer))

    async def dividends(self, symbol: str | None, first: date, last: date) -> ActionsAnswer:
        call = actions_query(Capability.DIVIDENDS, named(VENDOR, symbol))
        return await self.http.ask(call, lambda answer: read_dividends(call, first, last, answer))

    async def profile(self, symbol: str) -> Profile:
        call = profile_query(symbol)
        return await self.http.ask(call, lambda answer: read_profile(call, answer))


def connect(access: Access) -> AlphaVantage:
    """Return Alpha Vantage as the settings reach it."""
    reach = DAILY_REACH if access.reach_days is None else min(access.reach_days, DAILY_REACH)
    intraday = Offer(reach_days=access.reach_days)
    return AlphaVantage(
        access.http(VENDOR, refusal, key_name="apikey"),
        {
            Capability.DAILY_BARS: Offer(reach_days=reach),
            Capability.BARS_5M: intraday,
            Capability.BARS_1M: intraday,
            Capability.QUOTES: Offer(),
            Capability.PROFILE: Offer(),
            Capability.SPLITS: Offer(),
            Capability.DIVIDENDS: Offer(),
        },
    )


# --- queries ----------------------------------------------------------------------------------------------------------


def _query(capability: Capability, function: str, symbol: str, keep: float, more: Mapping[str, str]) -> Call:
    params = {"function": function, "symbol": to_vendor(VENDOR, symbol), **more}
    return Call(capability, function, PATH, params, symbol=symbol, keep_seconds=keep)


def daily_query(symbol: str, now: datetime) -> Call:
    """Transform a question for daily bars: always for the newest hundred, there is no other range."""
    more = {"outputsize": "compact", "datatype": "json"}
    return _query(Capability.DAILY_BARS, "TIME_SERIES_DAILY", symbol, keep_until_close(now), more)


def intraday_queries(request: IntradayRequest, now: datetime) -> list[Call]:
    """Transform a question for intraday bars into one call per month of New York, ascending.

    They are asked for as traded, of the regular session only. A month not over yet is not kept.
    """
    capability = Capability.BARS_1M if request.interval == "1m" else Capability.BARS_5M
    day = request.start.astimezone(NEW_YORK).date().replace(day=1)
    last = (request.end - timedelta(seconds=1)).astimezone(NEW_YORK).date()
    this_month = now.astimezone(NEW_YORK).strftime("%Y-%m")
    calls = []
    while day <= last:
        month = day.strftime("%Y-%m")
        more = {
            "interval": _INTERVALS[request.interval],
            "adjusted": "false",
            "extended_hours": "false",
            "month": month,
            "outputsize": "full",
            "datatype": "json",
        }
        keep = keep_until_close(now) if month < this_month else 0.0
        calls.append(_query(capability, "TIME_SERIES_INTRADAY", request.symbol, keep, more))
        day = (day + timedelta(days=31)).replace(day=1)
    return calls


def quote_query(symbol: str) -> Call:
    """Transform a question for a quote."""
    return _query(Capability.QUOTES, "GLOBAL_QUOTE", symbol, 60.0, {})


def actions_query(capability: Capability, symbol: str) -> Call:
    """Transform a question for all splits or dividends of a symbol."""
    return _query(capability, "SPLITS" if capability is Capability.SPLITS else "DIVIDENDS", symbol, _DAY, {})


def profile_query(symbol: str) -> Call:
    """Transform a question for what a company is."""
    return _query(Capability.PROFILE, "OVERVIEW", symbol, _DAY, {})


# --- answers ----------------------------------------------------------------------------------------------------------


def read_daily(call: Call, request: BarRequest, answer: Answer) -> DailyAnswer:
    """Transform the newest hundred daily bars into those on the sessions asked for, as traded.

    Raises
    ------
    UnsupportedRequest
        If a session is asked for that is older than a full answer.
    SymbolNotFound
        If there is not one bar.
    MalformedResponse
        If it is not of the documented shape, another symbol's or time zone's, or holds a price or a date that is none.
    """
    body = decode(VENDOR, call, answer, _Daily)
    same_symbol(VENDOR, call, call.params["symbol"], body.meta.symbol)
    _in_new_york(call, body.meta.zone)
    if not body.rows:
        raise SymbolNotFound(VENDOR, "no daily bar at all: not known there", symbol=request.symbol)
    session = sessions(VENDOR, call, list(body.rows))
    columns = _columns(call, list(body.rows.values()))
    if len(session) >= MOST_ROWS and request.sessions[0] < session.min():
        what = f"its {len(session)} bars reach back to {session.min()} only, asked for {request.first}"
        raise UnsupportedRequest(VENDOR, what, symbol=request.symbol)
    closed = closed_sessions(session, answer.learned_at)
    batch = one_symbol(request.symbol, session[closed], [column[closed] for column in columns])
    bars = HeldBars(batch).serve([request], weekends=False)
    silent = () if len(bars) else (request.symbol,)
    return DailyAnswer(
        VENDOR, Basis.RAW, None, bars if len(bars) else BarBatch.empty(), silent=silent, learned_at=answer.learned_at
    )


def read_month(call: Call, answer: Answer) -> Month:
    """Transform a month of intraday bars.

    Raises
    ------
    MalformedResponse
        If it is not of the documented shape, another symbol's, interval's or time zone's, holds a price or a time that
        is none, or a bar outside of the regular session: then its times would not be those of the open.
    """
    body = decode(VENDOR, call, answer, _Intraday)
    same_symbol(VENDOR, call, call.params["symbol"], body.meta.symbol)
    _in_new_york(call, body.meta.zone)
    wanted = call.params["interval"]
    rows = body.by_1m if wanted == _INTERVALS["1m"] else body.by_5m
    if rows is None or body.meta.interval != wanted:
        what = f"{call.endpoint}: asked for {wanted}, answered with {body.meta.interval[:20]!r}"
        raise MalformedResponse(VENDOR, what, symbol=call.symbol)
    opened_at = instants(VENDOR, call, list(rows), NEW_YORK)
    for text in rows:
        if not _OPEN <= datetime.fromisoformat(text).time() < _CLOSE:
            what = f"{call.endpoint}: a bar at {text} is outside of the regular session, or stamped at its end"
            raise MalformedResponse(VENDOR, what, symbol=call.symbol)
    return Month(opened_at, _columns(call, list(rows.values())), answer.learned_at)


def serve_intraday(request: IntradayRequest, months: Sequence[Month]) -> IntradayBars:
    """Return the bars of all months that open in [start, end) and have closed, as traded.

    Raises
    ------
    SymbolNotFound
        If there is not one in any month.
    """
    opened_at, place = np.unique(np.concatenate([month.opened_at for month in months]), return_index=True)
    if not len(opened_at):
        what = f"no bar in the months from {request.start} to {request.end}"
        raise SymbolNotFound(VENDOR, what, symbol=request.symbol)
    learned_at = months[-1].learned_at
    start, end = (np.datetime64(at.astimezone(UTC).replace(tzinfo=None), "s") for at in (request.start, request.end))
    inside = (opened_at >= start) & (opened_at < end) & closed_bars(opened_at, request.interval, learned_at)
    columns = [np.concatenate(column)[place][inside] for column in zip(*(m.columns for m in months), strict=True)]
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
    """Transform a quote. It names its day only, so it is as of that day's 16:00 in New York, or of now where that is
    still to come.

    Raises
    ------
    SymbolNotFound
        If it is empty.
    MalformedResponse
        If it is not of the documented shape, another symbol's, or has no price or no day.
    """
    said = decode(VENDOR, call, answer, _Quoted).quote
    symbol = call.symbol or ""
    if said.symbol is None:
        raise SymbolNotFound(VENDOR, "an empty quote: not known there", symbol=symbol)
    same_symbol(VENDOR, call, call.params["symbol"], said.symbol)
    (price,) = finite(VENDOR, call, "05. price", [said.price])
    if said.day is None:
        raise MalformedResponse(VENDOR, f"{call.endpoint}: a price of no day", symbol=symbol)
    return Quote(
        VENDOR,
        symbol,
        float(price),
        min(datetime.combine(said.day, _CLOSE, NEW_YORK).astimezone(UTC), answer.learned_at),
        answer.learned_at,
        open=_positive(said.open),
        high=_positive(said.high),
        low=_positive(said.low),
        previous_close=_positive(said.previous),
        volume=said.volume if said.volume is not None and np.isfinite(said.volume) else None,
    )


def read_splits(call: Call, first: date, last: date, answer: Answer) -> ActionsAnswer:
    """Transform splits; a factor of 4 is 4-for-1.

    Raises
    ------
    MalformedResponse
        If it is not of the documented shape, another symbol's, or a split is none.
    """
    body = decode(VENDOR, call, answer, _Splits)
    same_symbol(VENDOR, call, call.params["symbol"], body.symbol)
    found = [split_of(VENDOR, call, row.effective_date, row.split_factor, 1.0) for row in body.data]
    return ActionsAnswer(VENDOR, call.symbol, first, last, splits=tuple(s for s in found if first <= s.ex_date <= last))


def read_dividends(call: Call, first: date, last: date, answer: Answer) -> ActionsAnswer:
    """Transform dividends, as they were declared.

    Raises
    ------
    MalformedResponse
        If it is not of the documented shape, another symbol's, or a dividend is none.
    """
    body = decode(VENDOR, call, answer, _Dividends)
    same_symbol(VENDOR, call, call.params["symbol"], body.symbol)
    found = [dividend_of(VENDOR, call, row.ex_dividend_date, row.amount, None) for row in body.data]
    return ActionsAnswer(
        VENDOR, call.symbol, first, last, dividends=tuple(d for d in found if first <= d.ex_date <= last)
    )


def read_profile(call: Call, answer: Answer) -> Profile:
    """Transform what a company is. Sectors that come in capitals are written like those that don't.

    Raises
    ------
    SymbolNotFound
        If there is nothing.
    MalformedResponse
        If it is not of the documented shape, another symbol's, or its market capitalisation is no number.
    """
    said = decode(VENDOR, call, answer, _Overview)
    symbol = call.symbol or ""
    if said.symbol is None:
        raise SymbolNotFound(VENDOR, "no overview: not known there", symbol=symbol)
    same_symbol(VENDOR, call, call.params["symbol"], said.symbol)
    market_cap = _told(said.market_capitalization)
    try:
        worth = float(market_cap) if market_cap is not None else None
    except ValueError:
        what = f"{call.endpoint}: a market capitalisation of {market_cap!r:.60}"
        raise MalformedResponse(VENDOR, what, symbol=symbol) from None
    return Profile(
        VENDOR,
        symbol,
        answer.learned_at,
        name=_told(said.name),
        exchange=_told(said.exchange),
        sector=_uncapitalised(_told(said.sector)),
        industry=_uncapitalised(_told(said.industry)),
        market_cap=_positive(worth),
        currency=_told(said.currency),
    )


def _columns(call: Call, rows: Sequence[_Row]) -> tuple[Floats, ...]:
    return (
        finite(VENDOR, call, "open", [row.open for row in rows]),
        finite(VENDOR, call, "high", [row.high for row in rows]),
        finite(VENDOR, call, "low", [row.low for row in rows]),
        finite(VENDOR, call, "close", [row.close for row in rows]),
        np.array([row.volume for row in rows], np.float64),
    )


def _in_new_york(call: Call, zone: str) -> None:
    if zone not in _ZONES:
        raise MalformedResponse(VENDOR, f"{call.endpoint}: times of {zone[:40]!r}", symbol=call.symbol)


def _told(text: str | None) -> str | None:
    return None if text is None or text.strip() in _NOTHING else text.strip()


def _uncapitalised(text: str | None) -> str | None:
    return text.title() if text is not None and text.isupper() else text


def _positive(value: float | None) -> float | None:
    return value if value is not None and np.isfinite(value) and value > 0 else None


def refusal(call: Call, answer: Answer) -> VendorError | None:
    """Return the error that an answer carries; only its words tell which.

    The order counts: what is said of one call a second also names the day's calls and the paid plans, what is said of
    the day's calls also the plans.
    """
    if answer.status >= HTTPStatus.BAD_REQUEST:
        return None
    try:
        said = msgspec.json.decode(answer.content, type=_Said)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
    text = " ".join((said.error or said.note or said.information).split())
    if not text:
        return None
    what = f"{call.endpoint}: {text[:300]}"
    lower = text.lower()
    if "apikey is invalid or missing" in lower:
        return AuthFailed(VENDOR, f"{what}; check ALPHA_VANTAGE_API_KEY")
    if "per second" in lower or "sparingly" in lower:
        return RateLimited(VENDOR, what, symbol=call.symbol, retry_after=BURST_PAUSE)
    if "per minute" in lower:
        return RateLimited(VENDOR, what, symbol=call.symbol, retry_after=_MINUTE)
    if "per day" in lower:
        more = "an ALPHA_VANTAGE_API_KEY that is not one is answered alike"
        return QuotaExhausted(VENDOR, f"{what} ({more})", symbol=call.symbol)
    if "premium" in lower:
        return UnsupportedRequest(VENDOR, f"{what} (the plan behind ALPHA_VANTAGE_API_KEY)")
    if "invalid api call" in lower:
        return SymbolNotFound(VENDOR, what, symbol=call.symbol)
    return MalformedResponse(VENDOR, what, symbol=call.symbol)
