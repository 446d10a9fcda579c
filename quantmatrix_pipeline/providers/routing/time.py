"""Time as pauses and limits need it, so that a simulation can bring its own."""

from __future__ import annotations

import asyncio
import time
from typing import Protocol

from quantmatrix_pipeline import clock


class Time(Protocol):
    """A wall clock, a clock that never goes back, and a way to wait."""

    def now(self) -> float:
        """Return the present instant, in seconds since 1970 (UTC)."""
        ...

    def monotonic(self) -> float:
        """Return seconds since some instant of the past; only differences mean something."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return when `seconds` have passed."""
        ...


class RealTime:
    """The machine's time."""

    def now(self) -> float:
        return clock.wall()

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
