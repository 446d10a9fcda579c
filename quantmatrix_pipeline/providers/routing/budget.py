"""Whether a vendor may be asked now: each process leases calls from the shared count and spends them locally.

A lease is one statement for up to 256 calls, so that a call costs little beside it. Many coroutines spend one lease;
all of them run on one event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TypeVar

from quantmatrix_pipeline.errors import BudgetTooSmall, QuotaExhausted, RateLimited
from quantmatrix_pipeline.providers.routing.budget_ledger import Lease, Ledger, Room
from quantmatrix_pipeline.providers.routing.limits import Limits
from quantmatrix_pipeline.providers.routing.time import Time

REMEMBERED = 1.0  # seconds for which a refusal is not asked for again; others may give back what they did not spend
LATE = 5  # leases in a row that are over when they arrive

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Refusal:
    """What the ledger had no room for; instants are monotonic."""

    weight: int
    forget_at: float
    until: float
    exhausted: bool


@dataclass(slots=True)
class _Account:
    """What this process holds of one vendor's budget; instants are monotonic."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    lease: Lease | None = None
    left: int = 0
    ends: float = 0.0
    refusal: _Refusal | None = None

    def take(self, weight: int, now: float) -> bool:
        if self.left >= weight and now < self.ends:
            self.left -= weight
            return True
        return False

    def refused(self, weight: int, now: float) -> _Refusal | None:
        """Return the last refusal if it still holds, for `weight` calls as well."""
        refusal = self.refusal
        if refusal is None or weight < refusal.weight or now >= min(refusal.forget_at, refusal.until):
            return None
        return refusal


class Budgets:
    """The vendors' budgets as one process sees them.

    Parameters
    ----------
    ledger
        The shared count.
    limits
        Vendor -> its limits. A vendor that is not named has none, and is counted all the same.
    time
        Measures leases and waits.
    """

    def __init__(self, ledger: Ledger, limits: Mapping[str, Limits], time: Time) -> None:
        self._ledger = ledger
        self._limits = dict(limits)
        self._time = time
        self._accounts: dict[str, _Account] = {}

    async def admit(self, vendor: str, weight: int = 1, *, wait: float = 0) -> None:
        """Return when one request that counts as `weight` calls may be made, now.

        Parameters
        ----------
        wait
            The most seconds to wait for the budget of the second or minute to renew. Never for the day's.

        Raises
        ------
        RateLimited
            The budget of the second or minute, or a pause that the vendor asked for, won't be over in time;
            `retry_after` says when it will.
        QuotaExhausted
            The day's budget is used up, or the vendor said so.
        BudgetTooSmall
            The request counts as more calls than a whole budget has: it has to be split.
        """
        account = self._account(vendor)
        started = self._time.monotonic()
        if account.take(weight, started):
            return
        self._check(vendor, weight)
        late = 0
        while True:
            async with account.lock:
                now = self._time.monotonic()
                if account.take(weight, now):  # of a lease that came while this one waited for the lock
                    return
                refusal = account.refused(weight, now)
                if refusal is None:
                    await self._lease(vendor, account, weight)
                    now = self._time.monotonic()
                    if account.take(weight, now):
                        return
                    refusal = account.refused(weight, now)
            if refusal is None:  # the lease was over when it arrived, or the refusal was
                late += 1
                if late == LATE:
                    raise RateLimited(
                        vendor,
                        f"{late} leases of calls were over when they arrived: is the database slow, or this machine "
                        f"busy? Ask again",
                        retry_after=REMEMBERED,
                    )
                continue
            late = 0
            retry_in = refusal.until - now
            if refusal.exhausted:
                raise self._exhausted(vendor, retry_in)
            if refusal.until > started + wait:
                raise RateLimited(
                    vendor,
                    f"no room for {_calls(weight)} at the moment, within {self.limits(vendor)} or a pause that it "
                    f"asked for; ask again in {retry_in:.1f} s",
                    retry_after=retry_in,
                )
            await self._time.sleep(retry_in)

    def limits(self, vendor: str) -> Limits:
        """Return a vendor's limits as they were set."""
        return self._limits.get(vendor, Limits())

    async def room(self, vendor: str) -> Room:
        """Return what is left of a vendor's budget, beside what processes hold as leases."""
        return await self._ask(lambda: self._ledger.room(vendor, self.limits(vendor)))

    async def shrink(self, vendor: str, retry_after: float | None = None) -> None:
        """Note that a vendor answered 429: nobody leases for `retry_after` seconds (None: until the next minute
        begins), and the limit per minute is halved, to double again for every 10 minutes without another.

        What other processes hold as leases, for at most 2 s, they may still spend.
        """
        async with self._emptied(vendor):
            await self._ask(lambda: self._ledger.shrink(vendor, self.limits(vendor), retry_after))

    async def exhaust(self, vendor: str, until: datetime | None = None) -> None:
        """Note that a vendor said its allowance is used up: nothing more before `until`, or the next UTC midnight."""
        async with self._emptied(vendor):
            await self._ask(lambda: self._ledger.exhaust(vendor, None if until is None else until.timestamp()))

    async def close(self) -> None:
        """Give back what was leased and not spent."""
        for vendor in list(self._accounts):
            async with self._emptied(vendor):
                pass

    def _account(self, vendor: str) -> _Account:
        account = self._accounts.get(vendor)
        if account is None:
            account = self._accounts[vendor] = _Account()
        return account

    async def _lease(self, vendor: str, account: _Account, weight: int) -> None:
        """Put a new lease, or a refusal, in place of the old lease, of which the rest is given back."""
        limits = self.limits(vendor)
        old, unspent = account.lease, account.left

        def ask() -> tuple[float, Lease]:
            if old is not None and unspent:
                self._ledger.give_back(old, unspent)
            # The clock is read before: a lease must not seem to live longer than the ledger lets it.
            return self._time.monotonic(), self._ledger.lease(vendor, limits, weight, max(weight, limits.lease))

        account.lease, account.left = None, 0
        asked_at, lease = await self._ask(ask)
        if lease.granted:
            account.lease, account.left, account.ends = lease, lease.granted, asked_at + lease.seconds
            account.refusal = None
        else:
            now = self._time.monotonic()
            account.refusal = _Refusal(weight, now + REMEMBERED, now + lease.retry_in, lease.exhausted)

    @contextlib.asynccontextmanager
    async def _emptied(self, vendor: str) -> AsyncIterator[None]:
        """Give back the vendor's lease, and let nobody lease here until the block ends."""
        account = self._account(vendor)
        async with account.lock:
            old, unspent = account.lease, account.left
            account.lease, account.left, account.refusal = None, 0, None
            if old is not None and unspent:
                await self._ask(lambda: self._ledger.give_back(old, unspent))
            yield

    async def _ask(self, question: Callable[[], T]) -> T:
        return await asyncio.to_thread(question) if self._ledger.blocking else question()

    def _check(self, vendor: str, weight: int) -> None:
        if weight < 1:
            raise ValueError(f"a request to {vendor} counts as at least 1 call, not {weight}")
        tightest = self.limits(vendor).tightest
        if tightest is not None and weight > tightest:
            raise BudgetTooSmall(
                vendor,
                f"one request that counts as {_calls(weight)} never fits into {self.limits(vendor)}: ask for less at "
                f"once, or raise the limit if the plan allows more",
            )

    def _exhausted(self, vendor: str, retry_in: float) -> QuotaExhausted:
        until = datetime.fromtimestamp(self._time.now() + retry_in, UTC)
        return QuotaExhausted(
            vendor,
            f"the allowance is used up, by our count of {self.limits(vendor)} or by its own word; it is asked again "
            f"from {until:%Y-%m-%d %H:%M} UTC on",
        )


def _calls(number: int) -> str:
    return "1 call" if number == 1 else f"{number} calls"
