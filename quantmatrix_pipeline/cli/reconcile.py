"""`qm reconcile`: where two sources differ, by how much, and why."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from quantmatrix_pipeline.bars.batch import BarBatch
from quantmatrix_pipeline.bars.reconcile.causes import LOOKS_LIKE
from quantmatrix_pipeline.bars.reconcile.classify import Limits, compare
from quantmatrix_pipeline.bars.reconcile.pair import align
from quantmatrix_pipeline.bars.reconcile.summary import Summary, summarise
from quantmatrix_pipeline.errors import ConfigurationError, UnknownSymbol
from quantmatrix_pipeline.providers.symbols import canonical
from quantmatrix_pipeline.providers.vendors.files.tables import SUFFIXES, read_table
from quantmatrix_pipeline.settings import load
from quantmatrix_pipeline.warehouse import reconciliation
from quantmatrix_pipeline.warehouse.locate import open_writer, upgrade

app = typer.Typer(help="What a second source says of the same bars.", no_args_is_help=True, add_completion=False)

File = Annotated[Path, typer.Argument(help="Parquet or CSV with symbol,date,open,high,low,close,volume")]


@app.command()
def files(
    first: File,
    second: File,
    percent: Annotated[
        float | None, typer.Option(min=0, help="prices that differ by more; QM_RECONCILE_PRICE_PERCENT by default")
    ] = None,
    symbol: Annotated[str | None, typer.Option(help="of this symbol only")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="for programs")] = False,
) -> None:
    """Compare two files of daily bars on the same basis; nothing is stored."""
    settings = load()
    limit = (settings.reconcile_price_percent if percent is None else percent) / 100
    symbols, pair = align(*(_read(path, symbol) for path in (first, second)))
    if not len(pair):
        raise ConfigurationError(f"{first.name} and {second.name} have no bar of one symbol and day in common")
    found = summarise(symbols, compare(pair, Limits(limit, settings.reconcile_volume_percent / 100)), limit)
    if as_json:
        content = asdict(found) | {
            "explained": found.explained,
            "stretches": [{"symbol": name} | _plain(asdict(s)) for name, s in found.stretches],
        }
        typer.echo(json.dumps(content, default=str))
        return
    _show(found, limit)


@app.command("list")
def list_command(
    symbol: Annotated[str | None, typer.Option(help="of this symbol only")] = None,
    cause: Annotated[str | None, typer.Option(help="of this cause only: see `qm reconcile causes`")] = None,
    verdict: Annotated[str | None, typer.Option(help="convention, stored, second or open only")] = None,
    limit: Annotated[int, typer.Option(min=1, help="so many, the newest sessions first")] = 50,
    as_json: Annotated[bool, typer.Option("--json", help="for programs")] = False,
) -> None:
    """List what second vendors contradict in stored bars, as the nights found it."""
    _one_of(cause, tuple(LOOKS_LIKE), "--cause")
    _one_of(verdict, reconciliation.VERDICTS, "--verdict")
    name = canonical(symbol) if symbol else None
    if symbol and name is None:
        raise UnknownSymbol(f"{symbol!r} can't be a symbol; write AAPL, BRK.B, ^GSPC or BTC-USD")
    settings = load()
    upgrade(settings)
    found = reconciliation.find(open_writer(settings), symbol=name, cause=cause, verdict=verdict, limit=limit)
    if as_json:
        typer.echo(json.dumps([asdict(difference) for difference in found], default=str))
        return
    table = Table(
        "symbol", "session", "field", "vendor", "stored", "other", "says", "off", "cause", "verdict", box=None
    )
    for d in found:
        off = f"{100 * d.difference:+.2f} %"
        both = (d.vendor, f"{d.stored:.10g}", d.second_vendor, f"{d.second:.10g}")
        table.add_row(d.symbol, str(d.session), d.field, *both, off, d.cause, d.verdict)
    Console().print(table)
    typer.echo(f"{len(found)} differences")


@app.command()
def causes() -> None:
    """Say which causes of a difference are told apart, and by what."""
    for cause, looks in LOOKS_LIKE.items():
        typer.echo(f"{cause.value}\n  {looks}\n")


def _one_of(value: str | None, known: Sequence[str], option: str) -> None:
    if value is not None and value not in known:
        raise ConfigurationError(f"{option} {value!r}: one of {', '.join(known)}")


def _read(path: Path, symbol: str | None) -> BarBatch:
    if not path.is_file():
        raise ConfigurationError(f"{path}: no such file")
    if not path.name.lower().endswith(SUFFIXES):
        raise ConfigurationError(f"{path.name}: a file of bars ends with {', '.join(SUFFIXES)}")
    table = read_table(path)
    if table.failure is not None:
        raise table.failure
    bars = table.bars
    if symbol is None:
        return bars
    if symbol not in bars.symbols:
        raise ConfigurationError(f"{path.name}: no bar of {symbol}")
    return bars.take(bars.symbol_index == bars.symbols.index(symbol))


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    """Return the values with null for a ratio of volumes that are not there."""
    return {name: None if isinstance(x, float) and math.isnan(x) else x for name, x in values.items()}


def _show(found: Summary, limit: float) -> None:
    typer.echo(
        f"{found.bars:,} bars in both, {found.only_first:,} in the first only, {found.only_second:,} in the other"
    )
    share = "" if found.explained is None else f", {found.explained:.2%} of them with a cause"
    typer.echo(f"{found.price_differs:,} differ in a price by more than {100 * limit:g} %{share}")
    typer.echo(f"{found.volume_differs:,} more in the volume only")
    console = Console()
    if found.causes:
        table = Table("cause", "bars", box=None)
        for cause, count in found.causes.items():
            table.add_row(cause.value, f"{count:,}")
        console.print(table)
    if found.stretches:
        table = Table("symbol", "from", "to", "second/first", "cause", "ex-date", box=None)
        for name, s in found.stretches:
            ex_date = "after these bars" if s.ex_date is None else str(s.ex_date)
            table.add_row(name, str(s.first), str(s.last), f"{s.price_ratio:.5f}", s.cause.value, ex_date)
        console.print(table)
