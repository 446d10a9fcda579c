"""`/stats/providers` and `/api/market-data/sources/status`: how the vendors are, without asking them."""

from __future__ import annotations

import asyncio
from typing import Literal

from fastapi import APIRouter, Request, Response

from quantmatrix_pipeline.api.models.vendors import (
    CircuitStatus,
    HealthParts,
    Providers,
    ProviderStats,
    SourcesStatus,
    SourceStatus,
)
from quantmatrix_pipeline.api.parameters import CurrentSettings, OpenWarehouse
from quantmatrix_pipeline.api.problems import documented
from quantmatrix_pipeline.api.representations import json_response
from quantmatrix_pipeline.providers.routing.assemble import build_router
from quantmatrix_pipeline.providers.routing.circuit import State
from quantmatrix_pipeline.providers.routing.overview import VendorView, overall, troubles

router = APIRouter(tags=["operations"])

Status = Literal["available", "recovering", "unavailable", "not configured"]

_WORDS: dict[State, Status] = {
    State.CLOSED: "available",
    State.HALF_OPEN: "recovering",
    State.OPEN: "unavailable",
}


@router.get("/stats/providers", response_model=Providers, responses=documented(304, 422, 503))
def providers(request: Request, in_force: CurrentSettings, warehouse: OpenWarehouse) -> Response:
    """Return each vendor's health and its parts, circuits, latency, errors and what is left of its budget."""
    routed = build_router(in_force.settings, warehouse)
    views = asyncio.run(routed.look())
    body = Providers(
        overall_health=overall(views),
        policies={capability: list(order) for capability, order in routed.policies.orders.items() if order},
        settings_refused=in_force.refused,
        providers=[_stats(v) for v in views],
    )
    return json_response(request, body.model_dump(mode="json"))


@router.get("/api/market-data/sources/status", response_model=SourcesStatus, responses=documented(304, 422, 503))
def sources(request: Request, in_force: CurrentSettings, warehouse: OpenWarehouse) -> Response:
    """Return for people whether the vendors are there, how reliable they were, and whether their limits are reached."""
    views = asyncio.run(build_router(in_force.settings, warehouse).look())
    body = SourcesStatus(overall_health=overall(views), sources=[_for_people(v) for v in views])
    return json_response(request, body.model_dump(mode="json"))


def _stats(v: VendorView) -> ProviderStats:
    return ProviderStats(
        provider=v.name,
        configured=v.missing_key is None,
        missing_key=v.missing_key,
        capabilities=list(v.capabilities),
        health_score=v.score.total,
        parts=HealthParts(
            breaker=v.score.breaker,
            latency=v.score.latency,
            errors=v.score.errors,
            completeness=v.score.completeness,
        ),
        state=v.state.value,
        circuits={
            capability: CircuitStatus(
                state=circuit.state.value,
                reason=circuit.reason,
                retry_at=circuit.retry_at,
                not_in_plan_until=circuit.not_in_plan_until,
            )
            for capability, circuit in v.circuits.items()
        },
        latency=v.health.p95_ms,
        error_ewma=v.health.error_ewma,
        completeness=v.health.completeness,
        calls=v.health.calls,
        budget=str(v.limits),
        calls_left_now=v.room.now,
        calls_left_today=v.room.today,
        calls_today=v.room.used_today,
        calls_last_minute=v.room.used_minute,
        last_heard=v.heard_at,
    )


def _for_people(v: VendorView) -> SourceStatus:
    paused = v.room.blocked_until is not None
    used_up = v.room.today == 0
    return SourceStatus(
        name=v.name,
        status="not configured" if v.missing_key is not None else _WORDS[v.state],
        reliability=1 - v.health.error_ewma,
        limit_state="used up" if used_up else "paused" if paused else "ok",
        requests_per_minute=v.room.used_minute,
        limit_per_minute=v.room.per_minute,
        detail=_detail(v),
    )


def _detail(v: VendorView) -> str:
    if v.missing_key is not None:
        return f"{v.missing_key} is not set"
    if v.circuits:
        return "; ".join(troubles(v))
    return "not asked yet" if v.heard_at is None else f"answers; last heard of {v.heard_at:%Y-%m-%d %H:%M:%SZ}"
