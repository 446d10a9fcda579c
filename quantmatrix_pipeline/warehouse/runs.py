"""What ran and how it went: `runs`. Whether a run still lives is the server's knowledge, not a clock's."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime

import sqlalchemy as sa

from quantmatrix_pipeline.warehouse.engine import Warehouse

DIED = "its process ended without a word: it was killed, or lost the database for good; run the job again"


@dataclass(frozen=True, slots=True)
class Run:
    """A run: `status` is running, success, failure or canceled; `ended_at` is None while it runs.

    `first` and `last` are its sessions, both inclusive, None of a job without any. `counters` is asset or step -> name
    -> number, `step_seconds` how long each step that succeeded took.
    """

    run_id: str
    job: str
    first: date | None
    last: date | None
    params: Mapping[str, str]
    status: str
    started_at: datetime
    ended_at: datetime | None = None
    step_seconds: Mapping[str, float] = field(default_factory=dict)
    counters: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    error: str | None = None


class Life:
    """The sign of life of a run: a lock that the server holds as long as this connection."""

    def __init__(self, warehouse: Warehouse, run_id: str) -> None:
        self._connection = warehouse.session_connection()
        self._connection.execute(sa.text("SELECT pg_advisory_lock_shared(run_lock(:run))"), {"run": run_id})

    def end(self) -> None:
        self._connection.invalidate()  # not back into the pool with the lock in hand
        self._connection.close()


def begin(warehouse: Warehouse, run: Run) -> None:
    """Note that a run began; take its `Life` first, so that nobody holds it for dead. Noted twice, it is one run."""
    warehouse.execute(
        """
        INSERT INTO runs (run_id, job, first_session, last_session, params, status, started_at)
        VALUES (:run_id, :job, :first, :last, CAST(:params AS jsonb), 'running', :started_at)
        ON CONFLICT (run_id) DO NOTHING
        """,
        {
            "run_id": run.run_id,
            "job": run.job,
            "first": run.first,
            "last": run.last,
            "params": json.dumps(dict(run.params)),
            "started_at": run.started_at,
        },
    )


def end(
    warehouse: Warehouse,
    run_id: str,
    *,
    status: str,
    ended_at: datetime,
    step_seconds: Mapping[str, float],
    counters: Mapping[str, Mapping[str, float]],
    error: str | None,
) -> None:
    """Note how a run ended; its own word counts, also after others held it for dead."""
    warehouse.execute(
        """
        UPDATE runs SET status = :status, ended_at = :ended_at, step_seconds = CAST(:step_seconds AS jsonb),
               counters = CAST(:counters AS jsonb), error = :error
        WHERE run_id = :run_id
        """,
        {
            "run_id": run_id,
            "status": status,
            "ended_at": ended_at,
            "step_seconds": json.dumps(dict(step_seconds)),
            "counters": json.dumps({name: dict(numbers) for name, numbers in counters.items()}),
            "error": error or ("no cause was recorded" if status == "failure" else None),
        },
    )


def close_dead(warehouse: Warehouse) -> list[str]:
    """Mark the runs whose process is gone as failed; return their ids."""
    with warehouse.begin() as connection:
        rows = connection.execute(
            sa.text("""
                WITH open AS MATERIALIZED (SELECT run_id FROM runs WHERE status = 'running')
                UPDATE runs r
                SET status = 'failure', ended_at = greatest(clock_timestamp(), r.started_at), error = :died
                FROM open WHERE r.run_id = open.run_id AND pg_try_advisory_xact_lock(run_lock(open.run_id))
                RETURNING r.run_id
            """),
            {"died": DIED},
        ).all()
    return [row.run_id for row in rows]


@dataclass(frozen=True, slots=True)
class JobState:
    """How many runs of a job are under way, and when the last one ended in each way."""

    job: str
    running: int
    last_ended: Mapping[str, datetime]


def by_job(warehouse: Warehouse) -> list[JobState]:
    """Return the state of every job of which a run is kept."""
    rows = warehouse.rows("""
        SELECT job, sum(running)::integer AS running,
               coalesce(jsonb_object_agg(status, ended) FILTER (WHERE status <> 'running'), '{}') AS last_ended
        FROM (SELECT job, status, count(*) FILTER (WHERE status = 'running') AS running,
                     extract(epoch FROM max(ended_at)) AS ended
              FROM runs GROUP BY job, status) AS each
        GROUP BY job ORDER BY job
    """)
    return [
        JobState(
            row.job,
            row.running,
            {status: datetime.fromtimestamp(float(at), UTC) for status, at in row.last_ended.items()},
        )
        for row in rows
    ]


def recent(warehouse: Warehouse, limit: int, *, job: str | None = None) -> list[Run]:
    """Return the newest runs, newest first, of one job or of all."""
    rows = warehouse.rows(
        """
        SELECT run_id, job, first_session AS first, last_session AS last, params, status, started_at, ended_at,
               step_seconds, counters, error
        FROM runs WHERE CAST(:job AS text) IS NULL OR job = :job ORDER BY started_at DESC, run_id LIMIT :limit
        """,
        job=job,
        limit=limit,
    )
    return [Run(**row._mapping) for row in rows]
