"""The database goes away under a running chain, or the whole system: what runs goes on or ends cleanly, and heals."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import httpx
import psutil
import psycopg
import pytest
from dagster import DagsterInstance
from dagster_postgres.utils import DagsterPostgresException
from fastapi.testclient import TestClient

from quantmatrix_pipeline.api.app import create_app
from quantmatrix_pipeline.health.unattended import WATCH
from quantmatrix_pipeline.resources.dagster_home import use_dagster_home
from quantmatrix_pipeline.settings import load
from quantmatrix_pipeline.warehouse import migrations
from quantmatrix_pipeline.warehouse.embedded import EmbeddedServer
from quantmatrix_pipeline.warehouse.engine import LOCKS
from quantmatrix_pipeline_tests.cli import test_up as up
from quantmatrix_pipeline_tests.faults import chain
from quantmatrix_pipeline_tests.faults.conftest import Undisturbed


@pytest.fixture
def own_server(run_folder: Path) -> Iterator[EmbeddedServer]:
    """A server of the test's own, since it is going to be broken."""
    server = EmbeddedServer(run_folder / uuid4().hex[:8] / "postgres")
    server.start()
    migrations.apply(server.url(), migrations.folder())
    yield server
    server.stop()
    shutil.rmtree(server.folder.parent, ignore_errors=True)


def crash(server: EmbeddedServer) -> None:
    processes = server.processes()
    for process in processes:
        with contextlib.suppress(ProcessLookupError):  # a worker may have ended between the look and the kill
            os.kill(process.pid, signal.SIGKILL)
    psutil.wait_procs(processes, timeout=10)


def start_until_it_waits(undisturbed: Undisturbed, url: str, data_dir: Path) -> chain.Qm:
    """Start the chain and let it come to the history, with its bars stored; there it waits for the lock of another."""
    with psycopg.connect(url) as holding, psycopg.connect(url, autocommit=True) as watcher:
        holding.execute("SELECT pg_advisory_xact_lock(%s)", (LOCKS["history"],))
        qm = chain.start(undisturbed.arguments, undisturbed.environment(url), data_dir)
        statement = f"%pg_advisory_xact_lock({LOCKS['history']})%"
        assert chain.wait_for_statement(watcher, statement, qm, waiting=True), qm.output
        os.kill(qm.pid, signal.SIGSTOP)
    return qm


@pytest.mark.parametrize(
    "fall",
    [pytest.param(EmbeddedServer.stop, marks=pytest.mark.slow, id="stopped"), pytest.param(crash, id="killed")],
)
def test_a_run_whose_database_restarts_goes_on_or_ends_cleanly_and_the_next_one_heals(
    undisturbed: Undisturbed, own_server: EmbeddedServer, data_dir: Path, fall: Callable[[EmbeddedServer], None]
) -> None:
    qm = start_until_it_waits(undisturbed, own_server.url(), data_dir)
    fall(own_server)
    own_server.start()
    os.kill(qm.pid, signal.SIGCONT)
    if qm.wait() != 0:
        assert_said_in_one_line(qm)

    chain.run(undisturbed.arguments, undisturbed.environment(own_server.url()), data_dir)
    undisturbed.assert_same(own_server.url())


@pytest.mark.slow
def test_a_run_whose_database_stays_away_ends_with_the_code_of_the_database_and_the_next_one_heals(
    undisturbed: Undisturbed, own_server: EmbeddedServer, data_dir: Path
) -> None:
    qm = start_until_it_waits(undisturbed, own_server.url(), data_dir)
    crash(own_server)
    os.kill(qm.pid, signal.SIGCONT)
    assert qm.wait() == 4, qm.output
    assert_said_in_one_line(qm)

    own_server.start()
    chain.run(undisturbed.arguments, undisturbed.environment(own_server.url()), data_dir)
    undisturbed.assert_same(own_server.url())


def test_the_api_and_dagsters_storage_heal_alone_when_the_database_restarts_under_them(
    own_server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    data_dir = own_server.folder.parent
    monkeypatch.setenv("QM_DATA_DIR", str(data_dir))
    for variable in ("DAGSTER_HOME", "DAGSTER_EVENT_BATCH_SIZE"):  # set below, for this test only
        monkeypatch.setenv(variable, "")
    use_dagster_home(load())
    with DagsterInstance.get() as instance, TestClient(create_app(), raise_server_exceptions=False) as client:
        assert instance.get_runs_count() == 0
        assert [client.get(url).status_code for url in ("/health", "/api/v1/status")] == [200, 200]
        crash(own_server)
        assert [client.get(url).status_code for url in ("/health", "/api/v1/status")] == [503, 503]
        with pytest.raises(DagsterPostgresException):  # after some attempts
            instance.get_runs_count()
        own_server.start()
        assert [client.get(url).status_code for url in ("/health", "/api/v1/status")] == [200, 200]
        assert instance.get_runs_count() == 0
        # Cut while nobody looked: the first who comes back must not pay for it.
        own_server.stop()
        own_server.start()
        assert [client.get(url).status_code for url in ("/health", "/api/v1/status")] == [200, 200]
        assert instance.get_runs_count() == 0


@pytest.mark.slow
@pytest.mark.parametrize("fall", [EmbeddedServer.stop, crash], ids=["stopped", "killed"])
def test_the_running_system_heals_alone_when_its_database_restarts(
    undisturbed: Undisturbed, own_server: EmbeddedServer, tmp_path: Path, fall: Callable[[EmbeddedServer], None]
) -> None:
    data_dir = own_server.folder.parent
    with up.start(undisturbed.folder.environment(), data_dir, tmp_path / "up.txt") as system:
        _wait_for_a_watch_after(0, system)
        fall(own_server)
        down = system.health()
        assert (down.status_code, down.json()["database"]) == (503, "away")
        time.sleep(5)  # a daemon that tries meanwhile finds nothing
        own_server.start()
        back_at = time.time()
        _wait_for_a_watch_after(back_at, system)
        body = system.health().json()
        assert body["scheduler_running"]
        states = {name: component["state"] for name, component in body["components"].items()}
        assert states["daemon"] == states["sensors"] == states["schedules"] == "ok"
        assert system.process.poll() is None


def _wait_for_a_watch_after(instant: float, system: up.Up) -> None:
    """Wait until the daemon has ticked since, which it can only with the database."""
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline:
        assert system.process.poll() is None, system.output.read_text()
        with contextlib.suppress(httpx.HTTPError):
            age = system.health().json()["heartbeats"].get(WATCH, float("inf"))
            if time.time() - age > instant:
                return
        time.sleep(0.5)
    raise AssertionError("the daemon did not tick")


def assert_said_in_one_line(qm: chain.Qm) -> None:
    assert len([line for line in qm.stderr.splitlines() if line.startswith("error ")]) == 1, qm.output
    assert "Traceback" not in qm.output


def test_a_database_that_is_not_there_is_said_in_one_line_with_its_address_and_without_its_password(
    undisturbed: Undisturbed, data_dir: Path
) -> None:
    url = "postgresql://somebody:verysecret@127.0.0.1:9/quantmatrix"
    qm = chain.start(undisturbed.arguments, undisturbed.environment(url), data_dir)
    assert qm.wait() == 4
    lines = [line for line in qm.output.splitlines() if line.strip()]
    assert len(lines) == 1
    assert lines[0].startswith("error")
    assert "127.0.0.1" in lines[0]
    assert "verysecret" not in qm.output
