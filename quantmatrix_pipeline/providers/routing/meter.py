"""What stands before each call of a run, and hears of it afterwards: budgets, the record, health."""

from __future__ import annotations

import math

from quantmatrix_pipeline.errors import QuotaExhausted, RateLimited
from quantmatrix_pipeline.providers.routing.budget import Budgets
from quantmatrix_pipeline.providers.routing.record import Record
from quantmatrix_pipeline.providers.routing.state import States
from quantmatrix_pipeline.providers.routing.time import Time
from quantmatrix_pipeline.providers.transport.calls import Timed

PATIENCE = 3.0  # seconds that a single question waits for a budget to renew: a limit per second, a rush of others


class RunMeter:
    """The meter of a router.

    Parameters
    ----------
    states, time
        Those of the router.
    """

    def __init__(self, states: States, time: Time) -> None:
        self.budgets: Budgets | None = None  # there while the router is open
        self.record = Record()
        self._states = states
        self._time = time
        self._wait_until = 0.0
        self._said_no: dict[str, tuple[float, RateLimited | QuotaExhausted]] = {}  # and when it did

    def wait_at_most(self, seconds: float) -> None:
        """Let calls wait for budgets until so many seconds from now, together: a night's fetch."""
        self._wait_until = self._time.monotonic() + seconds

    def patience(self) -> float:
        """Return for how many seconds a call made now may wait."""
        return max(PATIENCE, self._wait_until - self._time.monotonic())

    async def admit(self, vendor: str, weight: int) -> None:
        assert self.budgets is not None, "vendors are asked through an open router"
        await self.settle(vendor)
        await self.budgets.admit(vendor, weight, wait=self.patience())

    def note(self, timed: Timed) -> None:
        self.record.note(timed)
        self._states.heard(timed)
        if isinstance(timed.error, (RateLimited, QuotaExhausted)):
            said = self._time.monotonic(), timed.error
            # Of several that came at once the one counts that keeps everybody away for longest.
            self._said_no[timed.vendor] = max(self._said_no.get(timed.vendor, said), said, key=_ends)

    async def settle(self, vendor: str) -> None:
        """Shrink the budget of a vendor that said "too many", or close it for the day: before its next call."""
        assert self.budgets is not None, "vendors are asked through an open router"
        said_at, error = self._said_no.pop(vendor, (0.0, None))
        if isinstance(error, QuotaExhausted):
            await self.budgets.exhaust(vendor)
        elif error is not None:
            pause = error.retry_after
            if pause is not None:  # who slept through it has not to wait for it once more
                pause = max(0.0, said_at + pause - self._time.monotonic())
            await self.budgets.shrink(vendor, pause)

    async def settle_all(self) -> None:
        for vendor in sorted(self._said_no):
            await self.settle(vendor)


def _ends(said: tuple[float, RateLimited | QuotaExhausted]) -> float:
    at, error = said
    if isinstance(error, QuotaExhausted):
        return math.inf
    return at + (60.0 if error.retry_after is None else error.retry_after)
