"""The running Dagster as its GraphQL shows it: runs launched and followed, schedules and sensors switched, reloads.

For processes that are not Dagster's own (the command line, the read API): nothing here imports Dagster. Asked is the
web server that `qm up` runs, or that `QM_DAGSTER_URL` names.

Does not belong here: what a run does, and which runs anybody should launch.
"""

from quantmatrix_pipeline.dagster_client.connection import LOCATION, Dagster
from quantmatrix_pipeline.dagster_client.instigators import (
    Instigator,
    Tick,
    schedules,
    sensors,
    start_schedule,
    start_sensor,
    stop_schedule,
    stop_sensor,
)
from quantmatrix_pipeline.dagster_client.location import Job, jobs, one_line, reload_location, wrong_config
from quantmatrix_pipeline.dagster_client.runs import ENDED, UNDER_WAY, Run, launch, run, runs

__all__ = [
    "ENDED",
    "LOCATION",
    "UNDER_WAY",
    "Dagster",
    "Instigator",
    "Job",
    "Run",
    "Tick",
    "jobs",
    "launch",
    "one_line",
    "reload_location",
    "run",
    "runs",
    "schedules",
    "sensors",
    "start_schedule",
    "start_sensor",
    "stop_schedule",
    "stop_sensor",
    "wrong_config",
]
