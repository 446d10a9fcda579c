"""What Yahoo answers, charts apart, as values: quotes, company modules, option chains."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime

import msgspec

from quantmatrix_pipeline.errors import MalformedResponse, SymbolNotFound, UnsupportedRequest
from quantmatrix_pipeline.providers.answers import OptionChain, OptionContract, Profile, Quote, Right
from quantmatrix_pipeline.providers.symbols import to_vendor
from quantmatrix_pipeline.providers.transport.calls import Answer, Call
from quantmatrix_pipeline.providers.transport.kept_for import NEW_YORK
from quantmatrix_pipeline.providers.transport.reading import decode, same_symbol
from quantmatrix_pipeline.providers.vendors.shared.market_hours import day_in_new_york
from quantmatrix_pipeline.providers.vendors.yahoo_session import VENDOR


class _Theirs(msgspec.Struct, rename="camel"):
    """A shape with Yahoo's names."""


class _Last(_Theirs):
    symbol: str
    regular_market_price: float | None = None
    regular_market_time: int | None = None
    regular_market_open: float | None = None
    regular_market_day_high: float | None = None
    regular_market_day_low: float | None = None
    regular_market_previous_close: float | None = None
    regular_market_volume: float | None = None
    bid: float | None = None
    ask: float | None = None
    market_cap: float | None = None
    currency: str | None = None


class _Lasts(_Theirs):
    result: list[_Last]


class _QuoteBody(_Theirs):
    quote_response: _Lasts


class _Company(_Theirs):
    sector: str | None = None
    industry: str | None = None


class _Listed(_Theirs):
    symbol: str | None = None
    long_name: str | None = None
    short_name: str | None = None
    exchange_name: str | None = None
    currency: str | None = None
    market_cap: float | None = None


class _Earnings(_Theirs):
    earnings_date: list[int] = []


class _Calendar(_Theirs):
    earnings: _Earnings | None = None


class _Modules(_Theirs):
    price: _Listed
    asset_profile: _Company | None = None
    calendar_events: _Calendar | None = None


class _Summaries(_Theirs):
    result: list[_Modules]


class _SummaryBody(_Theirs):
    quote_summary: _Summaries


class _Contract(_Theirs):
    contract_symbol: str
    strike: float
    expiration: int
    last_price: float | None = None
    bid: float | None = None
    ask: float | None = None
    volume: float | None = None
    open_interest: float | None = None
    implied_volatility: float | None = None


class _Expiry(_Theirs):
    calls: list[_Contract]
    puts: list[_Contract]


class _Underlying(_Theirs):
    regular_market_price: float | None = None


class _Chain(_Theirs):
    underlying_symbol: str
    expiration_dates: list[int]
    options: list[_Expiry]
    quote: _Underlying | None = None


class _Chains(_Theirs):
    result: list[_Chain]


class _ChainBody(_Theirs):
    option_chain: _Chains


def read_quotes(call: Call, symbols: Mapping[str, str], answer: Answer) -> list[Quote]:
    """Transform last prices; `symbols` are those asked for, theirs -> canonical.

    A symbol without a price, or without its time, is as one that is not known. A bid or ask of 0 is none.

    Raises
    ------
    MalformedResponse
        If it is not of that shape, or names a symbol that was not asked for.
    """
    quotes = []
    for last in decode(VENDOR, call, answer, _QuoteBody).quote_response.result:
        if last.symbol not in symbols:
            raise MalformedResponse(
                VENDOR, f"{call.endpoint}: asked for {', '.join(symbols)}, answered with {last.symbol}"
            )
        if last.regular_market_price is None or last.regular_market_time is None:
            continue
        quotes.append(
            Quote(
                VENDOR,
                symbols[last.symbol],
                last.regular_market_price,
                datetime.fromtimestamp(last.regular_market_time, UTC),
                answer.learned_at,
                open=last.regular_market_open,
                high=last.regular_market_day_high,
                low=last.regular_market_day_low,
                previous_close=last.regular_market_previous_close,
                volume=last.regular_market_volume,
                bid=last.bid or None,
                ask=last.ask or None,
                market_cap=last.market_cap,
                currency=last.currency or "USD",
            )
        )
    return quotes


def read_profile(call: Call, answer: Answer) -> Profile:
    """Transform a company's modules; the next earnings date is the first one from the answer's day on.

    Raises
    ------
    SymbolNotFound
        If there are none.
    MalformedResponse
        If they are not of that shape, or another company's.
    """
    found = decode(VENDOR, call, answer, _SummaryBody).quote_summary.result
    if not found:
        raise SymbolNotFound(VENDOR, "not known there", symbol=call.symbol)
    modules = found[0]
    listed, company = modules.price, modules.asset_profile or _Company()
    same_symbol(VENDOR, call, to_vendor(VENDOR, call.symbol or ""), listed.symbol)
    earnings = modules.calendar_events.earnings if modules.calendar_events else None
    today = day_in_new_york(answer.learned_at)
    days = [datetime.fromtimestamp(at, NEW_YORK).date() for at in (earnings.earnings_date if earnings else [])]
    return Profile(
        VENDOR,
        call.symbol or "",
        answer.learned_at,
        name=listed.long_name or listed.short_name,
        exchange=listed.exchange_name,
        sector=company.sector or None,
        industry=company.industry or None,
        market_cap=listed.market_cap,
        currency=listed.currency,
        next_earnings=min((day for day in days if day >= today), default=None),
    )


def read_options(call: Call, expiry: date | None, answer: Answer) -> OptionChain:
    """Transform the options of one expiry.

    Raises
    ------
    SymbolNotFound
        If the underlying is not known.
    UnsupportedRequest
        If nothing expires on the day asked for; names the days on which something does.
    MalformedResponse
        If it is not of that shape, or another underlying's or day's.
    """
    found = decode(VENDOR, call, answer, _ChainBody).option_chain.result
    if not found:
        raise SymbolNotFound(VENDOR, "not known there", symbol=call.symbol)
    chain = found[0]
    same_symbol(VENDOR, call, to_vendor(VENDOR, call.symbol or ""), chain.underlying_symbol)
    days = [_utc_day(at) for at in chain.expiration_dates]
    if expiry is not None and expiry not in days:
        known = ", ".join(str(day) for day in days) or "none"
        raise UnsupportedRequest(VENDOR, f"no options expire on {expiry}; on these days: {known}", symbol=call.symbol)
    contracts = tuple(
        _contract(right, theirs)
        for listed in chain.options
        for right, side in ((Right.CALL, listed.calls), (Right.PUT, listed.puts))
        for theirs in side
    )
    other = {c.expiry for c in contracts} - {expiry}
    if expiry is not None and other:
        what = f"{call.endpoint}: asked for {expiry}, answered with {min(other)}"
        raise MalformedResponse(VENDOR, what, symbol=call.symbol)
    return OptionChain(
        VENDOR,
        call.symbol or "",
        answer.learned_at,
        contracts,
        underlying_price=chain.quote.regular_market_price if chain.quote else None,
    )


def _contract(right: Right, theirs: _Contract) -> OptionContract:
    return OptionContract(
        theirs.contract_symbol,
        right,
        _utc_day(theirs.expiration),
        theirs.strike,
        bid=theirs.bid,
        ask=theirs.ask,
        last=theirs.last_price,
        volume=theirs.volume,
        open_interest=theirs.open_interest,
        implied_volatility=theirs.implied_volatility,
    )


def _utc_day(at: int) -> date:
    return datetime.fromtimestamp(at, UTC).date()
