"""What is missing and why: `bar_gaps`, `bar_exceptions`, `answered_sessions`, `exchange_days`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime

import pyarrow as pa
import sqlalchemy as sa

from quantmatrix_pipeline.warehouse.engine import LOCKS, ArrowTransaction, Warehouse

# What a cursor does not pass: a session that should have a bar, has none, and nobody accepted that.
OPEN = "(NOT g.accepted AND g.reason IN ('rejected', 'vendor_hole', 'not_fetched'))"

GAPS = pa.schema(
    [
        ("instrument_id", pa.int32()),
        ("first_session", pa.date32()),
        ("last_session", pa.date32()),
        ("sessions", pa.int32()),
        ("reason", pa.string()),
        ("accepted", pa.bool_()),
    ]
)


# --- exceptions -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class BarException:
    """Sessions, both ends inclusive, of which somebody said that no bar need be asked for; all symbols where it is
    None.
    """

    exception_id: int
    instrument_id: int | None
    symbol: str | None
    first: date
    last: date
    reason: str
    note: str
    accepted_by: str
    accepted_at: datetime


def exceptions(warehouse: Warehouse, calendar: str) -> list[BarException]:
    """Return the exceptions in force for daily bars of a calendar, oldest first."""
    rows = warehouse.rows(
        """
        SELECT e.exception_id, e.instrument_id, s.symbol, e.first_session AS first, e.last_session AS last, e.reason,
               e.note, e.accepted_by, e.accepted_at
        FROM bar_exceptions e
        LEFT JOIN instrument_symbols s ON s.instrument_id = e.instrument_id AND s.valid_to IS NULL
        WHERE e.withdrawn_at IS NULL AND e.interval = '1d' AND e.calendar = :calendar
        ORDER BY e.exception_id
        """,
        calendar=calendar,
    )
    return [BarException(**row._mapping) for row in rows]


def accept(
    warehouse: Warehouse,
    *,
    instrument_id: int | None,
    calendar: str,
    first: date,
    last: date,
    reason: str,
    note: str,
    by: str,
    now: datetime,
) -> int | None:
    """Record an exception; return its number, None where the same stretch has one already."""
    with warehouse.begin() as connection:
        found: int | None = connection.execute(
            sa.text("""
                INSERT INTO bar_exceptions (instrument_id, calendar, first_session, last_session, reason, note,
                                            accepted_by, accepted_at)
                VALUES (:instrument_id, :calendar, :first, :last, :reason, :note, :by, :now)
                ON CONFLICT DO NOTHING RETURNING exception_id
            """),
            {
                "instrument_id": instrument_id,
                "calendar": calendar,
                "first": first,
                "last": last,
                "reason": reason,
                "note": note,
                "by": by,
                "now": now,
            },
        ).scalar()
    return found


def withdraw(warehouse: Warehouse, exception_id: int, *, by: str, now: datetime) -> bool:
    """Take an exception back, which stays in the table; False where there is none in force of this number."""
    return bool(
        warehouse.execute(
            "UPDATE bar_exceptions SET withdrawn_by = :by, withdrawn_at = :now"
            " WHERE exception_id = :id AND withdrawn_at IS NULL",
            {"id": exception_id, "by": by, "now": now},
        )
    )


# --- what was answered ------------------------------------------------------------------------------------------------


def note_answered(
    warehouse: Warehouse, source: str, instrument_ids: Sequence[int], first: date, last: date, now: datetime
) -> None:
    """Note that everything missing from `first` to `last`, both inclusive, was asked for and answered about.

    A stretch that touches the one noted before prolongs it; one apart takes its place.
    """
    if not instrument_ids:
        return
    warehouse.execute(
        """
        INSERT INTO answered_sessions AS a (instrument_id, interval, answered_from, answered_to, source, answered_at)
        SELECT id, '1d', :first, :last, :source, :now FROM unnest(CAST(:ids AS integer[])) AS id
        ON CONFLICT (instrument_id, interval) DO UPDATE SET
            answered_from = CASE WHEN excluded.answered_from <= a.answered_to + 1
                                  AND a.answered_from <= excluded.answered_to + 1
                                 THEN least(a.answered_from, excluded.answered_from) ELSE excluded.answered_from END,
            answered_to = CASE WHEN excluded.answered_from <= a.answered_to + 1
                                AND a.answered_from <= excluded.answered_to + 1
                               THEN greatest(a.answered_to, excluded.answered_to) ELSE excluded.answered_to END,
            source = excluded.source, answered_at = excluded.answered_at
        WHERE excluded.answered_from < a.answered_from OR excluded.answered_to > a.answered_to
        """,
        {"ids": sorted(instrument_ids), "first": first, "last": last, "source": source, "now": now},
    )


def answered(warehouse: Warehouse) -> dict[int, tuple[date, date]]:
    """Return instrument_id -> the sessions, both ends inclusive, about which a source has answered."""
    rows = warehouse.rows("SELECT instrument_id, answered_from, answered_to FROM answered_sessions WHERE interval='1d'")
    return {row.instrument_id: (row.answered_from, row.answered_to) for row in rows}


def listings(warehouse: Warehouse, instrument_ids: Sequence[int]) -> tuple[dict[int, date], dict[int, date]]:
    """Return instrument_id -> first day of trading, and -> first day without, of those of which they are known."""
    rows = warehouse.rows(
        "SELECT instrument_id, listed_on, delisted_on FROM instruments WHERE instrument_id = ANY (:ids)",
        ids=list(instrument_ids),
    )
    return (
        {row.instrument_id: row.listed_on for row in rows if row.listed_on},
        {row.instrument_id: row.delisted_on for row in rows if row.delisted_on},
    )


def cursor_stretches(warehouse: Warehouse) -> list[dict[int, tuple[date, date]]]:
    """Return for each vendor: instrument_id -> the stretch, end exclusive, in which it has nothing before its first
    bar.
    """
    found: dict[str, dict[int, tuple[date, date]]] = {}
    for row in warehouse.rows("SELECT vendor, instrument_id, asked_from, first_bar FROM ingestion_cursor"
                              " WHERE interval = '1d' AND asked_from < first_bar"):  # fmt: skip
        found.setdefault(row.vendor, {})[row.instrument_id] = (row.asked_from, row.first_bar)
    return list(found.values())


# --- gaps -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Counted:
    """How many proved daily bars an instrument has in a window, and its first one."""

    first: date
    bars: int


def counted(warehouse: Warehouse, first: date, last: date) -> dict[int, Counted]:
    """Return instrument_id -> what it has of the sessions from `first` to `last`, both inclusive."""
    table = warehouse.arrow_table(f"""
        SELECT instrument_id, min(session) AS first, count(*) AS bars FROM price_data_1d
        WHERE session BETWEEN '{first:%Y-%m-%d}' AND '{last:%Y-%m-%d}' GROUP BY instrument_id
    """)
    columns = (table[name].to_pylist() for name in ("instrument_id", "first", "bars"))
    return {i: Counted(day, bars) for i, day, bars in zip(*columns, strict=True)}


def write(warehouse: Warehouse, gaps: pa.Table, now: datetime) -> tuple[int, int]:
    """Make the gaps of daily bars those given (`GAPS`); return how many rows came and went.

    What stands there already stays as it is, with the moment at which it was found. `gaps_found` counts those that
    should have bars and touch no gap that was known: one that only grew or changed its reason is no new one.
    """
    with warehouse.arrow() as transaction:
        transaction.lock("gaps")
        transaction.stage("scanned", gaps)
        transaction.execute(f"""
            INSERT INTO gaps_found AS f (interval, gaps)
            SELECT '1d', count(*) FROM scanned g
            WHERE {OPEN} AND NOT EXISTS (
                SELECT FROM bar_gaps known
                WHERE known.instrument_id = g.instrument_id AND known.interval = '1d'
                  AND known.first_session <= g.last_session AND known.last_session >= g.first_session
            )
            ON CONFLICT (interval) DO UPDATE SET gaps = f.gaps + excluded.gaps
        """)
        gone = _count(
            transaction,
            """
            WITH gone AS (
                DELETE FROM bar_gaps g WHERE g.interval = '1d' AND NOT EXISTS (
                    SELECT FROM scanned s
                    WHERE s.instrument_id = g.instrument_id AND s.first_session = g.first_session
                      AND s.last_session = g.last_session AND s.reason = g.reason AND s.accepted = g.accepted
                ) RETURNING 1
            ) SELECT count(*) AS n FROM gone
            """,
            [],
        )
        came = _count(
            transaction,
            """
            WITH came AS (
                INSERT INTO bar_gaps (instrument_id, interval, first_session, last_session, sessions, reason, accepted,
                                      found_at)
                SELECT instrument_id, '1d', first_session, last_session, sessions, reason, accepted, $1 FROM scanned
                ON CONFLICT DO NOTHING RETURNING 1
            ) SELECT count(*) AS n FROM came
            """,
            [now],
        )
    return came, gone


def _count(transaction: ArrowTransaction, sql: str, parameters: Sequence[object]) -> int:
    return int(transaction.query(sql, parameters)["n"][0].as_py())


def write_exchange_days(warehouse: Warehouse, calendar: str, days: Mapping[date, int]) -> None:
    """Keep the special days of a calendar: day -> minutes that it trades, 0 on a holiday."""
    with warehouse.begin() as connection:
        connection.execute(sa.text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCKS["gaps"]})
        connection.execute(
            sa.text("""
                INSERT INTO exchange_days AS d (calendar, day, kind, minutes)
                SELECT :calendar, day, CASE minutes WHEN 0 THEN 'holiday' ELSE 'half_day' END, minutes
                FROM unnest(CAST(:days AS date[]), CAST(:minutes AS integer[])) AS given(day, minutes)
                ON CONFLICT (calendar, day) DO UPDATE SET kind = excluded.kind, minutes = excluded.minutes
                WHERE d.minutes <> excluded.minutes
            """),
            {"calendar": calendar, "days": list(days), "minutes": list(days.values())},
        )


def advance_cursors(warehouse: Warehouse, now: datetime) -> int:
    """Move each vendor's cursor over contiguous bars, as the gaps tell; return how many moved.

    A cursor stands before the first session behind its first bar that has no bar and was not accepted as missing, or at
    the instrument's last bar where there is none such.
    """
    return warehouse.execute(
        f"""
        UPDATE ingestion_cursor c SET contiguous_to = found.last, updated_at = :now
        FROM (
            SELECT k.instrument_id, k.vendor, (
                SELECT max(p.session) FROM price_data_1d p
                WHERE p.instrument_id = k.instrument_id AND p.session >= k.first_bar AND p.session < coalesce((
                    SELECT min(g.first_session) FROM bar_gaps g
                    WHERE g.instrument_id = k.instrument_id AND g.interval = '1d' AND g.first_session > k.first_bar
                      AND {OPEN}
                ), 'infinity')
            ) AS last
            FROM ingestion_cursor k WHERE k.interval = '1d'
        ) found
        WHERE c.instrument_id = found.instrument_id AND c.vendor = found.vendor AND c.interval = '1d'
          AND c.contiguous_to IS DISTINCT FROM found.last
        """,
        {"now": now},
    )


@dataclass(frozen=True, slots=True)
class Hole:
    """Sessions that a tracked instrument lacks inside its life, and nobody accepted; `rejected` of them came and were
    refused.
    """

    symbol: str
    missing: int
    rejected: int
    first: date
    last: date


def holes(warehouse: Warehouse, last: date) -> list[Hole]:
    """Return who lacks sessions between its first and its last bar up to `last`, the worst first."""
    rows = warehouse.rows(
        f"""
        SELECT s.symbol, sum(g.sessions) AS missing, life.first, life.last,
               coalesce(sum(g.sessions) FILTER (WHERE g.reason = 'rejected'), 0) AS rejected
        FROM bar_gaps g
        JOIN instrument_symbols s ON s.instrument_id = g.instrument_id AND s.valid_to IS NULL
        JOIN LATERAL (
            SELECT min(p.session) AS first, max(p.session) AS last FROM price_data_1d p
            WHERE p.instrument_id = g.instrument_id AND p.session <= :last
        ) life ON g.first_session > life.first AND g.last_session < life.last
        WHERE g.interval = '1d' AND {OPEN}
        GROUP BY s.symbol, life.first, life.last
        ORDER BY missing DESC, s.symbol COLLATE "C"
        """,
        last=last,
    )
    return [Hole(**row._mapping) for row in rows]


def unproved_ids(warehouse: Warehouse) -> set[int]:
    """Return the instruments of which a bar is stored that is not proved, such as that of a session still open."""
    return {row.instrument_id for row in warehouse.rows(
        "SELECT DISTINCT instrument_id FROM price_data_1d WHERE quality_score = 0")}  # fmt: skip


def newest_session(warehouse: Warehouse) -> date | None:
    """Return the newest session that has a daily bar, None where there is none."""
    value: date | None = warehouse.scalar("SELECT max(session) FROM price_data_1d")
    return value


def by_reason(warehouse: Warehouse) -> dict[str, tuple[int, int]]:
    """Return reason -> number of stretches and of sessions; what was accepted bears `accepted:` before its reason."""
    rows = warehouse.rows("""
        SELECT CASE WHEN accepted THEN 'accepted:' ELSE '' END || reason AS reason, count(*) AS stretches,
               sum(sessions) AS sessions
        FROM bar_gaps GROUP BY 1 ORDER BY 1
    """)
    return {row.reason: (row.stretches, row.sessions) for row in rows}


@dataclass(frozen=True, slots=True)
class Gap:
    """Consecutive sessions without a bar, both ends inclusive."""

    symbol: str
    first: date
    last: date
    sessions: int
    reason: str
    accepted: bool


def find(warehouse: Warehouse, *, symbol: str | None = None, reason: str | None = None, limit: int = 100) -> list[Gap]:
    """Return gaps of daily bars, the newest first: of one symbol or all, for one reason or any but an instrument's
    life.
    """
    rows = warehouse.rows(
        """
        SELECT symbol, first_session AS first, last_session AS last, sessions, reason, accepted FROM missing_bars
        WHERE interval = '1d' AND (CAST(:symbol AS text) IS NULL OR symbol = :symbol)
          AND CASE WHEN CAST(:reason AS text) IS NULL
                   THEN :symbol IS NOT NULL OR reason NOT IN ('not_listed', 'delisted') ELSE reason = :reason END
        ORDER BY last_session DESC, symbol LIMIT :limit
        """,
        symbol=symbol,
        reason=reason,
        limit=limit,
    )
    return [Gap(**row._mapping) for row in rows]
