"""`qm up`: the Dagster UI, its daemon, the code that both serve, and the read API, as one group that ends as one."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import FrameType
from typing import Annotated

import psutil
import typer
from rich.console import Console

from quantmatrix_pipeline.cli import log_files
from quantmatrix_pipeline.cli.watch import watch
from quantmatrix_pipeline.dagster_client import LOCATION
from quantmatrix_pipeline.errors import QuantMatrixError
from quantmatrix_pipeline.resources.dagster_home import prepare
from quantmatrix_pipeline.settings import Reloading, Settings, load

GRACE_SECONDS = 15.0
ROTATE_SECONDS = 60.0
CODE = "code"
# The C library keeps what was freed apart for each thread; two pools for all make an idle code server 100 MB smaller.
FEW_ARENAS = {"MALLOC_ARENA_MAX": "2"}
CODE_SECONDS = 120.0  # until the code is loaded; some seconds on an idle machine
WORKSPACE = """\
load_from:
  - grpc_server:
      socket: {socket}
      location_name: {location}
"""


def up(
    host: Annotated[str, typer.Option(help="address of the Dagster UI")] = "127.0.0.1",
) -> None:
    """Run the Dagster UI, its daemon (schedules, sensors, queue) and the read API until Ctrl-C or SIGTERM."""
    settings = load()
    console = Console(soft_wrap=True)
    with console.status("starting PostgreSQL and applying migrations"):
        prepare(settings)
    # The name of a socket is short by nature, which a data folder's need not be.
    with tempfile.TemporaryDirectory(prefix="qm-up-") as folder:
        served = Path(folder) / "code.sock"
        commands = _commands(settings, host, served)
        watch(Reloading(), console)
        code = Supervisor(commands, log_files.folder(settings), console, served).run(
            [
                f"Dagster UI  http://{host}:{settings.ui_port}",
                f"read API    http://{settings.api_host}:{settings.api_port}/docs",
                f"logs        {settings.data_dir.resolve() / 'logs'}",
            ]
        )
    raise typer.Exit(code)


def _commands(settings: Settings, host: str, served: Path) -> dict[str, list[str]]:
    """Return what to run, by name, in order.

    UI and daemon serve the same code out of one process: what is loaded anew is new for both at once.
    """
    python = sys.executable
    file = settings.dagster_home / "workspace.yaml"
    file.write_text(WORKSPACE.format(socket=served, location=LOCATION))
    code = ["code-server", "start", "-m", "quantmatrix_pipeline.definitions", "--location-name", LOCATION]
    code += ["-s", str(served), "--use-python-environment-entry-point"]
    ui = ["-h", host, "-p", str(settings.ui_port)]
    workspace = ["-w", str(file)]
    level = settings.log_level.lower()
    return {
        CODE: [python, "-m", "dagster", *code, "--log-level", level],
        "api": [python, "-m", "quantmatrix_pipeline.api"],
        "ui": [python, "-m", "dagster_webserver", *ui, *workspace, "--dagster-log-level", level],
        "daemon": [python, "-m", "dagster._daemon", "run", *workspace, "--log-level", level],
    }


class Supervisor:
    """Starts processes in one group of their own, watches them, and ends all of them when one ends or it is told to.

    Dagster's servers start children (code servers) that outlive a parent's SIGTERM; whatever descends from us is ended.
    """

    def __init__(self, commands: Mapping[str, list[str]], logs: Path, console: Console, served: Path) -> None:
        self._commands = commands
        self._served = served
        self._logs = logs
        self._console = console
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self._told_to_stop = False

    def run(self, announcement: list[str]) -> int:
        """Run until a signal or a death; return 0 when told to stop, 1 when a process died by itself."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._stop)
        self._logs.mkdir(parents=True, exist_ok=True)
        self._rotate()
        try:
            for line in announcement:
                self._console.print(line, highlight=False)
            self._console.print("Ctrl-C stops all of it; the embedded database stays (`qm db stop`)", highlight=False)
            waits = time.monotonic() + CODE_SECONDS
            waiting = dict(self._commands)
            for name in (CODE, "api"):
                self._start(name, waiting.pop(name))
            dead = self._watch(until=lambda: _listens(self._served) or time.monotonic() > waits)
            if dead is None and not self._told_to_stop:
                for name, command in waiting.items():
                    self._start(name, command)
                dead = self._watch()
        finally:
            self._end()
        if dead is not None:
            raise QuantMatrixError(
                f"{dead} ended with code {self._children[dead].returncode}; its log: {self._logs / dead}.log"
            )
        return 0

    def _start(self, name: str, command: list[str]) -> None:
        group = next(iter(self._children.values())).pid if self._children else 0
        with (self._logs / f"{name}.log").open("ab") as log:
            self._children[name] = subprocess.Popen(  # noqa: S603 - our own commands, no input in them
                command,
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                process_group=group,
                env=FEW_ARENAS | os.environ,
            )

    def _watch(self, until: Callable[[], bool] = lambda: False) -> str | None:
        """Wait to be told to stop, or for something; return whoever died before."""
        rotated = time.monotonic()
        while not self._told_to_stop and not until():
            if time.monotonic() - rotated > ROTATE_SECONDS:
                self._rotate()
                rotated = time.monotonic()
            for name, child in self._children.items():
                if child.poll() is not None:
                    return name
            time.sleep(0.2)
        return None

    def _rotate(self) -> None:
        for name in self._commands:
            try:
                log_files.rotate(self._logs / f"{name}.log")
            except OSError as error:  # a full disk, say: no reason to end what runs
                self._console.print(f"{name}.log could not be rotated: {error}", highlight=False)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self._told_to_stop = True

    def _end(self) -> None:
        ours = psutil.Process()
        family = ours.children(recursive=True)
        for process in family:
            _send(process.pid, signal.SIGTERM)
        _, alive = psutil.wait_procs(family, timeout=GRACE_SECONDS)
        # Whoever was started meanwhile belongs to the group of the first child.
        stubborn = {p.pid for p in alive} | {p.pid for p in ours.children(recursive=True)}
        for pid in stubborn:
            _send(pid, signal.SIGKILL)
        if self._children:
            with_group = next(iter(self._children.values())).pid
            try:
                os.killpg(with_group, signal.SIGKILL)
            except (ProcessLookupError, PermissionError):
                return


def _listens(served: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(served))
        except OSError:
            return False
    return True


def _send(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return
