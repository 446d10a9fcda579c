"""Binance, its public market data: candles and quotes of coins, without a key.

A coin in US dollars is its pair with the stable coin USDT. Calls have weights; whoever goes on after a 429 is banned
with a 418 for minutes to days, and some countries are not served at all (451).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from http import HTTPStatus

import msgspec
import numpy as np

from quantmatrix_pipeline import clock
from quantmatrix_pipeline.errors import (
    MalformedResponse,
    RateLimited,
    SymbolNotFound,
    UnsupportedRequest,
    VendorError,
    VendorUnavailable,
)
from quantmatrix_pipeline.providers.answers import DailyAnswer, IntradayBars, Quote
from quantmatrix_pipeline.providers.contract import BarRequest, Capability, IntradayRequest, Offer
from quantmatrix_pipeline.providers.symbols import to_vendor
from quantmatrix_pipeline.providers.transport.calls import Answer, Call
from quantmatrix_pipeline.providers.transport.http import retry_after
from quantmatrix_pipeline.providers.transport.kept_for import keep_until_midnight
from quantmatrix_pipeline.providers.transport.reading import (
    UnixMilliseconds,
    decode,
    decode_any,
    finite,
    finite_or_none,
    positive,
    prices,
    same_symbol,
)
from quantmatrix_pipeline.providers.transport.vendor import Access, HttpVendor
from quantmatrix_pipeline.providers.vendors.shared.crypto_candles import (
    DAY,
    INTRADAY,
    Candles,
    at_milliseconds,
    ended,
    joined,
    midnight,
    serve_daily,
    serve_intraday,
)
from quantmatrix_pipeline.providers.vendors.shared.market_hours import SECONDS

VENDOR = "binance"
MOST_ROWS = 1000
WEIGHT = 2  # what either question is charged
_SHORTEST_BAN = 120.0  # seconds

_BANNED = 418
_TOO_MUCH_WEIGHT = -1003
_INVALID_SYMBOL = -1121
_TROUBLE = frozenset({-1000, -1001, -1006, -1007, -1008, -1016})  # of theirs: unknown, disconnected, overloaded
_UNTIL = re.compile(r"banned until (\d{13})")


class _Candle(msgspec.Struct, array_like=True, gc=False):
    at: UnixMilliseconds
    open: float
    high: float
    low: float
    close: float
    volume: float
    last: UnixMilliseconds  # its last millisecond


class _Ticker(msgspec.Struct, rename="camel"):
    symbol: str
    last_price: float
    close_time: UnixMilliseconds
    open_price: float | None = None
    high_price: float | None = None
    low_price: float | None = None
    prev_close_price: float | None = None
    volume: float | None = None
    bid_price: float | None = None
    ask_price: float | None = None


class _Refused(msgspec.Struct):
    code: int
    msg: str


class Binance(HttpVendor):
    """Serves candles of a day, of five minutes and of one, and quotes."""

    name = VENDOR

    async def daily_bars(self, requests: Sequence[BarRequest]) -> DailyAnswer:
        (request,) = requests
        call = daily_query(request, clock.now())
        return serve_daily(VENDOR, request, await self._candles(call, DAY))

    async def intraday_bars(self, request: IntradayRequest) -> IntradayBars:
        call = intraday_query(request, clock.now())
        return serve_intraday(VENDOR, request, await self._candles(call, SECONDS[request.interval]))

    async def quotes(self, symbols: Sequence[str]) -> Sequence[Quote]:
        (symbol,) = symbols
        call = quote_query(symbol)
        return [await self.http.ask(call, lambda answer: read_quote(call, answer))]

    async def _candles(self, call: Call, step: int) -> Candles:
        """Return all pages; each begins later than the one before it, so they come to an end."""
        pages: list[Candles] = []
        following: Call | None = call
        while following is not None:
            page, following = await self.http.ask(following, partial(read_candles, following, step))
            pages.append(page)
        return joined(VENDOR, call, pages)


def connect(access: Access) -> Binance:
    """Return Binance as the settings reach it."""
    offer = Offer(calls=WEIGHT, reach_days=access.reach_days)
    return Binance(
        access.http(VENDOR, refusal),
        {
            Capability.CRYPTO_DAILY: offer,
            Capability.CRYPTO_5M: offer,
            Capability.CRYPTO_1M: offer,
            Capability.CRYPTO_QUOTES: Offer(calls=WEIGHT),
        },
    )


# --- queries ----------------------------------------------------------------------------------------------------------


def daily_query(request: BarRequest, now: datetime) -> Call:
    """Transform a question for daily bars; both ends of the range are inclusive, on the time of the open."""
    first, last = midnight(request.sessions[0]), midnight(request.sessions[-1])
    keep = keep_until_midnight(now)
    return _candles_query(Capability.CRYPTO_DAILY, request.symbol, "1d", first * 1000, last * 1000, keep)


def intraday_query(request: IntradayRequest, now: datetime) -> Call:
    """Transform a question for intraday bars; one whose range has not ended is not kept."""
    first, end = _milliseconds(request.start), _milliseconds(request.end)
    keep = keep_until_midnight(now) if request.end <= now else 0.0
    return _candles_query(INTRADAY[request.interval], request.symbol, request.interval, first, end - 1, keep)


def _candles_query(capability: Capability, symbol: str, interval: str, first: int, last: int, keep: float) -> Call:
    return Call(
        capability,
        f"api/v3/klines/{interval}",
        "/api/v3/klines",
        {
            "symbol": to_vendor(VENDOR, symbol),
            "interval": interval,
            "startTime": str(first),
            "endTime": str(last),
            "limit": str(MOST_ROWS),
        },
        symbol=symbol,
        weight=WEIGHT,
        keep_seconds=keep,
    )


def quote_query(symbol: str) -> Call:
    """Transform a question for a quote."""
    return Call(
        Capability.CRYPTO_QUOTES,
        "api/v3/ticker/24hr",
        "/api/v3/ticker/24hr",
        {"symbol": to_vendor(VENDOR, symbol)},
        symbol=symbol,
        weight=WEIGHT,
        keep_seconds=60.0,
    )


# --- answers ----------------------------------------------------------------------------------------------------------


def read_candles(call: Call, step: int, answer: Answer) -> tuple[Candles, Call | None]:
    """Transform a page into the candles of `step` seconds that have ended, and the call for the page that follows.

    After the last page there is no such call: None.

    Raises
    ------
    MalformedResponse
        If it is not of the documented shape, holds candles of another length or outside of what was asked, or a number
        that is none.
    """
    rows = decode(VENDOR, call, answer, list[_Candle])
    first, last = int(call.params["startTime"]), int(call.params["endTime"])
    for number, row in enumerate(rows, 1):
        if not first <= row.at <= last:
            what = f"{call.endpoint}: row {number} opens at {at_milliseconds(row.at)}, which was not asked for"
            raise MalformedResponse(VENDOR, what, symbol=call.symbol)
        if row.at % 1000 or not 0 <= row.last - row.at < step * 1000:
            what = f"{call.endpoint}: row {number} is no candle of {step} s: {row.at} to {row.last}"
            raise MalformedResponse(VENDOR, what, symbol=call.symbol)
    columns = (
        *prices(VENDOR, call, rows),
        finite(VENDOR, call, "volume", [r.volume for r in rows]),
    )
    at = np.array([r.at for r in rows], np.int64) // 1000
    page = ended(VENDOR, call, Candles(at, columns, answer.learned_at), step)
    start = rows[-1].at + step * 1000 if rows else last
    if len(rows) < MOST_ROWS or start > last:
        return page, None
    return page, replace(call, params={**call.params, "startTime": str(start)})


def read_quote(call: Call, answer: Answer) -> Quote:
    """Transform an answer; open, high, low and volume are those of the 24 hours before it.

    Raises
    ------
    MalformedResponse
        If it is not of the documented shape, another symbol's, or the price is no number.
    SymbolNotFound
        If the pair has no price because it is not traded any more.
    """
    said = decode(VENDOR, call, answer, _Ticker)
    symbol = call.symbol or ""
    same_symbol(VENDOR, call, to_vendor(VENDOR, symbol), said.symbol)
    finite(VENDOR, call, "lastPrice", [said.last_price])
    if said.last_price <= 0:
        raise SymbolNotFound(VENDOR, f"{said.symbol} is not traded there any more", symbol=symbol)
    return Quote(
        VENDOR,
        symbol,
        said.last_price,
        at_milliseconds(said.close_time),
        answer.learned_at,
        open=positive(said.open_price),
        high=positive(said.high_price),
        low=positive(said.low_price),
        previous_close=positive(said.prev_close_price),
        volume=finite_or_none(said.volume),
        bid=positive(said.bid_price),
        ask=positive(said.ask_price),
        currency=symbol.partition("-")[2],
    )


def refusal(call: Call, answer: Answer) -> VendorError | None:
    """Return the error that an answer carries, in its status or, whatever the status, in its code."""
    said = decode_any(answer, _Refused)
    code, text = (said.code, f"{call.endpoint}: {said.msg}") if said else (0, f"{call.endpoint}: {answer.text(160)}")
    if answer.status == HTTPStatus.UNAVAILABLE_FOR_LEGAL_REASONS:
        what = (
            "is not served from this country; set QM_BINANCE_BASE_URL to where it is, or leave it out of POLICY_CRYPTO"
        )
        return UnsupportedRequest(VENDOR, what)
    if answer.status in (_BANNED, HTTPStatus.TOO_MANY_REQUESTS) or code == _TOO_MUCH_WEIGHT:
        return RateLimited(VENDOR, text, symbol=call.symbol, retry_after=_pause(answer, text))
    if answer.status == HTTPStatus.FORBIDDEN:  # its firewall's limit; there is no key that could be wrong
        return RateLimited(VENDOR, f"the firewall refused: {text}", symbol=call.symbol, retry_after=retry_after(answer))
    if said is None or answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return None
    if code == _INVALID_SYMBOL:
        return SymbolNotFound(VENDOR, text, symbol=call.symbol)
    if code in _TROUBLE:
        return VendorUnavailable(VENDOR, f"{text} ({code})", symbol=call.symbol)
    return MalformedResponse(VENDOR, f"{text} ({code})", symbol=call.symbol)


def _pause(answer: Answer, text: str) -> float | None:
    """Return the seconds to wait: as the header says, until the ban that the text names ends, or a ban's least."""
    told = retry_after(answer)
    if told is None and (until := _UNTIL.search(text)) is not None:
        told = max(0.0, int(until[1]) / 1000 - answer.learned_at.timestamp())
    return _SHORTEST_BAN if told is None and answer.status == _BANNED else told


def _milliseconds(at: datetime) -> int:
    return round(at.timestamp() * 1000)
