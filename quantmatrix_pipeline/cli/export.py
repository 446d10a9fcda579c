"""`qm export`: bars, snapshots or history as a file that other tools read."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.feather
import pyarrow.parquet
import typer

from quantmatrix_pipeline.bars.adjustment import Adjust
from quantmatrix_pipeline.bars.dividends import Convention
from quantmatrix_pipeline.bars.series import Wanted, series
from quantmatrix_pipeline.errors import ConfigurationError, UnknownSymbol
from quantmatrix_pipeline.settings import load
from quantmatrix_pipeline.warehouse import actions, exports, instruments
from quantmatrix_pipeline.warehouse import bars as bar_tables
from quantmatrix_pipeline.warehouse.engine import Warehouse
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
    adjust: Annotated[
        Adjust | None,
        typer.Option(help="as traded, in shares of each last session, or with dividends; default: as stored"),
    ] = None,
    convention: Annotated[
        Convention, typer.Option(help="by which close a dividend is measured")
    ] = Convention.PREVIOUS_CLOSE,
    output: Output = None,
) -> None:
    """Current daily bars with basis, flags, as_of, and the factor that made each price."""
    _export("bars", fmt, symbol, start, end, output, Wanted(adjust, convention))


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
    what: str,
    fmt: Format,
    symbols: list[str] | None,
    start: datetime | None,
    end: datetime | None,
    output: Path | None,
    wanted_series: Wanted | None = None,
) -> None:
    warehouse = open_reader(load())
    wanted = [s.upper() for s in symbols] if symbols else None
    if wanted and (unknown := sorted(set(wanted) - set(instruments.ids(warehouse, wanted)))):
        raise UnknownSymbol(f"no instrument bears {', '.join(unknown)}; `qm symbols list` shows those that are known")
    target = output or Path(f"{what}.{fmt.value}")
    if not target.parent.exists():
        raise ConfigurationError(f"{target.parent} is no folder; make it, or name another with --output")
    table = exports.read(warehouse, what, wanted, start.date() if start else None, end.date() if end else None)
    if wanted_series is not None:
        table = _series(warehouse, table, wanted_series)
    partial = target.with_name(target.name + ".part")  # what is half written must not look whole
    _write(table, partial, fmt)
    partial.replace(target)
    typer.echo(f"{table.num_rows:,} rows to {target}")


def _series(warehouse: Warehouse, table: pa.Table, wanted: Wanted) -> pa.Table:
    """Put exported bars into the series wanted, and name it beside each."""
    with warehouse.arrow() as transaction:
        splits, dividends = actions.read_splits(transaction), actions.read_dividends(transaction)
    order = pa.array(np.lexsort((table["session"].to_numpy(), table["instrument_id"].to_numpy())))
    try:
        adjusted, refused = series(table.take(order), wanted, bar_tables.sources(warehouse), splits, dividends)
    except ValueError as error:
        raise ConfigurationError(f"{error}; export with --adjust split, or other symbols or days") from None
    names = dict(zip(table["instrument_id"].to_pylist(), table["symbol"].to_pylist(), strict=True))
    for dividend in refused:
        typer.echo(f"{names[dividend.instrument_index]}: {dividend}", err=True)
    back = pa.array(np.argsort(order.to_numpy()))  # by symbol again
    for name, value in (("adjust", wanted.adjust), ("convention", wanted.by)):
        adjusted = adjusted.append_column(name, pa.repeat(pa.scalar(value, pa.string()), adjusted.num_rows))
    return adjusted.take(back).drop_columns(["instrument_id", "source_id"])


def _write(table: pa.Table, path: Path, fmt: Format) -> None:
    if fmt is Format.PARQUET:
        pyarrow.parquet.write_table(table, path)
    elif fmt is Format.CSV:
        pyarrow.csv.write_csv(table, path)
    else:
        pyarrow.feather.write_feather(table, path)
