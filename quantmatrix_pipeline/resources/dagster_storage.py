"""Dagster's own storage in the database that settings name, so that dagster.yaml holds no address and no password."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
import sqlalchemy.exc
from dagster._serdes import ConfigurableClassData
from dagster_postgres import DagsterPostgresStorage

from quantmatrix_pipeline.resources.dagster_tables import ensure_tables
from quantmatrix_pipeline.resources.run_storage import RunStorage
from quantmatrix_pipeline.settings import load
from quantmatrix_pipeline.warehouse.locate import locate, upgrade

STATEMENT_TIMEOUT_MS = 600_000


class WarehouseStorage(DagsterPostgresStorage):
    """`DagsterPostgresStorage` beside the warehouse; the embedded server is started if it is the one."""

    @classmethod
    def config_type(cls) -> Any:
        return {}

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> WarehouseStorage:
        settings = load()
        if settings.database_url is not None:
            upgrade(settings)  # makes the schema that Dagster's tables go to
        # SQLAlchemy 2.1 reads a bare postgresql:// as psycopg 3, which dagster-postgres does not speak.
        url = locate(settings).dagster.replace("postgresql://", "postgresql+psycopg2://", 1)
        storage = cls(postgres_url=url, should_autocreate_tables=False, inst_data=inst_data)
        storage._run_storage = RunStorage(url, should_autocreate_tables=False)
        ensure_tables(storage)
        # Left alone, each of the three opens a connection per statement, which is most of what an event costs: a range
        # of 43 sessions took 12 s of Dagster's own, with kept connections 4 s.
        parts: tuple[Any, ...] = (storage.event_log_storage, storage.run_storage, storage.schedule_storage)
        for part in parts:
            part.optimize_for_webserver(STATEMENT_TIMEOUT_MS, pool_recycle=3600, max_overflow=20)
            # A kept connection may have been cut by a restart of the server; then another one is opened, unnoticed.
            sa.event.listen(part._engine, "checkout", _require_alive)
        return storage


def _require_alive(connection: Any, record: object, proxy: object) -> None:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except connection.Error as error:
        raise sa.exc.DisconnectionError(str(error)) from error


def connection_failure(error: BaseException) -> str | None:
    """Return what the database said, on one line, if `error` comes from a lost or refused connection; None if not.

    Dagster writes an event for all that happens, and when that fails it raises what its driver raised, or wraps it.
    """
    seen: set[int] = set()
    at: BaseException | None = error
    while at is not None and id(at) not in seen:
        seen.add(id(at))
        if isinstance(at, sqlalchemy.exc.DBAPIError) and (
            at.connection_invalidated or isinstance(at, sqlalchemy.exc.OperationalError | sqlalchemy.exc.InterfaceError)
        ):
            return " ".join(str(at.orig).split())
        at = at.__cause__ or at.__context__
    return None
