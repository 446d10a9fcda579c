"""The sensor that notes how Dagster itself is, for those who must know when it no longer is; it tells of failing ticks.

`/health` and `qm doctor` read what it noted, also after the daemon has died: for each schedule the tick that it has not
had yet is noted beforehand, so that being late needs nobody alive to say it.
"""

import json
from collections.abc import Mapping
from typing import Any

from dagster import (
    DagsterInstance,
    RepositoryDefinition,
    SensorDefinition,
    SensorEvaluationContext,
    SkipReason,
)
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.scheduler.instigation import InstigatorState, InstigatorTick, TickStatus
from dagster._utils.schedules import schedule_execution_time_iterator

from quantmatrix_pipeline import clock
from quantmatrix_pipeline.automation.sensors.declare import running_sensor
from quantmatrix_pipeline.automation.sensors.failing_ticks import tell_of_ticks
from quantmatrix_pipeline.health.unattended import WATCH
from quantmatrix_pipeline.resources.causes import cause
from quantmatrix_pipeline.resources.platform import Platform
from quantmatrix_pipeline.warehouse import coverage as tables

LONGEST_REASON = 200
FINISHED = [TickStatus.SUCCESS, TickStatus.SKIPPED, TickStatus.FAILURE]


def build() -> list[SensorDefinition]:
    """Return the sensor."""

    @running_sensor(WATCH, every_seconds=60)
    def watch_dagster(context: SensorEvaluationContext, platform: Platform) -> SkipReason:
        """Note the daemon's signs of life, each schedule's next tick and each sensor's last; launches nothing."""
        assert context.repository_def is not None
        seen = look(context.instance, context.repository_def)
        tables.beat(platform.warehouse, WATCH, clock.now(), seen)
        since = json.loads(context.cursor) if context.cursor else {}
        on = seen["due"].keys() | seen["sensors"].keys()
        context.update_cursor(json.dumps(tell_of_ticks(platform, seen["failing"], on, since, clock.wall())))
        failing = f"; failing: {', '.join(seen['failing'])}" if seen["failing"] else ""
        return SkipReason(f"{len(seen['due'])} schedules and {len(seen['sensors'])} sensors are on{failing}")

    return [watch_dagster]


def look(instance: DagsterInstance, repository: RepositoryDefinition) -> dict[str, dict[str, Any]]:
    """Return the fields of `health.unattended.Watched`."""
    crons = {schedule.name: schedule for schedule in repository.schedule_defs}
    known = crons.keys() | {sensor.name for sensor in repository.sensor_defs}
    seen: dict[str, dict[str, Any]] = {
        "daemons": {name: beat.timestamp for name, beat in _heartbeats(instance).items()},
        "due": {},
        "sensors": {},
        "intervals": {},
        "failing": {},
    }
    for state in instance.all_instigator_state():
        name = state.instigator_name
        if name not in known or not state.is_running:
            continue
        newest = instance.get_ticks(state.instigator_origin_id, state.selector_id, limit=1)
        finished = newest
        if newest and newest[0].status not in FINISHED:  # what is going on has not come to anything yet
            finished = instance.get_ticks(state.instigator_origin_id, state.selector_id, limit=1, statuses=FINISHED)
        if finished and finished[0].status == TickStatus.FAILURE:
            seen["failing"][name] = _reason(finished[0])
        if state.instigator_type == InstigatorType.SCHEDULE:
            after = newest[0].timestamp if newest else _switched_on(state)
            schedule = crons[name]
            ticks = schedule_execution_time_iterator(after + 1, schedule.cron_schedule, schedule.execution_timezone)
            seen["due"][name] = next(ticks).timestamp()
        elif newest:
            seen["sensors"][name] = newest[0].timestamp
            seen["intervals"][name] = getattr(state.instigator_data, "min_interval", None) or 0
    return seen


def _heartbeats(instance: DagsterInstance) -> Mapping[str, Any]:
    return {str(name): beat for name, beat in instance.get_daemon_heartbeats().items()}


def _switched_on(state: InstigatorState) -> float:
    """Return since when a schedule that never ticked is on; where that is not noted, from now on."""
    started = getattr(state.instigator_data, "start_timestamp", None)
    return float(started) if started else clock.wall()


def _reason(tick: InstigatorTick) -> str:
    """Return what our code raised, without the error that Dagster puts around it, which names the sensor."""
    said = cause(tick.error)
    return said if len(said) <= LONGEST_REASON else said[: LONGEST_REASON - 2] + " …"
