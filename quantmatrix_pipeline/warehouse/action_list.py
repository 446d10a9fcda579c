"""Corporate actions as people look at them: what each vendor stands by, whether it counts, and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from quantmatrix_pipeline.warehouse.engine import Warehouse


@dataclass(frozen=True, slots=True)
class Action:
    """An action that a vendor stands by.

    `ratio` is new:old shares of a split or stock dividend, `amount` cash per share of a dividend. `reason` is that of
    the newest verdict, None without one: then it counts. `by` and `note` are of the last person who decided on it.
    """

    action_id: int
    instrument_id: int
    symbol: str | None
    kind: str
    ex_date: date
    ratio: str | None
    amount: Decimal | None
    currency: str | None
    vendor: str
    as_of: datetime
    in_force: bool
    reason: str | None
    evidence: Mapping[str, Any]
    by: str | None
    note: str | None


def find(
    warehouse: Warehouse,
    *,
    action_ids: Sequence[int] | None = None,
    symbol: str | None = None,
    kind: str | None = None,
    contested: bool = False,
    limit: int | None = None,
) -> list[Action]:
    """Return actions, the newest ex-dates first; what is None narrows nothing, contested is what somebody disputes."""
    rows = warehouse.rows(
        """
        SELECT c.action_id, c.instrument_id, s.symbol, c.kind, c.ex_date,
               trim_scale(c.numerator) || ':' || trim_scale(c.denominator) AS ratio, c.amount, c.currency, c.vendor,
               c.as_of, coalesce(v.in_force, true) AS in_force, v.reason, coalesce(v.evidence, '{}') AS evidence,
               said.evidence ->> 'by' AS by, said.evidence ->> 'note' AS note
        FROM action_claims_known_at('infinity') c
        LEFT JOIN instrument_symbols s ON s.instrument_id = c.instrument_id AND s.valid_to IS NULL
        LEFT JOIN LATERAL (
            SELECT * FROM action_verdicts v WHERE v.action_id = c.action_id ORDER BY v.verdict_id DESC LIMIT 1
        ) v ON true
        LEFT JOIN LATERAL (
            SELECT evidence FROM action_verdicts v WHERE v.action_id = c.action_id AND v.evidence ? 'note'
            ORDER BY v.verdict_id DESC LIMIT 1
        ) said ON true
        WHERE (CAST(:ids AS integer[]) IS NULL OR c.action_id = ANY (CAST(:ids AS integer[])))
          AND (CAST(:symbol AS text) IS NULL OR s.symbol = :symbol)
          AND (CAST(:kind AS text) IS NULL OR c.kind = :kind)
          AND (NOT :contested OR v.reason NOT IN ('agreed', 'undisputed'))
        ORDER BY c.ex_date DESC, s.symbol, c.action_id LIMIT CAST(:limit AS bigint)
        """,
        ids=None if action_ids is None else list(action_ids),
        symbol=symbol,
        kind=kind,
        contested=contested,
        limit=limit,
    )
    return [Action(**row._mapping) for row in rows]


def currency_of(warehouse: Warehouse, instrument_id: int) -> str:
    """Return the currency of an instrument's prices."""
    return str(warehouse.scalar("SELECT currency FROM instruments WHERE instrument_id = :id", id=instrument_id))
