"""The backfill queue in a real PostgreSQL: whatever dies in between, each job ends exactly once, done or failed."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quantmatrix_pipeline.errors import ChainBusy, VendorUnavailable
from quantmatrix_pipeline.ingest.backfill import LIVE_FIRST, Pace, work
from quantmatrix_pipeline.ingest.report import IngestReport
from quantmatrix_pipeline.warehouse import backfill as queue
from quantmatrix_pipeline.warehouse import counters, instruments, universe
from quantmatrix_pipeline.warehouse.backfill import MAX_ATTEMPTS, Job
from quantmatrix_pipeline.warehouse.engine import Warehouse

NOW = datetime(2021, 12, 31, 22, tzinfo=UTC)
FIRST, LAST = date(2021, 12, 1), date(2021, 12, 31)
LEASE = timedelta(minutes=5)
SYMBOLS = [f"S{n:02}" for n in range(12)]


@pytest.fixture
def warehouse(database_url: str) -> Iterator[Warehouse]:
    warehouse = Warehouse(database_url)
    ids = instruments.ensure(warehouse, SYMBOLS)
    universe.track(warehouse, LAST, {i: ["watch_list"] for i in ids.values()})
    for n, i in enumerate(sorted(ids.values())):
        warehouse.execute(
            "UPDATE symbol_universe SET tier = :tier WHERE instrument_id = :id", {"tier": f"T{n % 3}", "id": i}
        )
    yield warehouse
    warehouse.close()


def fill(warehouse: Warehouse, count: int, now: datetime = NOW) -> list[int]:
    ids = sorted(instruments.ids(warehouse, SYMBOLS[:count]).values())
    queue.enqueue(warehouse, [(i, FIRST, LAST) for i in ids], origin="gaps", priority=0, now=now)
    return ids


def states(warehouse: Warehouse) -> Counter[str]:
    return Counter(row.state for row in warehouse.rows("SELECT state FROM backfill_jobs"))


class Clock:
    """A clock that only moves when somebody waits."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now

    def wait(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


def served(stretches: object, now: datetime) -> IngestReport:
    return IngestReport("simulated", FIRST, LAST)


STEP = st.one_of(
    st.tuples(st.just("claim"), st.integers(0, 1), st.sampled_from(queue.TIERS)),
    st.tuples(st.just("finish"), st.integers(0, 1), st.integers(0, 9)),
    st.tuples(st.just("fail"), st.integers(0, 1), st.integers(0, 9)),
    st.tuples(st.just("give back"), st.integers(0, 1), st.integers(0, 9)),
    st.tuples(st.just("kill"), st.integers(0, 1), st.just(0)),
    st.tuples(st.just("pass"), st.just(0), st.sampled_from([30, 120, 301, 3601])),
    st.tuples(st.just("enqueue"), st.just(0), st.integers(1, 6)),
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(STEP, max_size=40))
def test_whatever_two_workers_do_each_job_ends_once(warehouse: Warehouse, steps: list[tuple[str, int, object]]) -> None:
    """A killed worker comes back with what it held before, as a paused process does: that must change nothing."""
    warehouse.execute("TRUNCATE backfill_jobs, backfill_counts")
    now = NOW
    fill(warehouse, 6, now)
    held: list[list[Job]] = [[], []]
    ended: Counter[int] = Counter()
    for step, who, what in steps:
        worker = f"worker {who}"
        if step == "claim":
            taken = queue.claim(warehouse, worker, str(what), 2, 2, now, LEASE)
            held[who] += taken
            running = warehouse.scalar(
                "SELECT count(*) FROM backfill_jobs WHERE state='running' AND leased_until >= :now AND tier=:tier",
                now=now,
                tier=what,
            )
            assert running <= 2
        elif step == "pass":
            now += timedelta(seconds=int(str(what)))
        elif step == "enqueue":
            fill(warehouse, int(str(what)), now)
        elif step == "kill":
            held[who].clear()
        elif held[who]:
            job = held[who][int(str(what)) % len(held[who])]  # it stays: a second time, it must be refused
            if step == "finish":
                ended[job.job_id] += queue.finish(warehouse, worker, job, now)
            elif step == "fail":
                settled = queue.fail(warehouse, worker, job, "no", now)
                ended[job.job_id] += settled and job.attempt == MAX_ATTEMPTS
            else:
                queue.give_back(warehouse, worker, job)
    # From whatever state that is, one worker that lives brings all to an end.
    for _ in range(20):
        now += timedelta(hours=2)
        for tier in queue.TIERS:
            while taken := queue.claim(warehouse, "last", tier, 5, 5, now, LEASE):
                for job in taken:
                    ended[job.job_id] += queue.finish(warehouse, "last", job, now)
    rows = warehouse.rows("SELECT job_id, state, attempts, reason FROM backfill_jobs")
    assert {row.state for row in rows} <= {"done", "failed"}
    for row in rows:
        assert row.attempts <= MAX_ATTEMPTS
        # Failed without a word of its workers: all of them died over it.
        assert ended[row.job_id] == (0 if row.reason == queue.NO_WORKER else 1)
    counted = warehouse.rows("""
        SELECT tier, unnest(ARRAY['enqueued', state]) AS event, count(*) AS jobs FROM backfill_jobs GROUP BY 1, 2
    """)
    assert counters.backfill_counts(warehouse) == {(row.tier, row.event): row.jobs for row in counted}


def test_two_workers_at_once_share_the_queue_and_fetch_nothing_twice(warehouse: Warehouse) -> None:
    ids = fill(warehouse, 12)
    fetched: list[int] = []
    start = threading.Barrier(2)

    def run(name: str) -> None:
        def fetch(stretches: dict[int, tuple[date, date]], now: datetime) -> IngestReport:
            fetched.extend(stretches)
            return served(stretches, now)

        start.wait()
        work(
            warehouse, fetch, worker=name, pace=Pace(dict.fromkeys(queue.TIERS, 2), 1e9), clock=lambda: NOW, wait=print
        )

    workers = [threading.Thread(target=run, args=(f"w{n}",)) for n in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    # A worker that finds all places of the tiers taken goes home; whoever works last leaves nothing.
    work(warehouse, served, worker="w3", pace=Pace(dict.fromkeys(queue.TIERS, 9), 1e9), clock=lambda: NOW, wait=print)
    assert states(warehouse) == {"done": 12}
    assert len(fetched) == len(set(fetched))
    assert set(fetched) <= set(ids)


def test_a_failure_waits_longer_each_time_and_fails_for_good_with_its_reason(warehouse: Warehouse) -> None:
    fill(warehouse, 1)
    clock = Clock()

    def broken(stretches: object, now: datetime) -> IngestReport:
        raise VendorUnavailable("simulated", "does not answer")

    waits = []
    for _ in range(MAX_ATTEMPTS):
        done = work(warehouse, broken, worker="w", pace=PACE, clock=clock, wait=clock.wait)
        assert done.failed == 1
        row = warehouse.rows("SELECT not_before, state, reason FROM backfill_jobs")[0]
        waits.append((row.not_before - clock.now).total_seconds())
        clock.now = row.not_before
    assert waits[:-1] == [60, 120, 240, 480]
    assert (row.state, row.reason) == ("failed", "simulated: does not answer")
    # The same gap is left alone for a day; who asks for it by hand gets it at once.
    assert fill(warehouse, 1, clock.now)
    assert states(warehouse) == {"failed": 1}
    ids = sorted(instruments.ids(warehouse, SYMBOLS[:1]).values())
    assert queue.enqueue(warehouse, [(ids[0], FIRST, LAST)], origin="request", priority=10, now=clock.now) == 1
    assert fill(warehouse, 1, clock.now + timedelta(days=2))
    assert states(warehouse) == {"failed": 1, "queued": 1}, "it joins the one that waits"


PACE = Pace(dict.fromkeys(queue.TIERS, 4), 1e9)


def test_what_waits_takes_more_sessions_on_and_what_runs_is_left_alone(warehouse: Warehouse) -> None:
    (i,) = fill(warehouse, 1)
    assert queue.enqueue(warehouse, [(i, date(2021, 6, 1), FIRST)], origin="request", priority=10, now=NOW) == 0
    row = warehouse.rows("SELECT first_session, last_session, priority FROM backfill_jobs")[0]
    assert (row.first_session, row.last_session, row.priority) == (date(2021, 6, 1), LAST, 10)
    (job,) = queue.claim(warehouse, "w", "T0", 1, 1, NOW, LEASE)
    assert fill(warehouse, 1)
    assert states(warehouse) == {"running": 1}
    assert queue.enqueue(warehouse, [(i, date(2020, 1, 2), LAST)], origin="request", priority=10, now=NOW) == 1
    assert queue.finish(warehouse, "w", job, NOW)
    assert states(warehouse) == {"done": 1, "queued": 1}


def test_a_tier_that_was_asked_for_goes_before_the_instruments_own(warehouse: Warehouse) -> None:
    first, second, third = sorted(instruments.ids(warehouse, SYMBOLS[:3]).values())  # of the tiers T0, T1, T2
    fill(warehouse, 2)

    def ask(instrument_id: int, tier: str | None) -> int:
        wanted = [(instrument_id, FIRST, LAST)]
        return queue.enqueue(warehouse, wanted, origin="request", priority=10, tier=tier, now=NOW)

    assert [ask(first, "T2"), ask(second, "T0"), ask(third, "T1")] == [0, 0, 1]
    rows = warehouse.rows("SELECT instrument_id, tier FROM backfill_jobs ORDER BY 1")
    assert [tuple(row) for row in rows] == [(first, "T0"), (second, "T0"), (third, "T1")], "no job becomes less urgent"
    assert ask(third, None) == 0
    assert warehouse.scalar("SELECT tier FROM backfill_jobs WHERE instrument_id = :i", i=third) == "T1"


def test_the_dispatch_rate_and_the_tiers_limits_hold(warehouse: Warehouse) -> None:
    fill(warehouse, 12)
    clock = Clock()
    batches: list[tuple[float, int]] = []

    def fetch(stretches: dict[int, tuple[date, date]], now: datetime) -> IngestReport:
        batches.append(((now - NOW).total_seconds(), len(stretches)))
        return served(stretches, now)

    pace = Pace({"T0": 2, "T1": 1, "T2": 0}, 0.5)
    done = work(warehouse, fetch, worker="w", pace=pace, clock=clock, wait=clock.wait)
    assert done.done == 8
    assert batches == [(0, 3), (6, 3), (12, 1), (14, 1)]
    assert Counter(row.tier for row in warehouse.rows("SELECT tier FROM backfill_jobs WHERE state = 'queued'")) == {
        "T2": 4
    }


def test_a_live_fetch_comes_first_and_nothing_is_lost_over_it(warehouse: Warehouse) -> None:
    fill(warehouse, 3)
    with warehouse.first_in_line("bars_1d"), warehouse.first_in_line("bars_1d"):
        assert work(warehouse, served, worker="w", pace=PACE, clock=Clock(), wait=print).stopped == LIVE_FIRST
    assert states(warehouse) == {"queued": 3}

    def busy(stretches: object, now: datetime) -> IngestReport:
        raise ChainBusy("another run is writing")

    assert work(warehouse, busy, worker="w", pace=PACE, clock=Clock(), wait=print).stopped == LIVE_FIRST
    assert [row.attempts for row in warehouse.rows("SELECT attempts FROM backfill_jobs")] == [0, 0, 0]
    why = "the rest is tonight's"
    assert work(warehouse, served, worker="w", pace=PACE, clock=Clock(), wait=print, hold=lambda: why).stopped == why
    assert work(warehouse, served, worker="w", pace=PACE, clock=Clock(), wait=print).done == 3


def test_the_lease_of_a_long_fetch_is_prolonged(warehouse: Warehouse) -> None:
    fill(warehouse, 1)
    clock = Clock()
    prolonged = threading.Event()

    def slow(stretches: object, now: datetime) -> IngestReport:
        clock.now += timedelta(seconds=1)
        for _ in range(200):
            until = warehouse.scalar("SELECT leased_until FROM backfill_jobs")
            if until > NOW + timedelta(seconds=0.5):
                prolonged.set()
                break
            prolonged.wait(0.05)
        assert not queue.claim(warehouse, "thief", "T0", 9, 9, NOW + timedelta(seconds=1.2), LEASE)
        return served(stretches, now)

    done = work(warehouse, slow, worker="w", pace=PACE, clock=clock, wait=print, lease=timedelta(seconds=0.5))
    assert prolonged.is_set()
    assert done.done == 1


def test_who_is_not_tracked_any_more_fails_for_good(warehouse: Warehouse) -> None:
    fill(warehouse, 1)
    warehouse.execute("UPDATE symbol_universe SET active = false")
    assert work(warehouse, served, worker="w", pace=PACE, clock=Clock(), wait=print).failed == 1
    assert warehouse.scalar("SELECT reason FROM backfill_jobs WHERE state = 'failed'") == "it is not tracked any more"
