"""A folder of files, a database and an environment of the test's own, in which the chain runs as it does for a user."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from dagster import DagsterInstance

from quantmatrix_pipeline.settings import Settings
from quantmatrix_pipeline.warehouse.engine import Warehouse
from quantmatrix_pipeline_tests.pipeline.running import Chain, Folder

NOBODY_LISTENS = "http://127.0.0.1:9"  # the discard port: a connection is refused at once


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """A folder of the files source, still empty."""
    return Folder(tmp_path / "files")


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch, database_url: str, folder: Folder, tmp_path: Path) -> None:
    """The settings of a user with a database and a folder of files, and nothing of this machine's besides."""
    for name in os.environ:
        if name.startswith("QM_") and name not in ("QM_TEST_RUN_FOLDER", "QM_SHARED_DATA"):
            monkeypatch.delenv(name)
    for described in Settings.model_fields.values():
        for alias in getattr(described.validation_alias, "choices", ()):
            monkeypatch.delenv(str(alias), raising=False)
    monkeypatch.setenv("QM_DATABASE_URL", database_url)
    monkeypatch.setenv("QM_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("QM_SOURCE", "files")
    monkeypatch.setenv("QM_FILES_DIR", str(folder.path))
    monkeypatch.setenv("QM_HISTORY_SESSIONS", "30")
    monkeypatch.setenv("QM_RECHECK_SESSIONS", "0")  # what is asked again has tests of its own
    monkeypatch.setenv("QM_RECONCILE_SAMPLE", "0")  # and so has a second vendor's word
    monkeypatch.setenv("QM_RECONCILE_FLAGGED", "0")
    monkeypatch.setenv("QM_BENCHMARK", "SPY")
    monkeypatch.setenv("QM_WIKIPEDIA_BASE_URL", NOBODY_LISTENS)


@pytest.fixture
def instance() -> Iterator[DagsterInstance]:
    with DagsterInstance.ephemeral() as instance:
        yield instance


@pytest.fixture
def on_disk(tmp_path: Path) -> Iterator[DagsterInstance]:
    """One that keeps ticks, and that other processes could open: an ephemeral one is neither."""
    home = tmp_path / "dagster"
    home.mkdir()
    with DagsterInstance.local_temp(str(home)) as instance:
        yield instance


@pytest.fixture
def chain(environment: None, instance: DagsterInstance) -> Chain:
    """The jobs, ready to run."""
    return Chain(instance)


@pytest.fixture
def warehouse(database_url: str) -> Iterator[Warehouse]:
    """The chain's database as its owner sees it."""
    warehouse = Warehouse(database_url)
    yield warehouse
    warehouse.close()
