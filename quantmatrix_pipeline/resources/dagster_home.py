"""Prepare what a process that talks to Dagster needs: the database, its migrations, the home of Dagster itself."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from quantmatrix_pipeline.errors import ConfigurationError
from quantmatrix_pipeline.settings import Settings
from quantmatrix_pipeline.warehouse.locate import upgrade

INSTANCE_FILE = Path(__file__).resolve().parents[2] / "dagster.yaml"


def prepare(settings: Settings) -> list[str]:
    """Start the database, apply what is pending, set up Dagster's home; return the migrations applied now."""
    applied = upgrade(settings)
    use_dagster_home(settings)
    return applied


def use_dagster_home(settings: Settings) -> Path:
    """Point this process and its children at `<QM_DATA_DIR>/dagster`, with the checkout's dagster.yaml or that of
    QM_DAGSTER_FILE.
    """
    home = settings.dagster_home
    home.mkdir(parents=True, exist_ok=True)
    target = home / INSTANCE_FILE.name
    file = settings.dagster_file or INSTANCE_FILE
    if not file.is_file():
        raise ConfigurationError(f"QM_DAGSTER_FILE names {file}, which is no file; take it away or name one")
    if not target.exists() or target.read_bytes() != file.read_bytes():
        shutil.copyfile(file, target)
    os.environ["DAGSTER_HOME"] = str(home)
    # One insert per 200 events instead of one each: a range of sessions writes thousands of them.
    os.environ.setdefault("DAGSTER_EVENT_BATCH_SIZE", "200")
    os.environ["QM_DATA_DIR"] = str(settings.data_dir.resolve())
    return home
