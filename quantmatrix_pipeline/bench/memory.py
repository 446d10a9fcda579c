"""The peak memory of a recompute of 8,000 ragged symbols x 1,000 sessions: stored bars to snapshots and history."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from datetime import date, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa

from quantmatrix_pipeline.bars.sessions import trading_calendar
from quantmatrix_pipeline.bench.load import require
from quantmatrix_pipeline.bench.measure import Measured, Series, measured
from quantmatrix_pipeline.bench.synthetic import synthetic_bars
from quantmatrix_pipeline.bench.workspace import NOW, Workspace
from quantmatrix_pipeline.errors import QuantMatrixError
from quantmatrix_pipeline.snapshots.record import record_history, update_snapshots
from quantmatrix_pipeline.warehouse import bars as tables
from quantmatrix_pipeline.warehouse.engine import Warehouse

INSTRUMENTS = 8000
SESSIONS = 1000
HISTORY_SESSIONS = 20
LIMIT = 2048.0
MEBIBYTE = 1 << 20


def run(space: Workspace, repeats: int = 5) -> list[Measured]:
    """Store the generated bars and recompute them in fresh processes; memory hardly varies, so twice is enough."""
    series = Series()
    calendar = trading_calendar("XNYS")
    with space.database() as database:
        last, count = _store(database.writer)
        space.vacuum(database)
        first = calendar.previous(last, HISTORY_SESSIONS - 1)
        for _ in range(min(repeats, 2)):
            found = _recompute(database.url, first, last)
            require(found["instruments"] == INSTRUMENTS, f"{found['instruments']:.0f} instruments were recomputed")
            series.add("peak", found["peak_mebibytes"])
            series.add("start", found["start_mebibytes"])
            series.add("seconds", found["seconds"])
    size = f"{INSTRUMENTS:,} symbols x {SESSIONS:,} sessions ({count:,} bars)"
    peak = series["peak"]
    return [
        measured(
            f"peak memory, recompute of {size}",
            peak,
            "MiB",
            ratio_to="the process with its libraries",
            ratio=peak.over(series["start"]),
            requirement=f"<= {LIMIT:,.0f} MiB",
            met=peak.median <= LIMIT,
        ),
        measured(f"its time: snapshots, and the history of {HISTORY_SESSIONS} sessions", series["seconds"], "s"),
    ]


def _store(warehouse: Warehouse) -> tuple[date, int]:
    """Write the generated bars as they are; return their last session and their number."""
    bars = synthetic_bars(INSTRUMENTS, SESSIONS)
    sessions = trading_calendar("XNYS").sessions
    # The generator counts weekdays; the same places in the exchange's calendar make them sessions.
    days, place = np.unique(bars.session, return_inverse=True)
    end = int(np.searchsorted(sessions, days[-1], side="right"))
    session = sessions[end - len(days) : end][place]
    count = len(session)
    source = tables.source_id(warehouse, "synthetic", "raw", None)
    table = pa.table(
        {
            "instrument_id": pa.array(bars.instrument_id + 1, pa.int32()),
            "session": pa.array(session, pa.date32()),
            **{name: getattr(bars, name) for name in tables.PRICES},
            "quality_score": np.ones(count),
            "validated": pa.repeat(pa.scalar(True), count),
            "gap_detected": pa.repeat(pa.scalar(False), count),
            "volume_anomaly": pa.repeat(pa.scalar(False), count),
            "source_id": pa.array(np.full(count, source), pa.int16()),
        }
    )
    warehouse.execute(
        "INSERT INTO instruments (name) SELECT 'synthetic' FROM generate_series(1, :count)", {"count": INSTRUMENTS}
    )
    with warehouse.arrow() as transaction:
        tables.write_daily(transaction, table, datetime.fromisoformat(NOW))
    return session.max().item(), count


def _recompute(url: str, first: date, last: date) -> dict[str, float]:
    done = subprocess.run(  # noqa: S603 - our own command line
        [sys.executable, "-m", __name__, str(first), str(last)],
        input=url,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise QuantMatrixError(f"benchmark: the recompute failed: {done.stderr.strip()[-500:]}")
    found: dict[str, float] = json.loads(done.stdout)
    return found


def _peak() -> float:
    """Return this program's peak resident memory in MiB.

    On Linux from /proc, since `getrusage` begins there with the peak of the parent that forked it; macOS counts bytes.
    """
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / MEBIBYTE


def main() -> None:
    """Recompute the database whose URL comes on standard input; print what it took as JSON."""
    first, last = (date.fromisoformat(argument) for argument in sys.argv[1:3])
    warehouse = Warehouse(sys.stdin.read().strip())
    calendar, now = trading_calendar("XNYS"), datetime.fromisoformat(NOW)
    start, started = _peak(), time.perf_counter()
    snapshots = update_snapshots(warehouse, calendar, last, grace=timedelta(minutes=30), now=now)
    record_history(warehouse, first, last, now=now)
    found = {
        "instruments": snapshots.instruments,
        "start_mebibytes": start,
        "peak_mebibytes": _peak(),
        "seconds": time.perf_counter() - started,
    }
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main()
