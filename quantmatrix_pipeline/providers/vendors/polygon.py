"""Polygon.io, which has called itself Massive since October 2025: US equities in prices as traded.

One call brings the whole market of one session. Stamps are milliseconds: a day's is midnight in New York, a whole
market's and a previous day's is 16:00 there, an intraday bar's is its open. The host in `next_url` is theirs, without
the key; only its path and query are followed, on our base URL.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import date, datetime
from http import HTTPStatus
from typing import Protocol, TypeVar
from urllib.parse import parse_qsl, urlsplit

import msgspec

from quantmatrix_pipeline import clock
from quantmatrix_pipeline.errors import (
    AuthFailed,
    MalformedResponse,
    RateLimited,
    SymbolNotFound,
    UnsupportedRequest,
    VendorError,
)
from quantmatrix_pipeline.providers.answers import ActionsAnswer, DailyAnswer, IntradayBars, Profile, Quote
from quantmatrix_pipeline.providers.contract import BarRequest, Capability, IntradayRequest, Offer
from quantmatrix_pipeline.providers.symbols import to_vendor
from quantmatrix_pipeline.providers.transport.calls import Answer, Call
from quantmatrix_pipeline.providers.transport.http import Http, retry_after
from quantmatrix_pipeline.providers.transport.kept_for import keep_until_close
from quantmatrix_pipeline.providers.transport.reading import decode_any
from quantmatrix_pipeline.providers.transport.vendor import Access, HttpVendor
from quantmatrix_pipeline.providers.vendors.polygon_answers import (
    TWICE,
    read_dividends,
    read_previous,
    read_profile,
    read_snapshot,
    read_splits,
    without_repeats,
)
from quantmatrix_pipeline.providers.vendors.polygon_bars import (
    DELAY,
    GOOD,
    read_bars,
    read_grouped,
    serve_daily,
    serve_intraday,
)
from quantmatrix_pipeline.providers.vendors.polygon_bars import VENDOR as VENDOR
from quantmatrix_pipeline.providers.vendors.shared.corporate_actions import serve_dividends, serve_splits
from quantmatrix_pipeline.providers.vendors.shared.served_bars import INTRADAY, MARGIN

MOST_PAGES = 200  # 50,000 minutes or 1,000 actions each: over any history they have
FREE_REACH = 730  # days of history in the free plan, the one without snapshots
LONGEST_REFUSAL = 4096  # bytes; a whole market need not be read twice to see that it is no refusal
_MINUTES = {"1m": "1", "5m": "5"}
_DAY = 24 * 3600.0


class _Said(msgspec.Struct):
    status: str = ""
    error: str = ""
    message: str = ""


class _Page(Protocol):
    @property
    def next_url(self) -> str | None: ...


P = TypeVar("P", bound=_Page)


class Polygon(HttpVendor):
    """Serves bars, whole markets, splits, dividends, what a company is, and quotes.

    Parameters
    ----------
    http
        Its client.
    reach_days
        How many calendar days back the plan has bars; None: no limit. With more than the free plan's two years, quotes
        are snapshots; else they are the previous session's bar.
    """

    name = VENDOR

    def __init__(self, http: Http, reach_days: int | None) -> None:
        bars = Offer(reach_days=reach_days)
        actions = Offer(whole_market=True)
        super().__init__(
            http,
            {
                Capability.DAILY_BARS: bars,
                Capability.GROUPED_BARS: bars,
                Capability.BARS_5M: bars,
                Capability.BARS_1M: bars,
                Capability.QUOTES: Offer(),
                Capability.SPLITS: actions,
                Capability.DIVIDENDS: actions,
                Capability.PROFILE: Offer(),
            },
        )
        self._snapshots = reach_days is None or reach_days > FREE_REACH

    async def daily_bars(self, requests: Sequence[BarRequest]) -> DailyAnswer:
        (request,) = requests
        call = daily_query(request, clock.now())
        return serve_daily(call, request, await self._pages(call, read_bars))

    async def grouped_bars(self, session: date) -> DailyAnswer:
        call = grouped_query(session)
        return await self.http.ask(call, lambda answer: read_grouped(call, session, answer))

    async def intraday_bars(self, request: IntradayRequest) -> IntradayBars:
        call = intraday_query(request, clock.now())
        return serve_intraday(call, request, await self._pages(call, read_bars))

    async def quotes(self, symbols: Sequence[str]) -> Sequence[Quote]:
        (symbol,) = symbols
        call, read = (
            (snapshot_query(symbol), read_snapshot) if self._snapshots else (previous_query(symbol), read_previous)
        )
        return [await self.http.ask(call, lambda answer: read(call, answer))]

    async def splits(self, symbol: str | None, first: date, last: date) -> ActionsAnswer:
        # What is announced for the days after tells a split that stands there twice from one that is true.
        call = actions_query(Capability.SPLITS, symbol, first, last + TWICE, clock.now())
        pages = await self._pages(call, read_splits)
        found = without_repeats([split for page in pages for split in page.splits])
        return serve_splits(VENDOR, symbol, first, last, found)

    async def dividends(self, symbol: str | None, first: date, last: date) -> ActionsAnswer:
        call = actions_query(Capability.DIVIDENDS, symbol, first, last, clock.now())
        pages = await self._pages(call, read_dividends)
        return serve_dividends(VENDOR, symbol, first, last, [paid for page in pages for paid in page.dividends])

    async def profile(self, symbol: str) -> Profile:
        call = profile_query(symbol)
        return await self.http.ask(call, lambda answer: read_profile(call, answer))

    async def _pages(self, call: Call, read: Callable[[Call, Answer], P]) -> list[P]:
        """Return all pages of an answer, each asked for with a call of its own."""
        asked: set[tuple[str, tuple[tuple[str, str], ...]]] = set()
        pages: list[P] = []
        while len(pages) < MOST_PAGES:
            asked.add((call.path, tuple(sorted(call.params.items()))))
            page = await self.http.ask(call, _reading(read, call))
            pages.append(page)
            if not page.next_url:
                return pages
            call = next_query(call, page.next_url)
            if (call.path, tuple(sorted(call.params.items()))) in asked:
                raise MalformedResponse(VENDOR, f"{call.endpoint}: the pages go round in a circle", symbol=call.symbol)
        raise MalformedResponse(VENDOR, f"{call.endpoint}: no end after {MOST_PAGES} pages", symbol=call.symbol)


def connect(access: Access) -> Polygon:
    """Return Polygon as the settings reach it."""
    http = access.http(VENDOR, refusal, key_name="Authorization", header=True, prefix="Bearer ")
    return Polygon(http, access.reach_days)


def _reading(read: Callable[[Call, Answer], P], call: Call) -> Callable[[Answer], P]:
    return lambda answer: read(call, answer)


# --- queries ----------------------------------------------------------------------------------------------------------


def daily_query(request: BarRequest, now: datetime) -> Call:
    """Transform a question for daily bars; some days more are asked for, so that no bar at all means not known."""
    theirs = to_vendor(VENDOR, request.symbol)
    return Call(
        Capability.DAILY_BARS,
        "v2/aggs/day",
        f"/v2/aggs/ticker/{theirs}/range/1/day/{request.first - MARGIN}/{request.last}",
        {"adjusted": "false", "sort": "asc", "limit": "50000"},
        symbol=request.symbol,
        keep_seconds=keep_until_close(now),
    )


def grouped_query(session: date) -> Call:
    """Transform a question for the whole market; errors name the session, which is all that it concerns.

    The answer is not kept: it is stored at once, and years of markets would push out everything else.
    """
    return Call(
        Capability.GROUPED_BARS,
        "v2/aggs/grouped",
        f"/v2/aggs/grouped/locale/us/market/stocks/{session}",
        {"adjusted": "false", "include_otc": "false"},
        symbol=session.isoformat(),
    )


def intraday_query(request: IntradayRequest, now: datetime) -> Call:
    """Transform a question for intraday bars; their range includes both ends. One not over yet is not kept."""
    theirs = to_vendor(VENDOR, request.symbol)
    first, last = _millis(request.start), _millis(request.end) - 1
    return Call(
        INTRADAY[request.interval],
        "v2/aggs/minute",
        f"/v2/aggs/ticker/{theirs}/range/{_MINUTES[request.interval]}/minute/{first}/{last}",
        {"adjusted": "false", "sort": "asc", "limit": "50000"},
        symbol=request.symbol,
        keep_seconds=keep_until_close(now) if request.end + DELAY < now else 0.0,
    )


def actions_query(capability: Capability, symbol: str | None, first: date, last: date, now: datetime) -> Call:
    """Transform a question for splits or dividends with ex-dates in [first, last], of one symbol or of all."""
    name, day = ("splits", "execution_date") if capability is Capability.SPLITS else ("dividends", "ex_dividend_date")
    return Call(
        capability,
        f"v3/reference/{name}",
        f"/v3/reference/{name}",
        {
            **({} if symbol is None else {"ticker": to_vendor(VENDOR, symbol)}),
            f"{day}.gte": first.isoformat(),
            f"{day}.lte": last.isoformat(),
            "sort": day,
            "order": "asc",
            "limit": "1000",
        },
        symbol=symbol,
        keep_seconds=min(_DAY, keep_until_close(now)),
    )


def profile_query(symbol: str) -> Call:
    """Transform a question for what a company is."""
    theirs = to_vendor(VENDOR, symbol)
    endpoint = "v3/reference/tickers"
    return Call(Capability.PROFILE, endpoint, f"/{endpoint}/{theirs}", symbol=symbol, keep_seconds=_DAY)


def previous_query(symbol: str) -> Call:
    """Transform a question for a quote, for plans that have no newer price than the previous session's."""
    path = f"/v2/aggs/ticker/{to_vendor(VENDOR, symbol)}/prev"
    return Call(Capability.QUOTES, "v2/aggs/prev", path, {"adjusted": "false"}, symbol=symbol, keep_seconds=60.0)


def snapshot_query(symbol: str) -> Call:
    """Transform a question for a quote, for plans that have snapshots."""
    path = f"/v2/snapshot/locale/us/markets/stocks/tickers/{to_vendor(VENDOR, symbol)}"
    return Call(Capability.QUOTES, "v2/snapshot", path, symbol=symbol, keep_seconds=60.0)


def next_query(call: Call, next_url: str) -> Call:
    """Return the call for the page that follows: path and query of `next_url`, whatever host it names."""
    parts = urlsplit(next_url)
    if not parts.path.startswith("/v"):
        raise MalformedResponse(VENDOR, f"{call.endpoint}: no such page as {next_url[:120]!r}", symbol=call.symbol)
    return replace(call, path=parts.path, params={k: v for k, v in parse_qsl(parts.query) if k.lower() != "apikey"})


def _millis(at: datetime) -> int:
    return int(at.timestamp()) * 1000


# --- refusals ---------------------------------------------------------------------------------------------------------


def refusal(call: Call, answer: Answer) -> VendorError | None:
    """Return the error that an answer carries; `DELAYED` is a success of a plan with delayed data."""
    if len(answer.content) > LONGEST_REFUSAL:
        return None
    said = decode_any(answer, _Said)
    if said is None:
        return None
    failed = answer.status >= HTTPStatus.BAD_REQUEST
    if not failed and (said.status in GOOD or not (said.status or said.error)):
        return None
    text = said.error or said.message or said.status
    if answer.status == HTTPStatus.TOO_MANY_REQUESTS or "maximum requests" in text:
        return RateLimited(VENDOR, text, symbol=call.symbol, retry_after=retry_after(answer))
    if answer.status == HTTPStatus.UNAUTHORIZED or "api key" in text.lower():
        return AuthFailed(VENDOR, f"{text}; check POLYGON_API_KEY")
    if "timeframe" in text:
        return UnsupportedRequest(VENDOR, f"{call.endpoint}: {text}", symbol=call.symbol)
    if said.status == "NOT_AUTHORIZED" or answer.status == HTTPStatus.FORBIDDEN:
        return UnsupportedRequest(VENDOR, f"{call.endpoint}: {text} (the plan behind POLYGON_API_KEY)")
    if said.status == "NOT_FOUND" and call.symbol is not None:
        return SymbolNotFound(VENDOR, text, symbol=call.symbol)
    if answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return None
    return MalformedResponse(VENDOR, f"{call.endpoint}: {said.status}: {text}", symbol=call.symbol)
