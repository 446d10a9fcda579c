"""Financial Modeling Prep: US equities, members of indices, what companies are.

Daily prices come adjusted for splits; the splits themselves, one more call, undo that. (There is a variant without the
adjustment, but nothing says in which shares its volume counts.) Answers are lists, newest first; an unknown symbol is
an empty one. Intraday times are New York wall time without an offset; nothing trades in the hour that a year has twice.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from http import HTTPStatus
from itertools import pairwise
from types import MappingProxyType
from typing import Annotated

import msgspec
import numpy as np

from quantmatrix_pipeline import clock
from quantmatrix_pipeline.bars.adjustment import SplitTable, to_raw
from quantmatrix_pipeline.bars.batch import BarBatch, Basis, Floats
from quantmatrix_pipeline.errors import (
    AuthFailed,
    MalformedResponse,
    QuotaExhausted,
    RateLimited,
    SymbolNotFound,
    UnsupportedRequest,
    VendorError,
)
from quantmatrix_pipeline.providers.answers import (
    ActionsAnswer,
    ConstituentsAnswer,
    DailyAnswer,
    Dividend,
    Instants,
    IntradayBars,
    Member,
    Profile,
    Quote,
    Split,
    UnreadableRow,
)
from quantmatrix_pipeline.providers.contract import BarRequest, Capability, IntradayRequest, Offer
from quantmatrix_pipeline.providers.symbols import from_vendor, to_vendor
from quantmatrix_pipeline.providers.transport.calls import Answer, Call
from quantmatrix_pipeline.providers.transport.http import Http, retry_after
from quantmatrix_pipeline.providers.transport.kept_for import NEW_YORK, keep_until_close, keep_until_midnight
from quantmatrix_pipeline.providers.transport.reading import (
    decode,
    finite,
    instants,
    one_symbol,
    same_symbol,
    sessions,
)
from quantmatrix_pipeline.providers.transport.vendor import Access, HttpVendor
from quantmatrix_pipeline.providers.vendors.shared.held_bars import HeldBars
from quantmatrix_pipeline.providers.vendors.shared.market_hours import closed_bars, closed_sessions, has_closed

VENDOR = "fmp"
FREE_ROWS = 5  # splits or dividends that the free plan gives
MOST_ROWS = 1000
BULK_REACH = 7  # days; nobody says whether older whole markets are adjusted, and a symbol's range costs one call
_MARGIN = timedelta(days=10)  # over any holidays: a known symbol then has a bar, even if not on the day asked for
_LEAST, _MOST = 1e-6, 1e6  # shares on either side of a split
_DAY = 24 * 3600.0
_INTERVALS = {"1m": "1min", "5m": "5min"}
_BULK_COLUMNS = ("symbol", "date", "open", "high", "low", "close", "volume")


@dataclass(frozen=True, slots=True)
class _Index:
    endpoint: str
    minimum: int  # fewer members than this is a broken answer, not a change of the index


INDICES: Mapping[str, _Index] = MappingProxyType(
    {
        "SP500": _Index("sp500-constituent", 490),
        "NASDAQ100": _Index("nasdaq-constituent", 95),
        "DOW30": _Index("dowjones-constituent", 30),
    }
)


class _Day(msgspec.Struct, gc=False):
    symbol: str
    date: str
    open: float | None
    high: float | None
    low: float | None
    close: float | None
    volume: float | None = None


class _Candle(msgspec.Struct, gc=False):
    date: str
    open: float | None
    high: float | None
    low: float | None
    close: float | None
    volume: float | None = None


class _QuoteRow(msgspec.Struct, rename="camel"):
    symbol: str
    price: float | None
    timestamp: Annotated[int, msgspec.Meta(ge=0, lt=1 << 33)]  # seconds, up to the year 2242
    open: float | None = None
    day_high: float | None = None
    day_low: float | None = None
    previous_close: float | None = None
    volume: float | None = None
    market_cap: float | None = None


class _MemberRow(msgspec.Struct, rename="camel"):
    symbol: str
    name: str | None = None
    sector: str | None = None
    sub_sector: str | None = None


class _ProfileRow(msgspec.Struct, rename="camel"):
    symbol: str
    company_name: str | None = None
    exchange: str | None = None
    sector: str | None = None
    industry: str | None = None
    market_cap: float | None = None
    currency: str | None = None


class _SplitRow(msgspec.Struct):
    symbol: str
    date: date
    numerator: float
    denominator: float


class _DividendRow(msgspec.Struct):
    symbol: str
    date: date
    dividend: float  # in shares of its time; `adjDividend` is in today's


class _Said(msgspec.Struct):
    text: str = msgspec.field(name="Error Message")


@dataclass(frozen=True, slots=True)
class EodBars:
    """One symbol's daily bars as they came: adjusted for all splits up to the day of the answer."""

    batch: BarBatch
    learned_at: datetime


@dataclass(frozen=True, slots=True)
class Candles:
    """Intraday bars as they came, newest first; `columns` are open, high, low, close, volume."""

    opened_at: Instants
    columns: tuple[Floats, ...]
    learned_at: datetime


@dataclass(frozen=True, slots=True)
class Actions:
    """Splits or dividends of one symbol; `days` are their ex-dates in the order in which they came."""

    days: tuple[date, ...]
    splits: tuple[Split, ...] = ()
    dividends: tuple[Dividend, ...] = ()


class Fmp(HttpVendor):
    """Serves bars, quotes, members of indices, profiles, splits and dividends.

    Parameters
    ----------
    http
        Its client.
    reach_days
        How many calendar days back the plan has bars; None: no limit.
    """

    name = VENDOR

    def __init__(self, http: Http, reach_days: int | None) -> None:
        bulk = BULK_REACH if reach_days is None else min(reach_days, BULK_REACH)
        intraday = Offer(reach_days=reach_days)
        super().__init__(
            http,
            {
                Capability.DAILY_BARS: Offer(calls=2, reach_days=reach_days),
                Capability.GROUPED_BARS: Offer(reach_days=bulk),
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
        return serve_daily(request, bars, splits)

    async def grouped_bars(self, session: date) -> DailyAnswer:
        call = bulk_query(session)
        return await self.http.ask(call, lambda answer: read_bulk(call, session, answer))

    async def intraday_bars(self, request: IntradayRequest) -> IntradayBars:
        now = clock.now()
        last = (request.end - timedelta(seconds=1)).astimezone(NEW_YORK).date()
        first = request.start.astimezone(NEW_YORK).date()
        parts = [await self._candles(intraday_query(request, first, last, now))]
        # Long stretches come cut off at their old end, and nothing says so.
        while (oldest := _oldest(parts[-1])) is not None and np.busday_count(first, oldest) > 0:
            part = await self._candles(intraday_query(request, first, oldest, now))
            if not len(part.opened_at) or part.opened_at.min() >= parts[-1].opened_at.min():
                break
            parts.append(part)
        return serve_intraday(request, parts)

    async def quotes(self, symbols: Sequence[str]) -> Sequence[Quote]:
        (symbol,) = symbols
        call = quote_query(symbol)
        return [await self.http.ask(call, lambda answer: read_quote(call, answer))]

    async def splits(self, symbol: str | None, first: date, last: date) -> ActionsAnswer:
        found = await self._actions(Capability.SPLITS, _named(symbol), first)
        return ActionsAnswer(
            VENDOR, symbol, first, last, splits=tuple(s for s in found.splits if first <= s.ex_date <= last)
        )

    async def dividends(self, symbol: str | None, first: date, last: date) -> ActionsAnswer:
        found = await self._actions(Capability.DIVIDENDS, _named(symbol), first)
        return ActionsAnswer(
            VENDOR, symbol, first, last, dividends=tuple(d for d in found.dividends if first <= d.ex_date <= last)
        )

    async def profile(self, symbol: str) -> Profile:
        call = profile_query(symbol)
        return await self.http.ask(call, lambda answer: read_profile(call, answer))

    async def constituents(self, index: str, session: date) -> ConstituentsAnswer:
        if index not in INDICES:
            raise UnsupportedRequest(VENDOR, f"has the members of {', '.join(INDICES)} only", symbol=index)
        call = constituents_query(index)
        return await self.http.ask(call, lambda answer: read_constituents(call, index, answer))

    async def _candles(self, call: Call) -> Candles:
        return await self.http.ask(call, lambda answer: read_candles(call, answer))

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


def _named(symbol: str | None) -> str:
    if symbol is None:
        raise UnsupportedRequest(VENDOR, "has no splits or dividends of the whole market", symbol="the whole market")
    return symbol


def _oldest(candles: Candles) -> date | None:
    if not len(candles.opened_at):
        return None
    return candles.opened_at.min().item().replace(tzinfo=UTC).astimezone(NEW_YORK).date()  # type: ignore[no-any-return]


# --- queries ----------------------------------------------------------------------------------------------------------


def daily_query(request: BarRequest, now: datetime) -> Call:
    """Transform a question for daily bars; some days more are asked for, so that no bar at all means not known."""
    endpoint = "historical-price-eod/full"
    params = {
        "symbol": to_vendor(VENDOR, request.symbol),
        "from": (request.first - _MARGIN).isoformat(),
        "to": request.last.isoformat(),
    }
    keep = keep_until_close(now)
    return Call(Capability.DAILY_BARS, endpoint, f"/{endpoint}", params, symbol=request.symbol, keep_seconds=keep)


def bulk_query(session: date) -> Call:
    """Transform a question for the whole market; errors name the session, which is all that it concerns.

    The answer is not kept: it is stored at once, and would push out much else.
    """
    day = session.isoformat()
    return Call(Capability.GROUPED_BARS, "eod-bulk", "/eod-bulk", {"date": day}, symbol=day)


def intraday_query(request: IntradayRequest, first: date, last: date, now: datetime) -> Call:
    """Transform a question for the intraday bars of the days [first, last]. A stretch not over yet is not kept."""
    return Call(
        Capability.BARS_1M if request.interval == "1m" else Capability.BARS_5M,
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
    endpoint = INDICES[index].endpoint
    return Call(Capability.CONSTITUENTS, endpoint, f"/{endpoint}", symbol=index, keep_seconds=_DAY)


def actions_query(capability: Capability, symbol: str, rows: int, now: datetime) -> Call:
    """Transform a question for the newest splits or dividends of a symbol.

    Kept to the end of New York's day at most, so that no price is undone with the splits of an earlier day.
    """
    endpoint = "splits" if capability is Capability.SPLITS else "dividends"
    params = {"symbol": to_vendor(VENDOR, symbol), "limit": str(rows)}
    keep = min(keep_until_close(now), keep_until_midnight(now, NEW_YORK))
    return Call(capability, endpoint, f"/{endpoint}", params, symbol=symbol, keep_seconds=keep)


# --- answers ----------------------------------------------------------------------------------------------------------


def read_daily(call: Call, answer: Answer) -> EodBars:
    """Transform daily bars.

    Raises
    ------
    SymbolNotFound
        If there is not one: an unknown symbol is answered like a time without trade.
    MalformedResponse
        If it is not of the documented shape, another symbol's, or holds a price or a date that is none.
    """
    rows = decode(VENDOR, call, answer, list[_Day])
    symbol = call.symbol or ""
    if not rows:
        what = f"no bar from {call.params['from']} to {call.params['to']}: not known there, or not traded in that time"
        raise SymbolNotFound(VENDOR, what, symbol=symbol)
    for name in {row.symbol for row in rows}:
        same_symbol(VENDOR, call, call.params["symbol"], name)
    session = sessions(VENDOR, call, [row.date for row in rows])
    batch = one_symbol(symbol, session, _columns(call, rows))
    return EodBars(batch.take(closed_sessions(batch.session, answer.learned_at)), answer.learned_at)


def serve_daily(request: BarRequest, bars: EodBars, splits: Sequence[Split] | None) -> DailyAnswer:
    """Return the bars on the sessions asked for: as traded where the splits are known, else adjusted for splits.

    Parameters
    ----------
    splits
        All since the first session asked for, older ones do no harm; None where the plan does not give them.
    """
    batch = HeldBars(bars.batch).serve([request], weekends=False)
    silent = () if len(batch) else (request.symbol,)
    today = bars.learned_at.astimezone(NEW_YORK).date()
    if splits is None:
        return DailyAnswer(VENDOR, Basis.SPLIT, today, batch, silent=silent, learned_at=bars.learned_at)
    contained = [s for s in splits if s.ex_date <= today]
    table = SplitTable.build(
        [0] * len(contained), np.array([s.ex_date for s in contained], "datetime64[D]"), [s.ratio for s in contained]
    )
    adjusted = np.stack([batch.open, batch.high, batch.low, batch.close])
    day = np.datetime64(today, "D")
    price, volume = to_raw(adjusted, batch.volume, batch.symbol_index, batch.session, day, table)
    return DailyAnswer(
        VENDOR,
        Basis.RAW,
        None,
        BarBatch(batch.symbols, batch.symbol_index, batch.session, price[0], price[1], price[2], price[3], volume),
        splits=tuple(s for s in contained if s.ex_date >= request.first),
        silent=silent,
        learned_at=bars.learned_at,
    )


def read_bulk(call: Call, session: date, answer: Answer) -> DailyAnswer:
    """Transform the whole world's bars of one session, a CSV text, into those of US symbols.

    US share classes are written with a dash, so a dot is the suffix of a foreign exchange, and left out. A row that
    holds no number, or is of another day, is `unreadable`. A day that has not closed has no rows.

    Raises
    ------
    MalformedResponse
        If the header lacks a column, the last row is cut off, or all rows are another day's.
    """
    text = answer.content.decode(errors="replace").strip()
    if text in ("", "[]") or not has_closed(session, answer.learned_at):
        return DailyAnswer(VENDOR, Basis.SPLIT, _today(answer), BarBatch.empty(), learned_at=answer.learned_at)
    try:
        header, *lines = csv.reader(io.StringIO(text))
    except csv.Error as error:
        raise MalformedResponse(VENDOR, f"{call.endpoint}: no CSV ({error}): {answer.text(80)!r}") from error
    missing = [name for name in _BULK_COLUMNS if name not in header]
    if missing:
        what = f"{call.endpoint}: no CSV with {', '.join(missing)}: {answer.text(80)!r}"
        raise MalformedResponse(VENDOR, what)
    at = [header.index(name) for name in _BULK_COLUMNS]
    day = session.isoformat()
    names: dict[str, int] = {}
    index: list[int] = []
    values: list[tuple[float, ...]] = []
    unreadable: list[UnreadableRow] = []
    of_the_day = 0
    if lines and len(lines[-1]) != len(header):
        raise MalformedResponse(VENDOR, f"{call.endpoint}: cut off in row {len(lines)}: {','.join(lines[-1])[:80]!r}")
    for cells in lines:
        if len(cells) != len(header):
            detail = f"whole market of {day}: {len(cells)} cells, not {len(header)}"
            unreadable.append(UnreadableRow(None, session, "unreadable_row", detail, {"cells": cells}))
            continue
        theirs, dated, *numbers = (cells[i] for i in at)
        of_the_day += dated == day
        symbol = _of_the_us(theirs)
        if symbol is None:
            continue
        bar = _bulk_bar(dated, day, numbers)
        if isinstance(bar, str):
            payload = dict(zip(header, cells, strict=True))
            detail = f"whole market of {day}: {theirs}: {payload}"
            unreadable.append(UnreadableRow(symbol, session, bar, detail, payload))
            continue
        index.append(names.setdefault(symbol, len(names)))
        values.append(bar)
    if lines and not of_the_day:
        raise MalformedResponse(VENDOR, f"{call.endpoint}: asked for {day}, answered with other days' bars")
    columns = np.array(values, np.float64).reshape(-1, 5).T
    batch = BarBatch(
        tuple(names),
        np.array(index, np.int32),
        np.full(len(index), np.datetime64(session, "D")),
        *(np.ascontiguousarray(column) for column in columns),
    )
    return DailyAnswer(
        VENDOR, Basis.SPLIT, _today(answer), batch, unreadable=tuple(unreadable), learned_at=answer.learned_at
    )


def _of_the_us(theirs: str) -> str | None:
    if "." in theirs:
        return None
    try:
        return from_vendor(VENDOR, theirs)
    except UnsupportedRequest:
        return None


def _bulk_bar(dated: str, day: str, numbers: Sequence[str]) -> tuple[float, ...] | str:
    """Return open, high, low, close, volume; or the reason code for which there are none."""
    if dated != day:
        return "bad_date"
    try:
        prices = tuple(float(number) for number in numbers[:4])
        volume = float(numbers[4]) if numbers[4] else np.nan
    except ValueError:
        return "wrong_type"
    return (*prices, volume) if np.isfinite(prices).all() else "wrong_type"


def read_candles(call: Call, answer: Answer) -> Candles:
    """Transform intraday bars; the answer does not say whose they are.

    Raises
    ------
    MalformedResponse
        If it is not of the documented shape, or holds a price or a time that is none.
    """
    rows = decode(VENDOR, call, answer, list[_Candle])
    opened_at = instants(VENDOR, call, [row.date for row in rows], NEW_YORK)
    return Candles(opened_at, _columns(call, rows), answer.learned_at)


def serve_intraday(request: IntradayRequest, parts: Sequence[Candles]) -> IntradayBars:
    """Return the bars that open in [start, end) and have closed, out of answers that may overlap.

    Raises
    ------
    SymbolNotFound
        If there is not one in any answer: an unknown symbol is answered like a time without trade.
    """
    opened_at, place = np.unique(np.concatenate([part.opened_at for part in parts]), return_index=True)
    if not len(opened_at):
        what = f"no bar from {request.start} to {request.end}: not known there, or not traded in that time"
        raise SymbolNotFound(VENDOR, what, symbol=request.symbol)
    learned_at = parts[0].learned_at  # of the newest bars
    start, end = (np.datetime64(at.astimezone(UTC).replace(tzinfo=None), "s") for at in (request.start, request.end))
    inside = (opened_at >= start) & (opened_at < end) & closed_bars(opened_at, request.interval, learned_at)
    columns = [np.concatenate(column)[place][inside] for column in zip(*(p.columns for p in parts), strict=True)]
    opened, high, low, close, volume = columns
    return IntradayBars(
        vendor=VENDOR,
        symbol=request.symbol,
        interval=request.interval,
        basis=Basis.SPLIT,
        basis_date=learned_at.astimezone(NEW_YORK).date(),
        opened_at=opened_at[inside],
        open=opened,
        high=high,
        low=low,
        close=close,
        volume=volume,
        learned_at=learned_at,
    )


def read_splits(call: Call, answer: Answer) -> Actions:
    """Transform splits; one that stands there twice is one.

    Raises
    ------
    MalformedResponse
        If it is not of the documented shape, another symbol's, or a split is none.
    """
    rows = decode(VENDOR, call, answer, list[_SplitRow])
    symbol = call.symbol or ""
    found: dict[tuple[date, Fraction], Split] = {}
    for row in rows:
        same_symbol(VENDOR, call, call.params["symbol"], row.symbol)
        if not (_LEAST < row.numerator < _MOST and _LEAST < row.denominator < _MOST):
            what = f"{call.endpoint}: a split of {row.date} by {row.numerator} for {row.denominator}"
            raise MalformedResponse(VENDOR, what, symbol=symbol)
        ratio = Fraction(str(row.numerator)) / Fraction(str(row.denominator))  # as decimal text: 1.05 is 21/20
        found[row.date, ratio] = Split(symbol, row.date, ratio)
    return Actions(tuple(row.date for row in rows), splits=tuple(found.values()))


def read_dividends(call: Call, answer: Answer) -> Actions:
    """Transform dividends, as they were paid per share of their time.

    Raises
    ------
    MalformedResponse
        If it is not of the documented shape, another symbol's, or a dividend is none.
    """
    rows = decode(VENDOR, call, answer, list[_DividendRow])
    symbol = call.symbol or ""
    for row in rows:
        same_symbol(VENDOR, call, call.params["symbol"], row.symbol)
        if not (row.dividend > 0 and np.isfinite(row.dividend)):
            what = f"{call.endpoint}: a dividend of {row.date} over {row.dividend}"
            raise MalformedResponse(VENDOR, what, symbol=symbol)
    return Actions(
        tuple(row.date for row in rows), dividends=tuple(Dividend(symbol, row.date, row.dividend) for row in rows)
    )


def read_quote(call: Call, answer: Answer) -> Quote:
    """Transform a quote.

    Raises
    ------
    SymbolNotFound
        If there is none.
    MalformedResponse
        If it is not of the documented shape, another symbol's, or has no price.
    """
    rows = decode(VENDOR, call, answer, list[_QuoteRow])
    symbol = call.symbol or ""
    if not rows:
        raise SymbolNotFound(VENDOR, "no quote: not known there", symbol=symbol)
    row = rows[0]
    same_symbol(VENDOR, call, call.params["symbol"], row.symbol)
    (price,) = finite(VENDOR, call, "price", [row.price])
    return Quote(
        VENDOR,
        symbol,
        price=float(price),
        at=datetime.fromtimestamp(row.timestamp, UTC),
        learned_at=answer.learned_at,
        open=_positive(row.open),
        high=_positive(row.day_high),
        low=_positive(row.day_low),
        previous_close=_positive(row.previous_close),
        volume=row.volume if row.volume is not None and np.isfinite(row.volume) else None,
        market_cap=_positive(row.market_cap),
    )


def read_profile(call: Call, answer: Answer) -> Profile:
    """Transform what a company is.

    Raises
    ------
    SymbolNotFound
        If there is nothing.
    MalformedResponse
        If it is not of the documented shape, or another symbol's.
    """
    rows = decode(VENDOR, call, answer, list[_ProfileRow])
    symbol = call.symbol or ""
    if not rows:
        raise SymbolNotFound(VENDOR, "no profile: not known there", symbol=symbol)
    row = rows[0]
    same_symbol(VENDOR, call, call.params["symbol"], row.symbol)
    return Profile(
        VENDOR,
        symbol,
        answer.learned_at,
        name=row.company_name or None,
        exchange=row.exchange or None,
        sector=row.sector or None,
        industry=row.industry or None,
        market_cap=_positive(row.market_cap),
        currency=row.currency or None,
    )


def read_constituents(call: Call, index: str, answer: Answer) -> ConstituentsAnswer:
    """Transform the members of an index, as of the day of the answer in New York.

    Raises
    ------
    MalformedResponse
        If it is not of the documented shape, or can't be the index: too few, one twice, one that is no symbol.
    """
    rows = decode(VENDOR, call, answer, list[_MemberRow])
    members: dict[str, Member] = {}
    for number, row in enumerate(rows, 1):
        try:
            symbol = from_vendor(VENDOR, row.symbol)
        except UnsupportedRequest as error:
            what = f"{call.endpoint}: row {number}: {row.symbol!r} is no symbol"
            raise MalformedResponse(VENDOR, what, symbol=index) from error
        if symbol in members:
            raise MalformedResponse(VENDOR, f"{call.endpoint}: {row.symbol!r} stands twice", symbol=index)
        members[symbol] = Member(symbol, row.name or None, row.sector or None, None, row.sub_sector or None)
    if len(members) < INDICES[index].minimum:
        what = f"{call.endpoint}: {len(members)} members, fewer than {INDICES[index].minimum}"
        raise MalformedResponse(VENDOR, what, symbol=index)
    return ConstituentsAnswer(VENDOR, index, _today(answer), tuple(members.values()))


def _columns(call: Call, rows: Sequence[_Day] | Sequence[_Candle]) -> tuple[Floats, ...]:
    return (
        finite(VENDOR, call, "open", [row.open for row in rows]),
        finite(VENDOR, call, "high", [row.high for row in rows]),
        finite(VENDOR, call, "low", [row.low for row in rows]),
        finite(VENDOR, call, "close", [row.close for row in rows]),
        np.array([row.volume for row in rows], np.float64),
    )


def _today(answer: Answer) -> date:
    return answer.learned_at.astimezone(NEW_YORK).date()


def _positive(value: float | None) -> float | None:
    return value if value is not None and np.isfinite(value) and value > 0 else None


_REFUSALS = ("Premium", "Special", "Restricted", "Exclusive", "Legacy", "Limit Reach", "Bandwidth", "Invalid API KEY")


def refusal(call: Call, answer: Answer) -> VendorError | None:
    """Return the error that an answer carries: `Error Message` in JSON, or plain text (402), whatever the status.

    "Limit Reach" is said of the free plan's day and of a paid plan's minute alike; read as the minute's, it costs a
    free plan a vain call now and then, while the other way round a paid plan would stand still for a day.
    """
    try:
        text = msgspec.json.decode(answer.content, type=_Said).text if answer.content[:1] == b"{" else None
    except msgspec.MsgspecError:
        text = None
    if text is None:
        text = answer.text(400)
        if not text.startswith(_REFUSALS) and answer.status != HTTPStatus.PAYMENT_REQUIRED:
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
