"""What Alpha Vantage answers, as values: rows of bars by date, quotes, companies, splits, dividends."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, time

import msgspec
import numpy as np

from quantmatrix_pipeline.bars.batch import Floats
from quantmatrix_pipeline.errors import MalformedResponse, SymbolNotFound, UnsupportedRequest
from quantmatrix_pipeline.providers.answers import ActionsAnswer, DailyAnswer, IntradayBars, Profile, Quote
from quantmatrix_pipeline.providers.contract import BarRequest, IntradayRequest
from quantmatrix_pipeline.providers.transport.calls import Answer, Call
from quantmatrix_pipeline.providers.transport.kept_for import NEW_YORK
from quantmatrix_pipeline.providers.transport.reading import (
    decode,
    finite,
    finite_or_none,
    instants,
    positive,
    prices,
    same_symbol,
    sessions,
)
from quantmatrix_pipeline.providers.vendors.shared import served_bars
from quantmatrix_pipeline.providers.vendors.shared.corporate_actions import (
    dividend_of,
    serve_dividends,
    serve_splits,
    split_of,
)
from quantmatrix_pipeline.providers.vendors.shared.served_bars import BarsPart, closed_daily_bars, united

VENDOR = "alpha_vantage"
MOST_ROWS = 100  # of daily bars; more (`outputsize=full`) is for paid plans
INTERVALS = {"1m": "1min", "5m": "5min"}
_OPEN, _CLOSE = time(9, 30), time(16)
_ZONES = ("US/Eastern", "America/New_York")
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
    bars = closed_daily_bars(request.symbol, session, columns, answer.learned_at)
    return served_bars.serve_daily(VENDOR, request, bars, answer.learned_at)


def read_intraday(call: Call, answer: Answer) -> BarsPart:
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
    rows = body.by_1m if wanted == INTERVALS["1m"] else body.by_5m
    if rows is None or body.meta.interval != wanted:
        what = f"{call.endpoint}: asked for {wanted}, answered with {body.meta.interval[:20]!r}"
        raise MalformedResponse(VENDOR, what, symbol=call.symbol)
    opened_at = instants(VENDOR, call, list(rows), NEW_YORK)
    for text in rows:
        if not _OPEN <= datetime.fromisoformat(text).time() < _CLOSE:
            what = f"{call.endpoint}: a bar at {text} is outside of the regular session, or stamped at its end"
            raise MalformedResponse(VENDOR, what, symbol=call.symbol)
    return BarsPart(opened_at, _columns(call, list(rows.values())), answer.learned_at)


def serve_intraday(request: IntradayRequest, months: Sequence[BarsPart]) -> IntradayBars:
    """Return the bars of all months that open in [start, end) and have closed, as traded.

    Raises
    ------
    SymbolNotFound
        If there is not one in any month.
    """
    opened_at, columns = united(months)
    if not len(opened_at):
        what = f"no bar in the months from {request.start} to {request.end}"
        raise SymbolNotFound(VENDOR, what, symbol=request.symbol)
    return served_bars.serve_intraday(VENDOR, request, opened_at, columns, months[-1].learned_at)


def read_quote(call: Call, answer: Answer) -> Quote:
    """Transform a quote.

    It names its day only, so it is as of that day's 16:00 in New York, or of now where that is still to come.

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
        open=positive(said.open),
        high=positive(said.high),
        low=positive(said.low),
        previous_close=positive(said.previous),
        volume=finite_or_none(said.volume),
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
    return serve_splits(VENDOR, call.symbol, first, last, found)


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
    return serve_dividends(VENDOR, call.symbol, first, last, found)


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
        market_cap=positive(worth),
        currency=_told(said.currency),
    )


def _columns(call: Call, rows: Sequence[_Row]) -> tuple[Floats, ...]:
    return (*prices(VENDOR, call, rows), np.array([row.volume for row in rows], np.float64))


def _in_new_york(call: Call, zone: str) -> None:
    if zone not in _ZONES:
        raise MalformedResponse(VENDOR, f"{call.endpoint}: times of {zone[:40]!r}", symbol=call.symbol)


def _told(text: str | None) -> str | None:
    return None if text is None or text.strip() in _NOTHING else text.strip()


def _uncapitalised(text: str | None) -> str | None:
    return text.title() if text is not None and text.isupper() else text
