"""`qm symbols`: the watch list, and what is tracked."""

from __future__ import annotations

import json
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from quantmatrix_pipeline import clock
from quantmatrix_pipeline.errors import UnknownSymbol
from quantmatrix_pipeline.providers.symbols import canonical
from quantmatrix_pipeline.settings import load
from quantmatrix_pipeline.universe.tracking import watch
from quantmatrix_pipeline.warehouse import instruments, universe
from quantmatrix_pipeline.warehouse.engine import Warehouse
from quantmatrix_pipeline.warehouse.locate import open_writer, upgrade

app = typer.Typer(help="The watch list and the tracked set.", no_args_is_help=True)


def _warehouse() -> Warehouse:
    settings = load()
    upgrade(settings)
    return open_writer(settings)


def _canonical(symbols: list[str]) -> list[str]:
    named = {s: canonical(s) for s in symbols}
    if wrong := [s for s, c in named.items() if c is None]:
        raise UnknownSymbol(f"{', '.join(map(repr, wrong))} can't be a symbol; write AAPL, BRK.B, ^GSPC or BTC-USD")
    return [c for c in named.values() if c]


@app.command("list")
def list_command(as_json: Annotated[bool, typer.Option("--json")] = False) -> None:
    """List what is tracked and why."""
    tracked = universe.tracked(_warehouse())
    if as_json:
        typer.echo(
            json.dumps(
                [{"symbol": t.symbol, "first_tracked": str(t.first_tracked), "reasons": t.reasons} for t in tracked]
            )
        )
        return
    table = Table("symbol", "since", "why", box=None)
    for t in tracked:
        table.add_row(t.symbol, str(t.first_tracked), ", ".join(t.reasons))
    Console().print(table)
    typer.echo(f"{len(tracked)} tracked")


@app.command()
def add(symbols: list[str]) -> None:
    """Put symbols on the watch list; the next run fetches them."""
    added = watch(_warehouse(), _canonical(symbols), clock.now())
    typer.echo(f"{added} added, {len(symbols) - added} were on the watch list already; `qm run` fetches their bars")


@app.command()
def remove(symbols: list[str]) -> None:
    """Take symbols off the watch list; their bars and history stay."""
    warehouse = _warehouse()
    wanted = _canonical(symbols)
    known = instruments.ids(warehouse, wanted)
    if unknown := sorted(set(wanted) - set(known)):
        raise UnknownSymbol(f"no instrument bears {', '.join(unknown)}; `qm symbols list` shows those that are known")
    removed = universe.unwatch(warehouse, list(known.values()))
    typer.echo(f"{removed} removed from the watch list")
