"""`qm provisional` and `qm restate`: bars before their time, and history after it."""

from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from quantmatrix_pipeline import clock
from quantmatrix_pipeline.errors import ConfigurationError, UnknownSymbol
from quantmatrix_pipeline.resources.dagster_home import prepare
from quantmatrix_pipeline.settings import load

if TYPE_CHECKING:
    from quantmatrix_pipeline.resources.platform import Platform


def provisional() -> None:
    """Store the bars of the open session as they are so far: marked provisional, used for no number."""
    from quantmatrix_pipeline.ingest.provisional import ingest_provisional

    platform = _platform()
    done = ingest_provisional(
        platform.warehouse,
        platform.source,
        platform.calendar,
        now=clock.now(),
        grace=platform.grace,
        concurrency=platform.settings.fetch_concurrency,
        lock_wait_seconds=platform.settings.lock_wait_seconds,
    )
    typer.echo(
        f"{done.last}: {done.inserted:,} provisional bars, {done.revised:,} of them anew, {done.unchanged:,} unchanged,"
        f" {done.rejected:,} rejected, {len(done.failures):,} not served; a run after the close replaces them"
    )


def restate(
    symbol: Annotated[list[str] | None, typer.Option("--symbol", help="one more that is due; may be repeated")] = None,
    since: Annotated[
        datetime | None,
        typer.Option(formats=["%Y-%m-%d"], help="from this session on; default: its first recorded one"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Record again, as new revisions, what bars, corrections or actions that came late made untrue in the history."""
    from quantmatrix_pipeline.automation.jobs.restate import restate_all
    from quantmatrix_pipeline.warehouse import instruments

    if since and not symbol:
        raise ConfigurationError("--since needs --symbol: what is due without one is known to the day")
    platform = _platform()
    wanted = [s.upper() for s in symbol or ()]
    known = instruments.ids(platform.warehouse, wanted) if wanted else {}
    if unknown := sorted(set(wanted) - set(known)):
        raise UnknownSymbol(f"no instrument bears {', '.join(unknown)}; `qm symbols list` shows those that are known")
    done = restate_all(platform, list(known.values()), since.date() if since else None)
    if as_json:
        typer.echo(json.dumps(done))
        return
    typer.echo(
        f"{done['instruments']:,} instruments were due: {done['restated']:,} rows restated,"
        f" {done['recorded']:,} recorded, {done['unchanged']:,} unchanged,"
        f" {done['snapshots_changed']:,} snapshots changed, in {done['seconds']:.1f} s"
    )


def _platform() -> Platform:
    prepare(load())
    from quantmatrix_pipeline.resources.platform import Platform

    return Platform()
