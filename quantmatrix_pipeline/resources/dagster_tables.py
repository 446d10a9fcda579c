"""Make Dagster's own tables so that a kill at any moment is mended by the next start.

Dagster makes them one by one, each committed by itself, and takes the first one's existence for that of all: killed in
between, its storage would stay broken for good. Here they are made in one transaction, and the schema's revision is
written down last, when everything before it is done.
"""

from __future__ import annotations

import sqlalchemy as sa
from dagster._core.storage.event_log.schema import SqlEventLogStorageMetadata
from dagster._core.storage.runs.schema import RunStorageSqlMetadata
from dagster._core.storage.schedules.schema import ScheduleStorageSqlMetadata
from dagster._core.storage.sql import stamp_alembic_rev
from dagster_postgres import DagsterPostgresStorage
from dagster_postgres.run_storage import run_storage as revisions_beside_this
from dagster_postgres.utils import pg_alembic_config

LOCK_KEY = 7_311_902_476_016  # beside the migrations' own; advisory locks are per database
METADATA = (RunStorageSqlMetadata, SqlEventLogStorageMetadata, ScheduleStorageSqlMetadata)


def ensure_tables(storage: DagsterPostgresStorage) -> None:
    """Make the tables of runs, events and schedules unless they are complete; a second caller waits for the first.

    Parameters
    ----------
    storage
        One made with `should_autocreate_tables=False`.
    """
    engine = sa.create_engine(storage.postgres_url, poolclass=sa.NullPool)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as holder:
        if _is_complete(holder):
            return
        # Of the session, so that the server drops it with a killed process.
        holder.execute(sa.text("SELECT pg_advisory_lock(:key)"), {"key": LOCK_KEY})
        if _is_complete(holder):
            return
        with engine.begin() as connection:
            for metadata in METADATA:
                metadata.create_all(connection)
        # New tables hold no rows to migrate: these only note that there is nothing left to do, each at most once.
        for part in (storage.run_storage, storage.schedule_storage):
            part.migrate()
            part.optimize()
        storage.event_log_storage.reindex_events()
        storage.event_log_storage.reindex_assets()
        with engine.begin() as connection:
            stamp_alembic_rev(pg_alembic_config(revisions_beside_this.__file__), connection)


def _is_complete(connection: sa.Connection) -> bool:
    if connection.execute(sa.text("SELECT to_regclass('alembic_version')")).scalar() is None:
        return False
    return connection.execute(sa.text("SELECT count(*) FROM alembic_version")).scalar() != 0
