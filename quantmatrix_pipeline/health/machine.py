"""What the machine and the environment say: disk, Redis, names in the environment that nobody reads."""

from __future__ import annotations

import shutil

import redis

from quantmatrix_pipeline.health.finding import Finding, bad, note, ok
from quantmatrix_pipeline.settings import Settings, misspelt

LEAST_DISK_GB = 2
REDIS_SECONDS = 2


def disk(settings: Settings) -> Finding:
    """Look at the disk that holds QM_DATA_DIR, or the parent that there is."""
    folder = settings.data_dir.resolve()
    there = next(p for p in (folder, *folder.parents) if p.exists())
    free = shutil.disk_usage(there).free / 1e9
    detail = f"{free:.1f} GB free under {folder}"
    return ok("disk", detail) if free >= LEAST_DISK_GB else bad("disk", f"{detail}, {LEAST_DISK_GB:g} are needed")


def redis_answers(settings: Settings) -> Finding:
    """Ask Redis for a sign of life, where one is configured."""
    if settings.redis_url is None:
        return note("redis", "QM_REDIS_URL is not set; everything works without")
    url = settings.redis_url.get_secret_value()
    try:
        with redis.Redis.from_url(url, socket_timeout=REDIS_SECONDS, socket_connect_timeout=REDIS_SECONDS) as client:
            client.ping()
    except (redis.RedisError, ValueError) as error:
        return bad("redis", str(error))
    return ok("redis", "answers")


def environment() -> Finding:
    """Look for variables that look like settings and are none: they are without effect."""
    found = misspelt()
    if found:
        return bad("environment", f"without effect: {'; '.join(found)}")
    return ok("environment", "no setting is misspelt")
