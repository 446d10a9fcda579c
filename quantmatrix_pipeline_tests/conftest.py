"""A real PostgreSQL for every test that wants one: one server for the whole run, a database of its own per test."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import psutil
import psycopg
import pytest
from filelock import FileLock
from psycopg import sql

from quantmatrix_pipeline.warehouse import migrations
from quantmatrix_pipeline.warehouse.embedded import SUPERUSER, EmbeddedServer

RUN_FOLDER = "QM_TEST_RUN_FOLDER"  # set by the run's first process, inherited by the workers of pytest-xdist
PREFIX = "qm-tests-"
TEMPLATE = "migrated"


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        _remove_folders_of_killed_runs()
        # Not pytest's own temporary folder: that one only its owner may enter, and as root the server is somebody else.
        os.environ[RUN_FOLDER] = tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-")
        Path(os.environ[RUN_FOLDER]).chmod(0o755)


def pytest_unconfigure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput") and (folder := os.environ.pop(RUN_FOLDER, None)):
        _remove(Path(folder))


def _remove_folders_of_killed_runs() -> None:
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        pid = folder.name.removeprefix(PREFIX).split("-")[0]
        if pid.isdigit() and not psutil.pid_exists(int(pid)) and os.access(folder, os.W_OK):
            _remove(folder)


def _remove(run_folder: Path) -> None:
    for data in run_folder.rglob("PG_VERSION"):
        if data.parent.name == "data":
            EmbeddedServer(data.parent.parent).stop()
    shutil.rmtree(run_folder)


@pytest.fixture(scope="session")
def run_folder() -> Path:
    """Folder of this run, which any account may enter; at the end its servers are stopped and it is removed."""
    return Path(os.environ[RUN_FOLDER])


@pytest.fixture(scope="session")
def server(run_folder: Path) -> EmbeddedServer:
    """The run's one server, shared by all workers, started for the first that asks, with a migrated template."""
    server = EmbeddedServer(run_folder / "server")
    with FileLock(run_folder / "template.lock"):
        server.start()
        with psycopg.connect(server.url("postgres", SUPERUSER), autocommit=True) as connection:
            if connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (TEMPLATE,)).fetchone() is None:
                # Renamed when it is complete, so that no test is ever made from half a schema.
                connection.execute("DROP DATABASE IF EXISTS migrating WITH (FORCE)")
                connection.execute("CREATE DATABASE migrating OWNER qm_owner")
                migrations.apply(server.url("migrating"), migrations.folder())
                connection.execute(sql.SQL("ALTER DATABASE migrating RENAME TO {}").format(sql.Identifier(TEMPLATE)))
    return server


@pytest.fixture
def database_url(server: EmbeddedServer) -> Iterator[str]:
    """URL, as qm_owner, of a fresh database that has all migrations."""
    yield from _database(server, TEMPLATE)


@pytest.fixture
def empty_database_url(server: EmbeddedServer) -> Iterator[str]:
    """URL, as qm_owner, of a fresh database without anything in it."""
    yield from _database(server, "template1")


def _database(server: EmbeddedServer, template: str) -> Iterator[str]:
    name = f"test_{uuid4().hex[:12]}"
    with psycopg.connect(server.url("postgres", SUPERUSER), autocommit=True) as connection:
        connection.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE {} OWNER qm_owner").format(
                sql.Identifier(name), sql.Identifier(template)
            )
        )
    try:
        yield server.url(name)
    finally:
        with psycopg.connect(server.url("postgres", SUPERUSER), autocommit=True) as connection:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
