"""Dagster's runs in PostgreSQL, where one that was ended at its timeout is not taken for one that crashed."""

from __future__ import annotations

from datetime import datetime

from dagster import DagsterEvent, DagsterEventType
from dagster._core.storage.tags import MAX_RETRIES_TAG
from dagster_postgres import PostgresRunStorage

from quantmatrix_pipeline.resources.causes import timeout


class RunStorage(PostgresRunStorage):
    """`PostgresRunStorage`, with one more thing noted about a run that the run monitoring is about to end.

    Dagster's `run_retries` leave alone what failed in a step. When the monitoring ends a run it gives no reason, so
    that the run looks like a crash, and what hangs would hang for a second timeout.
    """

    def handle_run_event(self, run_id: str, event: DagsterEvent, update_timestamp: datetime | None = None) -> None:
        if event.event_type is DagsterEventType.RUN_CANCELING and timeout(event.message):
            self.add_run_tags(run_id, {MAX_RETRIES_TAG: "0"})
        super().handle_run_event(run_id, event, update_timestamp)
