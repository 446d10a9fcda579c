"""Bodies of snapshots, their history and volatility; the columns are the catalogue's."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any, Literal

from pydantic import BaseModel, Field, create_model

from quantmatrix_pipeline.api.models.common import KnownAt, example
from quantmatrix_pipeline.indicators.catalogue import CATALOGUE, Column, Indicator


def column_field(indicator: Indicator, column: Column) -> Any:
    """Return the type and the description of a column as a model's field; null is a possible value."""
    types: dict[str, Any] = {"float": float, "bool": bool, "count": int, "label": Literal[column.labels or ("",)]}
    return types[column.kind] | None, Field(description=f"{indicator.unit}: {indicator.formula}")


_COLUMN_FIELDS: dict[str, Any] = {
    column.name: column_field(indicator, column) for indicator in CATALOGUE for column in indicator.columns
}
Indicators = create_model(
    "Indicators",
    __doc__="Every indicator of the catalogue; null means that the history is too short for it.",
    **_COLUMN_FIELDS,
)


_INPUTS = "64 bits in hexadecimal of the instrument's own bars behind it: equal hashes, equal bars; null in old rows"


class _SnapshotHead(BaseModel):
    symbol: str
    session: date = Field(description="the session of the bar it was computed for")
    as_of: datetime = Field(description="when it was computed from what was known")
    expiry_timestamp: datetime = Field(description="the next close plus grace")
    expired: bool = Field(description="whether that instant has passed: a newer row is due")
    close: float = Field(description="split-adjusted, in the session's shares")
    exchange: str | None = Field(
        description="of the company, as known now or by `as_of`: its common name, such as NYSE"
    )
    sector: str | None = Field(description="of the company, as known now: as its index says, else as a vendor does")
    industry: str | None = Field(description="of the company, as known now")
    market_cap_currency: str | None = Field(description="the currency of `market_cap`")
    market_cap: float | None = Field(description="as of the newest answer of a vendor")
    next_earnings: date | None = Field(description="null where none is known or the known one has passed")
    inputs_hash: str | None = Field(description=_INPUTS)


class _RecordHead(BaseModel):
    session: date
    revision: int = Field(ge=1, description="above 1 for a restatement")
    as_of: datetime = Field(description="when it was computed from what was known")
    close: float = Field(description="split-adjusted, in the session's shares")
    inputs_hash: str | None = Field(description=_INPUTS)


class Snapshot(_SnapshotHead, Indicators):
    """The latest indicators of one instrument."""


class Snapshots(BaseModel):
    """The snapshots that meet a screen."""

    known_at: KnownAt
    count: int
    data: list[Snapshot]


class Record(_RecordHead, Indicators):
    """The indicators of one session as recorded, in the newest revision."""


class SnapshotHistory(BaseModel):
    """Recorded sessions of one instrument."""

    symbol: str
    known_at: KnownAt
    count: int
    data: list[Record]


class TechnicalAnalysis(_SnapshotHead):
    """A snapshot with its indicators apart."""

    indicators: Indicators


class Volatility(BaseModel):
    """Average true range, and how high it is against the instrument's own past year."""

    model_config = example(
        symbol="AAPL", session="2021-12-31", expiry_timestamp="2022-01-03T21:30:00Z", expired=False, atr=4.11,
        atrp=2.31, percentile=77.4, observations=252, regime="HIGH",
    )  # fmt: skip

    symbol: str
    session: date
    expiry_timestamp: datetime
    expired: bool
    atr: float | None = Field(description="ATR over 14 bars, in the session's shares")
    atrp: float | None = Field(description="that as a percentage of the close")
    percentile: float | None = Field(
        ge=0, le=100, description="mean percentile rank of `atrp` among the newest `observations` values"
    )
    observations: int = Field(ge=0, le=252)
    regime: Literal["LOW", "MEDIUM", "HIGH", "EXTREME"] | None = Field(
        description="LOW up to the 25th percentile, MEDIUM to the 75th, HIGH to the 90th; null below 20 observations"
    )
