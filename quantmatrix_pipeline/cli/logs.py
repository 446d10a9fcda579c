"""`qm logs`: where the logs are, and what they say."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from quantmatrix_pipeline.cli.log_files import (
    KEPT,
    LARGEST_BYTES,
    follow,
    last_lines,
    log_files,
    redacted,
    secrets,
)
from quantmatrix_pipeline.errors import ConfigurationError
from quantmatrix_pipeline.settings import Settings, load

ALL = "all"


def logs(
    name: Annotated[
        str | None, typer.Argument(help="api, code, ui, daemon, database, or all; without it: where they are")
    ] = None,
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, help="so many, the last")] = 50,
    following: Annotated[bool, typer.Option("--follow", "-f", help="and what comes, until Ctrl-C")] = False,
) -> None:
    """Say where the logs of what runs unattended are, or show one, with keys and passwords replaced by ***."""
    settings = load()
    if name is None:
        _list(settings)
        return
    files = log_files(settings)
    if name == ALL:
        if following:
            raise ConfigurationError("--follow takes the name of one log")
        _newest(files, lines, secrets(settings))
        return
    if name not in files:
        raise ConfigurationError(f"no log {name!r}; there are {', '.join((*files, ALL))}")
    file = files[name]
    if not file.exists():
        raise ConfigurationError(f"{file} is not there yet: `qm up` begins it")
    hidden = secrets(settings)
    for line in last_lines(file, lines):
        typer.echo(redacted(line, hidden))
    if following:
        for line in follow(file):
            typer.echo(redacted(line, hidden))


def _newest(files: Mapping[str, Path], count: int, hidden: tuple[str, ...]) -> None:
    there = {name: file for name, file in files.items() if file.exists()}
    if not there:
        raise ConfigurationError("there are no logs yet: `qm up` begins them")
    for name, file in there.items():
        typer.echo(f"--- {name}: {file}")
        for line in last_lines(file, count):
            typer.echo(redacted(line, hidden))


def _list(settings: Settings) -> None:
    typer.echo(_row("log", "size", "last written (UTC)", "file"))
    for name, file in log_files(settings).items():
        there = file.stat() if file.exists() else None
        size = "" if there is None else f"{there.st_size / 1e6:,.1f} MB"
        at = "never" if there is None else f"{datetime.fromtimestamp(there.st_mtime, UTC):%Y-%m-%d %H:%M:%S}"
        typer.echo(_row(name, size, at, str(file)))
    typer.echo(
        f"`qm up` moves a log over {LARGEST_BYTES / 1e6:.0f} MB to .1 and keeps {KEPT} of each; the embedded database "
        f"keeps a week\nwhat each run printed: {settings.dagster_home / 'storage'}"
    )


def _row(name: str, size: str, at: str, file: str) -> str:
    return f"{name:10}{size:>10}  {at:20}{file}"
