"""The count of calls of one process alone: for simulations, and where there is no warehouse."""

from __future__ import annotations

import threading
from collections import Counter, defaultdict
from typing import ClassVar

from quantmatrix_pipeline.providers.routing import budget_ledger as rules
from quantmatrix_pipeline.providers.routing.budget_ledger import MICROSECONDS, Lease, Room, Usage
from quantmatrix_pipeline.providers.routing.limits import Limits
from quantmatrix_pipeline.providers.routing.time import Time


class MemoryLedger:
    """Counts for as long as it lives, by the clock it is given."""

    blocking: ClassVar[bool] = False

    def __init__(self, time: Time) -> None:
        self._time = time
        self._usages: dict[str, Usage] = {}
        self._days: defaultdict[str, Counter[int]] = defaultdict(Counter)
        self._lock = threading.Lock()

    def lease(self, vendor: str, limits: Limits, least: int, most: int) -> Lease:
        with self._lock:
            usage = self._usage(vendor)
            lease = rules.grant(usage, vendor, limits, least, most)
            self._charge(usage, lease, lease.granted)
            return lease

    def give_back(self, lease: Lease, calls: int) -> None:
        with self._lock:
            self._charge(self._usage(lease.vendor), lease, -calls)

    def shrink(self, vendor: str, limits: Limits, retry_after: float | None) -> None:
        with self._lock:
            usage = self._usage(vendor)
            if usage.blocked_until is None or usage.blocked_until <= usage.now:
                usage.scale = max(usage.scale_now() / 2, 1 / (limits.per_minute or 1))
                usage.scaled_at = usage.now
            minute = 60 * MICROSECONDS
            pause = minute - usage.now % minute if retry_after is None else round(retry_after * MICROSECONDS)
            usage.blocked_until = max(usage.blocked_until or 0, usage.now + pause)

    def exhaust(self, vendor: str, until: float | None) -> None:
        with self._lock:
            usage = self._usage(vendor)
            instant = rules.next_midnight(usage.now) if until is None else round(until * MICROSECONDS)
            usage.exhausted_until = max(usage.exhausted_until or 0, instant)

    def room(self, vendor: str, limits: Limits) -> Room:
        with self._lock:
            return rules.room(self._usage(vendor), limits)

    def _usage(self, vendor: str) -> Usage:
        now = rules.microseconds(self._time.now())
        usage = self._usages.setdefault(vendor, Usage(now))
        usage.now = now
        usage.minute, usage.second = usage.counted_minute(), usage.counted_second()
        usage.today = self._days[vendor][usage.tick // rules.TICKS_OF_DAY]
        return usage

    def _charge(self, usage: Usage, lease: Lease, calls: int) -> None:
        tick, *_ = lease.ticks
        _add(usage.minute, tick // rules.TICKS_OF_MINUTE_BUCKET, calls)
        if lease.by_second:
            _add(usage.second, tick, calls)
        self._days[lease.vendor][tick // rules.TICKS_OF_DAY] += calls


def _add(buckets: dict[int, int], bucket: int, calls: int) -> None:
    if calls > 0 or bucket in buckets:
        buckets[bucket] = buckets.get(bucket, 0) + calls
