"""How fast bars are stored: through validation, log and revision bookkeeping, beside a bare COPY of the same bytes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime

import numpy as np
import pyarrow as pa

from quantmatrix_pipeline.bars import rules
from quantmatrix_pipeline.bars.batch import BarBatch
from quantmatrix_pipeline.bars.sessions import TradingCalendar, trading_calendar
from quantmatrix_pipeline.bench.dataset import BENCHMARK
from quantmatrix_pipeline.bench.measure import Measured, Series, measured
from quantmatrix_pipeline.bench.workspace import NOW, Workspace
from quantmatrix_pipeline.errors import QuantMatrixError
from quantmatrix_pipeline.ingest.load import store_answer
from quantmatrix_pipeline.ingest.plan import plan_daily
from quantmatrix_pipeline.ingest.report import IngestReport
from quantmatrix_pipeline.providers.answers import DailyAnswer
from quantmatrix_pipeline.providers.contract import BarRequest
from quantmatrix_pipeline.providers.vendors.files.provider import FilesProvider
from quantmatrix_pipeline.universe.tracking import update_tracked
from quantmatrix_pipeline.warehouse import universe
from quantmatrix_pipeline.warehouse.engine import Warehouse
from quantmatrix_pipeline.warehouse.universe import Tracked

BARE = "bare_plain"
BARE_INDEXED = "bare_indexed"


@dataclass(frozen=True, slots=True)
class Fetched:
    """A source's whole answer in memory, so that only the storing is timed."""

    calendar: TradingCalendar
    instruments: dict[str, Tracked]
    requests: dict[str, BarRequest]
    answers: Sequence[DailyAnswer]
    bars: int


def fetch(warehouse: Warehouse, provider: FilesProvider, first: date, last: date) -> Fetched:
    """Track everything the source lists and take its answers for a window, both ends inclusive."""
    calendar = trading_calendar("XNYS")
    update_tracked(warehouse, last, benchmark=BENCHMARK, listings=provider.listings())
    tracked = universe.tracked(warehouse)
    requests = plan_daily(warehouse, provider.vendors, calendar, tracked, first, last)

    async def collect() -> list[DailyAnswer]:
        return [answer async for answer in provider.daily_bars(requests, concurrency=1)]

    answers = asyncio.run(collect())
    return Fetched(
        calendar,
        {t.symbol: t for t in tracked},
        {request.symbol: request for request in requests},
        answers,
        sum(len(answer.bars) for answer in answers),
    )


def store(warehouse: Warehouse, fetched: Fetched, now: datetime) -> IngestReport:
    """Store all parts of an answer, one transaction each, as the chain does."""
    report = IngestReport("files", date.min, date.max)
    for answer in fetched.answers:
        store_answer(warehouse, fetched.calendar, fetched.instruments, fetched.requests, answer, report, now)
    return report


def run(space: Workspace, repeats: int = 5) -> list[Measured]:
    """Measure a first load, the same load again, validation alone, and bare COPYs of what was stored."""
    provider = FilesProvider(space.dataset.folder)
    now = datetime.fromisoformat(NOW)
    series = Series()
    bars = 0
    for turn in range(repeats + 1):
        if turn == 1:
            series = Series()  # the first turn pays for the server's log files, which later ones reuse
        with space.database() as database:
            fetched = fetch(database.writer, provider, space.dataset.first, space.dataset.last)
            bars = fetched.bars
            space.settle()
            report = series.time("load", lambda f=fetched, d=database: store(d.writer, f, now))  # type: ignore[misc]
            require(report.inserted + report.rejected == bars, f"a first load of {bars} bars: {report}")
            space.settle()
            again = series.time("again", lambda f=fetched, d=database: store(d.writer, f, now))  # type: ignore[misc]
            require(again.unchanged == report.inserted, f"the same load again changed something: {again}")
            stored = database.writer.arrow_table("SELECT * FROM price_data_1d ORDER BY instrument_id, session")
            for name, like in ((BARE, ""), (BARE_INDEXED, "INCLUDING INDEXES")):
                database.owner.execute(f"CREATE TABLE {name} (LIKE price_data_1d {like})")
                space.settle()
                series.time(name, lambda n=name, t=stored, d=database: _copy(d.owner, n, t))  # type: ignore[misc]
        series.add("validate", _validation_seconds(fetched))
    load, again_, validate = series["load"], series["again"], series["validate"]
    return [
        measured("bare COPY, no index", series[BARE].rate(bars), "rows/s"),
        measured("bare COPY, same indexes", series[BARE_INDEXED].rate(bars), "rows/s"),
        measured(
            f"load of {bars:,} bars",
            load.rate(bars),
            "rows/s",
            ratio_to="bare COPY, same indexes",
            ratio=series[BARE_INDEXED].over(load),
            requirement=">= 150,000 rows/s, aim 200,000",
            met=load.rate(bars).median >= 150_000,
        ),
        measured(
            "the same again, nothing changed",
            again_.rate(bars),
            "rows/s",
            ratio_to="first load",
            ratio=load.over(again_),
            requirement=">= 400,000 rows/s",
            met=again_.rate(bars).median >= 400_000,
        ),
        measured(
            "validation alone",
            validate.rate(bars),
            "bars/s/core",
            requirement=">= 2,000,000 bars/s/core",
            met=validate.rate(bars).median >= 2_000_000,
        ),
    ]


def require(holds: bool, otherwise: str) -> None:
    """Refuse to report a measurement of work that was not done.

    Raises
    ------
    QuantMatrixError
        It does not hold; says what was found instead.
    """
    if not holds:
        raise QuantMatrixError(f"benchmark: {otherwise}")


def _copy(owner: Warehouse, name: str, table: pa.Table) -> None:
    with owner.arrow() as transaction:
        transaction.append(name, table)


def _validation_seconds(fetched: Fetched) -> float:
    """Processor seconds, all threads together, that the rules take for all bars."""
    batch = BarBatch.concat([answer.bars for answer in fetched.answers])
    order = np.lexsort((batch.session, batch.symbol_index))
    batch = batch.take(order)
    rows = rules.BarRows(
        instrument_index=batch.symbol_index,
        session=batch.session,
        open=batch.open,
        high=batch.high,
        low=batch.low,
        close=batch.close,
        volume=batch.volume,
        unit=np.ones(len(batch)),
        is_new=np.ones(len(batch), bool),
        without_volume=np.zeros(len(batch.symbols), bool),
    )
    started = time.process_time()
    rules.validate(rows, fetched.calendar)
    return time.process_time() - started
