"""`qm doctor`: what is configured, reachable, missing; the exit code says whether all is well."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Annotated

import typer
from rich.console import Console

from quantmatrix_pipeline import clock
from quantmatrix_pipeline.alerts.routing import Policy
from quantmatrix_pipeline.bars.sessions import trading_calendar
from quantmatrix_pipeline.cli.vendor_settings import policies, shown, vendors
from quantmatrix_pipeline.errors import QuantMatrixError
from quantmatrix_pipeline.providers.select import build as select
from quantmatrix_pipeline.resources.cache import Cache
from quantmatrix_pipeline.settings import Settings, load
from quantmatrix_pipeline.warehouse import coverage, migrations
from quantmatrix_pipeline.warehouse.embedded_programs import MAJOR
from quantmatrix_pipeline.warehouse.engine import Warehouse, masked
from quantmatrix_pipeline.warehouse.locate import embedded, locate

LEAST_DISK_GB = 2
OLD_HEARTBEAT = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at: `state` is ok, note (nothing wrong) or bad."""

    what: str
    state: str
    detail: str


def doctor(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Look at settings, database, migrations, source, vendors, Redis, disk and daemons; exit 1 if anything is bad."""
    found = examine(load())
    if as_json:
        typer.echo(json.dumps([asdict(f) for f in found]))
    else:
        console = Console(soft_wrap=True)
        marks = {"ok": "[green]ok  [/]", "note": "[yellow]note[/]", "bad": "[red]bad [/]"}
        for f in found:
            console.print(f"{marks[f.state]} {f.what}: ", end="")
            console.print(f.detail, highlight=False, markup=False)
    if any(f.state == "bad" for f in found):
        raise typer.Exit(1)


def examine(settings: Settings) -> list[Finding]:
    """Return what there is to say about an installation, without changing it: a stopped server stays stopped."""
    return [
        *_database(settings),
        _source(settings),
        *_vendors(settings),
        _redis(settings),
        _disk(settings),
        _alerts(settings),
    ]


def _database(settings: Settings) -> list[Finding]:
    if settings.database_url is None:
        server = embedded(settings)
        if not server.data.exists():
            return [Finding("database", "bad", f"no database in {server.folder} yet; `qm run` makes and fills one")]
        try:
            major = server.version()
            if major != MAJOR:
                detail = f"{server.folder} is of PostgreSQL {major}, this release brings {MAJOR}"
                return [Finding("database", "bad", f"{detail}; dump it with the old release, load it with this one")]
            if not server.is_running():
                return [
                    Finding("database", "bad", f"the embedded server in {server.folder} is stopped; `qm db upgrade`")
                ]
        except QuantMatrixError as error:
            return [Finding("database", "bad", str(error))]
        kind = f"embedded PostgreSQL {major}"
    else:
        kind = "QM_DATABASE_URL"
    try:
        where = locate(settings, start=False)
        warehouse = Warehouse(where.writer)
        version = warehouse.scalar("SHOW server_version")
        states = migrations.status(where.owner, migrations.folder())
    except QuantMatrixError as error:
        return [Finding("database", "bad", str(error))]
    found = [Finding("database", "ok", f"{kind} at {masked(where.writer)}, server {version}")]
    odd = [f"{m.id} {m.state.value}" for m in states if m.state is not migrations.State.APPLIED]
    found.append(
        Finding("migrations", "bad" if odd else "ok", ", ".join(odd) or f"{len(states)} applied")
        if states
        else Finding("migrations", "bad", "none applied; `qm db upgrade`")
    )
    if not odd:
        found += _heartbeats(warehouse)
    warehouse.close()
    return found


def _heartbeats(warehouse: Warehouse) -> list[Finding]:
    beats = coverage.heartbeats(warehouse)
    if not beats:
        return [Finding("daemon", "note", "no sensor has ticked yet; `qm up` runs them")]
    old = {name: at for name, (at, _) in beats.items() if clock.now() - at > OLD_HEARTBEAT}
    if old:
        detail = ", ".join(f"{name} last ticked {at:%Y-%m-%d %H:%M:%SZ}" for name, at in old.items())
        return [Finding("daemon", "note", f"{detail}; is `qm up` running?")]
    return [Finding("daemon", "ok", f"{len(beats)} sensors tick")]


def _source(settings: Settings) -> Finding:
    try:
        chosen = select(settings)
    except QuantMatrixError as error:
        return Finding("source", "bad", str(error))
    calendar = trading_calendar(settings.calendar)
    closed = calendar.newest_closed(clock.now(), timedelta(minutes=settings.close_grace_minutes))
    newest = chosen.provider.newest_session(closed)
    behind = len(calendar.sessions_in(newest, closed)) - 1
    # An archive is as old as it is; a folder that somebody should have filled tonight looks just the same.
    age = f"; its newest session is {newest}, {behind} sessions behind the exchange" if behind else ""
    return Finding("source", "note" if behind else "ok", f"{chosen.provider.name}: {chosen.reason}{age}")


def _vendors(settings: Settings) -> list[Finding]:
    """What the settings say; whether a vendor answers is found out by asking it, which costs calls."""
    found = [Finding(vendor.name, "ok" if vendor.usable else "note", state) for vendor, state in vendors(settings)]
    for capabilities, order in policies(settings):
        served = any(settings.vendor(name).usable for name in order)
        found.append(Finding(f"policy of {capabilities}", "ok" if served else "note", shown(order, settings)))
    return found


def _redis(settings: Settings) -> Finding:
    if settings.redis_url is None:
        return Finding("redis", "note", "QM_REDIS_URL is not set; everything works without")
    fault = Cache(settings.redis_url).ping()
    return Finding("redis", "bad", fault) if fault else Finding("redis", "ok", "answers")


def _disk(settings: Settings) -> Finding:
    folder = settings.data_dir.resolve()
    there = next(p for p in (folder, *folder.parents) if p.exists())
    free = shutil.disk_usage(there).free / 1e9
    return Finding("disk", "ok" if free >= LEAST_DISK_GB else "bad", f"{free:.0f} GB free under {folder}")


def _alerts(settings: Settings) -> Finding:
    channels = [name for name, _ in Policy.of(settings).channels()]
    if not channels:
        return Finding("alerts", "note", "DISCORD_WEBHOOK_SYSTEM_STATUS is not set; failures go to the log only")
    return Finding("alerts", "ok", f"failures go to {', '.join(channels)}; `qm alerts test` tries it")
