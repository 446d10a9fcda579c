"""Bodies of `/health` and `/status`."""

from __future__ import annotations

from datetime import date, datetime
from typing import Literal

from pydantic import BaseModel, Field

from quantmatrix_pipeline.api.models.common import Share, example


class Health(BaseModel):
    """Whether the platform is alive."""

    model_config = example(
        status="ok", timestamp="2021-12-31T22:00:05Z", scheduler_running=True, database="ok",
        heartbeats={"stale_coverage": 41.5},
    )  # fmt: skip

    status: Literal["ok", "degraded", "unavailable"] = Field(
        description="degraded: the scheduler gives no sign of life; unavailable: the database is away"
    )
    timestamp: datetime
    scheduler_running: bool = Field(
        description="whether anything that runs unattended gave a sign of life within 5 minutes"
    )
    database: Literal["ok", "away"]
    heartbeats: dict[str, float] = Field(description="seconds since each last sign of life")


class Status(BaseModel):
    """How much is stored, and how sound it is."""

    model_config = example(
        symbols=500, records=630_000, validation_rate=0.9991, gaps_flagged=212, latest_date="2021-12-31"
    )

    symbols: int = Field(ge=0, description="tracked symbols")
    records: int = Field(ge=0, description="stored bars, the best version of each")
    validation_rate: Share | None = Field(description="share of them that is validated; null where there are none")
    gaps_flagged: int = Field(ge=0, description="bars flagged for a gap that no known split explains")
    latest_date: date | None = Field(description="the newest session that has a bar")
