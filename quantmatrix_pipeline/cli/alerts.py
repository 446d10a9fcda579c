"""`qm alerts`: what is wrong now, what waits for which channel, silence, and a trial of each channel."""

from __future__ import annotations

import getpass
import json
import os
from dataclasses import asdict
from datetime import datetime, timedelta
from functools import partial
from typing import Annotated, Any

import typer

from quantmatrix_pipeline.alerts import digest
from quantmatrix_pipeline.alerts.channels import sender
from quantmatrix_pipeline.alerts.deliver import deliver, instant
from quantmatrix_pipeline.alerts.message import Message, Tone
from quantmatrix_pipeline.alerts.routing import Policy
from quantmatrix_pipeline.bars.sessions import trading_calendar
from quantmatrix_pipeline.errors import ConfigurationError
from quantmatrix_pipeline.settings import Settings, load
from quantmatrix_pipeline.settings.alerts import channel_names, variable
from quantmatrix_pipeline.warehouse import alert_incidents as incidents
from quantmatrix_pipeline.warehouse import alert_outbox as outbox
from quantmatrix_pipeline.warehouse.engine import Warehouse
from quantmatrix_pipeline.warehouse.locate import open_writer, upgrade

app = typer.Typer(
    help="What is wrong now, who was told, and silence about it.", no_args_is_help=True, add_completion=False
)

TRIAL_TIMEOUT = 10.0


def _open() -> tuple[Settings, Warehouse]:
    settings = load()
    upgrade(settings)
    return settings, open_writer(settings)


@app.command("list")
def list_command(as_json: Annotated[bool, typer.Option("--json", help="as JSON")] = False) -> None:
    """List the open incidents, the mutes in force, and what waits for each channel."""
    _, warehouse = _open()
    found: dict[str, list[dict[str, Any]]] = {
        "incidents": incidents.open_now(warehouse),
        "mutes": incidents.mutes(warehouse, instant()),
        "channels": outbox.overview(warehouse),
    }
    if as_json:
        typer.echo(json.dumps(found, default=str))
        return
    for row in found["incidents"]:
        times = f"{row['occurrences']} times since" if row["occurrences"] > 1 else "since"
        typer.echo(f"{', '.join(row['subjects'])} is broken, {times} {_at(row['opened_at'])}: {row['cause']}")
    if not found["incidents"]:
        typer.echo("nothing is broken, as far as was noticed")
    for row in found["mutes"]:
        until = f"until {_at(row['until'])}" if row["until"] else "until it is lifted"
        typer.echo(f"mute {row['mute_id']}: silence about {row['what']} {until}, by {row['muted_by']}: {row['note']}")
    for row in found["channels"]:
        typer.echo(_channel(row))


@app.command()
def mute(
    what: Annotated[str, typer.Argument(help="job:NAME, check:ASSET.CHECK, or the beginning of some up to a *")],
    hours: Annotated[float | None, typer.Option(min=0.01, help="for so long; default: until it is lifted")] = None,
    note: Annotated[str, typer.Option(help="why: what one would want to read later")] = "",
    by: Annotated[str | None, typer.Option(help="who says so; default: the account that runs this")] = None,
) -> None:
    """Say nothing about something, neither that it is broken nor that it works again."""
    if not note.strip():
        raise ConfigurationError("--note is empty; say why, for whoever wonders about the silence")
    _, warehouse = _open()
    now = instant()
    until = None if hours is None else now + timedelta(hours=hours)
    number = incidents.mute(warehouse, what, until, note, by or getpass.getuser(), now)
    typer.echo(f"mute {number}: silence about {what} {f'until {until:%Y-%m-%d %H:%M}Z' if until else 'until lifted'}")


@app.command()
def unmute(number: Annotated[int, typer.Argument(help="of the mute, as `qm alerts list` shows it")]) -> None:
    """Lift a mute; what is still wrong is told when it occurs next."""
    if not incidents.unmute(_open()[1], number, instant()):
        raise ConfigurationError(f"no mute {number} is in force; `qm alerts list` shows those that are")
    typer.echo(f"mute {number} is lifted")


@app.command()
def retry() -> None:
    """Queue anew what was refused or given up, end all pauses, and send."""
    settings, warehouse = _open()
    waiting = outbox.again(warehouse, instant())
    done = deliver(warehouse, partial(sender, settings, timeout=TRIAL_TIMEOUT), worker=f"qm alerts retry {os.getpid()}")
    typer.echo(f"{waiting} waited: {done.delivered} delivered, {done.refused} refused, {done.later} put off")
    if done.delivered < waiting:
        raise typer.Exit(1)


@app.command("test")
def trial(
    channels: Annotated[
        str | None, typer.Argument(help="aliases or addresses, commas between; default: the usual")
    ] = None,
) -> None:
    """Send a message to channels now, past the outbox, and say what each answered; exit 1 unless all took it."""
    settings = load()
    policy = Policy.of(settings)
    try:
        wished = channel_names(channels or "")
    except ValueError as error:
        raise ConfigurationError(str(error)) from None
    found = policy.named(wished) if wished else policy.channels()
    if not found:
        raise ConfigurationError(f"no channel is set: {'QM_ALERT_CHANNELS and its like' if not wished else channels}")
    hello = Message("test", Tone.INFO, "A trial of this channel by `qm alerts test`: it works.", link=policy.links.ui)
    unset = policy.unset(wished)
    for name in unset:
        typer.echo(f"{name}: {variable(name)} is not set")
    good = not unset
    for channel in found:
        by = sender(settings, channel, TRIAL_TIMEOUT)
        assert by is not None  # only what is set is found
        outcome = by.send(hello, int(instant().timestamp()), None)
        good &= outcome.delivered
        typer.echo(f"{channel[0]}: {'took it' if outcome.delivered else outcome.reason}")
    if not good:
        raise typer.Exit(1)


@app.command("digest")
def digest_command(
    session: Annotated[
        datetime | None, typer.Argument(formats=["%Y-%m-%d"], help="default: the newest of the history")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="as JSON")] = False,
) -> None:
    """Print the digest of a session; the job `send_digest` sends it."""
    settings, warehouse = _open()
    calendar = trading_calendar(settings.calendar)
    found = digest.gather(
        warehouse,
        calendar,
        None if session is None else calendar.require_session(session.date()),
        target=settings.coverage_target,
        now=instant(),
    )
    shown = digest.message(found, Policy.of(settings).links)
    typer.echo(json.dumps(asdict(shown)) if as_json else shown.plain())


def _channel(row: dict[str, Any]) -> str:
    told = [f"last took a message {_at(row['delivered_at'])}" if row["delivered_at"] else "has taken none yet"]
    if row["queued"]:
        told.append(f"{row['queued']} wait since {_at(row['oldest'])}")
    if row["given_up"]:
        told.append(f"{row['given_up']} were given up (`qm alerts retry`)")
    if row["reason"]:
        told.append(f"the last attempt failed: {row['reason']}")
    return f"{row['channel']}: {'; '.join(told)}"


def _at(instant: datetime) -> str:
    return f"{instant:%Y-%m-%d %H:%M}Z"
