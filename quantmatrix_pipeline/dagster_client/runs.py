"""Runs: launch one, follow one, list them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from quantmatrix_pipeline.dagster_client.connection import LOCATION, REPOSITORY, Dagster
from quantmatrix_pipeline.dagster_client.session_tags import PARTITION, range_tags, sessions_in, written
from quantmatrix_pipeline.dagster_client.shown_tags import shown
from quantmatrix_pipeline.errors import DagsterRefused, NoSuchRun

UNDER_WAY = ("QUEUED", "NOT_STARTED", "MANAGED", "STARTING", "STARTED", "CANCELING")
ENDED = ("SUCCESS", "FAILURE", "CANCELED")
# Written onto a run by itself: a failed check that blocks nothing leaves it a SUCCESS, and Dagster counts none.
FAILED_CHECKS = "qm/failed_checks"

_FIELDS = """
fragment fields on Run {
  runId jobName status creationTime startTime endTime updateTime
  tags { key value }
  stats { __typename ... on RunStatsSnapshot { stepsSucceeded stepsFailed materializations } }
}
"""
_LAUNCH = """
mutation Launch($params: ExecutionParams!) {
  launchRun(executionParams: $params) {
    __typename
    ... on LaunchRunSuccess { run { runId } }
    ... on RunConfigValidationInvalid { errors { message } }
    ... on Error { message }
  }
}
"""
_RUN = (
    _FIELDS
    + """
query Run($id: ID!) { runOrError(runId: $id) { __typename ... on Run { ...fields } ... on Error { message } } }
"""
)
_RUNS = (
    _FIELDS
    + """
query Runs($filter: RunsFilter, $limit: Int, $cursor: String) {
  runsOrError(filter: $filter, limit: $limit, cursor: $cursor) {
    __typename
    ... on Runs { results { ...fields } }
    ... on Error { message }
  }
}
"""
)


@dataclass(frozen=True, slots=True)
class Run:
    """A run as Dagster keeps it.

    Attributes
    ----------
    status
        One of `UNDER_WAY` or `ENDED`.
    started_at, ended_at
        None: not yet.
    updated_at
        When its state or tags last changed.
    steps_succeeded, steps_failed, materializations
        Counts so far; None where Dagster has none.
    """

    run_id: str
    job: str
    status: str
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    updated_at: datetime | None
    tags: Mapping[str, str]
    steps_succeeded: int | None
    steps_failed: int | None
    materializations: int | None

    @property
    def sessions(self) -> str | None:
        """The session, or the range of sessions as `first..last`; None: the run has none."""
        found = sessions_in(self.tags)
        return None if found is None else written(*found)

    @property
    def checks_failed(self) -> int:
        """How many of its checks failed so far, of those that block and of those that don't."""
        said = self.tags.get(FAILED_CHECKS, "")
        return int(said) if said.isdecimal() else 0

    @property
    def seconds(self) -> float | None:
        """How long it took; None: it has not ended, or never began."""
        if self.started_at is None or self.ended_at is None:
            return None
        return (self.ended_at - self.started_at).total_seconds()


def launch(
    dagster: Dagster,
    job: str,
    *,
    config: Mapping[str, Any] | None = None,
    tags: Mapping[str, str] | None = None,
    partition: str | None = None,
    partitions: tuple[str, str] | None = None,
) -> str:
    """Put a run of a job into Dagster's queue, and return its id.

    Parameters
    ----------
    dagster
        Where.
    job
        Its name.
    config
        The run's, as in the launchpad; None: the job's defaults.
    tags
        The run's, beside those of the job.
    partition
        The session, of a job that has sessions.
    partitions
        First and last session, both inclusive, which one run does at once; instead of `partition`.

    Raises
    ------
    DagsterUnreachable
        There is no Dagster, or it did not answer.
    DagsterRefused
        There is no such job, or the configuration is not one of its.
    """
    all_tags = dict(tags or {})
    if partition is not None:
        all_tags[PARTITION] = partition
    if partitions is not None:
        all_tags |= range_tags(*partitions)
    params = {
        "selector": {"jobName": job, "repositoryName": REPOSITORY, "repositoryLocationName": LOCATION},
        "runConfigData": dict(config or {}),
        "executionMetadata": {"tags": [{"key": key, "value": value} for key, value in all_tags.items()]},
    }
    launched = dagster.ask(_LAUNCH, {"params": params}, ["LaunchRunSuccess"])
    return str(launched["run"]["runId"])


def run(dagster: Dagster, run_id: str) -> Run:
    """Return a run.

    Raises
    ------
    NoSuchRun
        Dagster keeps none with this id.
    """
    try:
        return _read(dagster.ask(_RUN, {"id": run_id}, ["Run"]))
    except DagsterRefused as error:
        if error.kind == "RunNotFoundError":
            raise NoSuchRun(f"Dagster at {dagster.address} keeps no run {run_id!r}") from error
        raise


def runs(
    dagster: Dagster,
    *,
    job: str | None = None,
    statuses: Sequence[str] = (),
    tags: Mapping[str, str] | None = None,
    limit: int = 50,
    before: str | None = None,
) -> list[Run]:
    """Return runs, newest first.

    Parameters
    ----------
    dagster
        Where.
    job, statuses, tags
        Only runs of this job, in one of these states, with all of these tags.
    limit
        At most so many.
    before
        Id of a run: only those created before it.
    """
    wanted: dict[str, Any] = {"tags": [{"key": key, "value": value} for key, value in (tags or {}).items()]}
    if job is not None:
        wanted["pipelineName"] = job
    if statuses:
        wanted["statuses"] = list(statuses)
    found = dagster.ask(_RUNS, {"filter": wanted, "limit": limit, "cursor": before}, ["Runs"])
    return [_read(each) for each in found["results"]]


def _read(found: Mapping[str, Any]) -> Run:
    stats = found["stats"]
    return Run(
        run_id=found["runId"],
        job=found["jobName"],
        status=found["status"],
        created_at=datetime.fromtimestamp(found["creationTime"], UTC),
        started_at=instant(found["startTime"]),
        ended_at=instant(found["endTime"]),
        updated_at=instant(found["updateTime"]),
        tags=shown({tag["key"]: tag["value"] for tag in found["tags"]}),
        steps_succeeded=stats.get("stepsSucceeded"),
        steps_failed=stats.get("stepsFailed"),
        materializations=stats.get("materializations"),
    )


def instant(seconds: float | None) -> datetime | None:
    """Return the instant of Dagster's seconds since 1970."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
