"""The queue of what is still to be fetched: `backfill_jobs`. Claims are safe between processes, leases run out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

import sqlalchemy as sa

from quantmatrix_pipeline.warehouse.engine import LOCKS, Warehouse

TIERS = ("T0", "T1", "T2")
MAX_ATTEMPTS = 5
BACK_OFF = timedelta(minutes=1)  # after the first failure; twice as long after each further one
LONGEST_BACK_OFF = timedelta(hours=1)
ASKED_BY_A_PERSON = 10  # priority
LEFT_ALONE = timedelta(days=1)  # so long after it failed for good a gap is not queued again
NO_WORKER = "its worker gave no sign of life"


@dataclass(frozen=True, slots=True)
class Job:
    """A claimed job: the sessions of an instrument, both ends inclusive. `attempt` is 1 the first time."""

    job_id: int
    instrument_id: int
    symbol: str
    first: date
    last: date
    tier: str
    attempt: int


@dataclass(frozen=True, slots=True)
class Depth:
    """How much of a tier is in a state, and since when the oldest of it waits."""

    tier: str
    state: str
    jobs: int
    oldest: datetime


def _locked(connection: sa.Connection) -> None:
    connection.execute(sa.text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCKS["backfill"]})


def enqueue(
    warehouse: Warehouse,
    wanted: Sequence[tuple[int, date, date]],
    *,
    origin: str,
    priority: int,
    now: datetime,
    tier: str | None = None,
) -> int:
    """Queue daily bars of (instrument_id, first, last), both ends inclusive; return how many jobs were made.

    Where a job of the instrument waits already, it takes the sessions on, and the tier where that is a more urgent one;
    one that runs is left alone. A gap that failed for good is not queued again for a day, what a person asks for
    (origin `request`) is. Without a `tier` it is the instrument's in `symbol_universe`, T2 where it has none.
    """
    if not wanted:
        return 0
    given = {
        "ids": [i for i, _, _ in wanted],
        "firsts": [first for _, first, _ in wanted],
        "lasts": [last for _, _, last in wanted],
        "origin": origin,
        "priority": priority,
        "tier": tier,
        "now": now,
        "failed_after": now - LEFT_ALONE,
    }
    with warehouse.begin() as connection:
        _locked(connection)
        rows = connection.execute(
            sa.text("""
                WITH given AS (
                    SELECT id, min(first) AS first, max(last) AS last
                    FROM unnest(CAST(:ids AS integer[]), CAST(:firsts AS date[]), CAST(:lasts AS date[]))
                         AS g(id, first, last)
                    GROUP BY id
                ), waiting AS (
                    SELECT DISTINCT ON (j.instrument_id) j.job_id, g.first, g.last
                    FROM backfill_jobs j JOIN given g ON g.id = j.instrument_id
                    WHERE j.state = 'queued' AND j.interval = '1d' ORDER BY j.instrument_id, j.job_id
                ), joined AS (
                    UPDATE backfill_jobs j SET first_session = least(j.first_session, w.first),
                        last_session = greatest(j.last_session, w.last), priority = greatest(j.priority, :priority),
                        tier = least(j.tier, CAST(:tier AS text)),
                        not_before = CASE WHEN :origin = 'request' THEN least(j.not_before, :now) ELSE j.not_before END
                    FROM waiting w WHERE j.job_id = w.job_id
                    RETURNING j.instrument_id
                )
                INSERT INTO backfill_jobs (instrument_id, first_session, last_session, tier, priority, origin,
                                           not_before, queued_at)
                SELECT g.id, g.first, g.last, coalesce(CAST(:tier AS text), u.tier, 'T2'), :priority, :origin,
                       :now, :now
                FROM given g LEFT JOIN symbol_universe u ON u.instrument_id = g.id
                WHERE g.id NOT IN (SELECT instrument_id FROM joined)
                  AND NOT EXISTS (
                      SELECT FROM backfill_jobs j
                      WHERE j.instrument_id = g.id AND j.interval = '1d'
                        AND j.first_session <= g.first AND j.last_session >= g.last
                        AND (j.state = 'running'
                             OR (:origin = 'gaps' AND j.state = 'failed' AND j.finished_at > :failed_after))
                  )
                RETURNING job_id
            """),
            given,
        ).all()
    return len(rows)


def open_gaps(warehouse: Warehouse) -> list[tuple[int, date, date]]:
    """Return (instrument_id, first, last) of what was never fetched, from its first such session to its last."""
    rows = warehouse.rows("""
        SELECT instrument_id, min(first_session) AS first, max(last_session) AS last FROM bar_gaps
        WHERE interval = '1d' AND reason = 'not_fetched' AND NOT accepted GROUP BY instrument_id ORDER BY 1
    """)
    return [(row.instrument_id, row.first, row.last) for row in rows]


def claim(
    warehouse: Warehouse, worker: str, tier: str, at_once: int, most: int, now: datetime, lease: timedelta
) -> list[Job]:
    """Take up to `most` jobs of a tier, of which no more than `at_once` run at any time in all processes.

    The most important first, then the oldest. A job whose lease ran out is taken up again, or fails when that was its
    last attempt.
    """
    with warehouse.begin() as connection:
        _locked(connection)  # the count of those that run holds only while nobody else claims
        connection.execute(
            sa.text("""
                UPDATE backfill_jobs SET state = 'failed', finished_at = :now, reason = :no_worker,
                       worker = NULL, leased_until = NULL
                WHERE state = 'running' AND leased_until < :now AND attempts >= :max_attempts
            """),
            {"now": now, "no_worker": NO_WORKER, "max_attempts": MAX_ATTEMPTS},
        )
        rows = connection.execute(
            sa.text("""
                WITH room AS (
                    SELECT greatest(0, least(:most, :at_once - count(*))) AS jobs FROM backfill_jobs
                    WHERE state = 'running' AND tier = :tier AND leased_until >= :now
                ), taken AS (
                    SELECT job_id FROM backfill_jobs
                    WHERE tier = :tier AND ((state = 'queued' AND not_before <= :now)
                                            OR (state = 'running' AND leased_until < :now))
                    ORDER BY priority DESC, queued_at, job_id
                    LIMIT (SELECT jobs FROM room) FOR UPDATE SKIP LOCKED
                )
                UPDATE backfill_jobs j SET state = 'running', attempts = attempts + 1, worker = :worker,
                       leased_until = :until, started_at = coalesce(started_at, :now)
                FROM taken t, instrument_symbols s
                WHERE j.job_id = t.job_id AND s.instrument_id = j.instrument_id AND s.valid_to IS NULL
                RETURNING j.job_id, j.instrument_id, s.symbol, j.first_session AS first, j.last_session AS last, j.tier,
                          j.attempts AS attempt
            """),
            {"worker": worker, "tier": tier, "at_once": at_once, "most": most, "now": now, "until": now + lease},
        ).all()
    return sorted((Job(**row._mapping) for row in rows), key=lambda job: job.job_id)


# A worker that lost its lease, and came back, changes nothing: another attempt is under way.
_MINE = "job_id = :id AND state = 'running' AND worker = :worker AND attempts = :attempt"


def prolong(warehouse: Warehouse, worker: str, jobs: Sequence[Job], until: datetime) -> int:
    """Prolong the leases of jobs; return how many this worker still holds."""
    with warehouse.begin() as connection:
        return sum(
            connection.execute(
                sa.text(f"UPDATE backfill_jobs SET leased_until = greatest(leased_until, :until) WHERE {_MINE}"),
                {"id": job.job_id, "worker": worker, "attempt": job.attempt, "until": until},
            ).rowcount
            for job in jobs
        )


def finish(warehouse: Warehouse, worker: str, job: Job, now: datetime) -> bool:
    """Mark a job as done, with the bars of its sessions first learned meanwhile; False where this worker holds it no
    more.
    """
    return bool(
        warehouse.execute(
            "UPDATE backfill_jobs j SET state = 'done', finished_at = :now, worker = NULL, leased_until = NULL,"
            " reason = NULL, inserted = (SELECT count(*) FROM price_data_1d p"
            " WHERE p.instrument_id = j.instrument_id AND p.session BETWEEN j.first_session AND j.last_session"
            f" AND p.version = 1 AND p.as_of >= j.started_at) WHERE {_MINE}",
            {"id": job.job_id, "worker": worker, "attempt": job.attempt, "now": now},
        )
    )


def fail(warehouse: Warehouse, worker: str, job: Job, reason: str, now: datetime, *, for_good: bool = False) -> bool:
    """Put a job back for a later attempt, or, after the last one or `for_good`, mark it as failed, with the reason.

    False where this worker holds it no more.
    """
    last = for_good or job.attempt >= MAX_ATTEMPTS
    wait = min(LONGEST_BACK_OFF, BACK_OFF * 2 ** (job.attempt - 1))
    return bool(
        warehouse.execute(
            "UPDATE backfill_jobs SET state = :state, finished_at = :finished, not_before = :not_before,"
            f" worker = NULL, leased_until = NULL, reason = :reason WHERE {_MINE}",
            {
                "id": job.job_id,
                "worker": worker,
                "attempt": job.attempt,
                "state": "failed" if last else "queued",
                "finished": now if last else None,
                "not_before": now + wait,
                "reason": reason or "no reason was given",
            },
        )
    )


def give_back(warehouse: Warehouse, worker: str, job: Job) -> bool:
    """Put a job back as if it had not been claimed, as when a live fetch comes first."""
    return bool(
        warehouse.execute(
            "UPDATE backfill_jobs SET state = 'queued', attempts = attempts - 1, worker = NULL, leased_until = NULL"
            f" WHERE {_MINE}",
            {"id": job.job_id, "worker": worker, "attempt": job.attempt},
        )
    )


def depth(warehouse: Warehouse, *, only_open: bool = False) -> list[Depth]:
    """Return how many jobs each tier has in each state; `only_open`: in those that have not ended, which are few."""
    rows = warehouse.rows(
        "SELECT tier, state, count(*) AS jobs, min(queued_at) AS oldest FROM backfill_jobs"
        + (" WHERE state IN ('queued', 'running')" if only_open else "")
        + " GROUP BY tier, state ORDER BY tier, state"
    )
    return [Depth(**row._mapping) for row in rows]


def waiting(warehouse: Warehouse, now: datetime) -> tuple[int, datetime | None]:
    """Return how many jobs a worker could take now, and since when the one that has waited longest could be taken."""
    row = warehouse.rows(
        """
        SELECT count(*) AS jobs, min(CASE WHEN state = 'running' THEN leased_until ELSE not_before END) AS since
        FROM backfill_jobs
        WHERE (state = 'queued' AND not_before <= :now) OR (state = 'running' AND leased_until < :now)
        """,
        now=now,
    )[0]
    return row.jobs, row.since


def claimable(warehouse: Warehouse, now: datetime) -> int:
    """Count the jobs that a worker could take now."""
    return int(
        warehouse.scalar(
            "SELECT count(*) FROM backfill_jobs WHERE (state = 'queued' AND not_before <= :now)"
            " OR (state = 'running' AND leased_until < :now)",
            now=now,
        )
    )
