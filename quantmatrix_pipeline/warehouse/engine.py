"""Connections to the warehouse: SQLAlchemy for rows, ADBC for columns, advisory locks for those who write."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import adbc_driver_manager
import adbc_driver_postgresql.dbapi as adbc
import pyarrow as pa
import sqlalchemy as sa
from psycopg.errors import QueryCanceled, UndefinedColumn, UndefinedTable
from sqlalchemy.exc import DBAPIError, OperationalError

from quantmatrix_pipeline.errors import ChainBusy, TimeBudgetExceeded, WarehouseUnavailable
from quantmatrix_pipeline.warehouse.arrow_pool import CANCELED, NO_TABLES, ArrowPool, refused

# Writers take the lock of the table family that they write, always in this order, so that no two wait for each other.
LOCKS = {"universe": 7101, "bars_1d": 7102, "history": 7103, "breadth": 7104, "gaps": 7105, "backfill": 7106}
LOCKS |= {"backup": 7124}  # writes no table; of two backups at once one would remove what the other relies on

# The driver encodes a batch whole, then sends it. Small batches let the server store one while the next is encoded,
# which saves a fifth of a large COPY.
COPY_ROWS = 2048

_MAY_TAKE = "SELECT set_config('statement_timeout', %s, true)"
LEAST_SECONDS = 5.0  # of a statement after the end of a time budget: what was done by then is still written down
CLOCKS_DIFFER_SECONDS = 0.05  # the server, which ends a statement, may be ahead of us by a hair

_SESSION_OPTIONS = "-c timezone=UTC -c idle_in_transaction_session_timeout=300000 -c lock_timeout=900000"


def masked(url: str) -> str:
    """Return `url` with its password hidden, fit for a message or a log."""
    parts = urlsplit(url)
    if parts.password is None:
        return url
    return urlunsplit(parts._replace(netloc=parts.netloc.replace(f":{parts.password}@", ":***@")))


def _with_driver(url: str, driver: str) -> str:
    scheme, rest = url.split("://", 1)
    return f"{scheme.split('+')[0].replace('postgres', 'postgresql').replace('postgresqlql', 'postgresql')}{driver}://{rest}"


class ArrowTransaction:
    """One transaction on an ADBC connection: columns in, columns out, committed when the block ends without an
    error.
    """

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def execute(self, sql: str, parameters: Sequence[object] | None = None) -> None:
        with self._connection.cursor() as cursor:
            cursor.execute(sql, parameters)

    def query(self, sql: str, parameters: Sequence[object] | None = None) -> pa.Table:
        """Run one statement and return its whole result; parameters are `$1`, `$2`, ..."""
        with self._connection.cursor() as cursor:
            cursor.execute(sql, parameters)
            return cursor.fetch_arrow_table()

    def append(self, table: str, data: pa.Table | pa.RecordBatchReader) -> int:
        """COPY columns into an existing table by their names; return the number of rows."""
        if isinstance(data, pa.Table):
            data = data.to_reader(max_chunksize=COPY_ROWS)
        with self._connection.cursor() as cursor:
            return int(cursor.adbc_ingest(table, data, mode="append"))

    def stage(self, name: str, data: pa.Table, like: str | None = None) -> None:
        """COPY columns into a temporary table of this transaction, typed after `like` where that is given."""
        if like is None:
            with self._connection.cursor() as cursor:
                cursor.execute(f"DROP TABLE IF EXISTS pg_temp.{name}")
                cursor.adbc_ingest(name, data, mode="create", temporary=True)
            return
        columns = ", ".join(data.column_names)
        self.execute(f"CREATE TEMPORARY TABLE {name} ON COMMIT DROP AS SELECT {columns} FROM {like} WITH NO DATA")
        with self._connection.cursor() as cursor:
            cursor.adbc_ingest(name, data, mode="append", temporary=True)

    def lock(self, family: str) -> None:
        """Wait for the writers' lock of a table family; it is released with the transaction."""
        self.execute(f"SELECT pg_advisory_xact_lock({LOCKS[family]})")


class Warehouse:
    """The way into one PostgreSQL database.

    Parameters
    ----------
    url
        A `postgresql://` URL. Which rights it carries decides what can be done: the read API opens one as `qm_reader`.
    read_only
        Whether every transaction is read only, whatever the URL's rights are.
    budget_seconds
        How long whoever holds it may take from now on: a statement is ended when that time is over, one that begins
        later after five seconds, both with `TimeBudgetExceeded`. In a transaction of columns each statement has what
        was left when that began. None: as long as it takes.
    """

    def __init__(self, url: str, *, read_only: bool = False, budget_seconds: float | None = None) -> None:
        self.url = url
        self._read_only = read_only
        self._budget = budget_seconds
        self._began = time.monotonic()
        self._arrow_url = _with_driver(url, "")
        self.engine = sa.create_engine(
            _with_driver(url, "+psycopg"),
            pool_pre_ping=True,
            pool_size=5,
            connect_args={
                "options": _SESSION_OPTIONS + (" -c default_transaction_read_only=on" if read_only else ""),
                "connect_timeout": 10,
            },
        )
        if budget_seconds is not None:
            sa.event.listen(self.engine, "before_cursor_execute", self._limit)
        self._reads = ArrowPool(self._arrow_url, self._unavailable)

    def __repr__(self) -> str:
        return f"Warehouse({masked(self.url)})"

    def close(self) -> None:
        self.engine.dispose()
        self._reads.close()

    def ping(self) -> str:
        """Return the server's version, which shows that it answers.

        Raises
        ------
        WarehouseUnavailable
            It does not.
        """
        return str(self.scalar("SHOW server_version"))

    @contextlib.contextmanager
    def begin(self) -> Iterator[sa.Connection]:
        """A transaction of rows; committed at the end of the block, rolled back on an error."""
        try:
            with self.engine.begin() as connection:
                yield connection
        except OperationalError as error:
            if self._is_over() and isinstance(error.orig, QueryCanceled):
                raise self._out_of_time() from error
            raise self._unavailable(error) from error
        except DBAPIError as error:
            if error.connection_invalidated:
                raise self._unavailable(error) from error
            if isinstance(error.orig, (UndefinedTable, UndefinedColumn)):
                raise self._unavailable(LookupError(NO_TABLES)) from error
            raise

    def rows(self, sql: str, **parameters: object) -> Sequence[sa.Row[Any]]:
        """Run one reading statement (`:name` parameters) and return its rows."""
        with self.begin() as connection:
            return connection.execute(sa.text(sql), parameters).all()

    def scalar(self, sql: str, **parameters: object) -> Any:
        """Run one reading statement and return the first column of its first row, None where there is none."""
        with self.begin() as connection:
            return connection.execute(sa.text(sql), parameters).scalar()

    def execute(self, sql: str, parameters: Mapping[str, object] | Sequence[Mapping[str, object]] = ()) -> int:
        """Run one writing statement in a transaction of its own; return the number of rows it touched."""
        with self.begin() as connection:
            return connection.execute(sa.text(sql), parameters or None).rowcount

    @contextlib.contextmanager
    def arrow(self) -> Iterator[ArrowTransaction]:
        """A transaction of columns over ADBC; committed at the end of the block, rolled back on an error."""
        try:
            connection = adbc.connect(self._arrow_url)
        except adbc_driver_manager.Error as error:
            raise self._unavailable(error) from error
        try:
            transaction = ArrowTransaction(connection)
            transaction.execute("SET timezone = 'UTC'")
            if self._read_only:
                transaction.execute("SET TRANSACTION READ ONLY")
            transaction.execute("SET lock_timeout = '900s'")
            transaction.execute("SET idle_in_transaction_session_timeout = '300s'")
            if self._budget is not None:
                transaction.execute(f"SET statement_timeout = {self._left()}")
            yield transaction
            connection.commit()
        except adbc_driver_manager.Error as error:
            if self._is_over() and error.sqlstate == CANCELED:
                raise self._out_of_time() from error
            raise refused(error, f"{masked(self.url)}: ") from error
        finally:
            # Closing rolls back what was not committed; an idle reader would block a DROP.
            connection.close()

    def arrow_table(self, sql: str) -> pa.Table:
        """Run one reading statement and return its columns."""
        with self.arrow() as transaction:
            return transaction.query(sql)

    def read(self, sql: str, parameters: Sequence[object] = ()) -> pa.Table:
        """Run one reading statement (`$1`, `$2`, ...) on a kept connection and return its columns."""
        return self._reads.read(sql, parameters)

    @contextlib.contextmanager
    def exclusive(self, family: str, wait_seconds: float) -> Iterator[None]:
        """Hold the step's lock of a table family while the block runs, across processes.

        It is bound to a connection: a process that is killed lets go of it at once.

        Raises
        ------
        ChainBusy
            If another process holds it for longer than `wait_seconds`.
        """
        # A key of its own beside the writers' lock, so that the block's own transactions can take that one.
        key = LOCKS[family] + 1000
        deadline = time.monotonic() + wait_seconds
        connection = self.session_connection()
        try:
            while not connection.execute(sa.text("SELECT pg_try_advisory_lock(:key)"), {"key": key}).scalar():
                if time.monotonic() >= deadline:
                    raise ChainBusy(
                        f"another run is writing {family} and did not finish within {wait_seconds:.0f} s; "
                        "wait for it, or end it, and run again"
                    )
                time.sleep(0.2)
            yield
        finally:
            # Not back into the pool: closing the connection is what surely releases the lock.
            connection.invalidate()
            connection.close()

    @contextlib.contextmanager
    def first_in_line(self, family: str) -> Iterator[None]:
        """Say while the block runs that its wish for the step's lock comes before that of
        whoever asks `somebody_is_first`."""
        connection = self.session_connection()
        try:
            connection.execute(sa.text("SELECT pg_advisory_lock_shared(:key)"), {"key": LOCKS[family] + 2000})
            yield
        finally:
            connection.invalidate()
            connection.close()

    def somebody_is_first(self, family: str) -> bool:
        """Tell whether anybody is `first_in_line` for the step's lock."""
        with self.begin() as connection:
            free = connection.execute(
                sa.text("SELECT pg_try_advisory_xact_lock(:key)"), {"key": LOCKS[family] + 2000}
            ).scalar()
        return not free

    def session_connection(self) -> sa.Connection:
        """A connection without transactions, for locks of the session: they last until it is invalidated and closed."""
        try:
            return self.engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        except OperationalError as error:
            raise self._unavailable(error) from error

    def _limit(self, connection: sa.Connection, cursor: Any, *_: object) -> None:
        """Give the statement that a cursor is about to execute what is left of the time budget."""
        cursor.execute(_MAY_TAKE, (self._left(),))

    def _is_over(self) -> bool:
        """Tell whether the time budget is; before that a statement was canceled by somebody else."""
        return self._budget is not None and time.monotonic() > self._began + self._budget - CLOCKS_DIFFER_SECONDS

    def _left(self) -> str:
        """Return how many milliseconds a statement may take that begins now."""
        assert self._budget is not None
        left = self._began + self._budget - time.monotonic()
        return str(round(1000 * max(left, min(LEAST_SECONDS, self._budget))))

    def _out_of_time(self) -> TimeBudgetExceeded:
        return TimeBudgetExceeded(
            f"the time budget of {self._budget:g} s is used up, and a statement was ended for it; look for what slows"
            ' the database down, or holds a lock (docs/operations.md, "Queries are slow")'
        )

    def _unavailable(self, error: Exception) -> WarehouseUnavailable:
        cause = str(getattr(error, "orig", error)).strip().splitlines()[0]
        return WarehouseUnavailable(
            f"the database {masked(self.url)} does not answer ({cause}); is it up? `qm doctor` tells"
        )
