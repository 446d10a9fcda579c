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
    """One thing that somebody did to a schedule; `difference` maps a field to what it was and what it is."""

    actor: str
    action: str
    schedule: str
    difference: Mapping[str, tuple[Any, Any]]
    run_id: str | None = None
    at: datetime | None = None


@contextmanager
def recorded(warehouse: Warehouse, changes: Sequence[Change], now: datetime) -> Iterator[None]:
    """Record changes if the block succeeds: they are kept together with it, or not at all."""
    with warehouse.begin() as connection:
        if changes:
            connection.execute(
                sa.text(
                    "INSERT INTO schedule_audit (at, actor, action, schedule, difference, run_id)"
                    " VALUES (:at, :actor, :action, :schedule, CAST(:difference AS jsonb), :run_id)"
                ),
                [
                    {
                        "at": now,
                        "actor": c.actor,
                        "action": c.action,
                        "schedule": c.schedule,
                        "difference": json.dumps(c.difference, default=str),
                        "run_id": c.run_id,
                    }
                    for c in changes
                ],
            )
        yield


def changes(warehouse: Warehouse, schedule: str | None = None, limit: int = 50) -> list[Change]:
    """Return what was done, newest first, to one schedule or to all."""
    rows = warehouse.rows(
        "SELECT at, actor, action, schedule, difference, run_id FROM schedule_audit"
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
