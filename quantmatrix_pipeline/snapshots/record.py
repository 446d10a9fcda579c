"""Bring the latest snapshots up to date and record the history of sessions."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import TypeVar

import pyarrow as pa

from quantmatrix_pipeline.bars.sessions import TradingCalendar
from quantmatrix_pipeline.snapshots import rows as analysis
from quantmatrix_pipeline.snapshots.panel import read_panel
from quantmatrix_pipeline.warehouse import history as tables
from quantmatrix_pipeline.warehouse.engine import Warehouse

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class SnapshotReport:
    """What an update of the snapshots did; `instruments` have a bar up to the session."""

    session: date
    instruments: int
    changed: int
    seconds: float


@dataclass(frozen=True, slots=True)
class HistoryReport:
    """What recording a range of sessions did."""

    first: date
    last: date
    counts: tables.HistoryCounts
    seconds: float


def update_snapshots(
    warehouse: Warehouse, calendar: TradingCalendar, session: date, *, grace: timedelta, now: datetime
) -> SnapshotReport:
    """Compute every instrument's newest row as of `session` and keep it as its snapshot.

    Re-running an old session does not push a newer snapshot out. A row expires at the next close plus `grace`.
    """
    started = time.perf_counter()
    newest = analysis.newest_rows(read_panel(warehouse, session))
    expiry = [calendar.expiry(day, grace) for day in newest["session"].to_pylist()]
    newest = newest.append_column("expiry_timestamp", pa.array(expiry, pa.timestamp("us", "UTC")))
    with warehouse.arrow() as transaction:
        changed = tables.replace_snapshots(transaction, newest, now)
    return SnapshotReport(session, newest.num_rows, changed, time.perf_counter() - started)


def record_history(warehouse: Warehouse, first: date, last: date, *, now: datetime) -> HistoryReport:
    """Record the rows of all sessions of [first, last], both inclusive: one panel, one pass, one transaction.

    A session that was recorded before gets a new revision only where its numbers differ.
    """
    started = time.perf_counter()
    panel = read_panel(warehouse, last)
    batches = [analysis.session_rows(panel, last)] if first == last else analysis.range_rows(panel, first)
    counts = tables.HistoryCounts(0, 0, 0)
    with warehouse.arrow() as transaction:
        may_exist = tables.prepare(transaction, first, last)
        for batch in _ahead(batches):
            counts += tables.record(transaction, batch, now, may_exist=may_exist)
    return HistoryReport(first, last, counts, time.perf_counter() - started)


def _ahead(batches: Iterable[T], depth: int = 2) -> Iterator[T]:
    """Yield `batches`, computing the next ones in a thread while the database takes the last: both are busy at once."""
    ready: queue.Queue[T | BaseException | None] = queue.Queue(maxsize=depth)
    given_up = threading.Event()

    def offer(item: T | BaseException | None) -> bool:
        while not given_up.is_set():
            try:
                ready.put(item, timeout=0.2)
            except queue.Full:
                continue
            return True
        return False

    def compute() -> None:
        try:
            for batch in batches:
                if not offer(batch):
                    return
            offer(None)
        except BaseException as error:  # noqa: BLE001 - handed over and raised where the result is awaited
            offer(error)

    thread = threading.Thread(target=compute, name="indicators", daemon=True)
    thread.start()
    try:
        while (item := ready.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        given_up.set()
        thread.join()
