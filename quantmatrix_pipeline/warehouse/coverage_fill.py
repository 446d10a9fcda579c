"""How full each session is: `coverage_fill`, and what it is counted from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime

import pyarrow as pa

from quantmatrix_pipeline.warehouse.engine import Warehouse


@dataclass(frozen=True, slots=True)
class SessionFill:
    """How many tracked instruments should have a bar of a session, have one, and have a recorded row."""

    session: date
    expected: int
    bars: int
    snapshots: int


def lives(warehouse: Warehouse) -> tuple[list[date], list[date]]:
    """Return the first bars' sessions of the tracked instruments, or since when they are tracked where they have none;
    and the first days without of those that are delisted, no earlier than their first bars.
    """
    rows = warehouse.rows("""
        SELECT coalesce(first.session, u.first_tracked) AS first, i.delisted_on
        FROM symbol_universe u JOIN instruments i USING (instrument_id)
        LEFT JOIN LATERAL (
            -- One descent of the key per instrument; grouping would read every bar.
            SELECT session FROM price_data_1d p WHERE p.instrument_id = u.instrument_id ORDER BY session LIMIT 1
        ) AS first ON true
        WHERE u.active
    """)
    return [row.first for row in rows], [max(row.first, row.delisted_on) for row in rows if row.delisted_on]


def counted(warehouse: Warehouse, first: date, last: date) -> dict[date, tuple[int, int]]:
    """Return session -> proved bars and recorded rows of tracked instruments, from `first` to `last`, inclusive."""
    rows = warehouse.rows(
        """
        SELECT session, sum(bars)::integer AS bars, sum(recorded)::integer AS recorded FROM (
            SELECT p.session, count(*) AS bars, 0 AS recorded
            FROM price_data_1d p JOIN symbol_universe u ON u.instrument_id = p.instrument_id AND u.active
            WHERE p.session BETWEEN :first AND :last AND p.quality_score > 0 GROUP BY p.session
            UNION ALL
            SELECT h.session, 0, count(*)
            FROM market_analysis_history h JOIN symbol_universe u ON u.instrument_id = h.instrument_id AND u.active
            WHERE h.session BETWEEN :first AND :last AND h.revision = 1 GROUP BY h.session
        ) AS each GROUP BY session
        """,
        first=first,
        last=last,
    )
    return {row.session: (row.bars, row.recorded) for row in rows}


def write(warehouse: Warehouse, fills: Sequence[SessionFill], now: datetime) -> int:
    """Keep how full sessions are, in place of an earlier look at them; return how many changed."""
    names = ("session", "expected", "bars", "snapshots")
    columns = {name: [getattr(fill, name) for fill in fills] for name in names}
    return warehouse.execute(
        """
        INSERT INTO coverage_fill AS f (session, expected, bars, snapshots, computed_at)
        SELECT session, expected, bars, snapshots, :now
        FROM unnest(CAST(:session AS date[]), CAST(:expected AS integer[]), CAST(:bars AS integer[]),
                    CAST(:snapshots AS integer[])) AS given(session, expected, bars, snapshots)
        ON CONFLICT (session) DO UPDATE SET expected = excluded.expected, bars = excluded.bars,
            snapshots = excluded.snapshots, computed_at = excluded.computed_at
        WHERE (f.expected, f.bars, f.snapshots) IS DISTINCT FROM
              (excluded.expected, excluded.bars, excluded.snapshots)
        """,
        {**columns, "now": now},
    )


SCHEMA = pa.schema(
    [("session", pa.date32()), ("expected", pa.int32()), ("bars", pa.int32()), ("snapshots", pa.int32())]
)


def between(warehouse: Warehouse, first: date | None, last: date | None, limit: int | None) -> pa.Table:
    """Return the newest `limit` sessions from `first` to `last`, both inclusive, ascending, as `SCHEMA`."""
    rows = warehouse.rows(
        """
        SELECT session, expected, bars, snapshots FROM (
            SELECT * FROM coverage_fill
            WHERE session >= coalesce(CAST(:first AS date), '-infinity')
              AND session <= coalesce(CAST(:last AS date), 'infinity')
            ORDER BY session DESC LIMIT :limit
        ) AS newest ORDER BY session
        """,
        first=first,
        last=last,
        limit=limit,
    )
    return pa.Table.from_pylist([asdict(SessionFill(**row._mapping)) for row in rows], schema=SCHEMA)
