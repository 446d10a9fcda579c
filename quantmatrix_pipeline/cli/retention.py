"""`qm retention`: what is older than the settings keep it, and let it go."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from quantmatrix_pipeline import clock
from quantmatrix_pipeline.settings import load
from quantmatrix_pipeline.warehouse import retention as old_rows
from quantmatrix_pipeline.warehouse.locate import open_writer, upgrade


def retention(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="only say what would go")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="as JSON")] = False,
) -> None:
    """Let go what is older than the settings keep it: intraday bars, superseded versions, logs; never history."""
    settings = load()
    upgrade(settings)
    warehouse = open_writer(settings)
    act = old_rows.find if dry_run else old_rows.enforce
    found = act(warehouse, old_rows.Limits.of(settings), clock.now())
    if as_json:
        typer.echo(json.dumps([asdict(old) for old in found], default=str))
        return
    if found:
        table = Table("table", "older than", "rows", "MB", box=None)
        for old in found:
            size = f"{old.bytes / 1e6:,.1f}"
            table.add_row(old.partition or old.table, f"{old.before:%Y-%m-%d}", f"{old.rows:,}", size)
        Console().print(table)
    rows = sum(old.rows for old in found)
    typer.echo(f"{rows:,} rows would go" if dry_run else f"{rows:,} rows went")
