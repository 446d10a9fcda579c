"""The sensor over the schedules file: it keeps the last good copy, and says when the file is broken."""

from __future__ import annotations

from dagster import SensorDefinition, SensorEvaluationContext, SkipReason

from quantmatrix_pipeline import clock
from quantmatrix_pipeline.automation.sensors.declare import running_sensor
from quantmatrix_pipeline.resources.platform import Platform
from quantmatrix_pipeline.schedules.editing import keep_good
from quantmatrix_pipeline.schedules.jobs import Jobs
from quantmatrix_pipeline.warehouse import coverage as tables

FILE_SENSOR = "schedules_file"


def build(jobs: Jobs) -> list[SensorDefinition]:
    """Return the sensor over the schedules file; `jobs` are those that there are."""

    @running_sensor(FILE_SENSOR, every_seconds=30)
    def schedules_file(context: SensorEvaluationContext, platform: Platform) -> SkipReason:
        """Keep a copy of the schedules while they are right, to be in force while they are not; launches nothing.

        What was changed in the file by hand is recorded.
        """
        now = clock.now()
        found = keep_good(platform.settings, platform.warehouse, now, jobs)
        tables.beat(platform.warehouse, FILE_SENSOR, now, {"fault": found.fault} if found.fault else None)
        trouble = found.trouble
        if trouble is None:
            return SkipReason("the schedules file is right, and a copy of it kept")
        context.log.error(trouble)
        return SkipReason(trouble)

    return [schedules_file]
