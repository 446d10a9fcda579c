"""The declared shape of what a source hands over: columns, types, and where something may be missing.

This guards the boundary: an adapter that breaks it has misread its vendor, and nothing of that answer can be believed.
Whether a single bar makes sense is for `bars.rules`; here a price may be NaN, negative or absurd.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pandera.pandas as pa
from pandera.errors import SchemaErrors

from quantmatrix_pipeline.bars.batch import FIELDS, BarBatch
from quantmatrix_pipeline.errors import MalformedResponse

_SHOWN = 10  # failures spelled out in a message

_EXPECTED_DTYPES = {"symbol_index": "int32", "session": "datetime64[D]"} | dict.fromkeys(FIELDS, "float64")

_NUMBERS = {name: pa.Column("float64", nullable=True) for name in FIELDS}

BATCH = pa.DataFrameSchema(
    {
        "symbol_index": pa.Column("int32", pa.Check.ge(0)),
        "session": pa.Column("datetime64[s]"),  # pandas has no unit D; the array's own is checked beside this
        **_NUMBERS,
    },
    strict=True,
    name="bar batch",
)

SOURCE_TABLE = pa.DataFrameSchema(
    {
        "symbol": pa.Column(str, pa.Check.str_length(min_value=1)),
        "date": pa.Column("datetime64", nullable=True),
        **_NUMBERS,
    },
    strict=False,
    unique_column_names=True,
    name="table of daily bars",
)
"""A DataFrame of daily bars once its numbers and dates are parsed; what could not be parsed is missing.

Other columns are allowed and ignored. Prices in the instrument's currency, volume in shares.
"""


def check_batch(batch: BarBatch, vendor: str) -> None:
    """Prove that an answer's bars have the declared columns, lengths and types.

    Parameters
    ----------
    batch
        As the adapter built it.
    vendor
        The source's name, for the message.

    Raises
    ------
    MalformedResponse
        Tells all that is wrong, not only the first: columns of unequal length or wrong type, a session that is missing,
        a row that refers to no symbol, a symbol that stands twice.
    """
    columns = {name: getattr(batch, name) for name in _EXPECTED_DTYPES}
    failures = [
        f"{name}: {_described(column)}, expected a one-dimensional array of {_EXPECTED_DTYPES[name]}"
        for name, column in columns.items()
        if not isinstance(column, np.ndarray) or column.ndim != 1 or column.dtype != _EXPECTED_DTYPES[name]
    ]
    lengths = {name: np.size(column) for name, column in columns.items()}
    if len(set(lengths.values())) > 1:
        failures.append(f"columns differ in length: {lengths}")
    if len(set(batch.symbols)) < len(batch.symbols):
        failures.append(f"symbols: {sorted({s for s in batch.symbols if batch.symbols.count(s) > 1})} stand twice")
    if not failures:
        if len(batch) and int(batch.symbol_index.max()) >= len(batch.symbols):
            failures.append(
                f"symbol_index: {int(batch.symbol_index.max())} refers to none of {len(batch.symbols)} symbols"
            )
        failures += _failures(BATCH, pd.DataFrame(columns, copy=False))
    _refuse(failures, vendor, "bars")


def check_table(table: pd.DataFrame, vendor: str, origin: str) -> None:
    """Prove that a table read from a source has the declared columns and types; see `SOURCE_TABLE`.

    Parameters
    ----------
    table
        One row per bar.
    vendor
        The source's name, for the message.
    origin
        Where the table came from (a file's name, a request), for the message.

    Raises
    ------
    MalformedResponse
        Tells all that is wrong, with the first rows concerned.
    """
    _refuse(_failures(SOURCE_TABLE, table), vendor, origin)


def _failures(schema: pa.DataFrameSchema, table: pd.DataFrame) -> list[str]:
    try:
        schema.validate(table, lazy=True)
    except SchemaErrors as error:
        cases = error.failure_cases
        found = []
        for (column, check), group in cases.groupby(["column", "check"], sort=False, dropna=False):
            rows = [str(row) for row in group["index"].dropna().head(3).tolist()]
            where = f" in {len(group)} rows, first {', '.join(rows)}" if rows else ""
            found.append(f"{column}: {check} fails with {group['failure_case'].iloc[0]!r}{where}")
        return found
    return []


def _described(column: object) -> str:
    if isinstance(column, np.ndarray):
        return f"{column.ndim}-dimensional array of {column.dtype}"
    return f"a {type(column).__name__}"


def _refuse(failures: list[str], vendor: str, what: str) -> None:
    if failures:
        more = f"; and {len(failures) - _SHOWN} more" if len(failures) > _SHOWN else ""
        raise MalformedResponse(vendor, f"{what}: not the shape of daily bars: {'; '.join(failures[:_SHOWN])}{more}")
