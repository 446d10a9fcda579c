"""Refresh what companies are: the lists of index members first, vendors for the rest, within a number of calls.

Nothing depends on it and no vendor's failure is raised: what could not be had is named and had the next time.
"""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import partial

from quantmatrix_pipeline.errors import (
    AuthFailed,
    BudgetTooSmall,
    NobodyServes,
    QuotaExhausted,
    RateLimited,
    UnsupportedRequest,
    VendorUnavailable,
)
from quantmatrix_pipeline.providers.answers import Profile
from quantmatrix_pipeline.providers.contract import Capability, Vendor
from quantmatrix_pipeline.providers.routing.router import Router
from quantmatrix_pipeline.universe.exchanges import exchange_name
from quantmatrix_pipeline.warehouse import profiles
from quantmatrix_pipeline.warehouse.engine import Warehouse
from quantmatrix_pipeline.warehouse.profiles import Company, Facts, Said

CONCURRENCY = 8
BATCH = 64  # companies per transaction
SHORTEST_PAUSE = 1.0  # seconds; a vendor may ask for a pause of none at all
LISTED = "constituents"  # whose word it is what the lists of index members and the source of bars say

_NO_CALL_LEFT = (RateLimited, QuotaExhausted, BudgetTooSmall)


@dataclass(frozen=True, slots=True)
class ProfileRefresh:
    """What one refresh did.

    Attributes
    ----------
    tracked
        Companies that there are.
    due
        Those whose last check is too old, or that have none.
    served
        Vendor -> how many of these it described.
    unknown
        Symbol -> what the vendors said of it instead; it is asked for again when that has aged.
    undone
        Symbol -> why nobody was asked for it, or nobody answered; it is among the first of the next refresh.
    changed, unchanged
        New versions, and companies of which the version in force says all that is known.
    calls
        Calls to vendors, by what their profiles cost.
    """

    tracked: int
    due: int
    served: Mapping[str, int]
    unknown: Mapping[str, str]
    undone: Mapping[str, str]
    changed: int
    unchanged: int
    calls: int


async def refresh_profiles(
    warehouse: Warehouse,
    router: Router | None,
    now: datetime,
    *,
    max_age_days: int,
    most_calls: int,
    wait_seconds: float = 0.0,
) -> ProfileRefresh:
    """Ask vendors for the companies that are due, and keep what differs as new versions.

    Parameters
    ----------
    warehouse
        Where profiles and checks are kept.
    router
        The vendors; None: only what the lists of index members say is taken over, and nothing counts as checked.
    now
        When the refresh takes place. Ages are counted in UTC days, so that a weekly refresh that starts a minute
        earlier than the last one still finds what was checked then.
    max_age_days
        A company is due so many days after its last check.
    most_calls
        At most so many calls to vendors.
    wait_seconds
        How long, from the start on, budgets per minute may be waited for where nobody else can serve.
    """
    today = now.astimezone(UTC).date()
    companies = profiles.companies(warehouse, today)
    aged = today - timedelta(days=max_age_days)
    due = [c for c in companies if c.checked_at is None or c.checked_at.astimezone(UTC).date() <= aged]
    if router is None:
        changed = _take_over_lists(warehouse, companies, today, now)
        return ProfileRefresh(len(companies), len(due), {}, {}, {}, changed, len(companies) - changed, 0)

    asking = _Asking(router, most_calls, wait_seconds)
    served: Counter[str] = Counter()
    described: set[int] = set()
    unknown: dict[str, str] = {}
    undone: dict[str, str] = {}
    changed = 0
    async with router:
        # The first goes alone: where a circuit waits for its probe, the others would all be turned away meanwhile.
        for batch in (due[:1], *(due[at : at + BATCH] for at in range(1, len(due), BATCH))):
            said: list[Said] = []
            checked: list[tuple[int, str]] = []
            outcomes = await asyncio.gather(*(asking.about(company.symbol) for company in batch))
            for company, outcome in zip(batch, outcomes, strict=True):
                if isinstance(outcome, Profile):
                    served[outcome.vendor] += 1
                    described.add(company.instrument_id)
                    said.append(Said(company.instrument_id, outcome.vendor, merged(company, outcome, today)))
                    checked.append((company.instrument_id, outcome.vendor))
                elif outcome.vendor is not None:
                    unknown[company.symbol] = outcome.why
                    checked.append((company.instrument_id, outcome.vendor))
                else:
                    undone[company.symbol] = outcome.why
            if checked:
                changed += profiles.keep(warehouse, said, checked, now)
    changed += _take_over_lists(warehouse, [c for c in companies if c.instrument_id not in described], today, now)
    unchanged = len(companies) - changed
    return ProfileRefresh(len(companies), len(due), served, unknown, undone, changed, unchanged, asking.calls)


def merged(company: Company, said: Profile | None, today: date) -> Facts:
    """Return what is known of a company after a vendor answered, or after none did.

    The lists of index members win for the name, the sector, the industry and the sub-industry, which are of one
    classification there; a vendor fills in what they leave out. What stands for long is kept where a vendor is silent;
    a market cap is as the newest answer has it, in its currency. An earnings date holds until it has passed.

    Parameters
    ----------
    company
        Its facts so far.
    said
        The newest answer; None: nobody was asked, or nobody knows it.
    today
        The first day that is not past.
    """
    listed, before = company.listed, company.current or Facts()
    told = Facts() if said is None else _cleaned(said)
    worth = before if said is None else told
    earnings = told.next_earnings or before.next_earnings
    return Facts(
        name=listed.name or told.name or before.name,
        exchange=told.exchange or before.exchange,
        sector=listed.sector or told.sector or before.sector,
        industry=listed.industry or told.industry or before.industry,
        sub_industry=listed.sub_industry or told.sub_industry or before.sub_industry,
        market_cap=worth.market_cap,
        currency=worth.currency or listed.currency,
        next_earnings=earnings if earnings is not None and earnings >= today else None,
    )


def _cleaned(said: Profile) -> Facts:
    exchange, currency = _text(said.exchange), _text(said.currency)
    worth = said.market_cap
    return Facts(
        name=_text(said.name),
        exchange=None if exchange is None else exchange_name(exchange),
        sector=_text(said.sector),
        industry=_text(said.industry),
        sub_industry=_text(said.sub_industry),
        market_cap=worth if worth is not None and math.isfinite(worth) and worth > 0 else None,
        currency=None if currency is None else currency.upper(),
        next_earnings=said.next_earnings,
    )


def _text(said: str | None) -> str | None:
    """Return a text on one line, None where there is none, without what PostgreSQL can't hold."""
    held = (said or "").replace("\x00", " ").encode("utf-8", "ignore").decode()
    return " ".join(held.split()) or None


def _take_over_lists(warehouse: Warehouse, companies: Sequence[Company], today: date, now: datetime) -> int:
    """Keep what the lists say of companies that no vendor described this time; return how many changed."""
    return profiles.keep(
        warehouse,
        [
            Said(company.instrument_id, LISTED, facts)
            for company in companies
            if _says_something(facts := merged(company, None, today))
        ],
        [],
        now,
    )


def _says_something(facts: Facts) -> bool:
    return facts != Facts(currency=facts.currency)


@dataclass(frozen=True, slots=True)
class _Nothing:
    """No profile, and why; `vendor` had something to say of the company all the same, None: nobody had."""

    vendor: str | None
    why: str


class _Asking:
    """Puts questions to the vendors until nobody can be asked any more.

    `calls` counts what the vendors were asked, at the price of their profiles; a question that was turned away for
    want of budget does not count.
    """

    def __init__(self, router: Router, most_calls: int, wait_seconds: float) -> None:
        self.calls = 0
        self._router = router
        self._most_calls = most_calls
        self._time = asyncio.get_running_loop().time
        self._wait_until = self._time() + wait_seconds
        self._places = asyncio.Semaphore(CONCURRENCY)
        self._over: str | None = None  # why nobody is asked any more

    async def about(self, symbol: str) -> Profile | _Nothing:
        """Ask for one company, and again where a budget per minute is worth waiting for."""
        async with self._places:
            while True:
                if self.calls >= self._most_calls:
                    self._over = self._over or self._used_up
                if self._over is not None:
                    return _Nothing(None, self._over)
                heard: list[tuple[str, Exception]] = []
                try:
                    found = await self._router.first_answer(
                        Capability.PROFILE, partial(self._put, symbol, heard), f"the profile of {symbol}"
                    )
                    return found.value
                except NobodyServes as error:
                    why = "; ".join(f"{vendor}: {reason}" for vendor, reason in error.reasons.items())
                for vendor, fault in heard:
                    if _concerns_the_company(fault):
                        return _Nothing(vendor, why)
                pause = self._pause([fault for _, fault in heard])
                if pause is None:
                    if all(_is_out(fault) for _, fault in heard):
                        self._over = why or "no vendor offers profiles"
                    return _Nothing(None, why)
                await asyncio.sleep(pause)

    @property
    def _used_up(self) -> str:
        return f"the {self._most_calls} calls of one refresh (QM_PROFILE_CALLS) are used up"

    async def _put(self, symbol: str, heard: list[tuple[str, Exception]], vendor: Vendor) -> Profile:
        cost = vendor.offers[Capability.PROFILE].cost(1)
        try:
            if self.calls + cost > self._most_calls:
                raise QuotaExhausted(vendor.name, self._used_up)
            self.calls += cost
            try:
                return await vendor.profile(symbol)
            except _NO_CALL_LEFT:
                self.calls -= cost
                raise
        except Exception as fault:
            heard.append((vendor.name, fault))
            raise

    def _pause(self, faults: Sequence[Exception]) -> float | None:
        """Return in how many seconds some vendor has budget again, None where that is too late or nobody said."""
        waits = [f.retry_after for f in faults if isinstance(f, RateLimited) and f.retry_after is not None]
        pause = max(SHORTEST_PAUSE, min(waits, default=math.inf))
        return pause if self._time() + pause <= self._wait_until else None


def _is_out(fault: Exception) -> bool:
    """Say whether a vendor that failed so can't serve any other company at the moment either."""
    plan_lacks_it = isinstance(fault, UnsupportedRequest) and fault.symbol is None
    return plan_lacks_it or isinstance(fault, (*_NO_CALL_LEFT, AuthFailed))


def _concerns_the_company(fault: Exception) -> bool:
    """Say whether a vendor that failed so answered for this company: it doesn't know it, or its answer is broken."""
    return not _is_out(fault) and not isinstance(fault, VendorUnavailable)
