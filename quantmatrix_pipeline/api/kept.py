"""Answers that are costly to count, kept for a few seconds."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar
from weakref import WeakKeyDictionary

from quantmatrix_pipeline.warehouse.engine import Warehouse

Answer = TypeVar("Answer")


class Kept(Generic[Answer]):
    """The answer about each warehouse for `seconds`; who comes while it is counted waits for that count."""

    def __init__(self, count: Callable[[Warehouse], Answer], seconds: float) -> None:
        self._count = count
        self._seconds = seconds
        self._lock = threading.Lock()
        self._kept: WeakKeyDictionary[Warehouse, tuple[float, Answer]] = WeakKeyDictionary()

    def of(self, warehouse: Warehouse) -> Answer:
        with self._lock:
            kept = self._kept.get(warehouse)
            if kept is None or time.monotonic() - kept[0] > self._seconds:
                kept = time.monotonic(), self._count(warehouse)
                self._kept[warehouse] = kept
            return kept[1]
