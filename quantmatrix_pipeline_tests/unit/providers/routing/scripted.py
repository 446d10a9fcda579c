"""Vendors that say what a test wants them to say, on a clock of their own, behind a router as in production."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from datetime import UTC, date, datetime, timedelta

import numpy as np

from quantmatrix_pipeline.bars.batch import BarBatch, Basis
from quantmatrix_pipeline.errors import VendorError
from quantmatrix_pipeline.providers.answers import ActionsAnswer, DailyAnswer, Quote
from quantmatrix_pipeline.providers.contract import BarRequest, Capability, Offer, Vendor
from quantmatrix_pipeline.providers.routing.budget_memory import MemoryLedger
from quantmatrix_pipeline.providers.routing.limits import Limits
from quantmatrix_pipeline.providers.routing.meter import RunMeter
from quantmatrix_pipeline.providers.routing.policy import Policies
from quantmatrix_pipeline.providers.routing.router import Router
from quantmatrix_pipeline.providers.routing.state import MemoryStore, States
from quantmatrix_pipeline.providers.symbols import is_crypto
from quantmatrix_pipeline.providers.transport.calls import Timed
from quantmatrix_pipeline_tests.fake_time import FakeTime

DAILY, GROUPED, QUOTES = Capability.DAILY_BARS, Capability.GROUPED_BARS, Capability.QUOTES
TODAY = date(2027, 1, 4)  # of a FakeTime, a Monday
SESSIONS = [day for n in range(-2800, 1) if (day := TODAY + timedelta(days=n)).weekday() < 5]

Daily = Callable[[Sequence[BarRequest]], DailyAnswer | None]
Grouped = Callable[[date], DailyAnswer | None]


def request(symbol: str, sessions: int = 1, *, until: date = TODAY) -> BarRequest:
    """Ask for the last sessions up to a day."""
    end = SESSIONS.index(until) + 1
    return BarRequest(symbol, np.array(SESSIONS[end - sessions : end], "datetime64[D]"))


def bars(
    vendor: str, wanted: Mapping[str, Sequence[date]], failures: Mapping[str, VendorError] | None = None
) -> DailyAnswer:
    """Return an answer with a bar on each of these days."""
    rows = [(n, day) for n, days in enumerate(wanted.values()) for day in days]
    ones = np.ones(len(rows))
    batch = BarBatch(
        tuple(wanted),
        np.array([n for n, _ in rows], np.int32),
        np.array([day for _, day in rows], "datetime64[D]"),
        ones, ones, ones, ones, ones,
    )  # fmt: skip
    return DailyAnswer(vendor, Basis.RAW, None, batch, failures=failures or {})


class Scripted(Vendor):
    """A vendor that has everything, but where `daily` or `grouped` answer otherwise, or raise.

    `asked` are (seconds since the start, symbols of a question, or the session asked for by date); `most` is how many
    questions were under way at once.
    """

    def __init__(
        self,
        name: str,
        offers: Mapping[Capability, Offer] | Offer,
        daily: Daily = lambda _: None,
        grouped: Grouped = lambda _: None,
        *,
        seconds: float = 0.1,
        market: Sequence[str] = (),
    ) -> None:
        self.name = name
        self.offers = {DAILY: offers} if isinstance(offers, Offer) else offers
        self.asked: list[tuple[float, list[str]]] = []
        self.requests: list[BarRequest] = []
        self.actions: list[tuple[Capability, date, date]] = []
        self.open_ = self.most = 0
        self.seconds, self.market = seconds, market
        self.meter: RunMeter
        self.time: FakeTime
        self._daily, self._grouped = daily, grouped

    async def _call(
        self, capability: Capability, weight: int, answer: Callable[[], DailyAnswer | None]
    ) -> DailyAnswer | None:
        await self.meter.admit(self.name, weight)
        began = self.time.monotonic()
        self.open_ += 1
        self.most = max(self.most, self.open_)
        error: VendorError | None = None
        try:
            await self.time.sleep(self.seconds)
            return answer()
        except VendorError as raised:
            error = raised
            raise
        finally:
            self.open_ -= 1
            self.meter.note(Timed(self.name, capability, "x", (self.time.monotonic() - began) * 1000, error))

    async def daily_bars(self, requests: Sequence[BarRequest]) -> DailyAnswer:
        self.asked.append((self.time.monotonic(), [r.symbol for r in requests]))
        self.requests += requests
        capability = Capability.CRYPTO_DAILY if is_crypto(requests[0].symbol) else DAILY
        weight = self.offers[capability].cost(len(requests))
        found = await self._call(capability, weight, lambda: self._daily(requests))
        return found or bars(self.name, {r.symbol: r.sessions.tolist() for r in requests})

    async def grouped_bars(self, session: date) -> DailyAnswer:
        self.asked.append((self.time.monotonic(), [str(session)]))
        found = await self._call(GROUPED, 1, lambda: self._grouped(session))
        return found or bars(self.name, {symbol: [session] for symbol in self.market})

    async def splits(self, symbol: str | None, first: date, last: date) -> ActionsAnswer:
        self.actions.append((Capability.SPLITS, first, last))
        return ActionsAnswer(self.name, symbol, first, last)

    async def dividends(self, symbol: str | None, first: date, last: date) -> ActionsAnswer:
        self.actions.append((Capability.DIVIDENDS, first, last))
        return ActionsAnswer(self.name, symbol, first, last)

    async def quotes(self, symbols: Sequence[str]) -> Sequence[Quote]:
        self.asked.append((self.time.monotonic(), list(symbols)))
        await self._call(QUOTES, 1, lambda: self._daily([]))
        return [Quote(self.name, s, 1.0, datetime.now(UTC), datetime.now(UTC)) for s in symbols]

    @property
    def symbols(self) -> list[str]:
        """All symbols asked for, in their order."""
        return [symbol for _, symbols in self.asked for symbol in symbols]


class Stage:
    """A router over scripted vendors, in the order of the policy. `parts` are those of all fetches."""

    def __init__(self, *vendors: Scripted, limits: Mapping[str, str] | None = None, wait: float = 300.0) -> None:
        self.time = FakeTime()
        self.marks: dict[str, str | None] = {}
        self.store = MemoryStore()
        self.states = States(self.store, self.time, self.marks)
        self.meter = RunMeter(self.states, self.time)
        for vendor in vendors:
            vendor.meter, vendor.time = self.meter, self.time
        self.ledger = MemoryLedger(self.time)
        self.router = Router(
            {v.name: v for v in vendors},
            Policies.only([v.name for v in vendors]),
            self.states,
            self.meter,
            self.ledger,
            {name: Limits.parse(text) for name, text in (limits or {}).items()},
            self.time,
            missing_keys={"keyless": "KEYLESS_API_KEY"},
            wait_seconds=wait,
        )
        self.parts: list[DailyAnswer] = []
        self.failures: dict[str, VendorError] = {}

    def run(self, work: Callable[[], Awaitable[None]]) -> None:
        async def main() -> None:
            await work()

        self.time.run(main())

    def fetch(self, requests: Sequence[BarRequest], concurrency: int = 8) -> None:
        """Fetch to the end; `parts` and `failures` are those of this fetch."""
        self.parts.clear()
        self.failures.clear()

        async def main() -> None:
            async with aclosing(self.router.daily_bars(requests, concurrency=concurrency)) as parts:  # type: ignore[type-var]
                async for part in parts:
                    self.parts.append(part)
                    self.failures.update(part.failures)

        self.time.run(main())

    def came(self) -> dict[tuple[str, date], str]:
        """Return (symbol, session) -> the vendor whose bar came."""
        return {
            (part.bars.symbols[i], day): part.vendor
            for part in self.parts
            for i, day in zip(part.bars.symbol_index.tolist(), part.bars.session.tolist(), strict=True)
        }
