"""Days of fetches and questions to vendors that fail in every way, on a clock of their own; watched by literal rules.

Run as a script with a seed, it prints a digest of everything that happened.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
import sys
import zlib
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from typing import Any, TypeVar

import numpy as np

from quantmatrix_pipeline.bars.batch import BarBatch, Basis
from quantmatrix_pipeline.errors import (
    AuthFailed,
    CircuitOpen,
    MalformedResponse,
    NobodyServes,
    QuotaExhausted,
    RateLimited,
    StaleResponse,
    SymbolNotFound,
    UnsupportedRequest,
    VendorError,
    VendorUnavailable,
)
from quantmatrix_pipeline.providers.answers import ActionsAnswer, DailyAnswer, Profile, Quote
from quantmatrix_pipeline.providers.contract import BarRequest, Capability, Offer, Vendor
from quantmatrix_pipeline.providers.routing.budget_memory import MemoryLedger
from quantmatrix_pipeline.providers.routing.limits import Limits
from quantmatrix_pipeline.providers.routing.meter import RunMeter
from quantmatrix_pipeline.providers.routing.order import Ranking
from quantmatrix_pipeline.providers.routing.policy import Policies
from quantmatrix_pipeline.providers.routing.router import Router
from quantmatrix_pipeline.providers.routing.state import MemoryStore, States
from quantmatrix_pipeline.providers.transport.calls import Timed
from quantmatrix_pipeline_tests.fake_time import FakeTime
from quantmatrix_pipeline_tests.unit.providers.routing.literal_health import order as literal_order
from quantmatrix_pipeline_tests.unit.providers.routing.test_circuit import Literal

T = TypeVar("T")

START = datetime(2027, 1, 4, 12, tzinfo=UTC).timestamp()  # a Monday
NIGHTS = 5
RUNS = (10.0, 10.2, 11.0, 13.0, 16.0, 20.0, 33.0)  # hours after a day's noon at which what is missing is fetched
SYMBOLS = tuple(f"S{n:03}" for n in range(300))
NOBODYS = SYMBOLS[-3:]  # that no vendor knows
NEWCOMERS = 6  # a night
DEEP = 60  # sessions that a newcomer wants
QUESTIONS = 420  # single ones a day
SESSIONS = tuple(
    day for n in range(-400, 30) if (day := date(2027, 1, 4) + timedelta(days=n)).weekday() < 5
)  # ascending

DAILY, GROUPED, QUOTES, PROFILE = (
    Capability.DAILY_BARS,
    Capability.GROUPED_BARS,
    Capability.QUOTES,
    Capability.PROFILE,
)
ACTIONS = {Capability.SPLITS: Offer(whole_market=True), Capability.DIVIDENDS: Offer(whole_market=True)}


@dataclass(frozen=True)
class Kind:
    """What a vendor is like: its offers, its limits, the share of symbols that it knows, its usual milliseconds."""

    offers: Mapping[Capability, Offer]
    limits: str
    knows: float
    milliseconds: float
    not_in_plan: frozenset[Capability] = frozenset()

    def without(self, capability: Capability) -> Kind:
        return replace(self, offers={c: offer for c, offer in self.offers.items() if c is not capability})


VENDORS: Mapping[str, Kind] = {
    "planless": Kind({DAILY: Offer(), QUOTES: Offer()}, "120/min", 1.0, 90, frozenset({DAILY})),
    "market": Kind({GROUPED: Offer(), DAILY: Offer(reach_days=60), **ACTIONS}, "5/min", 0.95, 200),
    "plan_by_date": Kind(
        {GROUPED: Offer(), DAILY: Offer(calls=2), QUOTES: Offer(), PROFILE: Offer()}, "250/day", 0.97, 120,
        frozenset({GROUPED}),
    ),
    "batches": Kind({DAILY: Offer(symbols_per_call=12, per_symbol=True), QUOTES: Offer(8, 1, True)}, "20/min 400/day",
                    0.9, 300),
    "few": Kind({DAILY: Offer(), QUOTES: Offer(), PROFILE: Offer()}, "5/min 25/day", 0.9, 150),
    "by_second": Kind({DAILY: Offer(), QUOTES: Offer(), PROFILE: Offer()}, "2/s 60/min", 0.9, 60),
    "everybody": Kind({DAILY: Offer(), QUOTES: Offer(4), PROFILE: Offer()}, "unlimited", 0.97, 400),
    "keyless": Kind({DAILY: Offer(), QUOTES: Offer()}, "60/min", 1.0, 50),
}  # fmt: skip
ORDER = tuple(VENDORS)


@dataclass(frozen=True)
class Spell:
    """What a vendor suffers from, from one instant to another."""

    start: float
    end: float
    kind: str
    key: str = ""


def price(vendor: str, symbol: str, session: date) -> float:
    """Return a close that no other vendor, symbol or session has."""
    return 1.0 + zlib.crc32(f"{vendor} {symbol} {session}".encode())


class SimulatedVendor(Vendor):
    """A vendor on the clock of a world. `calls` are the instants and weights as it would see them."""

    def __init__(self, world: World, name: str, kind: Kind) -> None:
        self.name = name
        self.offers = kind.offers
        self.kind = kind
        self.calls: list[tuple[float, int]] = []
        self.said_no: list[tuple[float, float]] = []  # when, and the pause it asked for
        self._world = world
        self._random = random.Random(f"{world.seed} {name}")
        self.known = {s for s in SYMBOLS if self._random.random() < kind.knows}.difference(NOBODYS)
        self._spells = self._weather()

    def _weather(self) -> list[Spell]:
        found, at = [], START + self._random.expovariate(1 / 7200)
        while at < START + (NIGHTS + 1) * 86_400:
            kind = self._random.choice(
                ["down", "times out", "429", "429", "slow", "garbage", "page", "stale", "bad key", "used up", "flaky"]
            )
            end = at + self._random.choice([60, 600, 3600, 4 * 3600]) * self._random.uniform(0.5, 1.5)
            found.append(Spell(at, end, kind, self._world.marks[self.name]))
            at = end + self._random.expovariate(1 / 14_400)
        return found

    def suffers(self) -> str:
        now = self._world.time.now()
        for spell in self._spells:
            if spell.start <= now < spell.end:
                # Another key helps at once against a refused one.
                helped = spell.kind == "bad key" and self._world.marks[self.name] != spell.key
                return "" if helped else spell.kind
        return ""

    async def _call(self, capability: Capability, weight: int, symbol: str | None = None) -> None:
        await self._world.meter.admit(self.name, weight)
        time, began, kind = self._world.time, self._world.time.now(), self.suffers()
        self.calls.append((began, weight))
        if kind == "flaky" and self._random.random() < 0.3:
            kind = self._random.choice(["down", "page", "times out"])
        seconds = self.kind.milliseconds / 1000 * self._random.uniform(0.5, 2.0)
        error: VendorError | None = None
        match kind:
            case "slow":
                seconds = self._random.uniform(3.0, 9.0)
            case "times out":
                seconds, error = 15.0, VendorUnavailable(self.name, "no answer within 15 s", symbol=symbol)
            case "down":
                seconds, error = 0.001, VendorUnavailable(self.name, "ConnectError", symbol=symbol)
            case "page" | "garbage":
                error = MalformedResponse(self.name, "no JSON", symbol=symbol)
            case "429":
                pause = self._random.choice([None, 2.0, 30.0, 900.0])
                error = RateLimited(self.name, "HTTP 429", symbol=symbol, retry_after=pause)
            case "used up" if self._random.random() < 0.2:
                error = QuotaExhausted(self.name, "the allowance is used up")
            case "bad key":
                error = AuthFailed(self.name, "HTTP 401; check the key")
        if error is None and capability in self.kind.not_in_plan:
            error = UnsupportedRequest(self.name, "HTTP 402: not in your plan")
        if error is None and symbol is not None and symbol not in self.known:
            error = SymbolNotFound(self.name, "unknown", symbol=symbol)
        await time.sleep(seconds)
        if isinstance(error, RateLimited) and error.retry_after is not None:
            self.said_no.append((time.now(), error.retry_after))
        timed = Timed(self.name, capability, str(capability), (time.now() - began) * 1000, error, kind == "down")
        self._world.watch.hear(timed)
        self._world.meter.note(timed)
        if kind == "garbage":
            raise KeyError("a field that nobody missed so far")
        if error is not None:
            raise error

    def _newest(self) -> date:
        """The newest session that it has: of today only in the evening, and of late only until yesterday."""
        now = datetime.fromtimestamp(self._world.time.now(), UTC)
        today = now.date() if now.hour >= 22 else now.date() - timedelta(days=1)
        if self.suffers() == "stale":
            today -= timedelta(days=1)
        return max(s for s in SESSIONS if s <= today)

    def _bars(self, wanted: Sequence[tuple[str, date]]) -> BarBatch:
        symbols = tuple(dict.fromkeys(s for s, _ in wanted))
        place = {s: n for n, s in enumerate(symbols)}
        close = np.array([price(self.name, s, day) for s, day in wanted])
        return BarBatch(
            symbols,
            np.array([place[s] for s, _ in wanted], np.int32),
            np.array([day for _, day in wanted], "datetime64[D]"),
            close, close, close, close, np.ones(len(wanted)),
        )  # fmt: skip

    async def daily_bars(self, requests: Sequence[BarRequest]) -> DailyAnswer:
        offer = self.offers[DAILY]
        assert 1 <= len(requests) <= offer.symbols_per_call
        assert len({r.symbol for r in requests}) == len(requests)
        assert all(len(r.sessions) for r in requests)
        self._world.note("asked", self.name, [r.symbol for r in requests])
        alone = requests[0].symbol if offer.symbols_per_call == 1 else None
        await self._call(DAILY, offer.cost(len(requests)), alone)
        newest = self._newest()
        known = [r for r in requests if r.symbol in self.known]
        wanted = [(r.symbol, d) for r in known for d in r.sessions.tolist() if d <= newest]
        unknown = {r.symbol: SymbolNotFound(self.name, "unknown", symbol=r.symbol) for r in requests if r not in known}
        return DailyAnswer(self.name, Basis.RAW, None, self._bars(wanted), failures=unknown)

    async def grouped_bars(self, session: date) -> DailyAnswer:
        self._world.note("grouped", self.name, [str(session)])
        await self._call(GROUPED, 1)
        there = [*sorted(self.known), "STRANGER"] if session <= self._newest() else []
        return DailyAnswer(self.name, Basis.RAW, None, self._bars([(s, session) for s in there]))

    async def splits(self, symbol: str | None, first: date, last: date) -> ActionsAnswer:
        await self._call(Capability.SPLITS, 1)
        return ActionsAnswer(self.name, symbol, first, last)

    async def dividends(self, symbol: str | None, first: date, last: date) -> ActionsAnswer:
        await self._call(Capability.DIVIDENDS, 1)
        return ActionsAnswer(self.name, symbol, first, last)

    async def quotes(self, symbols: Sequence[str]) -> Sequence[Quote]:
        await self._call(QUOTES, self.offers[QUOTES].cost(len(symbols)), symbols[0])
        now = datetime.fromtimestamp(self._world.time.now(), UTC)
        return [Quote(self.name, symbol, 1.0, now, now) for symbol in symbols]

    async def profile(self, symbol: str) -> Profile:
        await self._call(PROFILE, 1, symbol)
        return Profile(self.name, symbol, datetime.fromtimestamp(self._world.time.now(), UTC))


@dataclass
class Heard:
    """What a literal reader of the rules remembers of one vendor."""

    milliseconds: list[float] = field(default_factory=list)
    faults: float = 0.0
    at: float | None = None


class Watch:
    """Keeps what happened, and works out from it alone what a router has to do next."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._heard: defaultdict[str, Heard] = defaultdict(Heard)
        self.breakers: defaultdict[tuple[str, Capability], Literal] = defaultdict(Literal)
        self.seen: Counter[str] = Counter()
        self.used_up: dict[str, float] = {}  # the day on which a vendor said so itself

    def hear(self, timed: Timed) -> None:
        heard = self._heard[timed.vendor]
        heard.at = self._world.time.now()
        if isinstance(timed.error, QuotaExhausted):
            self.used_up[timed.vendor] = heard.at // 86_400
        if isinstance(timed.error, (RateLimited, QuotaExhausted)):
            return
        if not timed.lost:
            heard.milliseconds.append(timed.milliseconds)
        fault = isinstance(timed.error, (VendorUnavailable, MalformedResponse, AuthFailed, StaleResponse))
        heard.faults = 0.9 * heard.faults + 0.1 * fault

    def says(self, vendor: str, capability: Capability) -> str:
        breaker = self.breakers[vendor, capability]
        breaker.key_is(self._world.marks[vendor])
        return str(breaker.says(self._world.time.now()))

    def score(self, vendor: str, capability: Capability) -> Fraction:
        now, heard, breaker = self._world.time.now(), self._heard[vendor], self.breakers[vendor, capability]
        cooling = breaker.phase == "open" and now >= breaker.wait_ends
        state = "half_open" if cooling else breaker.phase
        p95 = float(np.percentile(heard.milliseconds[-100:], 95)) if heard.milliseconds else 0.0
        latency = min(1.0, max(0.0, (5000 - p95) / 4750))
        received = self._world.states.health(vendor).received
        due = sum(d for *_, d in received)
        complete = sum(c for _, c, _ in received) / due if due else 1.0
        level = {"closed": 1.0, "half_open": 0.5, "open": 0.0}[state]
        total = 0.45 * level + 0.25 * latency + 0.20 * (1 - heard.faults) + 0.10 * complete
        return Fraction(round(total * 10**9), 10**9)

    def check(self, ranking: Ranking, capability: Capability, prefer: str | None) -> None:
        """Hold an order against one that is worked out from the rules as they are told in words."""
        now = self._world.time.now()
        scores, expected_skipped = {}, set()
        for name in ORDER:
            self.says(name, capability)  # a changed key is known to both from now on
            offered = capability in self._world.kinds[name].offers and name != "keyless"
            if not offered or self.says(name, capability) not in ("ask", "probe"):
                expected_skipped.add(name)
            elif "day budget used up" in ranking.skipped.get(name, ""):
                self._world.check_used_up(name)
                expected_skipped.add(name)
            else:
                scores[name] = self.score(name, capability)
        assert set(ranking.skipped) == expected_skipped
        order = literal_order(scores)
        late = [
            n for at, n in enumerate(scores) if any(order.index(m) < order.index(n) for m in list(scores)[at + 1 :])
        ]
        due = [
            n
            for n in late
            if self.says(n, capability) == "probe" or (at := self._heard[n].at) is None or now - at >= 600
        ]
        if prefer in order:
            order, due = [prefer, *(n for n in order if n != prefer)], []
        assert list(ranking.order) == order
        assert list(ranking.trials) == due
        self.seen["reordered"] += order != list(scores)
        self.seen["trials"] += len(due)

    def ended(self, vendor: str, capability: Capability, error: VendorError | None) -> None:
        """Take in how a question ended."""
        now, key = self._world.time.now(), self._world.marks[vendor]
        breaker = self.breakers[vendor, capability]
        was = breaker.phase
        if error is not None:
            breaker.key_is(key)
        match error:
            case None:
                refused = [
                    other
                    for offered in self._world.kinds[vendor].offers
                    if (other := self.breakers[vendor, offered]).phase != "closed" and other.why == "bad key"
                ]
                # A key that is taken for one thing is taken for all that its refusal had closed.
                for each_breaker in [breaker, *(refused if breaker in refused else ())]:
                    each_breaker.key_is(key)
                    each_breaker.answered()
                    each_breaker.plan_lacks_it_until = None
            case AuthFailed():
                for each in self._world.kinds[vendor].offers:
                    self.breakers[vendor, each].key_is(key)
                    self.breakers[vendor, each].bad_key(now, key)
            case RateLimited() | QuotaExhausted():
                breaker.limited()
            case UnsupportedRequest(symbol=None):
                breaker.plan_lacks_it(now, key)
            case SymbolNotFound() | UnsupportedRequest() | StaleResponse():
                breaker.answered()
            case _:
                breaker.fault(now)
        self.seen[f"{was} to {breaker.phase}"] += 1
        for each in self._world.kinds[vendor].offers:
            assert self._world.states.admits(vendor, each).value == self.says(vendor, each)


class WatchedRouter(Router):
    """A router of which each choice and each question is seen, and held against the literal rules."""

    world: World

    def rank(self, capability: Capability, *, prefer: str | None = None) -> Ranking:
        ranking = super().rank(capability, prefer=prefer)
        self.world.watch.check(ranking, capability, prefer)
        self.world.note("order", str(capability), [*ranking.order, "|", *ranking.trials])
        self.world.ranked[capability] = ranking
        return ranking

    def symbols_within_budget(self, name: str, capability: Capability) -> int | None:
        room = super().symbols_within_budget(name, capability)
        self.world.room[name] = room
        return room

    async def ask(
        self, name: str, capability: Capability, question: Callable[[Vendor], Awaitable[T]], *, symbols: int = 1
    ) -> T:
        watch, said = self.world.watch, self.world.watch.says(name, capability)
        assert self.states.admits(name, capability).value == said
        calls = 0

        async def watched(vendor: Vendor) -> T:
            nonlocal calls
            calls += 1
            assert said in ("ask", "probe")
            if said == "probe":
                breaker = watch.breakers[name, capability]
                breaker.phase, breaker.probe_ends = "half_open", self.world.time.now() + 120
            return await question(vendor)

        self.world.questions += 1
        error: VendorError | None = None
        try:
            return await super().ask(name, capability, watched, symbols=symbols)
        except CircuitOpen as refused:
            assert calls == 0
            assert said not in ("ask", "probe")
            error = refused
            raise
        except VendorError as failed:
            error = failed
            raise
        except asyncio.CancelledError:
            calls = 0
            raise
        finally:
            if calls:
                watch.ended(name, capability, error)
            self.world.note("ended", f"{name} {capability}", [type(error).__name__])
            lasting = isinstance(error, (AuthFailed, CircuitOpen, RateLimited, QuotaExhausted)) or (
                isinstance(error, UnsupportedRequest) and error.symbol is None
            )
            if lasting or watch.says(name, capability) not in ("ask", "probe"):
                self.world.note("stopped", f"{name} {capability}", [])


class World:
    """A seed's days. `run` lives through them; afterwards `log` tells all that happened."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.time = FakeTime(START)
        self.marks = dict.fromkeys(ORDER, "first key")
        self.log: list[tuple[Any, ...]] = []
        self.questions = 0
        self.ranked: dict[Capability, Ranking] = {}
        self.room: dict[str, int | None] = {}
        self.undone: dict[str, str] = {}  # of the last run
        self.runs_short = 0  # that left something undone for want of budget
        self.unserved: list[list[str]] = []  # of each night, after its last run
        self.served: Counter[str] = Counter()
        self.answered: Counter[str] = Counter()
        self.told_why: list[list[str]] = []  # the vendors named where a question found nobody
        self._random = random.Random(seed)
        self.kinds = dict(VENDORS)
        if seed % 2:  # in odd worlds nobody has the market by date
            self.kinds = {name: kind.without(GROUPED) for name, kind in self.kinds.items()}
        if seed % 3 == 0:  # in every third one budgets are scarce
            for name in ("by_second", "everybody"):
                self.kinds[name] = self.kinds[name].without(DAILY)
        self.limits = {name: Limits.parse(kind.limits) for name, kind in VENDORS.items()}
        self.watch = Watch(self)
        self.states = States(MemoryStore(), self.time, self.marks)
        self.meter = RunMeter(self.states, self.time)
        self.vendors = {name: SimulatedVendor(self, name, kind) for name, kind in self.kinds.items()}
        self.router = WatchedRouter(
            self.vendors,
            Policies.only(ORDER),
            self.states,
            self.meter,
            MemoryLedger(self.time),
            self.limits,
            self.time,
            missing_keys={"keyless": "KEYLESS_API_KEY"},
        )
        self.router.world = self

    def note(self, what: str, who: str, whom: Sequence[str]) -> None:
        self.log.append((self.time.monotonic(), what, who, *whom))

    def digest(self) -> str:
        return hashlib.sha256(repr(self.log).encode()).hexdigest()

    def run(self) -> None:
        self.time.run(self._days())

    def check_used_up(self, name: str) -> None:
        """See that a vendor that is skipped for its day's budget has used it up, or said so itself."""
        limits, today = self.limits[name], self.time.now() // 86_400
        spent = sum(weight for at, weight in self.vendors[name].calls if at // 86_400 == today)
        said = self.watch.used_up.get(name) == today
        assert said or (limits.per_day is not None and spent + limits.lease > limits.per_day)

    async def _until(self, day: int, hour: float) -> None:
        await self.time.sleep(max(0.0, START + day * 86_400 + (hour * 3600) - self.time.now()))

    async def _days(self) -> None:
        for day in range(NIGHTS):
            session = date(2027, 1, 4) + timedelta(days=day)
            done = SESSIONS.index(session) + 1
            newcomers = SYMBOLS[day * NEWCOMERS : (day + 1) * NEWCOMERS]
            missing = {s: {session} if s not in newcomers else set(SESSIONS[done - DEEP : done]) for s in SYMBOLS}
            for hour in RUNS:
                await self._questions(day, QUESTIONS // len(RUNS))
                await self._until(day, hour)
                if missing:
                    await self._fetch(missing)
                for name in ORDER:  # somebody may have put in another key
                    if self.vendors[name].suffers() == "bad key" and self._random.random() < 0.3:
                        self.marks[name] = f"key {len(self.log)}"
            self.unserved.append(sorted(missing))
            for symbol in missing:  # whoever knows it could not be asked, and it is said why
                knows = [
                    name for name in ORDER if DAILY in self.kinds[name].offers and symbol in self.vendors[name].known
                ]
                assert not any(f"{name}: {symbol}: unknown" in self.undone[symbol] for name in knows)

    # --- a night's bars ----------------------------------------------------------------------------------------------

    async def _fetch(self, missing: dict[str, set[date]]) -> None:
        requests = [BarRequest(s, np.array(sorted(days), "datetime64[D]")) for s, days in missing.items()]
        began, newest = len(self.log), max(max(days) for days in missing.values())
        self.room.clear()
        self.ranked.clear()
        failures: dict[str, VendorError] = {}
        async for part in self.router.daily_bars(requests, concurrency=8):
            failures.update(part.failures)
            self._take(part, missing)
        for symbol, days in missing.items():
            assert symbol in failures or newest not in days
        for error in failures.values():
            assert all(name in str(error) for name in ORDER), error
        self.undone = {symbol: str(error) for symbol, error in failures.items()}
        self.note("undone", "", [f"{symbol}: {why}" for symbol, why in self.undone.items()])
        self.runs_short += any("no budget left" in str(error) or "no room" in str(error) for error in failures.values())
        for symbol in [s for s, days in missing.items() if newest not in days]:
            del missing[symbol]
        self._check_choices(self.log[began:], requests)

    def _take(self, part: DailyAnswer, missing: dict[str, set[date]]) -> None:
        bars = part.bars
        for n in range(len(bars)):
            symbol, session = bars.symbols[bars.symbol_index[n]], bars.session[n].item()
            assert bars.close[n] == price(part.vendor, symbol, session)
            if symbol not in SYMBOLS:
                assert GROUPED in self.kinds[part.vendor].offers
            elif session in missing.get(symbol, ()) and (part.asked_from is None or part.asked_from <= session):
                missing[symbol].discard(session)
                self.served[part.vendor] += 1

    def _check_choices(self, events: Sequence[tuple[Any, ...]], requests: Sequence[BarRequest]) -> None:
        """See that whoever was asked for a symbol was the first that had not failed it, nor stopped, nor run short."""
        if DAILY not in self.ranked:
            return  # the whole market came by date
        ranking = self.ranked[DAILY]
        first = {r.symbol: r.first for r in requests}
        taken: Counter[str] = Counter()
        for _, what, vendor, *symbols in events:
            taken.update({vendor: len(symbols) if what == "asked" else 0})
        by_date = {vendor for _, what, vendor, *_ in events if what == "grouped"}  # it may have had all but this one
        in_the_end = {vendor for _, what, vendor, *_ in events if what == "stopped"}
        stopped: set[str] = set()
        trial: dict[str, str] = {}
        was: defaultdict[str, set[str]] = defaultdict(set)
        for _, what, vendor, *symbols in events:
            if what == "stopped":
                stopped.add(vendor)
            for symbol in symbols if what == "asked" else ():
                tried = vendor in ranking.trials and trial.setdefault(vendor, symbol) == symbol
                for before in ranking.order[: ranking.order.index(vendor)]:
                    reach, room = self.router.reach(before, DAILY), self.room[before]
                    assert (
                        before in was[symbol]
                        or f"{before} {DAILY}" in stopped
                        or (reach is not None and first[symbol] < reach)
                        or (room is not None and (taken[before] >= room - 1 or f"{before} {DAILY}" in in_the_end))
                        or tried
                        or before in by_date
                    ), (vendor, symbol, before)
                was[symbol].add(vendor)

    # --- single questions --------------------------------------------------------------------------------------------

    async def _questions(self, day: int, number: int) -> None:
        async with self.router:
            for _ in range(number):
                await self.time.sleep(self._random.expovariate(1 / 25))
                symbol, prefer = self._random.choice(SYMBOLS), self._random.choice([None] * 6 + list(ORDER))
                capability = self._random.choice([QUOTES, PROFILE])

                async def question(vendor: Vendor, capability: Any = capability, symbol: str = symbol) -> str:
                    if capability is QUOTES:
                        (quote,) = await vendor.quotes([symbol])
                        return quote.vendor
                    return (await vendor.profile(symbol)).vendor

                try:
                    routed = await self.router.first_answer(capability, question, symbol, prefer=prefer)
                except NobodyServes as error:
                    self.told_why.append(sorted(error.reasons))
                    continue
                assert routed.value == routed.vendor
                tried = (*self.ranked[capability].trials, *self.ranked[capability].order)
                before = tried[: tried.index(routed.vendor)]
                assert set(routed.passed_over) >= {*before, *self.ranked[capability].skipped}
                self.answered[routed.vendor] += 1


if __name__ == "__main__":
    simulated = World(int(sys.argv[1]))
    simulated.run()
    print(simulated.digest())  # noqa: T201 - what was asked for
