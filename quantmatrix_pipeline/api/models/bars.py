"""Bodies of the routes that return bars."""

from __future__ import annotations

from datetime import date, datetime
from typing import Literal

from pydantic import BaseModel, Field

from quantmatrix_pipeline.api.models.common import Share, example
from quantmatrix_pipeline.bars.batch import Basis


class HistoricalBar(BaseModel):
    """A daily bar as stored, with what validation says of it."""

    model_config = example(
        time="2021-12-31", symbol="AAPL", open=178.09, high=179.23, low=177.26, close=177.57, volume=64062300.0,
        quality_score=1.0, validated=True, gap_detected=False, volume_anomaly=False,
    )  # fmt: skip

    time: date = Field(description="the session")
    symbol: str
    open: float
    high: float
    low: float
    close: float
    volume: float
    quality_score: Share
    validated: bool = Field(description="score of 0.85 or more")
    gap_detected: bool = Field(
        description="opened over 10 % away from the close before, and no known split explains it"
    )
    volume_anomaly: bool


class Historical(BaseModel):
    """Stored daily bars of a symbol."""

    symbol: str
    start_date: date | None = Field(description="as asked; otherwise the first session returned")
    end_date: date | None = Field(description="as asked; otherwise the last session returned")
    count: int
    data: list[HistoricalBar]


class StoredBar(BaseModel):
    """A daily bar with everything that is stored beside it."""

    session: date
    open: float
    high: float
    low: float
    close: float
    volume: float
    quality_score: Share
    validated: bool
    gap_detected: bool
    volume_anomaly: bool
    vendor: str
    basis: Basis = Field(description="what the stored price is adjusted for")
    basis_date: date | None = Field(description="up to when it is adjusted; null for raw prices")
    version: int = Field(ge=1, description="1 for what was learned first; each correction adds one")
    as_of: datetime = Field(description="when this version was learned")


class StoredBars(BaseModel):
    """The best version of each stored bar."""

    symbol: str
    interval: Literal["1d"]
    count: int
    data: list[StoredBar]


class Price(BaseModel):
    """A daily bar in the share unit that was asked for."""

    model_config = example(
        time="2020-08-28", open=126.0125, high=126.4425, low=124.5775, close=124.8075, volume=187151600.0, factor=0.25,
        basis="raw",
    )  # fmt: skip

    time: date = Field(description="the session")
    open: float
    high: float
    low: float
    close: float
    volume: float
    factor: float = Field(gt=0, description="price here / price as stored; volume is divided by it")
    basis: Basis = Field(description="what the price was adjusted for by its vendor already")


class Prices(BaseModel):
    """A price series for charts: usable bars (score of 0.5 or more), the newest last."""

    symbol: str
    range: str
    interval: Literal["1d"]
    adjust: Literal["split", "raw"]
    adjusted_to: date | None = Field(description="the session in whose shares prices are quoted; null for raw")
    count: int
    data: list[Price]
