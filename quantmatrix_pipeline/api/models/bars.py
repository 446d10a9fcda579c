"""Bodies of the routes that return bars."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Literal

from pydantic import BaseModel, Field

from quantmatrix_pipeline.api.models.common import KnownAt, Share, example
from quantmatrix_pipeline.bars.adjustment import Adjust
from quantmatrix_pipeline.bars.batch import Basis
from quantmatrix_pipeline.bars.dividends import Convention

Factor = Annotated[float, Field(gt=0, description="price here / price as stored")]
VolumeFactor = Annotated[float, Field(gt=0, description="volume here / volume as stored; dividends leave it alone")]


class Series(BaseModel):
    """Which series prices stand in; see docs/adjustment.md."""

    adjust: Adjust | None = Field(description="as asked; null: on the basis that each bar is stored in")
    convention: Convention | None = Field(description="how a total return measures dividends; else null")
    adjusted_to: date | None = Field(
        description="the session in whose shares and money prices are quoted; null as traded or stored"
    )


class HistoricalBar(BaseModel):
    """A daily bar, with what validation says of it."""

    model_config = example(
        time="2021-12-31", symbol="AAPL", open=178.09, high=179.23, low=177.26, close=177.57, volume=64062300.0,
        quality_score=1.0, validated=True, gap_detected=False, volume_anomaly=False, factor=1.0, volume_factor=1.0,
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
    factor: Factor
    volume_factor: VolumeFactor


class Historical(Series):
    """Daily bars of a symbol."""

    symbol: str
    start_date: date | None = Field(description="as asked; otherwise the first session returned")
    end_date: date | None = Field(description="as asked; otherwise the last session returned")
    known_at: KnownAt
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
    status: Literal["provisional", "final", "revised"] = Field(
        description="before the close and grace; as first proved; with other numbers than an earlier final version"
    )
    reason: str = Field(
        description="why this version came: first, corrected, rescored, closed (took a provisional one's place), ..."
    )
    factor: Factor
    volume_factor: VolumeFactor


class StoredBars(Series):
    """The best version of each stored bar."""

    symbol: str
    interval: Literal["1d"]
    known_at: KnownAt
    count: int
    data: list[StoredBar]


class Price(BaseModel):
    """A daily bar in the share unit that was asked for."""

    model_config = example(
        time="2020-08-28", open=126.0125, high=126.4425, low=124.5775, close=124.8075, volume=187151600.0, factor=0.25,
        volume_factor=4.0, basis="raw",
    )  # fmt: skip

    time: date = Field(description="the session")
    open: float
    high: float
    low: float
    close: float
    volume: float
    factor: Factor
    volume_factor: VolumeFactor
    basis: Basis = Field(description="what the price was adjusted for by its vendor already")


class Prices(Series):
    """A price series for charts: usable bars (score of 0.5 or more), the newest last."""

    symbol: str
    range: str
    interval: Literal["1d"]
    known_at: KnownAt
    count: int
    data: list[Price]
