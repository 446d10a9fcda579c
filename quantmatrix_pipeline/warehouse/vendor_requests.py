"""What vendors were asked and how it went: `provider_requests` per run, and the counters that grow for ever."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import sqlalchemy as sa

from quantmatrix_pipeline.warehouse.engine import Warehouse

# Upper bounds of the latency histogram in milliseconds, inclusive; one more bucket counts what is above.
LATENCY_BOUNDS_MS = (5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000, 30_000)


@dataclass(frozen=True, slots=True)
class RequestRow:
    """One vendor and capability in one run."""

    vendor: str
    capability: str
    calls: int
    symbols: int
    errors: Mapping[str, int]  # by error type
    p50_ms: float | None
    p95_ms: float | None
    fallbacks: Mapping[str, int]  # why others were asked instead
    undone: int


@dataclass(frozen=True, slots=True)
class Counters:
    """How often something happened; added to what the warehouse holds, or all that it holds.

    `latency` is (vendor, endpoint) -> (counts per bucket of `LATENCY_BOUNDS_MS` and above, sum in ms).
    """

    selected: Mapping[tuple[str, str], int] = field(default_factory=dict)  # (capability, vendor)
    errors: Mapping[tuple[str, str, str], int] = field(default_factory=dict)  # (vendor, endpoint, error type)
    latency: Mapping[tuple[str, str], tuple[Sequence[int], float]] = field(default_factory=dict)


def write(
    warehouse: Warehouse,
    run_id: str | None,
    started_at: datetime,
    finished_at: datetime,
    rows: Sequence[RequestRow],
    counters: Counters,
) -> None:
    """Write a run's rows and add to the counters, in one transaction."""
    with warehouse.begin() as connection:
        if rows:
            connection.execute(
                sa.text("""
                    INSERT INTO provider_requests (run_id, started_at, finished_at, vendor, capability, calls, symbols,
                                                   errors, p50_ms, p95_ms, fallbacks, undone)
                    VALUES (:run_id, :started_at, :finished_at, :vendor, :capability, :calls, :symbols,
                            CAST(:errors AS jsonb), :p50_ms, :p95_ms, CAST(:fallbacks AS jsonb), :undone)
                """),
                [
                    {
                        "run_id": run_id,
                        "started_at": started_at,
                        "finished_at": finished_at,
                        "vendor": row.vendor,
                        "capability": row.capability,
                        "calls": row.calls,
                        "symbols": row.symbols,
                        "errors": json.dumps(dict(row.errors)),
                        "p50_ms": row.p50_ms,
                        "p95_ms": row.p95_ms,
                        "fallbacks": json.dumps(dict(row.fallbacks)),
                        "undone": row.undone,
                    }
                    for row in rows
                ],
            )
        # Sorted, so that two processes that write at once take the rows' locks in the same order.
        if counters.selected:
            connection.execute(
                sa.text("""
                    INSERT INTO provider_selected AS s (capability, vendor, times) VALUES (:capability, :vendor, :times)
                    ON CONFLICT (capability, vendor) DO UPDATE SET times = s.times + excluded.times
                """),
                [{"capability": c, "vendor": v, "times": n} for (c, v), n in sorted(counters.selected.items())],
            )
        if counters.errors:
            connection.execute(
                sa.text("""
                    INSERT INTO provider_errors AS e (vendor, endpoint, code, times)
                    VALUES (:vendor, :endpoint, :code, :times)
                    ON CONFLICT (vendor, endpoint, code) DO UPDATE SET times = e.times + excluded.times
                """),
                [
                    {"vendor": v, "endpoint": e, "code": code, "times": n}
                    for (v, e, code), n in sorted(counters.errors.items())
                ],
            )
        if counters.latency:
            connection.execute(
                sa.text("""
                    INSERT INTO provider_latency AS l (vendor, endpoint, buckets, sum_ms, calls)
                    VALUES (:vendor, :endpoint, :buckets, :sum_ms, :calls)
                    ON CONFLICT (vendor, endpoint) DO UPDATE SET
                        buckets = (SELECT array_agg(a + b ORDER BY place)
                                   FROM unnest(l.buckets, excluded.buckets) WITH ORDINALITY AS u (a, b, place)),
                        sum_ms = l.sum_ms + excluded.sum_ms,
                        calls = l.calls + excluded.calls
                """),
                [
                    {"vendor": v, "endpoint": e, "buckets": list(counts), "sum_ms": total, "calls": sum(counts)}
                    for (v, e), (counts, total) in sorted(counters.latency.items())
                ],
            )


def counters(warehouse: Warehouse) -> Counters:
    """Return all that was ever counted."""
    return Counters(
        {
            (row.capability, row.vendor): row.times
            for row in warehouse.rows("SELECT capability, vendor, times FROM provider_selected ORDER BY 1, 2")
        },
        {
            (row.vendor, row.endpoint, row.code): row.times
            for row in warehouse.rows("SELECT vendor, endpoint, code, times FROM provider_errors ORDER BY 1, 2, 3")
        },
        {
            (row.vendor, row.endpoint): (row.buckets, row.sum_ms)
            for row in warehouse.rows("SELECT vendor, endpoint, buckets, sum_ms FROM provider_latency ORDER BY 1, 2")
        },
    )


def recent(warehouse: Warehouse, since: datetime) -> Mapping[str, tuple[int, int, datetime]]:
    """Return vendor -> calls, errors and the last moment of runs that ended at or after `since`."""
    return {
        row.vendor: (row.calls, row.errors, row.last)
        for row in warehouse.rows(
            """
            SELECT vendor, sum(calls) AS calls, max(finished_at) AS last,
                   coalesce(sum((
                       SELECT sum(n::bigint) FROM jsonb_each_text(errors) AS e (code, n)
                   )), 0)::bigint AS errors
            FROM provider_requests WHERE finished_at >= :since GROUP BY vendor ORDER BY vendor
            """,
            since=since,
        )
    }
