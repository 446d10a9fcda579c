"""The contract between the platform and every source of data.

A source is asked in canonical symbols and exchange sessions and answers in the types below. It works in three steps:
transform the query (pure), extract (the only step with I/O), transform the data (pure). It never decides what is
missing, never validates prices against each other and never writes.

What can go wrong for one symbol comes back in `failures`, typed; what goes wrong for the whole call is raised.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from fractions import Fraction
from typing import Any, Protocol

from quantmatrix_pipeline.bars.batch import BarBatch, Basis, Dates
from quantmatrix_pipeline.errors import VendorError


class Capability(StrEnum):
    """What a source may offer."""

    DAILY_BARS = "daily_bars"
    CONSTITUENTS = "constituents"
    LISTINGS = "listings"  # a finite source that can say everything it holds


class Kind(StrEnum):
    """What an instrument is; an index has no volume of its own."""

    STOCK = "stock"
    FUND = "fund"
    INDEX = "index"
    CRYPTO = "crypto"


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
class Split:
    """From `ex_date` on, `ratio` new shares stand for one old share (4-for-1 is 4, a 1-for-10 reverse split 1/10)."""

    symbol: str
    ex_date: date
    ratio: Fraction


@dataclass(frozen=True, slots=True)
class Dividend:
    """Cash of `amount` per share, in shares as they were on `ex_date`."""

    symbol: str
    ex_date: date
    amount: float
    currency: str = "USD"


@dataclass(frozen=True, slots=True)
class UnreadableRow:
    """A row of an answer that could not be read as a bar at all; it goes to the validation log as it came."""

    symbol: str | None
    session: date | None
    reason: str  # a reason code, such as `wrong_type` or `bad_date`
    detail: str  # for people: file, row, column, what stood there
    payload: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class DailyAnswer:
    """A part of an answer: bars of some of the symbols asked for, all on one basis.

    `basis_date` is the last day whose splits are contained in adjusted prices; None for raw ones. A source that gives
    the splits needed to undo its adjustment answers in raw prices (see `bars.adjustment.to_raw`).
    """

    vendor: str
    basis: Basis
    basis_date: date | None
    bars: BarBatch
    splits: tuple[Split, ...] = ()
    dividends: tuple[Dividend, ...] = ()
    unreadable: tuple[UnreadableRow, ...] = ()
    failures: Mapping[str, VendorError] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Member:
    """One member of an index, in canonical form."""

    symbol: str
    name: str | None = None
    sector: str | None = None
    industry: str | None = None
    sub_industry: str | None = None


@dataclass(frozen=True, slots=True)
class ConstituentsAnswer:
    """The members of one index as they were on `as_of_date`."""

    vendor: str
    index: str
    as_of_date: date
    members: tuple[Member, ...]


@dataclass(frozen=True, slots=True)
class Listing:
    """What a finite source knows of an instrument that it holds; `delisted_on` is the first day without trade.

    `first_bar` and `last_bar` are the dates of the first and last bar held, which need not be those of the listing.
    """

    symbol: str
    kind: Kind = Kind.STOCK
    name: str | None = None
    currency: str = "USD"
    listed_on: date | None = None
    delisted_on: date | None = None
    first_bar: date | None = None
    last_bar: date | None = None


class Provider(Protocol):
    """A source of market data. Methods of a capability that a source lacks raise `UnsupportedRequest`."""

    @property
    def name(self) -> str: ...

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

    async def constituents(self, index: str, session: date) -> ConstituentsAnswer:
        """Return the members of `index` (SP500, NASDAQ100, DOW30, R2000) as of `session`, or as of today if later."""
        ...
