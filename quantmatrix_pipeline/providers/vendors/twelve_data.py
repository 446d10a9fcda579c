"""Twelve Data: US equities in prices as traded, several symbols in one call, each of them charged.

All numbers are text; rows come newest first, at most 5,000 of them, and the older rest is asked for again. One symbol
is answered plainly, several as an object with an answer or a refusal for each. A refusal is a body with a code, under
its own HTTP status or under 200. Intraday times are asked for and given in UTC, so that no hour is there twice.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from functools import partial
from http import HTTPStatus
from typing import Annotated, TypeVar

import msgspec
import numpy as np

from quantmatrix_pipeline import clock
from quantmatrix_pipeline.bars.batch import BarBatch, Basis, Floats
from quantmatrix_pipeline.errors import (
    AuthFailed,
    MalformedResponse,
    QuotaExhausted,
    RateLimited,
    SymbolNotFound,
    UnsupportedRequest,
    VendorError,
    VendorUnavailable,
)
from quantmatrix_pipeline.providers.answers import ActionsAnswer, DailyAnswer, Instants, IntradayBars, Quote
from quantmatrix_pipeline.providers.contract import BarRequest, Capability, IntradayRequest, Offer
from quantmatrix_pipeline.providers.symbols import is_crypto, to_vendor
from quantmatrix_pipeline.providers.transport.calls import Answer, Call
from quantmatrix_pipeline.providers.transport.http import retry_after
from quantmatrix_pipeline.providers.transport.kept_for import keep_until_close
from quantmatrix_pipeline.providers.transport.reading import (
    UTC_ZONE,
    decode,
    finite,
    instants,
    one_symbol,
    same_symbol,
    sessions,
)
from quantmatrix_pipeline.providers.transport.vendor import Access, HttpVendor
from quantmatrix_pipeline.providers.vendors.shared.corporate_actions import dividend_of, named, split_of
from quantmatrix_pipeline.providers.vendors.shared.held_bars import HeldBars
from quantmatrix_pipeline.providers.vendors.shared.market_hours import closed_bars, closed_sessions

VENDOR = "twelve_data"
MOST_SYMBOLS = 8  # of one call: the free plan's credits of a minute
MOST_ROWS = 5000
MOST_PAGES = 20  # of one symbol: 256 sessions of minutes, 1,282 of five minutes
ACTIONS_WEIGHT = 20  # credits for the splits or dividends of a symbol
_MARGIN = timedelta(days=10)  # over any holidays: a known symbol then has a bar, even if not on the day asked for
_DAY = 24 * 3600.0
_MINUTE = 60.0
_INTERVALS = {"1m": "1min", "5m": "5min"}
_AGREE = 0.01  # how far a split's ratio, which is rounded, may be from its factors

UnixSeconds = Annotated[int, msgspec.Meta(gt=0, lt=1 << 33)]  # up to the year 2242
T = TypeVar("T")


class _Meta(msgspec.Struct):
    symbol: str
    interval: str


class _Row(msgspec.Struct, gc=False):
    datetime: str
    open: float | None
    high: float | None
    low: float | None
    close: float | None
    volume: float | None = None


class _Series(msgspec.Struct):
    meta: _Meta
    values: list[_Row]
    status: str


class _Quote(msgspec.Struct):
    symbol: str
    close: float | None
    timestamp: UnixSeconds
    last_quote_at: UnixSeconds | None = None
    open: float | None = None
    high: float | None = None
    low: float | None = None
    previous_close: float | None = None
    volume: float | None = None
    currency: str | None = None


class _ActionsMeta(msgspec.Struct):
    symbol: str
    currency: str | None = None


class _Split(msgspec.Struct):
    date: date
    from_factor: float
    to_factor: float
    ratio: float | None = None


class _Splits(msgspec.Struct):
    meta: _ActionsMeta
    splits: list[_Split]


class _Dividend(msgspec.Struct):
    ex_date: date
    amount: float


class _Dividends(msgspec.Struct):
    meta: _ActionsMeta
    dividends: list[_Dividend]


class _Refused(msgspec.Struct):
    code: int
    message: str


@dataclass(frozen=True, slots=True)
class Rows:
    """A symbol's bars as they came, newest first; `columns` are open, high, low, close, volume."""

    at: tuple[str, ...]
    columns: tuple[Floats, ...]
    learned_at: datetime

    def __len__(self) -> int:
        return len(self.at)


class TwelveData(HttpVendor):
    """Serves bars, quotes, splits and dividends of shares and funds."""

    name = VENDOR

    async def daily_bars(self, requests: Sequence[BarRequest]) -> DailyAnswer:
        asked, failures = _askable([r.symbol for r in requests])
        wanted = {r.symbol: r for r in requests if r.symbol in asked}
        if not wanted:
            return DailyAnswer(VENDOR, Basis.RAW, None, BarBatch.empty(), failures=failures)
        first, last = min(r.first for r in wanted.values()), max(r.last for r in wanted.values())
        now = clock.now()
        call = daily_query(list(wanted), first, last, now)
        read = partial(read_rows, "1day")
        found = await self.http.ask(call, lambda answer: read_each(call, list(wanted), answer, read))
        pages: dict[str, list[Rows]] = {}
        for symbol, rows in found.items():
            if isinstance(rows, VendorError):
                failures[symbol] = rows
                continue
            try:
                pages[symbol] = await self._older(daily_query([symbol], first, last, now), rows, "1day")
            except VendorError as error:
                if len(requests) == 1:
                    raise
                failures[symbol] = error
        return serve_daily(list(wanted.values()), pages, failures)

    async def intraday_bars(self, request: IntradayRequest) -> IntradayBars:
        _refuse_coins(request.symbol)
        call = intraday_query(request, clock.now())
        interval = _INTERVALS[request.interval]
        rows = await self.http.ask(call, lambda answer: read_rows(interval, call, answer))
        return serve_intraday(call, request, await self._older(call, rows, interval))

    async def quotes(self, symbols: Sequence[str]) -> Sequence[Quote]:
        asked, failures = _askable(symbols)
        if asked:
            call = quote_query(asked)
            found = await self.http.ask(call, lambda answer: read_each(call, asked, answer, read_quote))
            known = [quote for quote in found.values() if isinstance(quote, Quote)]
            if known:
                return known
            failures |= {symbol: error for symbol, error in found.items() if isinstance(error, VendorError)}
        raise next(iter(failures.values()))

    async def splits(self, symbol: str | None, first: date, last: date) -> ActionsAnswer:
        call = splits_query(named(VENDOR, symbol), first, last)
        return await self.http.ask(call, lambda answer: read_splits(call, first, last, answer))

    async def dividends(self, symbol: str | None, first: date, last: date) -> ActionsAnswer:
        call = dividends_query(named(VENDOR, symbol), first, last)
        return await self.http.ask(call, lambda answer: read_dividends(call, first, last, answer))

    async def _older(self, call: Call, rows: Rows, interval: str) -> list[Rows]:
        """Return a full page and those that follow, each of which ends where the one before it begins."""
        pages = [rows]
        while len(pages[-1]) >= MOST_ROWS and (oldest := min(pages[-1].at)) > call.params["start_date"]:
            if len(pages) == MOST_PAGES:
                raise MalformedResponse(VENDOR, f"{call.endpoint}: no end after {MOST_PAGES} pages", symbol=call.symbol)
            following = replace(call, params={**call.params, "end_date": oldest})
            try:
                page = await self.http.ask(following, partial(read_rows, interval, following))
            except SymbolNotFound:  # known by now: it begins here
                break
            if min(page.at) >= oldest:
                if len(page) < MOST_ROWS:
                    break
                what = f"{call.endpoint}: the page of what is older than {oldest} brought nothing older"
                raise MalformedResponse(VENDOR, what, symbol=call.symbol)
            pages.append(page)
        return pages


def connect(access: Access) -> TwelveData:
    """Return Twelve Data as the settings reach it."""
    batch = Offer(symbols_per_call=MOST_SYMBOLS, per_symbol=True, reach_days=access.reach_days)
    intraday = Offer(reach_days=access.reach_days)
    actions = Offer(calls=ACTIONS_WEIGHT)
    return TwelveData(
        access.http(VENDOR, refusal, key_name="apikey"),
        {
            Capability.DAILY_BARS: batch,
            Capability.BARS_5M: intraday,
            Capability.BARS_1M: intraday,
            Capability.QUOTES: Offer(symbols_per_call=MOST_SYMBOLS, per_symbol=True),
            Capability.SPLITS: actions,
            Capability.DIVIDENDS: actions,
        },
    )


def _refuse_coins(symbol: str) -> None:
    if is_crypto(symbol):  # their days end at midnight UTC; what has closed is decided by New York's here
        raise UnsupportedRequest(VENDOR, "is only asked for shares and funds", symbol=symbol)


def _askable(symbols: Sequence[str]) -> tuple[list[str], dict[str, VendorError]]:
    """Return the symbols that can be asked for, and why the others can't.

    Raises
    ------
    UnsupportedRequest
        If it is the only one that can't.
    """
    asked: list[str] = []
    failures: dict[str, VendorError] = {}
    for symbol in symbols:
        try:
            _refuse_coins(symbol)
            to_vendor(VENDOR, symbol)
        except UnsupportedRequest as error:
            if len(symbols) == 1:
                raise
            failures[symbol] = error
        else:
            asked.append(symbol)
    return asked, failures


# --- queries ----------------------------------------------------------------------------------------------------------


def daily_query(symbols: Sequence[str], first: date, last: date, now: datetime) -> Call:
    """Transform a question for daily bars, as traded.

    Some days before are asked for, so that no bar at all means not known, and the day after, as nothing says for
    certain that the end is included.
    """
    return Call(
        Capability.DAILY_BARS,
        "time_series/1day",
        "/time_series",
        {
            "symbol": _joined(symbols),
            "interval": "1day",
            "start_date": (first - _MARGIN).isoformat(),
            "end_date": (last + timedelta(days=1)).isoformat(),
            "outputsize": str(MOST_ROWS),
            "order": "desc",
            "adjust": "none",
        },
        symbol=", ".join(symbols),
        weight=len(symbols),
        keep_seconds=keep_until_close(now),
    )


def intraday_query(request: IntradayRequest, now: datetime) -> Call:
    """Transform a question for intraday bars, as traded, in UTC. A stretch not over yet is not kept."""
    interval = _INTERVALS[request.interval]
    return Call(
        Capability.BARS_1M if request.interval == "1m" else Capability.BARS_5M,
        f"time_series/{interval}",
        "/time_series",
        {
            "symbol": to_vendor(VENDOR, request.symbol),
            "interval": interval,
            "start_date": _wall(request.start),
            "end_date": _wall(request.end),
            "outputsize": str(MOST_ROWS),
            "order": "desc",
            "adjust": "none",
            "timezone": "UTC",
        },
        symbol=request.symbol,
        keep_seconds=keep_until_close(now) if request.end < now else 0.0,
    )


def quote_query(symbols: Sequence[str]) -> Call:
    """Transform a question for quotes."""
    return Call(
        Capability.QUOTES,
        "quote",
        "/quote",
        {"symbol": _joined(symbols)},
        symbol=", ".join(symbols),
        weight=len(symbols),
        keep_seconds=60.0,
    )


def splits_query(symbol: str, first: date, last: date) -> Call:
    """Transform a question for the splits of [first, last], both inclusive."""
    return _actions_query(Capability.SPLITS, "splits", symbol, first, last, {})


def dividends_query(symbol: str, first: date, last: date) -> Call:
    """Transform a question for the dividends of [first, last], both inclusive, in shares of their time."""
    return _actions_query(Capability.DIVIDENDS, "dividends", symbol, first, last, {"adjust": "false"})


def _actions_query(
    capability: Capability, name: str, symbol: str, first: date, last: date, more: Mapping[str, str]
) -> Call:
    return Call(
        capability,
        name,
        f"/{name}",
        {
            "symbol": to_vendor(VENDOR, symbol),
            "start_date": first.isoformat(),
            "end_date": (last + timedelta(days=1)).isoformat(),
            **more,
        },
        symbol=symbol,
        weight=ACTIONS_WEIGHT,
        keep_seconds=_DAY,
    )


def _joined(symbols: Sequence[str]) -> str:
    return ",".join(to_vendor(VENDOR, symbol) for symbol in symbols)


def _wall(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")


# --- answers ----------------------------------------------------------------------------------------------------------


def read_each(
    call: Call, symbols: Sequence[str], answer: Answer, read: Callable[[Call, Answer], T]
) -> dict[str, T | VendorError]:
    """Transform an answer for several symbols: what `read` makes of each, or why it makes nothing of it.

    Raises
    ------
    VendorError
        What was said of the only symbol asked for, or of all of them where that holds for the key.
    MalformedResponse
        If it is no object of answers.
    """
    if len(symbols) == 1:
        return {symbols[0]: read(call, answer)}
    parts = decode(VENDOR, call, answer, dict[str, msgspec.Raw])
    found: dict[str, T | VendorError] = {}
    for symbol in symbols:
        theirs = to_vendor(VENDOR, symbol)
        own = replace(call, symbol=symbol, params={**call.params, "symbol": theirs})
        part = replace(answer, status=HTTPStatus.OK, content=bytes(parts.get(theirs, b"")))
        try:
            if not part.content:
                raise MalformedResponse(VENDOR, f"{call.endpoint}: is not in the answer", symbol=symbol)
            refused = refusal(own, part)
            if refused is not None:
                raise refused
            found[symbol] = read(own, part)
        except VendorError as error:
            found[symbol] = error
    told = list(found.values())
    if isinstance(told[0], (AuthFailed, RateLimited, QuotaExhausted)) and len({type(t) for t in told}) == 1:
        raise told[0]
    return found


def read_rows(interval: str, call: Call, answer: Answer) -> Rows:
    """Transform the bars of one symbol.

    Raises
    ------
    SymbolNotFound
        If there is not one.
    MalformedResponse
        If it is not of the documented shape, another symbol's or interval's, or holds a price that is none.
    """
    body = decode(VENDOR, call, answer, _Series)
    if body.status != "ok":
        raise MalformedResponse(VENDOR, f"{call.endpoint}: status {body.status[:60]!r}", symbol=call.symbol)
    same_symbol(VENDOR, call, call.params["symbol"], body.meta.symbol)
    if body.meta.interval != interval:
        what = f"{call.endpoint}: asked for {interval}, answered with {body.meta.interval[:20]!r}"
        raise MalformedResponse(VENDOR, what, symbol=call.symbol)
    rows = body.values
    if not rows:
        what = f"no bar from {call.params['start_date']} to {call.params['end_date']}"
        raise SymbolNotFound(VENDOR, what, symbol=call.symbol)
    columns = (
        finite(VENDOR, call, "open", [r.open for r in rows]),
        finite(VENDOR, call, "high", [r.high for r in rows]),
        finite(VENDOR, call, "low", [r.low for r in rows]),
        finite(VENDOR, call, "close", [r.close for r in rows]),
        np.array([r.volume for r in rows], np.float64),
    )
    # Read here, so that a page is refused before the next one is asked for by its times.
    at = tuple(r.datetime for r in rows)
    _ = sessions(VENDOR, call, at) if interval == "1day" else instants(VENDOR, call, at, UTC_ZONE)
    return Rows(at, columns, answer.learned_at)


def serve_daily(
    requests: Sequence[BarRequest], pages: Mapping[str, Sequence[Rows]], failures: Mapping[str, VendorError]
) -> DailyAnswer:
    """Return the closed bars on the sessions asked for, out of each symbol's pages; raw."""
    batches: list[BarBatch] = []
    for symbol, each in pages.items():
        at, columns = _together(each)
        session = np.array([text[:10] for text in at], "datetime64[D]")
        closed = closed_sessions(session, each[0].learned_at)
        batches.append(one_symbol(symbol, session[closed], [column[closed] for column in columns]))
    answered = [r for r in requests if r.symbol in pages]
    bars = HeldBars(BarBatch.concat(batches)).serve(answered, weekends=False)
    there = {bars.symbols[i] for i in np.unique(bars.symbol_index)}
    return DailyAnswer(
        VENDOR,
        Basis.RAW,
        None,
        bars,
        failures=failures,
        silent=tuple(r.symbol for r in answered if r.symbol not in there),
        learned_at=min((each[0].learned_at for each in pages.values()), default=None),
    )


def serve_intraday(call: Call, request: IntradayRequest, pages: Sequence[Rows]) -> IntradayBars:
    """Return the bars that open in [start, end) and have closed, out of pages that may overlap; raw.

    Raises
    ------
    MalformedResponse
        If two bars of a page open at the same time.
    """
    at, columns = _together(pages)
    opened_at: Instants = instants(VENDOR, call, at, UTC_ZONE)
    order = np.argsort(opened_at, kind="stable")
    opened_at, columns = opened_at[order], [column[order] for column in columns]
    twice = np.flatnonzero(np.diff(opened_at) == np.timedelta64(0, "s"))
    if len(twice):
        what = f"{call.endpoint}: two bars open at {opened_at[twice[0]]}"
        raise MalformedResponse(VENDOR, what, symbol=call.symbol)
    learned_at = pages[0].learned_at  # of the newest bars
    start, end = (np.datetime64(_wall(instant), "s") for instant in (request.start, request.end))
    inside = (opened_at >= start) & (opened_at < end) & closed_bars(opened_at, request.interval, learned_at)
    opened, high, low, close, volume = (column[inside] for column in columns)
    return IntradayBars(
        vendor=VENDOR,
        symbol=request.symbol,
        interval=request.interval,
        basis=Basis.RAW,
        basis_date=None,
        opened_at=opened_at[inside],
        open=opened,
        high=high,
        low=low,
        close=close,
        volume=volume,
        learned_at=learned_at,
    )


def _together(pages: Sequence[Rows]) -> tuple[list[str], list[Floats]]:
    """Return the rows of all pages; the bar with which a page ends may stand in the next one again, and counts once."""
    at: list[str] = []
    columns: list[list[Floats]] = []
    oldest = "~"  # later than any time
    for page in pages:
        more = np.array([text < oldest for text in page.at])
        at += [text for text in page.at if text < oldest]
        columns.append([column[more] for column in page.columns])
        oldest = min(page.at)
    return at, [np.concatenate(column) for column in zip(*columns, strict=True)]


def read_quote(call: Call, answer: Answer) -> Quote:
    """Transform a quote of one symbol; its price is the last one, also while the session is open.

    Raises
    ------
    MalformedResponse
        If it is not of the documented shape, another symbol's, or has no price.
    """
    said = decode(VENDOR, call, answer, _Quote)
    same_symbol(VENDOR, call, call.params["symbol"], said.symbol)
    (price,) = finite(VENDOR, call, "close", [said.close])
    return Quote(
        VENDOR,
        call.symbol or "",
        float(price),
        datetime.fromtimestamp(said.last_quote_at or said.timestamp, UTC),
        answer.learned_at,
        open=_positive(said.open),
        high=_positive(said.high),
        low=_positive(said.low),
        previous_close=_positive(said.previous_close),
        volume=said.volume if said.volume is not None and np.isfinite(said.volume) else None,
        currency=(said.currency or "USD").upper(),
    )


def read_splits(call: Call, first: date, last: date, answer: Answer) -> ActionsAnswer:
    """Transform splits. Their factors read the other way round than elsewhere: from 4 to 1 is 4-for-1, its ratio 0.25.

    Raises
    ------
    MalformedResponse
        If it is not of the documented shape, another symbol's, a split is none, or ratio and factors disagree.
    """
    body = decode(VENDOR, call, answer, _Splits)
    same_symbol(VENDOR, call, call.params["symbol"], body.meta.symbol)
    found = []
    for row in body.splits:
        split = split_of(VENDOR, call, row.date, row.from_factor, row.to_factor)
        if row.ratio is not None and not abs(row.ratio * float(split.ratio) - 1) < _AGREE:
            what = (
                f"{call.endpoint}: a split of {row.date} from {row.from_factor} to {row.to_factor}: ratio {row.ratio}"
            )
            raise MalformedResponse(VENDOR, what, symbol=call.symbol)
        if first <= row.date <= last:
            found.append(split)
    return ActionsAnswer(VENDOR, call.symbol, first, last, splits=tuple(found))


def read_dividends(call: Call, first: date, last: date, answer: Answer) -> ActionsAnswer:
    """Transform dividends.

    Raises
    ------
    MalformedResponse
        If it is not of the documented shape, another symbol's, or a dividend is none.
    """
    body = decode(VENDOR, call, answer, _Dividends)
    same_symbol(VENDOR, call, call.params["symbol"], body.meta.symbol)
    found = [dividend_of(VENDOR, call, row.ex_date, row.amount, body.meta.currency) for row in body.dividends]
    return ActionsAnswer(
        VENDOR, call.symbol, first, last, dividends=tuple(d for d in found if first <= d.ex_date <= last)
    )


def _positive(value: float | None) -> float | None:
    return value if value is not None and np.isfinite(value) and value > 0 else None


def refusal(call: Call, answer: Answer) -> VendorError | None:
    """Return the error that an answer carries: the code of its body, whatever the HTTP status.

    A minute's credits renew with the minute of the clock.
    """
    try:
        said = msgspec.json.decode(answer.content, type=_Refused)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
    code, symbol = said.code, call.symbol
    text = " ".join(said.message.split())[:300]
    what = f"{call.endpoint}: {text}"
    if code >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return VendorUnavailable(VENDOR, what, symbol=symbol)
    if code == HTTPStatus.TOO_MANY_REQUESTS:
        if "for the day" in text:
            return QuotaExhausted(VENDOR, text, symbol=symbol)
        told = retry_after(answer)
        wait = told if told is not None else _MINUTE - answer.learned_at.timestamp() % _MINUTE
        return RateLimited(VENDOR, text, symbol=symbol, retry_after=wait)
    if code == HTTPStatus.UNAUTHORIZED:
        return AuthFailed(VENDOR, f"{text}; check TWELVE_DATA_API_KEY")
    if "available starting with" in text:  # said of a symbol; of an endpoint it is "available exclusively with"
        return UnsupportedRequest(VENDOR, what, symbol=symbol)
    if code == HTTPStatus.FORBIDDEN:
        return UnsupportedRequest(VENDOR, f"{what} (the plan behind TWELVE_DATA_API_KEY)")
    if code == HTTPStatus.NOT_FOUND or ("missing or invalid" in text and "symbol" in text):
        return SymbolNotFound(VENDOR, what, symbol=symbol)
    if "No data is available" in text:
        return SymbolNotFound(VENDOR, f"{what} It was not traded in that time.", symbol=symbol)
    return MalformedResponse(VENDOR, f"{what} ({code})", symbol=symbol)
