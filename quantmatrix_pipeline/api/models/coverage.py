"""Bodies of `/market-data/coverage`."""

from __future__ import annotations

from datetime import date, datetime
from typing import Literal

from pydantic import BaseModel, Field

Freshness = Literal["<=24h", "24-48h", ">48h", "none", "delisted"]


class IntervalCoverage(BaseModel):
    """How complete one interval is."""

    enabled: bool
    count: int = Field(ge=0, description="tracked symbols that have a bar")
    last: dict[str, date | None] = Field(description="tracked symbol -> session of its newest bar, now")
    freshness: dict[str, int] = Field(description="age in sessions -> expected instruments, as of the report")
    stale: dict[str, list[str]] = Field(description="age in sessions -> the first symbols of it, as of the report")


class CoverageMeta(BaseModel):
    """Where a coverage body comes from."""

    source: Literal["coverage_snapshots", "price_data", "none"] = Field(
        description="the report of a night, the stored bars themselves, or none: no report was made yet"
    )
    updated_at: datetime | None = Field(description="when the report was made, or the newest of the bars was learned")
    session: date | None = Field(description="as of which session ages are told")


class Coverage(BaseModel):
    """How fresh and complete the tracked set is."""

    symbols: int = Field(ge=0, description="instruments that are known")
    tracked_count: int = Field(ge=0)
    indices: dict[str, int] = Field(description="index -> its active members")
    daily: IntervalCoverage
    m5: IntervalCoverage
    by_index: dict[str, dict[str, int]] = Field(
        description="index -> age in sessions -> its active members, as of the report"
    )
    by_tier: dict[str, dict[str, int]] = Field(
        description="tier -> age in sessions -> expected instruments, as of the report"
    )
    status: Literal["ok", "degraded", "unknown"] = Field(
        description="now: the report's, and degraded as well once a later session has closed without a report"
    )
    reasons: list[str] = Field(description="why, the gravest first")
    job: str | None = Field(description="the job that mends the gravest; null where nothing is wrong")
    headline: str = Field(description="what an operator reads first: session, state, why, the job to press")
    meta: CoverageMeta


class SessionFill(BaseModel):
    """How full one session is, as of the last look at it."""

    session: date
    expected: int = Field(ge=0, description="tracked instruments whose bars had begun and that were not delisted")
    bars: int = Field(ge=0, description="those with a bar of the session")
    snapshots: int = Field(ge=0, description="those with a recorded row of the session")


class CoverageHistory(BaseModel):
    """Sessions, ascending."""

    count: int
    data: list[SessionFill]


class SymbolInterval(BaseModel):
    """What is stored of one symbol in one interval."""

    enabled: bool
    count: int = Field(ge=0)
    first: date | None
    last: date | None
    flagged: int = Field(ge=0, description="bars below the validated score")
    age_sessions: int | None = Field(
        description="sessions that closed, plus grace, after the last bar; null without one"
    )
    freshness: Freshness | None = Field(description="null where the interval is switched off")


class SymbolCoverage(BaseModel):
    """How fresh and complete one symbol is."""

    symbol: str
    tracked: bool
    reasons: list[str] = Field(description="why it is tracked")
    indices: list[str] = Field(description="indexes that it is an active member of")
    daily: SymbolInterval
    m5: SymbolInterval
    snapshot_session: date | None
    snapshot_expired: bool | None
    meta: CoverageMeta
