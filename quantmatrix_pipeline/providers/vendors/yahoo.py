"""Yahoo through yfinance: bars of whatever Yahoo knows, quotes, companies, actions, options; no key, no promise.

Best effort: Yahoo documents neither these answers nor its limits, and refuses whom it likes (429). What the library
allows, as of version 1.7: daily bars since the first trade, 5-minute bars of the last 60 days, 1-minute bars of the
last 30 in calls of 8 days; no calls for several symbols, but for quotes; options of one expiry a call. It is asked for
plain answers (`YfData.get`), because its tables turn failures into log lines and cost up to three calls each.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

import msgspec

from quantmatrix_pipeline import clock
from quantmatrix_pipeline.errors import (
    MalformedResponse,
    SymbolNotFound,
    UnsupportedRequest,
    VendorError,
    VendorUnavailable,
)
from quantmatrix_pipeline.providers.answers import ActionsAnswer, DailyAnswer, IntradayBars, OptionChain, Profile, Quote
from quantmatrix_pipeline.providers.contract import BarRequest, Capability, IntradayRequest, Offer
from quantmatrix_pipeline.providers.symbols import is_crypto, to_vendor
from quantmatrix_pipeline.providers.transport.calls import Answer, Call
from quantmatrix_pipeline.providers.transport.kept_for import keep_until_close, keep_until_midnight
from quantmatrix_pipeline.providers.transport.reading import decode_any
from quantmatrix_pipeline.providers.transport.vendor import Access, HttpVendor
from quantmatrix_pipeline.providers.vendors.shared.corporate_actions import named, serve_dividends, serve_splits
from quantmatrix_pipeline.providers.vendors.yahoo_answers import read_options, read_profile, read_quotes
from quantmatrix_pipeline.providers.vendors.yahoo_charts import read_actions, read_daily, read_intraday, serve_intraday
from quantmatrix_pipeline.providers.vendors.yahoo_session import (
    BEFORE_LISTING,
    CHART,
    HOST,
    VENDOR,
    YahooHttp,
    YahooSession,
)

QUOTES_PER_CALL = 50
LONGEST_REFUSAL = 4096  # bytes; a chart need not be read twice to see that it is no refusal
_MARGIN = timedelta(days=1)  # a session of Sydney opens on the UTC day before
_LONGEST_1M = timedelta(days=7)  # of the 8 days that a call may name
_OFFERS = {
    Capability.DAILY_BARS: Offer(),
    Capability.BARS_5M: Offer(reach_days=59),
    Capability.BARS_1M: Offer(reach_days=29),
    Capability.QUOTES: Offer(symbols_per_call=QUOTES_PER_CALL),
    Capability.OPTIONS_CHAIN: Offer(),
    Capability.PROFILE: Offer(),
    Capability.SPLITS: Offer(),
    Capability.DIVIDENDS: Offer(),
    Capability.CRYPTO_DAILY: Offer(),
    Capability.CRYPTO_5M: Offer(reach_days=59),
    Capability.CRYPTO_1M: Offer(reach_days=29),
    Capability.CRYPTO_QUOTES: Offer(symbols_per_call=QUOTES_PER_CALL),
}
_DAY = 24 * 3600.0
_OUT_OF_REACH = ("not available for startTime", "must be within the last", "allowed to be fetched")


class _Error(msgspec.Struct):
    code: str | None = None
    description: str | None = None


class _Failed(msgspec.Struct):
    error: _Error | None = None


class Yahoo(HttpVendor):
    """Serves daily bars in raw prices, intraday bars on the split-adjusted basis, and what is in `offers`."""

    name = VENDOR

    async def daily_bars(self, requests: Sequence[BarRequest]) -> DailyAnswer:
        (request,) = requests
        capability = Capability.CRYPTO_DAILY if is_crypto(request.symbol) else Capability.DAILY_BARS
        call = daily_query(capability, request.symbol, request.first, _now())
        return await self.http.ask(call, lambda answer: read_daily(call, request, answer))

    async def intraday_bars(self, request: IntradayRequest) -> IntradayBars:
        calls = intraday_queries(request, _now())
        return serve_intraday([await self._intraday(call, request) for call in calls])

    async def _intraday(self, call: Call, request: IntradayRequest) -> IntradayBars:
        return await self.http.ask(call, lambda answer: read_intraday(call, request, answer))

    async def quotes(self, symbols: Sequence[str]) -> Sequence[Quote]:
        theirs = {to_vendor(VENDOR, symbol): symbol for symbol in symbols}
        call = quotes_query(symbols)
        return await self.http.ask(call, lambda answer: read_quotes(call, theirs, answer))

    async def splits(self, symbol: str | None, first: date, last: date) -> ActionsAnswer:
        call = daily_query(Capability.SPLITS, named(VENDOR, symbol), first, _now())
        splits, _ = await self.http.ask(call, lambda answer: read_actions(call, answer))
        return serve_splits(VENDOR, symbol, first, last, splits)

    async def dividends(self, symbol: str | None, first: date, last: date) -> ActionsAnswer:
        call = daily_query(Capability.DIVIDENDS, named(VENDOR, symbol), first, _now())
        _, dividends = await self.http.ask(call, lambda answer: read_actions(call, answer))
        return serve_dividends(VENDOR, symbol, first, last, dividends)

    async def profile(self, symbol: str) -> Profile:
        call = profile_query(symbol)
        return await self.http.ask(call, lambda answer: read_profile(call, answer))

    async def options_chain(self, symbol: str, expiry: date | None = None) -> OptionChain:
        call = options_query(symbol, expiry)
        return await self.http.ask(call, lambda answer: read_options(call, expiry, answer))


def connect(access: Access) -> Yahoo:
    """Return Yahoo as the settings reach it."""
    return Yahoo(YahooHttp(access, refusal), _OFFERS)


def answers(base_url: str | None, timeout: float) -> bool:
    """Say whether Yahoo serves a chart within `timeout` seconds; one small call outside of any budget, no exception."""
    try:
        with YahooSession(base_url) as session:
            answer = session.get(f"{HOST}{CHART}SPY", params={"range": "1d", "interval": "1d"}, timeout=timeout)
    except OSError:
        return False
    return bool(answer.ok and '"chart"' in answer.text)


# --- queries ----------------------------------------------------------------------------------------------------------


def daily_query(capability: Capability, symbol: str, first: date, now: datetime) -> Call:
    """Transform a question for a symbol's days from `first` on, their splits and their dividends.

    It reaches to the end of today whatever is wanted, because prices and dividends are adjusted for every split until
    then, and each of them must be in the answer. `now` is the vendor's time, not that of a drill.
    """
    end = datetime.combine(now.astimezone(UTC).date() + timedelta(days=1), time(), UTC)
    keep = keep_until_midnight(now) if is_crypto(symbol) else keep_until_close(now)
    return _chart(capability, symbol, "1d", datetime.combine(first, time(), UTC) - _MARGIN, end, keep)


def intraday_queries(request: IntradayRequest, now: datetime) -> list[Call]:
    """Transform a question for intraday bars: one call, or one for each seven days of minutes.

    What is not over yet is not kept.
    """
    if request.interval == "1m":
        capability = Capability.CRYPTO_1M if is_crypto(request.symbol) else Capability.BARS_1M
        step = _LONGEST_1M
    else:
        capability = Capability.CRYPTO_5M if is_crypto(request.symbol) else Capability.BARS_5M
        step = request.end - request.start
    calls, start = [], request.start
    while start < request.end:
        end = min(start + step, request.end)
        keep = keep_until_close(now) if end <= now else 0.0
        calls.append(_chart(capability, request.symbol, request.interval, start, end, keep))
        start = end
    return calls


def _chart(capability: Capability, symbol: str, interval: str, start: datetime, end: datetime, keep: float) -> Call:
    return Call(
        capability,
        "v8/chart",
        CHART + quote(to_vendor(VENDOR, symbol), safe="="),
        {
            "period1": str(int(start.timestamp())),
            "period2": str(int(end.timestamp())),
            "interval": interval,
            "includePrePost": "false",
            "events": "div,splits",
        },
        symbol=symbol,
        keep_seconds=keep,
    )


def quotes_query(symbols: Sequence[str]) -> Call:
    """Transform a question for last prices."""
    return Call(
        Capability.CRYPTO_QUOTES if all(map(is_crypto, symbols)) else Capability.QUOTES,
        "v7/quote",
        "/v7/finance/quote",
        {"symbols": ",".join(to_vendor(VENDOR, symbol) for symbol in symbols), "formatted": "false"},
        symbol=symbols[0] if len(symbols) == 1 else None,
        keep_seconds=60.0,
    )


def profile_query(symbol: str) -> Call:
    """Transform a question for what a company is, and when it next reports earnings."""
    return Call(
        Capability.PROFILE,
        "v10/quoteSummary",
        "/v10/finance/quoteSummary/" + quote(to_vendor(VENDOR, symbol), safe="="),
        {"modules": "assetProfile,price,calendarEvents", "formatted": "false"},
        symbol=symbol,
        keep_seconds=_DAY,
    )


def options_query(symbol: str, expiry: date | None) -> Call:
    """Transform a question for the options of one expiry, or of the nearest one."""
    at = None if expiry is None else int(datetime.combine(expiry, time(), UTC).timestamp())
    return Call(
        Capability.OPTIONS_CHAIN,
        "v7/options",
        "/v7/finance/options/" + quote(to_vendor(VENDOR, symbol), safe="="),
        {} if at is None else {"date": str(at)},
        symbol=symbol,
        keep_seconds=60.0,
    )


def _now() -> datetime:
    return datetime.fromtimestamp(clock.wall(), UTC)


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
    for envelope in (decode_any(answer, dict[str, Any]) or {}).values():
        try:
            error = msgspec.convert(envelope, _Failed).error
        except msgspec.ValidationError:
            continue
        if error is not None:
            return error
    return None
