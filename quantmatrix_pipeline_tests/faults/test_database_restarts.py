"""The database goes away under a running chain: the run ends cleanly or goes on, and the next one heals."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import psutil
import psycopg
import pytest

from quantmatrix_pipeline.warehouse import migrations
from quantmatrix_pipeline.warehouse.embedded import EmbeddedServer
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


def stop(server: EmbeddedServer) -> None:
    server.stop()


def crash(server: EmbeddedServer) -> None:
    processes = server.processes()
    for process in processes:
        os.kill(process.pid, signal.SIGKILL)
    psutil.wait_procs(processes, timeout=10)


@pytest.mark.parametrize("fall", [stop, crash])
def test_a_database_that_restarts_in_mid_run_ends_the_run_with_one_line_and_the_next_run_heals(
    undisturbed: Undisturbed, own_server: EmbeddedServer, data_dir: Path, fall: object
) -> None:
    url = own_server.url()
    with psycopg.connect(url) as holding, psycopg.connect(url, autocommit=True) as watcher:
        holding.execute("SELECT pg_advisory_xact_lock(7103)")  # the run stops before the history, with its bars stored
        qm = chain.start(undisturbed.arguments, undisturbed.environment(url), data_dir)
        assert chain.wait_for_statement(watcher, "%pg_advisory_xact_lock(7103)%", qm, waiting=True), qm.output
    (stop if fall is stop else crash)(own_server)
    code = qm.wait()
    assert code > 0
    assert "Traceback" not in qm.output
    assert [line for line in qm.output.splitlines() if line.startswith("error")], qm.output

    own_server.start()
    chain.run(undisturbed.arguments, undisturbed.environment(own_server.url()), data_dir)
    undisturbed.assert_same(own_server.url())


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
