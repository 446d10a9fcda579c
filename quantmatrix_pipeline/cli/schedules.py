"""`qm schedules`: what runs when, what comes next and why not, and changing it."""

from __future__ import annotations

import getpass
import json
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from quantmatrix_pipeline import clock
from quantmatrix_pipeline.dagster_client import Dagster, Instigator
from quantmatrix_pipeline.dagster_client import schedules as ask_dagster
from quantmatrix_pipeline.errors import ConfigurationError, DagsterUnreachable, QuantMatrixError
from quantmatrix_pipeline.schedules import launching
from quantmatrix_pipeline.schedules.editing import Edited, Editor
from quantmatrix_pipeline.schedules.file import FINGERPRINT, InForce, in_force
from quantmatrix_pipeline.schedules.preview import Coming, conditions
from quantmatrix_pipeline.schedules.preview import preview as foretell
from quantmatrix_pipeline.schedules.text import written
from quantmatrix_pipeline.settings import Settings, load
from quantmatrix_pipeline.warehouse import schedules as audit
from quantmatrix_pipeline.warehouse.engine import Warehouse
from quantmatrix_pipeline.warehouse.locate import open_writer, upgrade

app = typer.Typer(
    help="What runs when, what comes next and why not, and changing it.", no_args_is_help=True, add_completion=False
)

Name = Annotated[str, typer.Argument(help="a schedule that `qm schedules list` shows")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def _actor() -> str:
    return f"qm:{getpass.getuser()}"


def _open(settings: Settings) -> Warehouse:
    upgrade(settings)
    return open_writer(settings)


def _running(dagster: Dagster) -> tuple[dict[str, Instigator], str | None]:
    """Return what Dagster has loaded, and why that can't be said."""
    try:
        return ask_dagster(dagster), None
    except QuantMatrixError as error:
        return {}, str(error)


@app.command("list")
def list_command(as_json: AsJson = False) -> None:
    """List the schedules: when they tick, whether they do, and how the last tick went."""
    settings = load()
    found = in_force(settings)
    running, silent = _running(Dagster.of(settings))
    zone = launching.exchange(settings).zone
    rows = []
    for name, entry in found.catalogue.schedules.items():
        at = running.get(name)
        last = at.ticks[0] if at and at.ticks else None
        rows.append(
            {
                "name": name,
                "job": entry.job,
                "cron": entry.cron,
                "timezone": str(entry.zone(zone)),
                "state": _state(entry.enabled, at),
                "next_tick": at.next_tick if at else None,
                "last_tick": last.at if last else None,
                "last_status": last.status if last else None,
                "last_note": last.note if last else None,
            }
        )
    if as_json:
        typer.echo(json.dumps({"file": str(found.file), "fault": found.fault, "schedules": rows}, default=_plain))
        return
    table = Table(box=None, pad_edge=False)
    for column in ("schedule", "cron", "state", "next", "last tick"):
        table.add_column(column, no_wrap=column != "last tick")
    for row in rows:
        told = [_short(row["last_tick"]), str(row["last_status"] or "").lower(), str(row["last_note"] or "")]
        last_tick = " ".join(part for part in told if part != "-" and part)
        cron = f"{row['cron']}  {row['timezone']}"
        table.add_row(str(row["name"]), cron, str(row["state"]), _short(row["next_tick"]), last_tick or "-")
    console = Console(soft_wrap=True)
    console.print(table)
    for line in (f"file     {found.file}", _fault(found), silent, _behind(found, running)):
        if line:
            console.print(line, highlight=False, markup=False)


@app.command()
def preview(name: Name, as_json: AsJson = False) -> None:
    """Show the next ten ticks in the entry's zone and in UTC, which are known to be skipped, and why."""
    settings = load()
    entry = in_force(settings).entry(name)
    dagster = Dagster.of(settings)
    try:
        done = launching.newest_done(dagster, entry.job)
    except DagsterUnreachable:
        done = None
    coming = foretell(entry, launching.exchange(settings), clock.now(), done)
    if as_json:
        typer.echo(json.dumps({"ticks": [asdict(c) for c in coming], "if": conditions(entry)}, default=_plain))
        return
    for tick in coming:
        typer.echo(f"{tick.local:%a %Y-%m-%d %H:%M %Z}  {tick.utc:%Y-%m-%d %H:%M} UTC  {_what(tick)}")
    typer.echo(f"each runs if: {'; '.join(conditions(entry))}")


@app.command()
def validate(
    file: Annotated[Path | None, typer.Argument(help="another file than the one that should be in force")] = None,
) -> None:
    """Say whether a schedules file is right: every fault is a line with entry and field; exit code 2."""
    # What a job is only the definitions can say, which take seconds to load.
    from quantmatrix_pipeline.automation.jobs.known import known
    from quantmatrix_pipeline.definitions import build_defs

    settings = load()
    if file is not None:
        settings = settings.model_copy(update={"schedules_file": file})
    found = in_force(settings, known(build_defs()))
    if found.fault:
        raise ConfigurationError(found.fault)
    typer.echo(f"{found.file}: {len(found.catalogue.schedules)} schedules, no fault")


@app.command()
def export(
    output: Annotated[Path | None, typer.Option("--output", "-o", help="a file; left out: standard output")] = None,
) -> None:
    """Write the schedules in force as a file that `import` reads."""
    text = written(in_force(load()).catalogue)
    if output is None:
        sys.stdout.write(text)
    else:
        output.write_text(text, encoding="utf-8")


@app.command("import")
def import_command(file: Annotated[Path, typer.Argument(help="a schedules file; - for standard input")]) -> None:
    """Put all schedules of a file in the place of those in force; a file with a fault changes nothing."""
    settings = load()
    try:
        text = sys.stdin.read() if str(file) == "-" else file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{file} can't be read: {error}") from None
    editor = Editor(settings, _open(settings), Dagster.of(settings), _actor())
    _say(editor.replace_all(text, clock.now()))


@app.command()
def pause(name: Name) -> None:
    """Let a schedule tick no more, in the running Dagster; it stays so until it is resumed."""
    settings = load()
    in_force(settings).entry(name)
    launching.pause(Dagster.of(settings), _open(settings), name, _actor(), clock.now())
    typer.echo(f"{name} is paused; `qm schedules resume {name}` lets it tick again")


@app.command()
def resume(name: Name) -> None:
    """Let a schedule tick, in the running Dagster, whether its entry is enabled or not."""
    settings = load()
    in_force(settings).entry(name)
    launching.resume(Dagster.of(settings), _open(settings), name, _actor(), clock.now())
    typer.echo(f"{name} ticks")


@app.command("run-now")
def run_now(
    name: Name,
    session: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], help="for this session; left out: as the next tick would")
    ] = None,
) -> None:
    """Launch a schedule's run now in the running Dagster, whatever its conditions are."""
    settings = load()
    entry = in_force(settings).entry(name)
    dagster = Dagster.of(settings)
    day = session.date() if session else None
    launched = launching.run_now(dagster, _open(settings), settings, name, entry, _actor(), clock.now(), day)
    typer.echo(f"{launched.job} is launched: {dagster.page(launched.run_id)}")


@app.command("audit")
def audit_command(
    name: Annotated[str | None, typer.Argument(help="of this schedule only")] = None,
    limit: Annotated[int, typer.Option(min=1, help="so many, the newest first")] = 20,
) -> None:
    """Show who did what to schedules, and what it changed."""
    settings = load()
    for change in audit.changes(_open(settings), name, limit):
        fields = "; ".join(f"{f}: {was!r} -> {now!r}" for f, (was, now) in change.difference.items())
        what = [change.actor, change.action, change.schedule, fields, change.run_id, change.error]
        typer.echo("  ".join(part for part in (f"{change.at:%Y-%m-%d %H:%M:%SZ}", *what) if part))


def _say(edited: Edited) -> None:
    if edited.file is None:
        typer.echo("nothing is different")
        return
    typer.echo(f"{edited.file} is written: {', '.join(f'{c.schedule} {_deed(c)}' for c in edited.changes) or 'mended'}")
    typer.echo("Dagster has loaded it" if edited.live else str(edited.note))


def _deed(change: audit.Change) -> str:
    if all(was is None for was, _ in change.difference.values()):
        return "added"
    return "removed" if all(now is None for _, now in change.difference.values()) else "changed"


def _state(enabled: bool, at: Instigator | None) -> str:
    if at is None:
        return "on" if enabled else "off"
    if at.running:
        return "on" if enabled else "on (resumed)"
    return "paused" if enabled else "off"


def _what(tick: Coming) -> str:
    if tick.skipped:
        return f"skipped: {tick.skipped}"
    return f"runs for {tick.sessions}" if tick.sessions else "runs"


def _fault(found: InForce) -> str | None:
    return f"broken   {found.trouble}" if found.trouble else None


def _behind(found: InForce, running: dict[str, Instigator]) -> str | None:
    """Say that Dagster has other schedules loaded than those in force."""
    if running and any(at.tags.get(FINGERPRINT) != found.fingerprint for at in running.values()):
        return "Dagster has not loaded these yet; `qm up` does within seconds, `qm reload` at once"
    return None


def _short(instant: object) -> str:
    return f"{instant.astimezone(UTC):%Y-%m-%d %H:%MZ}" if isinstance(instant, datetime) else "-"


def _plain(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)
