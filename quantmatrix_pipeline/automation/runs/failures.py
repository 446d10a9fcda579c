"""Why a run failed, out of what Dagster wrote about it."""

from __future__ import annotations

from dataclasses import dataclass

from dagster import DagsterEventType, DagsterInstance, DagsterRun, DagsterRunStatus
from dagster_shared.error import SerializableErrorInfo

from quantmatrix_pipeline.resources.causes import cause, error_class, timed_out

STOPPED_BY_CHECK = "DagsterAssetCheckFailedError"


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a run failed.

    Attributes
    ----------
    cause
        On one line.
    error
        The class of the error behind it, where it is one of ours.
    timed_out
        Whether Dagster ended it since it took too long.
    stopped_by_check
        Whether a blocking check ended it.
    steps
        Those that failed.
    """

    cause: str
    error: str | None = None
    timed_out: bool = False
    stopped_by_check: bool = False
    steps: frozenset[str] = frozenset()


def failure(instance: DagsterInstance, run: DagsterRun) -> Failure | None:
    """Return why an ended run failed; None where it did not, or was canceled by somebody."""
    if run.status not in (DagsterRunStatus.FAILURE, DagsterRunStatus.CANCELED):
        return None
    steps = _failed_steps(instance, run.run_id)
    if said := timed_out(instance, run.run_id):
        # The step in which it stood failed as well, of being interrupted.
        return Failure(said, timed_out=True, steps=steps)
    if run.status is DagsterRunStatus.CANCELED:
        return None
    error = _error(instance, run.run_id)
    stopped = error is not None and _innermost(error).cls_name == STOPPED_BY_CHECK
    return Failure(_cause(instance, run.run_id, error), error_class(error), stopped_by_check=stopped, steps=steps)


def _error(instance: DagsterInstance, run_id: str) -> SerializableErrorInfo | None:
    for event_type in (DagsterEventType.STEP_FAILURE, DagsterEventType.RUN_FAILURE):
        for entry in instance.all_logs(run_id, of_type=event_type):
            data = entry.dagster_event.event_specific_data if entry.dagster_event else None
            if isinstance(error := getattr(data, "error", None), SerializableErrorInfo):
                return error
    return None


def _cause(instance: DagsterInstance, run_id: str, error: SerializableErrorInfo | None) -> str:
    if error is not None:
        return cause(error)
    # A run whose process is gone left no error, only what the run monitoring said of it.
    for entry in instance.all_logs(run_id, of_type=DagsterEventType.RUN_FAILURE):
        if entry.dagster_event and entry.dagster_event.message:
            return " ".join(entry.dagster_event.message.split())
    return cause(None)


def _innermost(error: SerializableErrorInfo) -> SerializableErrorInfo:
    while error.cause is not None:
        error = error.cause
    return error


def _failed_steps(instance: DagsterInstance, run_id: str) -> frozenset[str]:
    events = instance.all_logs(run_id, of_type=DagsterEventType.STEP_FAILURE)
    return frozenset(e.dagster_event.step_key for e in events if e.dagster_event and e.dagster_event.step_key)
