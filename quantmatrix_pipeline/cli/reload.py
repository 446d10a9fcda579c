"""`qm reload`: read the files of settings and schedules again, say what is in force, and tell a running Dagster."""

from __future__ import annotations

import typer
from rich.console import Console

from quantmatrix_pipeline.dagster_client import LOCATION, Dagster, reload_location
from quantmatrix_pipeline.errors import (
    ConfigurationError,
    DagsterNotRunning,
    DagsterRefused,
    DagsterUnreachable,
    QuantMatrixError,
)
from quantmatrix_pipeline.providers.configured import policies, shown, vendors
from quantmatrix_pipeline.schedules.file import in_force
from quantmatrix_pipeline.settings import ENV_FILE, Reading, Settings, read


def reload() -> None:
    """Read the files of settings (QM_ENV_FILE) and of schedules again: what they say takes force without a restart.

    Of settings, policies, budgets and keys do; a file of them that is wrong changes nothing: each fault is one line,
    and the exit code is 2. The read API notices a new file by itself, and each run reads it when it starts; a Dagster
    UI that runs is asked to load its definitions anew, and with them the schedules. Where their file is wrong, the
    last good ones stay.
    """
    reading = read()
    if reading.settings is None:
        errors = Console(stderr=True, soft_wrap=True)
        for fault in reading.faults:
            errors.print("error", style="bold red", end=" ")
            errors.print(fault, highlight=False, markup=False)
        raise typer.Exit(ConfigurationError.exit_code)
    _show(reading, reading.settings)
    typer.echo(_tell_dagster(Dagster.of(reading.settings)))


def _show(reading: Reading, settings: Settings) -> None:
    lines = [
        f"in force from {reading.file}, and from the environment, which wins"
        if reading.file
        else f"in force from the environment alone, which takes a restart to change: {ENV_FILE} names no file"
    ]
    for name, winner in reading.shadowed.items():
        why = "the environment sets it" if name == winner else f"{winner} wins"
        lines.append(f"{name} in the file is without effect: {why}")
    lines += [f"policy of {capabilities}: {shown(order, settings)}" for capabilities, order in policies(settings)]
    lines += [f"{vendor.name}: {state}" for vendor, state in vendors(settings)]
    schedules = in_force(settings)
    lines.append(f"schedules: {schedules.trouble or f'{len(schedules.catalogue.schedules)} of {schedules.file}'}")
    typer.echo("\n".join(lines))


def _tell_dagster(dagster: Dagster) -> str:
    """Have a running Dagster load the definitions anew, and return what came of it.

    Raises
    ------
    QuantMatrixError
        If a Dagster UI runs and could not load them: what it had loaded before is still in force there.
    """
    try:
        reload_location(dagster)
    except DagsterNotRunning as error:
        return f"nothing to reload: {error}; the next run reads the file"
    except DagsterUnreachable as error:
        raise QuantMatrixError(f"{error}; the next run reads the file") from error
    except DagsterRefused as error:
        raise QuantMatrixError(f"{LOCATION} could not be reloaded: {error}") from error
    return f"the Dagster UI at {dagster.address} has reloaded {LOCATION}"
