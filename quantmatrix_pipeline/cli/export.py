"""`qm export`: bars, snapshots or history as a file that other tools read."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import pyarrow as pa
import pyarrow.csv
import pyarrow.feather
import pyarrow.parquet
import typer

from quantmatrix_pipeline.errors import ConfigurationError, UnknownSymbol
from quantmatrix_pipeline.settings import load
from quantmatrix_pipeline.warehouse import exports, instruments
from quantmatrix_pipeline.warehouse.locate import open_reader

app = typer.Typer(help="Write bars, snapshots or history to a file.", no_args_is_help=True)


class Format(StrEnum):
    PARQUET = "parquet"
    CSV = "csv"
    ARROW = "arrow"


Symbols = Annotated[list[str] | None, typer.Option("--symbol", help="one symbol; may be repeated; default all")]
Day = Annotated[datetime | None, typer.Option(formats=["%Y-%m-%d"], help="inclusive")]
Output = Annotated[Path | None, typer.Option("--output", "-o", help="default: <what>.<format> in this folder")]
FormatOption = Annotated[Format, typer.Option("--format")]


@app.command()
def bars(
    fmt: FormatOption = Format.PARQUET,
    symbol: Symbols = None,
    start: Day = None,
    end: Day = None,
    output: Output = None,
) -> None:
    """Current daily bars as stored, with basis, flags and as_of."""
    _export("bars", fmt, symbol, start, end, output)


@app.command()
def snapshots(fmt: FormatOption = Format.PARQUET, symbol: Symbols = None, output: Output = None) -> None:
    """The latest indicator row of every instrument."""
    _export("snapshots", fmt, symbol, None, None, output)


@app.command()
def history(
    fmt: FormatOption = Format.PARQUET,
    symbol: Symbols = None,
    start: Day = None,
    end: Day = None,
    output: Output = None,
) -> None:
    """The indicator history, all revisions."""
    _export("history", fmt, symbol, start, end, output)


def _export(
    what: str, fmt: Format, symbols: list[str] | None, start: datetime | None, end: datetime | None, output: Path | None
) -> None:
    warehouse = open_reader(load())
    wanted = [s.upper() for s in symbols] if symbols else None
    if wanted and (unknown := sorted(set(wanted) - set(instruments.ids(warehouse, wanted)))):
        raise UnknownSymbol(f"no instrument bears {', '.join(unknown)}; `qm symbols list` shows those that are known")
    target = output or Path(f"{what}.{fmt.value}")
    if not target.parent.exists():
        raise ConfigurationError(f"{target.parent} is no folder; make it, or name another with --output")
    table = exports.read(warehouse, what, wanted, start.date() if start else None, end.date() if end else None)
    partial = target.with_name(target.name + ".part")  # what is half written must not look whole
    _write(table, partial, fmt)
    partial.replace(target)
    typer.echo(f"{table.num_rows:,} rows to {target}")


def _write(table: pa.Table, path: Path, fmt: Format) -> None:
    if fmt is Format.PARQUET:
        pyarrow.parquet.write_table(table, path)
    elif fmt is Format.CSV:
        pyarrow.csv.write_csv(table, path)
    else:
        pyarrow.feather.write_feather(table, path)
