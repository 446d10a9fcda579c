"""What tables hold, as a count and a hash each, to compare a database with its restored copy."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import msgspec
import psycopg
from psycopg import sql

from quantmatrix_pipeline.errors import BackupError, WarehouseUnavailable
from quantmatrix_pipeline.warehouse.engine import masked

# How values are written as text, whatever the server's or the role's settings: the same rows must give the same hash.
_TEXT_FORM = """
SET timezone = 'UTC'; SET datestyle = 'ISO, YMD'; SET intervalstyle = 'iso_8601'; SET bytea_output = 'hex';
SET extra_float_digits = 1; SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0
"""

# Rows have no order, so a sum over their hashes: 64 bits of each row's MD5, which is the same on every server.
_CONTENTS = """
SELECT count(*), coalesce(sum(('x' || left(md5(t::text), 16))::bit(64)::bigint), 0)::text FROM ONLY {table} t
"""

_TABLES = """
SELECT relname FROM pg_class WHERE relnamespace = to_regnamespace(%s) AND relkind = 'r' ORDER BY relname COLLATE "C"
"""


class Contents(msgspec.Struct, frozen=True):
    """What one table holds: `hash` is the sum over its rows of 64 bits of the MD5 of the row's text."""

    rows: int
    hash: str


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A state of a database that stays readable while the connection is open, for other connections as well."""

    connection: psycopg.Connection[Any]
    id: str
    _given_up: threading.Event = field(default_factory=threading.Event)

    @property
    def server(self) -> str:
        """The server's version, such as 18.4."""
        return str(self.connection.info.parameter_status("server_version"))

    def contents(self, schema: str) -> dict[str, Contents]:
        """Return what each table of a schema holds in this state; of a partitioned table its parts.

        Raises
        ------
        BackupError
            Another thread has said `give_up`.
        """
        names = [name for (name,) in self.connection.execute(_TABLES, (schema,)).fetchall()]
        return {name: self._of(schema, name) for name in names}

    def give_up(self) -> None:
        """End what another thread is reading, now and from now on; to be said again until that thread has ended."""
        self._given_up.set()
        self.connection.cancel_safe()

    def _of(self, schema: str, name: str) -> Contents:
        if self._given_up.is_set():
            raise BackupError("given up")
        statement = sql.SQL(_CONTENTS).format(table=sql.Identifier(schema, name))
        row = self.connection.execute(statement).fetchone()
        assert row is not None
        return Contents(int(row[0]), str(row[1]))


@contextmanager
def snapshot(url: str) -> Iterator[Snapshot]:
    """Hold one state of a database while the block runs; changes nothing and blocks no writer.

    Parameters
    ----------
    url
        libpq URL of the database, for a role that may read all of it.

    Raises
    ------
    WarehouseUnavailable
        The database does not answer.
    """
    try:
        connection = psycopg.connect(url, autocommit=True, application_name="quantmatrix backup", connect_timeout=10)
    except psycopg.OperationalError as error:
        raise WarehouseUnavailable(f"the database {masked(url)} does not answer: {error}") from None
    with connection:
        connection.execute(_TEXT_FORM)
        connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        row = connection.execute("SELECT pg_export_snapshot()").fetchone()
        assert row is not None
        yield Snapshot(connection, row[0])
