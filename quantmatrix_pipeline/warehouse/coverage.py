"""Coverage by session and signs of life: `coverage_snapshots`, `heartbeats`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from quantmatrix_pipeline.warehouse.engine import Warehouse


@dataclass(frozen=True, slots=True)
class Filled:
    """How many instruments have a row of a session."""

    snapshots: int
    history: int
    unusable: int


def filled(warehouse: Warehouse, session: date, instrument_ids: Sequence[int], *, usable_quality: float) -> Filled:
    """Count the given instruments' rows of a session, a newer snapshot as well, and their bars below
    `usable_quality`.
    """
    row = warehouse.rows(
        """
        SELECT (SELECT count(*) FROM market_analysis_cache
                WHERE session >= :session AND instrument_id = ANY (:ids)) AS snapshots,
               (SELECT count(DISTINCT instrument_id) FROM market_analysis_history
                WHERE session = :session AND instrument_id = ANY (:ids)) AS history,
               (SELECT count(*) FROM price_data_1d
                WHERE session = :session AND instrument_id = ANY (:ids) AND quality_score > 0
                  AND quality_score < :usable) AS unusable
        """,
        usable=usable_quality,
        session=session,
        ids=[int(i) for i in instrument_ids],
    )[0]
    return Filled(row.snapshots, row.history, row.unusable)


def lacking(warehouse: Warehouse, session: date) -> tuple[int, dict[int, str]]:
    """Return how many tracked instruments are not delisted as of a session, and instrument_id -> symbol of those that
    have no proved bar of it.
    """
    rows = warehouse.rows(
        """
        WITH expected AS MATERIALIZED (
            SELECT u.instrument_id FROM symbol_universe u JOIN instruments i USING (instrument_id)
            WHERE u.active AND (i.delisted_on IS NULL OR i.delisted_on > :session)
        ), present AS MATERIALIZED (
            SELECT instrument_id FROM price_data_1d WHERE session = :session AND quality_score > 0
        )
        SELECT (SELECT count(*) FROM expected) AS expected, e.instrument_id, s.symbol
        FROM (SELECT instrument_id FROM expected EXCEPT SELECT instrument_id FROM present) e
        JOIN instrument_symbols s ON s.instrument_id = e.instrument_id AND s.valid_to IS NULL
        UNION ALL SELECT (SELECT count(*) FROM expected), NULL, NULL
        """,
        session=session,
    )
    return rows[0].expected, {row.instrument_id: row.symbol for row in rows if row.instrument_id is not None}


def save(
    warehouse: Warehouse,
    *,
    session: date,
    status: str,
    tracked_count: int,
    expected: int,
    fresh: int,
    report: Mapping[str, Any],
    now: datetime,
) -> None:
    """Keep the coverage of a session, in place of an earlier look at the same session."""
    warehouse.execute(
        """
        INSERT INTO coverage_snapshots (session, status, tracked_count, expected, fresh, report, computed_at)
        VALUES (:session, :status, :tracked_count, :expected, :fresh, CAST(:report AS jsonb), :now)
        ON CONFLICT (session) DO UPDATE SET
            status = excluded.status, tracked_count = excluded.tracked_count, expected = excluded.expected,
            fresh = excluded.fresh, report = excluded.report, computed_at = excluded.computed_at
        """,
        {
            "session": session,
            "status": status,
            "tracked_count": tracked_count,
            "expected": expected,
            "fresh": fresh,
            "report": json.dumps(report),
            "now": now,
        },
    )


def newest(warehouse: Warehouse) -> tuple[dict[str, Any], datetime] | None:
    """Return the coverage of the newest session and when it was worked out, None before the first."""
    rows = warehouse.rows("SELECT report, computed_at FROM coverage_snapshots ORDER BY session DESC LIMIT 1")
    return (dict(rows[0].report), rows[0].computed_at) if rows else None


def newest_vendors(warehouse: Warehouse) -> set[str]:
    """Return who gave the daily bars of the newest session that has any."""
    rows = warehouse.rows("""
        SELECT DISTINCT b.vendor FROM price_data_1d p JOIN bar_sources b USING (source_id)
        WHERE p.session = (SELECT max(session) FROM price_data_1d)
    """)
    return {row.vendor for row in rows}


def beat(warehouse: Warehouse, name: str, now: datetime, detail: Mapping[str, Any] | None = None) -> None:
    """Note that something that runs unattended is alive."""
    warehouse.execute(
        """
        INSERT INTO heartbeats (name, beat_at, detail) VALUES (:name, :now, CAST(:detail AS jsonb))
        ON CONFLICT (name) DO UPDATE SET beat_at = excluded.beat_at, detail = excluded.detail
        """,
        {"name": name, "now": now, "detail": json.dumps(detail or {})},
    )


def heartbeats(warehouse: Warehouse) -> dict[str, tuple[datetime, dict[str, Any]]]:
    """Return name -> (last sign of life, its detail)."""
    return {
        row.name: (row.beat_at, dict(row.detail))
        for row in warehouse.rows("SELECT name, beat_at, detail FROM heartbeats ORDER BY name")
    }
