"""Evaluate a sensor or a schedule once, as the daemon does, keeping its cursor from tick to tick."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from datetime import datetime
from unittest.mock import patch

from dagster import DagsterInstance, RunRequest, build_schedule_context, build_sensor_context
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.errors import ScheduleExecutionError, SensorExecutionError, user_code_error_boundary
from dagster._core.remote_origin import InProcessCodeLocationOrigin, RemoteInstigatorOrigin, RemoteRepositoryOrigin
from dagster._core.scheduler.instigation import (
    InstigatorState,
    InstigatorStatus,
    ScheduleInstigatorData,
    SensorInstigatorData,
    TickData,
    TickStatus,
)
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._utils.error import SerializableErrorInfo, serializable_error_info_from_exc_info

from quantmatrix_pipeline.definitions import build_defs
from quantmatrix_pipeline.resources.platform import Platform

ORIGIN = RemoteRepositoryOrigin(
    InProcessCodeLocationOrigin(LoadableTargetOrigin(), "quantmatrix_pipeline"), "__repository__"
)


@dataclass
class Tick:
    """What one evaluation asked for: runs, or the reason why none."""

    runs: list[RunRequest]
    skipped: str | None


@dataclass
class Sensor:
    """One sensor over its ticks."""

    name: str
    instance: DagsterInstance
    cursor: str | None = None

    def tick(self) -> Tick:
        definitions = build_defs()
        with build_sensor_context(
            instance=self.instance,
            cursor=self.cursor,
            repository_def=definitions.get_repository_def(),
            sensor_name=self.name,
            resources={"platform": Platform()},
        ) as context:
            result = definitions.resolve_sensor_def(self.name).evaluate_tick(context)
        self.cursor = result.cursor
        return Tick(list(result.run_requests or ()), result.skip_message)


def schedule_tick(name: str, at: datetime, instance: DagsterInstance) -> Tick:
    """Evaluate a schedule at one of its instants, at `QM_NOW` where it is set and else at once."""
    definitions = build_defs()
    now = os.environ.get("QM_NOW") or at.isoformat()
    with (
        patch.dict(os.environ, QM_NOW=now),
        build_schedule_context(
            instance=instance,
            scheduled_execution_time=at,
            repository_def=definitions.get_repository_def(),
            resources={"platform": Platform()},
        ) as context,
    ):
        result = definitions.resolve_schedule_def(name).evaluate_tick(context)
    return Tick(list(result.run_requests or ()), result.skip_message)


def switch_on(instance: DagsterInstance, name: str, cron: str | None, since: datetime) -> InstigatorState:
    """Leave a schedule that is on since then in the instance, as the daemon does; without a cron a sensor."""
    origin = RemoteInstigatorOrigin(ORIGIN, name)
    state = (
        InstigatorState(origin, InstigatorType.SENSOR, InstigatorStatus.RUNNING, SensorInstigatorData(min_interval=60))
        if cron is None
        else InstigatorState(
            origin, InstigatorType.SCHEDULE, InstigatorStatus.RUNNING, ScheduleInstigatorData(cron, since.timestamp())
        )
    )
    instance.add_instigator_state(state)
    return state


def leave_tick(
    instance: DagsterInstance,
    state: InstigatorState,
    at: datetime,
    error: Exception | None = None,
    skipped: str | None = None,
    status: TickStatus | None = None,
) -> None:
    """Leave a tick in the instance: one that launched a run, failed, or was skipped; or one in another state."""
    status = status or (TickStatus.FAILURE if error else TickStatus.SKIPPED if skipped else TickStatus.SUCCESS)
    instance.create_tick(
        TickData(
            instigator_origin_id=state.instigator_origin_id,
            instigator_name=state.instigator_name,
            instigator_type=state.instigator_type,
            status=status,
            timestamp=at.timestamp(),
            selector_id=state.selector_id,
            run_ids=["some-run"] if status == TickStatus.SUCCESS else [],
            skip_reason=skipped,
            error=_as_kept(state, error) if error else None,
        )
    )


def _as_kept(state: InstigatorState, error: Exception) -> SerializableErrorInfo:
    """Return what Dagster keeps of an error of ours: its own, which names whose tick it was, with ours as cause."""
    kind = SensorExecutionError if state.instigator_type is InstigatorType.SENSOR else ScheduleExecutionError
    try:
        with user_code_error_boundary(kind, lambda: f"Error occurred during the execution of {state.instigator_name}"):
            raise error
    except kind:
        return serializable_error_info_from_exc_info(sys.exc_info())
