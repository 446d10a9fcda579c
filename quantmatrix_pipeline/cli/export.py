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

from quantmatrix_pipeline import clock
from quantmatrix_pipeline.bars.adjustment import Adjust
from quantmatrix_pipeline.bars.dividends import Convention
from quantmatrix_pipeline.bars.series import Wanted, series
from quantmatrix_pipeline.errors import ConfigurationError, UnknownSymbol
from quantmatrix_pipeline.settings import load
from quantmatrix_pipeline.warehouse import actions, exports, instruments
from quantmatrix_pipeline.warehouse import bars as bar_tables
from quantmatrix_pipeline.warehouse.engine import Warehouse
from quantmatrix_pipeline.warehouse.locate import open_reader

app = typer.Typer(help="Write bars, snapshots or history to a file.", no_args_is_help=True, add_completion=False)


class Format(StrEnum):
    PARQUET = "parquet"
    CSV = "csv"
    ARROW = "arrow"


Symbols = Annotated[list[str] | None, typer.Option("--symbol", help="one symbol; may be repeated; default all")]
Day = Annotated[datetime | None, typer.Option(formats=["%Y-%m-%d"], help="inclusive")]
AsOf = Annotated[str | None, typer.Option(help="as known at this instant, such as 2021-12-31T22:00:00Z")]
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
    as_of: AsOf = None,
    output: Output = None,
) -> None:
    """Current daily bars with basis, flags, as_of, and the factor that made each price."""
    _export("bars", fmt, symbol, start, end, as_of, output, Wanted(adjust, convention))


@app.command()
def snapshots(
    fmt: FormatOption = Format.PARQUET, symbol: Symbols = None, as_of: AsOf = None, output: Output = None
) -> None:
    """The latest indicator row of every instrument."""
    _export("snapshots", fmt, symbol, None, None, as_of, output)


@app.command()
def history(
    fmt: FormatOption = Format.PARQUET,
    symbol: Symbols = None,
    start: Day = None,
    end: Day = None,
    as_of: AsOf = None,
    output: Output = None,
) -> None:
    """The indicator history, all revisions; with --as-of of each row the one that was the newest then."""
    _export("history", fmt, symbol, start, end, as_of, output)


def _export(
    what: str,
    fmt: Format,
    symbols: list[str] | None,
    start: datetime | None,
    end: datetime | None,
    as_of: str | None,
    output: Path | None,
    wanted_series: Wanted | None = None,
) -> None:
    moment = None if as_of is None else _instant(as_of)
    warehouse = open_reader(load())
    wanted = [s.upper() for s in symbols] if symbols else None
    if wanted and (unknown := sorted(set(wanted) - set(instruments.ids(warehouse, wanted)))):
        raise UnknownSymbol(f"no instrument bears {', '.join(unknown)}; `qm symbols list` shows those that are known")
    target = output or Path(f"{what}.{fmt.value}")
    if not target.parent.exists():
        raise ConfigurationError(f"{target.parent} is no folder; make it, or name another with --output")
    table = exports.read(warehouse, what, wanted, start.date() if start else None, end.date() if end else None, moment)
    if wanted_series is not None:
        table = _series(warehouse, table, wanted_series, moment)
    partial = target.with_name(target.name + ".part")  # what is half written must not look whole
    _write(table, partial, fmt)
    partial.replace(target)
    typer.echo(f"{table.num_rows:,} rows to {target}")


def _instant(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise ConfigurationError(f"--as-of {text}: write an instant with its offset, such as 2021-12-31T22:00:00Z")
    if moment > clock.now():
        raise ConfigurationError(f"--as-of {text} lies ahead; what will be known then is not known yet")
    return moment


def _series(warehouse: Warehouse, table: pa.Table, wanted: Wanted, as_of: datetime | None) -> pa.Table:
    """Put exported bars into the series wanted, and name it beside each."""
    with warehouse.arrow() as transaction:
        splits, dividends = actions.read_splits(transaction, as_of), actions.read_dividends(transaction, as_of)
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
