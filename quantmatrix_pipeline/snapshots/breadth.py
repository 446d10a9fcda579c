"""Record the breadth of the market by session: whom it counts, and when a session is counted again."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime

import numpy as np
import pyarrow as pa

from quantmatrix_pipeline.indicators.breadth import AVERAGES, BREADTH_COLUMNS, STAGE_COLUMNS, YEAR, MarketBreadth
from quantmatrix_pipeline.indicators.panel import Panel
from quantmatrix_pipeline.snapshots.method import DEFAULT_METHOD, Method
from quantmatrix_pipeline.snapshots.panel import read_panel
from quantmatrix_pipeline.snapshots.record import PanelUpTo
from quantmatrix_pipeline.warehouse import breadth as tables
from quantmatrix_pipeline.warehouse import instruments
from quantmatrix_pipeline.warehouse.engine import Warehouse
from quantmatrix_pipeline.warehouse.history import HistoryCounts

SQL_TYPES = {"count": "integer", "float": "double precision"}
_ARROW_TYPES = {"count": pa.int32(), "float": pa.float64()}


@dataclass(frozen=True, slots=True)
class BreadthReport:
    """What recording a range of sessions did, and the breadth of the last of them, empty where nobody has a bar."""

    counts: HistoryCounts
    newest: Mapping[str, float | None]
    seconds: float


def record_breadth(
    warehouse: Warehouse,
    first: date,
    last: date,
    *,
    now: datetime,
    method: Method = DEFAULT_METHOD,
    lock_wait_seconds: float = 600,
    panel_up_to: PanelUpTo | None = None,
) -> BreadthReport:
    """Count the stocks of all sessions of [first, last], both inclusive, and of recorded ones that are due: one pass.

    Who counts is a stock that has a usable bar on the session, whether it is tracked still or not: the instruments of
    which the history has a row, without funds, indexes, coins and the benchmark. A session that was recorded before
    gets a new revision only where its numbers differ. Unlike a rank, which stays what was known of the others, breadth
    follows every late bar: a session's newest revision is the sum of the newest revisions of its rows.
    """
    started = time.perf_counter()
    panel_up_to = panel_up_to or (lambda day: read_panel(warehouse, day))
    with warehouse.exclusive("breadth", lock_wait_seconds), warehouse.arrow() as transaction:
        transaction.lock("breadth")
        due = tables.take_due(transaction)
        counted = _count(warehouse, panel_up_to(max([last, *due])), min([first, *due]), max([last, *due]), method)
        session = counted["session"].to_numpy().astype("datetime64[D]")
        wanted = (session >= np.datetime64(first, "D")) & (session <= np.datetime64(last, "D"))
        wanted |= np.isin(session, np.array(due, "datetime64[D]"))
        counts = tables.record(transaction, counted.filter(pa.array(wanted)), now)
    newest = counted.filter(pa.array(session == np.datetime64(last, "D"))).drop_columns("session").to_pylist()
    return BreadthReport(counts, newest[0] if newest else {}, time.perf_counter() - started)


def _count(warehouse: Warehouse, panel: Panel, first: date, last: date, method: Method) -> pa.Table:
    panel = replace(panel, stage_rules=method.stage_rules)
    stocks = np.array(sorted(instruments.stock_ids(warehouse) - uncounted(warehouse, method)), np.int32)
    panel = panel.select(np.flatnonzero(np.isin(panel.instrument_ids, stocks)))
    start = np.datetime64(first, "D")
    breadth = MarketBreadth.of_session(panel, start) if first == last else MarketBreadth.over_sessions(panel, start)
    columns = {"session": pa.array(breadth.sessions, pa.date32())}
    for column in BREADTH_COLUMNS:  # NaN, which means that there is nobody to share among, becomes null
        columns[column.name] = pa.array(breadth.values[column.name], from_pandas=True).cast(_ARROW_TYPES[column.kind])
    return pa.table(columns)


def uncounted(warehouse: Warehouse, method: Method) -> set[int]:
    """Return whom breadth leaves out besides what is no stock: the benchmark, which a source may not call a fund."""
    return set(instruments.ids(warehouse, [method.benchmark]).values())


def faults(warehouse: Warehouse, session: date, method: Method) -> list[str]:
    """Return in what a session's recorded breadth contradicts itself or the rows that the history has of it."""
    found = tables.of_session(warehouse, session)
    stages = tables.stages_in_history(warehouse, session, sorted(uncounted(warehouse, method)))
    if found is None:
        return [f"no breadth is recorded, of {sum(stages.values())} stocks with a row"] if stages else []
    value: Mapping[str, int] = {c.name: found[c.name] for c in BREADTH_COLUMNS if c.kind == "count"}  # type: ignore[misc]
    everyone = value["instruments"]
    wrong = []
    if sum(value[name] for name in STAGE_COLUMNS.values()) != everyone:
        wrong.append(f"the stages' counts do not add up to the {everyone} instruments")
    if value["advances"] + value["declines"] + value["unchanged"] > everyone:
        wrong.append(f"more than the {everyone} instruments advance, decline or stay")
    for part, whole in (
        *((f"above_sma_{n}", f"with_sma_{n}") for n in AVERAGES),
        (f"new_highs_{YEAR}", f"with_{YEAR}_bars"),
        (f"new_lows_{YEAR}", f"with_{YEAR}_bars"),
    ):
        if not 0 <= value[part] <= value[whole] <= everyone:
            wrong.append(
                f"{part} {value[part]}, {whole} {value[whole]} and instruments {everyone} do not contain one another"
            )
    for label, name in STAGE_COLUMNS.items():
        if value[name] != stages.get(label, 0):
            wrong.append(f"{name} is {value[name]}, the history has {stages.get(label, 0)} such rows")
    return wrong
