"""What runs unattended: Dagster's daemon, its schedules and sensors, by the signs of life that they leave."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from quantmatrix_pipeline.health.finding import Finding, bad, note, ok

# The sensor that notes how Dagster is, each minute, in the detail of its heartbeat.
WATCH = "watch_dagster"
# The one that says, in the same way, what of the schedules file keeps it from being in force.
FILE_SENSOR = "schedules_file"

# Who ticks every minute or oftener, and was silent for so long, is dead, or waits for one that is.
SIGN_OF_LIFE = timedelta(minutes=5)

# The daemon looks for ticks every few seconds; the watch says anew each minute which one is next.
LATE = timedelta(minutes=5)

Beats = Mapping[str, tuple[datetime, Mapping[str, Any]]]


@dataclass(frozen=True, slots=True)
class Watched:
    """How Dagster was at the watch's last tick, as seconds since 1970 of the machine's clock.

    Attributes
    ----------
    daemons
        Each of the daemon's threads -> its last sign of life.
    due
        Each schedule that is on -> the first tick that it has not had yet.
    sensors
        Each sensor that is on -> its last tick.
    intervals
        Each of those -> the least seconds between two ticks.
    failing
        Schedule or sensor -> what its last tick failed with.
    """

    daemons: Mapping[str, float]
    due: Mapping[str, float]
    sensors: Mapping[str, float]
    intervals: Mapping[str, float]
    failing: Mapping[str, str]


def watched(beats: Beats) -> Watched | None:
    """Return what the watch said last; None: it has not run here."""
    if WATCH not in beats:
        return None
    said = beats[WATCH][1]
    return Watched(**{name: said.get(name, {}) for name in Watched.__dataclass_fields__})


def is_running(beats: Beats, now: datetime) -> bool:
    """Say whether anything that runs unattended gave a sign of life lately."""
    return any(now - at < SIGN_OF_LIFE for at, _ in beats.values())


def unattended(beats: Beats, now: datetime, wall: float) -> list[Finding]:
    """Judge the daemon, the sensors and the schedules.

    Parameters
    ----------
    beats
        Name -> last sign of life, and what was said with it.
    now
        What heartbeats are compared with: the clock, or QM_NOW.
    wall
        What Dagster's own instants are compared with: seconds since 1970 of the machine's clock.
    """
    if not beats:
        return [note("daemon", "no sensor has ticked yet; `qm up` runs them")]
    seen = watched(beats)
    late = [] if seen is None else _late(seen, wall)
    schedules = [bad("schedules", f"{', '.join(late)}; is the daemon of `qm up` running?")] if late else []
    if not is_running(beats, now):
        # Who let it run here once relies on it; where it never did, nobody does.
        newest = max(at for at, _ in beats.values())
        return [bad("daemon", f"no sign of life since {newest:%Y-%m-%d %H:%M:%SZ}; start `qm up` again"), *schedules]
    if seen is None:
        return [note("daemon", f"sensors tick; {WATCH}, which says more, has not yet")]
    if now - beats[WATCH][0] >= SIGN_OF_LIFE:
        since = f"{beats[WATCH][0]:%Y-%m-%d %H:%M:%SZ}"
        return [bad("daemon", f"sensors tick, and {WATCH} last did {since}: is it on in the Dagster UI?"), *schedules]
    if not schedules:
        schedules = [ok("schedules", f"{len(seen.due)} on, none late")]
    if fault := beats.get(FILE_SENSOR, (now, {}))[1].get("fault"):
        schedules.append(bad("schedules loaded", f"the last good ones stay in force: {fault}"))
    return [_daemon(seen, wall), _sensors(seen, wall), *schedules, *_failing(seen)]


def _late(seen: Watched, wall: float) -> list[str]:
    return [
        f"{name} should have ticked at {_instant(due)}"
        for name, due in sorted(seen.due.items())
        if wall - due > LATE.total_seconds()
    ]


def _daemon(seen: Watched, wall: float) -> Finding:
    silent = [
        f"{name} silent since {_instant(at)}"
        for name, at in sorted(seen.daemons.items())
        if wall - at > SIGN_OF_LIFE.total_seconds()
    ]
    if silent:
        return bad("daemon", f"{', '.join(silent)}: restart `qm up`")
    return ok("daemon", f"{len(seen.daemons)} threads alive")


def _sensors(seen: Watched, wall: float) -> Finding:
    silent = [
        f"{name} last ticked {_instant(at)}"
        for name, at in sorted(seen.sensors.items())
        if wall - at > SIGN_OF_LIFE.total_seconds() + seen.intervals.get(name, 0)
    ]
    if silent:
        return bad("sensors", f"{', '.join(silent)}; see their ticks in the Dagster UI")
    return ok("sensors", f"{len(seen.sensors)} sensors tick")


def _failing(seen: Watched) -> list[Finding]:
    return [bad(f"tick of {name}", f"the last one failed: {why}") for name, why in sorted(seen.failing.items())]


def _instant(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%SZ}"
