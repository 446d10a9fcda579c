"""The API's way to the warehouse: opened at start-up, and again whenever it was lost."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Iterator

from quantmatrix_pipeline.errors import ConfigurationError, WarehouseError, WarehouseUnavailable
from quantmatrix_pipeline.settings import Settings
from quantmatrix_pipeline.warehouse.engine import Warehouse
from quantmatrix_pipeline.warehouse.locate import open_reader

log = logging.getLogger(__name__)


class Door:
    """Hands out one warehouse with the rights of a reader, and survives its absence.

    Parameters
    ----------
    settings
        Where the warehouse is.
    warehouse
        One that is open already; then it is neither closed nor replaced here.
    """

    def __init__(self, settings: Settings, warehouse: Warehouse | None = None) -> None:
        self._settings = settings
        self._given = warehouse
        self._opened: Warehouse | None = None
        self._lock = threading.Lock()

    def open(self) -> None:
        """Open the warehouse at start-up, starting the embedded server if need be; a failure is logged, not raised."""
        if self._given is not None:
            return
        try:
            with self._lock:
                self._opened = open_reader(self._settings)
        except (WarehouseError, ConfigurationError) as error:
            log.warning("starting without the warehouse: %s", error)

    def warehouse(self) -> Warehouse:
        """Return the warehouse, looking it up anew where there is none; it may still turn out not to answer.

        Raises
        ------
        WarehouseError
            The embedded server has no folder yet, or one that is not ours.
        """
        if self._given is not None:
            return self._given
        with self._lock:
            if self._opened is None:
                # Somebody stopped the embedded server on purpose, or is about to start it: that is not ours to do.
                self._opened = open_reader(self._settings, start=False)
            return self._opened

    @contextlib.contextmanager
    def opened(self) -> Iterator[Warehouse]:
        """The warehouse while the block runs; forgotten where it turns out not to answer."""
        warehouse = self.warehouse()
        try:
            yield warehouse
        except WarehouseUnavailable:
            self.lost(warehouse)
            raise

    def lost(self, warehouse: Warehouse) -> None:
        """Forget a warehouse that did not answer: when it is back it may listen on another port."""
        with self._lock:
            if self._opened is not warehouse:
                return
            self._opened = None
        warehouse.close()

    def close(self) -> None:
        """Close what was opened here."""
        if self._opened is not None:
            self.lost(self._opened)
