"""The embedded server as its users meet it: what it gives, what it refuses, as root and as an ordinary user."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest

from quantmatrix_pipeline.errors import EmbeddedServerError
from quantmatrix_pipeline.warehouse.embedded import HOST, ROLES, SUPERUSER, EmbeddedServer
from quantmatrix_pipeline.warehouse.embedded_programs import Account, require_usable, wheel_folder

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, which may become another user")
NOBODY = 65534


@pytest.fixture
def new_server(run_folder: Path) -> Iterator[EmbeddedServer]:
    """A server of the test's own, in a folder whose path holds a space, not made yet."""
    folder = run_folder / uuid4().hex[:8] / "my data" / "postgres"
    server = EmbeddedServer(folder)
    yield server
    server.stop()
    shutil.rmtree(folder.parents[1], ignore_errors=True)


def setting(url: str, name: str) -> object:
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT current_setting(%s)", (name,)).fetchone()
        assert row is not None
        return row[0]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("server_encoding", "UTF8"),
        ("TimeZone", "UTC"),
        ("fsync", "on"),
        ("synchronous_commit", "on"),
        ("jit", "off"),
        ("shared_buffers", "512MB"),
        ("max_wal_size", "4GB"),
        ("max_connections", "100"),
        ("idle_in_transaction_session_timeout", "5min"),
        ("password_encryption", "scram-sha-256"),
        ("listen_addresses", HOST),
        ("data_checksums", "on"),
    ],
)
def test_the_server_is_set_up_as_documented(server: EmbeddedServer, name: str, value: str) -> None:
    assert setting(server.url(role=SUPERUSER), name) == value


@pytest.mark.parametrize("database", ["quantmatrix", "dagster"])
@pytest.mark.parametrize("role", ROLES)
def test_each_role_logs_in_to_each_database_with_a_password_of_its_own(
    server: EmbeddedServer, role: str, database: str
) -> None:
    with psycopg.connect(server.url(database, role)) as connection:
        assert connection.execute("SELECT current_user, current_database()").fetchone() == (role, database)
    passwords = {psycopg.conninfo.conninfo_to_dict(server.url(role=name))["password"] for name in (*ROLES, SUPERUSER)}
    assert len(passwords) == 4


def test_nobody_gets_in_without_the_right_password(server: EmbeddedServer) -> None:
    password = psycopg.conninfo.conninfo_to_dict(server.url())["password"]
    wrong = server.url().replace(str(password), "wrong")
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(wrong)


def test_qm_owner_owns_both_databases_and_is_no_superuser(server: EmbeddedServer) -> None:
    with psycopg.connect(server.url(role=SUPERUSER)) as connection:
        owners = connection.execute(
            "SELECT datname, datdba::regrole::text FROM pg_database WHERE datname IN ('quantmatrix', 'dagster')"
        ).fetchall()
        privileged = connection.execute("SELECT rolname FROM pg_roles WHERE rolsuper OR rolcreaterole").fetchall()
    assert dict(owners) == {"quantmatrix": "qm_owner", "dagster": "qm_owner"}
    assert privileged == [(SUPERUSER,)]


def test_passwords_and_data_are_closed_to_other_users(server: EmbeddedServer) -> None:
    assert stat.S_IMODE((server.folder / "access.json").stat().st_mode) == 0o600
    assert stat.S_IMODE(server.data.stat().st_mode) == 0o700
    assert stat.S_IMODE(server.log.stat().st_mode) == 0o700


def test_an_unknown_role_is_refused_by_name(server: EmbeddedServer) -> None:
    with pytest.raises(EmbeddedServerError, match="no role 'qm_auditor'"):
        server.url(role="qm_auditor")


def test_before_the_first_start_everything_says_that_nothing_is_there(new_server: EmbeddedServer) -> None:
    assert not new_server.is_running()
    new_server.stop()
    for question in (new_server.url, new_server.version):
        with pytest.raises(EmbeddedServerError, match=r"no database in .* yet"):
            question()
    assert not new_server.folder.exists()


def test_start_stop_start_keeps_data_port_and_passwords(new_server: EmbeddedServer) -> None:
    url = new_server.start()
    assert new_server.start() == url
    assert new_server.version() == 18
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS n")
    new_server.stop()
    assert not new_server.is_running()
    new_server.stop()
    assert new_server.start() == url
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT n FROM kept").fetchone() == (42,)


def test_another_port_is_taken_when_another_server_sits_on_ours(
    new_server: EmbeddedServer, server: EmbeddedServer
) -> None:
    new_server.start()
    new_server.stop()
    taken = json.loads((server.folder / "access.json").read_text())["port"]
    access = json.loads((new_server.folder / "access.json").read_text())
    (new_server.folder / "access.json").write_text(json.dumps(access | {"port": taken}))
    assert not new_server.is_running()
    moved = new_server.start()
    assert psycopg.conninfo.conninfo_to_dict(moved)["port"] != str(taken)
    assert setting(moved, "data_directory") == str(new_server.data)
    assert server.is_running()


def test_a_data_folder_of_another_major_version_is_refused_with_the_way_out(new_server: EmbeddedServer) -> None:
    new_server.start()
    new_server.stop()
    (new_server.data / "PG_VERSION").write_text("16\n")
    with pytest.raises(EmbeddedServerError, match=r"made by PostgreSQL 16 and this installation brings 18.*pg_upgrade"):
        new_server.start()
    assert new_server.version() == 16


def test_lost_passwords_are_said_to_be_lost(new_server: EmbeddedServer) -> None:
    new_server.start()
    new_server.stop()
    (new_server.folder / "access.json").unlink()
    with pytest.raises(EmbeddedServerError, match=r"access\.json with the server's passwords is gone"):
        new_server.start()


def test_a_server_that_cannot_start_says_why(new_server: EmbeddedServer) -> None:
    new_server.start()
    new_server.stop()
    with (new_server.data / "postgresql.conf").open("a") as configuration:
        configuration.write("no_such_setting = 1\n")
    with pytest.raises(EmbeddedServerError, match=r"does not start: .*no_such_setting"):
        new_server.start()


def test_a_path_that_a_shell_would_change_is_refused_before_anything_is_made(run_folder: Path) -> None:
    server = EmbeddedServer(run_folder / "a$b" / "postgres")
    with pytest.raises(EmbeddedServerError, match="may hold no double quote, dollar"):
        server.start()
    assert not server.data.exists()
    shutil.rmtree(run_folder / "a$b")


def test_the_servers_environment_holds_none_of_our_variables(
    new_server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QM_DISCORD_WEBHOOK", "https://example.test/secret")
    monkeypatch.setenv("PGPORT", "1")
    monkeypatch.setenv("PGDATA", "/nowhere")
    url = new_server.start()
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE environment (line text)")
        connection.execute("COPY environment FROM PROGRAM 'env'")
        lines = [line for (line,) in connection.execute("SELECT line FROM environment")]
    assert lines
    assert not [line for line in lines if "secret" in line or line.startswith(("PGPORT=1", "PGDATA=/nowhere"))]


def as_nobody(function: Callable[[], str]) -> str:
    """Call a function in a child that has become an ordinary user, and return its text.

    A fork, since that user may not enter the folders of root's interpreter.
    """
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            text = function()
        except BaseException:
            text = traceback.format_exc()
        os.write(writer, text.encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        text = pipe.read()
    os.waitpid(child, 0)
    return text


# --- as whom it runs ------------------------------------------------------------------------------------------------


@needs_root
def test_as_root_it_runs_as_somebody_else_and_changes_nothing_above_its_folder(new_server: EmbeddedServer) -> None:
    parent = new_server.folder.parent
    parent.mkdir(parents=True)
    before = [(path, path.stat().st_mode, path.stat().st_uid) for path in (parent, *parent.parents)]
    url = new_server.start()
    assert new_server.data.stat().st_uid != 0
    assert [(path, path.stat().st_mode, path.stat().st_uid) for path in (parent, *parent.parents)] == before
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE account (name text)")
        connection.execute("COPY account FROM PROGRAM 'id -u'")
        assert connection.execute("SELECT name FROM account").fetchone() == (str(new_server.data.stat().st_uid),)


@needs_root
def test_as_root_a_folder_out_of_reach_is_one_clear_error_naming_the_closed_parent(new_server: EmbeddedServer) -> None:
    closed = new_server.folder.parents[1]
    closed.mkdir(mode=0o700)
    with pytest.raises(EmbeddedServerError, match=rf"may not enter {closed}: set QM_DATA_DIR"):
        new_server.start()
    assert stat.S_IMODE(closed.stat().st_mode) == 0o700
    assert not new_server.data.exists()


@needs_root
def test_as_root_a_strict_umask_closes_nothing_that_the_server_needs(new_server: EmbeddedServer) -> None:
    new_server.folder.parent.mkdir(parents=True)
    umask = os.umask(0o077)
    try:
        new_server.start()
    finally:
        os.umask(umask)
    assert new_server.is_running()


@needs_root
def test_as_root_programs_out_of_reach_are_copied_beside_the_data(new_server: EmbeddedServer, run_folder: Path) -> None:
    closed = run_folder / f"{uuid4().hex[:8]}-environment"
    closed.mkdir(mode=0o700)
    installed = wheel_folder()
    shutil.copytree(installed / "pginstall18", closed / installed.name / "pginstall18", symlinks=True)
    (closed / installed.name / "__init__.py").touch()
    if (libraries := installed.parent / f"{installed.name}.libs").exists():
        shutil.copytree(libraries, closed / libraries.name)
    program = "import sys; from pathlib import Path; from quantmatrix_pipeline.warehouse.embedded import EmbeddedServer"
    program += "; EmbeddedServer(Path(sys.argv[1])).start()"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(closed), *sys.path])}
    subprocess.run([sys.executable, "-c", program, new_server.folder], env=environment, check=True)
    assert new_server.is_running()
    with psycopg.connect(new_server.url(role=SUPERUSER)) as connection:
        connection.execute("CREATE TABLE command (line text)")
        connection.execute("COPY command FROM PROGRAM 'readlink /proc/$PPID/exe'")
        row = connection.execute("SELECT line FROM command").fetchone()
    assert row is not None
    assert Path(row[0]).is_relative_to(new_server.folder)
    shutil.rmtree(closed)


@needs_root
def test_an_ordinary_user_runs_it_as_himself_and_roots_folder_is_refused_to_him(
    new_server: EmbeddedServer, run_folder: Path
) -> None:
    own = run_folder / f"{uuid4().hex[:8]}-own"
    own.mkdir()
    os.chown(own, NOBODY, NOBODY)
    new_server.start()

    def live() -> str:
        server = EmbeddedServer(own / "postgres")
        server.start()
        assert server.is_running()
        server.stop()
        assert not server.is_running()
        server.start()
        assert server.data.stat().st_uid == os.geteuid() == NOBODY
        with pytest.raises(EmbeddedServerError) as refusal:
            EmbeddedServer(new_server.folder).start()
        return str(refusal.value)

    assert "is not ours to use: run as the user who made it" in as_nobody(live)
    # Root, coming later, goes on as the owner of the data.
    owned = EmbeddedServer(own / "postgres")
    assert owned.is_running()
    owned.stop()
    owned.start()
    assert {path.stat().st_uid for path in owned.data.rglob("*")} == {NOBODY}
    owned.stop()
    shutil.rmtree(own)


@needs_root
def test_reachability_is_asked_of_the_account_not_read_from_mode_bits(run_folder: Path) -> None:
    folder = run_folder / f"{uuid4().hex[:8]}-group"
    folder.mkdir()
    os.chown(folder, 0, NOBODY)
    folder.chmod(0o710)
    require_usable(folder, Account("nobody", NOBODY, NOBODY))
    folder.chmod(0o701)  # a member of the group is not one of the others
    with pytest.raises(EmbeddedServerError, match="may not enter"):
        require_usable(folder, Account("nobody", NOBODY, NOBODY))
    folder.rmdir()
