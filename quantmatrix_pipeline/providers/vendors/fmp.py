"""Financial Modeling Prep: US equities, members of indexes, what companies are.

Daily prices come adjusted for splits; the splits themselves, one more call, undo that. (There is a variant without the
adjustment, but nothing says in which shares its volume counts.) Answers are lists, newest first; an unknown symbol is
an empty one. Intraday times are New York wall time without an offset; nothing trades in the hour that a year has twice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from http import HTTPStatus
from itertools import pairwise
from types import MappingProxyType

import msgspec
import numpy as np

from quantmatrix_pipeline import clock
from quantmatrix_pipeline.errors import (
    AuthFailed,
    MalformedResponse,
    QuotaExhausted,
    RateLimited,
    UnsupportedRequest,
    VendorError,
)
from quantmatrix_pipeline.providers.answers import (
    ActionsAnswer,
    ConstituentsAnswer,
    DailyAnswer,
    IntradayBars,
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
from quantmatrix_pipeline.providers.vendors.fmp_answers import (
    VENDOR,
    Actions,
    read_constituents,
    read_daily,
    read_dividends,
    read_grouped,
    read_intraday,
    read_profile,
    read_quote,
    read_splits,
    serve_intraday,
)
from quantmatrix_pipeline.providers.vendors.shared.corporate_actions import (
    as_traded,
    keep_actions,
    named,
    serve_dividends,
    serve_splits,
)
from quantmatrix_pipeline.providers.vendors.shared.index_members import index_there
from quantmatrix_pipeline.providers.vendors.shared.market_hours import day_in_new_york
from quantmatrix_pipeline.providers.vendors.shared.served_bars import INTRADAY, MARGIN, BarsPart

FREE_ROWS = 5  # splits or dividends that the free plan gives
MOST_ROWS = 1000
GROUPED_REACH = 7  # days; nobody says whether older whole markets are adjusted, and a symbol's range costs one call
_DAY = 24 * 3600.0
_INTERVALS = {"1m": "1min", "5m": "5min"}
INDEXES: Mapping[str, str] = MappingProxyType(
    {"SP500": "sp500-constituent", "NASDAQ100": "nasdaq-constituent", "DOW30": "dowjones-constituent"}
)
_REFUSALS = ("Premium", "Special", "Restricted", "Exclusive", "Legacy", "Limit Reach", "Bandwidth", "Invalid API KEY")


class _Said(msgspec.Struct):
    text: str = msgspec.field(name="Error Message")


class Fmp(HttpVendor):
    """Serves bars, quotes, members of indexes, profiles, splits and dividends.

    Parameters
    ----------
    http
        Its client.
    reach_days
        How many calendar days back the plan has bars; None: no limit.
    """

    name = VENDOR

    def __init__(self, http: Http, reach_days: int | None) -> None:
        grouped = GROUPED_REACH if reach_days is None else min(reach_days, GROUPED_REACH)
        intraday = Offer(reach_days=reach_days)
        super().__init__(
            http,
            {
                Capability.DAILY_BARS: Offer(calls=2, reach_days=reach_days),
                Capability.GROUPED_BARS: Offer(reach_days=grouped),
                Capability.BARS_5M: intraday,
                Capability.BARS_1M: intraday,
                Capability.QUOTES: Offer(),
                Capability.CONSTITUENTS: Offer(),
                Capability.PROFILE: Offer(),
                Capability.SPLITS: Offer(),
                Capability.DIVIDENDS: Offer(),
            },
        )
        self._splits_refused = False  # once the plan has said so, bars are fetched without asking again

    async def daily_bars(self, requests: Sequence[BarRequest]) -> DailyAnswer:
        (request,) = requests
        call = daily_query(request, clock.now())
        bars = await self.http.ask(call, lambda answer: read_daily(call, answer))
        splits: tuple[Split, ...] | None = None
        if not self._splits_refused:
            try:
                splits = (await self._actions(Capability.SPLITS, request.symbol, request.first)).splits
            except UnsupportedRequest as refused:
                self._splits_refused = refused.symbol is None
        return as_traded(VENDOR, request, bars.batch, splits, bars.learned_at)

    async def grouped_bars(self, session: date) -> DailyAnswer:
        call = grouped_query(session)
        return await self.http.ask(call, lambda answer: read_grouped(call, session, answer))

    async def intraday_bars(self, request: IntradayRequest) -> IntradayBars:
        now = clock.now()
        last = day_in_new_york(request.end - timedelta(seconds=1))
        first = day_in_new_york(request.start)
        parts = [await self._stretch(intraday_query(request, first, last, now))]
        # Long stretches come cut off at their old end, and nothing says so.
        while (oldest := _oldest_day(parts[-1])) is not None and np.busday_count(first, oldest) > 0:
            part = await self._stretch(intraday_query(request, first, oldest, now))
            if not len(part) or part.opened_at.min() >= parts[-1].opened_at.min():
                break
            parts.append(part)
        return serve_intraday(request, parts)

    async def quotes(self, symbols: Sequence[str]) -> Sequence[Quote]:
        (symbol,) = symbols
        call = quote_query(symbol)
        return [await self.http.ask(call, lambda answer: read_quote(call, answer))]

    async def splits(self, symbol: str | None, first: date, last: date) -> ActionsAnswer:
        found = await self._actions(Capability.SPLITS, named(VENDOR, symbol), first)
        return serve_splits(VENDOR, symbol, first, last, found.splits)

    async def dividends(self, symbol: str | None, first: date, last: date) -> ActionsAnswer:
        found = await self._actions(Capability.DIVIDENDS, named(VENDOR, symbol), first)
        return serve_dividends(VENDOR, symbol, first, last, found.dividends)

    async def profile(self, symbol: str) -> Profile:
        call = profile_query(symbol)
        return await self.http.ask(call, lambda answer: read_profile(call, answer))

    async def constituents(self, index: str, session: date) -> ConstituentsAnswer:
        call = constituents_query(index)
        return await self.http.ask(call, lambda answer: read_constituents(call, index, answer))

    async def _stretch(self, call: Call) -> BarsPart:
        return await self.http.ask(call, lambda answer: read_intraday(call, answer))

    async def _actions(self, capability: Capability, symbol: str, first: date) -> Actions:
        """Return the actions of a symbol since `first`, and perhaps older ones: in one call where that is certain."""
        now = clock.now()
        read = read_splits if capability is Capability.SPLITS else read_dividends
        call = actions_query(capability, symbol, FREE_ROWS, now)
        found = await self.http.ask(call, lambda answer: read(call, answer))
        if reaches_back(found.days, first):
            return found
        more = actions_query(capability, symbol, MOST_ROWS, now)
        return await self.http.ask(more, lambda answer: read(more, answer))


def connect(access: Access) -> Fmp:
    """Return Financial Modeling Prep as the settings reach it."""
    return Fmp(access.http(VENDOR, refusal, key_name="apikey"), access.reach_days)


def reaches_back(days: Sequence[date], first: date) -> bool:
    """Return whether the newest few actions of a symbol, by their days as they came, are surely all since `first`."""
    if len(days) < FREE_ROWS:
        return True
    newest_first = all(a >= b for a, b in pairwise(days))
    return newest_first and days[-1] < first


def _oldest_day(part: BarsPart) -> date | None:
    return day_in_new_york(part.opened_at.min().item().replace(tzinfo=UTC)) if len(part) else None


# --- queries ----------------------------------------------------------------------------------------------------------


def daily_query(request: BarRequest, now: datetime) -> Call:
    """Transform a question for daily bars; some days more are asked for, so that no bar at all means not known."""
    endpoint = "historical-price-eod/full"
    params = {
        "symbol": to_vendor(VENDOR, request.symbol),
        "from": (request.first - MARGIN).isoformat(),
        "to": request.last.isoformat(),
    }
    keep = keep_until_close(now)
    return Call(Capability.DAILY_BARS, endpoint, f"/{endpoint}", params, symbol=request.symbol, keep_seconds=keep)


def grouped_query(session: date) -> Call:
    """Transform a question for the whole market; errors name the session, which is all that it concerns.

    The answer is not kept: it is stored at once, and would push out much else.
    """
    day = session.isoformat()
    return Call(Capability.GROUPED_BARS, "eod-bulk", "/eod-bulk", {"date": day}, symbol=day)


def intraday_query(request: IntradayRequest, first: date, last: date, now: datetime) -> Call:
    """Transform a question for the intraday bars of the days [first, last]. A stretch not over yet is not kept."""
    return Call(
        INTRADAY[request.interval],
        "historical-chart",
        f"/historical-chart/{_INTERVALS[request.interval]}",
        {"symbol": to_vendor(VENDOR, request.symbol), "from": first.isoformat(), "to": last.isoformat()},
        symbol=request.symbol,
        keep_seconds=keep_until_close(now) if request.end < now else 0.0,
    )


def quote_query(symbol: str) -> Call:
    """Transform a question for a quote."""
    params = {"symbol": to_vendor(VENDOR, symbol)}
    return Call(Capability.QUOTES, "quote", "/quote", params, symbol=symbol, keep_seconds=60.0)


def profile_query(symbol: str) -> Call:
    """Transform a question for what a company is."""
    params = {"symbol": to_vendor(VENDOR, symbol)}
    return Call(Capability.PROFILE, "profile", "/profile", params, symbol=symbol, keep_seconds=_DAY)


def constituents_query(index: str) -> Call:
    """Transform a question for the present members of an index."""
    endpoint = index_there(VENDOR, INDEXES, index)
    return Call(Capability.CONSTITUENTS, endpoint, f"/{endpoint}", symbol=index, keep_seconds=_DAY)


def actions_query(capability: Capability, symbol: str, rows: int, now: datetime) -> Call:
    """Transform a question for the newest splits or dividends of a symbol."""
    endpoint = "splits" if capability is Capability.SPLITS else "dividends"
    params = {"symbol": to_vendor(VENDOR, symbol), "limit": str(rows)}
    return Call(capability, endpoint, f"/{endpoint}", params, symbol=symbol, keep_seconds=keep_actions(now))


# --- refusals ---------------------------------------------------------------------------------------------------------


def refusal(call: Call, answer: Answer) -> VendorError | None:
    """Return the error that an answer carries: `Error Message` in JSON, or plain text (402), whatever the status.

    "Limit Reach" is said of the free plan's day and of a paid plan's minute alike; read as the minute's, it costs a
    free plan a vain call now and then, while the other way round a paid plan would stand still for a day.
    """
    said = decode_any(answer, _Said) if answer.content[:1] == b"{" else None
    text = said.text if said is not None else answer.text(400)
    if said is None and not text.startswith(_REFUSALS) and answer.status != HTTPStatus.PAYMENT_REQUIRED:
        return None
    if "Bandwidth" in text:
        return QuotaExhausted(VENDOR, text, symbol=call.symbol)
    if answer.status == HTTPStatus.TOO_MANY_REQUESTS or "Limit Reach" in text:
        return RateLimited(VENDOR, text, symbol=call.symbol, retry_after=retry_after(answer))
    if answer.status == HTTPStatus.UNAUTHORIZED or "Invalid API KEY" in text:
        return AuthFailed(VENDOR, f"{text}; check FMP_API_KEY")
    if "Premium Query Parameter" in text or "Special Endpoint" in text:
        return UnsupportedRequest(VENDOR, f"{call.endpoint}: {text}", symbol=call.symbol)
    if answer.status in (HTTPStatus.PAYMENT_REQUIRED, HTTPStatus.FORBIDDEN) or " Endpoint" in text:
        return UnsupportedRequest(VENDOR, f"{call.endpoint}: {text} (the plan behind FMP_API_KEY)")
    if answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return None
    return MalformedResponse(VENDOR, f"{call.endpoint}: {text}", symbol=call.symbol)
