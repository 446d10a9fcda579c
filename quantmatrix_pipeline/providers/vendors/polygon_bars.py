"""What Polygon answers when asked for bars: pages of one symbol's, and the whole market of a session."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import lru_cache
from typing import Generic, TypeVar

import msgspec
import numpy as np
import numpy.typing as npt

from quantmatrix_pipeline.bars.batch import BarBatch, Basis, Dates, Floats
from quantmatrix_pipeline.errors import MalformedResponse, UnsupportedRequest
from quantmatrix_pipeline.providers.answers import DailyAnswer, IntradayBars, UnreadableRow
from quantmatrix_pipeline.providers.contract import BarRequest, IntradayRequest
from quantmatrix_pipeline.providers.symbols import from_vendor, to_vendor
from quantmatrix_pipeline.providers.transport.calls import Answer, Call
from quantmatrix_pipeline.providers.transport.reading import UnixMilliseconds, decode, finite, same_symbol
from quantmatrix_pipeline.providers.vendors.shared import served_bars
from quantmatrix_pipeline.providers.vendors.shared.market_hours import day_in_new_york, has_closed
from quantmatrix_pipeline.providers.vendors.shared.served_bars import MARGIN, closed_daily_bars, no_bar

VENDOR = "polygon"
GOOD = ("OK", "DELAYED")  # the statuses of a success; the second is that of a plan with delayed data
DELAY = timedelta(minutes=15)  # by which such a plan lags
_HOUR_MS = 3_600_000
_MIDNIGHTS = (4 * _HOUR_MS, 5 * _HOUR_MS)  # of New York, in UTC

Millis = npt.NDArray[np.int64]


class _Bar(
    msgspec.Struct, gc=False, rename={"at": "t", "open": "o", "high": "h", "low": "l", "close": "c", "volume": "v"}
):
    at: UnixMilliseconds
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


@dataclass(frozen=True, slots=True)
class BarsPage:
    """A page of one symbol's bars; `columns` are open, high, low, close, volume."""

    at: Millis
    columns: tuple[Floats, ...]
    adjusted: bool
    delayed: bool
    learned_at: datetime
    next_url: str | None


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


def serve_daily(call: Call, request: BarRequest, pages: Sequence[BarsPage]) -> DailyAnswer:
    """Return the bars on the sessions asked for, out of all pages of a symbol's daily bars.

    Raises
    ------
    SymbolNotFound
        If there is not one bar: an unknown symbol is answered like a time without trade.
    MalformedResponse
        If a stamp is no midnight in New York, or the bars don't ascend.
    """
    at, columns = _joined(call, pages)
    if not len(at):
        raise no_bar(VENDOR, request.symbol, request.first - MARGIN, request.last)
    wrong = np.flatnonzero(~np.isin(at % (24 * _HOUR_MS), _MIDNIGHTS))
    if len(wrong):
        what = f"{call.endpoint}: bar {wrong[0] + 1}: {at[wrong[0]]} is no midnight in New York"
        raise MalformedResponse(VENDOR, what, symbol=call.symbol)
    bars = closed_daily_bars(request.symbol, _days(at), columns, _known_until(pages))
    learned_at = pages[-1].learned_at
    return served_bars.serve_daily(VENDOR, request, bars, learned_at, adjusted_until=_adjusted_until(pages))


def serve_intraday(call: Call, request: IntradayRequest, pages: Sequence[BarsPage]) -> IntradayBars:
    """Return the bars that open in [start, end) and have closed, out of all pages of a symbol's intraday bars.

    Raises
    ------
    MalformedResponse
        If the bars don't ascend, which is also how a page that comes twice shows.
    """
    at, columns = _joined(call, pages)
    return served_bars.serve_intraday(
        VENDOR,
        request,
        (at // 1000).astype("datetime64[s]"),
        columns,
        pages[-1].learned_at,
        known_until=_known_until(pages),
        adjusted_until=_adjusted_until(pages),
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
    until = answer.learned_at - (DELAY if body.status == "DELAYED" else timedelta(0))
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
    return DailyAnswer(
        VENDOR,
        Basis.SPLIT if body.adjusted else Basis.RAW,  # raw was asked for
        day_in_new_york(answer.learned_at) if body.adjusted else None,
        batch if good.all() else batch.take(good),
        unreadable=unreadable,
        learned_at=answer.learned_at,
    )


@lru_cache(maxsize=1 << 16)
def canonical(ticker: str) -> str | None:
    """Return the canonical form of a ticker, None where it has none; remembered, as tickers hardly change."""
    try:
        return from_vendor(VENDOR, ticker)
    except UnsupportedRequest:
        return None


def refuse_status(call: Call, status: str) -> None:
    """Refuse an answer with a status that is no success."""
    if status not in GOOD:
        raise MalformedResponse(VENDOR, f"{call.endpoint}: status {status[:60]!r}", symbol=call.symbol)


def _complete(call: Call, body: _Bars[B]) -> _Bars[B]:
    """Refuse a status that is no success, and an answer that says it holds more than came."""
    refuse_status(call, body.status)
    if body.count > len(body.results or ()):
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
    return pages[0].learned_at - (DELAY if any(page.delayed for page in pages) else timedelta(0))


def _adjusted_until(pages: Sequence[BarsPage]) -> date | None:
    """Return None for raw prices, as asked for, unless an answer says that it is adjusted all the same."""
    return day_in_new_york(pages[0].learned_at) if any(page.adjusted for page in pages) else None
