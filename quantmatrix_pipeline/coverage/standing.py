"""How things stand at this moment: the newest report, and what has gone wrong since it was made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from quantmatrix_pipeline.bars.sessions import TradingCalendar
from quantmatrix_pipeline.job_names import RESTORE, WORK_QUEUE
from quantmatrix_pipeline.warehouse import backfill
from quantmatrix_pipeline.warehouse import coverage as tables
from quantmatrix_pipeline.warehouse.engine import Warehouse

# After a close, so long, the nightly chain is waited for; then it is late, and neither the report of how things stand
# nor a sensor that has something to fetch keeps silent for it. As shipped it begins 1.5 h after the close and is ended
# 2 h later at the latest.
CHAIN_DONE_BY = timedelta(hours=4)
QUEUE_WORKED_WITHIN = timedelta(hours=6)  # what could be taken for longer waits because nobody works the queue
END_BY_THEMSELVES = {"files", "sample"}  # sources that may simply hold no later session


@dataclass(frozen=True, slots=True)
class Standing:
    """The newest report, None before the first, with `reasons` and `job` as they are now."""

    report: Mapping[str, Any] | None
    computed_at: datetime | None
    status: str
    reasons: tuple[str, ...]
    job: str | None
    headline: str


def standing(warehouse: Warehouse, calendar: TradingCalendar, now: datetime) -> Standing:
    """Judge the newest report at `now`: is there one of each session that is due, and is the backfill queue worked."""
    newest = tables.newest(warehouse)
    if newest is None:
        reason = "no coverage report was made yet"
        return Standing(None, None, "unknown", (reason,), RESTORE, f"{reason} -> press {RESTORE}")
    report, computed_at = newest
    found = [*_missed(warehouse, calendar, report["session"], now)]
    found += [(reason, report["job"]) for reason in report["reasons"]]
    found += _unattended(warehouse, now)
    reasons, job = tuple(reason for reason, _ in found), found[0][1] if found else None
    headline = report["headline"]
    if found:
        headline = f"{report['session']} degraded: {'; '.join(reasons)} -> press {job}"
    return Standing(report, computed_at, "degraded" if found else "ok", reasons, job, headline)


def source_ends(warehouse: Warehouse) -> bool:
    """Tell whether the newest session's bars are of sources that may simply hold no later one: then none is missed."""
    vendors = tables.newest_vendors(warehouse)
    return bool(vendors) and vendors <= END_BY_THEMSELVES


def ingestion_lag(calendar: TradingCalendar, newest: date, now: datetime, grace: timedelta) -> timedelta:
    """Return for how long the first session after `newest`, the newest that has a bar, has been due at `now`.

    A session is due once it has closed, plus `grace`; where none is, the lag is zero. A weekend is no lag.
    """
    if calendar.newest_closed(now, grace) <= newest:
        return timedelta(0)
    return now - calendar.close(calendar.next(newest)) - grace


def _missed(warehouse: Warehouse, calendar: TradingCalendar, reported: str, now: datetime) -> list[tuple[str, str]]:
    due = calendar.newest_closed(now, CHAIN_DONE_BY)
    if reported >= due.isoformat() or source_ends(warehouse):
        return []
    return [(f"no report of {due}, which has closed", RESTORE)]


def _unattended(warehouse: Warehouse, now: datetime) -> list[tuple[str, str]]:
    jobs, since = backfill.waiting(warehouse, now)
    if since is None or now - since < QUEUE_WORKED_WITHIN:
        return []
    hours = (now - since) / timedelta(hours=1)
    return [(f"{jobs} backfill jobs wait, the longest for {hours:.0f} h", WORK_QUEUE)]
