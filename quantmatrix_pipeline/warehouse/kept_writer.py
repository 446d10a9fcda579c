"""Many writing transactions, one after the other, on one ADBC connection: opening one costs as much as storing
thousands of bars.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from types import TracebackType

from quantmatrix_pipeline.warehouse.engine import ArrowTransaction, Warehouse


class KeptWriter:
    """A connection for the time of a block, opened when it is first needed, and again after a transaction that failed.

    Between two transactions it is in none, however long the next part of an answer takes to come.
    """

    def __init__(self, warehouse: Warehouse) -> None:
        self._warehouse = warehouse
        self._open = contextlib.ExitStack()
        self._kept: ArrowTransaction | None = None

    def __enter__(self) -> KeptWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[ArrowTransaction]:
        """A transaction of columns; committed at the end of the block, rolled back on an error.

        Raises
        ------
        WarehouseUnavailable
            The database does not answer.
        WarehouseError
            It refused a statement, or went away.
        """
        with contextlib.ExitStack() as failing:
            # Left by an error only: then the block of `arrow` ends with it, says what it was and closes the connection.
            failing.push(self._open)
            if self._kept is None:
                self._kept = self._open.enter_context(self._warehouse.arrow())
            kept, self._kept = self._kept, None
            yield kept
            kept._connection.commit()  # the next statement begins the next transaction
            self._kept = kept
            failing.pop_all()
