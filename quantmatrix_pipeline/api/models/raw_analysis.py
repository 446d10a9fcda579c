"""Bodies of `.../analysis`: what of a row does not fit in columns."""

from __future__ import annotations

from datetime import date
from typing import Literal

from pydantic import BaseModel, Field


class SessionBar(BaseModel):
    """The bar of the session, split-adjusted, in the session's shares."""

    open: float
    high: float
    low: float
    close: float
    volume: float


class OpenGap(BaseModel):
    """A zone that price jumped over and has not traded through since."""

    side: Literal["up", "down"]
    session: date = Field(description="of the bar behind the gap")
    low: float = Field(description="its lower edge, in the session's shares")
    high: float = Field(description="its upper edge")
    percent: float = Field(description="its width, as a percentage of the edge at which price stood before")


class Pivot(BaseModel):
    """A low or a high that a line goes through."""

    session: date
    price: float


class HeldLine(BaseModel):
    """A trend line that holds."""

    side: Literal["up", "down"] = Field(description="up: under rising lows; down: over falling highs")
    pivots: list[Pivot] = Field(min_length=2, max_length=2, description="the older and the newer")
    price: float = Field(description="the line's, at this session")
    slope: float = Field(description="price that the line gains with each bar")


class StageThresholds(BaseModel):
    """By which rules and thresholds, in percent, `stage_label` was told."""

    version: int
    flat_pct: float
    near_pct: float
    far_pct: float


class RawAnalysis(BaseModel):
    """What of an instrument's analysis at a session does not fit in columns."""

    symbol: str
    session: date
    bar: SessionBar
    bars: int = Field(ge=1, description="how many bars it follows from")
    first_session: date = Field(description="the first of them")
    gaps: list[OpenGap] = Field(description="open ones, oldest first: as many as gaps_unfilled_up and _down say")
    trend_lines: list[HeldLine] = Field(description="as many as trend_up_count and trend_down_count say")
    stage_rules: StageThresholds
