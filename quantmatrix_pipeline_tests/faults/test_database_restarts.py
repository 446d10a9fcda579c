"""The database goes away under a running chain: the run ends cleanly or goes on, and the next one heals."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import psutil
import psycopg
import pytest

from quantmatrix_pipeline.warehouse import migrations
from quantmatrix_pipeline.warehouse.embedded import EmbeddedServer
from quantmatrix_pipeline.warehouse.engine import LOCKS
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


@pytest.mark.parametrize("fall", [EmbeddedServer.stop, crash], ids=["stopped", "killed"])
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
