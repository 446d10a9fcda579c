"""Whether a failed run is launched again: by Dagster where its process crashed, else as often as its schedule says."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from enum import Enum, auto

from dagster import DagsterInstance, DagsterRun, DagsterRunStatus, RunRecord, RunsFilter
from dagster._core.storage.tags import AUTO_RETRY_RUN_ID_TAG, WILL_RETRY_TAG

ATTEMPT, RETRY_OF = "qm/attempt", "qm/retry_of"
RETRIES, BACKOFF = "qm/retries", "qm/backoff_s"
PATIENCE = timedelta(minutes=15)


class Next(Enum):
    """What comes after a run."""

    NOTHING = auto()  # what it came to stands
    AWAITED = auto()  # it is to be launched again, and was not yet
    LAUNCHED = auto()  # it was launched again, or another run of its job did well since


def what_follows(instance: DagsterInstance, record: RunRecord, now: datetime) -> Next:
    """Return whether a run is tried again; a further attempt that is a quarter of an hour late counts as none."""
    run = record.dagster_run
    if run.status is not DagsterRunStatus.FAILURE:
        return Next.NOTHING
    if AUTO_RETRY_RUN_ID_TAG in run.tags or launched_again(instance, run):
        return Next.LAUNCHED
    at = ended(record) if by_dagster(run) else due(run, ended(record))
    if at is None or now <= at + PATIENCE:
        return Next.NOTHING if at is None else Next.AWAITED
    since = RunsFilter(job_name=run.job_name, statuses=[DagsterRunStatus.SUCCESS], updated_after=ended(record))
    return Next.LAUNCHED if instance.get_runs_count(since) else Next.NOTHING


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
