"""What Twelve Data answers of one symbol, as values: pages of bars, quotes, splits, dividends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Annotated

import msgspec
import numpy as np

from quantmatrix_pipeline.bars.batch import BarBatch, Basis, Floats
from quantmatrix_pipeline.errors import MalformedResponse, SymbolNotFound, VendorError
from quantmatrix_pipeline.providers.answers import ActionsAnswer, DailyAnswer, Instants, IntradayBars, Quote
from quantmatrix_pipeline.providers.contract import BarRequest, IntradayRequest
from quantmatrix_pipeline.providers.transport.calls import Answer, Call
from quantmatrix_pipeline.providers.transport.reading import (
    UTC_ZONE,
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
from quantmatrix_pipeline.providers.vendors.shared.corporate_actions import (
    dividend_of,
    serve_dividends,
    serve_splits,
    split_of,
)
from quantmatrix_pipeline.providers.vendors.shared.held_bars import HeldBars
from quantmatrix_pipeline.providers.vendors.shared.served_bars import closed_daily_bars

VENDOR = "twelve_data"
_AGREE = 0.01  # how far a split's ratio, which is rounded, may be from its factors

_Moment = Annotated[int, msgspec.Meta(gt=0, lt=1 << 33)]  # in seconds, up to the year 2242


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
    timestamp: _Moment
    last_quote_at: _Moment | None = None
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


@dataclass(frozen=True, slots=True)
class Rows:
    """A symbol's bars as they came, newest first; `columns` are open, high, low, close, volume."""

    at: tuple[str, ...]
    columns: tuple[Floats, ...]
    learned_at: datetime

    def __len__(self) -> int:
        return len(self.at)


def read_bars(interval: str, call: Call, answer: Answer) -> Rows:
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
        *prices(VENDOR, call, rows),
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
        batches.append(closed_daily_bars(symbol, session, columns, each[0].learned_at))
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
    return served_bars.serve_intraday(VENDOR, request, opened_at, columns, pages[0].learned_at)  # of the newest bars


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
        open=positive(said.open),
        high=positive(said.high),
        low=positive(said.low),
        previous_close=positive(said.previous_close),
        volume=finite_or_none(said.volume),
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
        found.append(split)
    return serve_splits(VENDOR, call.symbol, first, last, found)


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
    return serve_dividends(VENDOR, call.symbol, first, last, found)
