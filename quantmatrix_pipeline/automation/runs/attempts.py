"""Whether a failed run is launched again: by Dagster where its process crashed, else as often as its schedule says."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from enum import Enum, auto

from dagster import DagsterInstance, DagsterRun, DagsterRunStatus, RunRecord, RunsFilter
from dagster._core.storage.tags import AUTO_RETRY_RUN_ID_TAG, WILL_RETRY_TAG

from quantmatrix_pipeline.dagster_client.session_tags import sessions_in
from quantmatrix_pipeline.resources.causes import timed_out

ATTEMPT, RETRY_OF = "qm/attempt", "qm/retry_of"
RETRIES, BACKOFF = "qm/retries", "qm/backoff_s"
PATIENCE = timedelta(minutes=15)
LOOKED_AT = 50  # a job's newest runs; what an older one did is done once more


class Next(Enum):
    """What comes after a run."""

    NOTHING = auto()  # what it came to stands
    AWAITED = auto()  # it is to be launched again, and was not yet
    LAUNCHED = auto()  # it was launched again, or another run of its job has done its work since


def what_follows(instance: DagsterInstance, record: RunRecord, now: datetime) -> Next:
    """Return whether a run is tried again; a further attempt that is a quarter of an hour late counts as none."""
    run = record.dagster_run
    if not failed(instance, run):
        return Next.NOTHING
    if AUTO_RETRY_RUN_ID_TAG in run.tags or launched_again(instance, run):
        return Next.LAUNCHED
    at = ended(record) if by_dagster(run) else due(run, ended(record))
    if at is None or now <= at + PATIENCE:
        return Next.NOTHING if at is None else Next.AWAITED
    return Next.LAUNCHED if done_since(instance, record) else Next.NOTHING


def failed(instance: DagsterInstance, run: DagsterRun) -> bool:
    """Tell whether a run failed; one that its timeout ended may count as canceled."""
    if run.status is DagsterRunStatus.CANCELED:
        return timed_out(instance, run.run_id) is not None
    return run.status is DagsterRunStatus.FAILURE


def done_since(instance: DagsterInstance, record: RunRecord) -> bool:
    """Tell whether another run of its job has done a run's work since it ended: all its sessions, configured alike."""
    run = record.dagster_run
    wanted = sessions_in(run.tags)
    since = RunsFilter(job_name=run.job_name, statuses=[DagsterRunStatus.SUCCESS], updated_after=ended(record))
    for other in instance.get_runs(since, limit=LOOKED_AT):
        done = sessions_in(other.tags)
        covers = wanted is None or (done is not None and done[0] <= wanted[0] and wanted[1] <= done[1])
        if covers and other.run_config == run.run_config:
            return True
    return False


def attempt(run: DagsterRun) -> int:
    """Return which further attempt of its schedule a run is; 0: it is the first."""
    return _count(run.tags, ATTEMPT)


def due(run: DagsterRun, at: datetime) -> datetime | None:
    """Return when a run that failed at an instant is to be launched again by its schedule; None: it is not."""
    if attempt(run) >= _count(run.tags, RETRIES) or by_dagster(run):
        return None
    return at + timedelta(seconds=_count(run.tags, BACKOFF) * 2 ** attempt(run))


def by_dagster(run: DagsterRun) -> bool:
    """Tell whether Dagster itself launches a run again, or did: its process crashed."""
    return run.tags.get(WILL_RETRY_TAG) == "true"


def launched_again(instance: DagsterInstance, run: DagsterRun) -> bool:
    """Tell whether the schedule's further attempt was launched."""
    return RETRIES in run.tags and instance.get_runs_count(RunsFilter(tags={RETRY_OF: run.run_id})) > 0


def ended(record: RunRecord) -> datetime:
    """Return when a run ended, by the machine's clock whatever QM_NOW says."""
    return datetime.fromtimestamp(record.end_time or record.update_timestamp.timestamp(), UTC)


def _count(tags: Mapping[str, str], name: str) -> int:
    """Return the number in a tag; one that can't be read counts as absent."""
    try:
        return int(tags.get(name, 0))
    except ValueError:
        return 0
