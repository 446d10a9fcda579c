"""Schedules and sensors: their state, their last ticks, and switching them on and off.

What is switched here is kept by Dagster in its own storage, and so survives its restart.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from quantmatrix_pipeline.dagster_client.connection import LOCATION, REPOSITORY, Dagster
from quantmatrix_pipeline.dagster_client.runs import instant
from quantmatrix_pipeline.errors import DagsterRefused

# Ticks since a moment Dagster finds by the schedule's name; all of them, without a moment, by the address of the code
# server that it was first loaded from, which is another one after each start of `qm up`.
_STATE = """
fragment state on InstigationState {
  id status
  nextTick { timestamp }
  ticks(limit: $ticks, afterTimestamp: 1) { timestamp endTimestamp status skipReason runIds error { message } }
}
"""
_SCHEDULES = (
    _STATE
    + """
query Schedules($repository: RepositorySelector!, $ticks: Int) {
  schedulesOrError(repositorySelector: $repository) {
    __typename
    ... on Schedules {
      results { name pipelineName cronSchedule executionTimezone tags { key value } scheduleState { ...state } }
    }
    ... on Error { message }
  }
}
"""
)
_SENSORS = (
    _STATE
    + """
query Sensors($repository: RepositorySelector!, $ticks: Int) {
  sensorsOrError(repositorySelector: $repository) {
    __typename
    ... on Sensors {
      results { name targets { pipelineName } minIntervalSeconds tags { key value } sensorState { ...state } }
    }
    ... on Error { message }
  }
}
"""
)
_START_SCHEDULE = """
mutation Start($selector: ScheduleSelector!) {
  startSchedule(scheduleSelector: $selector) { __typename ... on Error { message } }
}
"""
_STOP_SCHEDULE = """
mutation Stop($id: String!) { stopRunningSchedule(id: $id) { __typename ... on Error { message } } }
"""
_START_SENSOR = """
mutation Start($selector: SensorSelector!) {
  startSensor(sensorSelector: $selector) { __typename ... on Error { message } }
}
"""
_STOP_SENSOR = """
mutation Stop($id: String!) { stopSensor(id: $id) { __typename ... on Error { message } } }
"""
_OURS = {"repositoryName": REPOSITORY, "repositoryLocationName": LOCATION}


@dataclass(frozen=True, slots=True)
class Tick:
    """One evaluation.

    Attributes
    ----------
    status
        `STARTED`, `SKIPPED`, `SUCCESS` or `FAILURE`.
    note
        Why it was skipped, or how it failed; None: neither.
    """

    at: datetime
    ended_at: datetime | None
    status: str
    note: str | None
    run_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Instigator:
    """A schedule or a sensor.

    Attributes
    ----------
    jobs
        What it launches; a sensor may launch nothing.
    running
        Whether it is switched on; it ticks only while the daemon lives.
    cron, timezone
        A schedule's; None of a sensor.
    every_seconds
        A sensor's least interval; None of a schedule.
    next_tick
        None: it is off, or can't be said.
    ticks
        The last ones, newest first.
    tags
        Of its definition.
    """

    name: str
    jobs: tuple[str, ...]
    running: bool
    cron: str | None
    timezone: str | None
    every_seconds: int | None
    next_tick: datetime | None
    ticks: tuple[Tick, ...]
    tags: Mapping[str, str]
    _id: str


def schedules(dagster: Dagster, *, ticks: int = 1) -> dict[str, Instigator]:
    """Return the schedules by name, each with its last `ticks` ticks."""
    found = dagster.ask(_SCHEDULES, {"repository": _OURS, "ticks": ticks}, ["Schedules"])
    return {
        each["name"]: _read(
            each,
            each["scheduleState"],
            jobs=(each["pipelineName"],),
            cron=each["cronSchedule"],
            timezone=each["executionTimezone"],
        )
        for each in found["results"]
    }


def sensors(dagster: Dagster, *, ticks: int = 1) -> dict[str, Instigator]:
    """Return the sensors by name, each with its last `ticks` ticks."""
    found = dagster.ask(_SENSORS, {"repository": _OURS, "ticks": ticks}, ["Sensors"])
    return {
        each["name"]: _read(
            each,
            each["sensorState"],
            jobs=tuple(target["pipelineName"] for target in each["targets"] or ()),
            every_seconds=each["minIntervalSeconds"],
        )
        for each in found["results"]
    }


def start_schedule(dagster: Dagster, name: str) -> None:
    """Switch a schedule on; nothing happens to one that is on.

    Raises
    ------
    DagsterRefused
        There is no such schedule.
    """
    _named(schedules(dagster), name, "schedule")
    dagster.ask(_START_SCHEDULE, {"selector": {**_OURS, "scheduleName": name}}, ["ScheduleStateResult"])


def stop_schedule(dagster: Dagster, name: str) -> None:
    """Switch a schedule off; nothing happens to one that is off.

    Raises
    ------
    DagsterRefused
        There is no such schedule.
    """
    found = _named(schedules(dagster), name, "schedule")
    dagster.ask(_STOP_SCHEDULE, {"id": found._id}, ["ScheduleStateResult"])


def start_sensor(dagster: Dagster, name: str) -> None:
    """Switch a sensor on; nothing happens to one that is on.

    Raises
    ------
    DagsterRefused
        There is no such sensor.
    """
    _named(sensors(dagster), name, "sensor")
    dagster.ask(_START_SENSOR, {"selector": {**_OURS, "sensorName": name}}, ["Sensor"])


def stop_sensor(dagster: Dagster, name: str) -> None:
    """Switch a sensor off; nothing happens to one that is off.

    Raises
    ------
    DagsterRefused
        There is no such sensor.
    """
    found = _named(sensors(dagster), name, "sensor")
    dagster.ask(_STOP_SENSOR, {"id": found._id}, ["StopSensorMutationResult"])


def _named(found: Mapping[str, Instigator], name: str, kind: str) -> Instigator:
    if name not in found:
        raise DagsterRefused(f"Dagster has no {kind} {name!r}; it has {', '.join(sorted(found))}", kind="NotFound")
    return found[name]


def _read(
    found: Mapping[str, Any],
    state: Mapping[str, Any],
    *,
    jobs: tuple[str, ...],
    cron: str | None = None,
    timezone: str | None = None,
    every_seconds: int | None = None,
) -> Instigator:
    return Instigator(
        name=found["name"],
        jobs=jobs,
        running=state["status"] == "RUNNING",
        cron=cron,
        timezone=timezone,
        every_seconds=every_seconds,
        next_tick=instant((state["nextTick"] or {}).get("timestamp")),
        ticks=tuple(_tick(each) for each in state["ticks"]),
        tags={tag["key"]: tag["value"] for tag in found["tags"]},
        _id=state["id"],
    )


def _tick(found: Mapping[str, Any]) -> Tick:
    at = instant(found["timestamp"])
    assert at is not None
    return Tick(
        at=at,
        ended_at=instant(found["endTimestamp"]),
        status=found["status"],
        note=found["skipReason"] or (found["error"] or {}).get("message"),
        run_ids=tuple(found["runIds"]),
    )
