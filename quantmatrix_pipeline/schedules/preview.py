"""An entry's next ticks: when they are, in its zone and in UTC, and which are known to be skipped, and why."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime
from itertools import islice

from quantmatrix_pipeline.schedules.cron import ticks
from quantmatrix_pipeline.schedules.decide import Exchange, in_maintenance, missed, no_new_session
from quantmatrix_pipeline.schedules.entry import Entry, Partition

TICKS = 10


@dataclass(frozen=True, slots=True)
class Coming:
    """One tick to come.

    Attributes
    ----------
    local, utc
        The instant in the entry's zone, and in UTC.
    sessions
        What a run would be for: `2026-11-27`, a range `first..last`, or None where the job has no sessions.
    skipped
        Why there will be no run; None: there will be one, unless `conditions` don't hold.
    """

    local: datetime
    utc: datetime
    sessions: str | None
    skipped: str | None


def preview(
    entry: Entry, exchange: Exchange, now: datetime, done: date | None = None, count: int = TICKS
) -> list[Coming]:
    """Return the next ticks after `now`, as if the runs before each had gone well and no source were late.

    Parameters
    ----------
    entry
        The entry, enabled or not.
    exchange
        Its sessions.
    now
        Since when.
    done
        The newest session that was done before; None: the one that had closed by now.
    count
        How many.
    """
    zone = entry.zone(exchange.zone)
    last = done or exchange.calendar.newest_closed(now, exchange.grace)
    coming = []
    for tick in islice(ticks(entry.cron, zone, now), count):
        skipped, sessions = in_maintenance(entry, tick), None
        if entry.partition is not Partition.NONE:
            newest = exchange.calendar.newest_closed(tick, exchange.grace)
            due = (
                [newest]
                if entry.partition is Partition.NEWEST
                else missed(exchange.calendar, last, newest, entry.catch_up)
            )
            if not due:
                skipped = skipped or no_new_session(last, tick, exchange.calendar)
            else:
                sessions = str(due[0]) if len(due) == 1 else f"{due[0]}..{due[-1]}"
            if skipped is None:
                last = newest
        coming.append(Coming(tick, tick.astimezone(UTC), sessions, skipped))
    return coming


def conditions(entry: Entry) -> list[str]:
    """Return what else must hold at a tick, which only then can be known."""
    told = []
    if not entry.enabled:
        told.append("disabled: it ticks only when somebody resumes it, or sets enabled: true")
    if entry.safety.single_flight:
        told.append(f"no run of {entry.job} is under way")
    else:
        told.append(f"fewer than {entry.safety.max_concurrency} of its runs are under way")
    for after in entry.after:
        patience = f", or is {after.patience_s} s late" if after.patience_s is not None else ""
        told.append(f"{after.schedule} has {after.state} for the session{patience}")
    told += [f"preflight {check.value} passes" for check in entry.preflight]
    return told
