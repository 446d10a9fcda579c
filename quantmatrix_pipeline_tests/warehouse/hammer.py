"""Processes that ask one vendor's budget as fast as they can, and tell when they were let through.

Each says `ready` when it is set up, begins when it is told to, and at the end sends its admissions: (monotonic, wall,
weight), in seconds. They are forked from a process that has imported all of it, which for each would take a second.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess

import redis

from quantmatrix_pipeline.errors import QuotaExhausted, RateLimited
from quantmatrix_pipeline.providers.routing.budget import Budgets
from quantmatrix_pipeline.providers.routing.budget_ledger import Ledger
from quantmatrix_pipeline.providers.routing.budget_postgres import PostgresLedger
from quantmatrix_pipeline.providers.routing.budget_redis import RedisLedger
from quantmatrix_pipeline.providers.routing.limits import Limits
from quantmatrix_pipeline.providers.routing.time import RealTime
from quantmatrix_pipeline.warehouse.engine import Warehouse
from quantmatrix_pipeline_tests.forked import PROCESSES

Admission = tuple[float, float, int]

VENDOR = "hammered"
READY, STALLED, GO = "ready", "stalled", "go"
SETUP_SECONDS = 120.0  # on a machine with much else to do


@dataclass(frozen=True)
class Hammer:
    """What a process does: `coroutines` ask for calls of random weight up to `heaviest`, for `seconds`."""

    database: str
    limits: str
    seconds: float
    redis_port: int | None = None
    coroutines: int = 4
    heaviest: int = 1
    stall: bool = False  # after the first admission do nothing any more, so that it can be killed with a lease in hand


class SeenTime(RealTime):
    """Keeps the instant last read, which is the one at which an admission was decided."""

    seen = 0.0

    def monotonic(self) -> float:
        self.seen = super().monotonic()
        return self.seen


def ledger(warehouse: Warehouse, redis_port: int | None) -> Ledger:
    own = PostgresLedger(warehouse)
    if redis_port is None:
        return own
    return RedisLedger(redis.Redis(port=redis_port, socket_timeout=1, socket_connect_timeout=1), own)


async def hammer(work: Hammer, told: Connection) -> list[Admission]:
    warehouse = Warehouse(work.database)
    clock = SeenTime()
    budgets = Budgets(ledger(warehouse, work.redis_port), {VENDOR: Limits.parse(work.limits)}, clock)
    await budgets.room(VENDOR)  # connections are made before it counts
    told.send(READY)
    assert await asyncio.to_thread(told.recv) == GO
    ends = time.monotonic() + work.seconds
    admissions: list[Admission] = []

    async def ask() -> None:
        while time.monotonic() < ends:
            weight = random.randint(1, work.heaviest)
            try:
                await budgets.admit(VENDOR, weight, wait=random.choice([0.0, 0.5]))
            except RateLimited:
                await asyncio.sleep(0.005)
            except QuotaExhausted:
                return
            else:
                admissions.append((clock.seen, time.time() - time.monotonic() + clock.seen, weight))
                if work.stall:
                    told.send(STALLED)
                    time.sleep(60)

    await asyncio.gather(*(ask() for _ in range(work.coroutines)))
    await budgets.close()
    warehouse.close()
    return admissions


def _work(work: Hammer, told: Connection) -> None:
    told.send(asyncio.run(hammer(work, told)))


@dataclass
class Running:
    """A process under way, and the line to it."""

    work: Hammer
    process: BaseProcess = field(init=False)
    line: Connection = field(init=False)

    def __post_init__(self) -> None:
        self.line, told = PROCESSES.Pipe()
        self.process = PROCESSES.Process(target=_work, args=(self.work, told), daemon=True)
        self.process.start()
        told.close()

    def hear(self, seconds: float = SETUP_SECONDS) -> object:
        """Return what the process says next."""
        assert self.line.poll(seconds), f"nothing was heard of a process for {seconds:.0f} s"
        return self.line.recv()

    def go(self) -> None:
        """Tell it to begin."""
        self.line.send(GO)

    def kill(self) -> None:
        """End it as a crash would."""
        self.process.kill()
        self.process.join(10)


def together(works: Sequence[Hammer]) -> list[Admission]:
    """Let processes work at the same time; return the admissions of all."""
    running = [Running(work) for work in works]
    found: list[Admission] = []
    try:
        for each in running:
            assert each.hear() == READY
        for each in running:
            each.go()
        for each in running:
            admissions = each.hear(each.work.seconds + 60)
            assert isinstance(admissions, list)
            found += admissions
    finally:
        for each in running:
            each.kill()
    return found
