"""Snapshots and the immutable history: `market_analysis_cache`, `market_analysis_history`.

Which indicator columns there are is not this module's business: it writes the columns that the caller's table has.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from quantmatrix_pipeline.warehouse.bars import learned_at
from quantmatrix_pipeline.warehouse.engine import COPY_ROWS, ArrowTransaction, Warehouse

ANALYSIS_TYPE = "technical"
KEYS = ("instrument_id", "session")
TABLE = "market_analysis_history"
INPUTS = "inputs_hash"  # from which bars a row was computed; the same numbers from others are no other row
_AS_TEXT = {"raw_analysis": "raw_text"}


@dataclass(frozen=True, slots=True)
class HistoryCounts:
    """What recording did: first revisions, restatements, and rows that already stood there with the same numbers."""

    recorded: int
    restated: int
    unchanged: int

    @property
    def rows(self) -> int:
        """How many rows the sessions have now."""
        return self.recorded + self.restated + self.unchanged

    def __add__(self, other: HistoryCounts) -> HistoryCounts:
        return HistoryCounts(
            self.recorded + other.recorded, self.restated + other.restated, self.unchanged + other.unchanged
        )


def _keys(table: pa.Table) -> npt.NDArray[np.int64]:
    session = table["session"].to_numpy().astype("datetime64[D]").astype(np.int64)
    return (session << 32) + table["instrument_id"].to_numpy().astype(np.int64)  # type: ignore[no-any-return]


def _differs(new: pa.ChunkedArray, old: pa.ChunkedArray) -> npt.NDArray[np.bool_]:
    """Compare two columns value by value; two nulls are the same."""
    if pa.types.is_string(new.type):
        return np.array([x != y for x, y in zip(new.to_pylist(), old.to_pylist(), strict=True)], dtype=bool)
    a, b = (column.cast(pa.float64()).to_numpy() for column in (new, old))  # a null becomes NaN
    return (a != b) & ~(np.isnan(a) & np.isnan(b))  # type: ignore[no-any-return]


def make_partitions(warehouse: Warehouse, first: date, last: date) -> None:
    """Make the partitions of a range of sessions, in a transaction of its own: it keeps readers waiting while it
    lasts.
    """
    warehouse.execute(f"SELECT ensure_history_partitions({first.year}, {last.year})")


def holds_rows(transaction: ArrowTransaction, first: date, last: date) -> bool:
    """Say whether any row of these sessions is recorded."""
    found = transaction.query(
        f"SELECT EXISTS (SELECT FROM {TABLE} WHERE session BETWEEN '{first:%Y-%m-%d}' AND '{last:%Y-%m-%d}') AS found"
    )
    return bool(found["found"][0].as_py())


def recorded_sessions(transaction: ArrowTransaction, first: date) -> list[date]:
    """Return the sessions from `first` on of which rows are recorded, ascending."""
    found = transaction.query(
        f"SELECT DISTINCT session FROM {TABLE} WHERE session >= '{first:%Y-%m-%d}' ORDER BY session"
    )
    return found["session"].to_pylist()  # type: ignore[no-any-return]


def newest_snapshot(warehouse: Warehouse) -> date | None:
    """Return the newest session of any snapshot, None where there is none."""
    value: date | None = warehouse.scalar("SELECT max(session) FROM market_analysis_cache")
    return value


def newest_recorded(warehouse: Warehouse) -> date | None:
    """Return the newest session of which rows are recorded, None where there is none."""
    value: date | None = warehouse.scalar(f"SELECT max(session) FROM {TABLE}")
    return value


def oldest_recorded(warehouse: Warehouse) -> date | None:
    """Return the oldest session of which rows are recorded, None where there is none."""
    value: date | None = warehouse.scalar(f"SELECT min(session) FROM {TABLE}")
    return value


def unrecorded(warehouse: Warehouse, sessions: Sequence[date]) -> list[date]:
    """Return those of the sessions of which there is a daily bar and no row, ascending."""
    rows = warehouse.rows(
        f"""
        SELECT day FROM unnest(CAST(:sessions AS date[])) AS day
        WHERE NOT EXISTS (SELECT FROM {TABLE} h WHERE h.session = day)
          AND EXISTS (SELECT FROM price_data_1d p WHERE p.session = day)
        ORDER BY day
        """,
        sessions=list(sessions),
    )
    return [row.day for row in rows]


class RecordedRows:
    """The newest revisions of some instruments' rows over a range of sessions, both ends inclusive, as they are
    stored.
    """

    def __init__(
        self,
        transaction: ArrowTransaction,
        instrument_ids: Iterable[int],
        first: date,
        last: date,
        columns: Sequence[str],
    ) -> None:
        among = ",".join(str(int(i)) for i in instrument_ids)
        self.table = transaction.query(
            f"SELECT DISTINCT ON (session, instrument_id) {', '.join((*KEYS, 'revision', *columns))}"
            f" FROM {TABLE}"
            f" WHERE session BETWEEN '{first:%Y-%m-%d}' AND '{last:%Y-%m-%d}' AND analysis_type = '{ANALYSIS_TYPE}'"
            f" AND instrument_id = ANY ('{{{among}}}')"
            " ORDER BY session, instrument_id, revision DESC"
        )
        self._keys = _keys(self.table)

    def find(self, rows: pa.Table) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
        """Return which of `rows` are recorded already, and where they stand in `table`."""
        if not len(self._keys):
            return np.empty(0, np.intp), np.empty(0, np.intp)
        keys = _keys(rows)
        place = np.searchsorted(self._keys, keys)
        place[place == len(self._keys)] = 0
        known = np.flatnonzero(self._keys[place] == keys)
        return known, place[known]


def record_first(transaction: ArrowTransaction, batches: Iterator[pa.Table], as_of: datetime) -> HistoryCounts:
    """Append the rows of sessions of which the history holds none, in one COPY that takes them as they are computed.

    Parameters
    ----------
    transaction
        One that holds the writers' lock of the history and in which `holds_rows` found nothing of these sessions.
    batches
        instrument_id, session, close, inputs_hash and the indicator columns; one row per instrument and session over
        all batches.
    as_of
        When this was computed from what was known.
    """
    first = next(batches, None)
    if first is None:
        return HistoryCounts(0, 0, 0)
    as_of = learned_at(transaction, "history", as_of)
    failures: list[BaseException] = []

    def stream() -> Iterator[pa.RecordBatch]:
        try:
            for rows in itertools.chain([first], batches):
                yield from _complete(rows, np.ones(rows.num_rows, np.int16), as_of).to_batches(max_chunksize=COPY_ROWS)
        except BaseException as failure:
            failures.append(failure)
            raise

    schema = _complete(first.slice(0, 0), np.empty(0, np.int16), as_of).schema
    try:
        recorded = transaction.append(TABLE, pa.RecordBatchReader.from_batches(schema, stream()))
    except Exception:
        if failures:
            raise failures[0] from None  # the driver only repeats its text
        raise
    return HistoryCounts(recorded, 0, 0)


def record(
    transaction: ArrowTransaction,
    rows: pa.Table,
    recorded: RecordedRows,
    as_of: datetime,
    *,
    relative: Sequence[str] = (),
    newest: date | None = None,
) -> HistoryCounts:
    """Append history rows; a row that stands there with other numbers gets a new revision, an equal one is left.

    Parameters
    ----------
    transaction
        One that holds the writers' lock of the history.
    rows
        instrument_id, session, close, inputs_hash and the indicator columns; one row per instrument and session, in any
        order.
    recorded
        What is stored of these instruments and sessions, read in the same transaction.
    as_of
        When this was computed from what was known.
    relative
        Columns that tell where an instrument stood among others: at sessions before `newest` another number there is
        no reason to restate a row, since what was known of the others then is what the history keeps. A number where
        there was none is one.
    """
    known, place = recorded.find(rows)
    old, new = recorded.table.take(pa.array(place)), rows.take(pa.array(known))
    changed = np.zeros(len(known), dtype=bool)
    past = np.zeros(len(known), dtype=bool)
    if newest is not None:
        past = new["session"].to_numpy().astype("datetime64[D]") < np.datetime64(newest, "D")
    for name in rows.column_names:
        if name in relative:
            changed |= _differs(new[name], old[name]) & ~(past & old[name].is_valid().to_numpy())
        elif name not in (*KEYS, INPUTS):
            changed |= _differs(new[name], old[name])
    revision = np.ones(rows.num_rows, dtype=np.int16)
    revision[known] = old["revision"].to_numpy() + 1
    write = np.ones(rows.num_rows, dtype=bool)
    write[known[~changed]] = False
    if write.any():
        as_of = learned_at(transaction, "history", as_of)
        transaction.append(TABLE, _complete(rows.filter(pa.array(write)), revision[write], as_of))
    restated = int(changed.sum())
    return HistoryCounts(int(write.sum()) - restated, restated, len(known) - restated)


def _complete(rows: pa.Table, revision: npt.NDArray[np.int16], as_of: datetime) -> pa.Table:
    return (
        rows.append_column("analysis_type", pa.repeat(pa.scalar(ANALYSIS_TYPE), rows.num_rows))
        .append_column("revision", pa.array(revision, pa.int16()))
        .append_column("as_of", pa.repeat(pa.scalar(as_of, pa.timestamp("us", "UTC")), rows.num_rows))
    )


# --- what must be recorded again --------------------------------------------------------------------------------------


def mark_due(transaction: ArrowTransaction, since: Mapping[int, date]) -> None:
    """Note that these instruments' history is due again: instrument_id -> first session that changed."""
    if not since:
        return
    table = pa.table(
        {
            "instrument_id": pa.array(list(since), pa.int32()),
            "first_session": pa.array(list(since.values()), pa.date32()),
        }
    )
    transaction.stage("newly_due", table)
    transaction.execute("""
        INSERT INTO history_due AS d SELECT instrument_id, first_session FROM newly_due ORDER BY instrument_id
        ON CONFLICT (instrument_id) DO UPDATE SET first_session = excluded.first_session
        WHERE excluded.first_session < d.first_session
    """)
    transaction.execute("DROP TABLE newly_due")


def due(warehouse: Warehouse) -> int:
    """Count the instruments whose history is due again."""
    return int(warehouse.scalar("SELECT count(*) FROM history_due"))


def take_due(transaction: ArrowTransaction) -> dict[int, date]:
    """Take what is due out of the table: it is gone when this transaction commits, and there again when it fails."""
    taken = transaction.query("DELETE FROM history_due RETURNING instrument_id, first_session")
    return dict(zip(taken["instrument_id"].to_pylist(), taken["first_session"].to_pylist(), strict=True))


def replace_snapshots(transaction: ArrowTransaction, rows: pa.Table, as_of: datetime) -> int:
    """Make these the latest snapshots; a row older than the one that stands there is left out. Return how many changed.

    `rows` has instrument_id, session, expiry_timestamp, close and the indicator columns, one row per instrument;
    `raw_analysis`, where it is among them, as the text of JSON.
    """
    if rows.num_rows == 0:
        return 0
    transaction.lock("history")
    staged = rows.append_column("as_of", pa.repeat(pa.scalar(as_of, pa.timestamp("us", "UTC")), rows.num_rows))
    # The driver has no jsonb to copy into: it goes in as text, and is read as JSON where the row is written.
    table = "(SELECT *, '' AS raw_text FROM market_analysis_cache) AS with_text"
    names = staged.column_names
    transaction.stage("new_snapshots", staged.rename_columns([_AS_TEXT.get(n, n) for n in names]), like=table)
    values = [f"CAST({_AS_TEXT[n]} AS jsonb)" if n in _AS_TEXT else n for n in names]
    content = [name for name in names if name not in ("instrument_id", "as_of")]
    changed = transaction.query(f"""
        WITH written AS (
            INSERT INTO market_analysis_cache AS c ({", ".join(names)})
            SELECT {", ".join(values)} FROM new_snapshots ORDER BY instrument_id
            ON CONFLICT (instrument_id, analysis_type) DO UPDATE SET
                {", ".join(f"{name} = excluded.{name}" for name in names if name != "instrument_id")}
            WHERE c.session <= excluded.session
              AND ({", ".join(f"c.{n}" for n in content)})
                  IS DISTINCT FROM ({", ".join(f"excluded.{n}" for n in content)})
            RETURNING 1
        )
        SELECT count(*) AS changed FROM written
    """)
    transaction.execute("DROP TABLE new_snapshots")
    return int(changed["changed"][0].as_py())
