"""What the warehouse knows of everybody's health, read in one short transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import sqlalchemy as sa

from quantmatrix_pipeline.warehouse.engine import Warehouse


@dataclass(frozen=True, slots=True)
class RefusedMembers:
    """A list of an index's members was not believed; `served_by` is whose was taken instead, None: nobody's."""

    index: str
    session: date
    reason: str
    served_by: str | None
    since: datetime


@dataclass(frozen=True, slots=True)
class VitalSigns:
    """All of it as of one moment; instants are in UTC.

    Attributes
    ----------
    server_now
        The database server's clock.
    migrations
        The applied ones: id -> SHA-256.
    beats
        Whatever runs unattended: name -> last sign of life, and what it said with it.
    refused_members
        Indexes whose newest list was not believed.
    circuits
        Vendor -> the worst state that one of its circuits is in now: `closed`, `half_open`, `open`; who was never in
        trouble has none.
    open_circuits
        Vendor -> why it is left alone for a while.
    """

    server_now: datetime
    migrations: Mapping[str, str]
    beats: Mapping[str, tuple[datetime, Mapping[str, Any]]]
    refused_members: tuple[RefusedMembers, ...]
    circuits: Mapping[str, str]
    open_circuits: Mapping[str, str]


def read(warehouse: Warehouse) -> VitalSigns:
    """Return the vital signs; a reader's rights are enough.

    Raises
    ------
    WarehouseUnavailable
        The database does not answer, or holds no tables of ours.
    """
    with warehouse.begin() as connection:
        server_now = connection.execute(sa.text("SELECT clock_timestamp()")).scalar_one()
        applied = connection.execute(sa.text("SELECT id, sha256 FROM schema_migrations")).all()
        beats = connection.execute(sa.text("SELECT name, beat_at, detail FROM heartbeats ORDER BY name")).all()
        # A database that the last release made lacks this one; that is for its migrations to tell.
        refused: Sequence[Any] = ()
        if connection.execute(sa.text("SELECT to_regclass('index_refusals')")).scalar() is not None:
            refused = connection.execute(
                sa.text(
                    "SELECT index_code, session, reason, served_by, refused_at FROM index_refusals ORDER BY index_code"
                )
            ).all()
        circuits = connection.execute(
            sa.text("""
                SELECT vendor,
                       CASE WHEN bool_or(is_open) THEN 'open'
                            WHEN bool_or(state <> 'closed') THEN 'half_open' ELSE 'closed' END AS state,
                       string_agg(DISTINCT coalesce(reason, 'too many failures'), ', ') FILTER (WHERE is_open) AS why
                FROM (SELECT vendor, state, reason, state = 'open' AND retry_at > now() AS is_open
                      FROM provider_circuits) AS c
                GROUP BY vendor ORDER BY vendor
            """)
        ).all()
    return VitalSigns(
        server_now=server_now,
        migrations={row.id: row.sha256 for row in applied},
        beats={name: (at, dict(detail)) for name, at, detail in beats},
        refused_members=tuple(RefusedMembers(*row) for row in refused),
        circuits={row.vendor: row.state for row in circuits},
        open_circuits={row.vendor: row.why for row in circuits if row.why is not None},
    )
