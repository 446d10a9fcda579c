"""Bars of a session that has not closed, plus grace: stored by explicit wish, used for nothing, replaced in the end.

They bear a score of 0 and a source of their own. So no indicator, snapshot or row of the history sees them, they are no
context for the validation of others, and the session counts as missing: the next run of it fetches the final bar, which
takes the provisional one's place as a further version.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import date, datetime, timedelta

import numpy as np
import pyarrow as pa

from quantmatrix_pipeline.bars import rules
from quantmatrix_pipeline.bars.batch import FIELDS, Bools
from quantmatrix_pipeline.bars.schema import check_batch
from quantmatrix_pipeline.bars.sessions import TradingCalendar
from quantmatrix_pipeline.errors import ConfigurationError
from quantmatrix_pipeline.ingest.asked import Asked
from quantmatrix_pipeline.ingest.refused import refused_bars, unreadable_rows
from quantmatrix_pipeline.ingest.report import IngestReport
from quantmatrix_pipeline.ingest.rows import Fetched
from quantmatrix_pipeline.providers.answers import DailyAnswer, Kind
from quantmatrix_pipeline.providers.contract import BarRequest, Provider
from quantmatrix_pipeline.warehouse import bars as tables
from quantmatrix_pipeline.warehouse import fetches, universe
from quantmatrix_pipeline.warehouse.engine import Warehouse
from quantmatrix_pipeline.warehouse.universe import Tracked


def ingest_provisional(
    warehouse: Warehouse,
    provider: Provider,
    calendar: TradingCalendar,
    *,
    now: datetime,
    grace: timedelta = timedelta(minutes=30),
    concurrency: int = 16,
    lock_wait_seconds: float = 600,
) -> IngestReport:
    """Fetch the bars of today's session as they are so far, and store them as provisional.

    A final bar is never replaced, and corporate actions that came along are left to the run after the close.

    Raises
    ------
    ConfigurationError
        No session is open: today is none, or its close and grace have passed.
    """
    session = open_session(calendar, now, grace)
    report = IngestReport(provider.name, session, session)
    with warehouse.exclusive("bars_1d", lock_wait_seconds):
        instruments = {t.symbol: t for t in universe.tracked(warehouse)}
        days = np.array([session], "datetime64[D]")
        requests = {symbol: BarRequest(symbol, days) for symbol in instruments}
        report.asked_symbols = report.asked_sessions = len(requests)

        async def store() -> None:
            async for answer in provider.daily_bars(list(requests.values()), concurrency=concurrency):
                await asyncio.to_thread(_store, warehouse, calendar, instruments, requests, answer, report, now)

        if requests:
            asyncio.run(store())
    return report


def open_session(calendar: TradingCalendar, now: datetime, grace: timedelta) -> date:
    """Return the session after the newest closed one, if its day has come in the exchange's time.

    Raises
    ------
    ConfigurationError
        It has not; says which one comes next.
    """
    closed = calendar.newest_closed(now, grace)
    coming = calendar.next(closed)
    if coming > (today := now.astimezone(calendar.timezone).date()):
        raise ConfigurationError(
            f"no session is open on {today}: {closed} has closed and is fetched by a run; the next one is {coming}"
        )
    return coming


def _store(
    warehouse: Warehouse,
    calendar: TradingCalendar,
    instruments: Mapping[str, Tracked],
    requests: Mapping[str, BarRequest],
    answer: DailyAnswer,
    report: IngestReport,
    now: datetime,
) -> None:
    """Write one part of an answer in one transaction."""
    check_batch(answer.bars, vendor=answer.vendor)
    asked = Asked(calendar, instruments, requests)
    batch, place = asked.only_asked(answer.bars, answer.asked_from)
    source = tables.source_id(warehouse, answer.vendor, answer.basis.value, answer.basis_date, provisional=True)
    came = Fetched.of(batch, asked.instrument_id[place], source)
    verdict = _judged(came, calendar, instruments)
    log = refused_bars(
        answer.vendor,
        came.instrument_id,
        came.session,
        came.values,
        verdict.reasons,
        np.flatnonzero(verdict.rejected),
        {t.instrument_id: symbol for symbol, t in instruments.items()},
        now,
    )
    log += unreadable_rows(answer, instruments, now)
    with warehouse.arrow() as transaction:
        transaction.lock("bars_1d")
        sound = _table(came, ~verdict.rejected)
        final = tables.proved_keys(transaction, sound)
        counts = tables.write_daily(transaction, sound.filter(pa.array(~final)), now, reason="provisional")
        fetches.write_log(transaction, log)
    report.fetched += len(batch) + len(answer.unreadable)
    report.inserted += counts.inserted
    report.revised += counts.revised
    report.unchanged += counts.unchanged + int(final.sum())
    report.rejected += len(log)
    report.failures.update({symbol: f"{type(e).__name__}: {e}" for symbol, e in answer.failures.items()})


def _judged(came: Fetched, calendar: TradingCalendar, instruments: Mapping[str, Tracked]) -> rules.Verdict:
    """Return what the hard rules say; the soft ones wait for the final bars."""
    ids, index = np.unique(came.instrument_id, return_inverse=True)
    indices = [t.instrument_id for t in instruments.values() if t.kind == Kind.INDEX]
    return rules.validate(
        rules.BarRows(
            instrument_index=index.astype(np.int32),
            session=came.session,
            open=came.values["open"],
            high=came.values["high"],
            low=came.values["low"],
            close=came.values["close"],
            volume=came.values["volume"],
            unit=np.ones(len(came.session)),
            is_new=np.ones(len(came.session), np.bool_),
            without_volume=np.isin(ids, indices),
        ),
        calendar,
    )


def _table(came: Fetched, keep: Bools) -> pa.Table:
    at = np.flatnonzero(keep)
    nothing = np.zeros(len(at), np.bool_)
    return pa.table(
        {
            "instrument_id": pa.array(came.instrument_id[at]),
            "session": pa.array(came.session[at], pa.date32()),
            **{name: pa.array(np.nan_to_num(came.values[name][at])) for name in FIELDS},
            "quality_score": pa.array(np.full(len(at), tables.UNPROVED)),
            "validated": pa.array(nothing),
            "gap_detected": pa.array(nothing),
            "volume_anomaly": pa.array(nothing),
            "source_id": pa.array(np.full(len(at), came.source_id, np.int16)),
        }
    )
