"""The backfill queue: ask for what is lacking; claim a few jobs, fetch them like a night, let live fetches go first."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from quantmatrix_pipeline.bars.sessions import TradingCalendar
from quantmatrix_pipeline.errors import ChainBusy, QuantMatrixError, WarehouseError
from quantmatrix_pipeline.ingest.plan import Lacking, plan_daily
from quantmatrix_pipeline.ingest.report import IngestReport
from quantmatrix_pipeline.warehouse import backfill as queue
from quantmatrix_pipeline.warehouse import universe
from quantmatrix_pipeline.warehouse.backfill import TIERS, Job
from quantmatrix_pipeline.warehouse.engine import Warehouse
from quantmatrix_pipeline.warehouse.universe import Tracked

LEASE = timedelta(minutes=5)
LIVE_FIRST = "a live fetch comes first"

# Fetches the stretches of some instruments: instrument_id -> first and last session.
Fetch = Callable[[Mapping[int, tuple[date, date]], datetime], IngestReport]


@dataclass(frozen=True, slots=True)
class Pace:
    """How hard the queue is worked.

    `at_once` is tier -> jobs that may run at any time in all processes, `per_second` how many are claimed a second.
    """

    at_once: Mapping[str, int]
    per_second: float


@dataclass(slots=True)
class Worked:
    """What a worker did; `stopped` says why it left jobs behind, None where none could be taken."""

    done: int = 0
    failed: int = 0
    inserted: int = 0
    batches: int = 0
    stopped: str | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """What a person asked for: what is lacking, and how many jobs were made; the others joined jobs that there were."""

    lacking: Lacking
    made: int


def ask(
    warehouse: Warehouse,
    calendar: TradingCalendar,
    instruments: Sequence[Tracked],
    first: date,
    last: date,
    *,
    now: datetime,
    tier: str | None = None,
    priority: int = queue.ASKED_BY_A_PERSON,
    dry_run: bool = False,
) -> Asked:
    """Queue what instruments lack of [first, last], both ends inclusive, on a person's word.

    What no vendor had is asked for again. A dry run only says what is lacking.

    Parameters
    ----------
    tier
        T0, T1 or T2, within whose limits it is fetched; None: that of each instrument.
    priority
        Within the tier: the greater, the sooner.
    """
    lacking = Lacking.of(plan_daily(warehouse, [], calendar, instruments, first, last))
    if dry_run:
        return Asked(lacking, 0)
    ids = {t.symbol: t.instrument_id for t in instruments}
    wanted = [(ids[r.symbol], r.first, r.last) for r in lacking.most]
    made = queue.enqueue(warehouse, wanted, origin="request", priority=priority, tier=tier, now=now)
    return Asked(lacking, made)


def work(
    warehouse: Warehouse,
    fetch: Fetch,
    *,
    worker: str,
    pace: Pace,
    clock: Callable[[], datetime],
    wait: Callable[[float], None],
    hold: Callable[[], str | None] = lambda: None,
    most_seconds: float = 1800,
    lease: timedelta = LEASE,
) -> Worked:
    """Work jobs until none can be taken, `most_seconds` have passed, a live fetch wants to go first, or `hold` says why
    to stop.

    Parameters
    ----------
    worker
        A name that no other process has.
    clock, wait
        Tell the moment, and pass so many seconds.
    hold
        Asked before each batch: why no more should be fetched now, such as that the rest of a budget is tonight's.
    lease
        How long a job is kept from others without a sign of life; it is prolonged while a batch runs.
    """
    done = Worked()
    began = clock()
    claimed = 0
    while True:
        now = clock()
        if (now - began).total_seconds() >= most_seconds:
            done.stopped = f"{most_seconds:.0f} s have passed"
            return done
        if warehouse.somebody_is_first("bars_1d"):
            done.stopped = LIVE_FIRST
            return done
        if why := hold():
            done.stopped = why
            return done
        jobs = [
            job
            for tier in TIERS
            for job in queue.claim(warehouse, worker, tier, pace.at_once[tier], pace.at_once[tier], now, lease)
        ]
        if not jobs:
            return done
        claimed += len(jobs)
        if not _work_batch(warehouse, fetch, worker, jobs, done, clock, lease):
            return done
        ahead = claimed / pace.per_second - (clock() - began).total_seconds()
        if ahead > 0:
            wait(ahead)


def _work_batch(
    warehouse: Warehouse,
    fetch: Fetch,
    worker: str,
    jobs: Sequence[Job],
    done: Worked,
    clock: Callable[[], datetime],
    lease: timedelta,
) -> bool:
    """Fetch one batch and settle its jobs; False where the worker should stop."""
    done.batches += 1
    tracked = {t.instrument_id for t in universe.tracked(warehouse)}
    for job in [j for j in jobs if j.instrument_id not in tracked]:
        done.failed += queue.fail(warehouse, worker, job, "it is not tracked any more", clock(), for_good=True)
    jobs = [j for j in jobs if j.instrument_id in tracked]
    if not jobs:
        return True
    stretches: dict[int, tuple[date, date]] = {}
    for job in jobs:
        first, last = stretches.get(job.instrument_id, (job.first, job.last))
        stretches[job.instrument_id] = min(first, job.first), max(last, job.last)
    try:
        with _signs_of_life(warehouse, worker, jobs, clock, lease):
            report = fetch(stretches, clock())
    except ChainBusy:
        for job in jobs:
            queue.give_back(warehouse, worker, job)
        done.stopped = LIVE_FIRST
        return False
    except WarehouseError:
        raise  # nothing can be written; the leases run out
    except QuantMatrixError as error:
        for job in jobs:
            done.failed += queue.fail(warehouse, worker, job, str(error), clock())
        return True
    done.inserted += report.inserted
    for job in jobs:
        if why := report.failures.get(job.symbol):
            done.failed += queue.fail(warehouse, worker, job, why, clock())
        else:
            done.done += queue.finish(warehouse, worker, job, clock())
    return True


@contextlib.contextmanager
def _signs_of_life(
    warehouse: Warehouse, worker: str, jobs: Sequence[Job], clock: Callable[[], datetime], lease: timedelta
) -> Iterator[None]:
    """Prolong the leases three times per lease while the block runs."""
    over = threading.Event()

    def beat() -> None:
        while not over.wait(lease.total_seconds() / 3):
            # Who can't be reached now may be in a moment; a lease that does run out costs a second fetch, no bar.
            with contextlib.suppress(WarehouseError):
                queue.prolong(warehouse, worker, jobs, clock() + lease)

    thread = threading.Thread(target=beat, name="backfill leases", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
