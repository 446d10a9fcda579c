"""Whether a run waits or runs, and what became of it."""

from __future__ import annotations

from dagster import DagsterInstance, DagsterRunStatus, RunsFilter

from quantmatrix_pipeline.automation.jobs.tags import ONE_AT_A_TIME
from quantmatrix_pipeline.coverage.attempts import Outcome

UNDER_WAY = [
    DagsterRunStatus.QUEUED,
    DagsterRunStatus.NOT_STARTED,
    DagsterRunStatus.STARTING,
    DagsterRunStatus.STARTED,
    DagsterRunStatus.CANCELING,
]
ENDED = [DagsterRunStatus.SUCCESS, DagsterRunStatus.FAILURE, DagsterRunStatus.CANCELED]


def outcome(instance: DagsterInstance, run_key: str) -> Outcome:
    """Return what became of the run that was launched under a key."""
    found = instance.get_runs(RunsFilter(tags={"dagster/run_key": run_key}), limit=1)
    if not found:
        return Outcome.UNKNOWN
    status = found[0].status
    if status in UNDER_WAY:
        return Outcome.UNDER_WAY
    return Outcome.SUCCESS if status is DagsterRunStatus.SUCCESS else Outcome.FAILURE


def chain_under_way(instance: DagsterInstance) -> bool:
    """Tell whether a run of the chain, or another of those that go one at a time, waits or runs."""
    return instance.get_runs_count(RunsFilter(tags=ONE_AT_A_TIME, statuses=UNDER_WAY)) > 0
