"""The contract between the platform and every source of data: what may be asked, and how.

A source is asked in canonical symbols and exchange sessions and answers in the types of `providers.answers`. It works
in three steps: transform the query (pure), extract (the only step with I/O), transform the data (pure). It never
decides what is missing, never validates prices against each other and never writes.

Two shapes. A `Vendor` answers one question at a time, and says what a question costs; failures are raised, typed. A
`Provider` is what the ingestion talks to: it takes all requests of a night and yields answers in parts. A folder of
files is one; so is the router, which stands for all vendors together.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from typing import Protocol, runtime_checkable

from quantmatrix_pipeline.bars.batch import Dates
from quantmatrix_pipeline.errors import UnsupportedRequest
from quantmatrix_pipeline.providers.answers import (
    ActionsAnswer,
    ConstituentsAnswer,
    DailyAnswer,
    IndexSpells,
    IntradayAnswer,
    IntradayBars,
    Listing,
    MacroSeries,
    OptionChain,
    Profile,
    Quote,
    SymbolChange,
)


class Capability(StrEnum):
    """What a source may offer. Health, circuits and policies are kept per vendor and capability."""

    DAILY_BARS = "daily_bars"
    GROUPED_BARS = "grouped_bars"  # the whole market on one session
    BARS_5M = "bars_5m"
    BARS_1M = "bars_1m"
    QUOTES = "quotes"
    OPTIONS_CHAIN = "options_chain"
    CONSTITUENTS = "constituents"
    PROFILE = "profile"
    SPLITS = "splits"
    DIVIDENDS = "dividends"
    CRYPTO_DAILY = "crypto_daily"
    CRYPTO_5M = "crypto_5m"
    CRYPTO_1M = "crypto_1m"
    CRYPTO_QUOTES = "crypto_quotes"
    MACRO = "macro"
    LISTINGS = "listings"  # a finite source that can say everything it holds


@dataclass(frozen=True, slots=True)
class BarRequest:
    """Ask for the daily bars of one symbol on exactly these sessions.

    `sessions` is sorted, without duplicates, datetime64[D]. A source may fetch more when its calls are ranges, but
    must not fetch a symbol that was not asked for. The asker drops whatever it did not ask for, but for rows that are
    dated on no session at all: those it refuses, and logs.
    """

    symbol: str
    sessions: Dates

    @property
    def first(self) -> date:
        return self.sessions[0].item()  # type: ignore[no-any-return]

    @property
    def last(self) -> date:
        return self.sessions[-1].item()  # type: ignore[no-any-return]


@dataclass(frozen=True, slots=True)
class IntradayRequest:
    """Ask for the bars of one symbol that open at or after `start` and before `end`, both UTC; `interval` is `1m` or
    `5m`.
    """

    symbol: str
    interval: str
    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class Offer:
    """What asking a vendor for one capability costs, and how far it reaches.

    Attributes
    ----------
    symbols_per_call
        How many symbols one question may name.
    calls
        HTTP calls that one question makes before any paging, such as 2 for bars and their splits.
    per_symbol
        Whether the vendor charges its budget by symbol, not by call.
    reach_days
        How many calendar days back from today there is anything; None: no limit. What is older is asked of others.
    whole_market
        For splits and dividends: whether one question may ask for all symbols at once.
    """

    symbols_per_call: int = 1
    calls: int = 1
    per_symbol: bool = False
    reach_days: int | None = None
    whole_market: bool = False

    def cost(self, symbols: int) -> int:
        """Return what one question for so many symbols takes from the budget."""
        return self.calls * (symbols if self.per_symbol else 1)


class Vendor:
    """One vendor. A subclass overrides what `offers` names; the rest refuses.

    Every method raises a typed `VendorError`; where the fault concerns one symbol of several, it is in the answer's
    `failures`. `UnsupportedRequest` with a symbol means that the vendor (or the plan) does not serve this symbol;
    without one, that the plan lacks the capability.
    """

    name: str
    offers: Mapping[Capability, Offer]

    async def open(self) -> None:
        """Open connections; called in the event loop that then asks."""

    async def close(self) -> None:
        """Close connections."""

    async def forget(self, capability: Capability, symbol: str) -> None:
        """Don't serve again, out of what is kept, an answer on this symbol that turned out to end too early."""

    async def daily_bars(self, requests: Sequence[BarRequest]) -> DailyAnswer:
        """Return daily bars of at most `symbols_per_call` symbols, equities or crypto."""
        raise self._refuse(Capability.DAILY_BARS)

    async def grouped_bars(self, session: date) -> DailyAnswer:
        """Return the bars of every symbol that the vendor has on one session."""
        raise self._refuse(Capability.GROUPED_BARS)

    async def intraday_bars(self, request: IntradayRequest) -> IntradayBars:
        """Return bars of one or five minutes."""
        raise self._refuse(Capability.BARS_5M)

    async def intraday_batch(self, requests: Sequence[IntradayRequest]) -> IntradayAnswer:
        """Return bars of at most `symbols_per_call` symbols, of one interval; who answers for one alone raises what
        went wrong with it.
        """
        (request,) = requests
        return IntradayAnswer(self.name, (await self.intraday_bars(request),))

    async def quotes(self, symbols: Sequence[str]) -> Sequence[Quote]:
        """Return the last prices of at most `symbols_per_call` symbols; one that is missing was not known."""
        raise self._refuse(Capability.QUOTES)

    async def splits(self, symbol: str | None, first: date, last: date) -> ActionsAnswer:
        """Return the splits of a symbol, or of the whole market, with ex-dates in [first, last], both inclusive."""
        raise self._refuse(Capability.SPLITS)

    async def dividends(self, symbol: str | None, first: date, last: date) -> ActionsAnswer:
        """Return the cash dividends of a symbol, or of the whole market, with ex-dates in [first, last], both
        inclusive.
        """
        raise self._refuse(Capability.DIVIDENDS)

    async def profile(self, symbol: str) -> Profile:
        """Return what a company is."""
        raise self._refuse(Capability.PROFILE)

    async def constituents(self, index: str, session: date) -> ConstituentsAnswer:
        """Return the members of `index` (SP500, NASDAQ100, DOW30, R2000) as of `session`, or as of today if later."""
        raise self._refuse(Capability.CONSTITUENTS)

    async def options_chain(self, symbol: str, expiry: date | None = None) -> OptionChain:
        """Return the options on `symbol` that expire on `expiry`, or on the nearest expiry (or all) where none is
        named.
        """
        raise self._refuse(Capability.OPTIONS_CHAIN)

    async def macro_series(self, series: str, first: date, last: date) -> MacroSeries:
        """Return the observations of a series with days in [first, last], both inclusive."""
        raise self._refuse(Capability.MACRO)

    def _refuse(self, capability: Capability) -> UnsupportedRequest:
        return UnsupportedRequest(self.name, f"does not offer {capability}")


class MemberSource(Protocol):
    """Somebody who knows the members of indexes."""

    @property
    def name(self) -> str: ...

    async def constituents(self, index: str, session: date) -> ConstituentsAnswer:
        """Return the members of `index` (SP500, NASDAQ100, DOW30, R2000) as of `session`, or as of today if later.

        Raises
        ------
        UnsupportedRequest
            This source has never had this index.
        VendorError
            It could not be had.
        """
        ...


@runtime_checkable
class KeepsHistory(Protocol):
    """A source that knows how names and index members changed over time."""

    def symbol_changes(self) -> Sequence[SymbolChange]:
        """Return all renames and reuses of names that it knows, by day."""
        ...

    def index_spells(self) -> Sequence[IndexSpells]:
        """Return the stays in each index of which it knows any."""
        ...


class Provider(Protocol):
    """What the nightly chain is served by. Methods of a capability that a source lacks raise `UnsupportedRequest`."""

    @property
    def name(self) -> str: ...

    @property
    def vendors(self) -> tuple[str, ...]:
        """Under whose names its bars are stored: its own, or those that it stands for."""
        ...

    @property
    def capabilities(self) -> frozenset[Capability]: ...

    def newest_session(self, closed: date) -> date:
        """Return the newest session this source can serve, where `closed` is the last one that ended (by the clock)."""
        ...

    def listings(self) -> Sequence[Listing]:
        """Return everything a finite source holds; an endless one (a vendor) returns nothing."""
        ...

    def daily_bars(self, requests: Sequence[BarRequest], *, concurrency: int) -> AsyncIterator[DailyAnswer]:
        """Yield the answers in parts, each of a bounded number of symbols, as they arrive.

        Every requested symbol ends up in some part's `bars`, or in its `failures`, or had nothing on those sessions.
        """
        ...

    async def splits_of(self, stretches: Mapping[str, tuple[date, date]]) -> Sequence[DailyAnswer]:
        """Return parts without bars: splits with ex-dates in [first, last] of each symbol, which came without them.

        A source that hands over all it knows together with the bars has nothing to add.
        """
        ...

    async def constituents(self, index: str, session: date) -> ConstituentsAnswer:
        """Return the members of `index` (SP500, NASDAQ100, DOW30, R2000) as of `session`, or as of today if later."""
        ...
