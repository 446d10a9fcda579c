"""Twelve Data: US equities in prices as traded, several symbols in one call, each of them charged.

All numbers are text; rows come newest first, at most 5,000 of them, and the older rest is asked for again. One symbol
is answered plainly, several as an object with an answer or a refusal for each. A refusal is a body with a code, under
its own HTTP status or under 200. Intraday times are asked for and given in UTC, so that no hour is there twice.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from functools import partial
from http import HTTPStatus
from typing import TypeVar

import msgspec

from quantmatrix_pipeline import clock
from quantmatrix_pipeline.bars.batch import BarBatch, Basis
from quantmatrix_pipeline.errors import (
    AuthFailed,
    MalformedResponse,
    QuotaExhausted,
    RateLimited,
    SymbolNotFound,
    UnsupportedRequest,
    VendorError,
    VendorUnavailable,
)
from quantmatrix_pipeline.providers.answers import ActionsAnswer, DailyAnswer, IntradayAnswer, IntradayBars, Quote
from quantmatrix_pipeline.providers.contract import BarRequest, Capability, IntradayRequest, Offer
from quantmatrix_pipeline.providers.symbols import is_crypto, to_vendor
from quantmatrix_pipeline.providers.transport.calls import Answer, Call
from quantmatrix_pipeline.providers.transport.http import retry_after
from quantmatrix_pipeline.providers.transport.kept_for import keep_until_close
from quantmatrix_pipeline.providers.transport.reading import decode, decode_any
from quantmatrix_pipeline.providers.transport.vendor import Access, HttpVendor
from quantmatrix_pipeline.providers.vendors.shared.corporate_actions import named
from quantmatrix_pipeline.providers.vendors.shared.served_bars import INTRADAY, MARGIN
from quantmatrix_pipeline.providers.vendors.twelve_data_answers import (
    VENDOR,
    Rows,
    read_bars,
    read_dividends,
    read_quote,
    read_splits,
    serve_daily,
    serve_intraday,
)

MOST_SYMBOLS = 8  # of one call: the free plan's credits of a minute
MOST_ROWS = 5000
MOST_PAGES = 20  # of one symbol: 256 sessions of minutes, 1,282 of five minutes
ACTIONS_WEIGHT = 20  # credits for the splits or dividends of a symbol
_DAY = 24 * 3600.0
_MINUTE = 60.0
_INTERVALS = {"1m": "1min", "5m": "5min"}

T = TypeVar("T")


class _Refused(msgspec.Struct):
    code: int
    message: str


class TwelveData(HttpVendor):
    """Serves bars, quotes, splits and dividends of shares and funds."""

    name = VENDOR

    async def daily_bars(self, requests: Sequence[BarRequest]) -> DailyAnswer:
        asked, failures = _askable([r.symbol for r in requests])
        wanted = {r.symbol: r for r in requests if r.symbol in asked}
        if not wanted:
            return DailyAnswer(VENDOR, Basis.RAW, None, BarBatch.empty(), failures=failures)
        first, last = min(r.first for r in wanted.values()), max(r.last for r in wanted.values())
        now = clock.now()
        call = daily_query(list(wanted), first, last, now)
        read = partial(read_bars, "1day")
        found = await self.http.ask(call, lambda answer: read_each(call, list(wanted), answer, read))
        pages: dict[str, list[Rows]] = {}
        for symbol, rows in found.items():
            if isinstance(rows, VendorError):
                failures[symbol] = rows
                continue
            try:
                pages[symbol] = await self._older(daily_query([symbol], first, last, now), rows, "1day")
            except VendorError as error:
                if len(requests) == 1:
                    raise
                failures[symbol] = error
        return serve_daily(list(wanted.values()), pages, failures)

    async def intraday_bars(self, request: IntradayRequest) -> IntradayBars:
        (bars,) = (await self.intraday_batch([request])).bars
        return bars

    async def intraday_batch(self, requests: Sequence[IntradayRequest]) -> IntradayAnswer:
        asked, failures = _askable([r.symbol for r in requests])
        wanted = {r.symbol: r for r in requests if r.symbol in asked}
        if not wanted:
            return IntradayAnswer(VENDOR, (), failures)
        now = clock.now()
        call = intraday_query(list(wanted.values()), now)
        interval = call.params["interval"]
        read = partial(read_bars, interval)
        found = await self.http.ask(call, lambda answer: read_each(call, list(wanted), answer, read))
        bars: list[IntradayBars] = []
        for symbol, rows in found.items():
            try:
                if isinstance(rows, VendorError):
                    raise rows
                alone = intraday_query([wanted[symbol]], now)
                bars.append(serve_intraday(alone, wanted[symbol], await self._older(alone, rows, interval)))
            except VendorError as error:
                if len(requests) == 1:
                    raise
                failures[symbol] = error
        return IntradayAnswer(VENDOR, tuple(bars), failures)

    async def quotes(self, symbols: Sequence[str]) -> Sequence[Quote]:
        asked, failures = _askable(symbols)
        if asked:
            call = quotes_query(asked)
            found = await self.http.ask(call, lambda answer: read_each(call, asked, answer, read_quote))
            known = [quote for quote in found.values() if isinstance(quote, Quote)]
            if known:
                return known
            failures |= {symbol: error for symbol, error in found.items() if isinstance(error, VendorError)}
        raise next(iter(failures.values()))

    async def splits(self, symbol: str | None, first: date, last: date) -> ActionsAnswer:
        call = actions_query(Capability.SPLITS, named(VENDOR, symbol), first, last)
        return await self.http.ask(call, lambda answer: read_splits(call, first, last, answer))

    async def dividends(self, symbol: str | None, first: date, last: date) -> ActionsAnswer:
        call = actions_query(Capability.DIVIDENDS, named(VENDOR, symbol), first, last)
        return await self.http.ask(call, lambda answer: read_dividends(call, first, last, answer))

    async def _older(self, call: Call, rows: Rows, interval: str) -> list[Rows]:
        """Return a full page and those that follow, each of which ends where the one before it begins."""
        pages = [rows]
        while len(pages[-1]) >= MOST_ROWS and (oldest := min(pages[-1].at)) > call.params["start_date"]:
            if len(pages) == MOST_PAGES:
                raise MalformedResponse(VENDOR, f"{call.endpoint}: no end after {MOST_PAGES} pages", symbol=call.symbol)
            following = replace(call, params={**call.params, "end_date": oldest})
            try:
                page = await self.http.ask(following, partial(read_bars, interval, following))
            except SymbolNotFound:  # known by now: it begins here
                break
            if min(page.at) >= oldest:
                if len(page) < MOST_ROWS:
                    break
                what = f"{call.endpoint}: the page of what is older than {oldest} brought nothing older"
                raise MalformedResponse(VENDOR, what, symbol=call.symbol)
            pages.append(page)
        return pages


def connect(access: Access) -> TwelveData:
    """Return Twelve Data as the settings reach it."""
    batch = Offer(symbols_per_call=MOST_SYMBOLS, per_symbol=True, reach_days=access.reach_days)
    actions = Offer(calls=ACTIONS_WEIGHT)
    return TwelveData(
        access.http(VENDOR, refusal, key_name="apikey"),
        {
            Capability.DAILY_BARS: batch,
            Capability.BARS_5M: batch,
            Capability.BARS_1M: batch,
            Capability.QUOTES: Offer(symbols_per_call=MOST_SYMBOLS, per_symbol=True),
            Capability.SPLITS: actions,
            Capability.DIVIDENDS: actions,
        },
    )


def _refuse_coins(symbol: str) -> None:
    if is_crypto(symbol):  # their days end at midnight UTC; what has closed is decided by New York's here
        raise UnsupportedRequest(VENDOR, "is only asked for shares and funds", symbol=symbol)


def _askable(symbols: Sequence[str]) -> tuple[list[str], dict[str, VendorError]]:
    """Return the symbols that can be asked for, and why the others can't.

    Raises
    ------
    UnsupportedRequest
        If it is the only one that can't.
    """
    asked: list[str] = []
    failures: dict[str, VendorError] = {}
    for symbol in symbols:
        try:
            _refuse_coins(symbol)
            to_vendor(VENDOR, symbol)
        except UnsupportedRequest as error:
            if len(symbols) == 1:
                raise
            failures[symbol] = error
        else:
            asked.append(symbol)
    return asked, failures


# --- queries ----------------------------------------------------------------------------------------------------------


def daily_query(symbols: Sequence[str], first: date, last: date, now: datetime) -> Call:
    """Transform a question for daily bars, as traded.

    Some days before are asked for, so that no bar at all means not known, and the day after, as nothing says for
    certain that the end is included.
    """
    return Call(
        Capability.DAILY_BARS,
        "time_series/1day",
        "/time_series",
        {
            "symbol": _joined(symbols),
            "interval": "1day",
            "start_date": (first - MARGIN).isoformat(),
            "end_date": (last + timedelta(days=1)).isoformat(),
            "outputsize": str(MOST_ROWS),
            "order": "desc",
            "adjust": "none",
        },
        symbol=", ".join(symbols),
        weight=len(symbols),
        keep_seconds=keep_until_close(now),
    )


def intraday_query(requests: Sequence[IntradayRequest], now: datetime) -> Call:
    """Transform a question for intraday bars of one interval, as traded, in UTC: the stretch that holds all that are
    wanted. One not over yet is not kept.
    """
    (wanted,) = {r.interval for r in requests}
    start, end = min(r.start for r in requests), max(r.end for r in requests)
    interval = _INTERVALS[wanted]
    return Call(
        INTRADAY[wanted],
        f"time_series/{interval}",
        "/time_series",
        {
            "symbol": _joined([r.symbol for r in requests]),
            "interval": interval,
            "start_date": _wall(start),
            "end_date": _wall(end),
            "outputsize": str(MOST_ROWS),
            "order": "desc",
            "adjust": "none",
            "timezone": "UTC",
        },
        symbol=", ".join(r.symbol for r in requests),
        weight=len(requests),
        keep_seconds=keep_until_close(now) if end < now else 0.0,
    )


def quotes_query(symbols: Sequence[str]) -> Call:
    """Transform a question for quotes."""
    return Call(
        Capability.QUOTES,
        "quote",
        "/quote",
        {"symbol": _joined(symbols)},
        symbol=", ".join(symbols),
        weight=len(symbols),
        keep_seconds=60.0,
    )


def actions_query(capability: Capability, symbol: str, first: date, last: date) -> Call:
    """Transform a question for the splits or dividends of [first, last], both inclusive; in shares of their time."""
    name, more = ("splits", {}) if capability is Capability.SPLITS else ("dividends", {"adjust": "false"})
    return Call(
        capability,
        name,
        f"/{name}",
        {
            "symbol": to_vendor(VENDOR, symbol),
            "start_date": first.isoformat(),
            "end_date": (last + timedelta(days=1)).isoformat(),
            **more,
        },
        symbol=symbol,
        weight=ACTIONS_WEIGHT,
        keep_seconds=_DAY,
    )


def _joined(symbols: Sequence[str]) -> str:
    return ",".join(to_vendor(VENDOR, symbol) for symbol in symbols)


def _wall(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")


# --- several symbols, and refusals ------------------------------------------------------------------------------------


def read_each(
    call: Call, symbols: Sequence[str], answer: Answer, read: Callable[[Call, Answer], T]
) -> dict[str, T | VendorError]:
    """Transform an answer for several symbols: what `read` makes of each, or why it makes nothing of it.

    Raises
    ------
    VendorError
        What was said of the only symbol asked for, or of all of them where that holds for the key.
    MalformedResponse
        If it is no object of answers.
    """
    if len(symbols) == 1:
        return {symbols[0]: read(call, answer)}
    parts = decode(VENDOR, call, answer, dict[str, msgspec.Raw])
    found: dict[str, T | VendorError] = {}
    for symbol in symbols:
        theirs = to_vendor(VENDOR, symbol)
        own = replace(call, symbol=symbol, params={**call.params, "symbol": theirs})
        part = replace(answer, status=HTTPStatus.OK, content=bytes(parts.get(theirs, b"")))
        try:
            if not part.content:
                raise MalformedResponse(VENDOR, f"{call.endpoint}: is not in the answer", symbol=symbol)
            refused = refusal(own, part)
            if refused is not None:
                raise refused
            found[symbol] = read(own, part)
        except VendorError as error:
            found[symbol] = error
    told = list(found.values())
    if isinstance(told[0], (AuthFailed, RateLimited, QuotaExhausted)) and len({type(t) for t in told}) == 1:
        raise told[0]
    return found


def refusal(call: Call, answer: Answer) -> VendorError | None:
    """Return the error that an answer carries: the code of its body, whatever the HTTP status.

    A minute's credits renew with the minute of the clock.
    """
    said = decode_any(answer, _Refused)
    if said is None:
        return None
    code, symbol = said.code, call.symbol
    text = " ".join(said.message.split())[:300]
    what = f"{call.endpoint}: {text}"
    if code >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return VendorUnavailable(VENDOR, what, symbol=symbol)
    if code == HTTPStatus.TOO_MANY_REQUESTS:
        if "for the day" in text:
            return QuotaExhausted(VENDOR, text, symbol=symbol)
        told = retry_after(answer)
        wait = told if told is not None else _MINUTE - answer.learned_at.timestamp() % _MINUTE
        return RateLimited(VENDOR, text, symbol=symbol, retry_after=wait)
    if code == HTTPStatus.UNAUTHORIZED:
        return AuthFailed(VENDOR, f"{text}; check TWELVE_DATA_API_KEY")
    if "available starting with" in text:  # said of a symbol; of an endpoint it is "available exclusively with"
        return UnsupportedRequest(VENDOR, what, symbol=symbol)
    if code == HTTPStatus.FORBIDDEN:
        return UnsupportedRequest(VENDOR, f"{what} (the plan behind TWELVE_DATA_API_KEY)")
    if code == HTTPStatus.NOT_FOUND or ("missing or invalid" in text and "symbol" in text):
        return SymbolNotFound(VENDOR, what, symbol=symbol)
    if "No data is available" in text:
        return SymbolNotFound(VENDOR, f"{what} It was not traded in that time.", symbol=symbol)
    return MalformedResponse(VENDOR, f"{what} ({code})", symbol=symbol)
