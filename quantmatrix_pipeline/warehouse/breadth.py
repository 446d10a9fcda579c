"""The breadth of the market by session, never changed: `market_breadth`, `market_breadth_due`.

Which columns it has is not this module's business: it writes the columns that the caller's table has.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime

import pyarrow as pa

from quantmatrix_pipeline.warehouse.engine import ArrowTransaction, Warehouse
from quantmatrix_pipeline.warehouse.history import ANALYSIS_TYPE, HistoryCounts

TABLE = "market_breadth"


def mark_due(transaction: ArrowTransaction, since: date) -> None:
    """Note that the breadth of all recorded sessions from `since` on is due again."""
    transaction.execute(f"""
        INSERT INTO market_breadth_due AS d (first_session) VALUES ('{since:%Y-%m-%d}')
        ON CONFLICT (single_row) DO UPDATE SET first_session = least(d.first_session, excluded.first_session)
    """)


def take_due(transaction: ArrowTransaction) -> list[date]:
    """Take the note away and return the recorded sessions that are due, ascending; the note is there again when the
    transaction fails.
    """
    found = transaction.query(f"""
        WITH taken AS (DELETE FROM market_breadth_due RETURNING first_session)
        SELECT DISTINCT session FROM {TABLE} WHERE session >= (SELECT first_session FROM taken) ORDER BY session
    """)
    return found["session"].to_pylist()  # type: ignore[no-any-return]


def record(transaction: ArrowTransaction, rows: pa.Table, as_of: datetime) -> HistoryCounts:
    """Append breadth; a session that stands there with other numbers gets a new revision, an equal one is left.

    Parameters
    ----------
    transaction
        One that holds the writers' lock of the breadth.
    rows
        session and the columns of breadth; one row per session, in any order.
    as_of
        When this was counted from what was known.
    """
    if rows.num_rows == 0:
        return HistoryCounts(0, 0, 0)
    names = [name for name in rows.column_names if name != "session"]
    transaction.stage("new_breadth", rows, like=TABLE)
    written = transaction.query(
        f"""
        WITH written AS (
            INSERT INTO {TABLE} (session, revision, as_of, {", ".join(names)})
            SELECT n.session, coalesce(o.revision, 0) + 1, $1, {", ".join(f"n.{name}" for name in names)}
            FROM new_breadth n
            LEFT JOIN LATERAL (
                SELECT * FROM {TABLE} b WHERE b.session = n.session ORDER BY revision DESC LIMIT 1
            ) AS o ON true
            WHERE o.session IS NULL
               OR ({", ".join(f"o.{name}" for name in names)})
                  IS DISTINCT FROM ({", ".join(f"n.{name}" for name in names)})
            RETURNING revision
        )
        SELECT count(*) FILTER (WHERE revision = 1) AS recorded, count(*) FILTER (WHERE revision > 1) AS restated
        FROM written
        """,
        [as_of],
    ).to_pylist()[0]
    transaction.execute("DROP TABLE new_breadth")
    recorded, restated = int(written["recorded"]), int(written["restated"])
    return HistoryCounts(recorded, restated, rows.num_rows - recorded - restated)


def of_session(warehouse: Warehouse, session: date) -> dict[str, object] | None:
    """Return the newest revision of a session's breadth, None where it has none."""
    rows = warehouse.rows(
        f"SELECT * FROM {TABLE} WHERE session = :session ORDER BY revision DESC LIMIT 1", session=session
    )
    return dict(rows[0]._mapping) if rows else None


def stages_in_history(warehouse: Warehouse, session: date, without: Sequence[int]) -> dict[str, int]:
    """Return stage -> number of the stocks, but for those `without`, whose newest history row of the session has it."""
    rows = warehouse.rows(
        """
        SELECT stage_label, count(*) AS stocks
        FROM (SELECT DISTINCT ON (instrument_id) instrument_id, stage_label FROM market_analysis_history
              WHERE session = :session AND analysis_type = :kind ORDER BY instrument_id, revision DESC) AS h
        JOIN instruments i USING (instrument_id)
        WHERE i.kind = 'stock' AND instrument_id <> ALL (:without)
        GROUP BY stage_label
        """,
        session=session,
        kind=ANALYSIS_TYPE,
        without=list(without),
    )
    return {row.stage_label: row.stocks for row in rows}
