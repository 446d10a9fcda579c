"""Waiting for what other processes do."""

from __future__ import annotations

import time
from collections.abc import Callable


def until(what: Callable[[], bool], seconds: float, said: str) -> None:
    """Look once a second; `said` is what is wrong when it does not come within so many seconds."""
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, said
        time.sleep(1)
