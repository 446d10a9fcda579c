"""Turn the engine's blocks into rows of the tables, with the columns that the catalogue declares."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from quantmatrix_pipeline.bars.batch import Dates, Floats
from quantmatrix_pipeline.errors import ConfigurationError
from quantmatrix_pipeline.indicators import engine
from quantmatrix_pipeline.indicators.catalogue import COLUMNS, ENGINE_COLUMNS, SESSION_CATALOGUE, Column
from quantmatrix_pipeline.indicators.cross_section import CrossSection
from quantmatrix_pipeline.indicators.input_hash import Hashes, input_hashes
from quantmatrix_pipeline.indicators.panel import Panel
from quantmatrix_pipeline.indicators.raw_analysis import payloads

Rows = npt.NDArray[np.intp]

COLUMN_NAMES = tuple(column.name for column in COLUMNS)
TABLES = ("market_analysis_cache", "market_analysis_history")
SQL_TYPES = {"float": "double precision", "bool": "boolean", "count": "smallint", "label": "text"}
_ARROW_TYPES = {"float": pa.float64(), "bool": pa.bool_(), "count": pa.int16()}


def ranks(panel: Panel, first: date, last: date | None = None) -> CrossSection:
    """Rank the sessions from `first` on of the panel of all instruments; only its last one where `last` is the same."""
    if first != last:
        return CrossSection.over_sessions(panel, np.datetime64(first, "D"))
    there = panel.select(np.flatnonzero(newest_bar_of(panel) == np.datetime64(last, "D")))
    return CrossSection.of_newest(there)


def session_rows(panel: Panel, session: date, ranks: CrossSection) -> pa.Table:
    """Return one row per instrument that has a bar on `session`, the last session of the panel; `ranks` has it."""
    keep = newest_bar_of(panel) == np.datetime64(session, "D")
    values = engine.last_rows(panel)[:, keep]
    return _table(panel, (panel.length[keep] - 1, np.flatnonzero(keep)), values, ranks, input_hashes(panel))


def newest_rows(panel: Panel) -> pa.Table:
    """Return one row per instrument, of its newest bar; the panel is that of all instruments."""
    at = (panel.length - 1, np.arange(panel.width))
    return _table(panel, at, engine.last_rows(panel), CrossSection.of_newest(panel), input_hashes(panel))


def raw_analysis(panel: Panel) -> pa.Array:
    """Return, beside `newest_rows`, what of them does not fit in columns: the text of JSON, one per instrument."""
    return pa.array([msgspec.json.encode(payload).decode() for payload in payloads(panel)], pa.string())


def newest_bar_of(panel: Panel) -> Dates:
    """Return each instrument's newest session in the panel, datetime64[D]."""
    return panel.session[panel.length - 1, np.arange(panel.width)]


def range_rows(panel: Panel, first: date, ranks: CrossSection) -> Iterator[pa.Table]:
    """Yield the rows of all sessions from `first` on, a block of bars at a time; `ranks` has all of them."""
    due = panel.session >= np.datetime64(first, "D")  # NaT beyond an instrument's life is never due
    bars = np.flatnonzero(due.any(axis=1))
    if not len(bars):
        return
    inputs = input_hashes(panel)
    for block in engine.blocks(panel, first_row=int(bars[0])):
        row, instrument = np.nonzero(due[block.row0 : block.row1, block.instruments])
        if len(row):
            at = (row + block.row0, instrument + block.instruments.start)
            yield _table(panel, at, block.values[row, :, instrument].T, ranks, inputs)


def _table(panel: Panel, at: tuple[Rows, Rows], values: Floats, ranks: CrossSection, inputs: Hashes) -> pa.Table:
    """Return the rows at (bar, instrument) with the engine's values of shape (columns, rows), their ranks and the
    hashes of their inputs, of the panel's shape.
    """
    columns = {
        "instrument_id": pa.array(panel.instrument_ids[at[1]]),
        "session": pa.array(panel.session[at], pa.date32()),
        "close": pa.array(panel.close[at] / panel.unit[at]),
        "inputs_hash": pa.array(inputs[at].view(np.int64)),
    }
    columns |= {column.name: _typed(values[place], column) for place, column in enumerate(ENGINE_COLUMNS)}
    rank = ranks.at(panel.session[at], panel.instrument_ids[at[1]])
    columns |= {c.name: pa.array(rank(c.name), from_pandas=True) for i in SESSION_CATALOGUE for c in i.columns}
    return pa.table(columns)


def _typed(values: Floats, column: Column) -> pa.Array:
    if column.kind == "label":
        codes = pa.array(values, from_pandas=True).cast(pa.int32())
        return pa.DictionaryArray.from_arrays(codes, list(column.labels)).cast(pa.string())
    # NaN, which means "not enough history", becomes null.
    return pa.array(values, from_pandas=True).cast(_ARROW_TYPES[column.kind])


def added_columns(migrations: Path) -> dict[str, str]:
    """Return the indicator columns that the migrations in a folder add: name -> SQL type.

    Raises
    ------
    ConfigurationError
        The two tables would not get the same columns.
    """
    found: dict[str, dict[str, str]] = {table: {} for table in TABLES}
    for file in sorted(migrations.glob("*.sql")):
        for table, added in re.findall(rf"^ALTER TABLE ({'|'.join(TABLES)})\n([^;]+);", file.read_text(), re.MULTILINE):
            found[table] |= dict(re.findall(r"ADD COLUMN (\w+) ([a-z ]+)", added))
    first, second = found.values()
    if first != second:
        raise ConfigurationError(
            f"the migrations in {migrations} give {' and '.join(TABLES)} different columns:"
            f" {sorted(first.items() ^ second.items())}; add each to both"
        )
    return first


def migration_sql(migrations: Path) -> str:
    """Return the migration that gives both tables what the catalogue has and no migration adds yet; empty if all is
    there.
    """
    there = added_columns(migrations)
    new = [column for column in COLUMNS if column.name not in there]
    if not new:
        return ""
    lines = ["-- Generated from the catalogue of indicators by `python -m quantmatrix_pipeline.snapshots.rows`.\n"]
    for table in TABLES:
        added = ",\n".join(f"    ADD COLUMN {c.name} {SQL_TYPES[c.kind]}" for c in new)
        lines.append(f"ALTER TABLE {table}\n{added};\n")
    return "".join(lines)


if __name__ == "__main__":
    import sys

    from quantmatrix_pipeline.warehouse.migrations import folder

    sys.stdout.write(migration_sql(folder()))
