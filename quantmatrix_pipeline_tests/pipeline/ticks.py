"""Evaluate a sensor or a schedule once, as the daemon does, keeping its cursor from tick to tick."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import datetime
from unittest.mock import patch

from dagster import DagsterInstance, RunRequest, build_schedule_context, build_sensor_context

from quantmatrix_pipeline.definitions import build_defs
from quantmatrix_pipeline.resources.platform import Platform


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
