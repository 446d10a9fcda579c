"""Who changed which schedule (`schedule_audit`), and which process launches the run of a tick (`schedule_claims`)."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from quantmatrix_pipeline.warehouse.engine import Warehouse

KEPT = timedelta(days=31)
ELSEWHERE = timedelta(minutes=2)  # after which a process on another machine is taken for dead


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that somebody did to a schedule; `difference` maps a field to what it was and what it is.

    Of a launch, `run_id` is the run and `error` why there is none; neither: nobody was left to say.
    """

    actor: str
    action: str
    schedule: str
    difference: Mapping[str, tuple[Any, Any]]
    run_id: str | None = None
    at: datetime | None = None
    error: str | None = None


_INSERT = (
    "INSERT INTO schedule_audit (at, actor, action, schedule, difference)"
    " VALUES (:at, :actor, :action, :schedule, CAST(:difference AS jsonb))"
)


def _row(change: Change, now: datetime) -> dict[str, Any]:
    return {
        "at": now,
        "actor": change.actor,
        "action": change.action,
        "schedule": change.schedule,
        "difference": json.dumps(change.difference, default=str),
    }


@contextmanager
def recorded(warehouse: Warehouse, changes: Sequence[Change], now: datetime) -> Iterator[None]:
    """Record changes if the block succeeds: they are kept together with it, or not at all."""
    with warehouse.begin() as connection:
        if changes:
            connection.execute(sa.text(_INSERT), [_row(change, now) for change in changes])
        yield


def record(warehouse: Warehouse, change: Change, now: datetime) -> int:
    """Record what somebody is about to do, and return the record's id for `outcome`."""
    with warehouse.begin() as connection:
        return int(connection.execute(sa.text(f"{_INSERT} RETURNING audit_id"), _row(change, now)).scalar_one())


def outcome(
    warehouse: Warehouse, audit_id: int, now: datetime, *, run_id: str | None = None, error: str | None = None
) -> None:
    """Record what came of it: a run, or why there is none."""
    warehouse.execute(
        "INSERT INTO schedule_audit_outcomes (audit_id, at, run_id, error) VALUES (:audit_id, :at, :run_id, :error)",
        {"audit_id": audit_id, "at": now, "run_id": run_id, "error": error},
    )


def changes(warehouse: Warehouse, schedule: str | None = None, limit: int = 50) -> list[Change]:
    """Return what was done, newest first, to one schedule or to all."""
    rows = warehouse.rows(
        "SELECT a.at, actor, action, schedule, difference, coalesce(o.run_id, a.run_id) AS run_id, error"
        " FROM schedule_audit a LEFT JOIN schedule_audit_outcomes o USING (audit_id)"
        " WHERE CAST(:schedule AS text) IS NULL OR schedule = :schedule ORDER BY audit_id DESC LIMIT :limit",
        schedule=schedule,
        limit=limit,
    )
    return [
        Change(
            r.actor,
            r.action,
            r.schedule,
            {field: (was, now) for field, (was, now) in r.difference.items()},
            r.run_id,
            r.at,
            r.error,
        )
        for r in rows
    ]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Who evaluates a tick: a process on a machine, for a daemon that numbers its evaluations."""

    host: str
    pid: int
    number: str


def claim(
    warehouse: Warehouse,
    schedule: str,
    tick: datetime,
    by: Evaluation,
    now: datetime,
    lives: Callable[[int], bool],
) -> tuple[Evaluation | None, timedelta | None]:
    """Take a tick, and return (None, how long ago the same evaluation took it before); or (who has taken it, None).

    What a process took that lives no more is taken over: one that died between its claim and its run launched none, or
    one that Dagster finds again by the tick. Whether one on another machine lives is guessed from the claim's age.

    Parameters
    ----------
    warehouse, schedule, tick
        The tick of the schedule.
    by
        Who asks.
    now
        The instant.
    lives
        Tells whether a process of this machine lives.
    """
    named = {"schedule": schedule, "tick": tick, "now": now} | asdict(by)
    with warehouse.begin() as connection:
        connection.execute(sa.text("DELETE FROM schedule_claims WHERE claimed_at < :before"), {"before": now - KEPT})
        taken = connection.execute(
            sa.text(
                "INSERT INTO schedule_claims (schedule, tick, claimed_at, host, pid, evaluation)"
                " VALUES (:schedule, :tick, :now, :host, :pid, :number) ON CONFLICT DO NOTHING"
            ),
            named,
        )
        if taken.rowcount:
            return None, None
        row = connection.execute(
            sa.text(
                "SELECT host, pid, evaluation, claimed_at FROM schedule_claims"
                " WHERE schedule = :schedule AND tick = :tick FOR UPDATE"
            ),
            named,
        ).one()
        holder = Evaluation(row.host, row.pid, row.evaluation)
        alive = lives(holder.pid) if holder.host == by.host else now - row.claimed_at < ELSEWHERE
        if alive and holder != by:
            return holder, None
        connection.execute(
            sa.text(
                "UPDATE schedule_claims SET claimed_at = :now, host = :host, pid = :pid, evaluation = :number"
                " WHERE schedule = :schedule AND tick = :tick"
            ),
            named,
        )
    return None, now - row.claimed_at if holder == by else None
