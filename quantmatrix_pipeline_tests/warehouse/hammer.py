"""A process of its own that asks one vendor's budget as fast as it can, and writes down when it was let through.

`python -m quantmatrix_pipeline_tests.warehouse.hammer '<json>'`, where the JSON is a `Hammer`. It says `ready` when it
is set up, begins when a line comes in, and at the end writes its admissions as JSON: [[monotonic, wall, weight]], in
seconds.
"""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import redis

from quantmatrix_pipeline.errors import QuotaExhausted, RateLimited
from quantmatrix_pipeline.providers.routing.budget import Budgets
from quantmatrix_pipeline.providers.routing.budget_ledger import Ledger
from quantmatrix_pipeline.providers.routing.budget_postgres import PostgresLedger
from quantmatrix_pipeline.providers.routing.budget_redis import RedisLedger
from quantmatrix_pipeline.providers.routing.limits import Limits
from quantmatrix_pipeline.providers.routing.time import RealTime
from quantmatrix_pipeline.warehouse.engine import Warehouse

VENDOR = "hammered"


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


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


async def hammer(work: Hammer) -> list[tuple[float, float, int]]:
    warehouse = Warehouse(work.database)
    clock = SeenTime()
    budgets = Budgets(ledger(warehouse, work.redis_port), {VENDOR: Limits.parse(work.limits)}, clock)
    await budgets.room(VENDOR)  # connections are made before it counts
    say("ready")
    await asyncio.to_thread(sys.stdin.readline)
    ends = time.monotonic() + work.seconds
    admissions: list[tuple[float, float, int]] = []

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
                    say("stalled")
                    time.sleep(60)

    await asyncio.gather(*(ask() for _ in range(work.coroutines)))
    await budgets.close()
    warehouse.close()
    return admissions


def launch(work: Hammer) -> subprocess.Popen[str]:
    """Start a process, which takes a second or two to get ready."""
    command = [sys.executable, "-m", __name__, json.dumps(asdict(work))]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def ready(process: subprocess.Popen[str]) -> None:
    """Return when a process waits for the word."""
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"


def go(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("go\n")
    process.stdin.flush()


def together(works: Sequence[Hammer]) -> list[Any]:
    """Let processes work at the same time; return the admissions of all."""
    processes = [launch(work) for work in works]
    found: list[Any] = []
    try:
        for process in processes:
            ready(process)
        for process in processes:
            go(process)
        for process, work in zip(processes, works, strict=True):
            out, _ = process.communicate(timeout=work.seconds + 60)
            assert process.returncode == 0
            found += json.loads(out)
    finally:
        for process in processes:
            process.kill()
            process.wait(10)
    return found


if __name__ == "__main__":
    say(json.dumps(asyncio.run(hammer(Hammer(**json.loads(sys.argv[1]))))))
