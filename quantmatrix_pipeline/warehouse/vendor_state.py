"""What is remembered of vendors between calls and processes: `provider_health` and `provider_circuits`.

What the numbers mean is decided by whoever calls: changes are functions from the old row to the new one, called while
the row is locked, so that of many processes at once each builds on what the others wrote. Times are seconds since the
epoch, kept to the microsecond.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime

import sqlalchemy as sa

from quantmatrix_pipeline.warehouse.engine import Warehouse

_Counts = tuple[tuple[date, int, int], ...]


@dataclass(frozen=True, slots=True)
class HealthRow:
    """A row of `provider_health`. `received` are (session, bars received, bars expected), `compared` (session, bars
    that another vendor confirmed, bars compared).
    """

    latencies_ms: tuple[float, ...] = ()
    error_ewma: float = 0.0
    received: tuple[tuple[date, int, int], ...] = ()
    calls: int = 0
    updated_at: float | None = None
    compared: tuple[tuple[date, int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class CircuitRow:
    """A row of `provider_circuits`; `state` is `closed`, `open` or `half_open`."""

    state: str = "closed"
    failures: int = 0
    opened_at: float | None = None
    retry_at: float | None = None
    times_opened: int = 0
    reason: str | None = None
    key_mark: str | None = None
    not_in_plan_until: float | None = None


_HEALTH = "latencies, error_ewma, received, calls, updated_at, compared"
_CIRCUIT = "state, failures, opened_at, retry_at, times_opened, reason, key_mark, not_in_plan_until"


def read_health(warehouse: Warehouse) -> dict[str, HealthRow]:
    """Return vendor -> what is remembered of it."""
    return {row.vendor: _health(row) for row in warehouse.rows(f"SELECT vendor, {_HEALTH} FROM provider_health")}


def merge_health(warehouse: Warehouse, vendor: str, fold: Callable[[HealthRow], HealthRow], now: float) -> HealthRow:
    """Replace a vendor's row by what `fold` makes of it, in one transaction, and return the new one.

    `fold` is pure and short: others wait meanwhile. A vendor without a row begins with an empty one. `updated_at` is
    set to `now`, or left where that is later, whatever `fold` says of it.
    """
    with warehouse.begin() as connection:
        connection.execute(
            sa.text("""
                INSERT INTO provider_health (vendor, latencies, updated_at) VALUES (:vendor, '{}', :now)
                ON CONFLICT (vendor) DO NOTHING
            """),
            {"vendor": vendor, "now": _instant(now)},
        )
        found = connection.execute(
            sa.text(f"SELECT {_HEALTH} FROM provider_health WHERE vendor = :vendor FOR UPDATE"), {"vendor": vendor}
        ).one()
        changed = fold(_health(found))
        row = connection.execute(
            sa.text(f"""
                UPDATE provider_health
                SET latencies = :latencies, error_ewma = :error_ewma, received = CAST(:received AS jsonb),
                    calls = :calls, compared = CAST(:compared AS jsonb), updated_at = greatest(updated_at, :now)
                WHERE vendor = :vendor
                RETURNING {_HEALTH}
            """),
            {
                "vendor": vendor,
                "latencies": list(changed.latencies_ms),
                "error_ewma": changed.error_ewma,
                "received": _written(changed.received),
                "compared": _written(changed.compared),
                "calls": changed.calls,
                "now": _instant(now),
            },
        ).one()
    return _health(row)


def read_circuits(warehouse: Warehouse) -> dict[tuple[str, str], CircuitRow]:
    """Return (vendor, capability) -> circuit. Who has none was never in trouble."""
    rows = warehouse.rows(f"SELECT vendor, capability, {_CIRCUIT} FROM provider_circuits")
    return {(row.vendor, row.capability): _circuit(row) for row in rows}


def merge_circuit(
    warehouse: Warehouse, vendor: str, capability: str, fold: Callable[[CircuitRow], CircuitRow], now: float
) -> CircuitRow:
    """Replace a circuit by what `fold` makes of it, in one transaction, and return the new one.

    `fold` is pure and short: others wait meanwhile. A circuit without a row begins as a closed one.
    """
    key = {"vendor": vendor, "capability": capability}
    with warehouse.begin() as connection:
        connection.execute(
            sa.text("""
                INSERT INTO provider_circuits (vendor, capability, state, failures, updated_at)
                VALUES (:vendor, :capability, 'closed', 0, :now)
                ON CONFLICT (vendor, capability) DO NOTHING
            """),
            key | {"now": _instant(now)},
        )
        found = connection.execute(
            sa.text(f"""
                SELECT {_CIRCUIT} FROM provider_circuits
                WHERE vendor = :vendor AND capability = :capability FOR UPDATE
            """),
            key,
        ).one()
        changed = fold(_circuit(found))
        times = {name: _instant(getattr(changed, name)) for name in ("opened_at", "retry_at", "not_in_plan_until")}
        row = connection.execute(
            sa.text(f"""
                UPDATE provider_circuits
                SET state = :state, failures = :failures, opened_at = :opened_at, retry_at = :retry_at,
                    times_opened = :times_opened, reason = :reason, key_mark = :key_mark,
                    not_in_plan_until = :not_in_plan_until, updated_at = greatest(updated_at, :now)
                WHERE vendor = :vendor AND capability = :capability
                RETURNING {_CIRCUIT}
            """),
            asdict(changed) | times | key | {"now": _instant(now)},
        ).one()
    return _circuit(row)


def claim_probe(warehouse: Warehouse, vendor: str, capability: str, now: float, until: float) -> bool:
    """Claim the one probe of a circuit that waits for it; return whether it is ours.

    The circuit is half open from then on, and nobody else may probe it before `until`. The probe may be claimed where
    the circuit is open with its cool-down over, or half open without a probe under way.
    """
    claimed = warehouse.execute(
        """
        UPDATE provider_circuits
        SET state = 'half_open', retry_at = :until, updated_at = greatest(updated_at, :now)
        WHERE vendor = :vendor AND capability = :capability
          AND state IN ('open', 'half_open') AND (retry_at IS NULL OR retry_at <= :now)
        """,
        {"vendor": vendor, "capability": capability, "now": _instant(now), "until": _instant(until)},
    )
    return claimed == 1


def _instant(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


def _seconds(instant: datetime | None) -> float | None:
    return None if instant is None else instant.timestamp()


def _written(counts: _Counts) -> str:
    return json.dumps([[day.isoformat(), some, of] for day, some, of in counts])


def _read(counts: list[tuple[str, int, int]]) -> _Counts:
    return tuple((date.fromisoformat(day), some, of) for day, some, of in counts)


def _health(row: sa.Row[tuple[object, ...]]) -> HealthRow:
    return HealthRow(
        latencies_ms=tuple(row.latencies),
        error_ewma=row.error_ewma,
        received=_read(row.received),
        compared=_read(row.compared),
        calls=row.calls,
        updated_at=_seconds(row.updated_at),
    )


def _circuit(row: sa.Row[tuple[object, ...]]) -> CircuitRow:
    return CircuitRow(
        state=row.state,
        failures=row.failures,
        opened_at=_seconds(row.opened_at),
        retry_at=_seconds(row.retry_at),
        times_opened=row.times_opened,
        reason=row.reason,
        key_mark=row.key_mark,
        not_in_plan_until=_seconds(row.not_in_plan_until),
    )
