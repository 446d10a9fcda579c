"""Have a running Dagster load the definitions anew."""

from __future__ import annotations

from quantmatrix_pipeline.dagster_client.connection import LOCATION, Dagster, refusal

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
