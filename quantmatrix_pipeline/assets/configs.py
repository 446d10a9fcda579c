"""What a person may set before a run, as the launchpad shows it; every default is a run that makes sense."""

from __future__ import annotations

from datetime import date

from dagster import Config
from pydantic import Field, field_validator

from quantmatrix_pipeline.universe.scope import Scope

NO_BARS = "Only say what would be fetched, and end there."


class FetchConfig(Config):
    """How a night's bars are fetched."""

    dry_run: bool = Field(False, description=NO_BARS)


class RecomputeConfig(Config):
    """Whose snapshots are computed again."""

    scope: Scope = Field(
        "universe",
        description="universe: all that is tracked; index: the members of one; portfolio, watch_list; symbols: those "
        "named below",
    )
    index: str | None = Field(None, description="of the scope index: SP500, NASDAQ100, DOW30 or R2000")
    symbols: list[str] = Field([], description="of the scope symbols, such as AAPL, BRK.B")
    since: str | None = Field(
        None,
        description="also record the history of the scope again from this session on (YYYY-MM-DD); only what differs "
        "is written",
    )

    @field_validator("since")
    @classmethod
    def _a_day(cls, value: str | None) -> str | None:
        return None if day(value, "since") is None else value


def day(value: str | None, field: str) -> date | None:
    """Return a field's date.

    Raises
    ------
    ValueError
        If it is none.
    """
    if not value:
        return None
    try:
        return date.fromisoformat(value)
    except ValueError:
        raise ValueError(f"{field}: {value!r} is no date; write it as 2021-12-31") from None
