"""What a session's recorded rows say of the tracked set, beside those of the session before."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from quantmatrix_pipeline.warehouse.engine import Warehouse
from quantmatrix_pipeline.warehouse.history import ANALYSIS_TYPE


@dataclass(frozen=True, slots=True)
class Recorded:
    """A tracked instrument at a session, and its weekly stage at the session before; None where there is none."""

    symbol: str
    close: float
    perf_1d: float | None
    stage: str | None
    stage_before: str | None
    td_buy_9: bool
    td_sell_9: bool
    td_buy_13: bool
    td_sell_13: bool


def newest_session(warehouse: Warehouse) -> date | None:
    """Return the newest session of which the history has a row."""
    found: date | None = warehouse.scalar(
        "SELECT max(session) FROM market_analysis_history WHERE analysis_type = :kind", kind=ANALYSIS_TYPE
    )
    return found


def recorded(warehouse: Warehouse, session: date, before: date) -> list[Recorded]:
    """Return the tracked instruments' newest rows of a session, by symbol.

    Parameters
    ----------
    before
        The session before it.
    """
    rows = warehouse.rows(
        """
        WITH newest AS (
            SELECT DISTINCT ON (session, instrument_id) session, instrument_id, close, perf_1d, stage_label,
                   td_buy_complete, td_sell_complete, td_buy_countdown, td_sell_countdown
            FROM market_analysis_history
            WHERE session IN (:session, :before) AND analysis_type = :kind
            ORDER BY session, instrument_id, revision DESC
        )
        SELECT s.symbol, n.close, n.perf_1d, n.stage_label AS stage, b.stage_label AS stage_before,
               coalesce(n.td_buy_complete, false) AS td_buy_9, coalesce(n.td_sell_complete, false) AS td_sell_9,
               coalesce(n.td_buy_countdown = 13, false) AS td_buy_13,
               coalesce(n.td_sell_countdown = 13, false) AS td_sell_13
        FROM newest n
        JOIN symbol_universe u ON u.instrument_id = n.instrument_id AND u.active
        JOIN instrument_symbols s ON s.instrument_id = n.instrument_id AND s.valid_to IS NULL
        LEFT JOIN newest b ON b.instrument_id = n.instrument_id AND b.session = :before
        WHERE n.session = :session
        ORDER BY s.symbol COLLATE "C"
        """,
        session=session,
        before=before,
        kind=ANALYSIS_TYPE,
    )
    return [Recorded(**row._mapping) for row in rows]
