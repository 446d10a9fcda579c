"""Daily bars, today's best version and every one before it: `price_data`, `price_data_revisions`, `bar_sources`.

A write compares with what is stored in columns, on the client: reading bars back is several times faster than a join
with a staging table, and the writers' lock guarantees that nobody else changes them meanwhile.

A bar that is not proved yet, because its session had not closed, is stored with a score of 0 (`UNPROVED`): it counts
nowhere as a bar of its session, is no context for others, and the final one takes its place as the next version.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from quantmatrix_pipeline.warehouse.engine import ArrowTransaction, Warehouse

PRICES = ("open", "high", "low", "close", "volume")
VERDICT = ("quality_score", "validated", "gap_detected", "volume_anomaly")
# A bar whose any of these differs is another version of it.
CONTENT = (*PRICES, *VERDICT, "source_id")
KEY = ("instrument_id", "session")
UNPROVED = 0.0  # no proved bar has this score

# Stored bars by the names of their columns, sorted by instrument and session.
Columns = Mapping[str, npt.NDArray[Any]]
TYPES = {
    "instrument_id": "int32",
    "session": "datetime64[D]",
    **dict.fromkeys(PRICES, "float64"),
    "quality_score": "float64",
    **dict.fromkeys(("validated", "gap_detected", "volume_anomaly"), "bool"),
    "source_id": "int16",
    "version": "int16",
}


@dataclass(frozen=True, slots=True)
class WriteCounts:
    """What a write did to the stored bars; `written` tells of each given row whether it is a new version now."""

    inserted: int
    revised: int
    unchanged: int
    written: npt.NDArray[np.bool_] = field(default_factory=lambda: np.empty(0, np.bool_), compare=False, repr=False)


def source_id(
    warehouse: Warehouse, vendor: str, basis: str, basis_date: date | None, *, provisional: bool = False
) -> int:
    """Return the number under which bars of this vendor and basis are stored, making it at first use.

    What a vendor says of a session that has not closed is a source of its own, so that the final bar, be it the same,
    is another version.
    """
    given = {"vendor": vendor, "basis": basis, "basis_date": basis_date, "provisional": provisional}
    find = """
        SELECT source_id FROM bar_sources
        WHERE vendor = :vendor AND basis = :basis AND basis_date IS NOT DISTINCT FROM CAST(:basis_date AS date)
          AND provisional = :provisional
    """
    found = warehouse.scalar(find, **given)
    if found is None:
        warehouse.execute(
            "INSERT INTO bar_sources (vendor, basis, basis_date, provisional)"
            " VALUES (:vendor, :basis, :basis_date, :provisional) ON CONFLICT DO NOTHING",
            given,
        )
        found = warehouse.scalar(find, **given)
    return int(found)


def sources(warehouse: Warehouse) -> dict[int, tuple[str, str, date | None]]:
    """Return source_id -> (vendor, basis, basis_date)."""
    return {
        row.source_id: (row.vendor, row.basis, row.basis_date)
        for row in warehouse.rows("SELECT source_id, vendor, basis, basis_date FROM bar_sources")
    }


def _among(instrument_ids: Sequence[int] | npt.NDArray[np.int32]) -> str:
    return f"instrument_id = ANY ('{{{','.join(str(int(i)) for i in instrument_ids)}}}'::integer[])"


def read_daily(
    transaction: ArrowTransaction,
    *,
    instrument_ids: Sequence[int] | npt.NDArray[np.int32] | None = None,
    first: date | None = None,
    last: date | None = None,
    min_quality: float | None = None,
    columns: Sequence[str] = ("instrument_id", "session", *CONTENT),
    as_of: datetime | None = None,
) -> pa.Table:
    """Return daily bars sorted by instrument and session, the current ones or those known at the instant `as_of`;
    `first` and `last` are inclusive.
    """
    conditions = [] if as_of is None else ["interval = '1d'"]
    if instrument_ids is not None:
        conditions.append(_among(instrument_ids))
    if first is not None:
        conditions.append(f"session >= '{first:%Y-%m-%d}'")
    if last is not None:
        conditions.append(f"session <= '{last:%Y-%m-%d}'")
    if min_quality is not None:
        conditions.append(f"quality_score >= {min_quality!r}")
    where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    selected = f"SELECT {', '.join(columns)} FROM"
    if as_of is None:
        return _in_order(transaction.query(f"{selected} price_data_1d{where}"))
    return _in_order(transaction.query(f"{selected} price_data_known_at($1){where}", [as_of]))


def _in_order(bars: pa.Table) -> pa.Table:
    """Sort by instrument and session: bars lie nearly so, which a merge sort here profits from, the server's not."""
    keys = packed_keys(bars["instrument_id"].to_numpy(), bars["session"].to_numpy())
    return bars if (keys[1:] > keys[:-1]).all() else bars.take(pa.array(np.argsort(keys, kind="stable")))


def read_neighbourhood(
    transaction: ArrowTransaction,
    instrument_ids: npt.NDArray[np.int32],
    first: npt.NDArray[np.datetime64],
    last: npt.NDArray[np.datetime64],
    *,
    around: int,
) -> Columns:
    """Return, per instrument, the stored bars from `first` to `last`, both inclusive, and `around` bars on either side.

    The columns are the key, `CONTENT` and version. Unproved bars from `first` on come as well, and are not counted.
    """
    names = (*KEY, *CONTENT, "version")
    if not len(instrument_ids):
        return {name: np.empty(0, TYPES[name]) for name in names}
    wanted = pa.table(
        {
            "id": pa.array(instrument_ids, pa.int32()),
            "first": pa.array(first, pa.date32()),
            "last": pa.array(last, pa.date32()),
        }
    )
    transaction.stage("wanted", wanted)
    columns = ", ".join(names)
    found = transaction.query(f"""
        SELECT found.* FROM wanted CROSS JOIN LATERAL (
            SELECT {columns} FROM price_data_1d WHERE instrument_id = id AND session BETWEEN first AND last
            UNION ALL
            (SELECT {columns} FROM price_data_1d WHERE instrument_id = id AND session < first
               AND quality_score > {UNPROVED}
             ORDER BY session DESC LIMIT {int(around)})
            UNION ALL
            (SELECT {columns} FROM price_data_1d WHERE instrument_id = id AND session > last
               AND quality_score > {UNPROVED}
             ORDER BY session LIMIT {int(around)})
            UNION ALL
            SELECT {columns} FROM price_data_1d
            WHERE instrument_id = id AND session > last AND quality_score = {UNPROVED}
        ) AS found
    """)
    transaction.execute("DROP TABLE wanted")
    return _columns(_in_order(found), names)


def _columns(bars: pa.Table, names: Sequence[str]) -> Columns:
    return {name: bars[name].to_numpy().astype(TYPES[name], copy=False) for name in names}


def packed_keys(instrument: npt.NDArray[np.int32], session: npt.NDArray[np.datetime64]) -> npt.NDArray[np.int64]:
    """Return one sortable number per (instrument, session); a session's day number must be below 2**31."""
    keys = instrument.astype(np.int64)
    keys <<= 32
    keys += session.astype("datetime64[D]", copy=False).view(np.int64)
    return keys


def write_daily(
    transaction: ArrowTransaction,
    bars: pa.Table,
    as_of: datetime,
    reason: str = "corrected",
    stored: Columns | None = None,
) -> WriteCounts:
    """Store daily bars: insert what is new, revise what differs, leave the rest untouched.

    What is written bears `as_of`, or the moment after that at which bars were last learned where that is later.

    Parameters
    ----------
    transaction
        An open transaction; this takes the writers' lock of the daily bars in it.
    bars
        Columns instrument_id (int32), session (date32) and `CONTENT`, one row per instrument and session, sorted so.
    as_of
        When these bars were learned.
    reason
        Why a revision replaces its predecessor; kept with the predecessor. A provisional one that gets its
        final is `closed`, one that would be `corrected` by the same numbers `rescored`.
    stored
        Key, `CONTENT` and version of the stored bars, as far as their keys may stand in `bars`; read where not given.
    """
    if bars.num_rows == 0:
        return WriteCounts(0, 0, 0)
    transaction.lock("bars_1d")
    instrument = bars["instrument_id"].to_numpy()
    session = bars["session"].to_numpy()
    if stored is None:
        names = (*KEY, *CONTENT, "version")
        found = read_daily(
            transaction,
            instrument_ids=np.unique(instrument),
            first=session.min().item(),
            last=session.max().item(),
            columns=names,
        )
        stored = _columns(found, names)
    new = np.ones(bars.num_rows, dtype=bool)
    changed = np.zeros(bars.num_rows, dtype=bool)
    version = np.ones(bars.num_rows, dtype=np.int16)
    if len(stored["session"]):
        keys = packed_keys(instrument, session)
        stored_keys = packed_keys(stored["instrument_id"], stored["session"])
        place = np.searchsorted(stored_keys, keys)
        place[place == len(stored_keys)] = 0
        new = stored_keys[place] != keys
        known, at = np.flatnonzero(~new), place[~new]
        for name in CONTENT:
            changed[known] |= bars[name].to_numpy()[known] != stored[name][at]
        version[known] = stored["version"][at] + 1
    written = new | changed
    if written.any():
        as_of = learned_at(transaction, "bars", as_of)
    _insert(transaction, bars.filter(pa.array(new)), as_of, version[new])
    if changed.any():
        _revise(transaction, bars.filter(pa.array(changed)), as_of, version[changed], reason)
    revised = int(changed.sum())
    inserted = int(new.sum())
    return WriteCounts(inserted, revised, bars.num_rows - inserted - revised, written)


def proved_keys(transaction: ArrowTransaction, bars: pa.Table) -> npt.NDArray[np.bool_]:
    """Tell of which rows of `bars` (instrument_id, session) a proved daily bar is stored, shape (n,)."""
    if bars.num_rows == 0:
        return np.zeros(0, np.bool_)
    instrument, session = bars["instrument_id"].to_numpy(), bars["session"].to_numpy()
    stored = read_daily(
        transaction,
        instrument_ids=np.unique(instrument),
        first=session.min().item(),
        last=session.max().item(),
        min_quality=0.01,  # scores are hundredths
        columns=KEY,
    )
    keys = packed_keys(stored["instrument_id"].to_numpy(), stored["session"].to_numpy())
    return np.asarray(np.isin(packed_keys(instrument, session), keys), np.bool_)


def learned_at(transaction: ArrowTransaction, family: str, moment: datetime) -> datetime:
    """Return the moment that what is written now bears: the given one, or where something was learned later, the one
    right after that.

    A clock that was set back would otherwise change what was known at the moments between. `family` is `bars` (with
    the corporate actions) or `history`; its writers' lock is held until the transaction ends.
    """
    newest = transaction.query("SELECT max(as_of) AS at FROM knowledge_clock")["at"][0].as_py()
    if newest is not None and moment < newest:
        moment = newest + timedelta(microseconds=1)
    return transaction.query("SELECT learned_at($1, $2) AS at", [family, moment])["at"][0].as_py()  # type: ignore[no-any-return]


def _complete(bars: pa.Table, as_of: datetime, version: npt.NDArray[np.int16]) -> pa.Table:
    length = bars.num_rows
    return (
        bars.append_column("interval", pa.repeat(pa.scalar("1d"), length))
        .append_column("version", pa.array(version, pa.int16()))
        .append_column("as_of", pa.repeat(pa.scalar(as_of, pa.timestamp("us", "UTC")), length))
    )


def _insert(transaction: ArrowTransaction, bars: pa.Table, as_of: datetime, version: npt.NDArray[np.int16]) -> None:
    if bars.num_rows:
        transaction.append("price_data_1d", _complete(bars, as_of, version))


def _revise(
    transaction: ArrowTransaction, bars: pa.Table, as_of: datetime, version: npt.NDArray[np.int16], reason: str
) -> None:
    transaction.stage("revised_bars", _complete(bars, as_of, version), like="price_data_1d")
    transaction.execute(
        """
        INSERT INTO price_data_revisions
        SELECT p.*, s.as_of, CASE
            WHEN b.provisional AND NOT n.provisional THEN 'closed'
            WHEN CAST($1 AS text) = 'corrected'
             AND (p.open, p.high, p.low, p.close, p.volume, p.source_id)
               = (s.open, s.high, s.low, s.close, s.volume, s.source_id) THEN 'rescored'
            ELSE CAST($1 AS text)
        END
        FROM price_data_1d p
        JOIN revised_bars s USING (instrument_id, session)
        LEFT JOIN bar_sources b ON b.source_id = p.source_id
        LEFT JOIN bar_sources n ON n.source_id = s.source_id
        """,
        [reason],
    )
    assignments = ", ".join(f"{name} = s.{name}" for name in (*CONTENT, "version", "as_of"))
    transaction.execute(
        f"UPDATE price_data_1d p SET {assignments} FROM revised_bars s"
        " WHERE p.instrument_id = s.instrument_id AND p.session = s.session"
    )
    transaction.execute("DROP TABLE revised_bars")


def stored_sessions(
    warehouse: Warehouse, instrument_ids: Sequence[int], first: date, last: date
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.datetime64]]:
    """Return (instrument_id, session) of every proved daily bar in a window, both ends inclusive, sorted."""
    with warehouse.arrow() as transaction:
        table = read_daily(
            transaction,
            instrument_ids=instrument_ids,
            first=first,
            last=last,
            columns=("instrument_id", "session"),
        )
        # Apart, since the keys alone come out of the index; there is an index of these, too.
        unproved = transaction.query(
            f"SELECT instrument_id, session FROM price_data_1d WHERE quality_score = {UNPROVED}"
            f" AND session BETWEEN '{first:%Y-%m-%d}' AND '{last:%Y-%m-%d}'"
        )
    instrument, session = (table[name].to_numpy() for name in KEY)
    session = session.astype("datetime64[D]")
    if unproved.num_rows:
        apart = packed_keys(*(unproved[name].to_numpy() for name in KEY))
        proved = ~np.isin(packed_keys(instrument, session), apart)
        instrument, session = instrument[proved], session[proved]
    return instrument, session


def instruments_of_basis(warehouse: Warehouse, basis: str, first: date) -> list[int]:
    """Return the instruments of which a current daily bar from the session `first` on is of this basis."""
    of_basis = [number for number, (_, own, _) in sources(warehouse).items() if own == basis]
    if not of_basis:
        return []
    rows = warehouse.rows(
        "SELECT DISTINCT instrument_id FROM price_data_1d WHERE session >= :first AND source_id = ANY (:sources)",
        first=first,
        sources=of_basis,
    )
    return [row.instrument_id for row in rows]


def last_sessions(warehouse: Warehouse, instrument_ids: Sequence[int], last: date) -> dict[int, date]:
    """Return instrument_id -> session of its newest proved bar up to `last`, inclusive; who has none is left out."""
    # One descent of the key per instrument; grouping would read every bar.
    rows = warehouse.rows(
        """
        SELECT id, newest.session FROM unnest(CAST(:ids AS integer[])) AS id
        CROSS JOIN LATERAL (
            SELECT session FROM price_data_1d WHERE instrument_id = id AND session <= :last
              AND quality_score > 0
            ORDER BY session DESC LIMIT 1
        ) AS newest
        """,
        ids=[int(i) for i in instrument_ids],
        last=last,
    )
    return {row.id: row.session for row in rows}
