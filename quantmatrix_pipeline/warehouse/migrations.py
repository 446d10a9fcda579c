"""Apply the numbered SQL files, each in one transaction together with the record that it was applied.

A kill at any moment leaves every file either applied and recorded or neither, and no lock behind: the lock is an
advisory one of the session, which the server drops with the connection. The record holds a checksum, so that an applied
file that was edited since is noticed. The files are plain SQL: `psql -f` of them in order makes the same schema.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

import psycopg
from psycopg.pq import TransactionStatus

from quantmatrix_pipeline.errors import MigrationError, WarehouseUnavailable

LOCK_KEY = 7_311_902_476_015  # any number that nobody else takes in this database; advisory locks are per database
SERVER_ENDS_US = ("08", "57P")  # SQLSTATEs: connection exceptions, shutdown and crash; no fault of the file
FILE_NAME = re.compile(r"\d{4}_[a-z0-9_]+\.sql")

RECORD = """\
CREATE TABLE IF NOT EXISTS schema_migrations (
    id text PRIMARY KEY,
    sha256 text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT clock_timestamp()
)"""


class State(StrEnum):
    """How a migration stands in one database."""

    APPLIED = "applied"
    PENDING = "pending"
    EDITED = "edited"  # applied, and its file differs from what was applied
    UNKNOWN = "unknown"  # applied, and this release has no such file


@dataclass(frozen=True)
class MigrationState:
    """One migration, its state, and when it was applied (UTC)."""

    id: str
    state: State
    applied_at: datetime | None


@dataclass(frozen=True)
class _Migration:
    id: str
    path: Path
    text: str
    sha256: str


def folder() -> Path:
    """Return the folder of this release's migrations: inside an installed package, or beside it in a checkout.

    Raises
    ------
    MigrationError
        Neither is there; the installation is incomplete.
    """
    package = Path(__file__).resolve().parents[1]
    for candidate in (package / "sql", package.parent / "sql"):
        if any(candidate.glob("0001_*.sql")):
            return candidate
    raise MigrationError(f"no migrations in {package / 'sql'} or {package.parent / 'sql'}: install the package again")


def released() -> dict[str, str]:
    """Return this release's migrations: id -> SHA-256."""
    return {id_: migration.sha256 for id_, migration in _read(folder()).items()}


def apply(url: str, folder: Path) -> list[str]:
    """Apply what is pending, in the order of the numbers; a second caller waits for the first and finds nothing left.

    Parameters
    ----------
    url
        libpq URL of the database, for the role that shall own what is made.
    folder
        Where the files `0001_name.sql`, ... lie; files that do not begin with a digit are none of ours.

    Returns
    -------
    list of str
        Ids (file names without `.sql`) of the migrations applied by this call.

    Raises
    ------
    MigrationError
        A file fails (its line and the server's message are named, and nothing of it stays), was edited since it was
        applied, comes before one that is applied already, or is unknown to this release.
    WarehouseUnavailable
        The database does not answer.
    """
    migrations = _read(folder)
    with _connect(url) as connection:
        _fresh_session(connection)
        connection.execute("SELECT pg_advisory_lock(%s)", (LOCK_KEY,))
        connection.execute(RECORD)
        pending = _pending(migrations, _states(migrations, _recorded(connection)))
        for migration in pending:
            _fresh_session(connection)
            _apply_one(connection, migration)
    return [migration.id for migration in pending]


def status(url: str, folder: Path) -> list[MigrationState]:
    """Return how every migration of the folder and of the database stands, by id; changes nothing.

    Raises
    ------
    MigrationError
        The folder's files are misnamed.
    WarehouseUnavailable
        The database does not answer.
    """
    migrations = _read(folder)
    with _connect(url) as connection:
        return _states(migrations, _recorded(connection))


def _read(folder: Path) -> dict[str, _Migration]:
    migrations: dict[str, _Migration] = {}
    numbers: dict[str, str] = {}
    for path in sorted(folder.glob("[0-9]*")):
        if not FILE_NAME.fullmatch(path.name):
            raise MigrationError(f"{path}: a migration is named like 0001_what_it_does.sql, in lower case")
        if other := numbers.get(path.name[:4]):
            raise MigrationError(
                f"{path}: {other} bears the same number; renumber the one that is not applied anywhere"
            )
        numbers[path.name[:4]] = path.name
        # A checkout may turn line ends into CRLF: that is the same migration.
        text = path.read_bytes().replace(b"\r\n", b"\n")
        migrations[path.stem] = _Migration(path.stem, path, text.decode(), hashlib.sha256(text).hexdigest())
    if not migrations:
        raise MigrationError(f"{folder}: no migrations here")
    return migrations


@contextlib.contextmanager
def _connect(url: str) -> Iterator[psycopg.Connection[Any]]:
    try:
        connection = psycopg.connect(url, autocommit=True, application_name="quantmatrix migrations")
    except psycopg.OperationalError as error:
        raise WarehouseUnavailable(f"the database does not answer: {error}") from None
    try:
        with connection:
            yield connection
    except psycopg.OperationalError as error:
        raise WarehouseUnavailable(f"the database went away: {error}") from error


def _fresh_session(connection: psycopg.Connection[Any]) -> None:
    """Undo what the file before may have SET, wait without limit, and die with the client.

    A server notices that its client was killed only when it next writes to it; so long would the session keep the lock.
    """
    connection.execute("RESET ALL")
    connection.execute("RESET ROLE")
    connection.execute("SET statement_timeout = 0")
    connection.execute("SET lock_timeout = 0")
    with contextlib.suppress(psycopg.errors.InvalidParameterValue):  # not every system can watch a socket so
        connection.execute("SET client_connection_check_interval = '1s'")


def _recorded(connection: psycopg.Connection[Any]) -> dict[str, tuple[str, datetime]]:
    row = connection.execute("SELECT to_regclass('schema_migrations')").fetchone()
    if row is None or row[0] is None:
        return {}
    rows = connection.execute("SELECT id, sha256, applied_at FROM schema_migrations")
    return {id_: (sha256, applied_at) for id_, sha256, applied_at in rows}


def _states(migrations: Mapping[str, _Migration], recorded: Mapping[str, tuple[str, datetime]]) -> list[MigrationState]:
    states = []
    for id_ in sorted({*migrations, *recorded}):
        sha256, applied_at = recorded.get(id_, (None, None))
        if id_ not in migrations:
            state = State.UNKNOWN
        elif sha256 is None:
            state = State.PENDING
        else:
            state = State.APPLIED if sha256 == migrations[id_].sha256 else State.EDITED
        states.append(MigrationState(id_, state, applied_at))
    return states


def _pending(migrations: Mapping[str, _Migration], states: list[MigrationState]) -> list[_Migration]:
    applied = [state.id for state in states if state.state is not State.PENDING]
    for state in states:
        if state.state is State.EDITED:
            raise MigrationError(
                f"{migrations[state.id].path}: edited after it was applied here at {state.applied_at}: put it back as "
                f"it was, and write the change as a new migration"
            )
        if state.state is State.UNKNOWN:
            raise MigrationError(
                f"the database has migration {state.id}, which this release does not know: it was upgraded by a newer "
                f"one; install that"
            )
        if state.state is State.PENDING and applied and state.id < applied[-1]:
            raise MigrationError(
                f"{migrations[state.id].path}: comes before {applied[-1]}, which is applied here already: give it the "
                f"next free number"
            )
    return [migrations[state.id] for state in states if state.state is State.PENDING]


def _apply_one(connection: psycopg.Connection[Any], migration: _Migration) -> None:
    try:
        with connection.transaction():
            ours = connection.execute("SELECT pg_current_xact_id()").fetchone()
            connection.execute(migration.text.encode())  # without parameters: many statements, and % is no placeholder
            still_open = connection.info.transaction_status == TransactionStatus.INTRANS
            if not still_open or connection.execute("SELECT pg_current_xact_id()").fetchone() != ours:
                raise MigrationError(
                    f"{migration.path}: ends the transaction it is applied in, so part of it may have stayed: take "
                    f"BEGIN, COMMIT and ROLLBACK out of the file and restore the database"
                )
            connection.execute(
                "INSERT INTO schema_migrations (id, sha256) VALUES (%s, %s)", (migration.id, migration.sha256)
            )
    except psycopg.Error as error:
        if connection.broken or (error.sqlstate or "").startswith(SERVER_ENDS_US):
            raise
        position = error.diag.statement_position
        line = f", line {migration.text.count(chr(10), 0, int(position) - 1) + 1}" if position else ""
        detail = f" ({error.diag.message_detail})" if error.diag.message_detail else ""
        message = error.diag.message_primary or str(error)
        raise MigrationError(f"{migration.path}{line}: {message}{detail}; nothing of this file was applied") from error
