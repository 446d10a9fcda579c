"""`qm gaps`: what is missing and why, and what is accepted as missing."""

from __future__ import annotations

import getpass
import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from quantmatrix_pipeline import clock
from quantmatrix_pipeline.bars.sessions import trading_calendar
from quantmatrix_pipeline.coverage.expected import ORDER
from quantmatrix_pipeline.coverage.gaps import scan
from quantmatrix_pipeline.errors import ConfigurationError, UnknownSymbol
from quantmatrix_pipeline.providers.symbols import canonical
from quantmatrix_pipeline.settings import Settings, load
from quantmatrix_pipeline.warehouse import gaps, instruments
from quantmatrix_pipeline.warehouse.engine import Warehouse
from quantmatrix_pipeline.warehouse.locate import open_writer, upgrade

app = typer.Typer(
    help="What is missing and why, and what is accepted as missing.", no_args_is_help=True, add_completion=False
)

ACCEPTABLE = ("halted", "outage", "vendor_hole")
By = Annotated[str | None, typer.Option(help="who says so; default: the account that runs this")]
AsJson = Annotated[bool, typer.Option("--json", help="as JSON")]


def _open() -> tuple[Settings, Warehouse]:
    settings = load()
    upgrade(settings)
    return settings, open_writer(settings)


@app.command("list")
def list_command(
    symbol: Annotated[str | None, typer.Option(help="of this symbol only, with what lies outside its life")] = None,
    reason: Annotated[str | None, typer.Option(help=f"one of {', '.join(ORDER)}")] = None,
    limit: Annotated[int, typer.Option(min=1, help="so many, the newest first")] = 50,
    as_json: AsJson = False,
) -> None:
    """List the stretches of sessions without a bar, as of the last run."""
    if reason is not None and reason not in ORDER:
        raise ConfigurationError(f"--reason {reason!r}: one of {', '.join(ORDER)}")
    name = _canonical(symbol) if symbol else None
    found = gaps.find(_open()[1], symbol=name, reason=reason, limit=limit)
    _show([asdict(gap) for gap in found], as_json)


@app.command()
def accept(
    first: Annotated[datetime, typer.Argument(formats=["%Y-%m-%d"], help="first session")],
    last: Annotated[datetime | None, typer.Argument(formats=["%Y-%m-%d"], help="last session; default: first")] = None,
    symbol: Annotated[str | None, typer.Option(help="the symbol that lacks bars; without it --all is needed")] = None,
    everybody: Annotated[bool, typer.Option("--all", help="every symbol of the exchange")] = False,
    reason: Annotated[str, typer.Option(help=f"one of {', '.join(ACCEPTABLE)}")] = "vendor_hole",
    note: Annotated[str, typer.Option(help="why: what one would want to read in a year")] = "",
    by: By = None,
) -> None:
    """Accept that there is no bar: not asked for again, no failed check, no staleness."""
    if (symbol is None) != everybody:
        raise ConfigurationError("name either one --symbol or --all")
    if reason not in ACCEPTABLE:
        raise ConfigurationError(f"--reason {reason!r}: one of {', '.join(ACCEPTABLE)}")
    if not note.strip():
        raise ConfigurationError("--note is empty; say why, for whoever reads it in a year")
    settings, warehouse = _open()
    calendar = trading_calendar(settings.calendar)
    start, end = first.date(), (last or first).date()
    if not len(calendar.sessions_in(start, end)):
        raise ConfigurationError(f"there is no session of {calendar.name} from {start} to {end}")
    instrument_id = None
    if symbol:
        name = _canonical(symbol)
        instrument_id = instruments.ids(warehouse, [name]).get(name)
        if instrument_id is None:
            raise UnknownSymbol(f"no instrument bears {name}; `qm symbols list` shows those that are known")
    number = gaps.accept(
        warehouse,
        instrument_id=instrument_id,
        calendar=calendar.name,
        first=start,
        last=end,
        reason=reason,
        note=note.strip(),
        by=by or getpass.getuser(),
        now=clock.now(),
    )
    if number is None:
        typer.echo("nothing to do: exactly these sessions are accepted already")
        return
    _rescan(settings, warehouse)
    typer.echo(f"accepted as exception {number}; `qm gaps withdraw {number}` takes it back")


@app.command()
def exceptions(as_json: AsJson = False) -> None:
    """List the exceptions in force: what, why, who, when."""
    settings, warehouse = _open()
    found = gaps.exceptions(warehouse, trading_calendar(settings.calendar).name)
    _show([asdict(one) | {"symbol": one.symbol or "all"} for one in found], as_json)


@app.command()
def withdraw(number: int, by: By = None) -> None:
    """Take an exception back: its sessions are asked for again."""
    settings, warehouse = _open()
    if not gaps.withdraw(warehouse, number, by=by or getpass.getuser(), now=clock.now()):
        raise ConfigurationError(f"no exception {number} is in force; `qm gaps exceptions` lists them")
    _rescan(settings, warehouse)
    typer.echo(f"exception {number} is withdrawn; the next run asks for its sessions")


def _rescan(settings: Settings, warehouse: Warehouse) -> None:
    """Let the tables say at once what follows."""
    if newest := gaps.newest_session(warehouse):
        calendar = trading_calendar(settings.calendar)
        scan(warehouse, calendar, newest, depth=settings.history_sessions, now=clock.now())


def _canonical(symbol: str) -> str:
    name = canonical(symbol)
    if name is None:
        raise UnknownSymbol(f"{symbol!r} can't be a symbol; write AAPL, BRK.B, ^GSPC or BTC-USD")
    return name


def _show(rows: Sequence[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(rows, default=str))
        return
    if not rows:
        typer.echo("none")
        return
    shown = [name for name in rows[0] if name != "instrument_id"]
    table = Table(*shown, box=None)
    for row in rows:
        table.add_row(*(str(row[name]) for name in shown))
    Console().print(table)
