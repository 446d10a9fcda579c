"""Answers that may be served again for a while: in this process, or in Redis for all processes. Never the truth.

A key names vendor, endpoint, symbol, range and interval, never the vendor's key. Quotes keep for a minute, daily bars
until the next close. Without Redis the answers live as long as the process.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
import zlib
from collections import OrderedDict
from datetime import UTC, datetime
from typing import Any

import msgspec
import redis

from quantmatrix_pipeline.providers.transport.calls import Answer, Call

log = logging.getLogger(__name__)

MOST_BYTES = 256 * 1024 * 1024  # of bodies held in this process
LEFT_ALONE_SECONDS = 30.0  # a Redis that does not answer; finding that out takes seconds
_PREFIX = "qm:answer:"


class _Stored(msgspec.Struct):
    status: int
    headers: dict[str, str]
    content: bytes
    learned_at: float


class KeptAnswers:
    """Keeps bodies by what was asked.

    Parameters
    ----------
    client
        A Redis to share them through; None: this process only.
    """

    def __init__(self, client: redis.Redis | None = None) -> None:
        self._redis = client
        self._here: OrderedDict[str, tuple[float, Answer]] = OrderedDict()
        self._bytes = 0
        self._shared: set[str] = set()  # names that this process put into Redis
        self._left_alone_until = float("-inf")

    async def find(self, vendor: str, call: Call) -> Answer | None:
        """Return the kept answer to a call, None where there is none or it is too old."""
        name = _name(vendor, call)
        found = self._here.get(name)
        if found is not None:
            ends, answer = found
            if time.monotonic() < ends:
                self._here.move_to_end(name)
                return answer
            self._drop(name)
        if self._redis is None or time.monotonic() < self._left_alone_until:
            return None
        try:
            data: Any = await asyncio.to_thread(self._redis.get, _PREFIX + name)
            stored = msgspec.msgpack.decode(zlib.decompress(data), type=_Stored) if data else None
        except (zlib.error, msgspec.MsgspecError) as error:
            log.warning("Redis holds an answer that can't be read (%s); the vendor is asked", type(error).__name__)
            return None
        except redis.RedisError as error:
            self._leave_alone(error)
            return None
        if stored is None:
            return None
        return Answer(stored.status, stored.headers, stored.content, datetime.fromtimestamp(stored.learned_at, UTC))

    async def put(self, vendor: str, call: Call, answer: Answer) -> None:
        """Keep an answer for `call.keep_seconds`."""
        name = _name(vendor, call)
        if self._redis is None:
            self._drop(name)
            self._here[name] = (time.monotonic() + call.keep_seconds, answer)
            self._bytes += len(answer.content)
            while self._bytes > MOST_BYTES:
                self._drop(next(iter(self._here)))
            return
        if time.monotonic() < self._left_alone_until:
            return
        stored = _Stored(answer.status, dict(answer.headers), answer.content, answer.learned_at.timestamp())
        try:
            await asyncio.to_thread(self._share, self._redis, name, stored, call.keep_seconds)
            self._shared.add(name)
        except redis.RedisError as error:
            self._leave_alone(error)

    async def forget(self, vendor: str, capability: str, symbol: str) -> None:
        """Drop what this process kept of a symbol, alone or among others: it turned out to end too early, and the
        vendor may have more in a minute.
        """
        for name in [name for name in self._here if _concerns(name, vendor, capability, symbol)]:
            self._drop(name)
        shared = [name for name in self._shared if _concerns(name, vendor, capability, symbol)]
        if self._redis is None or not shared:
            return
        self._shared.difference_update(shared)
        try:
            await asyncio.to_thread(self._redis.delete, *(_PREFIX + name for name in shared))
        except redis.RedisError as error:
            self._leave_alone(error)

    def _leave_alone(self, error: redis.RedisError) -> None:
        self._left_alone_until = time.monotonic() + LEFT_ALONE_SECONDS
        seconds = LEFT_ALONE_SECONDS
        log.warning("Redis keeps no answers for %.0f s (%s); the vendors are asked", seconds, type(error).__name__)

    def _share(self, client: redis.Redis, name: str, stored: _Stored, seconds: float) -> None:
        packed = zlib.compress(msgspec.msgpack.encode(stored), 1)
        client.set(_PREFIX + name, packed, px=max(1, int(seconds * 1000)))

    def _drop(self, name: str) -> None:
        if (old := self._here.pop(name, None)) is not None:
            self._bytes -= len(old[1].content)


def _name(vendor: str, call: Call) -> str:
    asked = "&".join(f"{name}={call.params[name]}" for name in sorted(call.params))
    digest = hashlib.sha256(f"{call.path}?{asked}".encode()).hexdigest()[:24]
    return f"{vendor}:{call.capability}:{call.symbol or '-'}:{digest}"


def _concerns(name: str, vendor: str, capability: str, symbol: str) -> bool:
    """Say whether a kept answer is of a symbol: alone, among several that its call names, or of one that names none."""
    of_vendor, of_capability, symbols, _ = name.rsplit(":", 3)
    return (of_vendor, of_capability) == (vendor, capability) and (symbols == "-" or symbol in symbols.split(", "))
