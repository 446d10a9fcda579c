"""What Polygon answers, bars apart, as values: splits, dividends, companies, quotes."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from typing import Annotated, Generic, TypeVar

import msgspec

from quantmatrix_pipeline.errors import MalformedResponse, SymbolNotFound
from quantmatrix_pipeline.providers.answers import Dividend, Profile, Quote, Split
from quantmatrix_pipeline.providers.symbols import to_vendor
from quantmatrix_pipeline.providers.transport.calls import Answer, Call
from quantmatrix_pipeline.providers.transport.reading import decode, finite_or_none, positive, same_symbol
from quantmatrix_pipeline.providers.vendors.polygon_bars import VENDOR, canonical, read_bars, refuse_status
from quantmatrix_pipeline.providers.vendors.shared.corporate_actions import is_amount, ratio_of

TWICE = timedelta(days=14)  # within which a symbol does not split twice alike

log = logging.getLogger(__name__)

_UnixNanoseconds = Annotated[int, msgspec.Meta(ge=0, lt=1 << 62)]  # up to the year 2116
R = TypeVar("R")


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
    t: _UnixNanoseconds | None = None


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
    updated: _UnixNanoseconds
    day: _DayBar
    previous: _DayBar | None = None
    trade: _Trade | None = None
    spread: _Spread | None = None


class _Snapped(msgspec.Struct):
    ticker: _Snapshot


@dataclass(frozen=True, slots=True)
class ActionsPage:
    """A page of splits or dividends."""

    splits: tuple[Split, ...]
    dividends: tuple[Dividend, ...]
    next_url: str | None


def read_splits(call: Call, answer: Answer) -> ActionsPage:
    """Transform a page of splits; for the whole market, tickers without a canonical symbol are left out.

    Raises
    ------
    MalformedResponse
        If it is not of the documented shape or another symbol's, or a split of the one symbol asked for is none.
    """
    body = decode(VENDOR, call, answer, _Rows[_SplitRow])
    found = []
    for row in _rows(call, body):
        symbol = _of_action(call, row.ticker)
        if symbol is None:
            continue
        ratio = ratio_of(row.split_to, row.split_from)
        if ratio is not None:
            found.append(Split(symbol, row.execution_date, ratio))
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
        if same is not None and same - split.ex_date <= TWICE:
            continue
        later[split.symbol, split.ratio] = split.ex_date
        kept.append(split)
    return kept[::-1]


def read_dividends(call: Call, answer: Answer) -> ActionsPage:
    """Transform a page of dividends, special ones and distributed gains among them.

    Older answers name no currency, and mean dollars.

    Raises
    ------
    MalformedResponse
        If it is not of the documented shape or another symbol's, or a dividend of the one symbol asked for is none.
    """
    body = decode(VENDOR, call, answer, _Rows[_DividendRow])
    found: dict[tuple[str, date, float, str, str | None], Dividend] = {}
    for row in _rows(call, body):
        symbol = _of_action(call, row.ticker)
        if symbol is None:
            continue
        currency = (row.currency or "USD").upper()
        if is_amount(row.cash_amount):
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
        market_cap=positive(company.market_cap),
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
        volume=finite_or_none(volume),
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
    price = positive(trade.p) or positive(day.c)
    if price is None:
        raise SymbolNotFound(VENDOR, "no price of today yet", symbol=symbol)
    stamp = trade.t if trade.t is not None and positive(trade.p) else said.updated
    return Quote(
        VENDOR,
        symbol,
        price=price,
        at=datetime.fromtimestamp(stamp // 1_000_000_000, UTC),
        learned_at=answer.learned_at,
        open=positive(day.o),
        high=positive(day.h),
        low=positive(day.l),
        previous_close=positive(said.previous.c) if said.previous else None,
        volume=finite_or_none(day.v),
        bid=positive(spread.bid),
        ask=positive(spread.ask),
    )


def _rows(call: Call, body: _Rows[R]) -> list[R]:
    refuse_status(call, body.status)
    return body.results or []


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
