"""What a `qm run` imports on its way, imported ahead for the processes that are forked from here."""

import importlib

from quantmatrix_pipeline.automation.jobs import sessions
from quantmatrix_pipeline.cli import main
from quantmatrix_pipeline.definitions import build_defs
from quantmatrix_pipeline.resources import dagster_storage, platform

__all__ = ["build_defs", "dagster_storage", "main", "platform", "sessions"]

for command in main.COMMANDS.values():
    importlib.import_module(f"quantmatrix_pipeline.cli.{command.partition(':')[0]}")
