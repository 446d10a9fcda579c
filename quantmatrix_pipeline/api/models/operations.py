"""Bodies of `/health` and `/status`."""

from __future__ import annotations

from datetime import date, datetime
from typing import Literal

from pydantic import BaseModel, Field

from quantmatrix_pipeline.api.models.common import Share, example


class Component(BaseModel):
    """One thing that was looked at."""

    state: Literal["ok", "note", "bad"] = Field(description="note: worth knowing and nothing wrong")
    detail: str | None = Field(description="what was found and what to do; only for who sends an admin key")


class Health(BaseModel):
    """Whether the platform is alive."""

    model_config = example(
        status="degraded", timestamp="2021-12-31T22:40:05Z", scheduler_running=True, database="ok",
        vendors={"polygon": "open", "yfinance": "closed"},
        heartbeats={"watch_dagster": 41.5},
        components={
            "daemon": {"state": "ok", "detail": "8 threads alive"},
            "schedules": {"state": "bad", "detail": "nightly_chain should have ticked at 2021-12-31 22:30:00Z"},
        },
    )  # fmt: skip

    status: Literal["ok", "degraded", "unavailable"] = Field(
        description="degraded: the scheduler gives no sign of life, or a component is bad; unavailable: the database is"
        " away"
    )
    timestamp: datetime
    scheduler_running: bool = Field(
        description="whether anything that runs unattended gave a sign of life within 5 minutes"
    )
    database: Literal["ok", "away"]
    vendors: dict[str, Literal["closed", "half_open", "open"]] = Field(
        description="those that may be asked -> the worst state of a circuit of theirs; open: left alone for a while;"
        " none while the database is away"
    )
    heartbeats: dict[str, float] = Field(description="seconds since each last sign of life")
    components: dict[str, Component] = Field(
        description="clock, daemon, disk, environment, migrations, redis, schedules, sensors, settings, vendors, and"
        " what else there is to say"
    )


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


class Cursor(BaseModel):
    """How far the bars of a symbol reach with a vendor."""

    model_config = example(
        symbol="AAPL", interval="1d", source="polygon", asked_from="2016-12-27", first_bar="2016-12-27",
        contiguous_to="2021-12-31", updated_at="2021-12-31T22:00:05Z",
    )  # fmt: skip

    symbol: str
    interval: str
    source: str
    asked_from: date = Field(description="the vendor was asked from this session on")
    first_bar: date = Field(description="the session of the first bar that it had")
    contiguous_to: date | None = Field(
        description="the last session such that none is missing from the first bar on; null before the first scan"
    )
    updated_at: datetime
