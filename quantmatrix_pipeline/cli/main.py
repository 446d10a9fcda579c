"""The entry point of `qm`: subcommands, one clear line for an expected failure, exit codes."""

from __future__ import annotations

import importlib
import logging
import sys
import warnings
from difflib import get_close_matches
from typing import Annotated, Any

import typer
from rich.console import Console
from typer.core import TyperGroup

from quantmatrix_pipeline.errors import QuantMatrixError
from quantmatrix_pipeline.settings import load

UNEXPECTED = 70  # EX_SOFTWARE of sysexits.h: a fault of ours, not of the input or the environment

# Each command by its name, with the module of this package and the function or the group in it.
COMMANDS = {
    "run": "chain:run",
    "provisional": "point_in_time:provisional",
    "restate": "point_in_time:restate",
    "up": "up:up",
    "status": "status:status",
    "coverage": "status:coverage",
    "doctor": "doctor:doctor",
    "logs": "logs:logs",
    "reload": "reload:reload",
    "chart": "chart:chart",
    "backfill": "backfill:backfill",
    "retention": "retention:retention",
    "bench": "bench:bench",
    "version": "version:version",
    "alerts": "alerts:app",
    "db": "db:app",
    "backup": "backup:app",
    "symbols": "symbols:app",
    "vendors": "ask:app",
    "gaps": "gaps:app",
    "repairs": "repairs:app",
    "actions": "actions:app",
    "schedules": "schedules:app",
    "reconcile": "reconcile:app",
    "export": "export:app",
}


class Commands(TyperGroup):
    """The commands of `qm`, each imported when it is asked for: `qm up` needs nothing of what `qm chart` does."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name].partition(":")
        found = getattr(importlib.import_module(f"quantmatrix_pipeline.cli.{module}"), name)
        if not isinstance(found, typer.Typer):
            alone = typer.Typer(add_completion=False)
            alone.command(cmd_name)(found)
            found = alone
        command = typer.main.get_command(found)
        command.name = cmd_name
        return command

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        near = get_close_matches(args[0], COMMANDS) if args and args[0] not in COMMANDS else []
        if near:  # the library would look among the commands that are imported
            ctx.fail(f"No such command {args[0]!r}. Did you mean {', '.join(map(repr, near))}?")
        return super().resolve_command(ctx, args)


app = typer.Typer(
    name="qm",
    cls=Commands,
    help="The market-data platform: run the nightly chain, look at its state, serve and export what it keeps.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


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
