"""How fast a whole market is stored that comes session by session over HTTP, beside the same bars by symbol without.

A real server process answers each session's question after 50 ms with the body that Polygon would send. The adapter
asks ahead, so that the next sessions arrive and are read while a part is written. Both loads run one after the other in
one fresh process, whose peak memory is taken when the first of them is done.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from itertools import islice, product
from pathlib import Path
from string import ascii_uppercase

import msgspec
import numpy as np

from quantmatrix_pipeline.bars.batch import BarBatch, Basis, Dates
from quantmatrix_pipeline.bars.schema import check_batch
from quantmatrix_pipeline.bars.sessions import TradingCalendar, trading_calendar
from quantmatrix_pipeline.bench import market_server
from quantmatrix_pipeline.bench.dataset import BENCHMARK
from quantmatrix_pipeline.bench.load import require
from quantmatrix_pipeline.bench.measure import Measured, Series, measured
from quantmatrix_pipeline.bench.memory import _peak
from quantmatrix_pipeline.bench.synthetic import LAST_SESSION, SyntheticBars, synthetic_bars
from quantmatrix_pipeline.bench.workspace import NOW, Workspace
from quantmatrix_pipeline.errors import QuantMatrixError
from quantmatrix_pipeline.ingest.load import DailyStore
from quantmatrix_pipeline.ingest.report import IngestReport
from quantmatrix_pipeline.providers.answers import DailyAnswer, Listing
from quantmatrix_pipeline.providers.contract import BarRequest
from quantmatrix_pipeline.providers.routing.bulk import AHEAD, SESSIONS_PER_PART
from quantmatrix_pipeline.providers.transport.calls import Timed
from quantmatrix_pipeline.providers.transport.vendor import Access
from quantmatrix_pipeline.providers.vendors import polygon
from quantmatrix_pipeline.universe.tracking import update_tracked
from quantmatrix_pipeline.warehouse import universe
from quantmatrix_pipeline.warehouse.engine import Warehouse

INSTRUMENTS = 8000
SESSIONS = 120
PAUSE_SECONDS = 0.05
ROWS_PER_PART = 64 * 1260  # of an answer that comes by symbol: what the files source yields at a time
SHARE = 0.6
LIMIT = 1024.0
START_SECONDS = 30.0
_SYMBOLS = tuple("".join(letters) for letters in islice(product(ascii_uppercase, repeat=4), INSTRUMENTS))


def run(space: Workspace, repeats: int = 5, sessions: int = SESSIONS) -> list[Measured]:
    """Measure a first load by session over HTTP and one by symbol out of memory, turn by turn in fresh processes.

    So many sessions that each repeat takes seconds; 1,250 show that neither rate nor memory depends on their number.
    """
    bars, window = _market(trading_calendar("XNYS"), sessions)
    folder = space.folder / "market"
    _write_bodies(folder, bars, window)
    count = len(bars.session)
    series = Series()
    with _served(folder) as address:
        for turn in range(repeats + 1):
            with space.database("by_session") as by_session, space.database("by_symbol") as by_symbol:
                for database in (by_session, by_symbol):
                    listings = [Listing(symbol) for symbol in _SYMBOLS]
                    update_tracked(database.writer, window[-1].item(), benchmark=BENCHMARK, listings=listings)
                space.settle()
                found = _load(by_session.writer.url, by_symbol.writer.url, address, sessions)
                require(found["inserted"] == found["by_symbol_inserted"] == count, f"of {count} bars: {found}")
            if turn:  # the first pays for the server's log files, which later ones reuse
                for name in ("by_session", "by_symbol", "peak"):
                    series.add(name, found[name])
    by_session_, by_symbol_, peak = series["by_session"], series["by_symbol"], series["peak"]
    share = by_symbol_.over(by_session_)
    return [
        measured("load by symbol, without HTTP", by_symbol_.rate(count), "rows/s"),
        measured(
            f"load by session over HTTP, {INSTRUMENTS:,} symbols x {len(window)} sessions ({count:,} bars)",
            by_session_.rate(count),
            "rows/s",
            ratio_to="load by symbol",
            ratio=share,
            requirement=f">= {SHARE} of it",
            met=share.median >= SHARE,
        ),
        measured("its peak memory", peak, "MiB", requirement=f"<= {LIMIT:,.0f} MiB", met=peak.median <= LIMIT),
    ]


def _market(calendar: TradingCalendar, sessions: int) -> tuple[SyntheticBars, Dates]:
    """Return the generated bars and the exchange's sessions that stand for their weekdays, in the same order."""
    bars = synthetic_bars(INSTRUMENTS, sessions)
    return bars, calendar.window(LAST_SESSION.item(), sessions)


def _write_bodies(folder: Path, bars: SyntheticBars, window: Dates) -> None:
    """Write a body per session, named after it, as Polygon answers for a whole market."""
    folder.mkdir()
    days, place = np.unique(bars.session, return_inverse=True)
    order = np.argsort(place, kind="stable")
    edges = np.searchsorted(place[order], np.arange(len(days) + 1))
    for number, session in enumerate(window):
        rows = order[edges[number] : edges[number + 1]]
        at = int(session.astype("datetime64[ms]").astype(np.int64)) + 20 * 3_600_000  # in the afternoon of New York
        columns = (bars.instrument_id, bars.volume, bars.open, bars.close, bars.high, bars.low)
        results = [
            {"T": _SYMBOLS[i], "v": v, "vw": c, "o": o, "c": c, "h": h, "l": low, "t": at, "n": 1000}
            for i, v, o, c, h, low in zip(*(column[rows].tolist() for column in columns), strict=True)
        ]
        body = {"queryCount": len(rows), "resultsCount": len(rows), "adjusted": False, "results": results}
        (folder / str(session)).write_bytes(msgspec.json.encode({**body, "status": "OK", "request_id": "0"}))


@contextlib.contextmanager
def _served(folder: Path) -> Iterator[str]:
    """Serve the bodies in a process of its own while the block runs, and yield its address.

    Raises
    ------
    QuantMatrixError
        It dies, or does not answer in time.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = subprocess.Popen(  # noqa: S603 - our own command line
        [sys.executable, "-m", market_server.__name__, str(folder), str(port), str(PAUSE_SECONDS)]
    )
    try:
        give_up = time.monotonic() + START_SECONDS
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                break
            if server.poll() is not None or time.monotonic() > give_up:
                raise QuantMatrixError(f"benchmark: the vendor's server does not answer (exit code {server.poll()})")
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(timeout=30)


def _load(by_session: str, by_symbol: str, address: str, sessions: int) -> dict[str, float]:
    done = subprocess.run(  # noqa: S603 - our own command line
        [sys.executable, "-m", __name__],
        input=json.dumps([by_session, by_symbol, address, sessions]),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise QuantMatrixError(f"benchmark: the load failed: {done.stderr.strip()[-500:]}")
    found: dict[str, float] = json.loads(done.stdout)
    return found


# --- in the process that is measured ----------------------------------------------------------------------------------


class _NoBudget:
    """Admits every call at once."""

    async def admit(self, vendor: str, weight: int) -> None:
        """Nothing to wait for."""

    def note(self, timed: Timed) -> None:
        """Nobody asks."""


@dataclass(frozen=True, slots=True)
class _Target:
    """A database that tracks the market, and the sessions wanted of it."""

    warehouse: Warehouse
    calendar: TradingCalendar
    window: Dates

    def store(self, report: IngestReport) -> DailyStore:
        """Return what stores parts there."""
        instruments = {t.symbol: t for t in universe.tracked(self.warehouse)}
        requests = {symbol: BarRequest(symbol, self.window) for symbol in _SYMBOLS}
        return DailyStore(self.warehouse, self.calendar, instruments, requests, report, datetime.fromisoformat(NOW))


async def _by_session(target: _Target, address: str, report: IngestReport) -> None:
    """Fetch and store all sessions, the next part on its way while one is written."""
    vendor = polygon.connect(Access(address, None, _NoBudget()))
    await vendor.open()
    try:
        with target.store(report) as parts:
            answers = _parts(vendor, target.window)
            arriving = asyncio.ensure_future(anext(answers, None))
            while (answer := await arriving) is not None:
                arriving = asyncio.ensure_future(anext(answers, None))
                await asyncio.to_thread(parts.store, answer)
    finally:
        await vendor.close()


async def _parts(vendor: polygon.Polygon, window: Dates) -> AsyncIterator[DailyAnswer]:
    """Yield parts of a few sessions, with so many questions under way as the router has."""
    coming = iter(window.tolist())
    asked: deque[asyncio.Task[DailyAnswer]] = deque()
    part: list[DailyAnswer] = []
    for day in coming:
        asked.append(asyncio.create_task(vendor.grouped_bars(day)))
        if len(asked) == AHEAD:
            part.append(await asked.popleft())
        if len(part) == SESSIONS_PER_PART:
            yield _joined(part)
            part = []
    part += [await task for task in asked]
    for start in range(0, len(part), SESSIONS_PER_PART):
        yield _joined(part[start : start + SESSIONS_PER_PART])


def _joined(answers: Sequence[DailyAnswer]) -> DailyAnswer:
    batch = BarBatch.concat([answer.bars for answer in answers])
    return DailyAnswer(polygon.VENDOR, answers[0].basis, answers[0].basis_date, batch)


def _by_symbol(target: _Target, bars: SyntheticBars, report: IngestReport) -> None:
    """Store the same bars in parts of whole lives."""
    _, place = np.unique(bars.session, return_inverse=True)
    session = target.window[place]
    per_part = max(1, ROWS_PER_PART // len(target.window))
    with target.store(report) as parts:
        for first in range(0, INSTRUMENTS, per_part):
            rows = slice(*np.searchsorted(bars.instrument_id, [first, first + per_part]))
            batch = BarBatch(
                _SYMBOLS[first : first + per_part],
                bars.instrument_id[rows] - np.int32(first),
                session[rows],
                bars.open[rows],
                bars.high[rows],
                bars.low[rows],
                bars.close[rows],
                bars.volume[rows],
            )
            parts.store(DailyAnswer(polygon.VENDOR, Basis.RAW, None, batch))


def main() -> None:
    """Load two databases, whose URLs come on standard input with the vendor's address and the number of sessions; print
    what it took as JSON.
    """
    by_session, by_symbol, address, sessions = json.load(sys.stdin)
    calendar = trading_calendar("XNYS")
    window = calendar.window(LAST_SESSION.item(), sessions)
    reports = [IngestReport(polygon.VENDOR, date.min, date.max) for _ in range(2)]
    check_batch(BarBatch.empty(), polygon.VENDOR)  # what is imported at first use is no part of a load
    started = time.perf_counter()
    asyncio.run(_by_session(_Target(Warehouse(by_session), calendar, window), address, reports[0]))
    found = {"by_session": time.perf_counter() - started, "peak": _peak(), "inserted": reports[0].inserted}
    bars, _ = _market(calendar, sessions)
    started = time.perf_counter()
    _by_symbol(_Target(Warehouse(by_symbol), calendar, window), bars, reports[1])
    found |= {"by_symbol": time.perf_counter() - started, "by_symbol_inserted": reports[1].inserted}
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main()
