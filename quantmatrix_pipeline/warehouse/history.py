"""Snapshots and the immutable history: `market_analysis_cache`, `market_analysis_history`.

Which indicator columns there are is not this module's business: it writes the columns that the caller's table has.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from quantmatrix_pipeline.warehouse.engine import ArrowTransaction, Warehouse

ANALYSIS_TYPE = "technical"
KEYS = ("instrument_id", "session")


@dataclass(frozen=True, slots=True)
class HistoryCounts:
    """What recording did: first revisions, restatements, and rows that already stood there with the same numbers."""

    recorded: int
    restated: int
    unchanged: int

    def __add__(self, other: HistoryCounts) -> HistoryCounts:
        return HistoryCounts(
            self.recorded + other.recorded, self.restated + other.restated, self.unchanged + other.unchanged
        )


def _keys(table: pa.Table) -> npt.NDArray[np.int64]:
    session = table["session"].to_numpy().astype("datetime64[D]").astype(np.int64)
    return (session << 32) + table["instrument_id"].to_numpy().astype(np.int64)  # type: ignore[no-any-return]


def _differs(new: pa.ChunkedArray, old: pa.ChunkedArray) -> npt.NDArray[np.bool_]:
    """Compare two columns value by value; two nulls are the same."""
    if pa.types.is_floating(new.type):
        a, b = new.to_numpy(), old.to_numpy()  # a null becomes NaN
        return (a != b) & ~(np.isnan(a) & np.isnan(b))  # type: ignore[no-any-return]
    return np.array([x != y for x, y in zip(new.to_pylist(), old.to_pylist(), strict=True)], dtype=bool)


def prepare(transaction: ArrowTransaction, first: date, last: date) -> bool:
    """Lock the history for writing and make the partitions of a range of sessions; say whether it holds rows there."""
    transaction.lock("history")
    transaction.execute(f"SELECT ensure_history_partitions({first.year}, {last.year})")
    found = transaction.query(
        "SELECT EXISTS (SELECT FROM market_analysis_history"
        f" WHERE session BETWEEN '{first:%Y-%m-%d}' AND '{last:%Y-%m-%d}') AS found"
    )
    return bool(found["found"][0].as_py())


def latest_rows(transaction: ArrowTransaction, first: date, last: date, columns: Sequence[str]) -> pa.Table:
    """Return the newest revision of each row of a range of sessions, inclusive, sorted by session and instrument."""
    return transaction.query(
        f"SELECT DISTINCT ON (session, instrument_id) {', '.join((*KEYS, 'revision', *columns))}"
        " FROM market_analysis_history"
        f" WHERE session BETWEEN '{first:%Y-%m-%d}' AND '{last:%Y-%m-%d}' AND analysis_type = '{ANALYSIS_TYPE}'"
        " ORDER BY session, instrument_id, revision DESC"
    )


def record(transaction: ArrowTransaction, rows: pa.Table, as_of: datetime, *, may_exist: bool) -> HistoryCounts:
    """Append history rows; a row that stands there with other numbers gets a new revision, an equal one is left.

    Parameters
    ----------
    transaction
        One on which `prepare` was called for these sessions.
    rows
        instrument_id, session, close and the indicator columns; one row per instrument and session, in any order.
    as_of
        When this was computed from what was known.
    may_exist
        What `prepare` said; False saves reading the range back.
    """
    if rows.num_rows == 0:
        return HistoryCounts(0, 0, 0)
    values = [name for name in rows.column_names if name not in KEYS]
    revision = np.ones(rows.num_rows, dtype=np.int16)
    restated = unchanged = 0
    if may_exist:
        sessions = rows["session"].to_numpy()
        stored = latest_rows(transaction, sessions.min().item(), sessions.max().item(), values)
        if stored.num_rows:
            keys, stored_keys = _keys(rows), _keys(stored)
            place = np.searchsorted(stored_keys, keys)
            place[place == len(stored_keys)] = 0
            known = np.flatnonzero(stored_keys[place] == keys)
            old, new = stored.take(pa.array(place[known])), rows.take(pa.array(known))
            changed = np.zeros(len(known), dtype=bool)
            for name in values:
                changed |= _differs(new[name], old[name])
            revision[known] = old["revision"].to_numpy() + 1
            write = np.ones(rows.num_rows, dtype=bool)
            write[known[~changed]] = False
            rows, revision = rows.filter(pa.array(write)), revision[write]
            restated, unchanged = int(changed.sum()), int((~changed).sum())
    if rows.num_rows:
        length = rows.num_rows
        transaction.append(
            "market_analysis_history",
            rows.append_column("analysis_type", pa.repeat(pa.scalar(ANALYSIS_TYPE), length))
            .append_column("revision", pa.array(revision, pa.int16()))
            .append_column("as_of", pa.repeat(pa.scalar(as_of, pa.timestamp("us", "UTC")), length)),
        )
    return HistoryCounts(rows.num_rows - restated, restated, unchanged)


def replace_snapshots(transaction: ArrowTransaction, rows: pa.Table, as_of: datetime) -> int:
    """Make these the latest snapshots; a row older than the one that stands there is left out. Return how many changed.

    `rows` has instrument_id, session, expiry_timestamp, close and the indicator columns, one row per instrument.
    """
    if rows.num_rows == 0:
        return 0
    transaction.lock("history")
    staged = rows.append_column("as_of", pa.repeat(pa.scalar(as_of, pa.timestamp("us", "UTC")), rows.num_rows))
    transaction.stage("new_snapshots", staged, like="market_analysis_cache")
    names = staged.column_names
    content = [name for name in names if name not in ("instrument_id", "as_of")]
    changed = transaction.query(f"""
        WITH written AS (
            INSERT INTO market_analysis_cache AS c ({", ".join(names)})
            SELECT {", ".join(names)} FROM new_snapshots ORDER BY instrument_id
            ON CONFLICT (instrument_id, analysis_type) DO UPDATE SET
                {", ".join(f"{name} = excluded.{name}" for name in names if name != "instrument_id")}
            WHERE c.session <= excluded.session
              AND ({", ".join(f"c.{n}" for n in content)}) IS DISTINCT FROM ({", ".join(f"excluded.{n}" for n in content)})
            RETURNING 1
        )
        SELECT count(*) AS changed FROM written
    """)
    transaction.execute("DROP TABLE new_snapshots")
    return int(changed["changed"][0].as_py())


def snapshots(warehouse: Warehouse, columns: Iterable[str]) -> pa.Table:
    """Return the latest snapshot of every instrument, sorted by symbol."""
    names = ", ".join(f"c.{name}" for name in columns)
    return warehouse.arrow_table(
        f"SELECT s.symbol, c.session, c.expiry_timestamp, c.as_of, c.close, {names}"
        " FROM market_analysis_cache c"
        " JOIN instrument_symbols s ON s.instrument_id = c.instrument_id AND s.valid_to IS NULL"
        f" WHERE c.analysis_type = '{ANALYSIS_TYPE}' ORDER BY s.symbol COLLATE \"C\""
    )
