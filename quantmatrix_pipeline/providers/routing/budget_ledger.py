"""Who counts the calls: what a ledger promises, what it hands out, and the rules by which it does.

A call is charged to the bucket of time in which it was leased and must be made before that bucket ends. Buckets are
0.1 s long for the limit per second and 2 s for the one per minute; a day is one counter per UTC day. A lease is granted
if it fits beside everything charged to the bucket of now and to those before it that a window of 1 s or 60 s can touch.
So whatever window one looks at, the last charge to it saw all the others. One more bucket is counted, because a call is
counted here when it is admitted and by the vendor a little later. The price: a limit that is always used up is reached
every 1.2 s and every 64 s.

The rules stand here for ledgers in memory and for looking ahead, and once more in `lease_calls` of the migrations,
where one statement does it for all processes; a test plays the same calls to both.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar, Protocol

from quantmatrix_pipeline.providers.routing.limits import Limits

MICROSECONDS = 1_000_000
TICK = MICROSECONDS // 10  # the bucket of the limit per second
TICKS_OF_SECOND = 12  # 11 can touch a second
TICKS_OF_MINUTE_BUCKET = 20
BUCKETS_OF_MINUTE = 32  # 31 can touch a minute
TICKS_OF_DAY = 864_000
RECOVERY = 600.0  # seconds in which a shrunk limit doubles


@dataclass(frozen=True, slots=True)
class Lease:
    """An answer to the wish for calls.

    `granted` calls may be made within `seconds` of the moment in which they were asked for; what is not spent is given
    back. If none were granted, `retry_in` says in how many seconds there may be some, and `exhausted` whether that is
    because the day's allowance, not the minute's, is used up. `ticks` says where they were charged, for each ledger
    that counts them.
    """

    vendor: str
    granted: int
    seconds: float
    retry_in: float
    exhausted: bool
    ticks: tuple[int, ...]
    by_second: bool


@dataclass(frozen=True, slots=True)
class Room:
    """What is left of a vendor's budget.

    Parameters
    ----------
    now
        Calls that could be leased at this moment; None: as many as one likes.
    today
        Calls left until the next UTC midnight, or 0 while the vendor's allowance is used up; None: no limit.
    next_in
        Seconds until there may be more than `now`; 0 if nothing was counted lately.
    blocked_until, exhausted_until
        Seconds since 1970 before which nothing is leased, because the vendor asked for a pause or said that its
        allowance is used up; None: no such thing.
    per_minute
        The limit per minute that holds now, smaller than the set one for a while after a 429; None: no limit.
    used_minute, used_today
        Calls counted in the last minute (up to 64 s) and since UTC midnight.
    """

    now: int | None
    today: int | None
    next_in: float
    blocked_until: float | None
    exhausted_until: float | None
    per_minute: int | None
    used_minute: int
    used_today: int

    def tighter(self, other: Room) -> Room:
        """Return what is left where both ledgers have to agree; pauses are those of this one."""
        return replace(
            self,
            now=_smaller(self.now, other.now),
            today=_smaller(self.today, other.today),
            next_in=max(self.next_in, other.next_in),
            used_minute=max(self.used_minute, other.used_minute),
            used_today=max(self.used_today, other.used_today),
        )


class Ledger(Protocol):
    """The shared count of calls, the same for all who use it. Safe from several threads at once."""

    # Whether it waits for another process, and so must not be asked on an event loop.
    blocking: ClassVar[bool]

    def lease(self, vendor: str, limits: Limits, least: int, most: int) -> Lease:
        """Charge at least `least` and at most `most` calls if they fit, else none."""
        ...

    def give_back(self, lease: Lease, calls: int) -> None:
        """Take back `calls` of a lease that were not made."""
        ...

    def shrink(self, vendor: str, limits: Limits, retry_after: float | None) -> None:
        """Note a 429: no lease for `retry_after` seconds (None: until the next minute begins), and half the limit per
        minute from now on, at least 1, which doubles every 10 minutes without another. One that comes during the pause
        answers a call made before it and halves nothing.
        """
        ...

    def exhaust(self, vendor: str, until: float | None) -> None:
        """Note that the vendor's allowance is used up: no lease before `until` (seconds since 1970; None: the next UTC
        midnight).
        """
        ...

    def room(self, vendor: str, limits: Limits) -> Room:
        """Return what is left, without taking it."""
        ...


@dataclass(slots=True)
class Usage:
    """What a ledger holds of a vendor; instants in microseconds since 1970.

    `minute` and `second` count calls per bucket, `today` those of the UTC day of `now`.
    """

    now: int
    minute: dict[int, int] = field(default_factory=dict)
    second: dict[int, int] = field(default_factory=dict)
    today: int = 0
    scale: float = 1.0
    scaled_at: int | None = None
    blocked_until: int | None = None
    exhausted_until: int | None = None

    @property
    def tick(self) -> int:
        return self.now // TICK

    def scale_now(self) -> float:
        """Return the share of the limit per minute that holds now."""
        if self.scaled_at is None:
            return 1.0
        doublings = min(60, max(0, (self.now - self.scaled_at) // int(RECOVERY * MICROSECONDS)))
        return min(1.0, self.scale * 2.0**doublings)

    def per_minute(self, limits: Limits) -> int | None:
        """Return the limit per minute that holds now."""
        return None if limits.per_minute is None else max(1, math.floor(limits.per_minute * self.scale_now()))

    def counted_minute(self) -> dict[int, int]:
        return _near(self.minute, self.tick // TICKS_OF_MINUTE_BUCKET, BUCKETS_OF_MINUTE)

    def counted_second(self) -> dict[int, int]:
        return _near(self.second, self.tick, TICKS_OF_SECOND)


def grant(usage: Usage, vendor: str, limits: Limits, least: int, most: int) -> Lease:
    """Say what a lease gets; charges nothing."""
    tick = usage.tick

    def refused(retry_in: int, *, exhausted: bool = False) -> Lease:
        return Lease(vendor, 0, 0.0, retry_in / MICROSECONDS, exhausted, (tick,), limits.per_second is not None)

    left = None if limits.per_day is None else limits.per_day - usage.today
    used_up_until = max(
        usage.exhausted_until or 0, next_midnight(usage.now) if left is not None and left < least else 0
    )
    if used_up_until > usage.now:
        return refused(used_up_until - usage.now, exhausted=True)
    if usage.blocked_until is not None and usage.blocked_until > usage.now:
        return refused(usage.blocked_until - usage.now)

    rooms = [most] if left is None else [most, left]
    waits = []
    per_minute = usage.per_minute(limits)
    if per_minute is not None:
        counted = usage.counted_minute()
        # One call heavier than the shrunk limit goes alone.
        rooms.append(per_minute - sum(counted.values()) if counted else max(per_minute, least))
        length, span = TICKS_OF_MINUTE_BUCKET * TICK, BUCKETS_OF_MINUTE
        waits.append(_wait(counted, per_minute - least, length, span, usage.now))
    if limits.per_second is not None:
        counted = usage.counted_second()
        rooms.append(limits.per_second - sum(counted.values()))
        waits.append(_wait(counted, limits.per_second - least, TICK, TICKS_OF_SECOND, usage.now))
    if min(rooms) < least:
        return refused(max(waits))
    length = TICK if limits.per_second is not None else TICKS_OF_MINUTE_BUCKET * TICK
    seconds = (length - usage.now % length) / MICROSECONDS
    return Lease(vendor, min(rooms), seconds, 0.0, False, (tick,), limits.per_second is not None)


def room(usage: Usage, limits: Limits) -> Room:
    """Say what is left, and when there is more."""
    blocked = _later(usage.blocked_until, usage.now)
    exhausted = _later(usage.exhausted_until, usage.now)
    minute, second = usage.counted_minute(), usage.counted_second()
    per_minute = usage.per_minute(limits)
    today = None if limits.per_day is None else max(0, limits.per_day - usage.today)
    if exhausted is not None:
        today = 0
    now = _smaller(today, None if per_minute is None else max(0, per_minute - sum(minute.values())))
    now = _smaller(now, None if limits.per_second is None else max(0, limits.per_second - sum(second.values())))
    if blocked is not None:
        now = 0

    bucket = TICKS_OF_MINUTE_BUCKET * TICK
    renewals = []
    if minute and per_minute is not None:
        renewals.append((min(minute) + BUCKETS_OF_MINUTE) * bucket)
    elif second and limits.per_second is not None:
        renewals.append((min(second) + TICKS_OF_SECOND) * TICK)
    if today == 0:
        renewals = [next_midnight(usage.now) if exhausted is None else exhausted]
    if blocked is not None:
        renewals.append(blocked)
    return Room(
        now=now,
        today=today,
        next_in=(max(renewals) - usage.now) / MICROSECONDS if renewals else 0.0,
        blocked_until=None if blocked is None else blocked / MICROSECONDS,
        exhausted_until=None if exhausted is None else exhausted / MICROSECONDS,
        per_minute=per_minute,
        used_minute=sum(minute.values()),
        used_today=usage.today,
    )


def microseconds(seconds: float) -> int:
    """Return whole microseconds, rounded down: an instant before midnight stays before it."""
    return math.floor(seconds * MICROSECONDS)


def next_midnight(now: int) -> int:
    """Return the next UTC midnight after `now`."""
    day = TICKS_OF_DAY * TICK
    return (now // day + 1) * day


def _near(buckets: Mapping[int, int], last: int, span: int) -> dict[int, int]:
    """Return the buckets less than `span` away from `last`, those after it as well, should the clock have been set
    back.
    """
    return {bucket: used for bucket, used in buckets.items() if abs(bucket - last) < span and used > 0}


def _wait(counted: Mapping[int, int], fits: int, length: int, span: int, now: int) -> int:
    """Return the microseconds until so many buckets are no longer counted that at most `fits` calls are, or none."""
    left = sum(counted.values())
    for bucket in sorted(counted):
        if left <= fits:
            break
        left -= counted[bucket]
        if left <= max(0, fits):
            return (bucket + span) * length - now
    return 0


def _later(instant: int | None, now: int) -> int | None:
    return instant if instant is not None and instant > now else None


def _smaller(one: int | None, other: int | None) -> int | None:
    return other if one is None else one if other is None else min(one, other)
