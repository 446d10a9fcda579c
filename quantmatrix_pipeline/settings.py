"""Typed settings from the environment: every variable of the system is declared, documented and checked here, once.

Values come from the process environment and, when `QM_ENV_FILE` names one, from that file (the environment wins). A
`.env` that merely lies around is never read. Names of the systems that this one replaces are accepted as aliases.
"""

from __future__ import annotations

import os
from datetime import date
from enum import StrEnum
from pathlib import Path

from pydantic import AliasChoices, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from quantmatrix_pipeline.errors import ConfigurationError

ENV_FILE = "QM_ENV_FILE"


class Source(StrEnum):
    """Where bars come from."""

    AUTO = "auto"
    FILES = "files"
    YFINANCE = "yfinance"
    SAMPLE = "sample"


class LogLevel(StrEnum):
    DEBUG = "DEBUG"
    INFO = "INFO"
    WARNING = "WARNING"
    ERROR = "ERROR"


class Settings(BaseSettings):
    """All settings; build it with `load()`, which turns a wrong value into one clear line."""

    model_config = SettingsConfigDict(env_prefix="QM_", extra="ignore", populate_by_name=True, frozen=True)

    data_dir: Path = Field(Path(".qm"), description="embedded database, Dagster home, logs")
    database_url: SecretStr | None = Field(
        None,
        validation_alias=AliasChoices("QM_DATABASE_URL", "DATABASE_URL"),
        description="an external PostgreSQL 15 or newer; unset: the embedded one under QM_DATA_DIR",
    )
    redis_url: SecretStr | None = Field(
        None,
        validation_alias=AliasChoices("QM_REDIS_URL", "RLC_REDIS_URL", "REDIS_URL"),
        description="a Redis for the shared keys; unset: everything works without",
    )
    source: Source = Field(Source.AUTO, description="auto, files, yfinance or sample")
    files_dir: Path | None = Field(None, description="the folder of the files source, which holds a source.toml")
    api_host: str = Field("127.0.0.1", validation_alias=AliasChoices("QM_API_HOST", "API_HOST"))
    api_port: int = Field(8000, ge=1, le=65535, validation_alias=AliasChoices("QM_API_PORT", "API_PORT"))
    ui_port: int = Field(3000, ge=1, le=65535, description="the Dagster UI of `qm up`")
    calendar: str = Field("XNYS", description="exchange calendar of the equity universe")
    close_grace_minutes: int = Field(
        30, ge=0, le=600, description="a session's bars are final this long after the close"
    )
    start_session: date = Field(date(2000, 1, 3), description="the first session that has a partition")
    benchmark: str | None = Field(
        None, description="always tracked; unset: SPY, or IBM on the sample, which has no fund"
    )
    history_sessions: int = Field(1260, ge=1, le=20_000, description="how many sessions deep a first fetch goes")
    fetch_concurrency: int = Field(8, ge=1, le=128, description="requests under way at once against one vendor")
    coverage_target: float = Field(0.90, gt=0, le=1, description="share of expected instruments that must be fresh")
    lock_wait_seconds: float = Field(600, ge=0, description="how long a step waits for another run of the same step")
    stale_cooldown_minutes: int = Field(60, ge=1, description="pause before the stale sensor launches again")
    nightly_cron: str = Field(
        "30 17 * * 1-5",
        description="the nightly chain, in the exchange's time zone",
    )
    discord_webhook: SecretStr | None = Field(
        None,
        validation_alias=AliasChoices("QM_DISCORD_WEBHOOK", "DISCORD_WEBHOOK_SYSTEM_STATUS"),
        description="where failures and failed checks are posted",
    )
    yahoo_base_url: str | None = Field(None, description="send Yahoo's calls through this address instead")
    wikipedia_base_url: str = Field("https://en.wikipedia.org", description="where index members are read")
    user_agent: str = Field("quantmatrix-pipeline/0.1 (market data; self-hosted)", description="sent to Wikipedia")
    log_level: LogLevel = Field(LogLevel.INFO, validation_alias=AliasChoices("QM_LOG_LEVEL", "LOG_LEVEL"))

    @field_validator("log_level", mode="before")
    @classmethod
    def _upper(cls, value: object) -> object:
        return value.upper() if isinstance(value, str) else value

    @field_validator("nightly_cron")
    @classmethod
    def _five_fields(cls, value: str) -> str:
        if len(value.split()) != 5:
            raise ValueError("a cron schedule has five fields, such as '30 17 * * 1-5'")
        return value

    @property
    def dagster_home(self) -> Path:
        return self.data_dir.resolve() / "dagster"


def _variable(field: str) -> str:
    alias = Settings.model_fields[field].validation_alias if field in Settings.model_fields else None
    if isinstance(alias, AliasChoices):
        names = [str(choice) for choice in alias.choices]
        return next((name for name in names if name in os.environ), names[0])
    return field if field.isupper() else f"QM_{field.upper()}"


def load() -> Settings:
    """Read the settings from the environment and from the file that `QM_ENV_FILE` names.

    Raises
    ------
    ConfigurationError
        Names each variable that is wrong, and what it takes; or says that the named file is not there.
    """
    env_file = os.environ.get(ENV_FILE)
    if env_file and not Path(env_file).is_file():
        raise ConfigurationError(f"{ENV_FILE}={env_file!r}: no such file; unset it or name an existing one")
    try:
        return Settings(_env_file=env_file or None)
    except ValidationError as error:
        faults = "; ".join(
            f"{_variable(str(e['loc'][0]))}: {e['msg'].removeprefix('Value error, ')}" for e in error.errors()
        )
        raise ConfigurationError(f"settings: {faults}") from None
