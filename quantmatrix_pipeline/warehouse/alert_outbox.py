"""Messages on their way to people: `alert_outbox`, `alert_channels`. One process at a time sends to a channel."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from quantmatrix_pipeline.warehouse.engine import Warehouse

BACK_OFF = timedelta(seconds=30)  # after the first failure; twice as long after each further one
LONGEST_BACK_OFF = timedelta(hours=1)
KEPT = timedelta(days=7)  # a message that nobody could be told by then is old news

# A channel is an alias; one that is named by its address is kept under another name, with the address beside it.
Channel = tuple[str, str | None]


@dataclass(frozen=True, slots=True)
class Queued:
    """A message that waits for one channel."""

    message_id: int
    message: Mapping[str, Any]
    picture: bytes | None
    attempts: int
    queued_at: datetime


def queue(
    connection: sa.Connection,
    channels: Sequence[Channel],
    message: Mapping[str, Any],
    now: datetime,
    *,
    not_before: datetime | None = None,
    once: str | None = None,
    picture: bytes | None = None,
) -> list[int]:
    """Queue a message for each channel within a transaction; return the ids of what is new.

    A channel that has a message with the same `once` already gets none.
    """
    ids = []
    for channel, address in channels:
        found = connection.execute(
            sa.text("""
                INSERT INTO alert_outbox (once, channel, address, message, picture, not_before, queued_at)
                VALUES (:once, :channel, :address, CAST(:message AS jsonb), :picture, :not_before, :now)
                ON CONFLICT (once, channel) DO NOTHING RETURNING message_id
            """),
            {
                "once": once,
                "channel": channel,
                "address": address,
                "message": json.dumps(message),
                "picture": picture,
                "not_before": not_before or now,
                "now": now,
            },
        ).scalar()
        ids += [] if found is None else [int(found)]
    return ids


def due(warehouse: Warehouse, now: datetime) -> list[Channel]:
    """Return the channels for which a message waits that may be sent now, and to which nobody is sending."""
    rows = warehouse.rows(
        """
        SELECT o.channel, max(o.address) AS address FROM alert_outbox o LEFT JOIN alert_channels c USING (channel)
        WHERE o.state = 'queued' AND o.not_before <= :now
          AND (c.channel IS NULL OR (c.paused_until <= :now AND (c.leased_until IS NULL OR c.leased_until < :now)))
        GROUP BY o.channel ORDER BY o.channel
        """,
        now=now,
    )
    return [(row.channel, row.address) for row in rows]


def lease(warehouse: Warehouse, channel: str, worker: str, now: datetime, until: datetime) -> bool:
    """Take the turn of sending to a channel; False where another process has it, or the channel is paused."""
    return bool(
        warehouse.execute(
            """
            INSERT INTO alert_channels (channel, paused_until, worker, leased_until)
            VALUES (:channel, :now, :worker, :until)
            ON CONFLICT (channel) DO UPDATE SET worker = excluded.worker, leased_until = excluded.leased_until
            WHERE alert_channels.paused_until <= :now
              AND (alert_channels.leased_until IS NULL OR alert_channels.leased_until < :now)
            """,
            {"channel": channel, "worker": worker, "now": now, "until": until},
        )
    )


def release(warehouse: Warehouse, channel: str, worker: str) -> None:
    """Give the turn back; without effect where it ran out and another process took it."""
    warehouse.execute(
        "UPDATE alert_channels SET worker = NULL, leased_until = NULL WHERE channel = :channel AND worker = :worker",
        {"channel": channel, "worker": worker},
    )


def expire(warehouse: Warehouse, now: datetime) -> int:
    """Give up what has waited for a week; return how many messages that were."""
    return warehouse.execute(
        "UPDATE alert_outbox SET state = 'expired', finished_at = :now, picture = NULL"
        " WHERE state = 'queued' AND not_before < :before",
        {"now": now, "before": now - KEPT},
    )


def waiting(warehouse: Warehouse, channel: str, now: datetime, limit: int = 50) -> list[Queued]:
    """Return what may be sent to a channel now, the oldest first."""
    rows = warehouse.rows(
        """
        SELECT message_id, message, picture, attempts, queued_at FROM alert_outbox
        WHERE channel = :channel AND state = 'queued' AND not_before <= :now ORDER BY message_id LIMIT :limit
        """,
        channel=channel,
        now=now,
        limit=limit,
    )
    return [Queued(**row._mapping) for row in rows]


def delivered(warehouse: Warehouse, channel: str, message_id: int, now: datetime) -> None:
    """Note that a message arrived."""
    with warehouse.begin() as connection:
        _finish(connection, message_id, "delivered", None, now)
        connection.execute(
            sa.text("UPDATE alert_channels SET failures = 0, reason = NULL, delivered_at = :now WHERE channel = :c"),
            {"c": channel, "now": now},
        )


def refused(warehouse: Warehouse, message_id: int, reason: str, now: datetime) -> None:
    """Note that the channel will never take this message; it is kept, and not tried again."""
    with warehouse.begin() as connection:
        _finish(connection, message_id, "refused", reason, now)


def failed(
    warehouse: Warehouse, channel: str, message_id: int, reason: str, now: datetime, *, pause: timedelta | None = None
) -> datetime:
    """Note a failed attempt and pause the channel; return until when.

    Parameters
    ----------
    pause
        How long the channel asked to be left alone, which is no failure of it; None: the longer the more often it
        failed.
    """
    with warehouse.begin() as connection:
        connection.execute(
            sa.text("UPDATE alert_outbox SET attempts = attempts + 1, reason = :reason WHERE message_id = :id"),
            {"id": message_id, "reason": reason},
        )
        failures = connection.execute(
            sa.text("""
                UPDATE alert_channels SET failures = failures + :one, reason = :reason WHERE channel = :channel
                RETURNING failures
            """),
            {"channel": channel, "reason": reason, "one": int(pause is None)},
        ).scalar_one()
        until = now + (pause or min(LONGEST_BACK_OFF, BACK_OFF * 2 ** min(failures - 1, 12)))
        connection.execute(
            sa.text("UPDATE alert_channels SET paused_until = :until WHERE channel = :channel"),
            {"channel": channel, "until": until},
        )
    return until


def pause(warehouse: Warehouse, channel: str, until: datetime) -> None:
    """Leave a channel alone until then, as it asked with its last answer."""
    warehouse.execute(
        "UPDATE alert_channels SET paused_until = greatest(paused_until, :until) WHERE channel = :channel",
        {"channel": channel, "until": until},
    )


def again(warehouse: Warehouse, now: datetime) -> int:
    """Queue anew what was refused or given up, and end all pauses; return how many messages are queued."""
    warehouse.execute("UPDATE alert_channels SET paused_until = :now, failures = 0", {"now": now})
    warehouse.execute(
        "UPDATE alert_outbox SET state = 'queued', finished_at = NULL, not_before = :now"
        " WHERE state IN ('refused', 'expired')",
        {"now": now},
    )
    return int(warehouse.scalar("SELECT count(*) FROM alert_outbox WHERE state = 'queued'"))


def overview(warehouse: Warehouse) -> list[dict[str, Any]]:
    """Return a row per channel: what waits and since when, its pause, its failures and their reason."""
    rows = warehouse.rows("""
        SELECT channel, count(o.message_id) FILTER (WHERE o.state = 'queued') AS queued,
               count(o.message_id) FILTER (WHERE o.state IN ('refused', 'expired')) AS given_up,
               min(o.queued_at) FILTER (WHERE o.state = 'queued') AS oldest, max(c.delivered_at) AS delivered_at,
               max(c.paused_until) AS paused_until, max(c.failures) AS failures, max(c.reason) AS reason
        FROM alert_channels c FULL JOIN alert_outbox o USING (channel) GROUP BY channel ORDER BY channel
    """)
    return [dict(row._mapping) for row in rows]


def _finish(connection: sa.Connection, message_id: int, state: str, reason: str | None, now: datetime) -> None:
    connection.execute(
        sa.text("""
            UPDATE alert_outbox SET state = :state, finished_at = :now, attempts = attempts + 1, reason = :reason,
                   picture = NULL
            WHERE message_id = :id AND state = 'queued'
        """),
        {"id": message_id, "state": state, "reason": reason, "now": now},
    )
