"""Turn the engine's blocks into rows of the tables, with the columns that the catalogue declares."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date

import numpy as np
import pyarrow as pa

from quantmatrix_pipeline.bars.batch import Bools, Floats
from quantmatrix_pipeline.indicators import engine
from quantmatrix_pipeline.indicators.catalogue import COLUMNS, Column
from quantmatrix_pipeline.indicators.panel import Panel
from quantmatrix_pipeline.indicators.trend import BUCKET_LABELS

COLUMN_NAMES = tuple(column.name for column in COLUMNS)
SQL_TYPES = {"float": "double precision", "bool": "boolean", "label": "text"}


def session_rows(panel: Panel, session: date) -> pa.Table:
    """Return one row per instrument that has a bar on `session`, the last session of the panel."""
    return _last(panel, newest_bar_of(panel) == np.datetime64(session, "D"))


def newest_rows(panel: Panel) -> pa.Table:
    """Return one row per instrument, of its newest bar."""
    return _last(panel, np.ones(len(panel.length), dtype=bool))


def newest_bar_of(panel: Panel) -> np.ndarray:
    """Return each instrument's newest session in the panel, datetime64[D]."""
    return panel.session[panel.length - 1, np.arange(len(panel.length))]


def _last(panel: Panel, keep: Bools) -> pa.Table:
    if not keep.any():
        return _table(panel, np.empty((1, len(COLUMNS), len(keep))), np.zeros((1, len(keep)), bool), rows=None)
    values = engine.last_rows(panel)[None]
    return _table(panel, values, keep[None, :], rows=panel.length - 1)


def range_rows(panel: Panel, first: date) -> Iterator[pa.Table]:
    """Yield the rows of all sessions from `first` on, a block of bars at a time."""
    if not len(panel.length):
        return
    due = panel.session >= np.datetime64(first, "D")  # NaT beyond an instrument's life is never due
    bars = np.flatnonzero(due.any(axis=1))
    if not len(bars):
        return
    for block in engine.blocks(panel, first_row=int(bars[0])):
        keep = due[block.row0 : block.row1]
        if keep.any():
            yield _table(panel, block.values, keep, rows=slice(block.row0, block.row1))


def _table(panel: Panel, values: Floats, keep: Bools, rows: slice | np.ndarray | None) -> pa.Table:
    """Flatten values of shape (bars, columns, instruments) to the rows that `keep` (bars, instruments) names."""
    width = len(panel.length)

    def of(matrix: np.ndarray) -> np.ndarray:
        if rows is None:
            return matrix[:0].ravel()
        if isinstance(rows, slice):
            return matrix[rows][keep]
        return matrix[rows, np.arange(width)][keep[0]]

    ids = np.broadcast_to(panel.instrument_ids, keep.shape)[keep]
    columns = {
        "instrument_id": pa.array(ids.astype(np.int32)),
        "session": pa.array(of(panel.session).astype("datetime64[D]"), pa.date32()),
        "close": pa.array(of(panel.close) / of(panel.unit)),
    }
    for place, column in enumerate(COLUMNS):
        columns[column.name] = _typed(values[:, place, :][keep], column)
    return pa.table(columns)


def _typed(values: Floats, column: Column) -> pa.Array:
    if column.kind == "label":
        known = {code: label for code, label in BUCKET_LABELS.items()}
        return pa.array([known[code] for code in values.tolist()], pa.string())
    numbers = pa.array(values, from_pandas=True)  # NaN, which means "not enough history", becomes null
    return numbers.cast(pa.bool_()) if column.kind == "bool" else numbers


def migration_sql() -> str:
    """Return the migration that gives both tables the catalogue's columns."""
    lines = ["-- Generated from the catalogue of indicators by `python -m quantmatrix_pipeline.snapshots.rows`.\n"]
    for table in ("market_analysis_cache", "market_analysis_history"):
        added = ",\n".join(f"    ADD COLUMN {c.name} {SQL_TYPES[c.kind]}" for c in COLUMNS)
        lines.append(f"ALTER TABLE {table}\n{added};\n")
    return "".join(lines)


if __name__ == "__main__":
    import sys

    sys.stdout.write(migration_sql())
