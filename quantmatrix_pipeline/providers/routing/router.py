"""The one that asks: vendors in the order that policy, health and budget decide, and why it was this one.

A question goes to the first vendor that may be asked; where it fails, to the next. Whatever a vendor does, nothing but
a typed failure of that vendor comes out of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from functools import partial
from types import TracebackType
from typing import Generic, TypeVar

from quantmatrix_pipeline.bars.batch import BarBatch, Basis
from quantmatrix_pipeline.errors import (
    CircuitOpen,
    ConfigurationError,
    MalformedResponse,
    NobodyServes,
    VendorError,
)
from quantmatrix_pipeline.providers.answers import ActionsAnswer, ConstituentsAnswer, DailyAnswer, Listing
from quantmatrix_pipeline.providers.contract import BarRequest, Capability, Offer, Vendor
from quantmatrix_pipeline.providers.routing.budget import Budgets
from quantmatrix_pipeline.providers.routing.budget_ledger import MICROSECONDS, Ledger, Room, next_midnight
from quantmatrix_pipeline.providers.routing.bulk import DailyFetch
from quantmatrix_pipeline.providers.routing.circuit import Admission
from quantmatrix_pipeline.providers.routing.limits import Limits
from quantmatrix_pipeline.providers.routing.meter import RunMeter
from quantmatrix_pipeline.providers.routing.order import Candidate, Ranking, rank
from quantmatrix_pipeline.providers.routing.overview import VendorView, view
from quantmatrix_pipeline.providers.routing.policy import Policies
from quantmatrix_pipeline.providers.routing.record import Record
from quantmatrix_pipeline.providers.routing.state import States
from quantmatrix_pipeline.providers.routing.time import Time
from quantmatrix_pipeline.warehouse.vendor_requests import RequestRow

log = logging.getLogger(__name__)

T = TypeVar("T")

OPINIONS = 2  # vendors that must know of no split before a jump is taken for a move of the price
HALT = timedelta(days=10)  # a split may have been during a halt; the jump shows with the next bar
ROOMS_KEPT_SECONDS = 5.0  # how old what we know of the budgets may be when vendors are ranked


@dataclass(frozen=True, slots=True)
class Routed(Generic[T]):
    """An answer, who gave it, and why the others before it did not."""

    value: T
    vendor: str
    passed_over: Mapping[str, str]


class Router:
    """All vendors as one source.

    Use it as `async with router:`; inside, clients are open and calls are leased. What was learned is written at the
    end.

    Parameters
    ----------
    vendors
        Name -> vendor, also those without the key they need.
    missing_keys
        Vendor -> the variable that would hold its key.
    policies
        Who may serve what, best first.
    states, meter, time
        What is known of the vendors; shared with their clients.
    ledger, limits
        The shared count of calls, and what it may come to.
    wait_seconds
        How long one fetch of bars may wait for budgets per minute to renew.
    allow_override
        Whether a question may name the vendor that it prefers.
    on_close
        Called with the record of what was asked, to write it.
    mirror
        Called after that with what is then known of the vendors, for a copy that others read.
    """

    name = "vendors"
    capabilities = frozenset({Capability.DAILY_BARS, Capability.CONSTITUENTS})

    def __init__(
        self,
        vendors: Mapping[str, Vendor],
        policies: Policies,
        states: States,
        meter: RunMeter,
        ledger: Ledger,
        limits: Mapping[str, Limits],
        time: Time,
        *,
        missing_keys: Mapping[str, str] | None = None,
        wait_seconds: float = 300.0,
        allow_override: bool = True,
        on_close: Callable[[Record], None] | None = None,
        mirror: Callable[[Sequence[VendorView]], None] | None = None,
    ) -> None:
        self.states = states
        self.asked: list[RequestRow] = []  # what was asked of whom since this router was made, a row per opening
        states.offered = {name: tuple(vendor.offers) for name, vendor in vendors.items()}
        self._vendors = vendors
        self.policies = policies
        self._meter = meter
        self._ledger = ledger
        self._limits = limits
        self._time = time
        self._missing_keys = missing_keys or {}
        self._wait_seconds = wait_seconds
        self._allow_override = allow_override
        self._on_close = on_close
        self._mirror = mirror
        self._depth = 0
        self._opened: set[str] = set()
        self._opening = asyncio.Lock()
        self._rooms: dict[str, Room] = {}
        self._rooms_at = float("-inf")

    # --- open and close ----------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Router:
        if self._depth == 0:
            self._meter.record = Record()
            self._meter.budgets = Budgets(self._ledger, self._limits, self._time)
            self._opening = asyncio.Lock()
        self._depth += 1  # before anything is awaited: who enters meanwhile finds it open
        try:
            await self.refresh()
        except BaseException:
            self._depth -= 1
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._depth -= 1
        if self._depth:
            return
        # Every step is taken, even where one before it fails: leases go back, what was learned is written.
        async with contextlib.AsyncExitStack() as last:
            last.push_async_callback(self._write)
            last.push_async_callback(self.states.flush)
            last.push_async_callback(self._settle_budgets)
            for name in sorted(self._opened):
                last.push_async_callback(self._vendors[name].close)
            self._opened.clear()

    async def _settle_budgets(self) -> None:
        assert self._meter.budgets is not None, "set when it was opened"
        try:
            await self._meter.settle_all()
        finally:
            budgets, self._meter.budgets = self._meter.budgets, None
            await budgets.close()

    async def _write(self) -> None:
        self.asked += self._meter.record.rows()
        if self._on_close is not None:
            await asyncio.to_thread(self._on_close, self._meter.record)
        if self._mirror is not None:
            await asyncio.to_thread(self._mirror, await self.look())

    @property
    def record(self) -> Record:
        """What was asked since the router was opened the last time."""
        return self._meter.record

    async def refresh(self, *, budgets_now: bool = False) -> None:
        """Read again, if that was not done just now, what other processes learned and spent."""
        await self.states.refresh()
        now = self._time.monotonic()
        if (budgets_now or now - self._rooms_at >= ROOMS_KEPT_SECONDS) and self._meter.budgets is not None:
            self._rooms_at = now
            for name in self._vendors:
                self._rooms[name] = await self._meter.budgets.room(name)

    # --- who may be asked --------------------------------------------------------------------------------------------

    def rank(self, capability: Capability, *, prefer: str | None = None) -> Ranking:
        """Return the order in which to ask for a capability, and why anybody is skipped.

        Raises
        ------
        ConfigurationError
            A vendor is preferred that is not known, or preferences are switched off.
        """
        names = [name for name in self.policies.of(capability) if name in self._vendors]
        if prefer is not None:
            if not self._allow_override:
                raise ConfigurationError(f"{prefer} can't be asked for by name: ALLOW_SOURCE_OVERRIDE is off")
            if prefer not in self._vendors:
                raise ConfigurationError(f"{prefer!r} is no vendor; known are {', '.join(self._vendors)}")
            if prefer not in names:
                names.append(prefer)
        return rank(
            capability, [self._candidate(name, capability) for name in names], self._time.now(), preferred=prefer
        )

    def note_ranking(self, capability: Capability, ranking: Ranking, symbols: int = 1) -> None:
        """Keep why vendors that offer a capability are not asked at their place of the policy, for so many symbols."""
        offered = {v: why for v, why in ranking.reasons.items() if capability in self._vendors[v].offers}
        self.record.ranked(capability, offered, symbols)

    def _candidate(self, name: str, capability: Capability) -> Candidate:
        room = self._rooms.get(name)
        used_up_until = None
        if room is not None and room.today == 0:
            used_up_until = room.exhausted_until or next_midnight(int(self._time.now() * MICROSECONDS)) / MICROSECONDS
        return Candidate(
            name,
            capability in self._vendors[name].offers,
            self._missing_keys.get(name),
            self.states.circuit(name, capability),
            self.states.health(name),
            self.states.heard_at(name),
            used_up_until,
        )

    def offer(self, name: str, capability: Capability) -> Offer:
        """Return what asking a vendor costs; a batch is never larger than its whole budget."""
        offer = self._vendors[name].offers[capability]
        tightest = self._limits.get(name, Limits()).tightest
        if offer.per_symbol and tightest is not None:
            return replace(offer, symbols_per_call=max(1, min(offer.symbols_per_call, tightest // offer.calls)))
        return offer

    def reach(self, name: str, capability: Capability) -> date | None:
        """Return the first day of which a vendor may have anything, None where there is no limit."""
        days = self._vendors[name].offers[capability].reach_days
        return None if days is None else datetime.fromtimestamp(self._time.now(), UTC).date() - timedelta(days=days)

    def symbols_within_budget(self, name: str, capability: Capability, share: float = 1.0) -> int | None:
        """Return for how many symbols a vendor can be asked in the time that a fetch may wait; None: for any number.

        `share` of the calls that are left of today is what may be used.
        """
        room = self._rooms.get(name)
        if room is None:
            return None
        calls = None if room.today is None else int(room.today * share)
        if room.now is not None and room.per_minute is not None:
            soon = room.now + int(room.per_minute * self._meter.patience() / 64)  # a full budget renews in 64 s
            calls = soon if calls is None else min(calls, soon)
        if calls is None:
            return None
        offer = self.offer(name, capability)
        return calls // offer.calls * (1 if offer.per_symbol else offer.symbols_per_call)

    def refuses(self, name: str, capability: Capability) -> bool:
        """Say whether a vendor's circuit lets nothing through at the moment."""
        return self.states.admits(name, capability) in (Admission.OPEN, Admission.NOT_IN_PLAN)

    def at_once(self, name: str, capability: Capability, concurrency: int) -> int:
        """Return how many questions may be under way with a vendor: one while its circuit is probed."""
        return concurrency if self.states.admits(name, capability) is Admission.ASK else 1

    def patience(self) -> float:
        """Return for how many seconds a call made now may wait for its budget."""
        return self._meter.patience()

    async def look(self) -> list[VendorView]:
        """Return what is known of every vendor, by name; asks none, writes nothing."""
        await self.states.refresh()
        budgets = Budgets(self._ledger, self._limits, self._time)
        return [
            view(
                name,
                self._missing_keys.get(name),
                {capability: self.states.circuit(name, capability) for capability in vendor.offers},
                self.states.health(name),
                self.states.heard_at(name),
                budgets.limits(name),
                await budgets.room(name),
                self._time.now(),
            )
            for name, vendor in sorted(self._vendors.items())
        ]

    # --- asking ------------------------------------------------------------------------------------------------------

    async def ask(
        self, name: str, capability: Capability, question: Callable[[Vendor], Awaitable[T]], *, symbols: int = 1
    ) -> T:
        """Put one question to one vendor.

        Raises
        ------
        VendorError
            Whatever went wrong, typed; a fault in reading the answer included. `CircuitOpen` without any call.
        """
        if not await self.states.enter(name, capability):
            lacks = self.states.admits(name, capability) is Admission.NOT_IN_PLAN
            why = (
                "is not in this plan, as it said lately"
                if lacks
                else "its circuit is open; it is left alone for a while"
            )
            raise CircuitOpen(name, f"{capability}: {why}")
        try:
            value = await question(await self._open(name))
        except VendorError as error:
            await self.states.failed(name, capability, error)
            raise
        except Exception as error:
            # A vendor's nonsense that nobody foresaw must not cost the others their night.
            log.exception("%s: %s: reading the answer failed", name, capability)
            unread = MalformedResponse(name, f"{capability}: the answer can't be read ({type(error).__name__})")
            await self.states.failed(name, capability, unread)
            raise unread from None
        await self.states.succeeded(name, capability)
        self.record.served(name, capability, symbols)
        return value

    async def _open(self, name: str) -> Vendor:
        vendor = self._vendors[name]
        if name not in self._opened:
            async with self._opening:
                if name not in self._opened:
                    await vendor.open()
                    self._opened.add(name)
        return vendor

    async def forget(self, name: str, capability: Capability, symbol: str) -> None:
        """Let a vendor be asked anew for a symbol whose answer ended too early, even if it is kept."""
        await self._vendors[name].forget(capability, symbol)

    async def first_answer(
        self,
        capability: Capability,
        question: Callable[[Vendor], Awaitable[T]],
        what: str,
        *,
        prefer: str | None = None,
        among: Callable[[Offer], bool] = lambda _: True,
    ) -> Routed[T]:
        """Ask one vendor after the other until one answers.

        Parameters
        ----------
        capability
            What is asked for.
        question
            Puts it to a vendor.
        what
            It in words, for the error.
        prefer
            The vendor to ask first, if it can serve.
        among
            Tells which vendors' offers will do.

        Raises
        ------
        NobodyServes
            Says who was skipped, who was asked, and why.
        ConfigurationError
            As in `rank`.
        """
        await self.refresh()
        ranking = self.rank(capability, prefer=prefer)
        self.note_ranking(capability, ranking)
        reasons = dict(ranking.skipped)
        # A vendor that fell behind gets one question first now and then, or it could never show that it recovered.
        for name in dict.fromkeys((*ranking.trials, *ranking.order)):
            if not among(self._vendors[name].offers[capability]):
                reasons[name] = "can't be asked in this way"
                continue
            try:
                value = await self.ask(name, capability, question)
            except VendorError as error:
                reasons[name] = str(error).removeprefix(f"{name}: ")
                self.record.fell_back(name, capability, type(error).__name__)
                continue
            return Routed(value, name, reasons)
        raise NobodyServes(what, reasons)

    # --- as the chain's source ---------------------------------------------------------------------------------------

    @property
    def vendors(self) -> tuple[str, ...]:
        return tuple(self._vendors)

    def newest_session(self, closed: date) -> date:
        """Return `closed`: some vendor has a session's bars minutes after its close."""
        return closed

    def listings(self) -> Sequence[Listing]:
        return []

    async def daily_bars(self, requests: Sequence[BarRequest], *, concurrency: int) -> AsyncIterator[DailyAnswer]:
        """Yield parts: of few sessions where they came by date, of about 64 symbols where they came by symbol."""
        async with self:
            self._meter.wait_at_most(self._wait_seconds)
            fetch = DailyFetch(self, requests, concurrency)
            async with contextlib.aclosing(fetch.answers()) as parts:
                async for part in parts:
                    yield part

    async def splits_of(self, stretches: Mapping[str, tuple[date, date]]) -> Sequence[DailyAnswer]:
        """Return what vendors know of the splits of symbols whose prices jumped: some give bars without them.

        Where the first vendor knows of none, a second one is asked as well: the first may be the one whose bar jumped.
        """
        answers = []
        async with self:
            for symbol, (first, last) in sorted(stretches.items()):
                question = partial(_splits, symbol, first - HALT, last)
                await self.refresh()
                ranking = self.rank(Capability.SPLITS)
                self.note_ranking(Capability.SPLITS, ranking)
                said, reasons = 0, dict(ranking.skipped)
                for name in dict.fromkeys((*ranking.trials, *ranking.order)):
                    try:
                        found = await self.ask(name, Capability.SPLITS, question)
                    except VendorError as error:
                        reasons[name] = str(error).removeprefix(f"{name}: ")
                        self.record.fell_back(name, Capability.SPLITS, type(error).__name__)
                        continue
                    told = {symbol: (first - HALT, last)}
                    none = BarBatch.empty()
                    answers.append(DailyAnswer(name, Basis.RAW, None, none, found.splits, splits_told=told))
                    said += 1
                    if found.splits or said == OPINIONS:
                        break
                if not said:
                    nobody = NobodyServes(f"the splits of {symbol}", reasons)
                    log.warning("%s; its jump of %s stays unexplained", nobody, last)
        return answers

    async def constituents(self, index: str, session: date) -> ConstituentsAnswer:
        """Return the members of an index from the first vendor that names them."""
        async with self:
            found = await self.first_answer(
                Capability.CONSTITUENTS, lambda vendor: vendor.constituents(index, session), f"the members of {index}"
            )
        return found.value

    def member_sources(self) -> Sequence[RoutedMembers]:
        """Return the vendors of index members, best first, each asked through this router."""
        return [
            RoutedMembers(self, name)
            for name in self.policies.of(Capability.CONSTITUENTS)
            if name in self._vendors and name not in self._missing_keys
        ]


class RoutedMembers:
    """One vendor of index members, asked within budget and circuit; whoever judges the list decides who is next."""

    def __init__(self, router: Router, name: str) -> None:
        self.name = name
        self.router = router

    async def constituents(self, index: str, session: date) -> ConstituentsAnswer:
        """Return the members as this vendor names them.

        Raises
        ------
        VendorError
            As `Router.ask`.
        """
        async with self.router:
            try:
                return await self.router.ask(
                    self.name, Capability.CONSTITUENTS, lambda vendor: vendor.constituents(index, session)
                )
            except VendorError as error:
                self.router.record.fell_back(self.name, Capability.CONSTITUENTS, type(error).__name__)
                raise


async def _splits(symbol: str, first: date, last: date, vendor: Vendor) -> ActionsAnswer:
    return await vendor.splits(symbol, first, last)
