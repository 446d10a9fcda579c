"""What Financial Modeling Prep answers, as values: lists of bars, actions, quotes, companies, members; CSV by date."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime

import msgspec
import numpy as np

from quantmatrix_pipeline.bars.batch import BarBatch, Basis, Floats
from quantmatrix_pipeline.errors import MalformedResponse, SymbolNotFound, UnsupportedRequest
from quantmatrix_pipeline.providers.answers import (
    ConstituentsAnswer,
    DailyAnswer,
    Dividend,
    IntradayBars,
    Member,
    Profile,
    Quote,
    Split,
    UnreadableRow,
)
from quantmatrix_pipeline.providers.contract import IntradayRequest
from quantmatrix_pipeline.providers.symbols import from_vendor
from quantmatrix_pipeline.providers.transport.calls import Answer, Call
from quantmatrix_pipeline.providers.transport.kept_for import NEW_YORK
from quantmatrix_pipeline.providers.transport.reading import (
    UnixSeconds,
    decode,
    finite,
    finite_or_none,
    instants,
    positive,
    prices,
    same_symbol,
    sessions,
)
from quantmatrix_pipeline.providers.vendors.shared import served_bars
from quantmatrix_pipeline.providers.vendors.shared.corporate_actions import dividend_of, split_of
from quantmatrix_pipeline.providers.vendors.shared.index_members import serve_members
from quantmatrix_pipeline.providers.vendors.shared.market_hours import day_in_new_york, has_closed
from quantmatrix_pipeline.providers.vendors.shared.served_bars import BarsPart, closed_daily_bars, no_bar, united

VENDOR = "fmp"
_GROUPED_COLUMNS = ("symbol", "date", "open", "high", "low", "close", "volume")


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
    timestamp: UnixSeconds
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


@dataclass(frozen=True, slots=True)
class DailyBars:
    """One symbol's daily bars as they came: adjusted for all splits up to the day of the answer."""

    batch: BarBatch
    learned_at: datetime


@dataclass(frozen=True, slots=True)
class Actions:
    """Splits or dividends of one symbol; `days` are their ex-dates in the order in which they came."""

    days: tuple[date, ...]
    splits: tuple[Split, ...] = ()
    dividends: tuple[Dividend, ...] = ()


def read_daily(call: Call, answer: Answer) -> DailyBars:
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
        raise no_bar(VENDOR, symbol, call.params["from"], call.params["to"])
    for name in {row.symbol for row in rows}:
        same_symbol(VENDOR, call, call.params["symbol"], name)
    session = sessions(VENDOR, call, [row.date for row in rows])
    bars = closed_daily_bars(symbol, session, _columns(call, rows), answer.learned_at)
    return DailyBars(bars, answer.learned_at)


def read_grouped(call: Call, session: date, answer: Answer) -> DailyAnswer:
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
        return DailyAnswer(
            VENDOR, Basis.SPLIT, day_in_new_york(answer.learned_at), BarBatch.empty(), learned_at=answer.learned_at
        )
    try:
        header, *lines = csv.reader(io.StringIO(text))
    except csv.Error as error:
        raise MalformedResponse(VENDOR, f"{call.endpoint}: no CSV ({error}): {answer.text(80)!r}") from error
    missing = [name for name in _GROUPED_COLUMNS if name not in header]
    if missing:
        what = f"{call.endpoint}: no CSV with {', '.join(missing)}: {answer.text(80)!r}"
        raise MalformedResponse(VENDOR, what)
    at = [header.index(name) for name in _GROUPED_COLUMNS]
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
        bar = _grouped_bar(dated, day, numbers)
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
        VENDOR,
        Basis.SPLIT,
        day_in_new_york(answer.learned_at),
        batch,
        unreadable=tuple(unreadable),
        learned_at=answer.learned_at,
    )


def _of_the_us(theirs: str) -> str | None:
    if "." in theirs:
        return None
    try:
        return from_vendor(VENDOR, theirs)
    except UnsupportedRequest:
        return None


def _grouped_bar(dated: str, day: str, numbers: Sequence[str]) -> tuple[float, ...] | str:
    """Return open, high, low, close, volume; or the reason code for which there are none."""
    if dated != day:
        return "bad_date"
    try:
        quoted = tuple(float(number) for number in numbers[:4])
        volume = float(numbers[4]) if numbers[4] else np.nan
    except ValueError:
        return "wrong_type"
    return (*quoted, volume) if np.isfinite(quoted).all() else "wrong_type"


def read_intraday(call: Call, answer: Answer) -> BarsPart:
    """Transform intraday bars; the answer does not say whose they are.

    Raises
    ------
    MalformedResponse
        If it is not of the documented shape, or holds a price or a time that is none.
    """
    rows = decode(VENDOR, call, answer, list[_Candle])
    opened_at = instants(VENDOR, call, [row.date for row in rows], NEW_YORK)
    return BarsPart(opened_at, _columns(call, rows), answer.learned_at)


def serve_intraday(request: IntradayRequest, parts: Sequence[BarsPart]) -> IntradayBars:
    """Return the bars that open in [start, end) and have closed, out of answers that may overlap.

    Raises
    ------
    SymbolNotFound
        If there is not one in any answer: an unknown symbol is answered like a time without trade.
    """
    opened_at, columns = united(parts)
    if not len(opened_at):
        raise no_bar(VENDOR, request.symbol, request.start, request.end)
    learned_at = parts[0].learned_at  # of the newest bars
    day = day_in_new_york(learned_at)
    return served_bars.serve_intraday(VENDOR, request, opened_at, columns, learned_at, adjusted_until=day)


def read_splits(call: Call, answer: Answer) -> Actions:
    """Transform splits; one that stands there twice is one.

    Raises
    ------
    MalformedResponse
        If it is not of the documented shape, another symbol's, or a split is none.
    """
    rows = decode(VENDOR, call, answer, list[_SplitRow])
    for row in rows:
        same_symbol(VENDOR, call, call.params["symbol"], row.symbol)
    found = dict.fromkeys(split_of(VENDOR, call, row.date, row.numerator, row.denominator) for row in rows)
    return Actions(tuple(row.date for row in rows), splits=tuple(found))


def read_dividends(call: Call, answer: Answer) -> Actions:
    """Transform dividends, as they were paid per share of their time.

    Raises
    ------
    MalformedResponse
        If it is not of the documented shape, another symbol's, or a dividend is none.
    """
    rows = decode(VENDOR, call, answer, list[_DividendRow])
    for row in rows:
        same_symbol(VENDOR, call, call.params["symbol"], row.symbol)
    found = tuple(dividend_of(VENDOR, call, row.date, row.dividend, None) for row in rows)
    return Actions(tuple(row.date for row in rows), dividends=found)


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
        open=positive(row.open),
        high=positive(row.day_high),
        low=positive(row.day_low),
        previous_close=positive(row.previous_close),
        volume=finite_or_none(row.volume),
        market_cap=positive(row.market_cap),
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
        market_cap=positive(row.market_cap),
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
    members = [Member(row.symbol, row.name or None, row.sector or None, None, row.sub_sector or None) for row in rows]
    return serve_members(VENDOR, call, index, day_in_new_york(answer.learned_at), members)


def _columns(call: Call, rows: Sequence[_Day] | Sequence[_Candle]) -> tuple[Floats, ...]:
    return (*prices(VENDOR, call, rows), np.array([row.volume for row in rows], np.float64))
