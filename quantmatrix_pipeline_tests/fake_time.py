"""Time that passes only when nobody has anything left to do: hours of waiting in an instant, always the same way."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class FakeTime:
    """A clock for code that is handed its time; run the code with `run`.

    All of asyncio's own waits (`asyncio.sleep`, `asyncio.timeout`) go by it as well. Whoever sleeps wakes in the order
    of time, then of falling asleep. What works in other threads or on sockets is waited for only when nobody sleeps.

    Parameters
    ----------
    start
        Seconds since 1970 at which it begins; the default is 2027-01-04 12:00 UTC.
    """

    def __init__(self, start: float = 1_799_064_000.0) -> None:
        self._start = start
        self._elapsed = 0.0

    def now(self) -> float:
        return self._start + self._elapsed

    def monotonic(self) -> float:
        return self._elapsed

    async def sleep(self, seconds: float) -> None:
        ends = self._elapsed + seconds
        await asyncio.sleep(seconds)
        # asyncio wakes up to a nanosecond early, and who then looks at the clock and sleeps again would do so for ever.
        self._elapsed = max(self._elapsed, ends)

    def advance(self, seconds: float) -> None:
        """Let time pass outside of `run`, or within it as if the machine had stood still."""
        self._elapsed += seconds

    def run(self, main: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine to its end, as `asyncio.run` does, by this time.

        Raises
        ------
        RuntimeError
            If everybody waits for somebody else.
        """
        with asyncio.Runner(loop_factory=lambda: _Loop(self)) as runner:
            return runner.run(main)


class _Selector(selectors.DefaultSelector):
    """Lets time pass instead of waiting."""

    time: FakeTime

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            # Nobody sleeps: something of the real world is awaited, or nothing ever comes.
            ready = super().select(30)
            if not ready:
                raise RuntimeError("everybody waits, and nothing came for 30 s of real time")
            return ready
        ready = super().select(0)
        if not ready and timeout > 0:
            self.time.advance(timeout)
        return ready


class _Loop(asyncio.SelectorEventLoop):
    def __init__(self, time: FakeTime) -> None:
        self._fake = time
        selector = _Selector()
        selector.time = time
        super().__init__(selector)

    def time(self) -> float:
        return self._fake.monotonic()
