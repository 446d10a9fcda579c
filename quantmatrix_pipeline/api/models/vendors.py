"""Bodies of `/stats/providers` and `/api/market-data/sources/status`."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, Field

from quantmatrix_pipeline.api.models.common import Share, example


class CircuitStatus(BaseModel):
    """A capability of a vendor that is not simply open for questions."""

    state: Literal["closed", "half_open", "open"]
    reason: str | None = Field(description="the kind of error that opened it")
    retry_at: datetime | None = Field(description="when it is tried again")
    not_in_plan_until: datetime | None = Field(description="until when the plan is taken to lack this capability")


class HealthParts(BaseModel):
    """What the health score is the sum of."""

    model_config = example(breaker=0.45, latency=0.243, errors=0.18, completeness=0.1)

    breaker: float = Field(ge=0, le=0.45)
    latency: float = Field(ge=0, le=0.25)
    errors: float = Field(ge=0, le=0.20)
    completeness: float = Field(ge=0, le=0.10)


class ProviderStats(BaseModel):
    """One vendor, as it was heard of last."""

    provider: str
    configured: bool = Field(description="whether it has the key that it needs, or needs none")
    missing_key: str | None = Field(description="the variable that would hold the key")
    capabilities: list[str]
    health_score: Share
    parts: HealthParts
    state: Literal["closed", "half_open", "open"] = Field(description="the worst of its circuits")
    circuits: dict[str, CircuitStatus] = Field(description="by capability, those that are not simply closed")
    latency: float | None = Field(description="p95 of the last 100 calls in ms; null before the first")
    error_ewma: Share
    completeness: Share = Field(
        description="bars received of those expected, times the share that another vendor confirmed"
    )
    calls: int = Field(ge=0, description="all calls ever")
    budget: str = Field(description="the limits in force, such as '8/min 800/day'")
    calls_left_now: int | None = Field(description="calls that could be made at this moment; null: no limit")
    calls_left_today: int | None = Field(description="calls left until midnight UTC; null: no limit")
    calls_today: int
    calls_last_minute: int
    last_heard: datetime | None


class Providers(BaseModel):
    """All vendors, and who may serve what."""

    overall_health: Literal["healthy", "degraded", "down", "none"] = Field(
        description="of the vendors that have their keys: all closed, some, none of them; none: nobody is configured"
    )
    policies: dict[str, list[str]] = Field(description="by capability, who may serve it, best first")
    settings_refused: str | None = Field(description="why the settings file is not in force as it stands now")
    providers: list[ProviderStats]


class SourceStatus(BaseModel):
    """One vendor for people."""

    name: str
    status: Literal["available", "recovering", "unavailable", "not configured"]
    reliability: Share = Field(description="share of calls without a fault of the vendor, the newest weighing most")
    limit_state: Literal["ok", "paused", "used up"] = Field(description="what its budget says just now")
    requests_per_minute: int = Field(description="calls of the last minute")
    limit_per_minute: int | None = Field(description="null: no limit")
    detail: str = Field(description="in words: what it is waiting for, which variable is missing")


class SourcesStatus(BaseModel):
    """Whether there is anybody to fetch from."""

    model_config = example(
        overall_health="healthy",
        sources=[
            {
                "name": "yfinance",
                "status": "available",
                "reliability": 0.998,
                "limit_state": "ok",
                "requests_per_minute": 12,
                "limit_per_minute": 120,
                "detail": "answers",
            }
        ],
    )

    overall_health: Literal["healthy", "degraded", "down", "none"]
    sources: list[SourceStatus]
