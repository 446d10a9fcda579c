"""`/health`: is the database there, and does anything run unattended."""

from __future__ import annotations

from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, Response

from quantmatrix_pipeline import clock
from quantmatrix_pipeline.api.door import Door
from quantmatrix_pipeline.api.models.operations import Health
from quantmatrix_pipeline.api.parameters import OpenDoor
from quantmatrix_pipeline.errors import QuantMatrixError, WarehouseUnavailable
from quantmatrix_pipeline.warehouse import coverage

router = APIRouter(tags=["operations"])

SIGN_OF_LIFE = timedelta(minutes=5)


@router.get(
    "/health",
    responses={HTTPStatus.SERVICE_UNAVAILABLE: {"model": Health, "description": "The database is away."}},
)
def health(door: OpenDoor, response: Response) -> Health:
    """Say whether the platform is alive: 200 also when degraded, 503 when the database is away."""
    now = clock.now()
    response.headers["Cache-Control"] = "no-store"
    try:
        ages = {name: (now - beat_at).total_seconds() for name, (beat_at, _) in _heartbeats(door).items()}
    except QuantMatrixError:
        response.status_code = HTTPStatus.SERVICE_UNAVAILABLE
        return Health(status="unavailable", timestamp=now, scheduler_running=False, database="away", heartbeats={})
    running = any(age < SIGN_OF_LIFE.total_seconds() for age in ages.values())
    return Health(
        status="ok" if running else "degraded",
        timestamp=now,
        scheduler_running=running,
        database="ok",
        heartbeats=ages,
    )


def _heartbeats(door: Door) -> dict[str, tuple[datetime, dict[str, Any]]]:
    warehouse = door.warehouse()
    try:
        return coverage.heartbeats(warehouse)
    except WarehouseUnavailable:
        door.lost(warehouse)
        raise
