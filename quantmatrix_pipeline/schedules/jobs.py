"""What entries may say of their jobs: which there are, which are about sessions, which configuration they take."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from quantmatrix_pipeline.schedules.entry import Catalogue, Entry, Partition

Config = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Job:
    """A job, as far as the entries that launch it must fit it.

    Attributes
    ----------
    sessions
        Whether a run of it is about sessions.
    timeout_s
        After how many seconds a run is ended where the entry says nothing else; None: never.
    wrong_with
        Says on a line each what is wrong with a configuration of a run.
    """

    sessions: bool
    timeout_s: float | None
    wrong_with: Callable[[Config], list[str]]

    @classmethod
    def of(cls, tags: Mapping[str, str], sessions: bool, wrong_with: Callable[[Config], list[str]]) -> Job:
        """Return a job whose runs bear these tags."""
        timeout = tags.get("dagster/max_runtime")
        return cls(sessions, None if timeout is None else float(timeout), wrong_with)


Jobs = Mapping[str, Job]


def misfits(catalogue: Catalogue, jobs: Jobs) -> list[str]:
    """Return the faults of entries that their jobs do not bear, each as `entry.field: what is wrong`."""
    return [f"{name}.{fault}" for name, entry in catalogue.schedules.items() for fault in _misfits(entry, jobs)]


def _misfits(entry: Entry, jobs: Jobs) -> Iterator[str]:
    job = jobs.get(entry.job)
    if job is None:
        yield f"job: there is no job {entry.job!r}; there are {', '.join(sorted(jobs))}"
        return
    if job.sessions and entry.partition is Partition.NONE:
        yield f"partition: {entry.job} is about sessions; write newest or missed"
    if not job.sessions and entry.partition is not Partition.NONE:
        yield f"partition: {entry.job} is about no session; leave {entry.partition.value} away"
    slow, ended = entry.safety.slow_after_s, job.timeout_s
    if slow is not None and ended is not None and entry.safety.timeout_s is None and slow >= ended:
        yield f"safety.slow_after_s: {slow} is never told: {entry.job} is ended at {ended:g} s; write a timeout_s"
    if entry.config:
        yield from (f"config: {wrong}" for wrong in job.wrong_with(entry.config))
