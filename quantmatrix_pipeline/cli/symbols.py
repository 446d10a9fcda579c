"""`qm symbols`: the watch list, what is tracked, names that pass on, and who was in an index when."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import date, datetime
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from quantmatrix_pipeline import clock
from quantmatrix_pipeline.errors import ConfigurationError, UnknownSymbol
from quantmatrix_pipeline.providers.symbols import canonical
from quantmatrix_pipeline.settings import load
from quantmatrix_pipeline.universe import nights
from quantmatrix_pipeline.universe.tracking import watch
from quantmatrix_pipeline.warehouse import instruments, membership, naming, reads, tiers, universe
from quantmatrix_pipeline.warehouse.engine import Warehouse
from quantmatrix_pipeline.warehouse.locate import open_writer, upgrade

app = typer.Typer(
    help="The tracked set, names over time, and index members over time.", no_args_is_help=True, add_completion=False
)


DAY = ["%Y-%m-%d"]
AsJson = Annotated[bool, typer.Option("--json")]


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


@app.command()
def rename(
    old: Annotated[str, typer.Argument(help="The symbol that is given up.")],
    new: Annotated[str, typer.Argument(help="The symbol that takes its place.")],
    on: Annotated[datetime, typer.Option(formats=DAY, help="The first day under the new symbol.")],
    absorb: Annotated[
        bool,
        typer.Option("--absorb", help="An instrument that was made for the new symbol meanwhile gives it up."),
    ] = False,
) -> None:
    """Say that an instrument is called otherwise from a day on; its bars, history and index stays stay with it."""
    before, after = _canonical([old, new])
    day = _past(on)
    done = naming.rename(_warehouse(), before, after, day, source="operator", now=clock.now(), absorb=absorb)
    said = f"{before} is {after} from {day} on"
    typer.echo(f"{said}; nothing else moved" if done.changed else f"{said}, as was known")
    if done.left_behind:
        typer.echo(
            f"{done.left_behind:,} bars that were stored for {after} meanwhile stay unread with the instrument"
            " made for it; the next `qm run` fetches those that are missing"
        )


@app.command()
def reuse(
    symbol: str,
    on: Annotated[datetime, typer.Option(formats=DAY, help="The first day on which the other company bears it.")],
    name: Annotated[str | None, typer.Option(help="That company's name.")] = None,
) -> None:
    """Say that another company bears a symbol from a day on: a new instrument, without anything from before."""
    (wanted,) = _canonical([symbol])
    day = _past(on)
    done = naming.reuse(_warehouse(), wanted, day, source="operator", now=clock.now(), name=name)
    said = f"{wanted} is another company from {day} on"
    typer.echo(f"{said}; `qm symbols add {wanted}` follows it" if done.changed else f"{said}, as was known")
    if done.left_behind:
        typer.echo(f"{done.left_behind:,} bars on or after {day} are stored with the earlier company and stay there")


@app.command()
def names(symbol: str, as_json: AsJson = False) -> None:
    """Show all names of every instrument that ever bore a symbol."""
    (wanted,) = _canonical([symbol])
    rows = reads.names(_warehouse(), wanted).to_pylist()
    if as_json:
        typer.echo(json.dumps(rows, default=str))
        return
    table = Table("instrument", "symbol", "from", "until", "name", "delisted", box=None)
    for row in rows:
        since = "" if row["valid_from"] == membership.SINCE_EVER else str(row["valid_from"])
        ends = [str(row[column] or "") for column in ("valid_to", "name", "delisted_on")]
        table.add_row(str(row["instrument_id"]), row["symbol"], since, *ends)
    Console().print(table)


@app.command()
def members(
    index: Annotated[str, typer.Argument(help="SP500, NASDAQ100, DOW30 or R2000.")],
    on: Annotated[datetime, typer.Option(formats=DAY, help="The day.")],
    as_json: AsJson = False,
) -> None:
    """Show who was in an index on a day; refused where that is not known, never answered with another day's list."""
    rows = membership.members_on(_warehouse(), index, on.date()).to_pylist()
    if as_json:
        typer.echo(json.dumps(rows, default=str))
        return
    table = Table("symbol", "now", "since", "until", "name", box=None)
    for row in rows:
        now = "" if row["current_symbol"] == row["symbol"] else row["current_symbol"] or "?"
        since = "" if row["start_on"] == membership.SINCE_EVER else str(row["start_on"])
        table.add_row(row["symbol"], now, since, str(row["end_on"] or ""), row["name"] or "")
    Console().print(table)
    typer.echo(
        f"{len(rows)} members of {index.upper()} on {on:%Y-%m-%d}, from {rows[0]['source'] if rows else 'nobody'}"
    )


@app.command()
def diff(
    first: Annotated[datetime, typer.Argument(formats=DAY, metavar="D1")],
    second: Annotated[datetime, typer.Argument(formats=DAY, metavar="D2")],
    as_json: AsJson = False,
) -> None:
    """Show what differs between the tracked sets of two nights."""
    warehouse = _warehouse()
    earlier, later = sorted((first.date(), second.date()))
    before, after = tiers.night(warehouse, earlier), tiers.night(warehouse, later)
    found = nights.difference(before, after, tiers.renamed_between(warehouse, earlier, later))
    if as_json:
        ends = {"from": before.session, "from_hash": before.hash, "to": after.session, "to_hash": after.hash}
        typer.echo(json.dumps(ends | asdict(found), default=str))
        return
    for night in (before, after):
        typer.echo(f"{night.session}  {len(night.tiers):>6} tracked  {night.hash[:12]}")
    for sign, symbols in (("+", found.joined), ("-", found.left)):
        for symbol in symbols:
            typer.echo(f"{sign} {symbol}")
    for old, new in found.renamed:
        typer.echo(f"= {old} is {new} now")
    for symbol, was, now in found.moved:
        typer.echo(f"~ {symbol} {was} -> {now}")


def _past(day: datetime) -> date:
    """Return the day; a name that has not passed on yet can't be declared as one that has."""
    today = clock.now().date()
    if day.date() > today:
        raise ConfigurationError(
            f"{day.date()} has not come yet (today is {today}); say it then, or now in the renames file of a folder"
        )
    return day.date()
