"""Read one file of bars, Parquet or CSV: columns out, odd lines beside them, a clear error where it can't be read."""

from __future__ import annotations

import gzip
import zlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from quantmatrix_pipeline.bars.batch import BarBatch
from quantmatrix_pipeline.errors import MalformedResponse
from quantmatrix_pipeline.providers.answers import UnreadableRow
from quantmatrix_pipeline.providers.symbols import canonical
from quantmatrix_pipeline.providers.vendors.files.columns import (
    BAR_COLUMNS,
    Rows,
    bar_column,
    require_columns,
    to_batch,
    wrong_layout,
)

VENDOR = "files"
PARQUET = (".parquet", ".pq")
CSV = (".csv", ".csv.gz")
SUFFIXES = (*PARQUET, *CSV)

_HEADER_NAMES = 3  # a line with a date column and this many known names is a header, whatever stands before it
_SHOWN = 200  # characters of an unreadable line that are kept


@dataclass(frozen=True, slots=True)
class Table:
    """What one file holds: bars, rows that can't be read as bars, or the reason why nothing of it can be read.

    `file_symbol` is the symbol of a file that names none inside, or None for a file of many.
    """

    path: Path
    bars: BarBatch
    unreadable: tuple[UnreadableRow, ...]
    failure: MalformedResponse | None = None
    file_symbol: str | None = None


def read_table(path: Path, columns: tuple[str, ...] | None = None) -> Table:
    """Read a file of bars.

    Parameters
    ----------
    path
        A Parquet file, a CSV or a gzipped CSV.
    columns
        The column names of a CSV that has no header line.

    Raises
    ------
    ConfigurationError
        If the file is sound but not laid out as bars; names file, row, column and what is expected.
    """
    suffix = next(s for s in SUFFIXES if path.name.lower().endswith(s))
    stem = canonical(path.name[: -len(suffix)])
    try:
        rows, odd = _read_parquet(path) if suffix in PARQUET else _read_csv(path, columns)
    except MalformedResponse as failure:
        return Table(path, BarBatch.empty(), (), failure, stem)
    symbol = None
    if "symbol" not in rows.columns:
        if stem is None:
            raise wrong_layout(path.name, rows.header_row, "symbol", "missing, and the file's name is no symbol either")
        symbol = stem
    bars, unreadable = to_batch(rows, symbol or "")
    return Table(path, bars, (*(replace(row, symbol=symbol) for row in odd), *unreadable), None, symbol)


def _read_parquet(path: Path) -> tuple[Rows, list[UnreadableRow]]:
    try:
        with pq.ParquetFile(path) as file:
            names = [bar_column(n) for n in file.schema_arrow.names]
            require_columns(path.name, 1, names)
            chosen = {n: file.schema_arrow.names[names.index(n)] for n in BAR_COLUMNS if n in names}
        table = pq.read_table(
            path,
            columns=list(chosen.values()),
            read_dictionary=[chosen["symbol"]] if "symbol" in chosen else None,
            partitioning=None,
        )
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError) as error:
        raise MalformedResponse(VENDOR, f"{path.name} can't be read as Parquet: {_first_line(error)}") from error
    columns = {n: table.column(theirs) for n, theirs in chosen.items()}
    return Rows(path.name, columns, np.arange(1, table.num_rows + 1), header_row=1), []


def _read_csv(path: Path, declared: tuple[str, ...] | None) -> tuple[Rows, list[UnreadableRow]]:
    lines = _lines(path)
    header_at, names = (-1, [*map(bar_column, declared)]) if declared else _header(path, lines)
    require_columns(path.name, header_at + 1, names)

    odd = [_odd(path, at + 1, line) for at, line in enumerate(lines[: max(header_at, 0)]) if line.strip()]
    body = lines[header_at + 1 :]
    numbers = np.arange(header_at + 2, len(lines) + 1)
    if "" in body or any('"' in line for line in body):
        # An open quote would swallow the sound lines after it, an empty line shift the numbers.
        whole = [at for at, line in enumerate(body) if line and line.count('"') % 2 == 0]
        odd += [_odd(path, int(numbers[at]), line) for at, line in enumerate(body) if line.count('"') % 2]
        body, numbers = [body[at] for at in whole], numbers[whole]
    if not body:
        raise MalformedResponse(VENDOR, f"{path.name} has a header and no rows")

    skipped: list[int] = []

    def skip(row: pa_csv.InvalidRow) -> str:
        skipped.append(row.number - 1)
        return "skip"

    wanted = [n for n in BAR_COLUMNS if n in names]
    unique = [n if n in wanted else f"{at}:{n}" for at, n in enumerate(names)]
    table = pa_csv.read_csv(
        pa.BufferReader("\n".join(body).encode()),
        pa_csv.ReadOptions(column_names=unique, use_threads=False),
        pa_csv.ParseOptions(invalid_row_handler=skip),
        pa_csv.ConvertOptions(
            column_types={n: pa.string() for n in wanted},
            include_columns=wanted,
            strings_can_be_null=True,
            quoted_strings_can_be_null=True,
            null_values=["", "NaN", "nan", "null", "NULL", "None", "NA", "N/A"],
        ),
    )
    odd += [_odd(path, int(numbers[at]), body[at]) for at in skipped if body[at].strip()]
    odd.sort(key=lambda row: int(row.payload["row"]))
    kept = np.delete(numbers, skipped)
    if len(kept) == 0:
        raise MalformedResponse(VENDOR, f"{path.name} has a header and no row of {len(names)} cells under it")
    return Rows(path.name, {n: table.column(n) for n in wanted}, kept, header_at + 1), odd


def _lines(path: Path) -> list[str]:
    try:
        raw = path.read_bytes()
        if raw[:2] == b"\x1f\x8b":
            raw = gzip.decompress(raw)
    except (OSError, EOFError, zlib.error) as error:
        raise MalformedResponse(VENDOR, f"{path.name} can't be read: {_first_line(error)}") from error
    text = raw.decode("utf-8-sig", errors="replace").replace("\r\n", "\n").replace("\r", "\n")
    return text.removesuffix("\n").split("\n")


def _header(path: Path, lines: list[str]) -> tuple[int, list[str]]:
    first = None
    for at, line in enumerate(lines):
        if not line.strip():
            continue
        names = [bar_column(cell) for cell in line.split(",")]
        known = len(set(names) & set(BAR_COLUMNS))
        if "date" in names and known >= _HEADER_NAMES:
            return at, names
        if first is None:
            first = (at, names, known)
    if first is None:
        raise MalformedResponse(VENDOR, f"{path.name} is empty")
    at, names, known = first
    if known >= _HEADER_NAMES:  # a table of something, but not of daily bars
        return at, names
    raise MalformedResponse(
        VENDOR,
        f"{path.name} has no header line with {','.join(BAR_COLUMNS)}; it begins {lines[at][:80]!r}. "
        "If it is a table without a header, name its columns in source.toml: columns = [...]",
    )


def _odd(path: Path, number: int, line: str) -> UnreadableRow:
    return UnreadableRow(
        symbol=None,
        session=None,
        reason="unreadable_row",
        detail=f"{path.name}: row {number}: not a row of this table: {line[:80]!r}",
        payload={"file": path.name, "row": number, "line": line[:_SHOWN]},
    )


def _first_line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
