"""The job `backfill_history`: the history of a range of sessions, by default of the nights on which nothing ran."""

from collections.abc import Sequence
from datetime import date
from typing import Any

import numpy as np
from dagster import AssetMaterialization, Config, JobDefinition, OpExecutionContext, job, op
from pydantic import Field

from quantmatrix_pipeline import clock
from quantmatrix_pipeline.assets.configs import day
from quantmatrix_pipeline.automation.jobs.tags import LIMITS, ONE_AT_A_TIME
from quantmatrix_pipeline.bars.sessions import TradingCalendar
from quantmatrix_pipeline.coverage.fill import update_fill
from quantmatrix_pipeline.errors import ConfigurationError
from quantmatrix_pipeline.job_names import BACKFILL_HISTORY
from quantmatrix_pipeline.resources.platform import Platform
from quantmatrix_pipeline.snapshots.breadth import record_breadth
from quantmatrix_pipeline.snapshots.missed import missed_sessions
from quantmatrix_pipeline.snapshots.record import record_history

AT_ONCE = 252  # sessions per transaction, so that a long range shows how far it is and keeps what it has


class HistoryConfig(Config):
    """Which sessions are recorded."""

    first: str | None = Field(None, description="the first session (YYYY-MM-DD); empty: those that were missed")
    last: str | None = Field(None, description="the last session, inclusive; empty: the newest closed one")
    dry_run: bool = Field(False, description="Only say which sessions would be recorded, and end there.")


def build() -> list[JobDefinition]:
    """Return the job; what was recorded before gets a new revision only where its numbers differ."""

    @op
    def record_range(context: OpExecutionContext, config: HistoryConfig, platform: Platform) -> None:
        """Rows and breadth of the sessions, from stored bars alone; each of them shows as a partition of the assets."""
        days = _sessions(config, platform)
        told = f"{len(days)} sessions, {days[0]}..{days[-1]}" if days else "none: no session was missed"
        context.log.info(told)
        recorded = restated = 0
        for stretch in () if config.dry_run else _stretches(platform.calendar, days):
            recorded, restated = (
                a + b for a, b in zip((recorded, restated), _record(context, platform, stretch), strict=True)
            )
            context.log.info(f"recorded to {stretch[-1]}: {recorded:,} rows, {restated:,} restated")
        context.add_output_metadata({"sessions": told, "recorded": recorded, "restated": restated})

    @job(
        name=BACKFILL_HISTORY,
        tags=ONE_AT_A_TIME | LIMITS,
        description="Record the history of a range, by default of sessions that were missed.",
    )
    def backfill_history() -> None:
        record_range()

    return [backfill_history]


def _record(context: OpExecutionContext, platform: Platform, days: Sequence[date]) -> tuple[int, int]:
    how: dict[str, Any] = {
        "now": clock.now(),
        "method": platform.method,
        "lock_wait_seconds": platform.settings.lock_wait_seconds,
    }
    done = record_history(platform.warehouse, days[0], days[-1], **how).counts
    record_breadth(platform.warehouse, days[0], days[-1], **how)
    update_fill(platform.warehouse, platform.calendar, days[0], days[-1], clock.now())
    for asset in ("indicator_history", "market_breadth"):
        for session in days:
            context.log_event(AssetMaterialization(asset, partition=str(session)))
    return done.recorded, done.restated


def _sessions(config: HistoryConfig, platform: Platform) -> list[date]:
    first, last = day(config.first, "first"), day(config.last, "last")
    newest = platform.newest_session()
    if first is None:
        return missed_sessions(platform.warehouse, platform.calendar, last=last)
    days: list[date] = platform.calendar.sessions_in(first, min(last or newest, newest)).tolist()
    if not days:
        raise ConfigurationError(f"there is no closed session of {platform.calendar.name} from {first} to {last}")
    return days


def _stretches(calendar: TradingCalendar, days: Sequence[date]) -> list[list[date]]:
    """Return the sessions as stretches without a session between, each of at most `AT_ONCE`."""
    if not days:
        return []
    places = calendar.index_of(np.array(days, "datetime64[D]"))
    apart = np.flatnonzero(np.diff(places) > 1) + 1
    whole = [list(part) for part in np.split(np.array(days, object), apart)]
    return [part[at : at + AT_ONCE] for part in whole for at in range(0, len(part), AT_ONCE)]
