"""The count of calls in a real PostgreSQL and a real Redis: rules as in memory, for all processes, over restarts."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from itertools import count

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quantmatrix_pipeline import clock
from quantmatrix_pipeline.errors import QuotaExhausted, RateLimited
from quantmatrix_pipeline.providers.routing.budget import Budgets
from quantmatrix_pipeline.providers.routing.budget_ledger import Lease, Ledger, Room
from quantmatrix_pipeline.providers.routing.budget_memory import MemoryLedger
from quantmatrix_pipeline.providers.routing.budget_postgres import PostgresLedger
from quantmatrix_pipeline.providers.routing.budget_redis import RedisLedger
from quantmatrix_pipeline.providers.routing.limits import Limits
from quantmatrix_pipeline.providers.routing.time import RealTime
from quantmatrix_pipeline.warehouse.embedded import EmbeddedServer
from quantmatrix_pipeline.warehouse.engine import Warehouse
from quantmatrix_pipeline_tests.fake_time import FakeTime
from quantmatrix_pipeline_tests.redis_server import RedisServer, redis_server  # noqa: F401
from quantmatrix_pipeline_tests.rolling import DAY, most_in_a_day, most_within
from quantmatrix_pipeline_tests.warehouse import hammer
from quantmatrix_pipeline_tests.warehouse.hammer import VENDOR, Hammer

MIDNIGHT = datetime(2027, 1, 5, tzinfo=UTC).timestamp()
NAMES = count()

BOUNDLESS = 10**9

LIMITS = st.builds(
    Limits, st.none() | st.integers(3, 12), st.none() | st.integers(3, 40), st.none() | st.integers(3, 120)
)
LEASE = st.tuples(st.just("lease"), st.integers(1, 3), st.integers(0, 8))
GIVE_BACK = st.tuples(st.just("give back"), st.integers(0, 9), st.integers(1, 8))
PASS = st.tuples(st.just("pass"), st.sampled_from([1, 5, 10, 11, 13, 60, 100, 200, 900, 6000, 7000, 61_000]), st.none())
SHRINK = st.tuples(st.just("shrink"), st.none() | st.integers(1, 90), st.none())
EXHAUST = st.tuples(st.just("exhaust"), st.none() | st.integers(1, 500), st.none())


@pytest.fixture
def warehouse(database_url: str) -> Iterator[Warehouse]:
    warehouse = Warehouse(database_url)
    yield warehouse
    warehouse.close()


@pytest.fixture(params=["postgres", "redis"])
def redis_port(request: pytest.FixtureRequest) -> int | None:
    """Where the count is shared: the port of a Redis beside the warehouse, or None for the warehouse alone."""
    if request.param == "postgres":
        return None
    server: RedisServer = request.getfixturevalue("redis_server")
    return server.port


class OtherWarehouse(MemoryLedger):
    """A warehouse's own count that always has room, so that what Redis says is seen."""

    def lease(self, vendor: str, limits: Limits, least: int, most: int) -> Lease:
        return super().lease(vendor, self._boundless(limits), least, most)

    def room(self, vendor: str, limits: Limits) -> Room:
        return super().room(vendor, self._boundless(limits))

    def _boundless(self, limits: Limits) -> Limits:
        fields = ("per_second", "per_minute", "per_day")
        return replace(limits, **{name: BOUNDLESS for name in fields if getattr(limits, name) is not None})


def play(ledger: Ledger, now: FakeTime, vendor: str, limits: Limits, steps: list[tuple[str, int, int]]) -> list[object]:
    """Play steps to a ledger and return what it answered; ticks are left out, they differ in number."""
    leases: list[Lease] = []
    seen: list[object] = []
    for what, first, second in steps:
        if what == "lease":
            lease = ledger.lease(vendor, limits, first, first + second)
            leases.append(lease)
            seen.append((lease.granted, lease.exhausted, round(lease.seconds, 4), round(lease.retry_in, 4)))
        elif what == "give back" and leases:
            lease = leases.pop(first % len(leases))
            if lease.granted:
                ledger.give_back(lease, min(second, lease.granted))
        elif what == "pass":
            now.advance(first / 100)
        elif what == "shrink":
            ledger.shrink(vendor, limits, first)
        elif what == "exhaust":
            ledger.exhaust(vendor, None if first is None else now.now() + first)
        room = ledger.room(vendor, limits)
        seen.append(replace(room, next_in=round(room.next_in, 4)))
    return seen


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    limits=LIMITS,
    before_midnight=st.integers(0, 30_000),
    steps=st.lists(st.one_of(LEASE, LEASE, GIVE_BACK, PASS, PASS, SHRINK, EXHAUST), min_size=5, max_size=30),
)
def test_postgres_counts_by_the_same_rules_as_memory(
    warehouse: Warehouse, limits: Limits, before_midnight: int, steps: list[tuple[str, int, int]]
) -> None:
    one, other = FakeTime(MIDNIGHT - before_midnight / 100), FakeTime(MIDNIGHT - before_midnight / 100)
    vendor = f"v{next(NAMES)}"
    stored = play(PostgresLedger(warehouse, one.now), one, vendor, limits, steps)
    assert stored == play(MemoryLedger(other), other, vendor, limits, steps)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    limits=LIMITS,
    before_midnight=st.integers(0, 30_000),
    steps=st.lists(st.one_of(LEASE, LEASE, GIVE_BACK, PASS, PASS), min_size=5, max_size=40),
)
def test_redis_counts_by_the_same_rules_as_memory(
    redis_server: RedisServer,  # noqa: F811
    limits: Limits,
    before_midnight: int,
    steps: list[tuple[str, int, int]],
) -> None:
    one, other = FakeTime(MIDNIGHT - before_midnight / 100), FakeTime(MIDNIGHT - before_midnight / 100)
    vendor = f"v{next(NAMES)}"
    ledger = RedisLedger(redis_server.client, OtherWarehouse(one), one.now)
    shared = play(ledger, one, vendor, limits, steps)
    alone = play(MemoryLedger(other), other, vendor, limits, steps)
    # When there is more: Redis and the warehouse are each asked for themselves, and the other warehouse has no limits.
    assert [_without_renewal(x) for x in shared] == [_without_renewal(x) for x in alone]


def _without_renewal(seen: object) -> object:
    return replace(seen, next_in=0, per_minute=None) if isinstance(seen, Room) else seen


def test_four_processes_stay_within_second_and_minute(database_url: str, redis_port: int | None) -> None:
    work = Hammer(database_url, "30/s 40/min", seconds=4, redis_port=redis_port)
    calls = hammer.together([work] * 4)
    instants = [(monotonic, weight) for monotonic, _, weight in calls]
    assert most_within(instants, 1) <= 30
    assert most_within(instants, 60) == len(calls) == 40
    assert len({round(monotonic, 6) for monotonic, _, _ in calls}) == 40


def test_four_processes_stay_within_second_and_day_with_leases_of_several_calls(
    database_url: str, redis_port: int | None, warehouse: Warehouse
) -> None:
    limits = "60/s 260/day"
    assert Limits.parse(limits).lease == 4
    begun = time.time() // DAY
    calls = hammer.together([Hammer(database_url, limits, seconds=20, redis_port=redis_port, heaviest=3)] * 4)
    assert most_within([(monotonic, weight) for monotonic, _, weight in calls], 1) <= 60
    used = most_in_a_day([(wall, weight) for _, wall, weight in calls])
    assert used <= 260
    if time.time() // DAY == begun:
        # All is used but what was given back after the others had ended, and it is counted to the call.
        assert used >= 260 - 4 * 4 - 3 * 4
        ledger = hammer.ledger(warehouse, redis_port)
        counted = ledger.room(VENDOR, Limits.parse(limits)).used_today
        # An empty Redis takes over the warehouse's count, where the others' first leases may stand already: those it
        # counts twice, so that what is left is rather too little than too much.
        assert used <= counted <= used + (0 if redis_port is None else 3 * 4)


@pytest.mark.slow
def test_four_processes_stay_within_any_minute_for_two_and_a_half(database_url: str, redis_port: int | None) -> None:
    calls = hammer.together([Hammer(database_url, "30/s 320/min", seconds=150, redis_port=redis_port, heaviest=3)] * 4)
    instants = [(monotonic, weight) for monotonic, _, weight in calls]
    assert most_within(instants, 1) <= 30
    assert most_within(instants, 60) <= 320
    assert sum(weight for _, weight in instants) >= 2.8 * 320  # all of it at 0, 64 and 128 s


def test_a_killed_process_takes_its_lease_with_it_and_no_more(
    database_url: str, redis_port: int | None, warehouse: Warehouse
) -> None:
    text = "1600/min 6400/day"
    running = hammer.Running(Hammer(database_url, text, seconds=60, redis_port=redis_port, stall=True))
    assert running.hear() == hammer.READY
    running.go()
    assert running.hear() == hammer.STALLED
    running.kill()

    limits = Limits.parse(text)
    room = hammer.ledger(warehouse, redis_port).room(VENDOR, limits)
    assert room.used_today == limits.lease == 100
    calls = hammer.together([Hammer(database_url, text, seconds=3, redis_port=redis_port)])
    assert len(calls) == 1600 - 100


def test_a_restart_keeps_the_day(database_url: str, redis_port: int | None) -> None:
    work = Hammer(database_url, "100/day", seconds=20, redis_port=redis_port)
    begun = time.time() // DAY
    assert len(hammer.together([work])) == 100
    again = hammer.together([work, work])
    assert again == [] or time.time() // DAY != begun


@pytest.mark.parametrize("loss", ["flush", "restart"])
def test_a_redis_that_lost_its_memory_keeps_minute_and_day(
    warehouse: Warehouse,
    redis_server: RedisServer,  # noqa: F811
    loss: str,
) -> None:
    ledger = RedisLedger(redis_server.client, PostgresLedger(warehouse))
    limits = Limits.parse("10/min 30/day")
    begun = time.time() // DAY
    assert ledger.lease("v", limits, 1, 8).granted == 8
    if loss == "flush":
        redis_server.client.flushall()
    else:
        redis_server.kill()
        redis_server.start()
    assert ledger.lease("v", limits, 1, 8).granted == 2
    assert ledger.lease("v", limits, 1, 8).granted == 0
    if time.time() // DAY == begun:
        # Another installation with the same Redis learns of the day from the first to ask.
        elsewhere = RedisLedger(redis_server.client, MemoryLedger(RealTime()))
        assert elsewhere.room("v", limits).today == 20


def test_two_warehouses_with_one_redis_share_their_limits(
    warehouse: Warehouse,
    redis_server: RedisServer,  # noqa: F811
) -> None:
    one = RedisLedger(redis_server.client, PostgresLedger(warehouse))
    other = RedisLedger(redis_server.client, MemoryLedger(RealTime()))
    limits = Limits.parse("20/min")
    assert one.lease("v", limits, 1, 15).granted == 15
    lease = other.lease("v", limits, 1, 15)
    assert lease.granted == 5
    refused = one.lease("v", limits, 1, 15)
    assert refused.granted == 0
    assert 55 < refused.retry_in <= 64
    # What Redis refused is not counted in the warehouse either.
    assert PostgresLedger(warehouse).room("v", limits).used_minute == 15
    other.give_back(lease, 3)
    assert one.lease("v", limits, 1, 15).granted == 3


def test_a_redis_that_is_away_is_warned_of_once_and_the_warehouse_counts_alone(
    warehouse: Warehouse,
    redis_server: RedisServer,  # noqa: F811
    caplog: pytest.LogCaptureFixture,
) -> None:
    ledger = RedisLedger(redis_server.client, PostgresLedger(warehouse))
    limits = Limits.parse("10/min")
    lease = ledger.lease("v", limits, 1, 4)
    assert lease.granted == 4
    redis_server.kill()
    with caplog.at_level(logging.WARNING):
        ledger.give_back(lease, 2)
        assert ledger.lease("v", limits, 1, 20).granted == 8
        assert ledger.lease("v", limits, 1, 20).granted == 0
        assert ledger.room("v", limits).now == 0
    assert [r.getMessage().startswith("Redis does not count calls") for r in caplog.records] == [True]


def test_another_night_is_another_night_for_the_session_not_for_the_vendor(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = time.time()
    monkeypatch.setenv(clock.ENV_NOW, "2021-12-31T23:00:00Z")
    assert before <= clock.wall() <= time.time()
    assert before <= RealTime().now() <= time.time()
    ledger = PostgresLedger(warehouse)
    ledger.lease("v", Limits(), 1, 1)
    days = [row.day for row in warehouse.rows("SELECT day FROM provider_days")]
    assert all(abs(datetime(d.year, d.month, d.day, tzinfo=UTC).timestamp() - before) < 2 * DAY for d in days)
    assert days


def test_the_writer_may_count_and_the_reader_may_look(warehouse: Warehouse, server: EmbeddedServer) -> None:
    name = warehouse.url.rsplit("/", 1)[-1].split("?")[0]
    writer, reader = (Warehouse(server.url(name, role)) for role in ("qm_writer", "qm_reader"))
    try:
        limits = Limits.parse("10/min 100/day")
        ledger = PostgresLedger(writer)
        lease = ledger.lease("v", limits, 1, 4)
        ledger.give_back(lease, 1)
        ledger.shrink("v", limits, None)
        ledger.exhaust("v", None)
        room = PostgresLedger(Warehouse(reader.url, read_only=True)).room("v", limits)
        assert (room.used_today, room.today, room.now, room.per_minute) == (3, 0, 0, 5)
    finally:
        writer.close()
        reader.close()


def test_what_a_call_costs_beside_its_lease(
    warehouse: Warehouse,
    redis_server: RedisServer,  # noqa: F811
    capsys: pytest.CaptureFixture[str],
) -> None:
    calls = 5_000
    own = PostgresLedger(warehouse)
    ledgers: dict[str, Ledger] = {
        "memory": MemoryLedger(RealTime()),
        "PostgreSQL": own,
        "PostgreSQL and Redis": RedisLedger(redis_server.client, own),
    }

    async def spend(budgets: Budgets, vendor: str) -> float:
        await budgets.admit(vendor)
        begun = time.perf_counter()
        for _ in range(calls):
            await budgets.admit(vendor)
        took = time.perf_counter() - begun
        await budgets.close()
        return took

    lines = []
    for name, ledger in ledgers.items():
        vendor = name.replace(" ", "_")
        took = asyncio.run(spend(Budgets(ledger, {vendor: Limits.parse("6000/min 1000000/day")}, RealTime()), vendor))
        assert ledger.room(vendor, Limits()).used_today == calls + 1
        lines.append(f"{name}: {took / calls * 1e6:.1f} us per call")
    with capsys.disabled():
        sys.stdout.write(f"\n[{os.cpu_count()} cores] {'; '.join(lines)}\n")


def test_many_coroutines_share_a_lease_and_wait_for_the_next(warehouse: Warehouse) -> None:
    async def run() -> list[int]:
        budgets = Budgets(PostgresLedger(warehouse), {"v": Limits.parse("40/s 45/day")}, RealTime())
        ends = {RateLimited: 0, QuotaExhausted: 1, type(None): 2}
        found = [0, 0, 0]

        async def one() -> None:
            try:
                await budgets.admit("v", wait=20)
            except (RateLimited, QuotaExhausted) as error:
                found[ends[type(error)]] += 1
            else:
                found[2] += 1

        await asyncio.gather(*(one() for _ in range(60)))
        await budgets.close()
        return found

    assert asyncio.run(run()) == [0, 15, 45]
