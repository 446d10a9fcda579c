"""`/health`: is the database there, does anything run unattended, and is everything else well."""

from __future__ import annotations

import threading
import time
from functools import cache
from http import HTTPStatus

from fastapi import APIRouter, Response

from quantmatrix_pipeline import clock
from quantmatrix_pipeline.api.admin import MaybeAdmin
from quantmatrix_pipeline.api.models.operations import Component, Health
from quantmatrix_pipeline.api.parameters import CurrentSettings, InForce, OpenDoor
from quantmatrix_pipeline.errors import QuantMatrixError
from quantmatrix_pipeline.health import machine, stored
from quantmatrix_pipeline.health.finding import Finding, Verdict, bad, ok
from quantmatrix_pipeline.health.unattended import is_running, unattended
from quantmatrix_pipeline.settings import VENDORS, Settings
from quantmatrix_pipeline.warehouse import migrations, vital_signs

router = APIRouter(tags=["operations"])

# A Redis that does not answer costs two seconds: not of each look of whoever looks every second.
KEPT_SECONDS = 15.0


@router.get(
    "/health",
    responses={HTTPStatus.SERVICE_UNAVAILABLE: {"model": Health, "description": "The database is away."}},
)
def health(door: OpenDoor, in_force: CurrentSettings, admin: MaybeAdmin, response: Response) -> Health:
    """Say whether the platform is alive: 200 also when degraded, 503 when the database is away."""
    now = clock.now()
    response.headers["Cache-Control"] = "no-store"
    findings = _of_the_machine(in_force)
    try:
        with door.opened() as warehouse:
            signs = vital_signs.read(warehouse)
    except QuantMatrixError as error:
        response.status_code = HTTPStatus.SERVICE_UNAVAILABLE
        return Health(
            status="unavailable",
            timestamp=now,
            scheduler_running=False,
            database="away",
            vendors={},
            heartbeats={},
            components=_shown([*findings, bad("database", str(error))], admin),
        )
    wall = clock.wall()
    findings += [
        ok("database", "answers"),
        stored.migrations(signs.migrations, _released()),
        stored.clock(signs, wall),
        *unattended(signs.beats, now, wall),
        *stored.members(signs),
        stored.vendors(signs),
    ]
    running = is_running(signs.beats, now)
    well = running and not any(finding.state is Verdict.BAD for finding in findings)
    return Health(
        status="ok" if well else "degraded",
        timestamp=now,
        scheduler_running=running,
        database="ok",
        vendors={name: signs.circuits.get(name, "closed") for name in VENDORS if in_force.settings.vendor(name).usable},
        heartbeats={name: (now - beat_at).total_seconds() for name, (beat_at, _) in signs.beats.items()},
        components=_shown(findings, admin),
    )


def _shown(findings: list[Finding], admin: str | None) -> dict[str, Component]:
    """Return the findings as components; paths, addresses and names of variables only to who holds a key."""
    return {
        finding.what: Component(state=finding.state.value, detail=None if admin is None else finding.detail)
        for finding in sorted(findings, key=lambda finding: finding.what)
    }


def _of_the_machine(in_force: InForce) -> list[Finding]:
    settings = bad("settings", in_force.refused) if in_force.refused else ok("settings", "in force")
    return [settings, machine.environment(), machine.disk(in_force.settings), _redis.of(in_force.settings)]


@cache
def _released() -> dict[str, str]:
    return migrations.released()


class _KeptRedis:
    """Redis's last sign of life for some seconds; who comes while it is asked waits for that answer."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: tuple[float, str, Finding] | None = None

    def of(self, settings: Settings) -> Finding:
        url = "" if settings.redis_url is None else settings.redis_url.get_secret_value()
        with self._lock:
            if self._kept is None or self._kept[1] != url or time.monotonic() - self._kept[0] > KEPT_SECONDS:
                self._kept = (time.monotonic(), url, machine.redis_answers(settings))
            return self._kept[2]


_redis = _KeptRedis()
