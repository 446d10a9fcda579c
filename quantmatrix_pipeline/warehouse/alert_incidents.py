"""What is wrong now, who knows it, and about what people want silence: `alert_incidents`, `alert_mutes`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from quantmatrix_pipeline.warehouse.alert_outbox import Channel
from quantmatrix_pipeline.warehouse.engine import Warehouse

_LOCK = 7107  # beside the families of `engine.LOCKS`: whoever opens, tells and closes does it alone


@dataclass(frozen=True, slots=True)
class Seen:
    """An occurrence as it was noted.

    Attributes
    ----------
    due
        When people should be told; later than now while a cool-down lasts; None: they know, or it is muted.
    """

    incident_id: int
    occurrences: int
    due: datetime | None


@dataclass(frozen=True, slots=True)
class Recovered:
    """An incident that is closed, and whom that is to be told: who had been told that it was open."""

    incident_id: int
    kind: str
    cause: str
    subjects: tuple[str, ...]
    occurrences: int
    opened_at: datetime
    channels: tuple[Channel, ...]


def alone(connection: sa.Connection) -> None:
    """Let no other process open or close incidents until the transaction ends."""
    connection.execute(sa.text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})


def see(
    connection: sa.Connection,
    *,
    key: str,
    kind: str,
    cause: str,
    subjects: Sequence[str],
    times: int,
    now: datetime,
    cooldown: timedelta,
    muted: bool,
) -> Seen:
    """Note that a cause occurred, open its incident where none is, and say when people should be told.

    What is told once is told again when it occurs after the cool-down. What recovered and comes back within it is the
    same incident again, and is told at the end of the cool-down, if it still lasts then.
    """
    row = connection.execute(
        sa.text("""
            SELECT incident_id, told_at, known_from, closed_at FROM alert_incidents
            WHERE cause_key = :key AND (closed_at IS NULL OR told_at > :since)
            ORDER BY closed_at IS NULL DESC, incident_id DESC LIMIT 1
        """),
        {"key": key, "since": now - cooldown},
    ).first()
    if row is None:
        row = connection.execute(
            sa.text("""
                INSERT INTO alert_incidents (cause_key, kind, cause, occurrences, opened_at, seen_at)
                VALUES (:key, :kind, :cause, 0, :now, :now) RETURNING incident_id, told_at, known_from, closed_at
            """),
            {"key": key, "kind": kind, "cause": cause, "now": now},
        ).one()
    due: datetime | None = None
    if not muted:
        # In the future it is the end of a cool-down already, with a message that was withdrawn or still waits.
        over = row.told_at
        if over is not None and over <= now:
            over += cooldown
        if over is None or over <= now:
            due = now
        elif row.known_from is None:
            due = over
    occurrences = connection.execute(
        sa.text("""
            UPDATE alert_incidents SET occurrences = occurrences + :times, cause = :cause, seen_at = :now,
                   closed_at = NULL, told_at = coalesce(:due, told_at), known_from = coalesce(known_from, :due)
            WHERE incident_id = :id RETURNING occurrences
        """),
        {"id": row.incident_id, "times": times, "cause": cause, "now": now, "due": due},
    ).scalar_one()
    connection.execute(
        sa.text("""
            INSERT INTO alert_subjects (incident_id, subject, broken_at)
            SELECT :id, subject, :now FROM unnest(CAST(:subjects AS text[])) AS subject
            ON CONFLICT (incident_id, subject) DO UPDATE SET broken_at = excluded.broken_at, recovered_at = NULL
        """),
        {"id": row.incident_id, "subjects": sorted(set(subjects)), "now": now},
    )
    return Seen(row.incident_id, occurrences, due)


def tell(connection: sa.Connection, incidents: Sequence[int], messages: Sequence[int]) -> None:
    """Note which messages are about which incidents."""
    connection.execute(
        sa.text("""
            INSERT INTO alert_tellings (incident_id, message_id)
            SELECT i, m FROM unnest(CAST(:incidents AS bigint[])) AS i, unnest(CAST(:messages AS bigint[])) AS m
            ON CONFLICT DO NOTHING
        """),
        {"incidents": list(incidents), "messages": list(messages)},
    )


def recover(connection: sa.Connection, subjects: Sequence[str], now: datetime) -> list[Recovered]:
    """Note that subjects work again; close the incidents of which nothing is broken any more and return them.

    A message that still waits for the end of a cool-down is withdrawn, and its incident's end is told to nobody.
    """
    touched = connection.execute(
        sa.text("""
            UPDATE alert_subjects SET recovered_at = :now
            WHERE recovered_at IS NULL AND subject = ANY(CAST(:subjects AS text[])) RETURNING incident_id
        """),
        {"subjects": list(subjects), "now": now},
    ).scalars()
    closed = connection.execute(
        sa.text("""
            WITH done AS (
                SELECT incident_id, known_from FROM alert_incidents i
                WHERE incident_id = ANY(CAST(:ids AS bigint[])) AND closed_at IS NULL AND NOT EXISTS (
                    SELECT FROM alert_subjects s WHERE s.incident_id = i.incident_id AND s.recovered_at IS NULL
                )
            )
            UPDATE alert_incidents i SET closed_at = :now, known_from = NULL
            FROM done WHERE i.incident_id = done.incident_id
            RETURNING i.incident_id, i.kind, i.cause, i.occurrences, i.opened_at, done.known_from <= :now AS known
        """),
        {"ids": sorted(set(touched)), "now": now},
    ).all()
    connection.execute(
        sa.text("""
            UPDATE alert_outbox o SET state = 'withdrawn', finished_at = :now
            WHERE state = 'queued' AND not_before > :now AND EXISTS (
                SELECT FROM alert_tellings t
                WHERE t.message_id = o.message_id AND t.incident_id = ANY(CAST(:ids AS bigint[]))
            ) AND NOT EXISTS (
                SELECT FROM alert_tellings t JOIN alert_incidents i USING (incident_id)
                WHERE t.message_id = o.message_id AND i.closed_at IS NULL
            )
        """),
        {"ids": [row.incident_id for row in closed], "now": now},
    )
    return [
        Recovered(
            row.incident_id,
            row.kind,
            row.cause,
            _subjects(connection, row.incident_id),
            row.occurrences,
            row.opened_at,
            _told(connection, row.incident_id) if row.known else (),
        )
        for row in sorted(closed, key=lambda row: row.incident_id)
    ]


def _subjects(connection: sa.Connection, incident_id: int) -> tuple[str, ...]:
    rows = connection.execute(
        sa.text("SELECT subject FROM alert_subjects WHERE incident_id = :id ORDER BY subject"), {"id": incident_id}
    )
    return tuple(rows.scalars())


def _told(connection: sa.Connection, incident_id: int) -> tuple[Channel, ...]:
    rows = connection.execute(
        sa.text("""
            SELECT DISTINCT channel, address FROM alert_tellings JOIN alert_outbox USING (message_id)
            WHERE incident_id = :id AND state <> 'withdrawn' ORDER BY channel
        """),
        {"id": incident_id},
    )
    return tuple((row.channel, row.address) for row in rows)


def open_now(warehouse: Warehouse) -> list[dict[str, Any]]:
    """Return the incidents that are open, the newest first, with their broken subjects."""
    rows = warehouse.rows("""
        SELECT incident_id, kind, cause, occurrences, opened_at, seen_at, told_at,
               (SELECT array_agg(subject ORDER BY subject) FROM alert_subjects s
                WHERE s.incident_id = i.incident_id AND recovered_at IS NULL) AS subjects
        FROM alert_incidents i WHERE closed_at IS NULL ORDER BY incident_id DESC
    """)
    return [dict(row._mapping) for row in rows]


def broken(warehouse: Warehouse) -> set[str]:
    """Return all subjects that are broken now."""
    return {row.subject for row in warehouse.rows("SELECT subject FROM alert_subjects WHERE recovered_at IS NULL")}


def mute(warehouse: Warehouse, what: str, until: datetime | None, note: str, by: str, now: datetime) -> int:
    """Keep silent about a subject, or, with a * at the end, about those that begin so; return the mute's id."""
    return int(
        warehouse.scalar(
            "INSERT INTO alert_mutes (what, until, note, muted_by, muted_at) VALUES (:what, :until, :note, :by, :now)"
            " RETURNING mute_id",
            what=what,
            until=until,
            note=note,
            by=by,
            now=now,
        )
    )


def unmute(warehouse: Warehouse, mute_id: int, now: datetime) -> bool:
    """Lift a mute; False where there is none in force."""
    return bool(
        warehouse.execute(
            "UPDATE alert_mutes SET lifted_at = :now WHERE mute_id = :id AND lifted_at IS NULL",
            {"id": mute_id, "now": now},
        )
    )


def mutes(warehouse: Warehouse, now: datetime) -> list[dict[str, Any]]:
    """Return the mutes that are in force."""
    rows = warehouse.rows(
        "SELECT mute_id, what, until, note, muted_by, muted_at FROM alert_mutes"
        " WHERE lifted_at IS NULL AND (until IS NULL OR until > :now) ORDER BY mute_id",
        now=now,
    )
    return [dict(row._mapping) for row in rows]
