"""`qm backfill`: ask for what symbols lack of a stretch of sessions."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated

import typer

from quantmatrix_pipeline import clock
from quantmatrix_pipeline.bars.sessions import trading_calendar
from quantmatrix_pipeline.errors import ConfigurationError, UnknownSymbol
from quantmatrix_pipeline.ingest.backfill import ask
from quantmatrix_pipeline.job_names import WORK_QUEUE
from quantmatrix_pipeline.providers.symbols import canonical
from quantmatrix_pipeline.settings import load
from quantmatrix_pipeline.warehouse import universe
from quantmatrix_pipeline.warehouse.locate import open_writer, upgrade

Day = Annotated[datetime | None, typer.Option(formats=["%Y-%m-%d"])]


def backfill(
    symbols: Annotated[str, typer.Option(help="tracked symbols, separated by commas; all: every one")],
    start: Annotated[datetime, typer.Option(formats=["%Y-%m-%d"], help="first session, inclusive")],
    end: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], help="last session, inclusive; default: the newest closed")
    ] = None,
    interval: Annotated[str, typer.Option(help="1d")] = "1d",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="only say what is missing")] = False,
) -> None:
    """Queue what symbols lack of a stretch; the job work_backfill_queue fetches it."""
    if interval != "1d":
        raise ConfigurationError(f"--interval {interval!r}: only 1d bars are stored")
    settings = load()
    upgrade(settings)
    warehouse = open_writer(settings)
    calendar = trading_calendar(settings.calendar)
    first = start.date()
    last = end.date() if end else calendar.newest_closed(clock.now(), timedelta(minutes=settings.close_grace_minutes))
    if not len(calendar.sessions_in(first, last)):
        raise ConfigurationError(f"there is no session of {calendar.name} from {first} to {last}")
    tracked = {t.symbol: t for t in universe.tracked(warehouse)}
    wanted = list(tracked) if symbols == "all" else [canonical(s.strip()) or s.strip() for s in symbols.split(",")]
    if unknown := sorted(set(wanted) - set(tracked)):
        raise UnknownSymbol(
            f"not tracked: {', '.join(unknown)}; `qm symbols add` does, `qm symbols list` shows the others"
        )
    who = [tracked[s] for s in sorted(set(wanted))]
    asked = ask(warehouse, calendar, who, first, last, now=clock.now(), dry_run=dry_run)
    told = f"{asked.lacking.symbols} symbols lack {asked.lacking.sessions:,} sessions"
    if dry_run:
        for request in asked.lacking.most:
            typer.echo(f"{request.symbol:10} {len(request.sessions):6,} sessions, {request.first} to {request.last}")
        typer.echo(f"{told}; nothing was queued")
        return
    typer.echo(
        f"{told}: {asked.made} jobs queued, {asked.lacking.symbols - asked.made} joined those that wait or run already;"
        f" the job {WORK_QUEUE} fetches them (under `qm up` within a minute or so)"
    )
