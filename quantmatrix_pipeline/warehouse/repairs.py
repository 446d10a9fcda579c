"""Bars that were repaired or could be, and what people decided: `bar_repairs`, `bar_repair_decisions`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import pyarrow as pa

from quantmatrix_pipeline.warehouse.bars import PRICES
from quantmatrix_pipeline.warehouse.engine import ArrowTransaction, Warehouse

STATES = ("applied", "suggested", "undone")
_NUMBERS = [f"{kind}_{name}" for kind in ("original", "repaired") for name in PRICES]


@dataclass(frozen=True, slots=True)
class Decided:
    """A repair on which somebody decided; numbers are open, high, low, close, volume, None where there was none."""

    repair_id: int
    decision: str  # `undo` or `apply`
    original: tuple[float | None, ...]
    repaired: tuple[float | None, ...]


@dataclass(frozen=True, slots=True)
class Repair:
    """A repair as it stands, see the view `repairs`."""

    repair_id: int
    symbol: str
    instrument_id: int
    session: date
    rule: str
    confidence: float
    state: str
    withheld: bool
    vendor: str
    basis: str
    basis_date: date | None
    original: tuple[float | None, ...]
    repaired: tuple[float | None, ...]
    evidence: Mapping[str, Any]
    found_at: datetime
    decided_at: datetime | None
    by_hand: bool  # whether a person decided on it last


def write_repairs(transaction: ArrowTransaction, rows: Sequence[Mapping[str, object]]) -> None:
    """Keep what was found; the same fault of the same bar stands there once, and one that was set aside is one again.

    Each mapping has instrument_id, session, rule, confidence, applied, source_id, original_* and repaired_* (None for
    no number), evidence (JSON text), found_at.
    """
    if not rows:
        return
    schema = pa.schema(
        [
            ("instrument_id", pa.int32()),
            ("session", pa.date32()),
            ("rule", pa.string()),
            ("confidence", pa.float64()),
            ("applied", pa.bool_()),
            ("source_id", pa.int16()),
            *((name, pa.float64()) for name in _NUMBERS),
            ("evidence", pa.string()),
            ("found_at", pa.timestamp("us", "UTC")),
        ]
    )
    transaction.stage("found_repairs", pa.Table.from_pylist([dict(row) for row in rows], schema=schema))
    numbers = ", ".join(_NUMBERS)
    fingerprint = f"""sha256(convert_to(concat_ws('|', instrument_id, '1d', session, rule, applied,
                                           array_to_string(ARRAY[{numbers}], ',', 'null')), 'UTF8'))"""
    transaction.execute(f"""
        INSERT INTO bar_repair_decisions (repair_id, decision, decided_at)
        SELECT r.repair_id, 'found_again', f.found_at
        FROM (SELECT {fingerprint} AS fingerprint, found_at FROM found_repairs WHERE applied) AS f
        JOIN bar_repairs r USING (fingerprint)
        WHERE (SELECT decision FROM bar_repair_decisions d WHERE d.repair_id = r.repair_id
               ORDER BY decision_id DESC LIMIT 1) = 'set_aside'
        ORDER BY r.repair_id
    """)
    transaction.execute(f"""
        INSERT INTO bar_repairs (instrument_id, interval, session, rule, confidence, applied, source_id, {numbers},
                                 evidence, fingerprint, found_at)
        SELECT instrument_id, '1d', session, rule, confidence, applied, source_id, {numbers}, CAST(evidence AS jsonb),
               {fingerprint}, found_at
        FROM found_repairs
        ORDER BY instrument_id, session, rule
        ON CONFLICT (fingerprint) DO NOTHING
    """)
    transaction.execute("DROP TABLE found_repairs")


def decided(warehouse: Warehouse) -> dict[tuple[int, date, str], Decided]:
    """Return (instrument_id, session, rule) -> the newest decision of a person."""
    rows = warehouse.rows(f"""
        SELECT DISTINCT ON (r.instrument_id, r.session, r.rule) r.repair_id, r.instrument_id, r.session, r.rule,
               d.decision, {", ".join(f"r.{name}" for name in _NUMBERS)}
        FROM bar_repair_decisions d JOIN bar_repairs r USING (repair_id)
        WHERE d.decision IN ('undo', 'apply')
        ORDER BY r.instrument_id, r.session, r.rule, d.decision_id DESC
    """)
    return {
        (row.instrument_id, row.session, row.rule): Decided(row.repair_id, row.decision, *_numbers(row)) for row in rows
    }


def decide(warehouse: Warehouse, repair_ids: Sequence[int], decision: str, now: datetime) -> None:
    """Note a decision on some repairs: `undo` or `apply` by a person, `set_aside` where other splits count now."""
    warehouse.execute(
        "INSERT INTO bar_repair_decisions (repair_id, decision, decided_at)"
        " SELECT id, :decision, :now FROM unnest(CAST(:ids AS bigint[])) AS id ORDER BY id",
        {"ids": list(repair_ids), "decision": decision, "now": now},
    )


def find(
    warehouse: Warehouse,
    *,
    repair_ids: Sequence[int] | None = None,
    symbol: str | None = None,
    rule: str | None = None,
    state: str | None = None,
    instrument_ids: Sequence[int] | None = None,
    limit: int | None = None,
) -> list[Repair]:
    """Return repairs, the newest session first; what is None narrows nothing."""
    conditions, given = ["true"], {"limit": limit}
    for name, value in {"symbol": symbol, "rule": rule, "state": state}.items():
        if value is not None:
            conditions.append(f"{name} = :{name}")
            given[name] = value  # type: ignore[assignment]
    if instrument_ids is not None:
        conditions.append("instrument_id = ANY (CAST(:instruments AS integer[]))")
        given["instruments"] = list(instrument_ids)  # type: ignore[assignment]
    if repair_ids is not None:
        conditions.append("repair_id = ANY (CAST(:ids AS bigint[]))")
        given["ids"] = list(repair_ids)  # type: ignore[assignment]
    rows = warehouse.rows(
        f"SELECT * FROM repairs WHERE {' AND '.join(conditions)}"
        " ORDER BY session DESC, symbol, repair_id LIMIT CAST(:limit AS bigint)",
        **given,
    )
    names = [n for n in Repair.__dataclass_fields__ if n not in ("original", "repaired")]
    found = []
    for row in rows:
        original, repaired = _numbers(row)
        found.append(Repair(**{n: getattr(row, n) for n in names}, original=original, repaired=repaired))
    return found


def stored_close(warehouse: Warehouse, repair: Repair) -> float | None:
    """Return the close that is stored now of a repair's bar, None where there is no such bar."""
    found = warehouse.scalar(
        "SELECT close FROM price_data_1d WHERE instrument_id = :id AND session = :day",
        id=repair.instrument_id,
        day=repair.session,
    )
    return None if found is None else float(found)


def _numbers(row: Any) -> tuple[tuple[float | None, ...], tuple[float | None, ...]]:
    original, repaired = (tuple(getattr(row, f"{kind}_{n}") for n in PRICES) for kind in ("original", "repaired"))
    return original, repaired
