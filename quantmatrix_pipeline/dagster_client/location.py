"""What a running Dagster has loaded, and having it loaded anew."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from textwrap import shorten
from typing import Any

from quantmatrix_pipeline.dagster_client.connection import LOCATION, REPOSITORY, Dagster, refusal

RELOAD_SECONDS = 90.0  # a code server is started anew, which takes some seconds, more on a busy machine
LONGEST_FAULT = 300
_RELOAD = """
mutation Reload($location: String!) {
  reloadRepositoryLocation(repositoryLocationName: $location) {
    __typename
    ... on WorkspaceLocationEntry {
      locationOrLoadError { __typename ... on PythonError { message causes { message } } }
    }
    ... on ReloadNotSupported { message }
    ... on RepositoryLocationNotFound { message }
    ... on UnauthorizedError { message }
    ... on PythonError { message }
  }
}
"""
_JOBS = """
query Jobs($repository: RepositorySelector!) {
  repositoryOrError(repositorySelector: $repository) {
    __typename
    ... on Repository { jobs { name tags { key value } } partitionSets { pipelineName } }
    ... on Error { message }
  }
}
"""
_CONFIG = """
query Config($job: PipelineSelector!, $config: RunConfigData) {
  isPipelineConfigValid(pipeline: $job, runConfigData: $config, mode: "default") {
    __typename
    ... on RunConfigValidationInvalid { errors { message } }
    ... on Error { message }
  }
}
"""
_OURS = {"repositoryName": REPOSITORY, "repositoryLocationName": LOCATION}


@dataclass(frozen=True, slots=True)
class Job:
    """A job that there is.

    Attributes
    ----------
    partitioned
        Whether a run of it is about a partition, or a range of them.
    tags
        What its runs bear.
    """

    name: str
    partitioned: bool
    tags: Mapping[str, str]


def jobs(dagster: Dagster) -> list[Job]:
    """Return the jobs that there are, by name."""
    found = dagster.ask(_JOBS, {"repository": _OURS}, ["Repository"])
    partitioned = {each["pipelineName"] for each in found["partitionSets"]}
    return [
        Job(job["name"], job["name"] in partitioned, {tag["key"]: tag["value"] for tag in job["tags"]})
        for job in sorted(found["jobs"], key=lambda job: str(job["name"]))
        if not job["name"].startswith("__")
    ]


def wrong_config(dagster: Dagster, job: str, config: Mapping[str, Any]) -> list[str]:
    """Return what is wrong with the configuration of a run of a job, a line each; none: nothing."""
    asked = {"job": {"pipelineName": job, **_OURS}, "config": dict(config)}
    found = dagster.ask(_CONFIG, asked, ["PipelineConfigValidationValid", "RunConfigValidationInvalid"])
    return [one_line(error["message"]) for error in found.get("errors", ())]


def one_line(message: str) -> str:
    """Return Dagster's word on a configuration, which shows the whole of what it expects, on one line that ends."""
    return shorten(message, LONGEST_FAULT, placeholder=" ...")


def reload_location(dagster: Dagster) -> None:
    """Have the definitions loaded anew: settings, schedules, code.

    Raises
    ------
    DagsterUnreachable
        There is no Dagster, or it did not answer.
    DagsterRefused
        It could not load them: what it had loaded before is still in force there.
    """
    entry = dagster.ask(_RELOAD, {"location": LOCATION}, ["WorkspaceLocationEntry"], seconds=RELOAD_SECONDS)
    loaded = entry["locationOrLoadError"]
    if loaded["__typename"] != "RepositoryLocation":
        raise refusal(dagster.address, loaded)
