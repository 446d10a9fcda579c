"""`qm db`: the database itself."""

from __future__ import annotations

from typing import Annotated

import typer

from quantmatrix_pipeline.settings import load
from quantmatrix_pipeline.warehouse import migrations
from quantmatrix_pipeline.warehouse.engine import masked
from quantmatrix_pipeline.warehouse.locate import embedded, locate, upgrade

app = typer.Typer(help="The database: upgrade, status, url, stop.", no_args_is_help=True, add_completion=False)


@app.command("upgrade")
def upgrade_command() -> None:
    """Start the embedded server if it is the one, and apply the pending migrations."""
    applied = upgrade(load())
    typer.echo("\n".join(f"applied {name}" for name in applied) if applied else "nothing to apply")


@app.command()
def status() -> None:
    """Say where the database is, whether it runs, and how its migrations stand."""
    settings = load()
    if settings.database_url is None:
        server = embedded(settings)
        if not server.is_running():
            typer.echo(f"embedded PostgreSQL in {server.folder}: stopped; `qm db upgrade` starts it")
            return
        typer.echo(f"embedded PostgreSQL {server.version()} in {server.folder}: running")
    where = locate(settings)
    typer.echo(masked(where.owner))
    for migration in migrations.status(where.owner, migrations.folder()):
        typer.echo(f"  {migration.state.value:9} {migration.id}")


@app.command()
def url(
    role: Annotated[str, typer.Option(help="reader, writer or owner")] = "reader",
    database: Annotated[str, typer.Option(help="warehouse or dagster")] = "warehouse",
) -> None:
    """Print the URL with its password, for psql, Grafana and the like."""
    where = locate(load())
    if database == "dagster":
        typer.echo(where.dagster)
        return
    if role not in ("reader", "writer", "owner"):
        raise typer.BadParameter("--role takes reader, writer or owner")
    typer.echo(getattr(where, role))


@app.command()
def stop() -> None:
    """Stop the embedded server; it otherwise stays up between commands."""
    settings = load()
    if settings.database_url is not None:
        typer.echo("QM_DATABASE_URL names a server that is not ours to stop")
        return
    server = embedded(settings)
    server.stop()
    typer.echo(f"stopped the embedded PostgreSQL in {server.folder}")
