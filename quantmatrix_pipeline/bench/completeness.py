"""What it costs to know what is missing and to fetch it: the gap scan, a backlog after an outage, a storm at night."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import date, datetime, timedelta

import psycopg

from quantmatrix_pipeline.bars.sessions import trading_calendar
from quantmatrix_pipeline.bench.dataset import LAST
from quantmatrix_pipeline.bench.load import require
from quantmatrix_pipeline.bench.measure import Measured, Samples, Series, measured
from quantmatrix_pipeline.bench.workspace import NOW, Database, Workspace
from quantmatrix_pipeline.coverage.gaps import scan
from quantmatrix_pipeline.ingest.backfill import Pace, work
from quantmatrix_pipeline.ingest.report import IngestReport
from quantmatrix_pipeline.job_names import WORK_QUEUE
from quantmatrix_pipeline.providers.contract import Capability
from quantmatrix_pipeline.providers.routing.budget_memory import MemoryLedger
from quantmatrix_pipeline.providers.routing.circuit import Circuit
from quantmatrix_pipeline.providers.routing.health import Health
from quantmatrix_pipeline.providers.routing.limits import Limits
from quantmatrix_pipeline.providers.routing.overview import spent_for_today, view
from quantmatrix_pipeline.settings import Settings
from quantmatrix_pipeline.warehouse import backfill as queue
from quantmatrix_pipeline.warehouse import instruments, universe
from quantmatrix_pipeline.warehouse.backfill import TIERS

EVERYONE, SESSIONS, LACKING = 8000, 1260, 800  # every tenth instrument lacks a week
OUTAGE = 5  # sessions
VENDORS = {
    "yahoo": 2000,
    "twelve_data": 400,
    "fmp": 120,
}  # vendor -> symbols that its preset budget serves each night with calls to spare
OLD = 200  # sessions that a storm fetches
DEPTH = 300  # sessions that a night looks back: a storm's work is not its own
CALENDAR = trading_calendar("XNYS")
LEARNED = datetime.fromisoformat(NOW)
DAY = timedelta(days=1)


def run(space: Workspace, repeats: int) -> list[Measured]:
    """Measure the three."""
    return [_gap_scan(space, repeats), *_outages(space), *_storm(space, repeats)]


def _gap_scan(space: Workspace, repeats: int) -> Measured:
    """Time scans of a market of which a tenth lacks bars."""
    series, days = Series(), CALENDAR.window(LAST, SESSIONS).tolist()
    with space.database("scanned") as database:
        ids = _tracked(database, EVERYONE)
        with psycopg.connect(database.url) as connection:
            connection.execute(
                "INSERT INTO price_data SELECT i, '1d', d, NULL, 1, 1, 1, 1, 1, 1, true, false, false, 1, 1, %s"
                " FROM unnest(%s::integer[]) WITH ORDINALITY AS k(i, n) CROSS JOIN unnest(%s::date[]) AS d"
                " WHERE n > %s OR d <> ALL (%s::date[])",
                (LEARNED, ids, days, LACKING, days[500:505]),
            )
        space.vacuum(database)
        for turn in range(repeats + 1):
            into = series if turn else Series()
            found = into.time("scan", lambda: scan(database.writer, CALENDAR, LAST, depth=SESSIONS, now=LEARNED))
            missing = sum(sessions for _, sessions in found.by_reason.values())
            require(missing == 5 * LACKING, f"the scan found {missing} sessions missing")
    seconds = series["scan"]
    return measured(
        f"gap scan of {EVERYONE:,} x {SESSIONS:,}, a tenth of them lacking a week",
        seconds,
        "s",
        requirement="<= 3 s",
        met=seconds.median <= 3,
    )


def _tracked(database: Database, count: int) -> list[int]:
    ids = sorted(instruments.ensure(database.writer, [f"G{n:04d}" for n in range(count)]).values())
    universe.track(database.writer, LAST, {key: ["watch_list"] for key in ids})
    return ids


# --- an outage --------------------------------------------------------------------------------------------------------


class _Days:
    """A clock that moves when somebody waits; each day at the same time tonight's chain takes its calls first."""

    def __init__(self, chain: Callable[[], None]) -> None:
        self.at = LEARNED
        self.chain = chain
        self._next = LEARNED + DAY

    def __call__(self) -> datetime:
        return self.at

    def now(self) -> float:
        return self.at.timestamp()

    def monotonic(self) -> float:
        return self.now()

    async def sleep(self, seconds: float) -> None:
        self.wait(seconds)

    def wait(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)
        while self.at >= self._next:
            self._next += DAY
            self.chain()


def _outages(space: Workspace) -> list[Measured]:
    """Simulate, over the real queue, how long each vendor's preset budget takes for what an outage left behind."""
    rows = []
    for vendor, symbols in VENDORS.items():
        with space.database("outage") as database:
            days = _days_until_empty(database, vendor, symbols)
        rows.append(
            measured(
                f"backlog of {OUTAGE} sessions of {symbols:,} symbols, budget of {vendor}, simulated",
                Samples((days,)),
                "days",
                requirement=f"< {10 * OUTAGE}",
                met=days < 10 * OUTAGE,
            )
        )
    return rows


def _days_until_empty(database: Database, vendor: str, symbols: int) -> float:
    settings = Settings()
    limits = Limits.parse(getattr(settings, f"{vendor}_budget"))
    whole_day = Limits(per_day=limits.per_day)
    days = _Days(lambda: require(ledger.lease(vendor, whole_day, symbols, symbols).granted > 0, "no calls for tonight"))
    ledger = MemoryLedger(days)
    ids = _tracked(database, symbols)
    days.chain()  # tonight's comes first
    first, last = CALENDAR.window(LAST, OUTAGE)[[0, -1]].tolist()
    queue.enqueue(database.writer, [(i, first, last) for i in ids], origin="gaps", priority=0, now=LEARNED)

    def fetch(stretches: Mapping[int, tuple[date, date]], now: datetime) -> IngestReport:
        for _ in stretches:  # a call each, which has all of its sessions
            while not (lease := ledger.lease(vendor, limits, 1, 1)).granted:
                days.wait(lease.retry_in)
        return IngestReport(vendor, first, last)

    def hold() -> str | None:
        circuits = {Capability.DAILY_BARS: Circuit()}
        seen = view(vendor, None, circuits, Health(), None, limits, ledger.room(vendor, limits), days.now())
        return spent_for_today([seen], (Capability.DAILY_BARS,), settings.backfill_budget_share)

    each = (
        settings.backfill_max_concurrency_t0,
        settings.backfill_max_concurrency_t1,
        settings.backfill_max_concurrency_t2,
    )
    pace = Pace(dict(zip(TIERS, each, strict=True)), settings.backfill_dispatch_rate_per_sec)
    done = 0
    while done < symbols:
        worked = work(
            database.writer, fetch, worker="bench", pace=pace, clock=days, wait=days.wait, hold=hold,
            most_seconds=settings.backfill_run_seconds,
        )  # fmt: skip
        done += worked.done
        require(not worked.failed and days.at < LEARNED + 1000 * DAY, f"the backlog does not get less: {worked}")
        if worked.stopped and done < symbols:
            days.wait(60 * settings.stale_cooldown_minutes)
    return (days.at - LEARNED) / DAY


# --- a storm ----------------------------------------------------------------------------------------------------------


def _storm(space: Workspace, repeats: int) -> list[Measured]:
    """Time nights alone and nights while another process works off a long queue, in turns."""
    series = Series()
    start, *nights = CALENDAR.window(space.dataset.last, 2 * repeats + 1).tolist()
    with space.database("storm") as database:
        extra = {"QM_DATABASE_URL": database.url}
        space.qm("run", "--session", str(start), extra=extra)
        ids = sorted(instruments.ids(database.owner, space.dataset.symbols).values())
        old = CALENDAR.sessions_in(space.dataset.first, space.dataset.last)[:OLD].tolist()
        for turn, night in enumerate(nights):
            stormy = turn % 2 == 1
            if stormy:
                database.owner.execute("DELETE FROM price_data WHERE session <= :last", {"last": old[-1]})
                queue.enqueue(
                    database.writer, [(i, old[0], old[-1]) for i in ids], origin="request", priority=10, now=LEARNED
                )
            space.settle()
            with _worker(space, database, extra) if stormy else contextlib.nullcontext():
                began = time.perf_counter()
                report = space.qm_json(
                    "run", "--session", str(night), extra={**extra, "QM_HISTORY_SESSIONS": str(DEPTH)}
                )
                series.add("storm" if stormy else "alone", time.perf_counter() - began)
                left = sum(d.jobs for d in queue.depth(database.writer) if d.state != "done")
            require(report["facts"]["daily_bars"]["inserted"] >= len(ids), f"the night of {night} stored too little")
            require(not stormy or left > 0, "the storm was over before the night")
            database.owner.execute("DELETE FROM backfill_jobs")
    alone, storm = series["alone"], series["storm"]
    return [
        measured(f"a night of {len(ids)} symbols, nothing else under way", alone, "s"),
        measured(
            f"the same while a queue of {len(ids)} x {OLD} bars is worked off",
            storm,
            "s",
            ratio_to="the night alone",
            ratio=(ratio := storm.over(alone)),
            requirement="<= 1.2 of it",
            met=ratio.median <= 1.2,
        ),
    ]


@contextlib.contextmanager
def _worker(space: Workspace, database: Database, extra: Mapping[str, str]) -> Iterator[None]:
    """A process that works the queue, from its first batch until the block ends."""
    worker = subprocess.Popen(  # noqa: S603 - our own command line
        [sys.executable, "-c", f"from {__name__} import work_queue; work_queue()"],
        env=space.environment(extra),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        until = time.monotonic() + 300
        while not any(depth.state == "done" for depth in queue.depth(database.writer)):
            require(worker.poll() is None and time.monotonic() < until, "the storm did not begin")
            time.sleep(0.05)
        yield
    finally:
        worker.kill()
        worker.wait()


def work_queue() -> None:
    """Run the queue's job again and again, as the sensor has it run, until killed."""
    from dagster import DagsterInstance

    from quantmatrix_pipeline.definitions import build_defs

    with DagsterInstance.ephemeral() as instance:
        while True:
            build_defs().resolve_job_def(WORK_QUEUE).execute_in_process(instance=instance)
            time.sleep(1)
