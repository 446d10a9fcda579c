"""Budgets of several processes on one count, in simulated time, held against the literal list of admissions."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantmatrix_pipeline.errors import BudgetTooSmall, QuotaExhausted, RateLimited
from quantmatrix_pipeline.providers.routing.budget import Budgets
from quantmatrix_pipeline.providers.routing.budget_memory import MemoryLedger
from quantmatrix_pipeline.providers.routing.limits import Limits
from quantmatrix_pipeline_tests.fake_time import FakeTime
from quantmatrix_pipeline_tests.rolling import Call, excess, most_within

MIDNIGHT = datetime(2027, 1, 5, tzinfo=UTC).timestamp()
NOON = MIDNIGHT - 12 * 3600


def budgets(time: FakeTime, limits: str) -> Budgets:
    return Budgets(MemoryLedger(time), {"v": Limits.parse(limits)}, time)


async def admitted(budget: Budgets, most: int, weight: int = 1) -> int:
    """Ask until it is refused; return how many were admitted."""
    for n in range(most):
        try:
            await budget.admit("v", weight)
        except (RateLimited, QuotaExhausted):
            return n
    return most


@settings(deadline=None)
@given(
    limits=st.builds(
        Limits,
        st.none() | st.integers(1, 40),
        st.none() | st.integers(1, 90),
        st.none() | st.integers(1, 300),
    ),
    before_midnight=st.floats(0, 200),
    processes=st.lists(
        st.lists(  # coroutines of a process: pauses between requests, their weight, how long they wait
            st.tuples(st.sampled_from([0.0, 0.01, 0.3, 2.0, 30.0]), st.integers(1, 9), st.sampled_from([0, 2, 90])),
            min_size=1,
            max_size=6,
        ),
        min_size=1,
        max_size=4,
    ),
    refused_at=st.lists(st.tuples(st.floats(0, 300), st.none() | st.floats(0, 90)), max_size=3),
)
def test_no_window_ever_holds_more_than_the_limit(
    limits: Limits,
    before_midnight: float,
    processes: list[list[tuple[float, int, int]]],
    refused_at: list[tuple[float, float | None]],
) -> None:
    time = FakeTime(MIDNIGHT - before_midnight)
    ledger = MemoryLedger(time)
    calls: list[Call] = []
    pauses: list[tuple[float, float]] = []

    async def ask(budget: Budgets, pause: float, weight: int, wait: int) -> None:
        for _ in range(25):
            await time.sleep(pause)
            try:
                await budget.admit("v", min(weight, limits.tightest or weight), wait=wait)
            except (RateLimited, QuotaExhausted):
                await time.sleep(1)
            else:
                calls.append((time.now(), min(weight, limits.tightest or weight)))

    async def refuse(budget: Budgets, at: float, retry_after: float | None) -> None:
        await time.sleep(at)
        await budget.shrink("v", retry_after)
        pauses.append((time.now(), time.now() + (60 - time.now() % 60 if retry_after is None else retry_after)))

    async def live(coroutines: list[tuple[float, int, int]]) -> None:
        budget = Budgets(ledger, {"v": limits}, time)
        await asyncio.gather(*(ask(budget, *c) for c in coroutines), *(refuse(budget, *r) for r in refused_at))
        await budget.close()

    async def all_of_them() -> None:
        await asyncio.gather(*(live(p) for p in processes))

    time.run(all_of_them())
    assert calls or refused_at
    assert excess(calls, limits) == []
    # Other processes may still spend what they hold, until the 2 s of its bucket are over.
    assert not [t for t, _ in calls for begin, end in pauses if begin + 2 < t < end - 1e-3]


def test_a_limit_that_is_always_used_up_is_reached_every_64_seconds() -> None:
    time = FakeTime(NOON)
    calls: list[Call] = []

    async def run() -> None:
        budget = budgets(time, "60/min")

        async def one() -> None:
            await budget.admit("v", wait=3600)
            calls.append((time.now(), 1))

        await asyncio.gather(*(one() for _ in range(600)))

    time.run(run())
    assert len(calls) == 600
    assert most_within(calls, 60) == 60
    assert time.now() - NOON <= 9 * 64 + 1


def test_who_does_not_wait_is_told_when_to_ask_again() -> None:
    time = FakeTime(NOON)

    async def run() -> None:
        budget = budgets(time, "8/min")
        assert await admitted(budget, 100) == 8
        with pytest.raises(RateLimited, match=r"v: no room for 1 call at the moment, within 8/min") as refused:
            await budget.admit("v")
        assert refused.value.retry_after == pytest.approx(64)
        with pytest.raises(RateLimited):
            await budget.admit("v", wait=63)
        await budget.admit("v", wait=65)
        assert time.now() - NOON == pytest.approx(64, abs=0.01)

    time.run(run())


def test_the_days_allowance_is_not_waited_for_and_comes_back_at_midnight() -> None:
    time = FakeTime(MIDNIGHT - 600)

    async def run() -> None:
        budget = budgets(time, "25/day")
        assert await admitted(budget, 100) == 25
        with pytest.raises(QuotaExhausted, match=r"25/day.*from 2027-01-05 00:00 UTC on"):
            await budget.admit("v", wait=3600)
        await time.sleep(599)
        assert await admitted(budget, 1) == 0
        await time.sleep(1)
        assert await admitted(budget, 100) == 25

    time.run(run())


def test_a_weight_is_spent_whole_and_one_above_a_limit_says_so() -> None:
    async def run() -> None:
        budget = budgets(time, "8/min 800/day")
        assert await admitted(budget, 100, weight=3) == 2
        assert await admitted(budget, 100, weight=2) == 1
        with pytest.raises(BudgetTooSmall, match="counts as 9 calls never fits into 8/min 800/day"):
            await budget.admit("v", 9, wait=3600)

    time = FakeTime(NOON)
    time.run(run())


def test_a_vendor_without_limits_is_counted_all_the_same() -> None:
    async def run() -> None:
        budget = Budgets(MemoryLedger(time), {}, time)
        assert await admitted(budget, 1000) == 1000
        await budget.close()
        room = await budget.room("v")
        assert (room.now, room.today, room.used_today) == (None, None, 1000)

    time = FakeTime(NOON)
    time.run(run())


def test_a_429_stops_leases_until_it_is_over_and_halves_the_limit_which_doubles_every_ten_minutes() -> None:
    time = FakeTime(NOON + 15)

    async def run() -> None:
        budget = budgets(time, "40/min")
        await budget.admit("v")
        await budget.shrink("v", 100)
        await budget.shrink("v", 30)  # of a call that was under way: it neither halves again nor ends the pause
        room = await budget.room("v")
        assert (room.now, room.blocked_until, room.next_in) == (0, NOON + 115, pytest.approx(100))
        with pytest.raises(RateLimited) as refused:
            await budget.admit("v")
        assert refused.value.retry_after == pytest.approx(100)
        await time.sleep(100)
        assert await admitted(budget, 100) == 20

        await budget.shrink("v")  # no time is named: the next minute
        assert (await budget.room("v")).blocked_until == NOON + 120
        shrunk_at = time.now()
        limits = []
        for minutes in (9.9, 10.1, 19.9, 20.1):
            await time.sleep(shrunk_at + minutes * 60 - time.now())
            limits.append(await admitted(budget, 100))
            await time.sleep(64)
            assert (await budget.room("v")).used_minute == 0
        assert limits == [10, 20, 20, 40]

    time.run(run())


def test_a_storm_of_429s_leaves_one_call_per_minute() -> None:
    time = FakeTime(NOON)

    async def run() -> None:
        budget = budgets(time, "40/min")
        for _ in range(50):
            await budget.shrink("v", 1)
            await time.sleep(70)
        assert await admitted(budget, 100) == 1
        await time.sleep(62 * 60)
        assert await admitted(budget, 100) == 40

    time.run(run())


def test_a_request_heavier_than_the_shrunk_limit_goes_alone() -> None:
    time = FakeTime(NOON)

    async def run() -> None:
        budget = budgets(time, "8/min")
        await budget.shrink("v", 1)
        await time.sleep(1)
        await budget.admit("v", 8)
        with pytest.raises(RateLimited):
            await budget.admit("v", 1)
        await budget.admit("v", 8, wait=65)

    time.run(run())


def test_a_used_up_allowance_holds_until_midnight_or_for_as_long_as_the_vendor_says() -> None:
    time = FakeTime(NOON)

    async def run() -> None:
        budget = budgets(time, "8/min 800/day")
        await budget.exhaust("v")
        with pytest.raises(QuotaExhausted, match="2027-01-05 00:00 UTC"):
            await budget.admit("v", wait=100)
        room = await budget.room("v")
        assert (room.now, room.today, room.exhausted_until, room.next_in) == (0, 0, MIDNIGHT, pytest.approx(12 * 3600))
        await time.sleep(12 * 3600)
        await budget.admit("v")
        await budget.exhaust("v", datetime.fromtimestamp(time.now(), UTC) + timedelta(days=30))
        await time.sleep(29 * 86_400)
        assert await admitted(budget, 1) == 0
        await time.sleep(86_400)
        assert await admitted(budget, 1) == 1

    time.run(run())


def test_what_is_leased_and_not_spent_is_given_back() -> None:
    time = FakeTime(NOON)

    async def run() -> None:
        ledger = MemoryLedger(time)
        limits = {"v": Limits.parse("6400/min 6400/day")}
        assert limits["v"].lease == 100
        one, other = Budgets(ledger, limits, time), Budgets(ledger, limits, time)
        await one.admit("v")
        assert (await other.room("v")).today == 6400 - 100
        await one.close()
        assert (await other.room("v")).today == 6399
        await one.admit("v")
        await time.sleep(3)  # its bucket is over: nothing of the lease may be spent any more
        await one.admit("v")
        assert (await other.room("v")).today == 6398 - 100
        await one.close()
        room = await other.room("v")
        assert (room.today, room.now, room.used_minute) == (6397, 6397, 3)

    time.run(run())


def test_a_lease_that_is_over_when_it_arrives_is_not_spent() -> None:
    time = FakeTime(NOON)

    class Slow(MemoryLedger):
        def lease(self, *wish: object) -> object:  # type: ignore[override]
            lease = super().lease(*wish)  # type: ignore[arg-type]
            time.advance(2.5)
            return lease

    async def run() -> None:
        ledger = Slow(time)
        budget = Budgets(ledger, {"v": Limits.parse("600/min 600/day")}, time)  # type: ignore[arg-type]
        with pytest.raises(RateLimited, match="5 leases of calls were over when they arrived"):
            await budget.admit("v", wait=100)
        await budget.close()
        assert ledger.room("v", Limits()).used_today == 0

    time.run(run())


def test_room_says_what_is_left_and_when_there_is_more() -> None:
    time = FakeTime(NOON)

    async def run() -> None:
        budget = budgets(time, "10/min 100/day")
        room = await budget.room("v")
        assert (room.now, room.today, room.next_in, room.per_minute) == (10, 100, 0, 10)
        await budget.admit("v", 4)
        await time.sleep(10)
        await budget.admit("v", 3)
        room = await budget.room("v")
        assert (room.now, room.today, room.next_in) == (3, 93, pytest.approx(54))
        assert (room.used_minute, room.used_today) == (7, 7)
        await time.sleep(54)
        assert (await budget.room("v")).now == 7

    time.run(run())
