"""`qm doctor`: what is configured, reachable, missing; the exit code says whether all is well."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer
from rich.console import Console

from quantmatrix_pipeline import clock
from quantmatrix_pipeline.alerts.routing import Policy
from quantmatrix_pipeline.backups.store import Store
from quantmatrix_pipeline.bars.sessions import trading_calendar
from quantmatrix_pipeline.errors import QuantMatrixError
from quantmatrix_pipeline.health import copies, machine, stored
from quantmatrix_pipeline.health.finding import Finding, Verdict, bad, note, ok
from quantmatrix_pipeline.health.unattended import unattended
from quantmatrix_pipeline.providers.configured import policies, shown, vendors
from quantmatrix_pipeline.providers.select import build as select
from quantmatrix_pipeline.schedules.file import in_force, look
from quantmatrix_pipeline.settings import Settings, load
from quantmatrix_pipeline.settings.alerts import channel_names, variable
from quantmatrix_pipeline.warehouse import migrations, vital_signs
from quantmatrix_pipeline.warehouse.embedded_programs import MAJOR
from quantmatrix_pipeline.warehouse.engine import Warehouse, masked
from quantmatrix_pipeline.warehouse.locate import embedded, locate


def doctor(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Look at settings, database, clocks, Dagster, backups, source, vendors, Redis, disk; exit 1 if anything is bad."""
    found = examine(load())
    if as_json:
        typer.echo(json.dumps([asdict(f) for f in found]))
    else:
        console = Console(soft_wrap=True)
        marks = {"ok": "[green]ok  [/]", "note": "[yellow]note[/]", "bad": "[red]bad [/]"}
        for f in found:
            console.print(f"{marks[f.state]} {f.what}: ", end="")
            console.print(f.detail, highlight=False, markup=False)
        ill = [f.what for f in found if f.state is Verdict.BAD]
        told = f"{len(ill)} bad: {', '.join(ill)}" if ill else "nothing is bad"
        console.print(told, style="bold", highlight=False, markup=False)
    if any(f.state is Verdict.BAD for f in found):
        raise typer.Exit(1)


def examine(settings: Settings) -> list[Finding]:
    """Return what there is to say about an installation, without changing it: a stopped server stays stopped."""
    return [
        machine.environment(),
        *_database(settings),
        _backups(settings),
        _source(settings),
        *_vendors(settings),
        machine.redis_answers(settings),
        look(settings),
        machine.disk(settings),
        *_alerts(settings),
    ]


def _database(settings: Settings) -> list[Finding]:
    if settings.database_url is None:
        server = embedded(settings)
        if not server.data.exists():
            return [bad("database", f"no database in {server.folder} yet; `qm run` makes and fills one")]
        try:
            major = server.version()
            if major != MAJOR:
                detail = f"{server.folder} is of PostgreSQL {major}, this release brings {MAJOR}"
                return [bad("database", f"{detail}; dump it with the old release, load it with this one")]
            if not server.is_running():
                return [bad("database", f"the embedded server in {server.folder} is stopped; `qm db upgrade`")]
        except QuantMatrixError as error:
            return [bad("database", str(error))]
        kind = f"embedded PostgreSQL {major}"
    else:
        kind = "QM_DATABASE_URL"
    try:
        where = locate(settings, start=False)
        warehouse = Warehouse(where.writer)
        version = warehouse.ping()
        states = migrations.status(where.owner, migrations.folder())
    except QuantMatrixError as error:
        return [bad("database", str(error))]
    found = [ok("database", f"{kind} at {masked(where.writer)}, server {version}")]
    odd = [f"{m.id} {m.state.value}" for m in states if m.state is not migrations.State.APPLIED]
    if not states or odd:
        found.append(bad("migrations", f"{', '.join(odd) or 'none applied'}; `qm db upgrade`"))
    else:
        found.append(ok("migrations", f"{len(states)} applied"))
        found += _signs(warehouse)
    warehouse.close()
    return found


def _signs(warehouse: Warehouse) -> list[Finding]:
    signs = vital_signs.read(warehouse)
    wall = clock.wall()
    return [
        stored.clock(signs, wall),
        *unattended(signs.beats, clock.now(), wall),
        *stored.members(signs),
        stored.vendors(signs),
    ]


def _backups(settings: Settings) -> Finding:
    try:
        newest = next((backup for backup in Store.of(settings).backups() if backup.complete), None)
    except QuantMatrixError as error:
        return bad("backup", str(error))
    if newest is None or newest.manifest is None:
        return note("backup", "none was taken; `qm backup create` takes one")
    said = newest.verification
    proved_at, faults = (None, ()) if said is None else (said.at, said.faults)
    now = datetime.fromtimestamp(clock.wall(), UTC)
    return copies.backup(newest.name, newest.manifest.taken_at, proved_at, faults, now)


def _source(settings: Settings) -> Finding:
    try:
        chosen = select(settings)
    except QuantMatrixError as error:
        return bad("source", str(error))
    calendar = trading_calendar(settings.calendar)
    closed = calendar.newest_closed(clock.now(), timedelta(minutes=settings.close_grace_minutes))
    newest = chosen.provider.newest_session(closed)
    behind = len(calendar.sessions_in(newest, closed)) - 1
    # An archive is as old as it is; a folder that somebody should have filled tonight looks just the same.
    age = f"; its newest session is {newest}, {behind} sessions behind the exchange" if behind else ""
    return (note if behind else ok)("source", f"{chosen.provider.name}: {chosen.reason}{age}")


def _vendors(settings: Settings) -> list[Finding]:
    """What the settings say; whether a vendor answers is found out by asking it, which costs calls."""
    found = [(ok if vendor.usable else note)(vendor.name, state) for vendor, state in vendors(settings)]
    for capabilities, order in policies(settings):
        served = any(settings.vendor(name).usable for name in order)
        found.append((ok if served else note)(f"policy of {capabilities}", shown(order, settings)))
    return found


def _alerts(settings: Settings) -> list[Finding]:
    """Say who hears of failures, which channels are named and not set, and whether what to do is a click away."""
    policy = Policy.of(settings)
    heard = ", ".join(name for name, _ in policy.channels())
    found = [
        ok("alerts", f"failures go to {heard}; `qm alerts test` tries it")
        if heard
        else note("alerts", "DISCORD_WEBHOOK_SYSTEM_STATUS is not set; failures go to the log only")
    ]
    named = _named_by(settings, policy)
    for name in policy.unset(named):
        instead = f"what it should hear goes to {heard or 'the log only'}"
        found.append(
            bad(f"channel {name}", f"named by {', '.join(named[name])}, and {variable(name)} is not set: {instead}")
        )
    if (heard or policy.usable) and not policy.links.runbook.startswith(("http://", "https://")):
        found.append(note("runbook", f"QM_RUNBOOK_URL is {policy.links.runbook}, which nobody can click in a message"))
    return found


def _named_by(settings: Settings, policy: Policy) -> dict[str, list[str]]:
    """Return channel -> who names it: variables, and schedules."""
    digest = () if settings.digest_channels is None else channel_names(settings.digest_channels.get_secret_value())
    places = [
        ("QM_ALERT_CHANNELS", policy.usual),
        *(("QM_ALERT_ROUTES", names) for names in policy.by_owner.values()),
        ("QM_DIGEST_CHANNELS", digest),
        *((f"schedule {name}", entry.hooks.channels) for name, entry in in_force(settings).catalogue.schedules.items()),
    ]
    found: dict[str, dict[str, None]] = {}
    for place, names in places:
        for name in names:
            found.setdefault(name, {})[place] = None
    return {name: list(by) for name, by in found.items()}
