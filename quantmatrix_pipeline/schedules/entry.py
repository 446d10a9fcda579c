"""What an entry may say, each field with its type, its default and its meaning; and the faults of one that is wrong."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, time
from enum import StrEnum
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, model_validator

from quantmatrix_pipeline.schedules import cron
from quantmatrix_pipeline.settings.alerts import alias

EXCHANGE = "exchange"
CATCH_UP = 60
NAME = r"^[A-Za-z][A-Za-z0-9_]{0,59}$"
RESERVED = ("dagster/", ".dagster/", "qm/")


class Partition(StrEnum):
    """Which sessions a tick is about."""

    NONE = "none"  # the job has none
    NEWEST = "newest"  # the newest one closed by then, again at each tick
    MISSED = "missed"  # those closed since the last one done, all in one run; none, no run


class Preflight(StrEnum):
    """What must hold before a run is launched."""

    DATABASE = "database"  # the warehouse answers
    VENDOR_BUDGET = "vendor_budget"  # some vendor of daily bars has calls left today
    DISK = "disk"  # there are some gigabytes left where the data lie
    LAST_SESSION_CLOSED = "last_session_closed"  # no session is open, nor closed too lately to be final


class Alert(StrEnum):
    """Of what the channels of an entry hear."""

    FAILURE = "failure"
    SLOW = "slow"
    SUCCESS = "success"


def _zone(value: str) -> str:
    if value != EXCHANGE:
        try:
            ZoneInfo(value)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError(
                f"{value!r} is no time zone; write one such as America/New_York, or {EXCHANGE!r}"
            ) from None
    return value


def _time(value: object) -> object:
    # Unquoted, YAML reads 22:30 as the number 1350, in base 60.
    if isinstance(value, str) and re.fullmatch(r"([01]\d|2[0-3]):[0-5]\d", value):
        return time.fromisoformat(value)
    if isinstance(value, time):
        return value
    raise ValueError("a time of day is written in quotation marks, such as '22:30'")


def _not_reserved(value: Mapping[str, str]) -> Mapping[str, str]:
    if taken := [name for name in value if name.startswith(RESERVED)]:
        raise ValueError(f"{', '.join(taken)}: set by the entry's other fields or by Dagster itself")
    return value


def _no_route(value: str) -> str:
    if value in ("audit", "export", "import", "preview"):
        raise ValueError(f"{value!r} is what the API calls something else")
    return value


Cron = Annotated[str, AfterValidator(cron.checked)]
Zone = Annotated[str, AfterValidator(_zone)]
TimeOfDay = Annotated[time, BeforeValidator(_time), PlainSerializer(lambda t: f"{t:%H:%M}", return_type=str)]
Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
_DAYS: tuple[Day, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
ChannelAlias = Annotated[str, AfterValidator(alias)]
EntryName = Annotated[str, Field(pattern=NAME), AfterValidator(_no_route)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class After(_Part):
    """Another entry that comes first: no run before that one's has ended for the same session."""

    schedule: EntryName
    """the entry that comes first"""
    state: Literal["succeeded", "ended"] = "succeeded"
    """how its run must have ended: well, or anyhow"""
    patience_s: int | None = Field(None, ge=0)
    """so long after the session's close (plus grace) it is waited for, then no more; null: for ever"""


class Maintenance(_Part):
    """When nothing is launched: each week from `start` to `end` on `days`, or once from `begin` to `until`.

    In the entry's time zone; the ends are exclusive. An `end` at or before `start` is on the day after.
    """

    days: tuple[Day, ...] = _DAYS
    """on which days it starts"""
    start: TimeOfDay | None = None
    """when, such as '22:30'"""
    end: TimeOfDay | None = None
    """until when"""
    begin: datetime | None = None
    """the local time of one that comes once"""
    until: datetime | None = None
    """its end"""
    reason: str = Field("", max_length=200)
    """what for; said in the tick"""

    @model_validator(mode="after")
    def _one_of_both(self) -> Maintenance:
        weekly = self.start is not None and self.end is not None and self.begin is self.until is None
        once = self.begin is not None and self.until is not None and self.start is self.end is None
        if not (weekly or once):
            raise ValueError("a window has either start and end (each week), or begin and until (once)")
        if self.begin is not None and self.until is not None:
            if self.begin.tzinfo is not None or self.until.tzinfo is not None:
                raise ValueError("begin and until are local times, without an offset")
            if self.until <= self.begin:
                raise ValueError("until lies at or before begin")
        return self

    def holds(self, local: datetime) -> bool:
        """Tell whether a local time, naive, lies within."""
        if self.begin is not None and self.until is not None:
            return self.begin <= local < self.until
        assert self.start is not None
        assert self.end is not None
        today = _DAYS[local.weekday()] in self.days
        if self.start < self.end:
            return today and self.start <= local.time() < self.end
        yesterday = _DAYS[local.weekday() - 1] in self.days
        return (today and local.time() >= self.start) or (yesterday and local.time() < self.end)


class Safety(_Part):
    """What keeps runs from each other's way and from going on for ever."""

    single_flight: bool = True
    """no run while another of the same job is under way, whoever launched it"""
    max_concurrency: int = Field(1, ge=1, le=50)
    """so many runs of this entry under way at most; counts where single_flight is false"""
    slow_after_s: int | None = Field(None, ge=1)
    """a run that takes longer is told to the channels, and goes on"""
    timeout_s: int | None = Field(None, ge=1)
    """a run that takes longer is ended, within the minute"""
    retries: int = Field(0, ge=0, le=10)
    """so often a failed run is launched again"""
    backoff_s: int = Field(60, ge=0)
    """how long after its end, doubled each time"""

    @model_validator(mode="after")
    def _slow_before_ended(self) -> Safety:
        if self.slow_after_s and self.timeout_s and self.slow_after_s >= self.timeout_s:
            raise ValueError(f"slow_after_s {self.slow_after_s} is never told: the run is ended at {self.timeout_s} s")
        return self

    @model_validator(mode="after")
    def _limit_that_counts(self) -> Safety:
        if self.single_flight and self.max_concurrency > 1:
            raise ValueError(f"max_concurrency {self.max_concurrency} counts only with single_flight: false")
        return self


class Hooks(_Part):
    """Who hears of its runs."""

    channels: tuple[ChannelAlias, ...] = ()
    """aliases of channels, such as slack; none: where failures go anyhow"""
    pushgateway: bool = True
    """whether its durations are pushed, where a Pushgateway is set"""
    alert_on: tuple[Alert, ...] = (Alert.FAILURE, Alert.SLOW)
    """what the channels hear of"""

    @model_validator(mode="after")
    def _hear_of_something(self) -> Hooks:
        if self.channels and not self.alert_on:
            raise ValueError(f"{', '.join(self.channels)} would hear of nothing: alert_on is empty")
        return self


class Changed(_Part):
    """Who changed it last."""

    by: str = Field(max_length=100)
    at: datetime


class Entry(_Part):
    """One schedule."""

    job: EntryName
    """what it launches"""
    description: str = Field("", max_length=500)
    """what for"""
    cron: Cron
    """when, in five fields"""
    timezone: Zone = EXCHANGE
    """in which zone; `exchange`: that of QM_CALENDAR"""
    enabled: bool = True
    """whether it ticks, unless somebody paused or resumed it"""
    partition: Partition = Partition.NONE
    """which sessions a run is about: none, newest, missed"""
    catch_up: int = Field(CATCH_UP, ge=1, le=1000)
    """of missed sessions at most so many, the newest, in one run"""
    config: dict[str, Any] = Field(default_factory=dict)
    """the run's configuration, as in the launchpad"""
    tags: Annotated[dict[str, str], AfterValidator(_not_reserved)] = Field(default_factory=dict)
    """further tags of its runs"""
    pool: str | None = Field(None, pattern=NAME)
    """runs of the same pool go one after another"""
    priority: int = Field(0, ge=-100, le=100)
    """what waits in the queue with a higher one goes first"""
    after: tuple[After, ...] = ()
    """which entries come first"""
    maintenance: tuple[Maintenance, ...] = ()
    """when nothing is launched"""
    preflight: tuple[Preflight, ...] = ()
    """what must hold before a run is launched"""
    safety: Safety = Field(default_factory=Safety)
    """single flight, limits, retries"""
    hooks: Hooks = Field(default_factory=Hooks)
    """who hears of its runs"""
    changed: Changed | None = None
    """who changed it when; written by the API and `qm schedules import`"""

    @model_validator(mode="after")
    def _catch_up_counts(self) -> Entry:
        if self.catch_up != CATCH_UP and self.partition is not Partition.MISSED:
            raise ValueError(f"catch_up {self.catch_up} counts only where partition is missed")
        return self

    def zone(self, exchange: ZoneInfo) -> ZoneInfo:
        """Return its time zone; `exchange` is the exchange's."""
        return exchange if self.timezone == EXCHANGE else ZoneInfo(self.timezone)

    def run_tags(self, name: str) -> dict[str, str]:
        """Return what its runs bear; `name` is the entry's."""
        told = {
            "dagster/max_runtime": self.safety.timeout_s,
            "qm/timeout_s": self.safety.timeout_s,
            "qm/slow_after_s": self.safety.slow_after_s,
            "qm/pool": self.pool,
            "qm/channels": ",".join(self.hooks.channels) or None,
            "qm/retries": self.safety.retries or None,
            "qm/backoff_s": self.safety.backoff_s if self.safety.retries else None,
        }
        return {
            **self.tags,
            "qm/schedule": name,
            "qm/alert_on": ",".join(self.hooks.alert_on) or "nothing",
            "qm/pushgateway": str(self.hooks.pushgateway).lower(),
            "dagster/priority": str(self.priority),
            **{tag: str(value) for tag, value in told.items() if value is not None},
        }


class Catalogue(_Part):
    """All schedules by name."""

    version: Literal[1]
    schedules: dict[EntryName, Entry]
