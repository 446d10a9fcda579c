"""How fast the read API answers: a process of its own, asked over a kept connection by one client, each time anew."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

import httpx
import numpy as np
import pyarrow as pa

from quantmatrix_pipeline.bars.sessions import trading_calendar
from quantmatrix_pipeline.bench.load import fetch, require, store
from quantmatrix_pipeline.bench.measure import Measured, Samples, Series, measured
from quantmatrix_pipeline.bench.workspace import NOW, Workspace, free_port
from quantmatrix_pipeline.errors import QuantMatrixError
from quantmatrix_pipeline.providers.vendors.files.provider import FilesProvider
from quantmatrix_pipeline.snapshots.record import record_history, update_snapshots

REQUESTS = 200  # per repeat: enough for a 99th percentile
BARS_LIMIT = 20.0
SNAPSHOTS_LIMIT = 100.0
HISTORY_LIMIT = 60.0
SESSION_LIMIT = 20.0
HISTORY_SESSIONS = 1258
SESSION = "/api/v1/snapshots"
START_SECONDS = 30.0
ARROW = "application/vnd.apache.arrow.stream"


def run(space: Workspace, repeats: int = 5) -> list[Measured]:
    """Measure one symbol's bars and its recorded history, symbol after symbol, and all snapshots, in milliseconds.

    Asked without a tag of an answer before, so that each answer is read and written anew, as JSON and as Arrow.
    """
    now = datetime.fromisoformat(NOW)
    last = space.dataset.last
    calendar = trading_calendar("XNYS")
    series = Series()
    with space.database() as database:
        fetched = fetch(database.writer, FilesProvider(space.dataset.folder), space.dataset.first, last)
        store(database.writer, fetched, now)
        update_snapshots(database.writer, calendar, last, grace=timedelta(minutes=30), now=now)
        record_history(database.writer, calendar.window(last, HISTORY_SESSIONS)[0].item(), last, now=now)
        space.vacuum(database)
        symbols = space.dataset.symbols
        chosen = [symbols[i % len(symbols)] for i in range(REQUESTS)]
        bars = [f"/api/v1/historical/{symbol}" for symbol in chosen]
        histories = [f"/api/v1/snapshots/{symbol}/history" for symbol in chosen]
        with _served(space, database.url) as client:
            _seconds(client, [*bars[:20], *histories[:20], SESSION])  # connections and code paths, once
            for _ in range(repeats):
                _add_percentiles(series, "bars", _seconds(client, bars))
                for kind, accept in (("JSON", "application/json"), ("Arrow", ARROW)):
                    _add_percentiles(series, f"history {kind}", _seconds(client, histories, accept))
                    _add_percentiles(series, f"session {kind}", _seconds(client, [SESSION] * REQUESTS, accept))
                body = series.time("snapshots", lambda: _get(client, SESSION, accept=ARROW))
                rows = pa.ipc.open_stream(body).read_all().num_rows
                require(rows >= len(symbols), f"{rows} snapshots came")
            recorded = pa.ipc.open_stream(_get(client, histories[0], accept=ARROW)).read_all().num_rows
            require(recorded > HISTORY_SESSIONS // 2, f"{recorded} recorded sessions came")
    snapshots: Samples = series["snapshots"].times(1000)
    rows_of: list[Measured] = [
        measured("one symbol's 1,260 bars as JSON, p50", series["bars p50"], "ms"),
        _tail(series, "bars", "one symbol's 1,260 bars as JSON", BARS_LIMIT),
        measured(
            f"all {len(symbols)} snapshots as Arrow",
            snapshots,
            "ms",
            requirement=f"<= {SNAPSHOTS_LIMIT:.0f} ms on a quiet core",
            met=snapshots.median <= SNAPSHOTS_LIMIT,
        ),
    ]
    for kind in ("JSON", "Arrow"):
        rows_of.append(_tail(series, f"history {kind}", f"one symbol's {recorded:,} sessions as {kind}", HISTORY_LIMIT))
        rows_of.append(_tail(series, f"session {kind}", f"a session of {rows} symbols as {kind}", SESSION_LIMIT))
    return rows_of


def _add_percentiles(series: Series, name: str, seconds: list[float]) -> None:
    times = np.array(seconds) * 1000
    series.add(f"{name} p50", float(np.percentile(times, 50)))
    series.add(f"{name} p99", float(np.percentile(times, 99)))


def _tail(series: Series, name: str, title: str, limit: float) -> Measured:
    """The row of a 99th percentile, beside its median and a limit in milliseconds."""
    tail = series[f"{name} p99"]
    return measured(
        f"{title}, p99",
        tail,
        "ms",
        ratio_to="its p50",
        ratio=tail.over(series[f"{name} p50"]),
        requirement=f"<= {limit:.0f} ms on a quiet core",
        met=tail.median <= limit,
    )


@contextlib.contextmanager
def _served(space: Workspace, url: str) -> Iterator[httpx.Client]:
    """Serve a database in a process of its own while the block runs, and yield a client of it.

    Raises
    ------
    QuantMatrixError
        The server dies, or does not answer in time.
    """
    port = free_port()
    environment = space.environment({"QM_DATABASE_URL": url, "QM_API_PORT": str(port), "QM_LOG_LEVEL": "WARNING"})
    server = subprocess.Popen(
        [sys.executable, "-m", "quantmatrix_pipeline.api"],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30, trust_env=False) as client:
            _wait_until_served(client, server)
            yield client
    finally:
        server.terminate()
        server.wait(timeout=30)


def _wait_until_served(client: httpx.Client, server: subprocess.Popen[bytes]) -> None:
    give_up = time.monotonic() + START_SECONDS
    while time.monotonic() < give_up and server.poll() is None:
        with contextlib.suppress(httpx.TransportError):
            client.get("/health")
            return
        time.sleep(0.1)
    raise QuantMatrixError(f"benchmark: the read API does not answer on {client.base_url} (exit code {server.poll()})")


def _seconds(client: httpx.Client, paths: Sequence[str], accept: str = "application/json") -> list[float]:
    """Return the wall seconds of each answer, its body read."""
    seconds = []
    for path in paths:
        started = time.perf_counter()
        _get(client, path, accept)
        seconds.append(time.perf_counter() - started)
    return seconds


def _get(client: httpx.Client, path: str, accept: str = "application/json") -> bytes:
    answer = client.get(path, headers={"Accept": accept})
    require(answer.status_code == httpx.codes.OK, f"{path} answered {answer.status_code}: {answer.text[:200]}")
    return answer.content
