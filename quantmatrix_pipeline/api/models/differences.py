"""Bodies of `/market-data/differences`."""

from __future__ import annotations

from datetime import date, datetime
from typing import Literal

from pydantic import BaseModel, Field

from quantmatrix_pipeline.api.models.common import example
from quantmatrix_pipeline.bars.reconcile.causes import Cause
from quantmatrix_pipeline.bars.reconcile.verdict import Verdict


class Difference(BaseModel):
    """One field of one bar in which two vendors differ beyond the tolerance."""

    model_config = example(
        session="2021-12-31", field="low", vendor="twelve_data", stored=177.26, second_vendor="yfinance",
        second=168.4, difference=-0.04998, tolerance=0.002, cause="bad_print", verdict="open",
        against="twelve_data yfinance", asked_because="sample", version=1, compared_at="2021-12-31T22:10:00Z",
    )  # fmt: skip

    session: date
    field: Literal["open", "high", "low", "close", "volume"]
    vendor: str = Field(description="who gave the stored bar")
    stored: float
    second_vendor: str
    second: float = Field(description="what the second vendor says, in the share unit of the stored bar")
    difference: float = Field(description="prices: second / stored - 1; volumes: by the larger of the two")
    tolerance: float
    cause: Cause
    verdict: Verdict = Field(description="who is believed; open: a person decides")
    against: str = Field(description="the vendors against which it counts, separated by spaces")
    asked_because: Literal["sample", "flagged", "third_opinion"]
    version: int = Field(ge=1, description="of the stored bar, as it was compared")
    compared_at: datetime


class Differences(BaseModel):
    """Where a second vendor contradicts what is stored of a symbol, by session."""

    symbol: str
    count: int = Field(ge=0)
    data: list[Difference]
