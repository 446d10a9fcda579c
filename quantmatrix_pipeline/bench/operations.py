"""What it costs to run unattended: loading the code, a sensor's tick, from a tick to the first bar stored, memory."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import partial

import psutil
import psycopg

from quantmatrix_pipeline.bars.sessions import trading_calendar
from quantmatrix_pipeline.bench.dataset import LAST, write_until
from quantmatrix_pipeline.bench.load import require
from quantmatrix_pipeline.bench.measure import Measured, Samples, Series, measured
from quantmatrix_pipeline.bench.workspace import NOW, Database, Workspace, free_port
from quantmatrix_pipeline.dagster_client import Dagster, runs, schedules, sensors, stop_sensor
from quantmatrix_pipeline.errors import DagsterUnreachable
from quantmatrix_pipeline.warehouse import coverage, history, instruments, universe

EVERYONE, SESSIONS, LACKING = 8000, 1260, 800  # every tenth instrument lacks the newest bar
LATE = (datetime.fromisoformat(NOW) + timedelta(hours=5)).isoformat()  # the chain has had its turn
CALENDAR = trading_calendar("XNYS")
LOAD_LIMIT, SENSOR_LIMIT, FIRST_ROW_LIMIT = 4.0, 200.0, 8.0
IDLE_SECONDS = 90.0  # each sensor has had its tick, and what start-up needed has been let go
PATIENCE = 300.0  # for anything that never comes
MEBIBYTE = 1 << 20
STALE = "backfill_stale_coverage"

# Until the code is there: the second that Python takes to let go of it again is nobody's.
LOADS = "from quantmatrix_pipeline.definitions import build_defs; build_defs().get_repository_def()"
ENDS = "; import os; os._exit(0)"
EACH_MINUTE = """\
version: 1
schedules:
  nightly_chain: {job: restore_daily_coverage, cron: "* * * * *", partition: missed}
"""


def run(space: Workspace, repeats: int = 5) -> list[Measured]:
    """Measure the code location by itself, the sensors on a large warehouse, and `qm up` night after night."""
    return [*_loading(space, repeats), *_sensors(space, repeats), *_running(space, repeats)]


def _loading(space: Workspace, repeats: int) -> list[Measured]:
    """Time processes that load the definitions, and such as import Dagster alone, in turns."""
    series = Series()
    with space.database() as database:
        environment = space.environment({"QM_DATABASE_URL": database.url})
        for turn in range(repeats + 1):
            into = series if turn else Series()
            for name, code in (("location", LOADS), ("dagster", "import dagster")):
                command = [sys.executable, "-W", "ignore", "-c", code + ENDS]
                into.time(name, partial(subprocess.run, command, env=environment, check=True))
    location = series["location"]
    return [
        measured(
            "the code location, loaded by a process of its own",
            location,
            "s",
            ratio_to="`import dagster`",
            ratio=location.over(series["dagster"]),
            requirement=f"<= {LOAD_LIMIT:.0f} s",
            met=location.median <= LOAD_LIMIT,
        )
    ]


# --- sensors ----------------------------------------------------------------------------------------------------------


def _sensors(space: Workspace, repeats: int) -> list[Measured]:
    """Time each sensor's tick on a market of which a tenth is stale, some symbols are new and a session was missed."""
    with space.database("market") as database:
        _store_market(database)
        space.vacuum(database)
        extra = {"QM_DATABASE_URL": database.url, "QM_NOW": LATE}
        found = space.python("quantmatrix_pipeline.bench.sensor_ticks", str(repeats), extra=extra)
    rows = []
    for name, seen in sorted(found.items(), key=lambda item: -Samples(tuple(item[1]["seconds"])).median):
        ticks = Samples(tuple(seen["seconds"])).times(1000)
        rows.append(
            measured(
                f"tick of {name}, {EVERYONE:,} x {SESSIONS:,}",
                ticks,
                "ms",
                requirement=f"<= {SENSOR_LIMIT:.0f} ms",
                met=ticks.median <= SENSOR_LIMIT,
            )
        )
    launched = [name for name, seen in found.items() if seen["said"] == "launches"]
    require(
        {STALE, "backfill_new_symbols", "record_missed_sessions"} <= {*launched}, f"only {launched} launch anything"
    )
    return rows


def _store_market(database: Database) -> None:
    """Make a market with something to do for each sensor that looks at all of it."""
    days = CALENDAR.window(LAST, SESSIONS).tolist()
    at = datetime.fromisoformat(NOW)
    ids = sorted(instruments.ensure(database.writer, [f"G{n:04d}" for n in range(EVERYONE)]).values())
    new = sorted(instruments.ensure(database.writer, [f"N{n}" for n in range(8)]).values())
    universe.track(database.writer, LAST, {key: ["watch_list"] for key in [*ids, *new]})
    history.make_partitions(database.writer, days[0], days[-1])
    with psycopg.connect(database.url) as connection:
        connection.execute(
            "INSERT INTO price_data SELECT i, '1d', d, NULL, 1, 1, 1, 1, 1, 1, true, false, false, 1, 1, %s"
            " FROM unnest(%s::integer[]) WITH ORDINALITY AS k(i, n) CROSS JOIN unnest(%s::date[]) AS d"
            " WHERE n > %s OR d <> %s",
            (at, ids, days, LACKING, days[-1]),
        )
        connection.execute(
            "INSERT INTO market_analysis_history (instrument_id, session, as_of, close) SELECT i, d, %s, 1"
            " FROM unnest(%s::integer[]) AS i CROSS JOIN unnest(%s::date[]) AS d",
            (at, ids, [*days[-20:-5], *days[-4:]]),
        )
    coverage.save(
        database.writer,
        session=days[-2], status="ok", tracked_count=EVERYONE, expected=EVERYONE, fresh=EVERYONE, report={}, now=at,
    )  # fmt: skip


# --- the running system -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Up:
    """A running `qm up` and its Dagster."""

    process: subprocess.Popen[bytes]
    dagster: Dagster

    def memory(self) -> dict[str, float]:
        """Return the proportional memory in MiB: of each of the processes by its role, shared pages counted once."""
        family = psutil.Process(self.process.pid)
        sizes: dict[str, float] = {"qm up": _memory(family)}
        for process in family.children(recursive=True):
            command = " ".join(process.cmdline())
            role = next((role for mark, role in ROLES.items() if mark in command), "others")
            sizes[role] = sizes.get(role, 0.0) + _memory(process)
        return sizes


ROLES = {
    "dagster_webserver": "the UI",
    "dagster._daemon": "the daemon",
    "dagster code-server": "the code server's guard",
    "dagster api grpc": "the code",
    "quantmatrix_pipeline.api": "the read API",
}


def _memory(process: psutil.Process) -> float:
    used = process.memory_full_info()
    return float(getattr(used, "pss", used.uss)) / MEBIBYTE  # macOS does not know which pages are shared


def _running(space: Workspace, repeats: int) -> list[Measured]:
    """Leave a `qm up` alone on a sound warehouse; then let its folder have another session, and another."""
    series, idle = Series(), Series()
    start, *nights = CALENDAR.window(space.dataset.last, repeats + 1).tolist()
    schedule, folder = space.folder / "each_minute.yaml", space.folder / "growing"
    schedule.write_text(EACH_MINUTE)
    write_until(space.dataset, folder, start)
    with space.database() as database:
        extra = {
            "QM_DATABASE_URL": database.url,
            "QM_FILES_DIR": str(folder),
            "QM_SCHEDULES_FILE": str(schedule),
        }
        space.qm("run", "--session", str(start), extra=extra)
        with _up(space, extra) as up:
            # The runs are of today and the sessions are not: no sensor could tell that a chain is to come first.
            stop_sensor(up.dagster, STALE)
            time.sleep(IDLE_SECONDS)
            for role, mebibytes in up.memory().items():
                idle.add(role, mebibytes)
            for seen in sensors(up.dagster, ticks=20).values():
                for tick in seen.ticks:
                    if tick.ended_at is not None:
                        series.add("daemon", (tick.ended_at - tick.at).total_seconds() * 1000)
            for night in nights:
                write_until(space.dataset, folder, night)
                _time_night(series, up.dagster, database, night)
    total = Samples((sum(idle[role].median for role in (*ROLES.values(), "qm up")),))
    size = f"{len(space.dataset.symbols)} symbols"
    first = series["first row"]
    return [
        measured(
            f"from a schedule's tick to the first bar stored, {size}",
            first,
            "s",
            requirement=f"<= {FIRST_ROW_LIMIT:.0f} s",
            met=first.median <= FIRST_ROW_LIMIT,
        ),
        measured(
            "of it: until the run's process has loaded the code",
            series["started"],
            "s",
            ratio_to="the whole",
            ratio=series["started"].over(first),
        ),
        measured(f"a sensor's tick as the running daemon notes it, {size}", series["daemon"], "ms"),
        measured("memory of an idle `qm up`, without PostgreSQL", total, "MiB"),
        *(measured(f"of it: {role}", idle[role], "MiB") for role in ("qm up", *ROLES.values())),
    ]


def _time_night(series: Series, dagster: Dagster, database: Database, night: date) -> None:
    """Wait for the first bar of a night to be stored, and note how long after the tick of its run that was."""
    question = "SELECT EXISTS (SELECT FROM price_data_1d WHERE session = %s)"
    until = time.monotonic() + PATIENCE
    with psycopg.connect(database.url, autocommit=True) as connection:
        while connection.execute(question, (night,)).fetchone() != (True,):
            require(time.monotonic() < until, f"no bar of {night} came")
            time.sleep(0.02)
        stored = datetime.now(UTC)
    tick = next(t for t in schedules(dagster, ticks=5)["nightly_chain"].ticks if t.run_ids)
    while not (done := [r for r in runs(dagster, limit=5) if r.run_id in tick.run_ids and r.ended_at]):
        require(time.monotonic() < until, f"the run of {night} does not end")
        time.sleep(0.5)
    require(done[0].status == "SUCCESS" and done[0].started_at is not None, f"the run of {night} failed")
    assert done[0].started_at is not None
    series.add("first row", (stored - tick.at).total_seconds())
    series.add("started", (done[0].started_at - tick.at).total_seconds())


@contextlib.contextmanager
def _up(space: Workspace, extra: Mapping[str, str]) -> Iterator[_Up]:
    """Run `qm up` while the block runs, from the moment in which its Dagster knows the schedules."""
    port = free_port()
    environment = space.environment({**extra, "QM_UI_PORT": str(port), "QM_API_PORT": str(free_port())})
    process = subprocess.Popen(
        [sys.executable, "-c", "from quantmatrix_pipeline.cli.main import run; run()", "up"],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    dagster, until = Dagster(f"http://127.0.0.1:{port}"), time.monotonic() + PATIENCE
    try:
        while True:
            require(process.poll() is None and time.monotonic() < until, "`qm up` does not come up")
            with contextlib.suppress(DagsterUnreachable):
                if schedules(dagster, ticks=0):
                    break
            time.sleep(0.5)
        yield _Up(process, dagster)
    finally:
        process.terminate()
        process.wait(timeout=60)
