"""The count of calls in the warehouse: one for all processes, kept over restarts."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import ClassVar

from quantmatrix_pipeline.providers.routing import budget_ledger as rules
from quantmatrix_pipeline.providers.routing.budget_ledger import Lease, Room, Usage
from quantmatrix_pipeline.providers.routing.limits import Limits
from quantmatrix_pipeline.warehouse import vendor_budgets
from quantmatrix_pipeline.warehouse.engine import Warehouse


class PostgresLedger:
    """Counts by the clock of the database server, under a lock per vendor.

    A process that is killed takes what it had leased and not spent with it, nothing else: it stays counted.

    Parameters
    ----------
    warehouse
        Opened to write; to look at `room`, reading is enough.
    clock
        Seconds since 1970 in place of the server's clock, for simulations.
    """

    blocking: ClassVar[bool] = True

    def __init__(self, warehouse: Warehouse, clock: Callable[[], float] | None = None) -> None:
        self._warehouse = warehouse
        self._clock = clock

    def lease(self, vendor: str, limits: Limits, least: int, most: int) -> Lease:
        row = vendor_budgets.lease(
            self._warehouse,
            vendor,
            per_second=limits.per_second,
            per_minute=limits.per_minute,
            per_day=limits.per_day,
            least=least,
            most=most,
            at=self._at(),
        )
        by_second = limits.per_second is not None
        return Lease(vendor, row.granted, row.seconds, row.retry_in, row.exhausted, (row.tick,), by_second)

    def give_back(self, lease: Lease, calls: int) -> None:
        tick, *_ = lease.ticks
        vendor_budgets.give_back(self._warehouse, lease.vendor, tick=tick, by_second=lease.by_second, calls=calls)

    def shrink(self, vendor: str, limits: Limits, retry_after: float | None) -> None:
        vendor_budgets.shrink(
            self._warehouse, vendor, per_minute=limits.per_minute, retry_after=retry_after, at=self._at()
        )

    def exhaust(self, vendor: str, until: float | None) -> None:
        instant = None if until is None else datetime.fromtimestamp(until, UTC)
        vendor_budgets.exhaust(self._warehouse, vendor, until=instant, at=self._at())

    def room(self, vendor: str, limits: Limits) -> Room:
        row = vendor_budgets.usage(self._warehouse, vendor, at=self._at())
        usage = Usage(
            now=row.now,
            minute={int(bucket): used for bucket, used in row.minute.items()},
            second={int(bucket): used for bucket, used in row.second.items()},
            today=row.today,
            scale=row.scale,
            scaled_at=row.scaled_at,
            blocked_until=row.blocked_until,
            exhausted_until=row.exhausted_until,
        )
        return rules.room(usage, limits)

    def _at(self) -> datetime | None:
        if self._clock is None:
            return None
        return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=rules.microseconds(self._clock()))
