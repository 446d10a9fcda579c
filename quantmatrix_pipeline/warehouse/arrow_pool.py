"""Kept ADBC connections for many small reads: opening one costs about 10 ms, a short query on an open one 0.1 ms."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import adbc_driver_manager
import adbc_driver_postgresql.dbapi as adbc
import pyarrow as pa

from quantmatrix_pipeline.errors import KnownNoMore, WarehouseError

CONNECTIONS = 8  # of the server's 100, which Dagster and the writers share
NO_TABLES = "its tables are missing or of another release: `qm db upgrade` brings them up"
STATEMENT_SECONDS = 30
CONNECT_SECONDS = 5

_SESSION = """
    SELECT set_config('timezone', 'UTC', false), set_config('statement_timeout', $1, false),
           set_config('default_transaction_read_only', 'on', false)
"""
_CONNECTION_LOST = ("08", "57P")  # SQLSTATE classes: connection exceptions, and the server is going down or coming up
CANCELED = "57014"
_OVERLOADED = "53"  # out of connections, memory or disk
_KNOWN_NO_MORE = "QM001"  # raised by require_bars_known_at()
_UNDEFINED = ("42P01", "42703")  # table, column


class ArrowPool:
    """Runs single reading statements and returns their columns.

    Each statement is a transaction of its own that ends with it. A connection that was lost while it lay idle is
    replaced without the caller noticing; a statement that only reads can be run twice.

    Parameters
    ----------
    url
        A `postgresql://` URL.
    unavailable
        Makes the error to raise when the database does not answer, out of the driver's.
    """

    def __init__(self, url: str, unavailable: Callable[[Exception], WarehouseError]) -> None:
        parts = urlsplit(url)
        options = {"connect_timeout": str(CONNECT_SECONDS), **dict(parse_qsl(parts.query))}
        self._url = urlunsplit(parts._replace(query=urlencode(options)))
        self._unavailable = unavailable
        self._idle: list[Any] = []
        self._lock = threading.Lock()
        self._places = threading.BoundedSemaphore(CONNECTIONS)
        self._closed = False

    def read(self, sql: str, parameters: Sequence[object] = ()) -> pa.Table:
        """Run one reading statement (parameters `$1`, `$2`, ...) and return its whole result.

        Raises
        ------
        WarehouseUnavailable
            The database does not answer, not within 30 seconds, or lacks the tables.
        WarehouseError
            It refused the statement.
        """
        with self._places:
            while True:
                connection, reused = self._take()
                try:
                    table = _run(connection, sql, parameters)
                except adbc_driver_manager.Error as error:
                    _close(connection)
                    if _lost(error):
                        if reused:
                            continue
                        raise self._unavailable(error) from error
                    raise self._failure(error) from error
                except BaseException:
                    _close(connection)
                    raise
                self._give_back(connection)
                return table

    def close(self) -> None:
        """Close the idle connections; those in use are closed when they come back."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for connection in idle:
            _close(connection)

    def _take(self) -> tuple[Any, bool]:
        with self._lock:
            if self._idle:
                return self._idle.pop(), True
        try:
            connection = adbc.connect(self._url, autocommit=True)
        except adbc_driver_manager.Error as error:
            raise self._unavailable(error) from error
        try:
            _run(connection, _SESSION, [f"{STATEMENT_SECONDS}s"])
        except adbc_driver_manager.Error as error:
            _close(connection)
            raise self._unavailable(error) from error
        return connection, False

    def _give_back(self, connection: Any) -> None:
        with self._lock:
            if not self._closed:
                self._idle.append(connection)
                return
        _close(connection)

    def _failure(self, error: adbc_driver_manager.Error) -> WarehouseError:
        state = error.sqlstate or ""
        if state in _UNDEFINED:
            return self._unavailable(LookupError(NO_TABLES))
        if state == CANCELED:
            return self._unavailable(TimeoutError(f"it took longer than {STATEMENT_SECONDS} s over a statement"))
        if state.startswith(_OVERLOADED):
            return self._unavailable(error)
        return refused(error)


def refused(error: adbc_driver_manager.Error, where: str = "") -> WarehouseError:
    """Return the error of a statement that the server refused; `where` stands before its message."""
    message = str(error).strip().splitlines()[0]
    if error.sqlstate == _KNOWN_NO_MORE:
        return KnownNoMore(message.rsplit("ERROR:", 1)[-1].strip())
    return WarehouseError(where + message)


def _run(connection: Any, sql: str, parameters: Sequence[object]) -> pa.Table:
    with connection.cursor() as cursor:
        cursor.execute(sql, list(parameters) or None)
        return cursor.fetch_arrow_table()


def _close(connection: Any) -> None:
    with contextlib.suppress(adbc_driver_manager.Error):
        connection.close()


def _lost(error: adbc_driver_manager.Error) -> bool:
    state = error.sqlstate
    return state.startswith(_CONNECTION_LOST) if state else isinstance(error, adbc_driver_manager.OperationalError)
