"""How fast the read API answers: a process of its own, asked over a kept connection by one client."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import datetime, timedelta

import httpx
import numpy as np
import pyarrow as pa

from quantmatrix_pipeline.bars.sessions import trading_calendar
from quantmatrix_pipeline.bench.load import fetch, require, store
from quantmatrix_pipeline.bench.measure import Measured, Samples, Series, measured
from quantmatrix_pipeline.bench.workspace import NOW, Workspace
from quantmatrix_pipeline.errors import QuantMatrixError
from quantmatrix_pipeline.providers.vendors.files.provider import FilesProvider
from quantmatrix_pipeline.snapshots.record import update_snapshots

REQUESTS = 200  # per repeat: enough for a 99th percentile
BARS_LIMIT = 20.0
SNAPSHOTS_LIMIT = 100.0
START_SECONDS = 30.0
ARROW = "application/vnd.apache.arrow.stream"


def run(space: Workspace, repeats: int = 5) -> list[Measured]:
    """Measure one symbol's bars as JSON, symbol after symbol, and all snapshots as Arrow, in milliseconds."""
    now = datetime.fromisoformat(NOW)
    series = Series()
    with space.database() as database:
        fetched = fetch(database.writer, FilesProvider(space.dataset.folder), space.dataset.first, space.dataset.last)
        store(database.writer, fetched, now)
        update_snapshots(
            database.writer, trading_calendar("XNYS"), space.dataset.last, grace=timedelta(minutes=30), now=now
        )
        space.vacuum(database)
        with _served(space, database.url) as client:
            _ask_for_bars(client, space.dataset.symbols[:20])  # connections and code paths, once
            for _ in range(repeats):
                chosen = [space.dataset.symbols[i % len(space.dataset.symbols)] for i in range(REQUESTS)]
                times = np.array(_ask_for_bars(client, chosen)) * 1000
                series.add("p50", float(np.percentile(times, 50)))
                series.add("p99", float(np.percentile(times, 99)))
                body = series.time("snapshots", lambda: _get(client, "/api/v1/snapshots", accept=ARROW))
                rows = pa.ipc.open_stream(body).read_all().num_rows
                require(rows >= len(space.dataset.symbols), f"{rows} snapshots came")
    snapshots: Samples = series["snapshots"].times(1000)
    return [
        measured("one symbol's 1,260 bars as JSON, p50", series["p50"], "ms"),
        measured(
            "one symbol's 1,260 bars as JSON, p99",
            series["p99"],
            "ms",
            ratio_to="its p50",
            ratio=series["p99"].over(series["p50"]),
            requirement=f"<= {BARS_LIMIT:.0f} ms on a quiet core",
            met=series["p99"].median <= BARS_LIMIT,
        ),
        measured(
            f"all {len(space.dataset.symbols)} snapshots as Arrow",
            snapshots,
            "ms",
            requirement=f"<= {SNAPSHOTS_LIMIT:.0f} ms on a quiet core",
            met=snapshots.median <= SNAPSHOTS_LIMIT,
        ),
    ]


@contextlib.contextmanager
def _served(space: Workspace, url: str) -> Iterator[httpx.Client]:
    """Serve a database in a process of its own while the block runs, and yield a client of it.

    Raises
    ------
    QuantMatrixError
        The server dies, or does not answer in time.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
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


def _ask_for_bars(client: httpx.Client, symbols: list[str] | tuple[str, ...]) -> list[float]:
    """Return the wall seconds of each answer, its body read."""
    seconds = []
    for symbol in symbols:
        started = time.perf_counter()
        _get(client, f"/api/v1/historical/{symbol}")
        seconds.append(time.perf_counter() - started)
    return seconds


def _get(client: httpx.Client, path: str, accept: str = "application/json") -> bytes:
    answer = client.get(path, headers={"Accept": accept})
    require(answer.status_code == httpx.codes.OK, f"{path} answered {answer.status_code}: {answer.text[:200]}")
    return answer.content
