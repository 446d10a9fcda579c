"""The entry point of `qm`: subcommands, one clear line for an expected failure, exit codes."""

from __future__ import annotations

import logging
import sys
import warnings
from typing import Annotated

import typer
from rich.console import Console

from quantmatrix_pipeline import __version__
from quantmatrix_pipeline.cli import (
    actions,
    alerts,
    ask,
    backfill,
    backup,
    bench,
    chain,
    chart,
    db,
    doctor,
    export,
    gaps,
    logs,
    point_in_time,
    reconcile,
    reload,
    repairs,
    retention,
    schedules,
    status,
    symbols,
    up,
)
from quantmatrix_pipeline.errors import QuantMatrixError
from quantmatrix_pipeline.settings import load

UNEXPECTED = 70  # EX_SOFTWARE of sysexits.h: a fault of ours, not of the input or the environment

app = typer.Typer(
    name="qm",
    help="The market-data platform: run the nightly chain, look at its state, serve and export what it keeps.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command("run")(chain.run)
app.command("provisional")(point_in_time.provisional)
app.command("restate")(point_in_time.restate)
app.command("up")(up.up)
app.command("status")(status.status)
app.command("coverage")(status.coverage)
app.command("doctor")(doctor.doctor)
app.command("logs")(logs.logs)
app.command("reload")(reload.reload)
app.command("chart")(chart.chart)
app.command("backfill")(backfill.backfill)
app.command("retention")(retention.retention)
app.command("bench")(bench.bench)
app.add_typer(alerts.app, name="alerts")
app.add_typer(db.app, name="db")
app.add_typer(backup.app, name="backup")
app.add_typer(symbols.app, name="symbols")
app.add_typer(ask.app, name="vendors")
app.add_typer(gaps.app, name="gaps")
app.add_typer(repairs.app, name="repairs")
app.add_typer(actions.app, name="actions")
app.add_typer(schedules.app, name="schedules")
app.add_typer(reconcile.app, name="reconcile")
app.add_typer(export.app, name="export")


@app.callback()
def options(
    context: typer.Context,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks and every log line.")] = False,
) -> None:
    # What libraries say at INFO is their business; a person at a terminal asked for ours.
    logging.basicConfig(level=logging.DEBUG if debug else logging.WARNING)
    # `reload` reads them itself, to say on a line each what is wrong with them.
    if debug or context.invoked_subcommand != "reload":
        logging.getLogger("quantmatrix_pipeline").setLevel("DEBUG" if debug else load().log_level.value)
    if not debug:
        warnings.simplefilter("ignore")


@app.command()
def version() -> None:
    """Print the version."""
    typer.echo(__version__)


def run() -> None:
    """Run `qm`; an expected failure is one line on standard error and its own exit code."""
    debug = "--debug" in sys.argv
    try:
        app()
    except QuantMatrixError as error:
        if debug:
            raise
        _say(str(error))
        raise SystemExit(error.exit_code) from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    except Exception as error:
        # Nobody expected this one, so only a traceback can tell; but a user's terminal is not the place for it unasked.
        if debug:
            raise
        _say(f"unexpected {type(error).__name__}: {error}; `qm --debug ...` shows where")
        raise SystemExit(UNEXPECTED) from None


def _say(message: str) -> None:
    """Print an error as one line, whatever line breaks a server or a library put into it."""
    text = _escaped(" ".join(message.split()))
    Console(stderr=True, soft_wrap=True).print(f"[bold red]error[/] {text}", highlight=False)


def _escaped(text: str) -> str:
    return text.replace("[", r"\[")
