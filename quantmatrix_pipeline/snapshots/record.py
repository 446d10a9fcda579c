"""Bring the latest snapshots up to date and record the history of sessions."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Collection, Generator, Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import TypeVar

import numpy as np
import pyarrow as pa

from quantmatrix_pipeline.bars.sessions import TradingCalendar
from quantmatrix_pipeline.indicators.catalogue import COLUMNS
from quantmatrix_pipeline.indicators.cross_section import CrossSection
from quantmatrix_pipeline.indicators.panel import Panel
from quantmatrix_pipeline.snapshots import rows as analysis
from quantmatrix_pipeline.snapshots.method import DEFAULT_METHOD, Method
from quantmatrix_pipeline.snapshots.panel import read_panel
from quantmatrix_pipeline.warehouse import breadth
from quantmatrix_pipeline.warehouse import history as tables
from quantmatrix_pipeline.warehouse.engine import ArrowTransaction, Warehouse

T = TypeVar("T")
PanelUpTo = Callable[[date], Panel]
"""Reads the bars up to a session; whoever records several things hands over one that reads them once."""

RELATIVE = tuple(column.name for column in COLUMNS if column.shared)
INSTRUMENTS_AT_ONCE = 512  # whose recorded rows are read back at once: some 200 MB for five years


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
    warehouse: Warehouse,
    calendar: TradingCalendar,
    session: date,
    *,
    grace: timedelta,
    now: datetime,
    method: Method = DEFAULT_METHOD,
    lock_wait_seconds: float = 600,
    panel_up_to: PanelUpTo | None = None,
    only: Collection[int] | None = None,
) -> SnapshotReport:
    """Compute every instrument's newest row as of `session` and keep it as its snapshot.

    After an older session was run again it is the newest one known that counts: a snapshot is never pushed back, and
    always follows from the bars as they are now. A row expires at the next close plus `grace`.

    Parameters
    ----------
    only
        The instruments whose snapshots are written; None: all. Ranks are among all of them either way.
    """
    started = time.perf_counter()
    panel_up_to = panel_up_to or (lambda day: read_panel(warehouse, day))
    with warehouse.exclusive("history", lock_wait_seconds):
        session = max(session, tables.newest_snapshot(warehouse) or session)
        panel = method.applied_to(warehouse, panel_up_to(session))
        newest = analysis.newest_rows(panel)
        expiry = [calendar.expiry(day, grace) for day in newest["session"].to_pylist()]
        newest = newest.append_column("expiry_timestamp", pa.array(expiry, pa.timestamp("us", "UTC")))
        newest = newest.append_column("raw_analysis", analysis.raw_analysis(panel))
        if only is not None:
            newest = newest.filter(pa.array(np.isin(newest["instrument_id"].to_numpy(), list(only))))
        with warehouse.arrow() as transaction:
            changed = tables.replace_snapshots(transaction, newest, now)
    return SnapshotReport(session, newest.num_rows, changed, time.perf_counter() - started)


def record_history(
    warehouse: Warehouse,
    first: date,
    last: date,
    *,
    now: datetime,
    method: Method = DEFAULT_METHOD,
    lock_wait_seconds: float = 600,
    panel_up_to: PanelUpTo | None = None,
) -> HistoryReport:
    """Record the rows of all sessions of [first, last], both inclusive: one panel, one pass, one transaction.

    A session that was recorded before gets a new revision only where its numbers differ. What an ingestion left due, by
    a late bar or a healed hole, is recorded again as well, for every session that was ever recorded.
    """
    started = time.perf_counter()
    panel_up_to = panel_up_to or (lambda day: read_panel(warehouse, day))
    with warehouse.exclusive("history", lock_wait_seconds):
        tables.make_partitions(warehouse, first, last)
        with warehouse.arrow() as transaction:
            transaction.lock("history")
            # Before the bars are read: what an ingestion commits after this leaves a note of its own.
            due = tables.take_due(transaction)
            if due:
                breadth.mark_due(transaction, min(due.values()))
            panel = method.applied_to(warehouse, panel_up_to(last))
            before = tables.recorded_sessions(transaction, min(due.values())) if due else []
            if tables.holds_rows(transaction, first, last):
                counts = _record_again(transaction, panel, first, last, now)
            else:
                with contextlib.closing(
                    _ahead(_rows(panel, first, last, analysis.ranks(panel, first, last)))
                ) as computed:
                    counts = tables.record_first(transaction, computed, now)
            others = [s for s in before if not first <= s <= last]
            if others and others[-1] > last:
                panel = method.applied_to(warehouse, panel_up_to(others[-1]))
                # The snapshots stand there, whose ranks are among what is known now: all of them are recorded again.
                newest = others.pop()
                counts += _record_again(transaction, panel, newest, newest, now)
            if others:
                counts += _record_due(transaction, panel, due, others, now)
    return HistoryReport(first, last, counts, time.perf_counter() - started)


def _rows(panel: Panel, first: date, last: date, ranks: CrossSection) -> Iterator[pa.Table]:
    if first == last:
        return iter([analysis.session_rows(panel, last, ranks)])
    return analysis.range_rows(panel, first, ranks)


def _record_again(
    transaction: ArrowTransaction, panel: Panel, first: date, last: date, now: datetime
) -> tables.HistoryCounts:
    """Record over what is stored; instruments in turn, so that what is read back of them stays small."""
    counts = tables.HistoryCounts(0, 0, 0)
    newest = max(tables.recorded_sessions(transaction, last), default=last)
    ranks = analysis.ranks(panel, first, last)
    for start in range(0, panel.width, INSTRUMENTS_AT_ONCE):
        part = panel.select(np.arange(start, min(start + INSTRUMENTS_AT_ONCE, panel.width)))
        stored = tables.RecordedRows(transaction, part.instrument_ids, first, last, ("close", *analysis.COLUMN_NAMES))
        with contextlib.closing(_ahead(_rows(part, first, last, ranks))) as computed:
            for batch in computed:
                counts += tables.record(transaction, batch, stored, now, relative=RELATIVE, newest=newest)
    return counts


def _record_due(
    transaction: ArrowTransaction, panel: Panel, due: dict[int, date], sessions: list[date], now: datetime
) -> tables.HistoryCounts:
    """Record again, of the instruments that are due, the given sessions from the first that is due on.

    What these instruments' bars changed for others (their ranks, the mean of the universe) stays as it was recorded:
    the history says what was known at each session's time.
    """
    counts = tables.HistoryCounts(0, 0, 0)
    late = {i: since for i, since in due.items() if since <= sessions[-1]}
    everyone = panel
    panel = panel.select(np.flatnonzero(np.isin(panel.instrument_ids, list(late))))
    if not panel.width:
        return counts
    first = min(late.values())
    stored = tables.RecordedRows(
        transaction, panel.instrument_ids, first, sessions[-1], ("close", *analysis.COLUMN_NAMES)
    )
    since = np.array([late[int(i)] for i in panel.instrument_ids], dtype="datetime64[D]")
    wanted = np.array(sessions, dtype="datetime64[D]")
    for batch in analysis.range_rows(panel, first, analysis.ranks(everyone, first)):
        day = batch["session"].to_numpy().astype("datetime64[D]")
        own = since[np.searchsorted(panel.instrument_ids, batch["instrument_id"].to_numpy())]
        counts += tables.record(transaction, batch.filter(pa.array((day >= own) & np.isin(day, wanted))), stored, now)
    return counts


def _ahead(batches: Iterable[T], depth: int = 2) -> Generator[T, None, None]:
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
        except BaseException as error:
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
