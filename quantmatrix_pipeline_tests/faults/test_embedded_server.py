"""Kills of the embedded server, of those who start it, and of migrations: the next start heals, with nothing lost."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import psutil
import psycopg
import pytest

from quantmatrix_pipeline.errors import MigrationError, WarehouseUnavailable
from quantmatrix_pipeline.warehouse import embedded, migrations
from quantmatrix_pipeline.warehouse.embedded import DATABASES, ROLES, SUPERUSER, EmbeddedServer
from quantmatrix_pipeline.warehouse.embedded_programs import program

# A fork needs no half second of imports, so that the kills below land inside the work.
FORK = multiprocessing.get_context("fork")


def own_server(run_folder: Path) -> Iterator[EmbeddedServer]:
    server = EmbeddedServer(run_folder / uuid4().hex[:8] / "postgres")
    yield server
    server.stop()
    shutil.rmtree(server.folder.parent, ignore_errors=True)


@pytest.fixture
def new_server(run_folder: Path) -> Iterator[EmbeddedServer]:
    """A server of the test's own, not made yet."""
    yield from own_server(run_folder)


@pytest.fixture(scope="module")
def victim(run_folder: Path) -> Iterator[EmbeddedServer]:
    """One server for all the kills of this file, with something committed in it."""
    for server in own_server(run_folder):
        server.start()
        with psycopg.connect(server.url()) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 42 AS n")
        yield server


@pytest.fixture
def started(victim: EmbeddedServer) -> EmbeddedServer:
    """That server, running."""
    victim.start()
    return victim


def postmasters(server: EmbeddedServer) -> list[psutil.Process]:
    parents: dict[psutil.Process, int] = {}
    for process in server.processes():
        with contextlib.suppress(psutil.NoSuchProcess):  # a worker may end while it is looked at
            parents[process] = process.ppid()
    pids = {process.pid for process in parents}
    return [process for process, parent in parents.items() if parent not in pids]


def kill_all(server: EmbeddedServer) -> None:
    victims = server.processes()
    assert victims
    for victim in victims:
        with contextlib.suppress(ProcessLookupError):
            os.kill(victim.pid, signal.SIGKILL)
    psutil.wait_procs(victims, timeout=10)


def assert_whole(server: EmbeddedServer) -> None:
    """The server is one, takes every role in every database, and kept what was committed before the fault."""
    assert len(postmasters(server)) == 1
    for role in ROLES:
        for database in DATABASES:
            with psycopg.connect(server.url(database, role)) as connection:
                connection.execute("SELECT 1")


def assert_kept(server: EmbeddedServer) -> None:
    assert_whole(server)
    with psycopg.connect(server.url()) as connection:
        assert connection.execute("SELECT n FROM kept").fetchone() == (42,)


def write_pid(server: EmbeddedServer, pid: int) -> None:
    pid_file = server.data / "postmaster.pid"
    lines = pid_file.read_text().split("\n")
    pid_file.write_text("\n".join([str(pid), *lines[1:]]))


def test_after_sigkill_of_every_process_the_next_start_recovers_what_was_committed(started: EmbeddedServer) -> None:
    kill_all(started)
    assert (started.data / "postmaster.pid").exists()
    assert not started.is_running()
    started.start()
    assert_kept(started)


def test_a_stale_pid_file_whose_number_a_stranger_bears_is_seen_through_and_the_stranger_lives(
    started: EmbeddedServer,
) -> None:
    kill_all(started)
    # As the server's own user: PostgreSQL itself refuses to start beside a live process of its user with that number.
    owner = started.data.stat().st_uid
    stranger = subprocess.Popen(["/bin/sleep", "60"], user=owner if os.geteuid() == 0 else None)
    write_pid(started, stranger.pid)
    try:
        started.start()
        assert_kept(started)
        started.stop()
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_stop_with_a_stale_pid_file_kills_no_stranger(started: EmbeddedServer) -> None:
    kill_all(started)
    with subprocess.Popen(["/bin/sleep", "60"]) as stranger:
        write_pid(started, stranger.pid)
        started.stop()
        assert stranger.poll() is None
        stranger.kill()


def test_a_stale_pid_file_that_names_the_server_of_another_folder_is_seen_through(
    started: EmbeddedServer, server: EmbeddedServer
) -> None:
    kill_all(started)
    (other,) = postmasters(server)
    write_pid(started, other.pid)
    started.start()
    assert_kept(started)
    assert server.is_running()


def test_a_stale_pid_file_that_names_a_zombie_is_seen_through(started: EmbeddedServer) -> None:
    kill_all(started)
    owner = started.data.stat().st_uid
    zombie = subprocess.Popen(["/bin/true"], user=owner if os.geteuid() == 0 else None)
    while psutil.Process(zombie.pid).status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.01)
    write_pid(started, zombie.pid)
    try:
        started.start()
        assert_kept(started)
    finally:
        zombie.wait()


@pytest.mark.parametrize("content", ["", "not a number\n"])
def test_a_spoilt_pid_file_is_seen_through(started: EmbeddedServer, content: str) -> None:
    kill_all(started)
    (started.data / "postmaster.pid").write_text(content)
    started.start()
    assert_kept(started)


def test_a_running_server_is_found_again_when_another_port_was_noted(started: EmbeddedServer) -> None:
    url = started.url(role=SUPERUSER)
    access_file = started.folder / "access.json"
    access = json.loads(access_file.read_text())
    access_file.write_text(json.dumps(access | {"port": 1}))
    assert not started.is_running()
    assert started.start() == url
    assert_kept(started)


def test_a_busy_child_of_a_killed_server_never_writes_beside_the_new_one(
    started: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "ORPHAN_SECONDS", 1)
    connection = psycopg.connect(started.url(), autocommit=True)
    busy = connection.info.backend_pid
    # A loop that never looks up: such a child outlives its parent for as long as its statement takes.
    connection.pgconn.send_query(b"DO $$ BEGIN LOOP END LOOP; END $$")
    while psutil.Process(busy).cpu_times().user < 0.1:
        time.sleep(0.01)
    (parent,) = postmasters(started)
    os.kill(parent.pid, signal.SIGKILL)
    psutil.wait_procs([parent], timeout=10)
    assert busy in {process.pid for process in started.processes()}
    started.start()
    assert busy not in {process.pid for process in started.processes()}
    connection.close()
    assert_kept(started)


def test_starts_at_once_in_several_processes_end_in_one_server(new_server: EmbeddedServer) -> None:
    # Whole interpreters: what a user does who opens two terminals.
    code = "import sys; from pathlib import Path; from quantmatrix_pipeline.warehouse.embedded import EmbeddedServer"
    code += "; print(EmbeddedServer(Path(sys.argv[1])).start())"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    for _ in range(2):  # a new folder, then one that was killed
        starters = [
            subprocess.Popen(
                [sys.executable, "-c", code, new_server.folder], env=environment, stdout=subprocess.PIPE, text=True
            )
            for _ in range(3)
        ]
        urls = {starter.communicate()[0].strip() for starter in starters}
        assert [starter.returncode for starter in starters] == [0, 0, 0]
        assert urls == {new_server.url(role=SUPERUSER)}
        assert_whole(new_server)
        kill_all(new_server)


@pytest.mark.parametrize("seed", range(8))
def test_a_first_start_killed_at_any_moment_is_healed_by_the_next(new_server: EmbeddedServer, seed: int) -> None:
    starter = FORK.Process(target=new_server.start)
    starter.start()
    time.sleep(random.Random(seed).uniform(0, 1.3))
    starter.kill()
    starter.join()
    new_server.start()
    assert_whole(new_server)


def test_a_start_killed_while_the_server_recovers_is_joined_by_the_next(started: EmbeddedServer) -> None:
    for seed in range(4):
        kill_all(started)
        starter = FORK.Process(target=started.start)
        starter.start()
        time.sleep(random.Random(seed).uniform(0, 0.4))
        starter.kill()
        starter.join()
        started.start()
        assert_kept(started)


# --- kills inside migrations ----------------------------------------------------------------------------------------


def wait_for_sleep(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        query = "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database()"
        while connection.execute(query).fetchone() is None:
            time.sleep(0.02)


@pytest.fixture
def slow_folder(tmp_path: Path) -> Path:
    (tmp_path / "0001_first.sql").write_text("CREATE TABLE first (n integer);")
    (tmp_path / "0002_slow.sql").write_text("CREATE TABLE second (n integer);\nSELECT pg_sleep(600);\n")
    return tmp_path


def test_sigkill_in_mid_migration_leaves_no_lock_and_no_half_of_it(empty_database_url: str, slow_folder: Path) -> None:
    victim = FORK.Process(target=migrations.apply, args=(empty_database_url, slow_folder))
    victim.start()
    wait_for_sleep(empty_database_url)
    victim.kill()
    victim.join()
    (slow_folder / "0002_slow.sql").write_text("CREATE TABLE second (n integer);")
    assert migrations.apply(empty_database_url, slow_folder) == ["0002_slow"]


def test_sigkill_of_the_server_in_mid_migration_is_said_and_healed(started: EmbeddedServer, slow_folder: Path) -> None:
    receiver, sender = FORK.Pipe(duplex=False)

    def migrate() -> None:
        try:
            migrations.apply(started.url(), slow_folder)
        except WarehouseUnavailable as error:
            sender.send(str(error))

    victim = FORK.Process(target=migrate)
    victim.start()
    wait_for_sleep(started.url())
    kill_all(started)
    victim.join()
    assert "went away" in receiver.recv()
    started.start()
    (slow_folder / "0002_slow.sql").write_text("CREATE TABLE second (n integer);")
    assert migrations.apply(started.url(), slow_folder) == ["0002_slow"]
    assert_kept(started)


def test_a_session_ended_by_the_server_is_not_called_the_files_failure(
    empty_database_url: str, slow_folder: Path
) -> None:
    failures: list[Exception] = []

    def migrate() -> None:
        try:
            migrations.apply(empty_database_url, slow_folder)
        except Exception as error:
            failures.append(error)

    thread = threading.Thread(target=migrate)
    thread.start()
    wait_for_sleep(empty_database_url)
    with psycopg.connect(empty_database_url) as connection:
        connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'PgSleep'")
    thread.join()
    assert [type(failure) for failure in failures] == [WarehouseUnavailable]


def test_a_cancelled_statement_is_the_files_failure_and_not_the_databases(
    empty_database_url: str, slow_folder: Path
) -> None:
    (slow_folder / "0002_slow.sql").write_text("SET LOCAL statement_timeout = '100ms';\nSELECT pg_sleep(600);")
    with pytest.raises(MigrationError, match=r"0002_slow\.sql: canceling statement due to statement timeout"):
        migrations.apply(empty_database_url, slow_folder)


def test_this_releases_migrations_killed_at_random_moments_end_in_the_same_schema(
    empty_database_url: str, database_url: str
) -> None:
    moments = random.Random(20170103)
    for _ in range(12):
        victim = FORK.Process(target=migrations.apply, args=(empty_database_url, migrations.folder()))
        victim.start()
        time.sleep(moments.uniform(0, 0.06))
        victim.kill()
        victim.join()
    migrations.apply(empty_database_url, migrations.folder())
    assert schema(empty_database_url) == schema(database_url)


def schema(url: str) -> str:
    done = subprocess.run([program("pg_dump"), "--schema-only", url], capture_output=True, text=True, check=True)
    return "\n".join(line for line in done.stdout.splitlines() if "restrict" not in line)
