"""Runs of `qm` in processes to be killed: forked from one that has imported everything, so that a run is all work.

A process of its own for each run, with its own environment, standard output and exit code, as `qm` in a shell; only the
three seconds of imports before it are spent once.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from quantmatrix_pipeline.settings.loading import KNOWN
from quantmatrix_pipeline_tests.forked import PROCESSES


@dataclass(slots=True)
class Qm:
    """A `qm` that runs or ran, and what it has said so far."""

    process: Any
    files: Path  # without the suffixes .stdout and .stderr

    @property
    def pid(self) -> int:
        return int(self.process.pid)

    @property
    def running(self) -> bool:
        return bool(self.process.is_alive())

    @property
    def stdout(self) -> str:
        return _read(self.files.with_suffix(".stdout"))

    @property
    def stderr(self) -> str:
        return _read(self.files.with_suffix(".stderr"))

    @property
    def output(self) -> str:
        """What it said on both streams."""
        return self.stdout + self.stderr

    def kill(self) -> bool:
        """SIGKILL, and wait until the process is gone; False if it had ended by itself before."""
        self.process.kill()
        self.process.join()
        return bool(self.process.exitcode == -signal.SIGKILL)

    def wait(self, seconds: float = 120) -> int:
        """Wait for its end; return the exit code, negative for a signal."""
        self.process.join(seconds)
        assert not self.running, f"qm still runs after {seconds} s; it said:\n{self.output}"
        return int(self.process.exitcode)


def _read(file: Path) -> str:
    return file.read_text() if file.exists() else ""


def start(arguments: Sequence[str], environment: Mapping[str, str], folder: Path) -> Qm:
    """Start `qm <arguments>` with exactly these settings; its data folder is `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    files = folder / f"output-{time.monotonic_ns()}"
    process = PROCESSES.Process(
        target=_run, args=(list(arguments), {"QM_DATA_DIR": str(folder), **environment}, str(files))
    )
    process.start()
    return Qm(process, files)


def run(arguments: Sequence[str], environment: Mapping[str, str], folder: Path) -> Qm:
    """Run `qm <arguments>` to its end and hold it to exit code 0."""
    qm = start(arguments, environment, folder)
    code = qm.wait()
    assert code == 0, f"qm {' '.join(arguments)} ended with {code}:\n{qm.output}"
    return qm


def _run(arguments: list[str], environment: dict[str, str], files: str) -> None:
    for stream, suffix in ((1, ".stdout"), (2, ".stderr")):
        os.dup2(os.open(files + suffix, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644), stream)
    # What this is forked from has the environment of whichever test came first.
    for name in [n for n in os.environ if n in KNOWN or n.startswith(("QM_", "DAGSTER_"))]:
        del os.environ[name]
    os.environ.update(environment)
    sys.argv = ["qm", *arguments]
    from quantmatrix_pipeline.cli.main import run as main

    main()


def wait_for_statement(connection: psycopg.Connection[Any], pattern: str, qm: Qm, *, waiting: bool = False) -> bool:
    """Wait until another session of this database executes a statement like `pattern`; False if none comes.

    With `waiting` only one counts that is held back by another's lock: who waits is surely inside.
    """
    query = (
        "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        " AND state = 'active' AND query LIKE %s" + (" AND wait_event_type = 'Lock'" if waiting else "")
    )
    deadline = time.monotonic() + 60
    while qm.running and time.monotonic() < deadline:
        if connection.execute(query, (pattern,)).fetchone():
            return True
        time.sleep(0.002)
    return False
