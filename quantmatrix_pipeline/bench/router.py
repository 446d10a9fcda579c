"""What the router costs: per question beside vendors that answer at once, and for 500 symbols over HTTP.

The vendors of the first part do no work, so that what remains is choosing one, its budget, its circuit, its health and
the record. In the second part a real server process answers each symbol after 50 ms.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TypeVar

import msgspec
import numpy as np

from quantmatrix_pipeline import clock
from quantmatrix_pipeline.bars.batch import Basis
from quantmatrix_pipeline.bench.grouped import PAUSE_SECONDS, _served
from quantmatrix_pipeline.bench.load import require
from quantmatrix_pipeline.bench.measure import Measured, Series, measured
from quantmatrix_pipeline.bench.workspace import Workspace
from quantmatrix_pipeline.errors import VendorError
from quantmatrix_pipeline.providers.answers import DailyAnswer, Quote
from quantmatrix_pipeline.providers.contract import BarRequest, Capability, Offer, Vendor
from quantmatrix_pipeline.providers.routing.budget_ledger import Ledger
from quantmatrix_pipeline.providers.routing.budget_memory import MemoryLedger
from quantmatrix_pipeline.providers.routing.budget_postgres import PostgresLedger
from quantmatrix_pipeline.providers.routing.limits import Limits
from quantmatrix_pipeline.providers.routing.meter import RunMeter
from quantmatrix_pipeline.providers.routing.policy import NAMED, Policies
from quantmatrix_pipeline.providers.routing.router import Router
from quantmatrix_pipeline.providers.routing.state import MemoryStore, States, StateStore, WarehouseStore
from quantmatrix_pipeline.providers.routing.time import RealTime
from quantmatrix_pipeline.providers.transport import reading
from quantmatrix_pipeline.providers.transport.calls import Answer, Call, Meter, Timed
from quantmatrix_pipeline.providers.transport.http import CONNECTIONS
from quantmatrix_pipeline.providers.transport.vendor import Access, HttpVendor
from quantmatrix_pipeline.warehouse.engine import Warehouse

T = TypeVar("T")

QUESTIONS = 2000
SYMBOLS = 500
LIMIT_MICROSECONDS = 100.0
FACTOR = 1.5
_POLICY = NAMED["free"]
_DAYS = np.arange(np.datetime64("2026-11-16", "D"), np.datetime64("2026-11-21", "D"))
_OFFERS: Mapping[Capability, Offer] = {Capability.DAILY_BARS: Offer(), Capability.QUOTES: Offer()}


def run(space: Workspace, repeats: int = 5) -> list[Measured]:
    """Measure single questions and a night's fetch, with everything in memory and with PostgreSQL; then over HTTP."""
    series = Series()
    folder = space.folder / "symbols"
    folder.mkdir()
    for symbol in _symbols(SYMBOLS):
        (folder / symbol).write_bytes(
            msgspec.json.encode({"days": [str(d) for d in _DAYS], "close": [1.0] * len(_DAYS)})
        )
    with space.database() as database, _served(folder) as address:
        for turn in range(repeats + 1):
            for name, warehouse in (("memory", None), ("PostgreSQL", database.writer)):
                single = asyncio.run(_single(_router(warehouse, _at_once)))
                bulk = asyncio.run(_bulk(_router(warehouse, _at_once), QUESTIONS))
                if turn:
                    series.add(f"single, {name}", single / QUESTIONS * 1e6)
                    series.add(f"bulk, {name}", bulk / QUESTIONS * 1e6)
            seconds = asyncio.run(_bulk(_router(database.writer, partial(_over_http, address)), SYMBOLS))
            if turn:
                series.add("http", seconds)
                series.add("allowed", SYMBOLS / CONNECTIONS * PAUSE_SECONDS)
    rows = [
        measured(
            f"{kind}, budgets and circuits in {where}",
            series[f"{key}, {where}"],
            "us each",
            requirement=f"<= {LIMIT_MICROSECONDS:.0f} us on a quiet core",
            met=series[f"{key}, {where}"].median <= LIMIT_MICROSECONDS,
        )
        for where in ("memory", "PostgreSQL")
        for key, kind in (("single", "a single question"), ("bulk", "a symbol of a fetch"))
    ]
    share = series["http"].over(series["allowed"])
    milliseconds = PAUSE_SECONDS * 1000
    return [
        *rows,
        measured(
            f"{SYMBOLS} symbols one by one from a server that takes {milliseconds:.0f} ms",
            series["http"],
            "s",
            ratio_to=f"what {CONNECTIONS} connections allow",
            ratio=share,
            requirement=f"<= {FACTOR} of it",
            met=share.median <= FACTOR,
        ),
    ]


class _AtOnce(Vendor):
    """Answers without asking anybody; charged and noted as one that speaks HTTP."""

    def __init__(self, name: str, meter: Meter) -> None:
        self.name = name
        self.offers = _OFFERS
        self._meter = meter
        self._quotes = [Quote(name, "A", 1.0, clock.now(), clock.now())]
        self._bars = reading.one_symbol("A", _DAYS, [np.ones(len(_DAYS))] * 5)

    async def quotes(self, symbols: Sequence[str]) -> Sequence[Quote]:
        return await self._call(Capability.QUOTES, self._quotes)

    async def daily_bars(self, requests: Sequence[BarRequest]) -> DailyAnswer:
        bars = replace(self._bars, symbols=(requests[0].symbol,))
        return await self._call(Capability.DAILY_BARS, DailyAnswer(self.name, Basis.RAW, None, bars))

    async def _call(self, capability: Capability, answer: T) -> T:
        await self._meter.admit(self.name, 1)
        self._meter.note(Timed(self.name, capability, "at-once", 1.0, None))
        return answer


class _Body(msgspec.Struct):
    days: list[str]
    close: list[float]


class _OverHttp(HttpVendor):
    """Asks for one symbol per call."""

    name = "finnhub"

    async def daily_bars(self, requests: Sequence[BarRequest]) -> DailyAnswer:
        symbol = requests[0].symbol
        call = Call(Capability.DAILY_BARS, "bars", f"/{symbol}", symbol=symbol)

        def read(answer: Answer) -> DailyAnswer:
            body = reading.decode(self.name, call, answer, _Body)
            close = reading.finite(self.name, call, "close", body.close)
            days = reading.sessions(self.name, call, body.days)
            bars = reading.one_symbol(symbol, days, [close] * 5)
            return DailyAnswer(self.name, Basis.RAW, None, bars, learned_at=answer.learned_at)

        return await self.http.ask(call, read)


def _nobody_refuses(call: Call, answer: Answer) -> VendorError | None:
    return None


def _symbols(number: int) -> list[str]:
    return [f"S{n:04}" for n in range(number)]


def _router(warehouse: Warehouse | None, connect: Callable[[Meter], Mapping[str, Vendor]]) -> Router:
    wall = RealTime()
    store: StateStore = MemoryStore() if warehouse is None else WarehouseStore(warehouse)
    ledger: Ledger = MemoryLedger(wall) if warehouse is None else PostgresLedger(warehouse)
    states = States(store, wall, dict.fromkeys(_POLICY, "mark"))
    meter = RunMeter(states, wall)
    limits = dict.fromkeys(_POLICY, Limits(per_minute=10_000_000))  # counted, and never reached
    return Router(connect(meter), Policies.only(_POLICY), states, meter, ledger, limits, wall)


def _at_once(meter: Meter) -> Mapping[str, Vendor]:
    return {name: _AtOnce(name, meter) for name in _POLICY}


def _over_http(address: str, meter: Meter) -> Mapping[str, Vendor]:
    http = Access(address, None, meter).http(_OverHttp.name, _nobody_refuses)
    return {_OverHttp.name: _OverHttp(http, _OFFERS)}


async def _single(router: Router) -> float:
    """Return the seconds of `QUESTIONS` questions, one after the other, of which the first vendor answers each."""
    async with router:
        await router.first_answer(Capability.QUOTES, _quote, "a quote")
        started = time.perf_counter()
        for _ in range(QUESTIONS):
            await router.first_answer(Capability.QUOTES, _quote, "a quote")
        return time.perf_counter() - started


async def _quote(vendor: Vendor) -> Sequence[Quote]:
    return await vendor.quotes(["A"])


async def _bulk(router: Router, number: int) -> float:
    """Return the seconds of a fetch of so many symbols."""
    requests = [BarRequest(symbol, _DAYS) for symbol in _symbols(number)]
    came = 0
    started = time.perf_counter()
    async for part in router.daily_bars(requests, concurrency=CONNECTIONS):
        came += len(part.bars)
    seconds = time.perf_counter() - started
    require(came == number * len(_DAYS), f"{came} bars of {number} symbols came")
    return seconds
