"""`qm status` and `qm coverage`: is tonight right, and if not, what to press."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from quantmatrix_pipeline.coverage.report import BUCKETS, SHOWN_STALE
from quantmatrix_pipeline.errors import WarehouseError
from quantmatrix_pipeline.settings import load
from quantmatrix_pipeline.warehouse import audit
from quantmatrix_pipeline.warehouse import coverage as tables
from quantmatrix_pipeline.warehouse.engine import Warehouse
from quantmatrix_pipeline.warehouse.locate import embedded, open_reader

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def _reader() -> Warehouse:
    settings = load()
    warehouse = open_reader(settings, start=False)
    if settings.database_url is None and not embedded(settings).is_running():
        raise WarehouseError("the embedded database is stopped; `qm db upgrade` starts it")
    return warehouse


def _newest(warehouse: Warehouse) -> tuple[dict[str, Any], str]:
    found = tables.newest(warehouse)
    if found is None:
        raise WarehouseError("no chain has run yet -> press restore_daily_coverage (`qm run`)")
    return found[0], found[1].isoformat(timespec="seconds")


def status(as_json: AsJson = False) -> None:
    """The state in one line (session, ok or degraded, why, the job to press), then what the warehouse holds."""
    warehouse = _reader()
    report, computed_at = _newest(warehouse)
    counts = audit.row_counts(warehouse)
    totals = audit.totals(warehouse)
    if as_json:
        typer.echo(json.dumps({"coverage": report, "computed_at": computed_at, "rows": counts}, default=str))
        return
    console = Console(soft_wrap=True)
    console.print(report["headline"], style="bold", highlight=False)
    table = Table(box=None, show_header=False, pad_edge=False)
    for name, count in counts.items():
        table.add_row(name, f"{count:,}")
    if totals["records"]:
        table.add_row("validated share", f"{totals['validated'] / totals['records']:.4%}")
    table.add_row("coverage worked out", computed_at)
    console.print(table, highlight=False)


def coverage(as_json: AsJson = False) -> None:
    """The newest coverage report: ages in sessions, stale symbols, indexes."""
    warehouse = _reader()
    report, computed_at = _newest(warehouse)
    if as_json:
        typer.echo(json.dumps(report))
        return
    console = Console(soft_wrap=True)
    console.print(report["headline"], style="bold", highlight=False)
    table = Table("age of the newest bar", "instruments", "symbols", box=None)
    for bucket in BUCKETS:
        shown = report["stale"].get(bucket, [])
        more = " ..." if len(shown) == SHOWN_STALE else ""
        table.add_row(bucket, str(report["buckets"][bucket]), ", ".join(shown) + more)
    console.print(table, highlight=False)
    indexes = ", ".join(f"{name} {members}" for name, members in report["indices"].items()) or "none"
    console.print(f"indexes: {indexes}; delisted: {report['delisted']}; worked out {computed_at}", highlight=False)
