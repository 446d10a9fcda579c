"""What is counted for ever, in the transactions that do it: `write_batches`, `gaps_found`, `backfill_counts`,
`run_counts`."""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from dataclasses import dataclass

from quantmatrix_pipeline.warehouse.engine import ArrowTransaction, Warehouse
from quantmatrix_pipeline.warehouse.vendor_requests import LATENCY_BOUNDS_MS


@dataclass(frozen=True, slots=True)
class Batches:
    """Parts of a source's answers that were stored.

    `bars` counts those of their bars that were new or another version, `buckets` the parts by how long they took
    (`LATENCY_BOUNDS_MS` and above).
    """

    type: str
    provider: str
    batches: int
    bars: int
    buckets: Sequence[int]
    sum_ms: float


def note_batch(transaction: ArrowTransaction, kind: str, provider: str, bars: int, milliseconds: float) -> None:
    """Count one part of an answer, in the transaction that stores it."""
    buckets = [0] * (len(LATENCY_BOUNDS_MS) + 1)
    buckets[bisect.bisect_left(LATENCY_BOUNDS_MS, milliseconds)] = 1
    transaction.execute(
        f"""
        INSERT INTO write_batches AS b (type, provider, batches, bars, buckets, sum_ms)
        VALUES ($1, $2, 1, $3, '{{{",".join(map(str, buckets))}}}', $4)
        ON CONFLICT (type, provider) DO UPDATE SET
            batches = b.batches + 1,
            bars = b.bars + excluded.bars,
            buckets = (SELECT array_agg(old + new ORDER BY place)
                       FROM unnest(b.buckets, excluded.buckets) WITH ORDINALITY AS u (old, new, place)),
            sum_ms = b.sum_ms + excluded.sum_ms
        """,
        [kind, provider, bars, milliseconds],
    )


def batches(warehouse: Warehouse) -> list[Batches]:
    """Return what was ever stored, by type and provider."""
    rows = warehouse.rows("SELECT type, provider, batches, bars, buckets, sum_ms FROM write_batches ORDER BY 1, 2")
    return [Batches(**row._mapping) for row in rows]


def gaps_found(warehouse: Warehouse) -> dict[str, int]:
    """Return interval -> how often a scan found a gap where none had been known."""
    return {row.interval: row.gaps for row in warehouse.rows("SELECT interval, gaps FROM gaps_found ORDER BY 1")}


RUN_ENDINGS = ("success", "failure", "canceled")


@dataclass(frozen=True, slots=True)
class Runs:
    """How many runs of a job ended in one way, and how long they took together."""

    runs: int
    seconds: float


def run_counts(warehouse: Warehouse) -> dict[tuple[str, str], Runs]:
    """Return (job, status) -> its runs that ended; statuses are `RUN_ENDINGS`."""
    rows = warehouse.rows("SELECT job, status, runs, seconds FROM run_counts ORDER BY 1, 2")
    return {(row.job, row.status): Runs(row.runs, row.seconds) for row in rows}


def backfill_counts(warehouse: Warehouse) -> dict[tuple[str, str], int]:
    """Return (tier, event) -> jobs of the backfill queue; events are `enqueued`, `done` and `failed`."""
    rows = warehouse.rows("SELECT tier, event, jobs FROM backfill_counts ORDER BY 1, 2")
    return {(row.tier, row.event): row.jobs for row in rows}
