"""CoinGecko: prices and market caps of coins, and daily bars of the last weeks; with a demo key, a paid one, or none.

Its candles have no volume, and last four hours for 30 days back, four days for more: a day of candles is six of them,
and what lies before these 30 days can't be told. Each is stamped with the instant at which it ends.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from http import HTTPStatus
from urllib.parse import urlsplit

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
from quantmatrix_pipeline.providers.answers import DailyAnswer, Quote
from quantmatrix_pipeline.providers.contract import BarRequest, Capability, Offer
from quantmatrix_pipeline.providers.symbols import from_vendor, to_vendor
from quantmatrix_pipeline.providers.transport.calls import Answer, Call
from quantmatrix_pipeline.providers.transport.http import retry_after
from quantmatrix_pipeline.providers.transport.kept_for import keep_until_midnight
from quantmatrix_pipeline.providers.transport.reading import (
    UnixMilliseconds,
    UnixSeconds,
    decode,
    decode_any,
    one_symbol,
    positive,
    prices,
)
from quantmatrix_pipeline.providers.transport.vendor import Access, HttpVendor
from quantmatrix_pipeline.providers.vendors.shared.crypto_candles import DAY
from quantmatrix_pipeline.providers.vendors.shared.served_bars import serve_daily

VENDOR = "coingecko"
COINS_PER_CALL = 50
REACH_DAYS = 29  # of the 30 that are asked for, the first is not whole
_ASKED_DAYS = 30
_CANDLE = 4 * 3600  # seconds
_SETTLED = timedelta(minutes=35)  # after midnight, when the vendor says that the day before is complete

_NOT_IN_PLAN = 10005
_TOO_FAR_BACK = 10012
_WRONG_KEY = frozenset({10002, 10010, 10011})


class _Candle(msgspec.Struct, array_like=True, gc=False):
    end: UnixMilliseconds
    open: float
    high: float
    low: float
    close: float


class _Price(msgspec.Struct):
    usd: float | None = None
    usd_market_cap: float | None = None
    last_updated_at: UnixSeconds | None = None


class _Status(msgspec.Struct):
    error_code: int
    error_message: str = ""


class _Inner(msgspec.Struct):
    status: _Status


class _Refused(msgspec.Struct):
    status: _Status | None = None
    error: _Inner | str | None = None


class CoinGecko(HttpVendor):
    """Serves prices with market caps, and daily bars of the last 29 days without volume."""

    name = VENDOR

    async def daily_bars(self, requests: Sequence[BarRequest]) -> DailyAnswer:
        (request,) = requests
        call = daily_query(request, clock.now())
        return await self.http.ask(call, lambda answer: read_daily(call, request, answer))

    async def quotes(self, symbols: Sequence[str]) -> Sequence[Quote]:
        call = quotes_query(symbols)
        return await self.http.ask(call, lambda answer: read_quotes(call, answer))


def connect(access: Access) -> CoinGecko:
    """Return CoinGecko as the settings reach it."""
    reach = REACH_DAYS if access.reach_days is None else min(REACH_DAYS, access.reach_days)
    return CoinGecko(
        access.http(VENDOR, refusal, key_name=key_header(access.base_url), header=True),
        {
            Capability.CRYPTO_DAILY: Offer(reach_days=reach),
            Capability.CRYPTO_QUOTES: Offer(symbols_per_call=COINS_PER_CALL),
        },
    )


def key_header(base_url: str) -> str:
    """Return the header that the key goes into; keys of paid plans have a host and a header of their own."""
    return "x-cg-pro-api-key" if (urlsplit(base_url).hostname or "").startswith("pro-api.") else "x-cg-demo-api-key"


# --- queries ----------------------------------------------------------------------------------------------------------


def daily_query(request: BarRequest, now: datetime) -> Call:
    """Transform a question for daily bars.

    All 30 days are asked for whatever is wanted, so that one answer serves a coin until the next day is complete.

    Raises
    ------
    UnsupportedRequest
        If all of it lies too far back.
    """
    coin = to_vendor(VENDOR, request.symbol)
    if request.last < _reaches_to(now):
        what = f"has daily candles of the last {REACH_DAYS} days only, and {request.last} lies before them"
        raise UnsupportedRequest(VENDOR, what, symbol=request.symbol)
    return Call(
        Capability.CRYPTO_DAILY,
        "coins/ohlc",
        f"/coins/{coin}/ohlc",
        {"vs_currency": "usd", "days": str(_ASKED_DAYS)},
        symbol=request.symbol,
        keep_seconds=keep_until_midnight(now - _SETTLED),
    )


def quotes_query(symbols: Sequence[str]) -> Call:
    """Transform a question for prices; symbols that have no id there are left out.

    Raises
    ------
    UnsupportedRequest
        If none has one.
    """
    coins, refused = [], []
    for symbol in symbols:
        try:
            coins.append(to_vendor(VENDOR, symbol))
        except UnsupportedRequest as error:
            refused.append(error)
    if not coins:
        raise refused[0]
    return Call(
        Capability.CRYPTO_QUOTES,
        "simple/price",
        "/simple/price",
        {
            "ids": ",".join(coins),
            "vs_currencies": "usd",
            "include_market_cap": "true",
            "include_last_updated_at": "true",
        },
        symbol=symbols[0] if len(symbols) == 1 else None,
        keep_seconds=60.0,
    )


# --- answers ----------------------------------------------------------------------------------------------------------


def read_daily(call: Call, request: BarRequest, answer: Answer) -> DailyAnswer:
    """Transform an answer into the days that all six candles are there of, and that have settled.

    Raises
    ------
    MalformedResponse
        If it is not of the documented shape, the candles are no ascending ones of four hours, or a price is no number.
    """
    rows = decode(VENDOR, call, answer, list[_Candle])
    opened, high, low, close = prices(VENDOR, call, rows)
    end = np.array([r.end for r in rows], np.int64)
    # The last candle may be the one under way, stamped with the instant of the answer, or with the end to come.
    if len(end) and (end[-1] % (1000 * _CANDLE) or end[-1] > answer.learned_at.timestamp() * 1000):
        end = end[:-1]
    steps = np.diff(end)
    if np.any(end % (1000 * _CANDLE)) or (len(steps) and steps.min() != 1000 * _CANDLE):
        raise MalformedResponse(VENDOR, f"{call.endpoint}: these are no candles of four hours", symbol=call.symbol)

    begin = end // 1000 - _CANDLE
    days, first, count = np.unique(begin // DAY, return_index=True, return_counts=True)
    settled = (days + 1) * DAY <= (answer.learned_at - _SETTLED).timestamp()
    whole = (count == DAY // _CANDLE) & settled
    taken = [slice(at, at + DAY // _CANDLE) for at in first[whole]]
    columns = (
        np.array([opened[day][0] for day in taken], np.float64),
        np.array([high[day].max() for day in taken], np.float64),
        np.array([low[day].min() for day in taken], np.float64),
        np.array([close[day][-1] for day in taken], np.float64),
        np.full(len(taken), np.nan),
    )
    bars = one_symbol(request.symbol, days[whole].astype("datetime64[D]"), columns)
    reach = _reaches_to(answer.learned_at)
    return replace(
        serve_daily(VENDOR, request, bars, answer.learned_at), asked_from=reach if request.first < reach else None
    )


def read_quotes(call: Call, answer: Answer) -> list[Quote]:
    """Transform an answer; a coin without a price is left out. The volume is in dollars there, so none is given.

    Raises
    ------
    MalformedResponse
        If it is not of the documented shape, names a coin that was not asked for, or a price is none.
    SymbolNotFound
        If one coin was asked for, and it has no price.
    """
    said = decode(VENDOR, call, answer, dict[str, _Price])
    stray = said.keys() - set(call.params["ids"].split(","))
    if stray:
        what = f"{call.endpoint}: asked for {call.params['ids']}, answered with {min(stray)}"
        raise MalformedResponse(VENDOR, what, symbol=call.symbol)
    quotes = []
    for coin, price in said.items():
        if price.usd is None:
            continue
        if positive(price.usd) is None or price.last_updated_at is None:
            what = f"{call.endpoint}: the price of {coin} is {price.usd} at {price.last_updated_at}"
            raise MalformedResponse(VENDOR, what, symbol=call.symbol)
        at = datetime.fromtimestamp(price.last_updated_at, UTC)
        cap = positive(price.usd_market_cap)
        quotes.append(Quote(VENDOR, from_vendor(VENDOR, coin), price.usd, at, answer.learned_at, market_cap=cap))
    if not quotes and call.symbol is not None:
        raise SymbolNotFound(VENDOR, f"{call.endpoint}: no price of {call.params['ids']}", symbol=call.symbol)
    return quotes


def refusal(call: Call, answer: Answer) -> VendorError | None:
    """Return the error that an answer carries; a 401 may be about the plan or how far back it reaches, not the key."""
    said = decode_any(answer, _Refused)
    if said is None:
        return None
    status = said.error.status if isinstance(said.error, _Inner) else said.status
    words = said.error if isinstance(said.error, str) else status.error_message if status else None
    if words is None or answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return None
    code = status.error_code if status else 0
    text = f"{call.endpoint}: {words}" + (f" ({code})" if code else "")
    if HTTPStatus.TOO_MANY_REQUESTS in (code, answer.status):
        if "month" in words.lower():
            return QuotaExhausted(VENDOR, text, symbol=call.symbol)
        return RateLimited(VENDOR, text, symbol=call.symbol, retry_after=retry_after(answer))
    if code == _TOO_FAR_BACK:
        return UnsupportedRequest(VENDOR, text, symbol=call.symbol)
    if code == _NOT_IN_PLAN:
        return UnsupportedRequest(VENDOR, text)
    if code in _WRONG_KEY or answer.status == HTTPStatus.UNAUTHORIZED:
        return AuthFailed(VENDOR, f"{text}; check COINGECKO_API_KEY, and that QM_COINGECKO_BASE_URL is its plan's host")
    if answer.status == HTTPStatus.NOT_FOUND or "not found" in words.lower():
        return SymbolNotFound(VENDOR, text, symbol=call.symbol)
    return MalformedResponse(VENDOR, text, symbol=call.symbol)


def _reaches_to(now: datetime) -> date:
    return now.astimezone(UTC).date() - timedelta(days=REACH_DAYS)
