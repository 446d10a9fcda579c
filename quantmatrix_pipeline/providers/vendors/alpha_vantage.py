"""Alpha Vantage: a hundred daily bars as traded, quotes, companies, splits and dividends; intraday bars in paid plans.

One path, told apart by `function`; every answer has status 200, and a refusal is a text under one of three names, which
only its words tell apart. Any key is accepted; one that is wrong is answered like one that is used up. Rows are objects
by date, newest first, all numbers as text, nothing as "None" or "-". Intraday times are New York wall time of the open;
only the regular session is asked for, and nothing trades in the hour that a year has twice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from functools import partial
from http import HTTPStatus

import msgspec

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
from quantmatrix_pipeline.providers.answers import ActionsAnswer, DailyAnswer, IntradayBars, Profile, Quote
from quantmatrix_pipeline.providers.contract import BarRequest, Capability, IntradayRequest, Offer
from quantmatrix_pipeline.providers.symbols import to_vendor
from quantmatrix_pipeline.providers.transport.calls import Answer, Call
from quantmatrix_pipeline.providers.transport.kept_for import keep_until_close
from quantmatrix_pipeline.providers.transport.reading import decode_any
from quantmatrix_pipeline.providers.transport.vendor import Access, HttpVendor
from quantmatrix_pipeline.providers.vendors.alpha_vantage_answers import (
    INTERVALS,
    VENDOR,
    read_daily,
    read_dividends,
    read_intraday,
    read_profile,
    read_quote,
    read_splits,
    serve_intraday,
)
from quantmatrix_pipeline.providers.vendors.shared.corporate_actions import named
from quantmatrix_pipeline.providers.vendors.shared.market_hours import day_in_new_york
from quantmatrix_pipeline.providers.vendors.shared.served_bars import INTRADAY

PATH = "/query"
DAILY_REACH = 140  # calendar days: no more than a hundred sessions
BURST_PAUSE = 1.5  # seconds; one call a second is allowed
_MINUTE = 60.0
_DAY = 24 * 3600.0


class _Said(
    msgspec.Struct, rename={"information": "Information", "note": "Note", "error": "Error Message"}, kw_only=True
):
    information: str = ""
    note: str = ""
    error: str = ""


class AlphaVantage(HttpVendor):
    """Serves bars, quotes, companies, splits and dividends of shares and funds."""

    name = VENDOR

    async def daily_bars(self, requests: Sequence[BarRequest]) -> DailyAnswer:
        (request,) = requests
        call = daily_query(request.symbol, clock.now())
        return await self.http.ask(call, lambda answer: read_daily(call, request, answer))

    async def intraday_bars(self, request: IntradayRequest) -> IntradayBars:
        calls = intraday_queries(request, clock.now())
        return serve_intraday(request, [await self.http.ask(call, partial(read_intraday, call)) for call in calls])

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
    day = day_in_new_york(request.start).replace(day=1)
    last = day_in_new_york(request.end - timedelta(seconds=1))
    this_month = day_in_new_york(now).strftime("%Y-%m")
    calls = []
    while day <= last:
        month = day.strftime("%Y-%m")
        more = {
            "interval": INTERVALS[request.interval],
            "adjusted": "false",
            "extended_hours": "false",
            "month": month,
            "outputsize": "full",
            "datatype": "json",
        }
        keep = keep_until_close(now) if month < this_month else 0.0
        calls.append(_query(INTRADAY[request.interval], "TIME_SERIES_INTRADAY", request.symbol, keep, more))
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


# --- refusals ---------------------------------------------------------------------------------------------------------


def refusal(call: Call, answer: Answer) -> VendorError | None:
    """Return the error that an answer carries; only its words tell which.

    The order counts: what is said of one call a second also names the day's calls and the paid plans, what is said of
    the day's calls also the plans.
    """
    if answer.status >= HTTPStatus.BAD_REQUEST:
        return None
    said = decode_any(answer, _Said)
    if said is None:
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
