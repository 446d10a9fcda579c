"""The count of calls shared wider than one warehouse: installations that use the same keys count in the same Redis."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import ClassVar

import redis

from quantmatrix_pipeline.providers.routing import budget_ledger as rules
from quantmatrix_pipeline.providers.routing.budget_ledger import MICROSECONDS, Lease, Ledger, Room, Usage
from quantmatrix_pipeline.providers.routing.limits import Limits

log = logging.getLogger(__name__)

PREFIX = "provider_budget:"
AWAY_SECONDS = 30.0  # after a failure, Redis is not asked for so long: its time-outs would hold up every lease

_COMMON = f"""\
local now
if ARGV[1] ~= '' then
  now = tonumber(ARGV[1])
else
  local t = redis.call('TIME')
  now = t[1] * {MICROSECONDS} + t[2]
end
local tick = math.floor(now / {rules.TICK})
local name = function(kind, number) return kind .. ':' .. string.format('%.0f', number) end
"""

# KEYS: the vendor's hash, with the fields s:<tick>, m:<bucket> and d:<day>.
# ARGV: now in microseconds or '', limits per second, minute and day or '', least, most, what to take for the day's
# count where none is kept, or ''.
# Answers: granted (-1: the day's count is needed), tick, life in microseconds, microseconds until a retry, exhausted.
_LEASE = (
    _COMMON
    + f"""\
local per_second, per_minute, per_day = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local least, most = tonumber(ARGV[5]), tonumber(ARGV[6])
local minute = math.floor(tick / {rules.TICKS_OF_MINUTE_BUCKET})
local day = math.floor(tick / {rules.TICKS_OF_DAY})

local counted = {{ s = {{}}, m = {{}} }}
local last = {{ s = tick, m = minute }}
local span = {{ s = {rules.TICKS_OF_SECOND}, m = {rules.BUCKETS_OF_MINUTE} }}
local today
local stored = redis.call('HGETALL', KEYS[1])
for i = 1, #stored, 2 do
  local kind, number, used = string.sub(stored[i], 1, 1), tonumber(string.sub(stored[i], 3)), tonumber(stored[i + 1])
  if kind == 'd' then
    if number == day then today = used elseif number < day then redis.call('HDEL', KEYS[1], stored[i]) end
  elseif number <= last[kind] - span[kind] then
    redis.call('HDEL', KEYS[1], stored[i])
  elseif number < last[kind] + span[kind] and used > 0 then
    table.insert(counted[kind], {{ number, used }})
  end
end
if today == nil then
  if ARGV[7] == '' then return {{ -1, tick, 0, 0, 0 }} end
  today = tonumber(ARGV[7])
  redis.call('HSET', KEYS[1], name('d', day), today)
end

local room, wait = most, 0
local fit = function(kind, limit, length)
  local used = 0
  for _, bucket in ipairs(counted[kind]) do used = used + bucket[2] end
  room = math.min(room, limit - used)
  if used + least <= limit then return end
  table.sort(counted[kind], function(a, b) return a[1] < b[1] end)
  for _, bucket in ipairs(counted[kind]) do
    used = used - bucket[2]
    if used + least <= limit or used == 0 then
      wait = math.max(wait, (bucket[1] + span[kind]) * length - now)
      return
    end
  end
end
if per_day then
  room = math.min(room, per_day - today)
  if room < least then
    return {{ 0, tick, 0, (day + 1) * {rules.TICKS_OF_DAY * rules.TICK} - now, 1 }}
  end
end
if per_minute then fit('m', per_minute, {rules.TICKS_OF_MINUTE_BUCKET * rules.TICK}) end
if per_second then fit('s', per_second, {rules.TICK}) end
if room < least then return {{ 0, tick, 0, wait, 0 }} end

redis.call('HINCRBY', KEYS[1], name('m', minute), room)
redis.call('HINCRBY', KEYS[1], name('d', day), room)
local ends = (minute + 1) * {rules.TICKS_OF_MINUTE_BUCKET * rules.TICK}
if per_second then
  redis.call('HINCRBY', KEYS[1], name('s', tick), room)
  ends = (tick + 1) * {rules.TICK}
end
redis.call('EXPIRE', KEYS[1], 172800)
return {{ room, tick, ends - now, 0, 0 }}
"""
)

# KEYS as above. ARGV: tick, 1 if the tick itself is counted, calls.
_GIVE_BACK = f"""\
local tick, calls = tonumber(ARGV[1]), tonumber(ARGV[3])
local fields = {{
  'm:' .. string.format('%.0f', math.floor(tick / {rules.TICKS_OF_MINUTE_BUCKET})),
  'd:' .. string.format('%.0f', math.floor(tick / {rules.TICKS_OF_DAY})),
}}
if ARGV[2] == '1' then table.insert(fields, 's:' .. ARGV[1]) end
for _, field in ipairs(fields) do
  local used = tonumber(redis.call('HGET', KEYS[1], field))
  if used then redis.call('HSET', KEYS[1], field, math.max(0, used - calls)) end
end
"""


class RedisLedger:
    """Charges every call to the warehouse and to Redis; both must have room.

    So nothing rests on Redis alone. Where it is away, or was restarted without its memory, the warehouse's own limits
    hold to the call over all processes and restarts; only what other warehouses ask with the same keys is unknown, of
    the minute for 64 s, of the day beyond what the first to ask again brings along: its own count of the day. Pauses
    after a 429 and used-up allowances are each warehouse's own.

    Parameters
    ----------
    client
        With short time-outs: while Redis hangs, each of them holds up a lease, once in 30 s.
    own
        The warehouse's count, which is asked first.
    clock
        Seconds since 1970 in place of the server's clock, for simulations.
    """

    blocking: ClassVar[bool] = True

    def __init__(self, client: redis.Redis, own: Ledger, clock: Callable[[], float] | None = None) -> None:
        self._client = client
        self._own = own
        self._clock = clock
        self._lease = client.register_script(_LEASE)
        self._give_back = client.register_script(_GIVE_BACK)
        self._lock = threading.Lock()
        self._away_until: float | None = None  # monotonic

    def lease(self, vendor: str, limits: Limits, least: int, most: int) -> Lease:
        own = self._own.lease(vendor, limits, least, most)
        if own.granted == 0 or not self._reachable():
            return own
        try:
            shared = self._shared(vendor, limits, least, own.granted)
        except redis.RedisError as error:
            self._lost(error)
            return own
        self._found()
        if shared.granted < own.granted:
            self._own.give_back(own, own.granted - shared.granted)
        if shared.granted == 0:
            return shared
        return replace(
            own,
            granted=shared.granted,
            seconds=min(own.seconds, shared.seconds),
            ticks=own.ticks + shared.ticks,
        )

    def give_back(self, lease: Lease, calls: int) -> None:
        self._own.give_back(lease, calls)
        if len(lease.ticks) > 1 and self._reachable():
            try:
                self._give_back(keys=[PREFIX + lease.vendor], args=[lease.ticks[1], 1 if lease.by_second else 0, calls])
            except redis.RedisError as error:
                self._lost(error)

    def shrink(self, vendor: str, limits: Limits, retry_after: float | None) -> None:
        self._own.shrink(vendor, limits, retry_after)

    def exhaust(self, vendor: str, until: float | None) -> None:
        self._own.exhaust(vendor, until)

    def room(self, vendor: str, limits: Limits) -> Room:
        own = self._own.room(vendor, limits)
        if not self._reachable():
            return own
        try:
            shared = rules.room(self._usage(vendor), limits)
        except redis.RedisError as error:
            self._lost(error)
            return own
        self._found()
        return own.tighter(shared)

    def _shared(self, vendor: str, limits: Limits, least: int, most: int) -> Lease:
        args = [
            "" if self._clock is None else rules.microseconds(self._clock()),
            *("" if x is None else x for x in (limits.per_second, limits.per_minute, limits.per_day)),
            least,
            most,
        ]
        key = PREFIX + vendor
        answer = self._lease(keys=[key], args=[*args, ""])
        if int(answer[0]) < 0:
            # The warehouse's count holds this lease already.
            seed = max(0, self._own.room(vendor, limits).used_today - most)
            answer = self._lease(keys=[key], args=[*args, seed])
        granted, tick, life, retry, exhausted = (int(x) for x in answer)
        return Lease(
            vendor,
            granted,
            life / MICROSECONDS,
            retry / MICROSECONDS,
            bool(exhausted),
            (tick,),
            limits.per_second is not None,
        )

    def _usage(self, vendor: str) -> Usage:
        pipe = self._client.pipeline(transaction=True)
        pipe.time()
        pipe.hgetall(PREFIX + vendor)
        (seconds, microseconds), stored = pipe.execute()
        usage = Usage(seconds * MICROSECONDS + microseconds)
        if self._clock is not None:
            usage.now = rules.microseconds(self._clock())
        for name, used in stored.items():
            kind, number = (name.decode() if isinstance(name, bytes) else name).split(":")
            if kind == "d" and int(number) == usage.tick // rules.TICKS_OF_DAY:
                usage.today = int(used)
            elif kind != "d":
                (usage.minute if kind == "m" else usage.second)[int(number)] = int(used)
        return usage

    def _reachable(self) -> bool:
        return self._away_until is None or time.monotonic() >= self._away_until

    def _lost(self, error: redis.RedisError) -> None:
        with self._lock:
            if self._away_until is None:
                log.warning(
                    "Redis does not count calls (%s): the warehouse alone does, which knows nothing of other "
                    "installations with the same keys",
                    error,
                )
            self._away_until = time.monotonic() + AWAY_SECONDS

    def _found(self) -> None:
        with self._lock:
            if self._away_until is not None:
                log.info("Redis counts calls again")
            self._away_until = None
