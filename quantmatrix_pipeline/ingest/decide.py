"""What people decide about repairs: undo one, which brings the bar back as it came, or carry out one that was only
suggested. Either way the bar is written as a new version, and the decision holds when the same bar comes again.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import date, datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from quantmatrix_pipeline.bars.batch import FIELDS, BarBatch, Basis
from quantmatrix_pipeline.bars.sessions import TradingCalendar
from quantmatrix_pipeline.bars.thresholds import DEFAULT_THRESHOLDS, Thresholds
from quantmatrix_pipeline.errors import NoSuchRepair
from quantmatrix_pipeline.ingest.load import store_answer
from quantmatrix_pipeline.ingest.mend import OFF
from quantmatrix_pipeline.ingest.report import IngestReport
from quantmatrix_pipeline.providers.answers import DailyAnswer
from quantmatrix_pipeline.providers.contract import BarRequest
from quantmatrix_pipeline.warehouse import bars as tables
from quantmatrix_pipeline.warehouse import history, repairs, universe
from quantmatrix_pipeline.warehouse.engine import Warehouse
from quantmatrix_pipeline.warehouse.repairs import Repair

UNDO, APPLY = "undo", "apply"


def undo(
    warehouse: Warehouse,
    calendar: TradingCalendar,
    repair_ids: Sequence[int],
    now: datetime,
    lock_wait_seconds: float,
    thresholds: Thresholds = DEFAULT_THRESHOLDS,
) -> list[Repair]:
    """Bring bars back as they came; return the repairs as they stand then.

    What came is judged as any bar is. Where it is refused (a price of zero) there is no bar to bring back: what stands
    in its place is withdrawn, which is to say scored 0 and used for nothing.

    Raises
    ------
    NoSuchRepair
        A number that no repair has, or a repair that is not applied.
    ChainBusy
        A run is writing bars and does not finish.
    """
    return _decide(warehouse, calendar, repair_ids, UNDO, now, lock_wait_seconds, thresholds)


def apply(
    warehouse: Warehouse,
    calendar: TradingCalendar,
    repair_ids: Sequence[int],
    now: datetime,
    lock_wait_seconds: float,
    thresholds: Thresholds = DEFAULT_THRESHOLDS,
) -> list[Repair]:
    """Carry out repairs that are suggested or were undone; a bar that is to be withheld is withdrawn.

    Raises
    ------
    NoSuchRepair
        A number that no repair has, or a repair that is applied already.
    ChainBusy
        A run is writing bars and does not finish.
    """
    return _decide(warehouse, calendar, repair_ids, APPLY, now, lock_wait_seconds, thresholds)


def _decide(
    warehouse: Warehouse,
    calendar: TradingCalendar,
    repair_ids: Sequence[int],
    decision: str,
    now: datetime,
    lock_wait_seconds: float,
    thresholds: Thresholds,
) -> list[Repair]:
    with warehouse.exclusive("bars_1d", lock_wait_seconds):
        chosen = repairs.find(warehouse, repair_ids=repair_ids)
        _refuse_impossible(repair_ids, chosen, decision)
        # Decided first: a bar that is fetched again before this has ended is not repaired, or left, against it.
        repairs.decide(warehouse, [repair.repair_id for repair in chosen], decision, now)
        for bars in one_bar_each(chosen):
            _write(warehouse, calendar, bars, decision, now, thresholds)
        return repairs.find(warehouse, repair_ids=repair_ids)


def _refuse_impossible(repair_ids: Sequence[int], chosen: Sequence[Repair], decision: str) -> None:
    known = {repair.repair_id: repair for repair in chosen}
    for number in repair_ids:
        if number not in known:
            raise NoSuchRepair(f"no repair bears the number {number}; `qm repairs list` shows them")
        repair = known[number]
        done = repair.state == "applied" if decision == APPLY else repair.state != "applied"
        if done:
            raise NoSuchRepair(
                f"repair {number} ({repair.symbol} {repair.session}, {repair.rule}) is {repair.state}:"
                f" nothing to {decision}"
            )


def one_bar_each(chosen: Sequence[Repair]) -> list[list[Repair]]:
    """Part the repairs so that no part holds two of one bar, and each those of one source."""
    parts: dict[tuple[str, str, date | None, int], list[Repair]] = defaultdict(list)
    times: dict[tuple[int, date], int] = defaultdict(int)
    for repair in chosen:
        key = (repair.instrument_id, repair.session)
        parts[repair.vendor, repair.basis, repair.basis_date, times[key]].append(repair)
        times[key] += 1
    return list(parts.values())


def _write(
    warehouse: Warehouse,
    calendar: TradingCalendar,
    bars: Sequence[Repair],
    decision: str,
    now: datetime,
    thresholds: Thresholds,
) -> None:
    numbers = [repair.original if decision == UNDO else repair.repaired for repair in bars]
    there = [any(number is not None for number in row) for row in numbers]
    written = [repair for repair, some in zip(bars, there, strict=True) if some]
    if written:
        rows = [row for row, some in zip(numbers, there, strict=True) if some]
        reason = f"repair {'undone' if decision == UNDO else 'applied'}"
        store_again(warehouse, calendar, written, rows, reason, now, thresholds)
    _withdraw(warehouse, bars, numbers, now)


def store_again(
    warehouse: Warehouse,
    calendar: TradingCalendar,
    bars: Sequence[Repair],
    numbers: Sequence[tuple[float | None, ...]],
    reason: str,
    now: datetime,
    thresholds: Thresholds,
    repair_at: float = OFF,
) -> None:
    """Store these numbers, open to volume each, as the bars of repairs of one source, one of each bar."""
    known = universe.named(warehouse, sorted({repair.instrument_id for repair in bars}))
    symbols = tuple(sorted({repair.symbol for repair in bars}))
    columns = np.array([[np.nan if x is None else x for x in row] for row in numbers], np.float64)
    batch = BarBatch(
        symbols,
        np.array([symbols.index(repair.symbol) for repair in bars], np.int32),
        np.array([repair.session for repair in bars], "datetime64[D]"),
        *(np.ascontiguousarray(columns[:, k]) for k in range(len(FIELDS))),
    )
    requests = {
        symbol: BarRequest(symbol, np.unique(batch.session[batch.symbol_index == at]))
        for at, symbol in enumerate(symbols)
    }
    first = bars[0]
    answer = DailyAnswer(first.vendor, Basis(first.basis), first.basis_date, batch)
    report = IngestReport(first.vendor, batch.session.min().item(), batch.session.max().item())
    instruments = {instrument.symbol: instrument for instrument in known}
    store_answer(
        warehouse, calendar, instruments, requests, answer, report, now,
        repair_at=repair_at, reason=reason, thresholds=thresholds,
    )  # fmt: skip


def _withdraw(
    warehouse: Warehouse, bars: Sequence[Repair], numbers: Sequence[tuple[float | None, ...]], now: datetime
) -> None:
    """Score 0 whatever stands where a bar is wanted that could not be stored, or none at all."""
    ids = np.unique([repair.instrument_id for repair in bars]).astype(np.int32)
    wanted = {(repair.instrument_id, repair.session): row[:4] for repair, row in zip(bars, numbers, strict=True)}
    with warehouse.arrow() as transaction:
        transaction.lock("bars_1d")
        first, last = min(r.session for r in bars), max(r.session for r in bars)
        stored = tables.read_daily(transaction, instrument_ids=ids, first=first, last=last)
        keys = zip(stored["instrument_id"].to_pylist(), stored["session"].to_pylist(), strict=True)
        prices = zip(*(stored[name].to_pylist() for name in FIELDS[:4]), strict=True)
        other = [key in wanted and wanted[key] != tuple(own) for key, own in zip(keys, prices, strict=True)]
        gone = stored.filter(pa.array(other, pa.bool_()))
        if gone.num_rows == 0:
            return
        nothing = {"quality_score": pa.scalar(0.0), "validated": pa.scalar(False)}
        for name, value in nothing.items():
            gone = gone.set_column(gone.column_names.index(name), name, pa.repeat(value, gone.num_rows))
        tables.write_daily(transaction, gone, now, reason="withdrawn")
        since = pc.min(gone["session"]).as_py()
        history.mark_due(transaction, dict.fromkeys(gone["instrument_id"].to_pylist(), since))
