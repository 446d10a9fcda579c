"""From Arrow columns as a file holds them to the arrays of a `BarBatch`, cell by cell only where a cell is odd.

A cell that stands for "no value" (empty, NaN, null) becomes NaN and is judged with the other bar rules. A cell that
is no number or no date at all makes its row unreadable, and the row is handed on with what stood in it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from quantmatrix_pipeline.bars.batch import FIELDS, BarBatch, Bools, Dates, Floats, Ints
from quantmatrix_pipeline.errors import ConfigurationError
from quantmatrix_pipeline.providers.answers import UnreadableRow
from quantmatrix_pipeline.providers.symbols import canonical

BAR_COLUMNS = ("symbol", "date", *FIELDS)
_ALIASES = {"ticker": "symbol", "datetime": "date"}
_NOTHING = frozenset({"", "nan", "null", "none", "na", "n/a", "-"})
_DATE = re.compile(r"(\d{4}-\d{2}-\d{2})(?:[ T].*)?")
_NO_DAY = np.datetime64("NaT", "D")


def bar_column(name: str) -> str:
    """Return the bar column that a header cell names, in any case; another name comes back in lower case."""
    plain = name.strip().strip('"').strip().lower()
    return _ALIASES.get(plain, plain)


@dataclass(frozen=True, slots=True)
class Rows:
    """The bar columns of one file before they are judged.

    Attributes
    ----------
    name
        The file, for messages.
    columns
        Arrow arrays by bar column; without `symbol` where the file is one symbol's.
    numbers
        Shape (n,): the row of the file (1 is the first line or the first row) that each entry stands in.
    header_row
        Where the column names stand.
    """

    name: str
    columns: Mapping[str, Any]
    numbers: npt.NDArray[np.int64]
    header_row: int


def wrong_layout(name: str, row: int, column: str, what: str) -> ConfigurationError:
    """Return the error for a file whose layout is not the documented one."""
    expected = ",".join(BAR_COLUMNS)
    return ConfigurationError(f"files: {name}: row {row}, column {column!r}: {what} (expected columns: {expected})")


def require_columns(name: str, row: int, present: Sequence[str]) -> None:
    """Refuse a header that lacks a bar column or names one twice; `symbol` may be missing."""
    for column in ("date", *FIELDS):
        if column not in present:
            raise wrong_layout(name, row, column, f"missing; the header has {', '.join(present) or 'nothing'}")
    for column in BAR_COLUMNS:
        if list(present).count(column) > 1:
            raise wrong_layout(name, row, column, "named twice")


def to_batch(rows: Rows, file_symbol: str) -> tuple[BarBatch, list[UnreadableRow]]:
    """Turn a file's columns into bars and the rows that can't be read as bars.

    Parameters
    ----------
    rows
        The file's columns.
    file_symbol
        The canonical symbol of all rows where the file has no symbol column.

    Raises
    ------
    ConfigurationError
        If not a single cell of a column is what the column should hold: that is a layout, not a bad row.
    """
    symbols, symbol_index, bad_symbol = _symbols(rows, file_symbol)
    session, bad_date = _dates(rows)
    values: dict[str, Floats] = {}
    faults: dict[str, tuple[str, Bools]] = {"symbol": ("bad_symbol", bad_symbol), "date": ("bad_date", bad_date)}
    for field in FIELDS:
        values[field], bad = _numbers(rows, field)
        faults[field] = ("wrong_type", bad)
    for column, (_, bad) in faults.items():
        if len(bad) and bad.all():
            sample = _text(rows.columns[column][0]) if column in rows.columns else ""
            wanted = {"symbol": "no symbol", "date": "no ISO date such as 2021-12-31"}.get(column, "no number")
            raise wrong_layout(rows.name, int(rows.numbers[0]), column, f"{sample!r} is {wanted}, nor is any other row")

    unreadable = _unreadable(rows, faults, symbols, symbol_index, session)
    batch = BarBatch(symbols, symbol_index, session, **values)
    if unreadable:
        batch = batch.take(~np.logical_or.reduce([bad for _, bad in faults.values()]))
    return batch, unreadable


def _symbols(rows: Rows, file_symbol: str) -> tuple[tuple[str, ...], Ints, Bools]:
    n = len(rows.numbers)
    if "symbol" not in rows.columns:
        return (file_symbol,), np.zeros(n, np.int32), np.zeros(n, np.bool_)
    texts, codes = _encoded(rows.columns["symbol"])
    place: dict[str, int] = {}
    names = [canonical(t) for t in texts]
    lookup = np.array([-1 if s is None else place.setdefault(s, len(place)) for s in names] + [-1], np.int32)
    index = lookup[codes]
    return tuple(place), index, index < 0


def _dates(rows: Rows) -> tuple[Dates, Bools]:
    column = rows.columns["date"]
    kind = column.type
    if pa.types.is_timestamp(kind):
        column = pc.cast(pc.local_timestamp(column) if kind.tz else column, pa.timestamp("s"), safe=False)
        session = column.to_numpy(zero_copy_only=False).astype("datetime64[D]")
    elif pa.types.is_date(kind):
        session = column.to_numpy(zero_copy_only=False).astype("datetime64[D]")
    elif _is_text(kind):
        texts, codes = _encoded(column)  # a few thousand distinct days, however many rows
        session = np.array([*map(_day, texts), _NO_DAY], "datetime64[D]")[codes]
    else:
        raise wrong_layout(rows.name, rows.header_row, "date", f"is of type {kind}, not a date")
    return session, np.isnat(session)


def _numbers(rows: Rows, field: str) -> tuple[Floats, Bools]:
    column = rows.columns[field]
    kind = column.type
    none_bad = np.zeros(len(column), np.bool_)
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return _floats(pc.cast(column, pa.float64(), safe=False)), none_bad
    if pa.types.is_null(kind):
        return np.full(len(column), np.nan), none_bad
    if not _is_text(kind):
        raise wrong_layout(rows.name, rows.header_row, field, f"is of type {kind}, not a number")
    try:
        return _floats(pc.cast(column, pa.float64())), none_bad
    except pa.ArrowInvalid:
        texts, codes = _encoded(column)
        pairs = [_number(t) for t in texts]
        value = np.array([v for v, _ in pairs] + [math.nan])[codes]
        return value, np.array([bad for _, bad in pairs] + [False])[codes]


def _floats(column: Any) -> Floats:
    return np.asarray(column.to_numpy(zero_copy_only=False), np.float64)


def _encoded(column: Any) -> tuple[list[str], npt.NDArray[np.int64]]:
    """Return the distinct texts of a column and each row's place among them, -1 for a null."""
    if isinstance(column, pa.ChunkedArray):
        column = column.unify_dictionaries() if pa.types.is_dictionary(column.type) else column
        column = column.combine_chunks()
    if isinstance(column, pa.ChunkedArray):  # combine_chunks keeps an empty one chunked
        column = column.chunk(0) if column.num_chunks else pa.array([], pa.string())
    encoded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
    codes = pc.fill_null(encoded.indices, -1).to_numpy(zero_copy_only=False).astype(np.int64)
    return [str(v) for v in encoded.dictionary.to_pylist()], codes


def _is_text(kind: Any) -> bool:
    if pa.types.is_dictionary(kind):
        return _is_text(kind.value_type)
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _day(text: str) -> np.datetime64:
    match = _DATE.fullmatch(text.strip())
    try:
        return np.datetime64(date.fromisoformat(match[1]), "D") if match else _NO_DAY
    except ValueError:
        return _NO_DAY


def _number(text: str) -> tuple[float, bool]:
    plain = text.strip()
    if plain.lower() in _NOTHING:
        return math.nan, False
    try:
        return float(plain.replace("_", "x")), False  # float() would read 1_000, which no file means
    except ValueError:
        return math.nan, True


def _text(cell: Any) -> str:
    value = cell.as_py()
    return "" if value is None else str(value)


def _unreadable(
    rows: Rows,
    faults: Mapping[str, tuple[str, Bools]],
    symbols: tuple[str, ...],
    symbol_index: Ints,
    session: Dates,
) -> list[UnreadableRow]:
    found = []
    for at in np.flatnonzero(np.logical_or.reduce([bad for _, bad in faults.values()])):
        column, reason = next((c, reason) for c, (reason, bad) in faults.items() if bad[at])
        payload = {c: _text(cells[int(at)]) for c, cells in rows.columns.items()}
        place = int(symbol_index[at])
        day = session[at]
        found.append(
            UnreadableRow(
                symbol=symbols[place] if place >= 0 else None,
                session=None if np.isnat(day) else day.item(),
                reason=reason,
                detail=f"{rows.name}: row {rows.numbers[at]}, column {column!r}: {payload.get(column, '')!r}",
                payload={"file": rows.name, "row": int(rows.numbers[at]), **payload},
            )
        )
    return found
