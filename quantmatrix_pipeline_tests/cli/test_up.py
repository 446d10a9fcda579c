"""`qm up`: three servers that start as one and end as one, whatever ends them."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import httpx
import psutil
import pytest

from quantmatrix_pipeline.cli.up import _commands
from quantmatrix_pipeline.settings import LogLevel, Settings
from quantmatrix_pipeline.warehouse.embedded import ROLES, SUPERUSER, EmbeddedServer
from quantmatrix_pipeline_tests.cli.conftest import Installation
from quantmatrix_pipeline_tests.faults.folders import Folder

UP_SECONDS = 150.0
GONE_SECONDS = 40.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Up:
    """A running `qm up`."""

    process: subprocess.Popen[bytes]
    api: str
    ui: str
    data_dir: Path
    output: Path

    def health(self) -> httpx.Response:
        return httpx.get(f"{self.api}/health", timeout=30, trust_env=False)

    def family(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def server(self, module: str) -> psutil.Process:
        """Return the child that runs a module."""
        children = psutil.Process(self.process.pid).children()
        return next(child for child in children if module in " ".join(child.cmdline()))

    def wait_for(self, address: str) -> str:
        deadline = time.monotonic() + UP_SECONDS
        while time.monotonic() < deadline:
            assert self.process.poll() is None, self.output.read_text()
            with (
                suppress(urllib.error.URLError, ConnectionError, TimeoutError),
                urllib.request.urlopen(address, timeout=10) as answer,
            ):
                return str(answer.read().decode())
            time.sleep(0.2)
        raise AssertionError(f"{address} does not answer: {self.output.read_text()}")


@contextmanager
def start(environment: Mapping[str, str], data_dir: Path, output: Path) -> Iterator[Up]:
    """Start `qm up` on free ports; whatever is left of it at the end is killed."""
    api, ui = free_port(), free_port()
    clean = {n: v for n, v in os.environ.items() if not n.startswith(("QM_", "DAGSTER_"))}
    with output.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "quantmatrix_pipeline", "up"],
            env={
                **clean,
                **environment,
                "QM_DATA_DIR": str(data_dir),
                "QM_API_PORT": str(api),
                "QM_UI_PORT": str(ui),
            },
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    running = Up(process, f"http://127.0.0.1:{api}", f"http://127.0.0.1:{ui}", data_dir, output)
    family: list[psutil.Process] = []
    try:
        yield running
    finally:
        with suppress(psutil.NoSuchProcess):
            family = [psutil.Process(process.pid), *running.family()]
        for member in family:
            with suppress(psutil.NoSuchProcess):
                member.kill()
        process.wait()


@pytest.fixture
def up(migrated: Installation, tmp_path: Path) -> Iterator[Up]:
    """`qm up` over a server of the user's."""
    with start(migrated.environment, migrated.data_dir, tmp_path / "up.txt") as running:
        yield running


def assert_gone(family: list[psutil.Process], groups: set[int]) -> None:
    _, alive = psutil.wait_procs(family, timeout=GONE_SECONDS)
    assert alive == []
    left = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, ProcessLookupError):
            if os.getpgid(process.pid) in groups and process.status() != psutil.STATUS_ZOMBIE:
                left.append(process)
    assert left == []


def test_what_is_logged_by_dagsters_servers_is_what_the_settings_say(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path).model_copy(update={"log_level": LogLevel.WARNING})
    settings.dagster_home.mkdir(parents=True)
    commands = _commands(settings, "127.0.0.1", tmp_path / "code.sock")
    flags = {"code": "--log-level", "ui": "--dagster-log-level", "daemon": "--log-level"}
    for server, flag in flags.items():
        assert commands[server][commands[server].index(flag) + 1] == "warning", server


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
def test_it_serves_api_and_ui_and_a_signal_ends_all_of_it(up: Up, number: signal.Signals) -> None:
    assert json.loads(up.wait_for(f"{up.api}/health"))["status"]
    assert "dagster" in up.wait_for(up.ui).lower()
    family = up.family()
    groups = {os.getpgid(process.pid) for process in family}
    assert len(groups) == 1
    assert len(family) >= 3
    os.kill(up.process.pid, number)
    assert up.process.wait(GONE_SECONDS) == 0
    assert_gone(family, groups)
    said = up.output.read_text()
    assert up.api in said
    assert up.ui in said
    assert "Traceback" not in said


@pytest.mark.slow
def test_the_embedded_database_that_it_started_stays_when_it_ends(
    small_folder: Folder, run_folder: Path, tmp_path: Path
) -> None:
    data_dir = run_folder / uuid4().hex[:8]
    database = EmbeddedServer(data_dir / "postgres")
    try:
        with start(small_folder.environment(), data_dir, tmp_path / "up.txt") as up:
            up.wait_for(f"{up.api}/health")
            family = up.family()
            os.kill(up.process.pid, signal.SIGTERM)
            assert up.process.wait(GONE_SECONDS) == 0
        servers = {process.pid for process in database.processes()}
        assert_gone([process for process in family if process.pid not in servers], set())
        logs = [file for file in (data_dir / "logs").iterdir() if file.stat().st_size]
        assert logs
        for role in (SUPERUSER, *ROLES):
            password = database.url(role=role).split(":")[2].split("@")[0]
            assert not [file for file in logs if password in file.read_text(errors="replace")]
        assert database.is_running()
    finally:
        database.stop()
        shutil.rmtree(data_dir, ignore_errors=True)


def test_a_server_that_dies_ends_the_others_and_its_log_is_named(up: Up) -> None:
    up.wait_for(f"{up.api}/health")
    family = up.family()
    groups = {os.getpgid(process.pid) for process in family}
    up.server("quantmatrix_pipeline.api").kill()
    assert up.process.wait(GONE_SECONDS) == 1
    assert_gone(family, groups)
    said = up.output.read_text()
    assert f"its log: {up.data_dir}/logs/api.log" in " ".join(said.split())
    assert "Traceback" not in said
