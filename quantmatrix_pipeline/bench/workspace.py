"""A PostgreSQL of the benchmarks' own in a temporary folder: never the user's data, and nothing stays behind."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from quantmatrix_pipeline.bench.dataset import BENCHMARK, LAST, Dataset, write_folder
from quantmatrix_pipeline.errors import QuantMatrixError
from quantmatrix_pipeline.warehouse import migrations
from quantmatrix_pipeline.warehouse.embedded import SUPERUSER, EmbeddedServer
from quantmatrix_pipeline.warehouse.engine import Warehouse

TEMPLATE = "migrated"
NOW = f"{LAST}T23:00:00+00:00"  # after the last session's close: nothing here depends on the day of the measurement


@dataclass(frozen=True, slots=True)
class Workspace:
    """A running server with a migrated template, and the bars.

    Attributes
    ----------
    folder
        Fit for `QM_DATA_DIR`; the server is the embedded one of that folder.
    server
        Tuned as users get it, durability included.
    dataset
        The 500 symbols.
    """

    folder: Path
    server: EmbeddedServer
    dataset: Dataset

    @contextlib.contextmanager
    def database(self, name: str = "bench", template: str = TEMPLATE) -> Iterator[Database]:
        """A fresh copy of a database, by default of the migrated one; dropped at the end of the block."""
        identifier = sql.Identifier(name)
        with psycopg.connect(self.server.url("postgres", SUPERUSER), autocommit=True) as connection:
            connection.execute(
                sql.SQL("CREATE DATABASE {} TEMPLATE {} OWNER qm_owner").format(identifier, sql.Identifier(template))
            )
            database = Database(
                self.server.url(name),
                Warehouse(self.server.url(name, "qm_writer")),
                Warehouse(self.server.url(name)),
            )
            try:
                yield database
            finally:
                database.writer.close()
                database.owner.close()
                connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(identifier))

    def settle(self) -> None:
        """Write out what earlier work left in memory, so that it is not paid for by what is measured next."""
        with psycopg.connect(self.server.url("postgres", SUPERUSER), autocommit=True) as connection:
            connection.execute("CHECKPOINT")

    def vacuum(self, database: Database) -> None:
        """Do the server's housekeeping now, instead of at some moment in the middle of a measurement."""
        with psycopg.connect(database.url, autocommit=True) as connection:
            connection.execute("VACUUM (ANALYZE)")
        self.settle()

    def environment(self, extra: Mapping[str, str] | None = None) -> dict[str, str]:
        """Return the environment of a `qm` of this workspace, free of the user's own settings."""
        foreign = ("QM_", "DAGSTER_", "DATABASE_URL", "REDIS_URL", "RLC_REDIS_URL", "DISCORD_WEBHOOK_")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
        return kept | {
            "QM_DATA_DIR": str(self.folder),
            "QM_SOURCE": "files",
            "QM_FILES_DIR": str(self.dataset.folder),
            "QM_BENCHMARK": BENCHMARK,
            "QM_NOW": NOW,
            **(extra or {}),
        }

    def qm(self, *arguments: str, extra: Mapping[str, str] | None = None) -> str:
        """Run `qm` as a process of its own and return what it printed.

        Raises
        ------
        QuantMatrixError
            With its last words, when it fails.
        """
        return self._run("-c", "from quantmatrix_pipeline.cli.main import run; run()", *arguments, extra=extra)

    def qm_json(self, *arguments: str, extra: Mapping[str, str] | None = None) -> dict[str, Any]:
        """Run `qm ... --json` and return the object that it printed."""
        found: dict[str, Any] = json.loads(self.qm(*arguments, "--json", extra=extra))
        return found

    def python(self, module: str, *arguments: str, extra: Mapping[str, str] | None = None) -> dict[str, Any]:
        """Run a module as a process of its own and return the object that it printed."""
        found: dict[str, Any] = json.loads(self._run("-m", module, *arguments, extra=extra))
        return found

    def _run(self, *command: str, extra: Mapping[str, str] | None) -> str:
        done = subprocess.run(  # noqa: S603 - our own command line
            [sys.executable, *command], env=self.environment(extra), capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise QuantMatrixError(f"benchmark: {' '.join(command)} failed: {done.stderr.strip()[-500:]}")
        return done.stdout


@dataclass(frozen=True, slots=True)
class Database:
    """One database: as the pipeline's writer sees it, and as its owner, who may make tables."""

    url: str
    writer: Warehouse
    owner: Warehouse


@contextlib.contextmanager
def workspace() -> Iterator[Workspace]:
    """Start a server in a new temporary folder with the data set beside it; stop and remove both at the end."""
    folder = Path(tempfile.mkdtemp(prefix="qm-bench-"))
    folder.chmod(0o755)  # as root, the server runs under an account of its own
    server = EmbeddedServer(folder / "data" / "postgres")
    try:
        (folder / "data").mkdir()
        dataset = write_folder(folder / "source")
        server.start()
        _make_template(server)
        yield Workspace(folder / "data", server, dataset)
    finally:
        server.stop()
        shutil.rmtree(folder)


def free_port() -> int:
    """Return a port of this machine on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _make_template(server: EmbeddedServer) -> None:
    with psycopg.connect(server.url("postgres", SUPERUSER), autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {} OWNER qm_owner").format(sql.Identifier(TEMPLATE)))
    migrations.apply(server.url(TEMPLATE), migrations.folder())
