"""`qm repairs`: bars that were repaired or could be, why, and the way back."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from quantmatrix_pipeline import clock
from quantmatrix_pipeline.bars.repair.catalogue import RULES
from quantmatrix_pipeline.bars.sessions import trading_calendar
from quantmatrix_pipeline.bars.thresholds import Thresholds
from quantmatrix_pipeline.errors import ConfigurationError, UnknownSymbol
from quantmatrix_pipeline.ingest import decide
from quantmatrix_pipeline.providers.symbols import canonical
from quantmatrix_pipeline.settings import Settings, load
from quantmatrix_pipeline.warehouse import repairs
from quantmatrix_pipeline.warehouse.engine import Warehouse
from quantmatrix_pipeline.warehouse.locate import open_writer, upgrade
from quantmatrix_pipeline.warehouse.repairs import STATES, Repair

app = typer.Typer(
    help="Bars that were repaired or could be, and the way back.", no_args_is_help=True, add_completion=False
)

Numbers = Annotated[list[int], typer.Argument(help="the numbers that `qm repairs list` shows")]


def _open() -> tuple[Settings, Warehouse]:
    settings = load()
    upgrade(settings)
    return settings, open_writer(settings)


def _one_of(value: str | None, known: tuple[str, ...], option: str) -> str | None:
    if value is not None and value not in known:
        raise ConfigurationError(f"{option} {value!r}: one of {', '.join(known)}")
    return value


@app.command("list")
def list_command(
    symbol: Annotated[str | None, typer.Option(help="of this symbol only")] = None,
    rule: Annotated[str | None, typer.Option(help="found by this rule only: see `qm repairs rules`")] = None,
    state: Annotated[str | None, typer.Option(help="applied, suggested or undone")] = None,
    limit: Annotated[int, typer.Option(min=1, help="so many, the newest sessions first")] = 50,
    as_json: Annotated[bool, typer.Option("--json", help="with all numbers and the evidence")] = False,
) -> None:
    """List repairs: what came, what stands in its place, by which rule and how surely."""
    _one_of(rule, tuple(RULES), "--rule")
    _one_of(state, STATES, "--state")
    name = canonical(symbol) if symbol else None
    if symbol and name is None:
        raise UnknownSymbol(f"{symbol!r} can't be a symbol; write AAPL, BRK.B, ^GSPC or BTC-USD")
    found = repairs.find(_open()[1], symbol=name, rule=rule, state=state, limit=limit)
    if as_json:
        typer.echo(json.dumps([asdict(repair) for repair in found], default=str))
        return
    _show(found)


@app.command()
def undo(numbers: Numbers) -> None:
    """Bring bars back as they came; they are not repaired so again."""
    settings, warehouse = _open()
    calendar, limits = trading_calendar(settings.calendar), Thresholds.of(settings)
    _show(decide.undo(warehouse, calendar, numbers, clock.now(), settings.lock_wait_seconds, limits))
    typer.echo("the next run records again what follows from them")


@app.command()
def apply(numbers: Numbers) -> None:
    """Carry out repairs that are suggested, or that were undone."""
    settings, warehouse = _open()
    calendar, limits = trading_calendar(settings.calendar), Thresholds.of(settings)
    _show(decide.apply(warehouse, calendar, numbers, clock.now(), settings.lock_wait_seconds, limits))
    typer.echo("the next run records again what follows from them")


@app.command()
def rules() -> None:
    """Say what is looked for, what becomes of it, and how the confidence is reckoned."""
    for rule in RULES.values():
        typer.echo(f"{rule.name}\n  finds       {rule.looks_for}\n  does        {rule.does}")
        typer.echo(f"  confidence  {rule.confidence}\n")


def _show(found: list[Repair]) -> None:
    table = Table(
        "number", "symbol", "session", "rule", "sure", "state", "came: o h l c v", "stands: o h l c v", box=None
    )
    for repair in found:
        after = "withheld" if repair.withheld else _written(repair.repaired)
        table.add_row(
            str(repair.repair_id),
            repair.symbol,
            str(repair.session),
            repair.rule,
            f"{repair.confidence:.2f}",
            repair.state,
            _written(repair.original),
            after,
        )
    Console().print(table)
    typer.echo(f"{len(found)} repairs")


def _written(numbers: tuple[float | None, ...]) -> str:
    return " ".join("-" if number is None else f"{number:.10g}" for number in numbers)
