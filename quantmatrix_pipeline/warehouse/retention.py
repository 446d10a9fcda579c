"""What may go when it has become old: months of intraday bars, superseded versions of bars, logs.

Daily bars, corporate actions and the history are not among it, whatever the limits say: nothing here names them, and
the database refuses it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
from psycopg.errors import LockNotAvailable
from sqlalchemy.exc import OperationalError

from quantmatrix_pipeline.errors import WarehouseError
from quantmatrix_pipeline.settings import Settings
from quantmatrix_pipeline.warehouse.engine import Warehouse

# A log and its condition on what is old: `:before` is an instant. What still explains a missing bar stays.
LOGS = {
    "runs": "ended_at < :before",
    "provider_requests": "finished_at < :before",
    "backfill_jobs": "finished_at < :before",
    "alert_tellings": """EXISTS (
        SELECT FROM alert_outbox o WHERE o.message_id = t.message_id AND o.finished_at < :before)""",
    "alert_outbox": "finished_at < :before",
    "validation_log": """logged_at < :before AND EXISTS (
        SELECT FROM price_data p
        WHERE p.instrument_id = t.instrument_id AND p.interval = t.interval AND p.session = t.session)""",
}
REVISIONS = "superseded_at < :before"
# Who drops a month waits for all who read its interval, and those who come after wait for him: rather another time.
LOCK_WAIT = "10s"


@dataclass(frozen=True, slots=True)
class Limits:
    """After how many days what may go; 0: never."""

    bars_5m: int
    bars_1m: int
    revisions: int
    logs: int

    @classmethod
    def of(cls, settings: Settings, *, bars_5m: int | None = None) -> Limits:
        """Return the settings' limits, with another for 5-minute bars where one is given."""
        return cls(
            settings.retain_5m_days if bars_5m is None else bars_5m,
            settings.retain_1m_days,
            settings.retain_revisions_days,
            settings.retain_logs_days,
        )


@dataclass(frozen=True, slots=True)
class Old:
    """Rows of a table that are older than `before` (exclusive, UTC).

    `partition` is the month's own table where it goes as a whole. `bytes` is what the rows take, with the indexes of a
    month that goes.
    """

    table: str
    before: datetime
    rows: int
    bytes: int
    partition: str | None = None


def find(warehouse: Warehouse, limits: Limits, now: datetime) -> list[Old]:
    """Return what is older than the limits allow; a table of which nothing is, is left out."""
    found = []
    with warehouse.begin() as connection:
        for interval, before in _intervals(limits, now):
            months = connection.execute(
                sa.text(
                    "SELECT name, bytes FROM intraday_partitions"
                    " WHERE interval = :interval AND next_day <= :before ORDER BY name"
                ),
                {"interval": interval, "before": before.date()},
            ).all()
            for month in months:
                rows = connection.execute(sa.text(f"SELECT count(*) FROM {month.name}")).scalar_one()
                found.append(Old(f"price_data_{interval}", before, rows, month.bytes, month.name))
        for table, condition, before in _rows(limits, now):
            row = connection.execute(
                sa.text(
                    f"SELECT count(*) AS rows, coalesce(sum(pg_column_size(t)), 0)::bigint AS bytes FROM {table} t"
                    f" WHERE {condition}"
                ),
                {"before": before},
            ).one()
            if row.rows:
                found.append(Old(table, before, row.rows, row.bytes))
    return found


def enforce(warehouse: Warehouse, limits: Limits, now: datetime) -> list[Old]:
    """Give up what is older than the limits allow; return what that was.

    Each table goes in a transaction of its own, so that what went stays gone when a later one fails.

    Raises
    ------
    WarehouseError
        Somebody reads intraday bars all the time; nothing of that interval went.
    """
    found = find(warehouse, limits, now)
    for interval, before in _intervals(limits, now):
        if any(old.table == f"price_data_{interval}" for old in found):
            _drop_months(warehouse, interval, before)
    for table, condition, before in _rows(limits, now):
        if not any(old.table == table for old in found):
            continue
        if table == "price_data_revisions":
            warehouse.execute("SELECT forget_bar_versions(:before, :now)", {"before": before, "now": now})
        else:
            warehouse.execute(f"DELETE FROM {table} t WHERE {condition}", {"before": before})
    return found


def _intervals(limits: Limits, now: datetime) -> Iterator[tuple[str, datetime]]:
    for interval, days in (("5m", limits.bars_5m), ("1m", limits.bars_1m)):
        if days:
            yield interval, now - timedelta(days=days)


def _rows(limits: Limits, now: datetime) -> Iterator[tuple[str, str, datetime]]:
    if limits.revisions:
        yield "price_data_revisions", REVISIONS, now - timedelta(days=limits.revisions)
    for table, condition in LOGS.items() if limits.logs else ():
        yield table, condition, now - timedelta(days=limits.logs)


def _drop_months(warehouse: Warehouse, interval: str, before: datetime) -> None:
    try:
        with warehouse.begin() as connection:
            connection.execute(sa.text(f"SET LOCAL lock_timeout = '{LOCK_WAIT}'"))
            connection.execute(
                sa.text("SELECT drop_intraday_partitions(:interval, :before)"),
                {"interval": interval, "before": before.date()},
            )
    except WarehouseError as error:
        cause = error.__cause__
        if isinstance(cause, OperationalError) and isinstance(cause.orig, LockNotAvailable):
            raise WarehouseError(
                f"bars of {interval} were read for longer than {LOCK_WAIT} on end, so no month of them was dropped;"
                " run it again when fewer read"
            ) from error
        raise
