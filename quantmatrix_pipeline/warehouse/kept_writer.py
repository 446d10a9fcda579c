"""Many writing transactions, one after the other, on one ADBC connection: opening one costs as much as storing
thousands of bars.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import adbc_driver_manager

from quantmatrix_pipeline.warehouse.engine import ArrowTransaction, Warehouse

Transactions = Callable[[], contextlib.AbstractContextManager[ArrowTransaction]]


@contextlib.contextmanager
def kept_writer(warehouse: Warehouse) -> Iterator[Transactions]:
    """Open a connection for the block and yield what begins a transaction on it, one at a time.

    Such a transaction is committed at the end of its own block and rolled back on an error. Between two of them the
    connection is in none, however long the next part of an answer takes to come.

    Raises
    ------
    WarehouseUnavailable
        The database does not answer.
    WarehouseError
        It refused a statement, or went away.
    """
    with warehouse.arrow() as connection:
        connection.execute("COMMIT")  # what was set for the session stays; each transaction is begun by hand

        @contextlib.contextmanager
        def transaction() -> Iterator[ArrowTransaction]:
            connection.execute("BEGIN")
            try:
                yield connection
            except BaseException:
                with contextlib.suppress(adbc_driver_manager.Error):  # lost with the connection, it is rolled back too
                    connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")

        yield transaction
