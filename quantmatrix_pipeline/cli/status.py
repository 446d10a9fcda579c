"""`qm status` and `qm coverage`: is tonight right, and if not, what to press."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from quantmatrix_pipeline import clock
from quantmatrix_pipeline.bars.sessions import trading_calendar
from quantmatrix_pipeline.coverage.standing import Standing, standing
from quantmatrix_pipeline.coverage.state import BUCKETS, SHOWN_STALE
from quantmatrix_pipeline.errors import WarehouseError
from quantmatrix_pipeline.schedules.file import in_force
from quantmatrix_pipeline.settings import load
from quantmatrix_pipeline.warehouse import audit, coverage_fill
from quantmatrix_pipeline.warehouse.engine import Warehouse
from quantmatrix_pipeline.warehouse.locate import embedded, open_reader
from quantmatrix_pipeline.warehouse.row_counts import RowCounter

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Days = Annotated[int, typer.Option("--history", min=0, help="Show how full this many newest sessions are.")]


def _now() -> tuple[Warehouse, Standing, Mapping[str, Any]]:
    settings = load()
    warehouse = open_reader(settings, start=False)
    if settings.database_url is None and not embedded(settings).is_running():
        raise WarehouseError("the embedded database is stopped; `qm db upgrade` starts it")
    found = standing(warehouse, trading_calendar(settings.calendar), clock.now())
    if found.report is None:
        raise WarehouseError("no chain has run yet -> press restore_daily_coverage (`qm run`)")
    as_now = {"status": found.status, "reasons": found.reasons, "job": found.job, "headline": found.headline}
    return warehouse, found, {**found.report, **as_now}


def _computed_at(found: Standing) -> str:
    assert found.computed_at is not None
    return found.computed_at.isoformat(timespec="seconds")


def status(as_json: AsJson = False) -> None:
    """The state in one line (session, ok or degraded, why, the job to press), then what the warehouse holds."""
    warehouse, found, report = _now()
    broken = in_force(load()).trouble
    counts = RowCounter()(warehouse)
    totals = audit.totals(warehouse)
    if as_json:
        body = {"coverage": report, "computed_at": _computed_at(found), "rows": counts, "schedules_file": broken}
        typer.echo(json.dumps(body, default=str))
        return
    console = Console(soft_wrap=True)
    console.print(found.headline, style="bold", highlight=False, markup=False)
    if broken:
        console.print(f"schedules file: {broken}", style="bold", highlight=False, markup=False)
    table = Table(box=None, show_header=False, pad_edge=False)
    for name, count in counts.items():
        table.add_row(name, f"{count:,}")
    if totals["records"]:
        table.add_row("validated share", f"{totals['validated'] / totals['records']:.4%}")
    table.add_row("coverage worked out", _computed_at(found))
    console.print(table, highlight=False)


def coverage(as_json: AsJson = False, days: Days = 0) -> None:
    """The newest coverage report: ages in sessions, stale symbols, by index and tier, how full sessions are."""
    warehouse, found, report = _now()
    fill = coverage_fill.between(warehouse, None, None, days).to_pylist()
    if as_json:
        typer.echo(json.dumps({**report, **({"history": fill} if days else {})}, default=str))
        return
    console = Console(soft_wrap=True)
    console.print(found.headline, style="bold", highlight=False, markup=False)
    stale = report["stale"]
    _print(
        console,
        ["age of the newest bar", "instruments", "symbols"],
        ((b, report["buckets"][b], _listed(stale.get(b, []))) for b in BUCKETS),
    )
    # Reports made before these were told have none.
    groups = {**report.get("by_index", {}), **report.get("by_tier", {})}
    # By name: the database keeps no order of them.
    ages = ((name, *(counts[b] for b in BUCKETS)) for name, counts in groups.items())
    _print(console, ["index or tier", *BUCKETS], ages)
    _print(console, coverage_fill.SCHEMA.names, (row.values() for row in fill))
    indexes = ", ".join(f"{name} {members}" for name, members in report["indices"].items()) or "none"
    console.print(
        f"indexes: {indexes}; delisted: {report['delisted']}; bars of five minutes: inactive;"
        f" worked out {_computed_at(found)}",
        highlight=False,
    )


def _listed(symbols: Sequence[str]) -> str:
    return ", ".join(symbols) + (" ..." if len(symbols) == SHOWN_STALE else "")


def _print(console: Console, columns: Sequence[str], rows: Iterable[Iterable[object]]) -> None:
    """Print a table; nothing where it has no rows."""
    table = Table(*columns, box=None)
    for row in rows:
        table.add_row(*map(str, row))
    if table.row_count:
        console.print(table, highlight=False)
