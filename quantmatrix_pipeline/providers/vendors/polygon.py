"""Polygon.io, which has called itself Massive since October 2025: US equities in prices as traded.

One call brings the whole market of one session. Stamps are milliseconds: a day's is midnight in New York, a whole
market's and a previous day's is 16:00 there, an intraday bar's is its open. The host in `next_url` is theirs, without
the key; only its path and query are followed, on our base URL.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from functools import lru_cache
from http import HTTPStatus
from typing import Annotated, Generic, Protocol, TypeVar
from urllib.parse import parse_qsl, urlsplit

import msgspec
import numpy as np
import numpy.typing as npt

from quantmatrix_pipeline import clock
from quantmatrix_pipeline.bars.batch import BarBatch, Basis, Dates, Floats
from quantmatrix_pipeline.errors import (
    AuthFailed,
    MalformedResponse,
    RateLimited,
    SymbolNotFound,
    UnsupportedRequest,
    VendorError,
)
from quantmatrix_pipeline.providers.answers import (
    ActionsAnswer,
    DailyAnswer,
    Dividend,
    IntradayBars,
    Profile,
    Quote,
    Split,
    UnreadableRow,
)
from quantmatrix_pipeline.providers.contract import BarRequest, Capability, IntradayRequest, Offer
from quantmatrix_pipeline.providers.symbols import from_vendor, to_vendor
from quantmatrix_pipeline.providers.transport.calls import Answer, Call
from quantmatrix_pipeline.providers.transport.http import Http, retry_after
from quantmatrix_pipeline.providers.transport.kept_for import NEW_YORK, keep_until_close
from quantmatrix_pipeline.providers.transport.reading import decode, finite, one_symbol, same_symbol
from quantmatrix_pipeline.providers.transport.vendor import Access, HttpVendor
from quantmatrix_pipeline.providers.vendors.shared.held_bars import HeldBars
from quantmatrix_pipeline.providers.vendors.shared.market_hours import closed_bars, closed_sessions, has_closed

VENDOR = "polygon"
MOST_PAGES = 200  # 50,000 minutes or 1,000 actions each: over any history they have
FREE_REACH = 730  # days of history in the free plan, the one without snapshots
LONGEST_REFUSAL = 4096  # bytes; a whole market need not be read twice to see that it is no refusal
_MINUTES = {"1m": "1", "5m": "5"}
_MARGIN = timedelta(days=10)  # over any holidays: a known symbol then has a bar, even if not on the day asked for
_TWICE = timedelta(days=14)  # within which a symbol does not split twice alike
_DELAY = timedelta(minutes=15)  # by which a plan's answers lag that call themselves delayed
_LEAST, _MOST = 1e-6, 1e6  # shares on either side of a split
_DAY = 24 * 3600.0
_HOUR_MS = 3_600_000
_MIDNIGHTS = (4 * _HOUR_MS, 5 * _HOUR_MS)  # of New York, in UTC
_GOOD = ("OK", "DELAYED")

log = logging.getLogger(__name__)

Millis = npt.NDArray[np.int64]
MillisStamp = Annotated[int, msgspec.Meta(ge=0, lt=1 << 43)]  # up to the year 2248
NanosStamp = Annotated[int, msgspec.Meta(ge=0, lt=1 << 62)]  # up to the year 2116
R = TypeVar("R")


class _Bar(
    msgspec.Struct, gc=False, rename={"at": "t", "open": "o", "high": "h", "low": "l", "close": "c", "volume": "v"}
):
    at: MillisStamp
    open: float | None = None
    high: float | None = None
    low: float | None = None
    close: float | None = None
    volume: float | None = None


class _MarketBar(_Bar, gc=False, kw_only=True, rename={"ticker": "T"}):
    ticker: str


B = TypeVar("B", bound=_Bar)


class _Bars(msgspec.Struct, Generic[B], rename={"count": "resultsCount"}):
    status: str
    count: int
    ticker: str | None = None
    adjusted: bool | None = None
    results: list[B] | None = None
    next_url: str | None = None


class _SplitRow(msgspec.Struct):
    ticker: str
    execution_date: date
    split_from: float
    split_to: float


class _DividendRow(msgspec.Struct):
    ticker: str
    ex_dividend_date: date
    cash_amount: float
    currency: str | None = None
    dividend_type: str | None = None


class _Rows(msgspec.Struct, Generic[R]):
    status: str
    results: list[R] | None = None
    next_url: str | None = None


class _Company(msgspec.Struct):
    ticker: str
    name: str | None = None
    primary_exchange: str | None = None
    sic_description: str | None = None
    market_cap: float | None = None
    currency_name: str | None = None


class _Details(msgspec.Struct):
    results: _Company


class _Trade(msgspec.Struct):
    p: float | None = None
    t: NanosStamp | None = None


class _Spread(msgspec.Struct, rename={"ask": "P", "bid": "p"}):
    ask: float | None = None
    bid: float | None = None


class _DayBar(msgspec.Struct):
    o: float | None = None
    h: float | None = None
    l: float | None = None  # noqa: E741
    c: float | None = None
    v: float | None = None


class _Snapshot(msgspec.Struct, rename={"trade": "lastTrade", "spread": "lastQuote", "previous": "prevDay"}):
    ticker: str
    updated: NanosStamp
    day: _DayBar
    previous: _DayBar | None = None
    trade: _Trade | None = None
    spread: _Spread | None = None


class _Snapped(msgspec.Struct):
    ticker: _Snapshot


class _Said(msgspec.Struct):
    status: str = ""
    error: str = ""
    message: str = ""


class _Page(Protocol):
    @property
    def next_url(self) -> str | None: ...


P = TypeVar("P", bound=_Page)


@dataclass(frozen=True, slots=True)
class BarsPage:
    """A page of one symbol's bars; `columns` are open, high, low, close, volume."""

    at: Millis
    columns: tuple[Floats, ...]
    adjusted: bool
    delayed: bool
    learned_at: datetime
    next_url: str | None


@dataclass(frozen=True, slots=True)
class ActionsPage:
    """A page of splits or dividends."""

    splits: tuple[Split, ...]
    dividends: tuple[Dividend, ...]
    next_url: str | None


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
        return read_daily(call, request, await self._pages(call, read_bars))

    async def grouped_bars(self, session: date) -> DailyAnswer:
        call = grouped_query(session)
        return await self.http.ask(call, lambda answer: read_grouped(call, session, answer))

    async def intraday_bars(self, request: IntradayRequest) -> IntradayBars:
        call = intraday_query(request, clock.now())
        return read_intraday(call, request, await self._pages(call, read_bars))

    async def quotes(self, symbols: Sequence[str]) -> Sequence[Quote]:
        (symbol,) = symbols
        call, read = (
            (snapshot_query(symbol), read_snapshot) if self._snapshots else (previous_query(symbol), read_previous)
        )
        return [await self.http.ask(call, lambda answer: read(call, answer))]

    async def splits(self, symbol: str | None, first: date, last: date) -> ActionsAnswer:
        # What is announced for the days after tells a split that stands there twice from one that is true.
        call = actions_query(Capability.SPLITS, symbol, first, last + _TWICE, clock.now())
        pages = await self._pages(call, read_splits)
        found = without_repeats([split for page in pages for split in page.splits])
        return ActionsAnswer(VENDOR, symbol, first, last, splits=tuple(s for s in found if s.ex_date <= last))

    async def dividends(self, symbol: str | None, first: date, last: date) -> ActionsAnswer:
        call = actions_query(Capability.DIVIDENDS, symbol, first, last, clock.now())
        pages = await self._pages(call, read_dividends)
        return ActionsAnswer(VENDOR, symbol, first, last, dividends=tuple(d for page in pages for d in page.dividends))

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
        f"/v2/aggs/ticker/{theirs}/range/1/day/{request.first - _MARGIN}/{request.last}",
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
        Capability.BARS_1M if request.interval == "1m" else Capability.BARS_5M,
        "v2/aggs/minute",
        f"/v2/aggs/ticker/{theirs}/range/{_MINUTES[request.interval]}/minute/{first}/{last}",
        {"adjusted": "false", "sort": "asc", "limit": "50000"},
        symbol=request.symbol,
        keep_seconds=keep_until_close(now) if request.end + _DELAY < now else 0.0,
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


# --- answers ----------------------------------------------------------------------------------------------------------


def read_bars(call: Call, answer: Answer) -> BarsPage:
    """Transform a page of one symbol's bars.

    Raises
    ------
    MalformedResponse
        If it is not of the documented shape, another symbol's, shorter than it says, or holds a price that is none.
    """
    body = _complete(call, decode(VENDOR, call, answer, _Bars[_Bar]))
    same_symbol(VENDOR, call, to_vendor(VENDOR, call.symbol or ""), body.ticker)
    rows = body.results or []
    prices = [
        finite(VENDOR, call, "o", [r.open for r in rows]),
        finite(VENDOR, call, "h", [r.high for r in rows]),
        finite(VENDOR, call, "l", [r.low for r in rows]),
        finite(VENDOR, call, "c", [r.close for r in rows]),
    ]
    return BarsPage(
        np.array([r.at for r in rows], np.int64),
        (*prices, np.array([r.volume for r in rows], np.float64)),
        bool(body.adjusted),
        body.status == "DELAYED",
        answer.learned_at,
        body.next_url,
    )


def read_daily(call: Call, request: BarRequest, pages: Sequence[BarsPage]) -> DailyAnswer:
    """Transform all pages of a symbol's daily bars into those on the sessions asked for.

    Raises
    ------
    SymbolNotFound
        If there is not one bar: an unknown symbol is answered like a time without trade.
    MalformedResponse
        If a stamp is no midnight in New York, or the bars don't ascend.
    """
    at, columns = _joined(call, pages)
    if not len(at):
        what = f"no bar from {request.first - _MARGIN} to {request.last}: not known there, or not traded in that time"
        raise SymbolNotFound(VENDOR, what, symbol=request.symbol)
    wrong = np.flatnonzero(~np.isin(at % (24 * _HOUR_MS), _MIDNIGHTS))
    if len(wrong):
        what = f"{call.endpoint}: bar {wrong[0] + 1}: {at[wrong[0]]} is no midnight in New York"
        raise MalformedResponse(VENDOR, what, symbol=call.symbol)
    session = _days(at)
    closed = closed_sessions(session, _known_until(pages))
    batch = one_symbol(request.symbol, session[closed], [c[closed] for c in columns])
    bars = HeldBars(batch).serve([request], weekends=False)
    basis, basis_date = _basis(any(page.adjusted for page in pages), pages[0].learned_at)
    silent = () if len(bars) else (request.symbol,)
    return DailyAnswer(VENDOR, basis, basis_date, bars, silent=silent, learned_at=pages[-1].learned_at)


def read_intraday(call: Call, request: IntradayRequest, pages: Sequence[BarsPage]) -> IntradayBars:
    """Transform all pages of a symbol's intraday bars into those that open in [start, end) and have closed.

    Raises
    ------
    MalformedResponse
        If the bars don't ascend, which is also how a page that comes twice shows.
    """
    at, columns = _joined(call, pages)
    opened_at = (at // 1000).astype("datetime64[s]")
    inside = (at >= _millis(request.start)) & (at < _millis(request.end))
    inside &= closed_bars(opened_at, request.interval, _known_until(pages))
    opened, high, low, close, volume = (column[inside] for column in columns)
    basis, basis_date = _basis(any(page.adjusted for page in pages), pages[0].learned_at)
    return IntradayBars(
        vendor=VENDOR,
        symbol=request.symbol,
        interval=request.interval,
        basis=basis,
        basis_date=basis_date,
        opened_at=opened_at[inside],
        open=opened,
        high=high,
        low=low,
        close=close,
        volume=volume,
        learned_at=pages[-1].learned_at,
    )


def read_grouped(call: Call, session: date, answer: Answer) -> DailyAnswer:
    """Transform a whole market's bars of one session.

    Tickers without a canonical symbol (preferred shares, rights) are left out; a row without a price, or of another
    day, is `unreadable`. No rows at all are a day without trade, not closed yet, or not yet there.

    Raises
    ------
    MalformedResponse
        If it is not of the documented shape, shorter than it says, or wholly another day's.
    """
    body = _complete(call, decode(VENDOR, call, answer, _Bars[_MarketBar]))
    until = answer.learned_at - (_DELAY if body.status == "DELAYED" else timedelta(0))
    rows = body.results if body.results and has_closed(session, until) else []
    found = [canonical(row.ticker) for row in rows]
    names = [name for name in found if name is not None]
    if len(names) < len(rows):
        rows = [row for row, name in zip(rows, found, strict=True) if name is not None]
    columns = [
        np.array([row.open for row in rows], np.float64),
        np.array([row.high for row in rows], np.float64),
        np.array([row.low for row in rows], np.float64),
        np.array([row.close for row in rows], np.float64),
        np.array([row.volume for row in rows], np.float64),
    ]
    days = _days(np.array([row.at for row in rows], np.int64))
    of_the_day = days == np.datetime64(session, "D")
    if len(rows) and not of_the_day.any():
        raise MalformedResponse(VENDOR, f"{call.endpoint}: asked for {session}, answered with {days[0]}")
    priced = np.isfinite(columns[0]) & np.isfinite(columns[1]) & np.isfinite(columns[2]) & np.isfinite(columns[3])
    good = of_the_day & priced
    unreadable = tuple(
        UnreadableRow(
            names[row],
            session,
            "wrong_type" if of_the_day[row] else "bad_date",
            f"whole market of {session}: " + ("a price is missing" if of_the_day[row] else f"dated {days[row]}"),
            msgspec.to_builtins(rows[row]),
        )
        for row in np.flatnonzero(~good)
    )
    symbols = tuple(dict.fromkeys(names))
    if len(symbols) == len(names):
        index = np.arange(len(names), dtype=np.int32)
    else:  # the rows go on as they came; validation refuses a bar that stands twice
        place = {name: i for i, name in enumerate(symbols)}
        index = np.array([place[name] for name in names], np.int32)
    batch = BarBatch(symbols, index, days, *columns)
    basis, basis_date = _basis(bool(body.adjusted), answer.learned_at)
    return DailyAnswer(
        VENDOR,
        basis,
        basis_date,
        batch if good.all() else batch.take(good),
        unreadable=unreadable,
        learned_at=answer.learned_at,
    )


def read_splits(call: Call, answer: Answer) -> ActionsPage:
    """Transform a page of splits; for the whole market, tickers without a canonical symbol are left out.

    Raises
    ------
    MalformedResponse
        If it is not of the documented shape or another symbol's, or a split of the one symbol asked for is none.
    """
    body = _complete(call, decode(VENDOR, call, answer, _Rows[_SplitRow]))
    found = []
    for row in body.results or ():
        symbol = _of_action(call, row.ticker)
        if symbol is None:
            continue
        if _LEAST < row.split_from < _MOST and _LEAST < row.split_to < _MOST:
            # As decimal text, so that 1.05 is 21/20.
            found.append(Split(symbol, row.execution_date, Fraction(str(row.split_to)) / Fraction(str(row.split_from))))
        else:
            _not_an_action(call, symbol, f"a split of {row.execution_date} from {row.split_from} to {row.split_to}")
    return ActionsPage(tuple(found), (), body.next_url)


def without_repeats(splits: Sequence[Split]) -> list[Split]:
    """Return splits without those that stand there a second time a few days earlier.

    The vendor was seen to list one split twice (Shopify's 10-for-1 under 2022-06-22, its record date, and 2022-06-29,
    when it began to trade split). Applied twice it would ruin the series; of two alike within 14 days the later stays.
    """
    later: dict[tuple[str, Fraction], date] = {}
    kept = []
    for split in sorted(splits, key=lambda s: (s.ex_date, s.symbol), reverse=True):
        same = later.get((split.symbol, split.ratio))
        if same is not None and same - split.ex_date <= _TWICE:
            continue
        later[split.symbol, split.ratio] = split.ex_date
        kept.append(split)
    return kept[::-1]


def read_dividends(call: Call, answer: Answer) -> ActionsPage:
    """Transform a page of dividends, special ones and distributed gains among them; older answers name no currency and
    mean dollars.

    Raises
    ------
    MalformedResponse
        If it is not of the documented shape or another symbol's, or a dividend of the one symbol asked for is none.
    """
    body = _complete(call, decode(VENDOR, call, answer, _Rows[_DividendRow]))
    found: dict[tuple[str, date, float, str, str | None], Dividend] = {}
    for row in body.results or ():
        symbol = _of_action(call, row.ticker)
        if symbol is None:
            continue
        currency = (row.currency or "USD").upper()
        if row.cash_amount > 0 and np.isfinite(row.cash_amount):
            key = (symbol, row.ex_dividend_date, row.cash_amount, currency, row.dividend_type)
            found[key] = Dividend(symbol, row.ex_dividend_date, row.cash_amount, currency)
        else:
            _not_an_action(call, symbol, f"a dividend of {row.ex_dividend_date} over {row.cash_amount}")
    return ActionsPage((), tuple(found.values()), body.next_url)


def read_profile(call: Call, answer: Answer) -> Profile:
    """Transform the details of a ticker. The industry is that of the SEC's classification (SIC); there is no sector.

    Raises
    ------
    MalformedResponse
        If it is not of the documented shape, or another symbol's.
    """
    company = decode(VENDOR, call, answer, _Details).results
    symbol = call.symbol or ""
    same_symbol(VENDOR, call, to_vendor(VENDOR, symbol), company.ticker)
    return Profile(
        VENDOR,
        symbol,
        answer.learned_at,
        name=company.name,
        exchange=company.primary_exchange,
        industry=company.sic_description,
        market_cap=_positive(company.market_cap),
        currency=company.currency_name.upper() if company.currency_name else None,
    )


def read_previous(call: Call, answer: Answer) -> Quote:
    """Transform the previous session's bar into a quote: its close, as of 16:00 in New York.

    Raises
    ------
    SymbolNotFound
        If there is no bar.
    MalformedResponse
        If it is not of the documented shape, another symbol's, or has no price.
    """
    page = read_bars(call, answer)
    symbol = call.symbol or ""
    if not len(page.at):
        raise SymbolNotFound(VENDOR, "no previous bar: not known there, or no longer traded", symbol=symbol)
    opened, high, low, close, volume = (float(column[-1]) for column in page.columns)
    return Quote(
        VENDOR,
        symbol,
        price=close,
        at=datetime.fromtimestamp(int(page.at[-1]) / 1000, UTC),
        learned_at=answer.learned_at,
        open=opened,
        high=high,
        low=low,
        volume=volume if np.isfinite(volume) else None,
    )


def read_snapshot(call: Call, answer: Answer) -> Quote:
    """Transform a snapshot: the last trade where the plan has it, else the day's price so far.

    Raises
    ------
    SymbolNotFound
        If it has no price of today: snapshots are emptied in the early morning.
    MalformedResponse
        If it is not of the documented shape, or another symbol's.
    """
    said = decode(VENDOR, call, answer, _Snapped).ticker
    symbol = call.symbol or ""
    same_symbol(VENDOR, call, to_vendor(VENDOR, symbol), said.ticker)
    trade, day, spread = said.trade or _Trade(), said.day, said.spread or _Spread()
    price = _positive(trade.p) or _positive(day.c)
    if price is None:
        raise SymbolNotFound(VENDOR, "no price of today yet", symbol=symbol)
    stamp = trade.t if trade.t is not None and _positive(trade.p) else said.updated
    return Quote(
        VENDOR,
        symbol,
        price=price,
        at=datetime.fromtimestamp(stamp // 1_000_000_000, UTC),
        learned_at=answer.learned_at,
        open=_positive(day.o),
        high=_positive(day.h),
        low=_positive(day.l),
        previous_close=_positive(said.previous.c) if said.previous else None,
        volume=day.v if day.v is not None and np.isfinite(day.v) else None,
        bid=_positive(spread.bid),
        ask=_positive(spread.ask),
    )


@lru_cache(maxsize=1 << 16)
def canonical(ticker: str) -> str | None:
    """Return the canonical form of a ticker, None where it has none; remembered, as tickers hardly change."""
    try:
        return from_vendor(VENDOR, ticker)
    except UnsupportedRequest:
        return None


E_ = TypeVar("E_", _Bars[_Bar], _Bars[_MarketBar], _Rows[_SplitRow], _Rows[_DividendRow])


def _complete(call: Call, body: E_) -> E_:
    """Refuse a status that is no success, and an answer that says it holds more than came."""
    if body.status not in _GOOD:
        raise MalformedResponse(VENDOR, f"{call.endpoint}: status {body.status[:60]!r}", symbol=call.symbol)
    if isinstance(body, _Bars) and body.count > len(body.results or ()):
        what = f"{call.endpoint}: {len(body.results or ())} bars came of {body.count}"
        raise MalformedResponse(VENDOR, what, symbol=call.symbol)
    return body


def _joined(call: Call, pages: Sequence[BarsPage]) -> tuple[Millis, list[Floats]]:
    at = np.concatenate([page.at for page in pages])
    back = np.flatnonzero(np.diff(at) <= 0)
    if len(back):
        what = f"{call.endpoint}: bar {back[0] + 2} of {len(pages)} pages is not later than the one before it"
        raise MalformedResponse(VENDOR, what, symbol=call.symbol)
    return at, [np.concatenate(column) for column in zip(*(page.columns for page in pages), strict=True)]


def _days(at: Millis) -> Dates:
    """Return the day of each stamp; midnight and 16:00 in New York lie on the same day in UTC."""
    return (at // (24 * _HOUR_MS)).astype("datetime64[D]")


def _known_until(pages: Sequence[BarsPage]) -> datetime:
    """Return the instant up to which the answer knows the market: its oldest page's, or 15 minutes before."""
    return pages[0].learned_at - (_DELAY if any(page.delayed for page in pages) else timedelta(0))


def _basis(adjusted: bool, learned_at: datetime) -> tuple[Basis, date | None]:
    """Return the basis: raw, as asked for, unless the answer says that it is adjusted all the same."""
    return (Basis.SPLIT, learned_at.astimezone(NEW_YORK).date()) if adjusted else (Basis.RAW, None)


def _of_action(call: Call, ticker: str) -> str | None:
    if call.symbol is None:
        return canonical(ticker)
    same_symbol(VENDOR, call, to_vendor(VENDOR, call.symbol), ticker)
    return call.symbol


def _not_an_action(call: Call, symbol: str, what: str) -> None:
    """Refuse what is no split or dividend; in a whole market it costs only this symbol its action, and is logged."""
    if call.symbol is not None:
        raise MalformedResponse(VENDOR, f"{call.endpoint}: {what}", symbol=symbol)
    log.warning("%s: %s: %s: left out", VENDOR, symbol, what)


def _positive(value: float | None) -> float | None:
    return value if value is not None and np.isfinite(value) and value > 0 else None


def refusal(call: Call, answer: Answer) -> VendorError | None:
    """Return the error that an answer carries; `DELAYED` is a success of a plan with delayed data."""
    if len(answer.content) > LONGEST_REFUSAL:
        return None
    try:
        said = msgspec.json.decode(answer.content, type=_Said)
    except msgspec.MsgspecError:
        return None
    failed = answer.status >= HTTPStatus.BAD_REQUEST
    if not failed and (said.status in _GOOD or not (said.status or said.error)):
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
