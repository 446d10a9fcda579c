"""The one place where everything is put together."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from dagster import Definitions, definitions, in_process_executor

from quantmatrix_pipeline.assets import (
    backup,
    breadth,
    coverage,
    indicators,
    prices,
    profiles,
    reconciliation,
    universe,
)
from quantmatrix_pipeline.assets.partitions import session_partitions
from quantmatrix_pipeline.automation import schedules
from quantmatrix_pipeline.automation.jobs import backup as backup_jobs
from quantmatrix_pipeline.automation.jobs import digest, history, known, queue, restate, retention, sessions, symbols
from quantmatrix_pipeline.automation.jobs.tags import AnyJob
from quantmatrix_pipeline.automation.sensors import alerts, lacking, retries, schedules_file, skipped_ticks, watch
from quantmatrix_pipeline.automation.sensors import queue as queue_sensor
from quantmatrix_pipeline.checks import backup as backup_checks
from quantmatrix_pipeline.checks import breadth as breadth_checks
from quantmatrix_pipeline.checks import coverage as coverage_checks
from quantmatrix_pipeline.checks import indicators as indicator_checks
from quantmatrix_pipeline.checks import prices as price_checks
from quantmatrix_pipeline.checks import reconciliation as reconciliation_checks
from quantmatrix_pipeline.resources.platform import Platform
from quantmatrix_pipeline.schedules.file import in_force
from quantmatrix_pipeline.settings import load


def build_defs(resource_overrides: Mapping[str, object] | None = None) -> Definitions:
    """Return fresh definitions; tests, the command line and the code server all come in here.

    Parameters
    ----------
    resource_overrides
        Resources by name that take the place of the usual ones.
    """
    settings = load()
    partitions = session_partitions(settings.calendar, settings.start_session)
    all_jobs: list[AnyJob] = [
        *sessions.build(),
        *restate.build(),
        *retention.build(),
        *history.build(),
        *symbols.build(),
        *queue.build(),
        *backup_jobs.build(),
        *digest.build(),
    ]
    put_together = partial(
        Definitions,
        assets=[
            *universe.build(partitions),
            *prices.build(partitions),
            *indicators.build(partitions),
            *breadth.build(partitions),
            *reconciliation.build(partitions),
            *coverage.build(partitions),
            *profiles.build(),
            *backup.build(),
        ],
        asset_checks=[
            *price_checks.build(),
            *indicator_checks.build(),
            *breadth_checks.build(),
            *reconciliation_checks.build(),
            *coverage_checks.build(),
            *backup_checks.build(),
        ],
        jobs=all_jobs,
        resources={"platform": Platform()} | dict(resource_overrides or {}),
        # A process per step costs 4 to 5 seconds, a step in the run's own process 0.1.
        executor=in_process_executor,
    )
    known_jobs = known.known(put_together())
    # Read once: whatever launches runs of schedules follows the same entries until the next load.
    found = in_force(settings, known_jobs)
    return put_together(
        schedules=schedules.build(settings, found),
        sensors=[
            *lacking.build(all_jobs),
            *queue_sensor.build(),
            *schedules_file.build(known_jobs),
            *retries.build(all_jobs, found.catalogue),
            *skipped_ticks.build(all_jobs, found.catalogue),
            *alerts.build(),
            *watch.build(),
        ],
    )


@definitions
def defs() -> Definitions:
    """What the code server loads; built when it asks, not when this module is imported."""
    return build_defs()
