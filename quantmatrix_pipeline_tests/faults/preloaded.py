"""What a `qm run` imports on its way, imported ahead for the processes that are forked from here."""

from quantmatrix_pipeline.automation import jobs
from quantmatrix_pipeline.cli import main
from quantmatrix_pipeline.definitions import build_defs
from quantmatrix_pipeline.resources import dagster_storage, platform

__all__ = ["build_defs", "dagster_storage", "jobs", "main", "platform"]
