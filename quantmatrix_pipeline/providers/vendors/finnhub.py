"""Finnhub: quotes and companies in every plan; bars, options, actions and members of indexes in paid ones.

Bars are columns of numbers with times in seconds; daily ones come adjusted for splits, which the splits, one more call,
undo; intraday ones come as traded, a month at a time. A quote of zeros, or a company without anything, is one that is
not known. Market capitalisations are in millions. What the plan lacks is refused with 403.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from functools import partial
from http import HTTPStatus
from types import MappingProxyType

import msgspec

from quantmatrix_pipeline import clock
from quantmatrix_pipeline.errors import AuthFailed, MalformedResponse, RateLimited, UnsupportedRequest, VendorError
from quantmatrix_pipeline.providers.answers import (
    ActionsAnswer,
    ConstituentsAnswer,
    DailyAnswer,
    IntradayBars,
    OptionChain,
    Profile,
    Quote,
    Split,
)
from quantmatrix_pipeline.providers.contract import BarRequest, Capability, IntradayRequest, Offer
from quantmatrix_pipeline.providers.symbols import to_vendor
from quantmatrix_pipeline.providers.transport.calls import Answer, Call
from quantmatrix_pipeline.providers.transport.http import Http, retry_after
from quantmatrix_pipeline.providers.transport.kept_for import keep_until_close
from quantmatrix_pipeline.providers.transport.reading import decode_any
from quantmatrix_pipeline.providers.transport.vendor import Access, HttpVendor
from quantmatrix_pipeline.providers.vendors.finnhub_answers import (
    VENDOR,
    read_constituents,
    read_daily,
    read_dividends,
    read_earnings,
    read_intraday,
    read_options,
    read_profile,
    read_quote,
    read_splits,
    serve_daily,
    serve_intraday,
)
from quantmatrix_pipeline.providers.vendors.shared.corporate_actions import keep_actions, named
from quantmatrix_pipeline.providers.vendors.shared.index_members import index_there
from quantmatrix_pipeline.providers.vendors.shared.market_hours import day_in_new_york
from quantmatrix_pipeline.providers.vendors.shared.served_bars import INTRADAY, MARGIN

EARNINGS_AHEAD = timedelta(days=120)  # a quarter, and some days for who is late
_MONTH = timedelta(days=30)  # the most of intraday bars that one call brings
_DAY = 24 * 3600.0
_LONGEST_PAUSE = 3600.0  # seconds; a limit per minute that renews later than this is none
_RESOLUTIONS = {"1m": "1", "5m": "5"}
# In every plan: when these are refused, it is the symbol that the plan does not have.
_FREE = frozenset({Capability.QUOTES, Capability.PROFILE})
INDEXES: Mapping[str, str] = MappingProxyType({"SP500": "^GSPC", "NASDAQ100": "^NDX", "DOW30": "^DJI"})


class _Said(msgspec.Struct):
    error: str


class Finnhub(HttpVendor):
    """Serves quotes, companies, bars, options, splits, dividends and members of indexes.

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
        bars = await self.http.ask(call, lambda answer: read_daily(call, answer))
        splits: tuple[Split, ...] | None = None
        if not self._splits_refused:
            last = day_in_new_york(now)
            try:
                splits = (await self.splits(request.symbol, request.first, last)).splits
            except UnsupportedRequest:
                self._splits_refused = True
        return serve_daily(call, request, bars, splits)

    async def intraday_bars(self, request: IntradayRequest) -> IntradayBars:
        calls = intraday_queries(request, clock.now())
        parts = [await self.http.ask(call, partial(read_intraday, call)) for call in calls]
        return serve_intraday(request, parts)

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
    first = datetime.combine(request.first - MARGIN, time(), UTC)
    end = datetime.combine(request.last + timedelta(days=1), time(), UTC)
    return _candles_query(Capability.DAILY_BARS, request.symbol, "D", first, end, keep_until_close(now))


def intraday_queries(request: IntradayRequest, now: datetime) -> list[Call]:
    """Transform a question for intraday bars into one call per month, ascending. A month not over yet is not kept."""
    capability = INTRADAY[request.interval]
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
    first = day_in_new_york(now)
    params = {
        "symbol": to_vendor(VENDOR, symbol),
        "from": first.isoformat(),
        "to": (first + EARNINGS_AHEAD).isoformat(),
    }
    endpoint = "calendar/earnings"
    return Call(Capability.PROFILE, endpoint, f"/{endpoint}", params, symbol=symbol, keep_seconds=_DAY)


def actions_query(capability: Capability, symbol: str, first: date, last: date, now: datetime) -> Call:
    """Transform a question for the splits or dividends of [first, last], both inclusive."""
    endpoint = "stock/split" if capability is Capability.SPLITS else "stock/dividend"
    params = {"symbol": to_vendor(VENDOR, symbol), "from": first.isoformat(), "to": last.isoformat()}
    return Call(capability, endpoint, f"/{endpoint}", params, symbol=symbol, keep_seconds=keep_actions(now))


def constituents_query(index: str) -> Call:
    """Transform a question for the present members of an index."""
    params = {"symbol": index_there(VENDOR, INDEXES, index)}
    endpoint = "index/constituents"
    return Call(Capability.CONSTITUENTS, endpoint, f"/{endpoint}", params, symbol=index, keep_seconds=_DAY)


def options_query(symbol: str) -> Call:
    """Transform a question for all options on a symbol."""
    params = {"symbol": to_vendor(VENDOR, symbol)}
    endpoint = "stock/option-chain"
    return Call(Capability.OPTIONS_CHAIN, endpoint, f"/{endpoint}", params, symbol=symbol, keep_seconds=60.0)


# --- refusals ---------------------------------------------------------------------------------------------------------


def refusal(call: Call, answer: Answer) -> VendorError | None:
    """Return the error that an answer carries, whatever its status."""
    said = decode_any(answer, _Said)
    if said is None:
        return None
    text = " ".join(said.error.split())[:300]
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
