"""Questions whose answers prove that what is stored holds together. They read; they mend nothing."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any

from quantmatrix_pipeline.warehouse.engine import Warehouse


def broken_bars(warehouse: Warehouse, limit: int = 20) -> tuple[int, list[dict[str, Any]]]:
    """Return how many stored daily bars break a hard rule (there should be none) and the first of them."""
    rows = warehouse.rows(
        """
        SELECT count(*) OVER () AS broken, s.symbol, p.session, p.open, p.high, p.low, p.close, p.volume
        FROM price_data_1d p
        LEFT JOIN instrument_symbols s ON s.instrument_id = p.instrument_id AND s.valid_to IS NULL
        WHERE NOT (high >= greatest(open, close) AND low <= least(open, close) AND low > 0 AND volume >= 0
                   AND high < 'infinity' AND volume < 'infinity')
        ORDER BY s.symbol, p.session
        LIMIT :limit
        """,
        limit=limit,
    )
    shown = [dict(row._mapping) for row in rows]
    count = max((row.pop("broken") for row in shown), default=0)
    return count, shown


def rejected_days(warehouse: Warehouse, last: date) -> list[tuple[int, date]]:
    """Return (instrument_id, day) up to `last` of which a row was refused and no bar is stored; sessions or not."""
    rows = warehouse.rows(
        """
        SELECT DISTINCT v.instrument_id, v.session
        FROM validation_log v
        LEFT JOIN price_data_1d p ON p.instrument_id = v.instrument_id AND p.session = v.session
        WHERE v.interval = '1d' AND v.session <= :last AND p.session IS NULL AND v.instrument_id IS NOT NULL
        """,
        last=last,
    )
    return [(row.instrument_id, row.session) for row in rows]


def bars_of_session(warehouse: Warehouse, session: date) -> int:
    """Count the proved daily bars of one session."""
    return int(
        warehouse.scalar(
            "SELECT count(*) FROM price_data_1d WHERE session = :session AND quality_score > 0", session=session
        )
    )


def snapshots_unlike_history(
    warehouse: Warehouse, columns: Sequence[str], at_newest: Sequence[str], limit: int = 20
) -> list[dict[str, Any]]:
    """Return snapshots whose newest history revision of the same session is missing or has other numbers.

    The columns `at_newest` are compared for snapshots of the newest session only.
    """

    def differ(names: Sequence[str]) -> str:
        own, recorded = (", ".join(f"{table}.{name}" for name in names) for table in "ch")
        return f"(({own}) IS DISTINCT FROM ({recorded}))"

    rows = warehouse.rows(
        f"""
        SELECT s.symbol, c.session, h.revision
        FROM market_analysis_cache c
        JOIN instrument_symbols s ON s.instrument_id = c.instrument_id AND s.valid_to IS NULL
        LEFT JOIN LATERAL (
            SELECT * FROM market_analysis_history h
            WHERE h.session = c.session AND h.instrument_id = c.instrument_id AND h.analysis_type = c.analysis_type
            ORDER BY h.revision DESC LIMIT 1
        ) h ON true
        WHERE EXISTS (SELECT FROM market_analysis_history x WHERE x.session = c.session)
          AND (h.revision IS NULL OR {differ(columns)}
               OR (c.session = (SELECT max(session) FROM market_analysis_cache) AND {differ(at_newest)}))
        ORDER BY s.symbol
        LIMIT :limit
        """,
        limit=limit,
    )
    return [dict(row._mapping) for row in rows]


def unproved_gaps(warehouse: Warehouse) -> list[dict[str, Any]]:
    """Return the bars of tracked instruments with a gap that are not validated and that nobody looked up, newest first.

    Each with `open_by_close_before`, in prices as stored.
    """
    rows = warehouse.rows("""
        SELECT s.symbol, p.session, b.vendor, p.open / before.close AS open_by_close_before
        FROM price_data_1d p
        JOIN symbol_universe u ON u.instrument_id = p.instrument_id AND u.active
        JOIN instrument_symbols s ON s.instrument_id = p.instrument_id AND s.valid_to IS NULL
        JOIN bar_sources b USING (source_id)
        CROSS JOIN LATERAL (
            SELECT close FROM price_data_1d e WHERE e.instrument_id = p.instrument_id AND e.session < p.session
            ORDER BY e.session DESC LIMIT 1
        ) before
        WHERE p.gap_detected AND NOT p.validated AND p.quality_score > 0 AND NOT EXISTS (
            SELECT FROM split_lookups l
            WHERE l.instrument_id = p.instrument_id AND l.session = p.session AND l.vendor <> b.vendor AND NOT l.found
        )
        ORDER BY p.session DESC, s.symbol
    """)
    return [dict(row._mapping) for row in rows]


def dividend_conflicts(warehouse: Warehouse) -> int:
    """Count the ex-dates of tracked instruments whose cash dividends vendors tell otherwise and prices can't decide."""
    return int(
        warehouse.scalar("""
            SELECT count(DISTINCT (c.symbol, c.ex_date)) FROM action_conflicts c
            JOIN instrument_symbols s ON s.symbol = c.symbol AND s.valid_to IS NULL
            JOIN symbol_universe u ON u.instrument_id = s.instrument_id AND u.active
            WHERE c.kind = 'cash_dividend' AND c.in_force AND c.reason = 'prices_do_not_tell'
        """)
    )


def action_conflicts(warehouse: Warehouse) -> list[dict[str, Any]]:
    """Return the splits of tracked instruments that are disputed or at odds with prices, newest first."""
    rows = warehouse.rows("""
        SELECT c.symbol, c.ex_date, c.numerator || ':' || c.denominator AS ratio, c.vendor, c.in_force, c.reason
        FROM action_conflicts c JOIN instrument_symbols s ON s.symbol = c.symbol AND s.valid_to IS NULL
        JOIN symbol_universe u ON u.instrument_id = s.instrument_id AND u.active
        WHERE c.kind <> 'cash_dividend' ORDER BY c.ex_date DESC, c.symbol, c.action_id
    """)
    return [dict(row._mapping) for row in rows]


def totals(warehouse: Warehouse) -> dict[str, Any]:
    """Return the counts of `/api/v1/status`: symbols, bars, validated and flagged ones, the newest session."""
    row = warehouse.rows("""
        SELECT (SELECT count(*) FROM symbol_universe WHERE active) AS symbols, count(*) AS records,
               count(*) FILTER (WHERE validated) AS validated, count(*) FILTER (WHERE gap_detected) AS gaps_flagged,
               max(session) AS latest_date
        FROM price_data WHERE quality_score > 0
    """)[0]
    return dict(row._mapping)


def validated_share(warehouse: Warehouse, first: date, last: date) -> float | None:
    """Return the share of the daily bars of the sessions from `first` to `last`, inclusive, that are validated.

    None where there are none.
    """
    share = warehouse.scalar(
        "SELECT avg(validated::integer)::float8 FROM price_data_1d WHERE session BETWEEN :first AND :last",
        first=first,
        last=last,
    )
    return None if share is None else float(share)
