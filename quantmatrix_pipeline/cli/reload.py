"""`qm reload`: read the settings' file again, say what is in force, and tell a running Dagster."""

from __future__ import annotations

import httpx
import typer
from rich.console import Console

from quantmatrix_pipeline.cli.vendor_settings import policies, shown, vendors
from quantmatrix_pipeline.errors import ConfigurationError, QuantMatrixError
from quantmatrix_pipeline.settings import ENV_FILE, Reading, Settings, read

LOCATION = "quantmatrix_pipeline"  # as in workspace.yaml
CONNECT_SECONDS = 2.0
RELOAD_SECONDS = 90.0  # a code server is started anew, which takes some seconds, more on a busy machine
MUTATION = """
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


def reload() -> None:
    """Read the file that QM_ENV_FILE names again: policies, budgets and keys take force without a restart.

    A file that is wrong changes nothing: each fault is one line, and the exit code is 2. The read API notices a new
    file by itself, and each run reads it when it starts; a Dagster UI that runs is asked to load its definitions anew.
    """
    reading = read()
    if reading.file is None:
        raise ConfigurationError(
            f"{ENV_FILE} is not set, so there is no file to read again; name one, or restart what should see a change"
        )
    if reading.settings is None:
        errors = Console(stderr=True, soft_wrap=True)
        for fault in reading.faults:
            errors.print("error", style="bold red", end=" ")
            errors.print(fault, highlight=False, markup=False)
        raise typer.Exit(ConfigurationError.exit_code)
    _show(reading, reading.settings)
    typer.echo(_tell_dagster(reading.settings.ui_port))


def _show(reading: Reading, settings: Settings) -> None:
    lines = [f"in force from {reading.file}, and from the environment, which wins"]
    for name, winner in reading.shadowed.items():
        why = "the environment sets it" if name == winner else f"{winner} wins"
        lines.append(f"{name} in the file is without effect: {why}")
    lines += [f"policy of {capabilities}: {shown(order, settings)}" for capabilities, order in policies(settings)]
    lines += [f"{vendor.name}: {state}" for vendor, state in vendors(settings)]
    typer.echo("\n".join(lines))


def _tell_dagster(port: int) -> str:
    """Have a running Dagster UI load the definitions anew, and return what came of it.

    Raises
    ------
    QuantMatrixError
        If a Dagster UI runs and could not load them: what it had loaded before is still in force there.
    """
    address = f"http://127.0.0.1:{port}/graphql"
    question = {"query": MUTATION, "variables": {"location": LOCATION}}
    try:
        answer = httpx.post(
            address, json=question, timeout=httpx.Timeout(RELOAD_SECONDS, connect=CONNECT_SECONDS), trust_env=False
        )
    except httpx.ConnectError:
        return f"no Dagster UI runs on port {port}: nothing to reload; the next run reads the file"
    except httpx.HTTPError as error:
        raise QuantMatrixError(
            f"whoever listens on QM_UI_PORT={port} did not answer: {type(error).__name__}; the next run reads the file"
        ) from error
    try:
        result = answer.json()["data"]["reloadRepositoryLocation"]
        outcome = result.get("locationOrLoadError", result)
        kind = outcome["__typename"]
    except (ValueError, KeyError, TypeError, AttributeError):
        return f"what answers on port {port} is no Dagster UI: nothing to reload; the next run reads the file"
    if kind != "RepositoryLocation":
        # Dagster wraps what our code raised; the first cause is what it raised.
        said = [*outcome.get("causes", []), outcome][0].get("message", "")
        raise QuantMatrixError(f"the Dagster UI on port {port} could not reload {LOCATION}: {kind}: {said}")
    return f"the Dagster UI on port {port} has reloaded {LOCATION}"
