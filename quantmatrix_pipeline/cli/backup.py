"""`qm backup`: take, list, prove and put back copies of the databases."""

from __future__ import annotations

import json
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from quantmatrix_pipeline.backups.create import create
from quantmatrix_pipeline.backups.manifest import Part
from quantmatrix_pipeline.backups.restore import restore
from quantmatrix_pipeline.backups.store import NEWEST, Backup, Store
from quantmatrix_pipeline.backups.verify import verify
from quantmatrix_pipeline.settings import load

app = typer.Typer(
    help="Copies of the databases: create, list, verify, restore.", no_args_is_help=True, add_completion=False
)

Name = Annotated[str, typer.Argument(help="a backup's name as `list` shows it, or `newest`")]
AsJson = Annotated[bool, typer.Option("--json", help="as JSON")]


@app.command("create")
def create_command(as_json: AsJson = False) -> None:
    """Take a backup of the warehouse and of Dagster's storage; keep the newest QM_BACKUP_KEEP."""
    with Console(stderr=True).status("dumping"):
        taken = create(load())
    if as_json:
        typer.echo(json.dumps({"name": taken.name, "removed": list(taken.removed), "seconds": taken.seconds}))
        return
    typer.echo(f"{taken.name} in {taken.where}: {_size(taken.manifest.bytes)} in {taken.seconds:.1f} s")
    for part in taken.manifest.parts:
        typer.echo(f"  {_said(part)}")
    if taken.removed:
        typer.echo(f"  removed {', '.join(taken.removed)}")


@app.command("list")
def list_command(as_json: AsJson = False) -> None:
    """List the backups, the newest first, with what is wrong with them."""
    store = Store.of(load())
    found = store.backups()
    if as_json:
        typer.echo(json.dumps([_row(backup) for backup in found]))
        return
    if not found:
        typer.echo(f"no backups in {store.shown}; `qm backup create` takes one")
        return
    table = Table("backup", "state", "size", "rows", "verified", box=None)
    for backup in found:
        manifest = backup.manifest
        size, rows = ("", "") if manifest is None else (_size(manifest.bytes), f"{manifest.rows:,}")
        table.add_row(backup.name, "; ".join(backup.faults) or "complete", size, rows, _verified(backup))
    console = Console(soft_wrap=True)
    console.print(f"in {store.shown}", highlight=False)
    console.print(table, highlight=False)


@app.command("verify")
def verify_command(name: Name = NEWEST) -> None:
    """Restore a backup into scratch databases and compare rows and hash of each table; exit 1 if anything differs."""
    with Console(stderr=True).status("restoring into a scratch database"):
        done = verify(load(), name)
    if done.faults:
        typer.echo("\n".join([f"{done.name} is not what was dumped:", *(f"  {fault}" for fault in done.faults)]))
        raise typer.Exit(1)
    what = f"{sum(len(part.tables) for part in done.manifest.parts)} tables, {done.manifest.rows:,} rows"
    typer.echo(f"{done.name} is whole: {what}, restored and compared in {done.seconds:.1f} s")


@app.command("restore")
def restore_command(
    name: Name,
    only: Annotated[list[str] | None, typer.Option(help="put back this part only: warehouse or dagster")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="what the databases hold now may be lost")] = False,
) -> None:
    """Put a backup back into the databases of the settings; into ones that hold tables only with --overwrite.

    Stop `qm up` first: what runs would hold the restore up, and go on with what is gone.
    """
    with Console(stderr=True).status("restoring"):
        done = restore(load(), name, only=only or (), overwrite=overwrite)
    for part in done.parts:
        typer.echo(f"{done.name}: {_said(part)}")
    typer.echo("next: `qm db upgrade`, should this release be newer than the backup; then `qm status`")


def _said(part: Part) -> str:
    return f"{part.name}: {len(part.tables)} tables, {part.rows:,} rows, {_size(part.bytes)}"


def _row(backup: Backup) -> dict[str, object]:
    manifest, verification = backup.manifest, backup.verification
    return {
        "name": backup.name,
        "complete": backup.complete,
        "faults": list(backup.faults),
        "taken_at": manifest and manifest.taken_at.isoformat(),
        "release": manifest and manifest.release,
        "bytes": manifest and manifest.bytes,
        "rows": manifest and manifest.rows,
        "verified_at": verification and verification.at.isoformat(),
        "verification_faults": None if verification is None else list(verification.faults),
    }


def _verified(backup: Backup) -> str:
    if backup.verification is None:
        return "never"
    faults = backup.verification.faults
    return f"{backup.verification.at:%Y-%m-%d}" + (f" with {len(faults)} faults: {faults[0]}" if faults else " ok")


def _size(count: int) -> str:
    return f"{count / 1e6:,.1f} MB"
