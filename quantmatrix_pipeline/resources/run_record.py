"""Write down in the warehouse what each run did, since Dagster's own tables may lie in another database.

The record listens to the run's events in the run's own process, and holds a sign of life until the last one. A process
that is killed says nothing more, and the next run, or the sensor `alert_on_runs`, finds that it is gone.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime

from dagster import (
    AssetCheckEvaluation,
    DagsterEvent,
    DagsterEventType,
    DagsterInstance,
    DagsterRun,
    EventLogEntry,
)
from dagster._core.execution.plan.objects import ErrorSource

from quantmatrix_pipeline.dagster_client.runs import FAILED_CHECKS
from quantmatrix_pipeline.dagster_client.session_tags import sessions_in
from quantmatrix_pipeline.dagster_client.shown_tags import shown
from quantmatrix_pipeline.errors import WarehouseError
from quantmatrix_pipeline.resources.causes import cause, timed_out
from quantmatrix_pipeline.resources.counted import COUNTING, Counted
from quantmatrix_pipeline.settings import Settings
from quantmatrix_pipeline.warehouse import runs
from quantmatrix_pipeline.warehouse.engine import Warehouse
from quantmatrix_pipeline.warehouse.locate import open_writer

log = logging.getLogger(__name__)

ENDED = {
    DagsterEventType.RUN_SUCCESS: "success",
    DagsterEventType.RUN_FAILURE: "failure",
    DagsterEventType.RUN_CANCELED: "canceled",
}


class Recorder:
    """One run's row, from the resource's set-up to the run's last event; a database that does not answer costs the row
    and not the run.
    """

    def __init__(self, warehouse: Warehouse, instance: DagsterInstance, run_id: str) -> None:
        self._warehouse = warehouse
        self._instance = instance
        self._run_id = run_id
        self._life: runs.Life | None = runs.Life(warehouse, run_id)
        self._counted = Counted()
        self._step_seconds: dict[str, float] = {}
        self._failed_checks: set[str] = set()
        self._error: str | None = None

    @classmethod
    def begin(cls, settings: Settings, instance: DagsterInstance, run: DagsterRun) -> None:
        """Begin the record of a run that has begun, and close those of runs whose process is gone."""
        try:
            warehouse = open_writer(settings)
            recorder = cls(warehouse, instance, run.run_id)
            runs.close_dead(warehouse)
            stored = instance.get_run_record_by_id(run.run_id)
            assert stored is not None  # the run is under way
            runs.begin(warehouse, _row(run, _moment(stored.start_time or stored.create_timestamp.timestamp())))
        except WarehouseError as error:  # the steps will say it themselves
            log.warning("run %s is not written down: %s", run.run_id, error)
            return
        if FAILED_CHECKS in run.tags:  # a run that is launched again inherits its tags
            instance.add_run_tags(run.run_id, {FAILED_CHECKS: "0"})
        instance.add_event_listener(run.run_id, recorder.hear)

    def hear(self, entry: EventLogEntry) -> None:
        """Take an event of the run; the last one ends the record."""
        event = entry.dagster_event
        if event is None or self._life is None:
            return
        if event.event_type in ENDED:
            self._end(ENDED[event.event_type], entry)
        elif event.event_type in COUNTING:
            self._counted.add(event)
        elif event.event_type is DagsterEventType.ASSET_CHECK_EVALUATION:
            self._check(event.asset_check_evaluation_data)
        elif event.event_type is DagsterEventType.STEP_SUCCESS:
            self._step_seconds[str(event.step_key)] = round(event.step_success_data.duration_ms / 1000, 3)
        elif event.event_type is DagsterEventType.STEP_FAILURE:
            failed = event.step_failure_data
            self._error = self._error or f"step {event.step_key}: {cause(failed.error)}"
            if failed.error_source is ErrorSource.INTERRUPT and timed_out(self._instance, self._run_id):
                self._end("failure", entry)  # what ends the run is written by Dagster's daemon, and not heard here

    def _check(self, evaluation: AssetCheckEvaluation) -> None:
        """Say on the run how many checks failed: those that block nothing leave it a success."""
        name = f"{evaluation.asset_key.to_user_string()}.{evaluation.check_name}"
        if not evaluation.passed and name not in self._failed_checks:
            self._failed_checks.add(name)
            self._instance.add_run_tags(self._run_id, {FAILED_CHECKS: str(len(self._failed_checks))})

    def _end(self, status: str, entry: EventLogEntry) -> None:
        error = self._error or (_why(entry.dagster_event) if status != "success" else None)
        if status != "success" and (hung := timed_out(self._instance, self._run_id)):
            status, error = "failure", hung
        try:
            runs.end(
                self._warehouse,
                self._run_id,
                status=status,
                ended_at=_moment(entry.timestamp),
                step_seconds=self._step_seconds,
                counters=self._counted.by_name(),
                error=error if status != "success" else None,
            )
        except WarehouseError as gone:
            log.warning("how run %s ended is not written down: %s", self._run_id, gone)
        assert self._life is not None
        self._life.end()
        self._life = None
        self._warehouse.close()


def _why(event: DagsterEvent | None) -> str | None:
    if event is None or event.event_type is not DagsterEventType.RUN_FAILURE:
        return None
    data = event.job_failure_data
    return cause(data.error) if data.error is not None else event.message


def _moment(timestamp: float) -> datetime:
    """Dagster's own time of an event: how long runs take is told in real time, whatever QM_NOW says."""
    return datetime.fromtimestamp(timestamp, UTC)


def _row(run: DagsterRun, begun: datetime) -> runs.Run:
    first, last = sessions_in(run.tags) or (None, None)
    params = {name: value for name, value in shown(run.tags).items() if not name.startswith((".", "dagster/"))}
    return runs.Run(run.run_id, run.job_name, first, last, params, "running", begun)
