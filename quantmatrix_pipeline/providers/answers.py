"""What sources answer: bars, corporate actions, members, quotes, profiles, option chains, series, in the platform's own
terms.

Normalised means: canonical symbols, exchange sessions or UTC instants, floats, one stated basis, the vendor's name, and
when it was learned.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import StrEnum
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt

from quantmatrix_pipeline.bars.batch import BarBatch, Basis, Floats
from quantmatrix_pipeline.errors import VendorError

Instants = npt.NDArray[np.datetime64]  # unit s, UTC


class Kind(StrEnum):
    """What an instrument is; an index has no volume of its own."""

    STOCK = "stock"
    FUND = "fund"
    INDEX = "index"
    CRYPTO = "crypto"


@dataclass(frozen=True, slots=True)
class Split:
    """From `ex_date` on, `ratio` new shares stand for one old share (4-for-1 is 4, a 1-for-10 reverse split 1/10).

    A stock dividend is one by another name: of 5 % in new shares, 21/20.
    """

    symbol: str
    ex_date: date
    ratio: Fraction
    stock_dividend: bool = False


@dataclass(frozen=True, slots=True)
class Dividend:
    """Cash of `amount` for each share held at the close before `ex_date`."""

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

    `silent` are symbols that the source knows and had nothing of on those sessions; `learned_at` is when the answer
    came, None for a source that lies on this machine; `asked_from` is the first day that it was asked for, None for
    all sessions of the request.

    `basis_date` is the last day whose splits are contained in adjusted prices; None for raw ones. A source that gives
    the splits needed to undo its adjustment answers in raw prices (see `bars.adjustment.to_raw`).

    `splits_told` is, by symbol, the span of ex-dates, both inclusive, in which `splits` are all that the source knows:
    one that it named before and does not name any more is taken back. A symbol that is not in it was not asked about.
    """

    vendor: str
    basis: Basis
    basis_date: date | None
    bars: BarBatch
    splits: tuple[Split, ...] = ()
    dividends: tuple[Dividend, ...] = ()
    unreadable: tuple[UnreadableRow, ...] = ()
    failures: Mapping[str, VendorError] = field(default_factory=dict)
    silent: tuple[str, ...] = ()
    learned_at: datetime | None = None
    asked_from: date | None = None
    splits_told: Mapping[str, tuple[date, date]] = field(default_factory=dict)


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
    """The members of one index as they were on `as_of_date`.

    `dated` says whether the source itself knows that day: a list without any date only holds when it is read.
    """

    vendor: str
    index: str
    as_of_date: date
    members: tuple[Member, ...]
    dated: bool = True


@dataclass(frozen=True, slots=True)
class Spell:
    """A stay in an index from `start` (inclusive) to `end` (exclusive); None is unbounded."""

    symbol: str
    start: date | None
    end: date | None

    def holds_on(self, day: date) -> bool:
        return (self.start is None or self.start <= day) and (self.end is None or day < self.end)


@dataclass(frozen=True, slots=True)
class IndexSpells:
    """All stays in one index that a source knows, and the days on which those are all.

    Attributes
    ----------
    spells
        Sorted by symbol, then by start; those of a symbol don't overlap.
    covered
        Stretches of days, both ends inclusive, ascending, on which the members are those whose spell holds.
    """

    vendor: str
    index: str
    spells: tuple[Spell, ...]
    covered: tuple[tuple[date, date], ...]

    def members_on(self, day: date) -> frozenset[str] | None:
        """Return the members on a day, None where the spells don't reach."""
        if not any(first <= day <= last for first, last in self.covered):
            return None
        return frozenset(s.symbol for s in self.spells if s.holds_on(day))


@dataclass(frozen=True, slots=True)
class SymbolChange:
    """From `on` on, `symbol` is written `new_symbol`; where that is None, another company bears `symbol` (`name`)."""

    symbol: str
    on: date
    new_symbol: str | None = None
    name: str | None = None


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


@dataclass(frozen=True, slots=True)
class ActionsAnswer:
    """Splits or dividends of one symbol or, where `symbol` is None, of the whole market, with ex-dates in [first,
    last].
    """

    vendor: str
    symbol: str | None
    first: date
    last: date
    splits: tuple[Split, ...] = ()
    dividends: tuple[Dividend, ...] = ()


@dataclass(frozen=True, slots=True)
class IntradayBars:
    """Bars of one symbol, ascending by the UTC instant at which they open.

    Attributes
    ----------
    interval
        `1m` or `5m`.
    opened_at
        Shape (n,), datetime64[s], UTC, strictly ascending.
    open, high, low, close, volume
        Shape (n,): on `basis`; volume NaN where the vendor gives none.
    learned_at
        When the answer came.
    """

    vendor: str
    symbol: str
    interval: str
    basis: Basis
    basis_date: date | None
    opened_at: Instants
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats
    learned_at: datetime

    def __len__(self) -> int:
        return len(self.opened_at)


@dataclass(frozen=True, slots=True)
class IntradayAnswer:
    """Bars of several symbols out of one question; each symbol stands in `bars` or, with its error, in `failures`."""

    vendor: str
    bars: tuple[IntradayBars, ...]
    failures: Mapping[str, VendorError] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Quote:
    """The last price of one symbol; None where the vendor does not say."""

    vendor: str
    symbol: str
    price: float
    at: datetime  # of the price, as the vendor says; UTC
    learned_at: datetime
    open: float | None = None
    high: float | None = None
    low: float | None = None
    previous_close: float | None = None
    volume: float | None = None
    bid: float | None = None
    ask: float | None = None
    market_cap: float | None = None
    currency: str = "USD"


@dataclass(frozen=True, slots=True)
class Profile:
    """What a company is; None where the vendor does not say. `market_cap` is in units of `currency`, not millions."""

    vendor: str
    symbol: str
    learned_at: datetime
    name: str | None = None
    exchange: str | None = None
    sector: str | None = None
    industry: str | None = None
    sub_industry: str | None = None
    market_cap: float | None = None
    currency: str | None = None
    next_earnings: date | None = None


class Right(StrEnum):
    CALL = "call"
    PUT = "put"


@dataclass(frozen=True, slots=True)
class OptionContract:
    """One listed option and its market when asked; None where the vendor does not say."""

    contract: str  # the OCC symbol, or the vendor's where it has none
    right: Right
    expiry: date
    strike: float
    bid: float | None = None
    ask: float | None = None
    last: float | None = None
    volume: float | None = None
    open_interest: float | None = None
    implied_volatility: float | None = None  # a fraction: 0.25 is 25 % a year


@dataclass(frozen=True, slots=True)
class OptionChain:
    """Options on one underlying: of one expiry, or of all that the vendor gave."""

    vendor: str
    symbol: str
    learned_at: datetime
    contracts: tuple[OptionContract, ...]
    underlying_price: float | None = None


@dataclass(frozen=True, slots=True)
class MacroSeries:
    """Observations of one series, ascending; NaN where the source publishes that it has none for a day."""

    vendor: str
    series: str
    learned_at: datetime
    day: npt.NDArray[np.datetime64]  # shape (n,), unit D
    value: Floats  # shape (n,)
    units: str | None = None
