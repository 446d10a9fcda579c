"""Bring the daily bars of the tracked set up to date: plan, fetch, prove, write."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta

import numpy as np

from quantmatrix_pipeline.bars.batch import Bools, Dates
from quantmatrix_pipeline.bars.repair.catalogue import MIN_CONFIDENCE
from quantmatrix_pipeline.bars.sessions import TradingCalendar
from quantmatrix_pipeline.bars.thresholds import DEFAULT_THRESHOLDS, Thresholds
from quantmatrix_pipeline.errors import SessionNotClosed, SymbolNotFound, VendorError, VendorUnavailable
from quantmatrix_pipeline.ingest.corrections import DEFAULT_TOLERANCE, Tolerance
from quantmatrix_pipeline.ingest.dividends import settle_dividends
from quantmatrix_pipeline.ingest.load import DailyStore, note_silence
from quantmatrix_pipeline.ingest.plan import plan_daily, window_start
from quantmatrix_pipeline.ingest.progress import Progress, Tell, in_silence
from quantmatrix_pipeline.ingest.reconsider import reconsider
from quantmatrix_pipeline.ingest.report import IngestReport
from quantmatrix_pipeline.ingest.splits import SplitKeeper
from quantmatrix_pipeline.providers.contract import BarRequest, Provider
from quantmatrix_pipeline.warehouse import gaps, universe
from quantmatrix_pipeline.warehouse.engine import Warehouse
from quantmatrix_pipeline.warehouse.universe import Tracked


def ingest_daily(
    warehouse: Warehouse,
    provider: Provider,
    calendar: TradingCalendar,
    first: date,
    last: date,
    *,
    depth: int,
    now: datetime,
    grace: timedelta = timedelta(minutes=30),
    concurrency: int = 16,
    lock_wait_seconds: float = 600,
    recheck: int = 0,
    tolerance: Tolerance = DEFAULT_TOLERANCE,
    repair_at: float = MIN_CONFIDENCE,
    thresholds: Thresholds = DEFAULT_THRESHOLDS,
    tell: Tell = in_silence,
) -> IngestReport:
    """Fetch what is missing of the sessions that the run needs, and store it.

    Parameters
    ----------
    first, last
        The sessions of the run, both inclusive. Bars are wanted from `depth` - 1 sessions before `first` to `last`.
    depth
        How many sessions deep a first fetch goes, counted at `first`.
    now
        When these bars are learned; stands as `as_of` beside each of them.
    grace
        How long after the close a session's bars are final.
    recheck
        How many of the newest stored sessions are asked for again, of whom something is missing.
    tolerance
        Up to which difference an answer about a stored bar says the same.
    repair_at
        The confidence from which a faulty bar is repaired, `mend.OFF` for none.
    thresholds
        From where on bars are flagged.
    tell
        Told every few seconds how far the fetch is.

    Raises
    ------
    SessionNotClosed
        `last` has not closed, plus grace, by `now`.
    VendorUnavailable
        Every instrument missed bars and none could be served, for other reasons than unknown symbols.
    ChainBusy
        Another run is bringing the same bars up to date and does not finish.
    """
    started = time.perf_counter()
    if last > (closed := calendar.newest_closed(now, grace)):
        raise SessionNotClosed(
            f"{last} has not closed yet (plus {grace}); a bar taken now would be half a day's and stay for good. "
            f"The newest session that can be run is {closed}"
        )
    start = window_start(calendar, first, depth)
    report = IngestReport(provider.name, start, last)
    with warehouse.first_in_line("bars_1d"), warehouse.exclusive("bars_1d", lock_wait_seconds):
        wanted = universe.tracked(warehouse)
        requests = plan_daily(warehouse, provider.vendors, calendar, wanted, start, last, provider.listings(), recheck)
        _bring(
            warehouse, provider, calendar, wanted, requests, report, now, concurrency, tolerance, repair_at, thresholds,
            tell,
        )  # fmt: skip
        answered = [t.instrument_id for t in wanted if t.symbol not in report.failures]
        gaps.note_answered(warehouse, provider.name, answered, start, last, now)
    report.seconds = time.perf_counter() - started
    return report


def ingest_stretches(
    warehouse: Warehouse,
    provider: Provider,
    calendar: TradingCalendar,
    stretches: Mapping[int, tuple[date, date]],
    *,
    now: datetime,
    concurrency: int = 16,
    lock_wait_seconds: float = 600,
    tolerance: Tolerance = DEFAULT_TOLERANCE,
    repair_at: float = MIN_CONFIDENCE,
    thresholds: Thresholds = DEFAULT_THRESHOLDS,
    tell: Tell = in_silence,
) -> IngestReport:
    """Fetch what is missing of some instruments' stretches, and store it, as `ingest_daily` does for a night.

    Parameters
    ----------
    stretches
        instrument_id -> first and last session, both inclusive; who is not tracked is passed over.

    Raises
    ------
    VendorUnavailable
        Every instrument missed bars and none could be served, for other reasons than unknown symbols.
    ChainBusy
        Another run is bringing bars up to date and does not finish.
    """
    started = time.perf_counter()
    first, last = min(f for f, _ in stretches.values()), max(until for _, until in stretches.values())
    report = IngestReport(provider.name, first, last)
    with warehouse.exclusive("bars_1d", lock_wait_seconds):
        wanted = [t for t in universe.tracked(warehouse) if t.instrument_id in stretches]
        own = {t.symbol: stretches[t.instrument_id] for t in wanted}
        planned = plan_daily(warehouse, provider.vendors, calendar, wanted, first, last, provider.listings())
        clipped = (BarRequest(r.symbol, r.sessions[_within(r.sessions, *own[r.symbol])]) for r in planned)
        requests = [request for request in clipped if len(request.sessions)]
        _bring(
            warehouse, provider, calendar, wanted, requests, report, now, concurrency, tolerance, repair_at, thresholds,
            tell,
        )  # fmt: skip
        for stretch in set(own.values()):
            served = [t.instrument_id for t in wanted if own[t.symbol] == stretch and t.symbol not in report.failures]
            gaps.note_answered(warehouse, provider.name, served, *stretch, now)
    report.seconds = time.perf_counter() - started
    return report


def _within(sessions: Dates, first: date, last: date) -> Bools:
    return np.asarray((sessions >= np.datetime64(first, "D")) & (sessions <= np.datetime64(last, "D")), np.bool_)


def _bring(
    warehouse: Warehouse,
    provider: Provider,
    calendar: TradingCalendar,
    wanted: Sequence[Tracked],
    requests: Sequence[BarRequest],
    report: IngestReport,
    now: datetime,
    concurrency: int,
    tolerance: Tolerance,
    repair_at: float,
    thresholds: Thresholds,
    tell: Tell,
) -> None:
    """Fetch and store what is asked for; the caller holds the writers' lock."""
    report.asked_symbols = len(requests)
    report.asked_sessions = sum(len(request.sessions) for request in requests)
    if requests:
        instruments = {t.symbol: t for t in wanted}
        by_symbol = {request.symbol: request for request in requests}
        store = DailyStore(
            warehouse, calendar, instruments, by_symbol, report, now, tolerance, repair_at, thresholds=thresholds
        )
        splits = SplitKeeper(warehouse, calendar, instruments, now, thresholds)
        asyncio.run(_fetch(warehouse, provider, store, splits, instruments, by_symbol, report, now, concurrency, tell))
        reconsider(warehouse, calendar, splits.changed, now, repair_at=repair_at, thresholds=thresholds)


async def _fetch(
    warehouse: Warehouse,
    provider: Provider,
    store: DailyStore,
    splits: SplitKeeper,
    instruments: dict[str, Tracked],
    by_symbol: Mapping[str, BarRequest],
    report: IngestReport,
    now: datetime,
    concurrency: int,
    tell: Tell,
) -> None:
    failures: dict[str, VendorError] = {}
    progress = Progress(tell, len(by_symbol))
    silent = set(by_symbol)  # asked for and never mentioned: the source has nothing there
    answers = provider.daily_bars(list(by_symbol.values()), concurrency=concurrency)
    arriving = asyncio.ensure_future(anext(answers, None))
    try:
        with store as parts:
            while (answer := await arriving) is not None:
                arriving = asyncio.ensure_future(anext(answers, None))  # comes while this one is written
                await asyncio.to_thread(parts.store, answer)
                await asyncio.to_thread(splits.take_back, answer)
                failures.update(answer.failures)
                came = (answer.bars.symbols[at] for at in np.unique(answer.bars.symbol_index))  # a name is silence
                silent.difference_update(came, answer.failures, answer.silent)
                progress.made(len(by_symbol) - len(silent), report.inserted)
                asked = _since(answer.asked_from, {s: by_symbol[s] for s in answer.silent})
                _note_silence(warehouse, answer.vendor, instruments, asked, list(asked), now)
            if report.jumps:
                looked_up = await provider.splits_of(report.jumps)
                for answer in looked_up:
                    await asyncio.to_thread(parts.store, answer)
                    await asyncio.to_thread(splits.take_back, answer)
                await asyncio.to_thread(splits.note_lookups, looked_up, report.jumps)
        await asyncio.to_thread(splits.settle)
        await asyncio.to_thread(settle_dividends, warehouse, now)
    finally:
        arriving.cancel()
        await asyncio.gather(arriving, return_exceptions=True)
    _note_silence(warehouse, provider.name, instruments, by_symbol, sorted(silent), now)
    grave = [e for e in failures.values() if not isinstance(e, SymbolNotFound)]
    # Whoever has bars already is not held up by the rest: what failed is named, and asked for again by the next run.
    if grave and len(failures) == len(by_symbol) == len(instruments) and not report.fetched:
        raise VendorUnavailable(provider.name, f"served none of {len(by_symbol)} symbols; the first: {grave[0]}")


def _since(first: date | None, requests: Mapping[str, BarRequest]) -> Mapping[str, BarRequest]:
    """Return the part of the requests that a vendor was asked which has nothing before `first`.

    Else it would seem to have said that there is nothing before, and nobody would be asked again.
    """
    if first is None:
        return requests
    day = np.datetime64(first, "D")
    clipped = (BarRequest(s, r.sessions[r.sessions >= day]) for s, r in requests.items())
    return {request.symbol: request for request in clipped if len(request.sessions)}


def _note_silence(
    warehouse: Warehouse,
    vendor: str,
    instruments: Mapping[str, Tracked],
    asked: Mapping[str, BarRequest],
    silent: Sequence[str],
    now: datetime,
) -> None:
    if silent:
        note_silence(warehouse, vendor, [(instruments[s].instrument_id, asked[s]) for s in silent], now)
