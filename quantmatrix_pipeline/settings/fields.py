"""The settings themselves: each variable with its type, its default and what it means."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, AliasChoices, Field, SecretStr, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource

from quantmatrix_pipeline.settings.alerts import AlertFields
from quantmatrix_pipeline.settings.values import AdminKeys, BaseUrl, admin_keys
from quantmatrix_pipeline.settings.vendors import VendorFields, vendor_names

NAMED_POLICIES = ("paid", "free")


class Source(StrEnum):
    """Where bars come from."""

    AUTO = "auto"
    FILES = "files"
    VENDORS = "vendors"
    YFINANCE = "yfinance"
    SAMPLE = "sample"


class LogLevel(StrEnum):
    DEBUG = "DEBUG"
    INFO = "INFO"
    WARNING = "WARNING"
    ERROR = "ERROR"


def is_set(value: str | None) -> bool:
    """Say whether a variable counts as set: a blank one doesn't."""
    return value is not None and bool(value.strip())


def _listed(value: str) -> str:
    return ",".join(vendor_names(value))


def _general(value: str) -> str:
    name = value.strip().lower()
    return name if name in NAMED_POLICIES else _listed(value)


def _policy(variable: str, of: str) -> Any:
    return Field(
        None,
        validation_alias=AliasChoices(variable, f"QM_{variable}"),
        description=f"vendors of {of}, best first, separated by commas",
    )


def _backfill(tier: str, default: int) -> Any:
    variable = f"BACKFILL_MAX_CONCURRENCY_{tier}"
    return Field(
        default,
        ge=0,
        le=1000,
        validation_alias=AliasChoices(variable, f"QM_{variable}"),
        description=f"backfill jobs of tier {tier} under way at once",
    )


def _retain(days: int, what: str) -> Any:
    return Field(days, ge=0, le=36_500, description=f"how many days {what} are kept; 0: for ever")


Vendors = Annotated[str, AfterValidator(_listed)]
POLICY_FIELDS = (
    "policy_eod",
    "policy_eod_bulk",
    "policy_bars_1m",
    "policy_bars_5m",
    "policy_quotes_l1",
    "policy_options_chain",
    "policy_constituents",
    "policy_crypto",
)


class Settings(AlertFields, VendorFields):
    """All settings; build it with `load()`, which turns a wrong value into one clear line."""

    data_dir: Path = Field(Path(".qm"), description="embedded database, Dagster home, logs")
    database_url: SecretStr | None = Field(
        None,
        validation_alias=AliasChoices("QM_DATABASE_URL", "DATABASE_URL"),
        description="an external PostgreSQL 15 or newer; unset: the embedded one under QM_DATA_DIR",
    )
    backup_url: SecretStr | None = Field(
        None, description="a folder, or an address that fsspec knows; unset: the folder backups in QM_DATA_DIR"
    )
    backup_keep: int = Field(12, ge=1, le=10_000, description="how many complete backups are kept, the newest")
    dagster_file: Path | None = Field(
        None,
        description="Dagster's instance, in place of the checkout's dagster.yaml; such as deploy/celery/dagster.yaml",
    )
    redis_url: SecretStr | None = Field(
        None,
        validation_alias=AliasChoices("QM_REDIS_URL", "RLC_REDIS_URL", "REDIS_URL"),
        description="a Redis for the shared keys; unset: everything works without",
    )
    source: Source = Field(Source.AUTO, description="auto, files, vendors, yfinance or sample")
    files_dir: Path | None = Field(None, description="the folder of the files source, which holds a source.toml")
    market_provider_policy: Annotated[str, AfterValidator(_general)] = Field(
        "free",
        validation_alias=AliasChoices("MARKET_PROVIDER_POLICY", "QM_MARKET_PROVIDER_POLICY"),
        description="who serves bars and quotes, best first: paid, free, or vendors separated by commas",
    )
    policy_eod: Vendors | None = _policy("POLICY_EOD", "daily bars")
    policy_eod_bulk: Vendors | None = _policy("POLICY_EOD_BULK", "the whole market by date")
    policy_bars_1m: Vendors | None = _policy("POLICY_BARS_1M", "1-minute bars")
    policy_bars_5m: Vendors | None = _policy("POLICY_BARS_5M", "5-minute bars")
    policy_quotes_l1: Vendors | None = _policy("POLICY_QUOTES_L1", "quotes")
    policy_options_chain: Vendors | None = _policy("POLICY_OPTIONS_CHAIN", "option chains")
    policy_constituents: Vendors | None = _policy("POLICY_CONSTITUENTS", "index members")
    policy_crypto: Vendors | None = _policy("POLICY_CRYPTO", "crypto bars and prices")
    allow_source_override: bool = Field(
        True,
        validation_alias=AliasChoices("ALLOW_SOURCE_OVERRIDE", "QM_ALLOW_SOURCE_OVERRIDE"),
        description="whether a request may name the vendor that it prefers",
    )
    api_host: str = Field(
        "127.0.0.1", validation_alias=AliasChoices("QM_API_HOST", "API_HOST"), description="the read API listens here"
    )
    api_port: int = Field(
        8000,
        ge=1,
        le=65535,
        validation_alias=AliasChoices("QM_API_PORT", "API_PORT"),
        description="the read API's port",
    )
    admin_api_keys: AdminKeys | None = Field(
        None, description="keys of those who may change things over HTTP, `key` or `name:key`, separated by commas"
    )
    ui_port: int = Field(3000, ge=1, le=65535, description="the Dagster UI of `qm up`")
    dagster_url: BaseUrl | None = Field(
        None, description="where Dagster's web server is; unset: http://127.0.0.1:QM_UI_PORT"
    )
    calendar: str = Field("XNYS", description="exchange calendar of the equity universe")
    close_grace_minutes: int = Field(
        30, ge=0, le=600, description="a session's bars are final this long after the close"
    )
    start_session: date = Field(date(2000, 1, 3), description="the first session that has a partition")
    benchmark: str | None = Field(
        None, description="always tracked; unset: SPY, or IBM on the sample, which has no fund"
    )
    history_sessions: int = Field(1260, ge=1, le=20_000, description="how many sessions deep a first fetch goes")
    recheck_sessions: int = Field(
        5, ge=0, le=250, description="how many stored sessions are asked for again with the missing ones"
    )
    price_tolerance: float = Field(
        1e-6, ge=0, le=0.01, description="up to this relative difference a price that comes again is the same"
    )
    volume_tolerance: float = Field(
        1e-4, ge=0, le=1, description="up to this relative difference a volume that comes again is the same"
    )
    fetch_concurrency: int = Field(16, ge=1, le=128, description="requests under way at once against one vendor")
    tier_maxs_t0: int = Field(
        500,
        ge=0,
        le=1_000_000,
        validation_alias=AliasChoices("TIER_MAXS__T0", "QM_TIER_MAXS__T0"),
        description="how many of the most traded tracked instruments are in tier T0",
    )
    tier_maxs_t1: int = Field(
        1500,
        ge=0,
        le=1_000_000,
        validation_alias=AliasChoices("TIER_MAXS__T1", "QM_TIER_MAXS__T1"),
        description="how many of those that follow are in tier T1; the others are in T2",
    )
    backfill_max_concurrency_t0: int = _backfill("T0", 32)
    backfill_max_concurrency_t1: int = _backfill("T1", 16)
    backfill_max_concurrency_t2: int = _backfill("T2", 8)
    backfill_dispatch_rate_per_sec: float = Field(
        20,
        gt=0,
        validation_alias=AliasChoices("BACKFILL_DISPATCH_RATE_PER_SEC", "QM_BACKFILL_DISPATCH_RATE_PER_SEC"),
        description="backfill jobs begun per second at most",
    )
    backfill_budget_share: float = Field(
        0.5, ge=0, le=1, description="share of a vendor's calls of a day that backfills may use; the rest is tonight's"
    )
    backfill_run_seconds: float = Field(1800, gt=0, description="how long one run of the backfill queue works")
    call_timeout_seconds: float = Field(15, gt=0, le=600, description="how long one call to a vendor may take")
    call_deadline_seconds: float = Field(60, gt=0, le=3600, description="how long a call may take with its retries")
    budget_wait_seconds: float = Field(
        300, ge=0, description="how long one fetch may wait in total for budgets per minute to renew"
    )
    answer_cache: bool = Field(
        True, description="whether vendors' answers are kept, to be served again while they hold"
    )
    profile_max_age_days: int = Field(7, ge=1, description="a company's profile is asked for anew after so many days")
    profile_calls: int = Field(200, ge=0, description="at most so many calls for profiles per refresh")
    validated_quality: float = Field(
        0.85, gt=0.8, le=1, multiple_of=0.01, description="the least score of a validated bar, in hundredths"
    )
    gap_percent: float = Field(
        10, ge=1, le=15, description="an open further than this off the close before, by no known split, is a gap"
    )
    extreme_move_percent: float = Field(500, ge=50, description="a close further off the one before costs 0.5")
    volume_spike: float = Field(10, ge=2, description="a volume of more medians than this costs 0.2")
    volume_drop: float = Field(0.1, gt=0, le=0.5, description="a volume of fewer medians than this costs 0.1")
    repair: bool = Field(True, description="whether bars with a fault that can be put right are repaired")
    repair_confidence: float = Field(
        0.9,
        ge=0.5,
        le=1,
        description="from which confidence on; what is less sure is only suggested (`qm repairs list`)",
    )
    reconcile_price_percent: float = Field(
        0.2, gt=0, le=50, description="up to which difference two vendors' prices of one bar agree"
    )
    reconcile_volume_percent: float = Field(20, gt=0, le=100, description="the same of volumes, by the larger of both")
    reconcile_sample: int = Field(
        25, ge=0, le=100_000, description="of so many bars a second vendor is asked each night; 0: none"
    )
    reconcile_flagged: int = Field(
        50, ge=0, le=100_000, description="of so many instruments a night it is asked about flagged bars; 0: none"
    )
    reconcile_budget_share: float = Field(
        0.25, gt=0, le=1, description="share of a vendor's calls left of the day that this may use"
    )
    retain_5m_days: int = _retain(90, "5-minute bars, a month at a time")
    retain_1m_days: int = _retain(365, "1-minute bars, a month at a time")
    retain_revisions_days: int = _retain(0, "superseded versions of bars")
    retain_logs_days: int = _retain(365, "runs, requests to vendors, ended backfill jobs, refusals that are settled")
    coverage_target: float = Field(0.90, gt=0, le=1, description="share of expected instruments that must be fresh")
    stage_flat_percent: float = Field(
        0.05, gt=0, le=10, description="weekly stage: up to this change in a week the 30-week average is flat"
    )
    stage_near_percent: float = Field(
        5, gt=0, lt=100, description="weekly stage: 2A, or 1 before any trend, up to this distance from the average"
    )
    stage_far_percent: float = Field(
        15, gt=0, lt=1000, description="weekly stage: 2B up to this distance above the average, 2C beyond"
    )
    lock_wait_seconds: float = Field(600, ge=0, description="how long a step waits for another run of the same step")
    stale_cooldown_minutes: int = Field(60, ge=1, description="pause before a sensor launches another backfill")
    stale_tries: int = Field(3, ge=1, description="backfills that a sensor launches for one session before it gives up")
    schedules_file: Path | None = Field(
        None,
        description="what runs when; unset: schedules.yaml in QM_DATA_DIR once changed, else the packaged one",
    )
    nightly_cron: str | None = Field(
        None, description="when the packaged nightly chain runs, in the exchange's time zone; unset: 30 17 * * 1-5"
    )
    user_agent: str = Field("quantmatrix-pipeline/0.1 (market data; self-hosted)", description="sent to Wikipedia")
    log_level: LogLevel = Field(
        LogLevel.INFO,
        validation_alias=AliasChoices("QM_LOG_LEVEL", "LOG_LEVEL"),
        description="DEBUG, INFO, WARNING or ERROR",
    )

    @property
    def tier_maxima(self) -> Mapping[str, int]:
        """How many instruments there may be in T0 and in T1."""
        return {"T0": self.tier_maxs_t0, "T1": self.tier_maxs_t1}

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Read the environment, and no file: `loading` hands over what a file sets and the environment doesn't."""
        assert isinstance(env_settings, EnvSettingsSource)
        env_settings.env_vars = {name: value for name, value in env_settings.env_vars.items() if is_set(value)}
        return init_settings, env_settings

    @field_validator("log_level", mode="before")
    @classmethod
    def _upper(cls, value: object) -> object:
        return value.upper() if isinstance(value, str) else value

    @field_validator("nightly_cron")
    @classmethod
    def _five_fields(cls, value: str | None) -> str | None:
        if value is not None and len(value.split()) != 5:
            raise ValueError("a cron schedule has five fields, such as '30 17 * * 1-5'")
        return value

    @field_validator("call_deadline_seconds")
    @classmethod
    def _holds_one_call(cls, value: float, info: ValidationInfo) -> float:
        one = info.data.get("call_timeout_seconds", 0)
        if value < one:
            raise ValueError(
                f"a deadline of {value:g} s is shorter than one call may take (QM_CALL_TIMEOUT_SECONDS, {one:g} s)"
            )
        return value

    @field_validator("stage_far_percent")
    @classmethod
    def _not_nearer(cls, value: float, info: ValidationInfo) -> float:
        near = info.data.get("stage_near_percent", 0)
        if value < near:
            raise ValueError(f"2B reaches to {value:g} % and begins at {near:g} % (QM_STAGE_NEAR_PERCENT)")
        return value

    @property
    def admin_keys(self) -> Mapping[str, str]:
        """The keys of those who may change things over HTTP, by their names; empty: nobody may."""
        return {} if self.admin_api_keys is None else admin_keys(self.admin_api_keys.get_secret_value())

    @property
    def dagster_address(self) -> str:
        """Where Dagster's web server is, without a slash at the end."""
        return self.dagster_url or f"http://127.0.0.1:{self.ui_port}"

    @property
    def dagster_home(self) -> Path:
        return self.data_dir.resolve() / "dagster"

    @property
    def policies(self) -> Mapping[str, str | None]:
        """The policies of single capabilities: variable such as `POLICY_EOD` -> vendors separated by commas, None where
        it is not set.
        """
        return {field.upper(): getattr(self, field) for field in POLICY_FIELDS}
