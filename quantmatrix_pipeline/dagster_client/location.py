"""What a running Dagster has loaded, and having it loaded anew."""

from __future__ import annotations

from quantmatrix_pipeline.dagster_client.connection import LOCATION, REPOSITORY, Dagster, refusal

RELOAD_SECONDS = 90.0  # a code server is started anew, which takes some seconds, more on a busy machine
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
    ... on Repository { jobs { name } }
    ... on Error { message }
  }
}
"""


def jobs(dagster: Dagster) -> list[str]:
    """Return the names of the jobs that there are."""
    ours = {"repositoryName": REPOSITORY, "repositoryLocationName": LOCATION}
    found = dagster.ask(_JOBS, {"repository": ours}, ["Repository"])
    return sorted(job["name"] for job in found["jobs"] if not job["name"].startswith("__"))


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
