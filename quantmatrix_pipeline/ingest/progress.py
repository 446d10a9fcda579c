"""How far a fetch is, told to whoever watches it: every few seconds, never per symbol."""

from __future__ import annotations

import time
from collections.abc import Callable

TELL_EVERY_SECONDS = 10.0

Tell = Callable[[str], None]


def in_silence(message: str) -> None:
    """Tell nobody."""


class Progress:
    """Says how many of `total` symbols a source has answered about."""

    def __init__(self, tell: Tell, total: int, every_seconds: float = TELL_EVERY_SECONDS) -> None:
        self._tell = tell
        self._total = total
        self._every = every_seconds
        self._told_at = time.monotonic()

    def made(self, answered: int, bars: int) -> None:
        """Note how far it is; the bars are those written by now."""
        if answered < self._total and time.monotonic() - self._told_at < self._every:
            return
        self._told_at = time.monotonic()
        self._tell(f"{answered:,} of {self._total:,} symbols answered, {bars:,} bars written")
