"""CryptoCompare (CoinDesk Data): daily and minute bars of coins, averaged over exchanges; with a key of a paid plan.

Every answer is HTTP 200, an error too. What lies before a coin's first trade is filled with zeros.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from http import HTTPStatus

import msgspec
import numpy as np

from quantmatrix_pipeline import clock
from quantmatrix_pipeline.errors import (
    AuthFailed,
    MalformedResponse,
    QuotaExhausted,
    RateLimited,
    SymbolNotFound,
    UnsupportedRequest,
    VendorError,
)
from quantmatrix_pipeline.providers.answers import DailyAnswer, IntradayBars
from quantmatrix_pipeline.providers.contract import BarRequest, Capability, IntradayRequest, Offer
from quantmatrix_pipeline.providers.symbols import to_vendor
from quantmatrix_pipeline.providers.transport.calls import Answer, Call
from quantmatrix_pipeline.providers.transport.http import retry_after
from quantmatrix_pipeline.providers.transport.kept_for import keep_until_midnight
from quantmatrix_pipeline.providers.transport.reading import UnixSeconds, decode, decode_any, finite, prices
from quantmatrix_pipeline.providers.transport.vendor import Access, HttpVendor
from quantmatrix_pipeline.providers.vendors.shared.crypto_candles import (
    DAY,
    INTRADAY,
    Candles,
    ended,
    joined,
    midnight,
    serve_daily,
    serve_intraday,
)
from quantmatrix_pipeline.providers.vendors.shared.market_hours import SECONDS

VENDOR = "cryptocompare"
MOST_POINTS = 2000  # minutes or days of one call, and one more
MINUTE_REACH = 7  # days for which minutes are kept there

_RATE_LIMIT = 99


class _Row(msgspec.Struct, gc=False):
    time: UnixSeconds
    open: float
    high: float
    low: float
    close: float
    volumefrom: float  # in coins


class _Rows(msgspec.Struct, rename={"rows": "Data"}):
    rows: list[_Row]


class _Body(msgspec.Struct, rename={"body": "Data"}):
    body: _Rows


class _Allowance(msgspec.Struct):
    day: int | None = None
    month: int | None = None


class _RateLimit(msgspec.Struct):
    calls_made: _Allowance | None = None
    max_calls: _Allowance | None = None


class _Refused(msgspec.Struct, rename="pascal"):
    response: str
    message: str = ""
    type: int = 0
    rate_limit: _RateLimit | None = None
    cooldown: float | None = None  # seconds
    param_with_error: str | None = None


class CryptoCompare(HttpVendor):
    """Serves bars of a day, of five minutes and of one."""

    name = VENDOR

    async def daily_bars(self, requests: Sequence[BarRequest]) -> DailyAnswer:
        (request,) = requests
        calls = daily_queries(request, clock.now())
        return serve_daily(VENDOR, request, await self._candles(calls, DAY))

    async def intraday_bars(self, request: IntradayRequest) -> IntradayBars:
        calls = intraday_queries(request, clock.now())
        return serve_intraday(VENDOR, request, await self._candles(calls, SECONDS[request.interval]))

    async def _candles(self, calls: Sequence[Call], step: int) -> Candles:
        """Return all pages; the newest is asked for first, and none that lies before the coin's first trade."""
        pages: list[Candles] = []
        for call in calls:
            page, goes_on = await self.http.ask(call, partial(read_candles, call, step))
            pages.append(page)
            if not goes_on:
                break
        return joined(VENDOR, calls[0], pages[::-1])


def connect(access: Access) -> CryptoCompare:
    """Return CryptoCompare as the settings reach it."""
    reach = access.reach_days
    minutes = Offer(reach_days=MINUTE_REACH if reach is None else min(MINUTE_REACH, reach))
    return CryptoCompare(
        access.http(VENDOR, refusal, key_name="authorization", header=True, prefix="Apikey "),
        {
            Capability.CRYPTO_DAILY: Offer(reach_days=reach),
            Capability.CRYPTO_5M: minutes,
            Capability.CRYPTO_1M: minutes,
        },
    )


# --- queries ----------------------------------------------------------------------------------------------------------


def daily_queries(request: BarRequest, now: datetime) -> list[Call]:
    """Transform a question for daily bars into one call for each 2,001 days, the newest first."""
    call = _query(Capability.CRYPTO_DAILY, "histoday", request.symbol, keep_until_midnight(now))
    first, last = midnight(request.sessions[0]), midnight(request.sessions[-1])
    return _pages(call, first, last, DAY, MOST_POINTS)


def intraday_queries(request: IntradayRequest, now: datetime) -> list[Call]:
    """Transform a question for intraday bars; one whose range has not ended is not kept.

    The vendor counts the minutes that a bar of five is made from, so that a page holds 401 of those.
    """
    step = SECONDS[request.interval]
    many = step // 60
    keep = keep_until_midnight(now) if request.end <= now else 0.0
    call = _query(INTRADAY[request.interval], "histominute", request.symbol, keep)
    if many > 1:
        call = replace(call, params={**call.params, "aggregate": str(many)})
    first = -(-int(request.start.timestamp()) // step) * step
    last = (int(request.end.timestamp()) - 1) // step * step
    return _pages(call, first, last, step, MOST_POINTS // many)


def _query(capability: Capability, path: str, symbol: str, keep: float) -> Call:
    coin, money = to_vendor(VENDOR, symbol).split("-")
    return Call(
        capability,
        f"data/v2/{path}",
        f"/data/v2/{path}",
        # Where a coin is not traded in this money, we want no product of two markets' highs.
        {"fsym": coin, "tsym": money, "tryConversion": "false"},
        symbol=symbol,
        keep_seconds=keep,
    )


def _pages(call: Call, first: int, last: int, step: int, most: int) -> list[Call]:
    """Return calls for the bars that open in [first, last], both inclusive; `limit` brings one more than it says."""
    calls: list[Call] = []
    while last >= first or not calls:
        points = max(1, min(most, (last - first) // step))
        calls.append(replace(call, params={**call.params, "limit": str(points), "toTs": str(last)}))
        last -= (points + 1) * step
    return calls


# --- answers ----------------------------------------------------------------------------------------------------------


def read_candles(call: Call, step: int, answer: Answer) -> tuple[Candles, bool]:
    """Transform a page into the bars of `step` seconds that have ended, and whether there may be older ones.

    Raises
    ------
    MalformedResponse
        If it is not of the documented shape, holds bars of another length, or a number that is none.
    """
    rows = decode(VENDOR, call, answer, _Body).body.rows
    traded = [r for r in rows if not _before_listing(r)]
    columns = (
        *prices(VENDOR, call, traded),
        finite(VENDOR, call, "volumefrom", [r.volumefrom for r in traded]),
    )
    at = np.array([r.time for r in traded], np.int64)
    late = np.flatnonzero(at > int(call.params["toTs"]))
    if len(late):
        what = f"{call.endpoint}: bar {late[0] + 1} opens after {call.params['toTs']}, up to which was asked"
        raise MalformedResponse(VENDOR, what, symbol=call.symbol)
    page = ended(VENDOR, call, Candles(at, columns, answer.learned_at), step)
    return page, bool(rows) and not _before_listing(rows[0])


def _before_listing(row: _Row) -> bool:
    return row.open == row.high == row.low == row.close == 0


def refusal(call: Call, answer: Answer) -> VendorError | None:
    """Return the error that an answer carries; mostly its words alone say which."""
    said = decode_any(answer, _Refused)
    if answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return None
    if answer.status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        return _wrong_key(said.message if said else answer.text(160))
    if said is None or said.response != "Error":
        return None
    text, words = f"{call.endpoint}: {said.message}", said.message.lower()
    if said.type == _RATE_LIMIT or answer.status == HTTPStatus.TOO_MANY_REQUESTS:
        if said.rate_limit is not None and _used_up(said.rate_limit):
            return QuotaExhausted(VENDOR, text, symbol=call.symbol)
        pause = said.cooldown if said.cooldown is not None else retry_after(answer)
        return RateLimited(VENDOR, text, symbol=call.symbol, retry_after=pause)
    if "api key" in words or "auth key" in words:
        return _wrong_key(said.message)
    if said.param_with_error in ("fsym", "tsym") or "does not exist for this coin pair" in words:
        return SymbolNotFound(VENDOR, text, symbol=call.symbol)
    if "subscription" in words or "upgrade" in words:
        return UnsupportedRequest(VENDOR, text)
    return MalformedResponse(VENDOR, f"{text} (type {said.type})", symbol=call.symbol)


def _used_up(limit: _RateLimit) -> bool:
    """Say whether the day's or the month's calls are gone, not only those of a shorter time."""
    made, most = limit.calls_made, limit.max_calls
    if made is None or most is None:
        return False
    pairs = ((made.day, most.day), (made.month, most.month))
    return any(m is not None and n is not None and m >= n for m, n in pairs)


def _wrong_key(said: str) -> AuthFailed:
    what = f"{said}; check CRYPTOCOMPARE_API_KEY: keyless access and the free plan ended in May 2026"
    return AuthFailed(VENDOR, what)
