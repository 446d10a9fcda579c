"""The bodies of the read API. Prices are in the instrument's currency, volumes in shares, dates are sessions."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, create_model

from quantmatrix_pipeline.bars.batch import Basis
from quantmatrix_pipeline.indicators.catalogue import CATALOGUE, Column, Indicator

BASES = tuple(basis.value for basis in Basis)
Share = Annotated[float, Field(ge=0, le=1)]
Freshness = Literal["<=24h", "24-48h", ">48h", "none", "delisted"]


def _example(**body: Any) -> ConfigDict:
    return ConfigDict(json_schema_extra={"examples": [body]})


# --- health and totals ------------------------------------------------------------------------------------------------


class Health(BaseModel):
    """Whether the platform is alive."""

    model_config = _example(
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

    model_config = _example(
        symbols=500, records=630_000, validation_rate=0.9991, gaps_flagged=212, latest_date="2021-12-31"
    )

    symbols: int = Field(ge=0, description="tracked symbols")
    records: int = Field(ge=0, description="stored bars, the best version of each")
    validation_rate: Share | None = Field(description="share of them that is validated; null where there are none")
    gaps_flagged: int = Field(ge=0, description="bars flagged for a gap that no known split explains")
    latest_date: date | None = Field(description="the newest session that has a bar")


class Symbol(BaseModel):
    """One instrument under its current symbol."""

    symbol: str
    name: str | None
    kind: Literal["stock", "fund", "index", "crypto"]
    currency: str
    calendar: str = Field(description="the exchange calendar its sessions follow")
    sector: str | None
    industry: str | None
    listed_on: date | None
    delisted_on: date | None
    tracked: bool
    first_tracked: date | None
    first_session: date | None = Field(description="of its stored daily bars")
    last_session: date | None = Field(description="of its stored daily bars")


class Symbols(BaseModel):
    """All instruments, by symbol."""

    count: int
    data: list[Symbol]


# --- bars -------------------------------------------------------------------------------------------------------------


class HistoricalBar(BaseModel):
    """A daily bar as stored, with what validation says of it."""

    model_config = _example(
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

    model_config = _example(
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


# --- indicators -------------------------------------------------------------------------------------------------------


def _column_field(indicator: Indicator, column: Column) -> Any:
    types: dict[str, Any] = {"float": float, "bool": bool, "label": Literal[column.labels or ("",)]}
    return types[column.kind] | None, Field(description=f"{indicator.unit}: {indicator.formula}")


_COLUMN_FIELDS: dict[str, Any] = {
    column.name: _column_field(indicator, column) for indicator in CATALOGUE for column in indicator.columns
}
Indicators = create_model(
    "Indicators",
    __doc__="Every indicator of the catalogue; null means that the history is too short for it.",
    **_COLUMN_FIELDS,
)


class _SnapshotHead(BaseModel):
    symbol: str
    session: date = Field(description="the session of the bar it was computed for")
    as_of: datetime = Field(description="when it was computed from what was known")
    expiry_timestamp: datetime = Field(description="the next close plus grace")
    expired: bool = Field(description="whether that instant has passed: a newer row is due")
    close: float = Field(description="split-adjusted, in the session's shares")


class _RecordHead(BaseModel):
    session: date
    revision: int = Field(ge=1, description="above 1 for a restatement")
    as_of: datetime = Field(description="when it was computed from what was known")
    close: float = Field(description="split-adjusted, in the session's shares")


class Snapshot(_SnapshotHead, Indicators):
    """The latest indicators of one instrument."""


class Snapshots(BaseModel):
    """The snapshots that meet a screen."""

    count: int
    data: list[Snapshot]


class Record(_RecordHead, Indicators):
    """The indicators of one session as recorded, in the newest revision."""


class SnapshotHistory(BaseModel):
    """Recorded sessions of one instrument."""

    symbol: str
    count: int
    data: list[Record]


class TechnicalAnalysis(_SnapshotHead):
    """A snapshot with its indicators apart."""

    indicators: Indicators


class Volatility(BaseModel):
    """Average true range, and how high it is against the instrument's own past year."""

    model_config = _example(
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
        ge=0, le=100, description="mean percentile rank of `atrp` among the newest `observations` recorded values"
    )
    observations: int = Field(ge=0, le=252)
    regime: Literal["LOW", "MEDIUM", "HIGH", "EXTREME"] | None = Field(
        description="LOW up to the 25th percentile, MEDIUM to the 75th, HIGH to the 90th; null below 20 observations"
    )


# --- coverage ---------------------------------------------------------------------------------------------------------


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
    status: Literal["ok", "degraded", "unknown"]
    headline: str = Field(description="what an operator reads first: session, state, why, the job to press")
    meta: CoverageMeta


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
