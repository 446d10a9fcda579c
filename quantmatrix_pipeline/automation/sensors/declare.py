"""How a sensor is declared: on from the start, and described in the UI by its docstring."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

from dagster import DefaultSensorStatus, SensorDefinition, sensor
from dagster._core.definitions.target import ExecutableDefinition


def running_sensor(
    name: str, *, every_seconds: int, jobs: Sequence[ExecutableDefinition] | None = None, job_name: str | None = None
) -> Callable[[Callable[..., Any]], SensorDefinition]:
    """Make a sensor of a function.

    Parameters
    ----------
    name
        By which cursors, heartbeats and people know it.
    every_seconds
        The least between two ticks.
    jobs, job_name
        What it may launch: several jobs, or one; neither where it launches nothing.
    """

    def declare(function: Callable[..., Any]) -> SensorDefinition:
        return sensor(
            name=name,
            jobs=jobs,
            job_name=job_name,
            minimum_interval_seconds=every_seconds,
            default_status=DefaultSensorStatus.RUNNING,
            description=inspect.getdoc(function),
        )(function)

    return declare
