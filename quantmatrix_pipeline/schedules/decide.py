"""What is to be done at a tick: which sessions a run is for, or why there is none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Protocol
from zoneinfo import ZoneInfo

from quantmatrix_pipeline.bars.sessions import TradingCalendar
from quantmatrix_pipeline.errors import NotASession
from quantmatrix_pipeline.schedules.cron import ticks
from quantmatrix_pipeline.schedules.entry import After, Catalogue, Entry, Partition, Preflight

PREFLIGHT, BUSY = "preflight", "already running"


class Facts(Protocol):
    """What is known of runs, sessions and the machine when a tick is evaluated."""

    def newest_session(self, at: datetime) -> date:
        """Return the newest session that had closed (plus grace) by then, and that the source can serve."""

    def newest_done(self, job: str) -> date | None:
        """Return the newest session that a run of a job did, or is about to do; None: no run did any."""

    def under_way(self, *, job: str | None = None, schedule: str | None = None) -> int:
        """Count the runs under way of a job, or of a schedule."""

    def has_ended(self, job: str, since: datetime, session: date | None, *, well: bool) -> bool:
        """Tell whether a run of a job has ended since then, of a session where one is named; `well`: with success."""

    def missing(self, check: Preflight, at: datetime) -> str | None:
        """Return what a preflight check misses; None: it passes."""


@dataclass(frozen=True, slots=True)
class Launch:
    """A run: for no session, for one, or for those from `first` to `last`, both inclusive."""

    first: date | None = None
    last: date | None = None


@dataclass(frozen=True, slots=True)
class Skip:
    """No run, and why."""

    reason: str


@dataclass(frozen=True, slots=True)
class Exchange:
    """The sessions, and how long after its close one is final."""

    calendar: TradingCalendar
    grace: timedelta

    @property
    def zone(self) -> ZoneInfo:
        return self.calendar.timezone


def decide(
    catalogue: Catalogue, name: str, tick: datetime, now: datetime, exchange: Exchange, facts: Facts
) -> Launch | Skip:
    """Return what to do at a tick of an entry.

    Parameters
    ----------
    catalogue, name
        The entry among the others.
    tick
        The instant that its cron names.
    now
        When it is evaluated: later than `tick` by seconds, or by days where nothing ran.
    exchange
        Its sessions.
    facts
        What else is known.
    """
    entry = catalogue.schedules[name]
    now = max(now, tick)
    zone = entry.zone(exchange.zone)
    following = next(ticks(entry.cron, zone, tick))
    if following <= now:
        return Skip(f"missed while nothing ran; the tick of {following:%Y-%m-%d %H:%M} or a later one makes up for it")
    if reason := in_maintenance(entry, now.astimezone(zone)):
        return Skip(reason)
    wanted = _sessions(entry, tick, now, exchange, facts)
    if isinstance(wanted, Skip):
        return wanted
    if reason := busy(entry, name, facts):
        return Skip(reason)
    for after in entry.after:
        if reason := _waits(after, catalogue, wanted.last or facts.newest_session(now), now, exchange, facts):
            return Skip(reason)
    for check in entry.preflight:
        if missing := facts.missing(check, now):
            return Skip(f"{PREFLIGHT} {check.value}: {missing}")
    return wanted


def may_pass(reason: str) -> bool:
    """Tell whether a tick was skipped for what may be over before the next one: a preflight check, a run under way."""
    return reason.startswith((f"{PREFLIGHT} ", f"{BUSY}: "))


def in_maintenance(entry: Entry, local: datetime) -> str | None:
    """Say that an aware local time lies in a maintenance window; None: in none."""
    for window in entry.maintenance:
        if window.holds(local.replace(tzinfo=None)):
            why = f" ({window.reason})" if window.reason else ""
            until = f"{window.until:%Y-%m-%d %H:%M}" if window.until else f"{window.end:%H:%M}"
            return f"maintenance window until {until} {local:%Z}{why}"
    return None


def no_new_session(last: date, tick: datetime, calendar: TradingCalendar) -> str:
    """Say why a tick has no session to do: which was the last, and whether the day is a holiday."""
    try:
        calendar.require_session(tick.date())
        day = f"{tick:%A %Y-%m-%d}"
    except NotASession as error:
        day = str(error).partition(";")[0]
    return f"no session closed since {last}, whose run was started before ({day})"


def missed(calendar: TradingCalendar, done: date | None, newest: date, most: int) -> Sequence[date]:
    """Return the sessions after the last one done up to the newest, the last `most` of them; before any, the newest."""
    if done is None:
        return [newest]
    return [day for day in calendar.sessions_in(done, newest).tolist() if day > done][-most:]


def _sessions(entry: Entry, tick: datetime, now: datetime, exchange: Exchange, facts: Facts) -> Launch | Skip:
    if entry.partition is Partition.NONE:
        return Launch()
    newest = facts.newest_session(now)
    if entry.partition is Partition.NEWEST:
        return Launch(newest, newest)
    done = facts.newest_done(entry.job)
    due = missed(exchange.calendar, done, newest, entry.catch_up)
    if not due:
        assert done is not None
        return Skip(no_new_session(done, tick, exchange.calendar))
    return Launch(due[0], due[-1])


def busy(entry: Entry, name: str, facts: Facts) -> str | None:
    """Say why no further run of an entry may go beside those under way; None: it may."""
    if entry.safety.single_flight:
        if facts.under_way(job=entry.job):
            return f"{BUSY}: a run of {entry.job} is under way"
    elif (count := facts.under_way(schedule=name)) >= entry.safety.max_concurrency:
        return f"{BUSY}: {count} runs of {name} are under way, {entry.safety.max_concurrency} may be"
    return None


def _waits(
    after: After, catalogue: Catalogue, session: date, now: datetime, exchange: Exchange, facts: Facts
) -> str | None:
    other = catalogue.schedules[after.schedule]
    closed = exchange.calendar.close(session)
    if after.patience_s is not None and now - closed > timedelta(seconds=after.patience_s):
        return None
    of = None if other.partition is Partition.NONE else session
    if facts.has_ended(other.job, closed, of, well=after.state == "succeeded"):
        return None
    return f"{session} has closed, and {after.schedule} ({other.job}) has not {after.state} for it yet"
