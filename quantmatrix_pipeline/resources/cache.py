"""Redis as a copy for others to read: the keys that users of the replaced systems know. Never the truth."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping

import redis
from pydantic import SecretStr

log = logging.getLogger(__name__)

TRACKED_ALL = "tracked:all"
TRACKED_NEW = "tracked:new"
COVERAGE = "coverage:health:last"
DAY = 24 * 3600


def constituents_key(index: str) -> str:
    return f"index_constituents:{index}:meta"


class Cache:
    """Writes JSON values; does nothing where no Redis is configured, and only warns where one does not answer."""

    def __init__(self, url: SecretStr | None) -> None:
        self._client = (
            redis.Redis.from_url(url.get_secret_value(), socket_timeout=2, socket_connect_timeout=2) if url else None
        )

    @property
    def configured(self) -> bool:
        return self._client is not None

    def publish(self, values: Mapping[str, object], expire_seconds: int | None = None) -> bool:
        """Write each value as JSON under its key, all at once; say whether Redis took them.

        Called after the warehouse has committed: a reader of the copy never sees what the truth does not hold.
        """
        if self._client is None:
            return False
        try:
            with self._client.pipeline(transaction=True) as pipe:
                for key, value in values.items():
                    pipe.set(key, json.dumps(value, default=str), ex=expire_seconds)
                pipe.execute()
        except redis.RedisError as error:
            log.warning("Redis did not take %s: %s; the warehouse holds the truth", ", ".join(values), error)
            return False
        return True
