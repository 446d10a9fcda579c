"""`qm` as a user has it, and a warehouse that a chain has filled once for all tests that only look."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from quantmatrix_pipeline.warehouse.embedded import EmbeddedServer
from quantmatrix_pipeline_tests.conftest import _database
from quantmatrix_pipeline_tests.faults import chain
from quantmatrix_pipeline_tests.faults.folders import Folder, construct


@dataclass(frozen=True, slots=True)
class Done:
    """What a command that has ended left: its exit code and what it said."""

    code: int
    stdout: str
    stderr: str

    @property
    def error(self) -> str:
        """The one line of an expected failure; holds the command to having said that and nothing else there."""
        lines = [line for line in self.stderr.splitlines() if line.strip()]
        assert len(lines) == 1, self.stderr
        assert lines[0].startswith("error ")
        assert "Traceback" not in self.stdout
        return lines[0]


@dataclass(frozen=True, slots=True)
class Installation:
    """A folder of bars, a database, and a data folder."""

    folder: Folder
    url: str
    data_dir: Path
    more: Mapping[str, str] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        return {**self.folder.environment(), "QM_DATABASE_URL": self.url, **self.more}

    def qm(self, *arguments: str, **changed: str | None) -> Done:
        """Run `qm <arguments>` with this environment and `changed` variables; None takes one away."""
        environment = {n: v for n, v in {**self.environment, **changed}.items() if v is not None}
        qm = chain.start(arguments, environment, self.data_dir)
        return Done(qm.wait(), qm.stdout, qm.stderr)


@pytest.fixture(scope="session")
def small_folder(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    return construct(tmp_path_factory.mktemp("cli") / "files", symbols=30)


@pytest.fixture(scope="session")
def filled(
    server: EmbeddedServer, small_folder: Folder, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Installation]:
    """An installation whose chain has run for the last three sessions; for tests that change nothing."""
    with contextmanager(_database)(server, "template1") as url:
        installation = Installation(small_folder, url, tmp_path_factory.mktemp("qm"))
        done = installation.qm("run", "--since", str(small_folder.sessions[-3]))
        assert done.code == 0, done.stderr
        yield installation


@pytest.fixture
def migrated(small_folder: Folder, database_url: str, tmp_path: Path) -> Installation:
    """An installation with migrations and nothing else."""
    return Installation(small_folder, database_url, tmp_path / "qm")


@pytest.fixture
def shell(tmp_path: Path) -> Callable[..., Done]:
    """`qm` from nothing, as a shell starts it: a new interpreter, in an empty folder, with the named variables only."""
    home = tmp_path / "shell"
    home.mkdir()

    def run(*arguments: str, cwd: Path = home, **environment: str) -> Done:
        clean = {n: v for n, v in os.environ.items() if n in ("PATH", "HOME", "LANG", "TMPDIR")}
        done = subprocess.run(
            [sys.executable, "-m", "quantmatrix_pipeline", *arguments],
            cwd=cwd,
            env={**clean, "PYTHONPATH": str(Path(__file__).resolve().parents[2]), **environment},
            capture_output=True,
            text=True,
            timeout=60,
        )
        return Done(done.returncode, done.stdout, done.stderr)

    return run
