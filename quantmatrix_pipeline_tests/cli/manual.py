"""docs/operations.md as a list of procedures: for each heading the commands and the jobs in the order of the page."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any
from unittest.mock import patch

from dagster import DagsterInstance, Definitions, ExecuteInProcessResult
from fastapi.testclient import TestClient
from pydantic import SecretStr

from quantmatrix_pipeline.api.app import create_app
from quantmatrix_pipeline.settings import Settings
from quantmatrix_pipeline.warehouse.embedded import EmbeddedServer
from quantmatrix_pipeline.warehouse.embedded_programs import program
from quantmatrix_pipeline.warehouse.engine import Warehouse
from quantmatrix_pipeline_tests.cli.conftest import Installation
from quantmatrix_pipeline_tests.forked import PROCESSES
from quantmatrix_pipeline_tests.pipeline.running import overlong

ROOT = Path(__file__).resolve().parents[2]
MANUAL = (ROOT / "docs" / "operations.md").read_text()
STEP = re.compile(r"^\$ (?P<command>.+)$|\bpress\s+`(?P<job>\w+)`", re.M | re.I)
# What only looks, and is run once however often the page has it.
LOOKING = re.compile(r"qm (coverage|gaps list|vendors list|symbols list|logs|alerts list|schedules list)|psql .*SELECT")


def chapter(name: str) -> dict[str, str]:
    """Return heading -> text of the procedures of a chapter."""
    text = MANUAL.split(f"\n## {name}\n")[1].split("\n## ")[0]
    return dict(re.findall(r"^### (.+?)\n(.*?)(?=^### |\Z)", text, re.M | re.S))


def anchor(heading: str) -> str:
    """Return the anchor that GitHub gives to a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


ALERTS, SYMPTOMS = chapter("Alerts"), chapter("Symptoms")
PROCEDURES = {**ALERTS, **SYMPTOMS}


def commands(heading: str) -> list[str]:
    return [match["command"] for match in STEP.finditer(PROCEDURES[heading]) if match["command"]]


def jobs(heading: str) -> list[str]:
    return [match["job"] for match in STEP.finditer(PROCEDURES[heading]) if match["job"]]


@dataclass
class Operator:
    """Who follows the manual in an installation: runs its commands as they are printed, presses its jobs.

    `seen` are the looking commands that were run before; `may_end_with` says which exit code a command may have but 0.
    """

    own: Installation
    server: EmbeddedServer
    definitions: Definitions
    instance: DagsterInstance
    may_end_with: Mapping[str, int]
    warehouse: Warehouse
    environment: dict[str, str] = field(default_factory=dict)
    seen: set[str] = field(default_factory=set)
    followed: set[str] = field(default_factory=set)

    # --- following a page ---------------------------------------------------------------------------------------------

    def follow(self, *headings: str, after_each: Callable[[str], object] = lambda job: None) -> set[str]:
        """Follow procedures that press the same jobs, side by side, each job once; return the checks that the last one
        saw fail. `after_each` is called with the name of each job that was pressed.
        """
        self.followed.update(headings)
        pages = [self._steps(heading) for heading in headings]
        failing: set[str] = set()
        while pressed := {job for page in pages if (job := next(page, None))}:
            assert len(pressed) == 1, f"{headings} press {pressed}"
            job = pressed.pop()
            failing = self.press(job)
            after_each(job)
        return failing

    def _steps(self, heading: str) -> Iterator[str]:
        for step in STEP.finditer(PROCEDURES[heading]):
            if step["job"]:
                yield step["job"]
            else:
                self.run(step["command"])

    def press(self, name: str) -> set[str]:
        """Run a job to its good end; return the checks that fail."""
        result = self._launch(name)
        assert result.success, name
        return _failed(result)

    def failing(self) -> set[str]:
        """Return the checks that fail now; one that blocks fails the run as well."""
        return _failed(self._launch("validate"))

    def error_of(self, name: str) -> str:
        """Run a job that fails; return why."""
        result = self._launch(name)
        assert not result.success, name
        error = next(event for event in result.all_events if event.is_step_failure).step_failure_data.error
        while error.cause is not None:
            error = error.cause
        return str(error.message)

    def _launch(self, name: str) -> ExecuteInProcessResult:
        """Run a job as the launchpad does: as it comes, for the newest session where it takes one."""
        job = self.definitions.resolve_job_def(name)
        with self.settings():
            result = job.execute_in_process(
                instance=self.instance,
                partition_key=str(self.own.folder.sessions[-1]) if job.partitions_def else None,
                raise_on_error=False,
                run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
            )
        assert overlong(result.all_events) == {}
        return result

    def run(self, command: str) -> str:
        """Run one line of the manual: `qm` and `psql` as they are, `curl` against the API over the same database."""
        words = shlex.split(command)
        if LOOKING.match(command):
            if command in self.seen:
                return ""
            self.seen.add(command)
        if words[0] == "qm":
            return self.qm(*words[1:])
        if words[0] == "psql":
            return self._psql(command, words)
        assert words[:2] == ["curl", "-s"], command
        return self.get(words[2].removeprefix("http://127.0.0.1:8000"))

    def get(self, path: str) -> str:
        database = self.own.url.rsplit("/", 1)[1]
        with self.settings():
            settings = Settings(database_url=SecretStr(self.server.url(database, "qm_reader")))
            with TestClient(create_app(settings)) as client:
                answer = client.get(path)
        assert answer.status_code == 200, (path, answer.text)
        return answer.text

    def status(self) -> str:
        """Return the first line of `qm status`."""
        return self.qm("status").splitlines()[0]

    def ills(self) -> set[str]:
        """Return what `qm doctor` calls bad."""
        return {finding["what"] for finding in json.loads(self.qm("doctor", "--json")) if finding["state"] == "bad"}

    def vendor(self, name: str) -> dict[str, Any]:
        """Return a vendor's line of `qm vendors list`."""
        return next(row for row in json.loads(self.qm("vendors", "list", "--json"))["vendors"] if row["vendor"] == name)

    def sql(self, statement: str) -> int:
        return self.warehouse.execute(statement)

    def scalar(self, question: str) -> Any:
        return self.warehouse.scalar(question)

    def qm(self, *words: str) -> str:
        command = " ".join(["qm", *words]).removesuffix(" --json")
        done = self.own.qm(*words, **self.environment)
        assert done.code in (0, self.may_end_with.get(command, 0)), (command, done.stdout, done.stderr)
        assert done.stdout or done.code, command
        return done.stdout

    def _psql(self, command: str, words: list[str]) -> str:
        database = self.own.url.rsplit("/", 1)[1]
        urls = {"$(qm db url)": self.server.url(database, "qm_reader"), "$(qm db url --role owner)": self.own.url}
        shell = [program("psql"), "-v", "ON_ERROR_STOP=1", urls[words[1]], *words[2:]]
        psql = subprocess.run(shell, capture_output=True, text=True, timeout=60)
        assert psql.returncode == 0, (command, psql.stderr)
        return psql.stdout

    def serve(self, port: int, log: Path) -> BaseProcess:
        """Start the read API as `qm up` does, with its log."""
        environment = {"QM_DATA_DIR": str(self.own.data_dir), **self.own.environment, **self.environment}
        process = PROCESSES.Process(target=_serve, args=({**environment, "QM_API_PORT": str(port)}, str(log)))
        process.start()
        return process

    @contextmanager
    def settings(self) -> Iterator[None]:
        kept = {n: v for n, v in os.environ.items() if not n.startswith(("QM_", "DAGSTER_"))}
        kept |= {n: os.environ[n] for n in ("QM_TEST_RUN_FOLDER", "QM_SHARED_DATA") if n in os.environ}
        ours = {"QM_DATA_DIR": str(self.own.data_dir), **self.own.environment, **self.environment}
        with patch.dict(os.environ, {**kept, **ours}, clear=True):
            yield


def _failed(result: ExecuteInProcessResult) -> set[str]:
    return {evaluation.check_name for evaluation in result.get_asset_check_evaluations() if not evaluation.passed}


def _serve(environment: dict[str, str], log: str) -> None:
    for stream in (1, 2):
        os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644), stream)
    for name in [n for n in os.environ if n.startswith(("QM_", "DAGSTER_"))]:
        del os.environ[name]
    os.environ.update(environment)
    from quantmatrix_pipeline.api.__main__ import main

    raise SystemExit(main())
