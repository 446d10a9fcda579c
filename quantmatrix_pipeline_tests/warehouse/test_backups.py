"""Backups on a real server: what is restored is what was dumped, and what is not whole is never taken for it."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import psycopg
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from pydantic import SecretStr

from quantmatrix_pipeline.backups.create import Taken, create
from quantmatrix_pipeline.backups.restore import restore
from quantmatrix_pipeline.backups.store import Store
from quantmatrix_pipeline.backups.verify import verify
from quantmatrix_pipeline.errors import BackupError, ChainBusy, ConfigurationError, NoSuchBackup, NotEmpty
from quantmatrix_pipeline.settings import Settings
from quantmatrix_pipeline.warehouse import migrations
from quantmatrix_pipeline.warehouse.client_programs import ClientPrograms
from quantmatrix_pipeline.warehouse.embedded import SUPERUSER, EmbeddedServer
from quantmatrix_pipeline.warehouse.engine import Warehouse
from quantmatrix_pipeline.warehouse.restore import for_server
from quantmatrix_pipeline_tests.conftest import TEMPLATE, _database
from quantmatrix_pipeline_tests.faults import chain

FILL = """
INSERT INTO instruments (name) SELECT 'company ' || n FROM generate_series(1, 500) n;
INSERT INTO heartbeats SELECT 'sensor ' || n, now(), jsonb_build_object('n', n) FROM generate_series(1, 50) n;
CREATE TABLE dagster.runs (id bigserial PRIMARY KEY, body text);
INSERT INTO dagster.runs (body) SELECT repeat('event ', n) FROM generate_series(1, 300) n;
"""


@dataclass(frozen=True)
class Place:
    """A filled database of a user's server, whose owner may make others, and a folder for its backups."""

    url: str
    folder: Path

    @property
    def settings(self) -> Settings:
        return Settings(database_url=SecretStr(self.url), backup_url=SecretStr(str(self.folder)))

    def execute(self, statement: str) -> None:
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(statement)


@contextmanager
def a_place(server: EmbeddedServer, folder: Path, template: str = TEMPLATE) -> Iterator[Place]:
    with contextmanager(_database)(server, template) as url:
        yield Place(server.url(url.rsplit("/", 1)[1], SUPERUSER), folder)


@pytest.fixture(scope="module")
def filled(server: EmbeddedServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with a_place(server, tmp_path_factory.mktemp("backups") / "copies") as place:
        place.execute(FILL)
        yield place


@pytest.fixture(scope="module")
def taken(filled: Place) -> Taken:
    return create(filled.settings)


def test_a_backup_is_two_dumps_and_a_manifest_that_only_its_owner_may_read(filled: Place, taken: Taken) -> None:
    folder = filled.folder / taken.name
    assert {file.name for file in folder.iterdir()} >= {"warehouse.dump", "dagster.dump", "manifest.json"}
    assert filled.folder.stat().st_mode & 0o077 == 0
    warehouse, dagster = taken.manifest.parts
    assert (warehouse.tables["instruments"].rows, warehouse.tables["heartbeats"].rows) == (500, 50)
    assert {name: t.rows for name, t in dagster.tables.items()} == {"runs": 300}
    assert [b.complete for b in Store.of(filled.settings).backups() if b.name == taken.name] == [True]


def test_it_verifies_and_the_scratch_database_is_gone_afterwards(
    filled: Place, taken: Taken, server: EmbeddedServer
) -> None:
    assert verify(filled.settings, taken.name).faults == ()
    (backup,) = [b for b in Store.of(filled.settings).backups() if b.name == taken.name]
    assert backup.verification is not None
    with psycopg.connect(filled.url) as connection:
        names = [name for (name,) in connection.execute("SELECT datname FROM pg_database").fetchall()]
    assert not [name for name in names if name.startswith("qm_scratch") and filled.url.rsplit("/", 1)[1] in name]


def test_a_restore_into_an_empty_database_brings_back_rows_rights_and_the_refusals(
    filled: Place, taken: Taken, server: EmbeddedServer
) -> None:
    with a_place(server, filled.folder, "template1") as place:
        done = restore(place.settings, taken.name)
        assert [part.name for part in done.parts] == ["warehouse", "dagster"]
        assert {m.state for m in migrations.status(place.url, migrations.folder())} == {migrations.State.APPLIED}
        assert migrations.apply(place.url, migrations.folder()) == []
        place.execute("CREATE TABLE later (n integer)")
        with psycopg.connect(server.url(place.url.rsplit("/", 1)[1], "qm_reader"), autocommit=True) as reader:
            assert reader.execute("SELECT count(*) FROM instruments").fetchone() == (500,)
            assert reader.execute("SELECT count(*) FROM later").fetchone() == (0,)
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                reader.execute("DELETE FROM instruments")
        with pytest.raises(psycopg.errors.RestrictViolation):
            place.execute("TRUNCATE market_analysis_history")


def test_a_restore_over_something_needs_the_word_and_then_leaves_nothing_of_it(
    filled: Place, taken: Taken, server: EmbeddedServer
) -> None:
    with a_place(server, filled.folder) as place:
        place.execute(
            "CREATE TABLE mine (n integer); INSERT INTO mine VALUES (1); INSERT INTO instruments (name) VALUES ('new');"
            "CREATE FUNCTION mine_too() RETURNS integer LANGUAGE sql AS 'SELECT 1'; CREATE TYPE moods AS ENUM ('good')"
        )
        with pytest.raises(NotEmpty, match="--overwrite"):
            restore(place.settings, taken.name)
        restore(place.settings, taken.name, only=["warehouse"], overwrite=True)
        with psycopg.connect(place.url) as connection:
            row = connection.execute(
                "SELECT to_regclass('mine'), to_regproc('mine_too'), to_regtype('moods'), to_regclass('dagster.runs'),"
                " (SELECT count(*) FROM instruments)"
            ).fetchone()
        assert row == (None, None, None, None, 500)


def test_what_changes_while_a_dump_is_taken_is_in_neither_dump_nor_hashes(filled: Place, taken: Taken) -> None:
    """Somebody writes all the time; dump and hashes are of one moment, or the copy would differ from them."""
    writer = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import psycopg, sys\nc = psycopg.connect(sys.argv[1], autocommit=True)\n"
            "while True: c.execute(\"UPDATE heartbeats SET beat_at = clock_timestamp() WHERE name = 'sensor 1'\")",
            filled.url,
        ]
    )
    try:
        time.sleep(0.3)
        name = create(filled.settings).name
    finally:
        writer.kill()
        writer.wait()
    assert verify(filled.settings, name).faults == ()


@contextmanager
def spoilt(path: Path, content: bytes) -> Iterator[None]:
    before = path.read_bytes()
    path.write_bytes(content)
    try:
        yield
    finally:
        path.write_bytes(before)


def test_a_flipped_byte_is_found_by_verify_shown_by_list_and_never_restored(
    filled: Place, taken: Taken, server: EmbeddedServer
) -> None:
    dump = filled.folder / taken.name / "warehouse.dump"
    content = bytearray(dump.read_bytes())
    content[len(content) // 2] ^= 0xFF
    with spoilt(dump, bytes(content)):
        (fault,) = verify(filled.settings, taken.name).faults
        assert fault.startswith("warehouse: warehouse.dump is damaged")
        (listed,) = [b for b in Store.of(filled.settings).backups() if b.name == taken.name]
        assert listed.verification is not None
        assert listed.verification.faults == (fault,)
        with a_place(server, filled.folder, "template1") as place:
            with pytest.raises(BackupError, match="damaged"):
                restore(place.settings, taken.name)
            assert migrations.status(place.url, migrations.folder())[0].state is migrations.State.PENDING


def test_a_dump_that_restores_and_is_not_what_was_counted_is_found_by_its_hash(filled: Place, taken: Taken) -> None:
    """As if somebody had put another dump in its place and its checksum into the manifest."""
    manifest = filled.folder / taken.name / "manifest.json"
    told = json.loads(manifest.read_bytes())
    told["parts"][0]["tables"]["heartbeats"]["hash"] = "1"
    told["parts"][0]["tables"]["instruments"]["rows"] = 499
    told["parts"][1]["tables"]["ticks"] = {"rows": 1, "hash": "2"}
    with spoilt(manifest, json.dumps(told).encode()):
        assert verify(filled.settings, taken.name).faults == (
            "warehouse: table heartbeats has its 50 rows and other values in them",
            "warehouse: table instruments has 500 rows instead of 499",
            "dagster: table ticks is missing",
        )


def test_a_truncated_dump_is_no_complete_backup(filled: Place, taken: Taken) -> None:
    dump = filled.folder / taken.name / "dagster.dump"
    with spoilt(dump, dump.read_bytes()[:-1]):
        (listed,) = [b for b in Store.of(filled.settings).backups() if b.name == taken.name]
        assert not listed.complete
        with pytest.raises(NoSuchBackup, match=r"dagster\.dump has"):
            verify(filled.settings, taken.name)


def test_an_archive_that_breaks_off_in_the_middle_of_a_restore_changes_nothing(
    filled: Place, taken: Taken, server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The checksum is right and the archive is not: only the transaction stands between it and the database."""
    monkeypatch.setattr("quantmatrix_pipeline.backups.restore.require_whole", lambda part, archive: None)
    dump = filled.folder / taken.name / "warehouse.dump"
    content = dump.read_bytes()
    broken = content[: len(content) * 2 // 3].ljust(len(content), b"\0")
    with a_place(server, filled.folder) as place:
        place.execute("INSERT INTO instruments (name) VALUES ('new')")
        with spoilt(dump, broken), pytest.raises(BackupError):
            restore(place.settings, taken.name, overwrite=True)
        assert Warehouse(place.url).scalar("SELECT name FROM instruments") == "new"


@pytest.mark.parametrize(("server_version", "known"), [("15.18", False), ("17.0", True)])
def test_a_server_before_17_is_not_asked_for_a_setting_that_it_does_not_know(
    filled: Place, taken: Taken, server_version: str, known: bool
) -> None:
    archive = str(filled.folder / taken.name / "warehouse.dump")
    programs = ClientPrograms.fitting(filled.url, server_version)
    script = programs.run("pg_restore", "--file=-", "--section=pre-data", archive)
    assert b"\nSET transaction_timeout" in script
    assert (b"\nSET transaction_timeout" in for_server(server_version, script)) is known


@pytest.mark.parametrize("victim", ["pg_dump", "ourselves"])
def test_a_killed_dump_leaves_nothing_that_list_shows_as_complete(filled: Place, tmp_path: Path, victim: str) -> None:
    folder = tmp_path / "copies"
    # A lock that pg_dump has to wait for holds it in the middle of its work.
    with psycopg.connect(filled.url) as holder:
        holder.execute("LOCK TABLE price_data IN ACCESS EXCLUSIVE MODE")
        environment = {"QM_DATABASE_URL": filled.url, "QM_BACKUP_URL": str(folder)}
        qm = chain.start(["backup", "create"], environment, tmp_path / "qm")
        pg_dump = _wait_for("pg_dump", qm)
        with pytest.raises(ChainBusy):
            create(filled.settings)
        if victim == "pg_dump":
            pg_dump.kill()
            assert qm.wait() == 4
            assert "pg_dump" in qm.stderr
        else:
            assert qm.kill()
    psutil.wait_procs([pg_dump], timeout=30)
    found = Store(str(folder)).backups()
    # Who was killed could not take away what it had begun; nobody takes that for a backup.
    assert [backup.faults for backup in found] == ([] if victim == "pg_dump" else [("begun and not finished",)])


def test_a_killed_restore_changes_nothing(filled: Place, taken: Taken, server: EmbeddedServer, tmp_path: Path) -> None:
    with a_place(server, filled.folder) as place:
        place.execute("INSERT INTO instruments (name) VALUES ('new')")
        with psycopg.connect(place.url) as reader:
            assert reader.execute("SELECT count(*) FROM validation_log").fetchone() == (0,)
            environment = {"QM_DATABASE_URL": place.url, "QM_BACKUP_URL": str(place.folder)}
            qm = chain.start(["backup", "restore", taken.name, "--overwrite"], environment, tmp_path / "qm")
            psql = _wait_for("psql", qm)
            with psycopg.connect(place.url, autocommit=True) as watcher:
                assert chain.wait_for_statement(watcher, "%clear%", qm, waiting=True), qm.output
            assert qm.kill()
        psutil.wait_procs([psql], timeout=30)
        warehouse = Warehouse(place.url)
        assert warehouse.scalar("SELECT name FROM instruments") == "new"
        warehouse.close()


def _wait_for(program: str, qm: chain.Qm) -> psutil.Process:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        assert qm.running, qm.output
        for child in psutil.Process(qm.pid).children():
            with contextlib.suppress(psutil.NoSuchProcess):
                command = " ".join(child.cmdline()) if child.name() == program else ""
                if "--dbname" in command:  # and not the one that is asked for its version
                    assert "password" not in command.lower()
                    return child
        time.sleep(0.01)
    raise AssertionError(f"no {program} was started: {qm.output}")


def test_only_the_newest_are_kept_and_remains_go_when_they_are_old(filled: Place, tmp_path: Path) -> None:
    folder = tmp_path / "copies"
    settings = filled.settings.model_copy(update={"backup_url": SecretStr(str(folder)), "backup_keep": 2})
    for remains in ("20200101T000000Z", "29990101T000000Z", "of-somebody-else"):
        (folder / remains).mkdir(parents=True)
    names = [create(settings).name for _ in range(3)]
    assert [b.name for b in Store.of(settings).backups() if b.complete] == [names[2], names[1]]
    assert {path.name for path in folder.iterdir()} == {names[1], names[2], "29990101T000000Z", "of-somebody-else"}


def test_an_address_that_fsspec_knows_takes_the_folders_place(filled: Place) -> None:
    settings = filled.settings.model_copy(update={"backup_url": SecretStr("memory://copies")})
    try:
        name = create(settings).name
        assert verify(settings).name == name
        assert Store.of(settings).backups()[0].complete
        assert MemoryFileSystem().info(f"/copies/{name}/manifest.json")["size"] > 0
    finally:
        MemoryFileSystem().rm("/copies", recursive=True)


def test_an_address_that_nobody_knows_is_said_without_its_password() -> None:
    with pytest.raises(ConfigurationError, match="QM_BACKUP_URL") as refused:
        Store("nowhere://me:hidden@host/folder")
    assert "hidden" not in str(refused.value)


def test_a_server_newer_than_every_pg_dump_is_refused_with_the_way_out(filled: Place) -> None:
    with pytest.raises(BackupError, match=r"PostgreSQL 99\.1 and pg_dump must be at least as new"):
        ClientPrograms.fitting(filled.url, "99.1")


def test_a_database_that_is_not_there_is_one_of_the_usual_errors(filled: Place, tmp_path: Path) -> None:
    settings = filled.settings.model_copy(update={"database_url": SecretStr("postgresql://u:hidden@127.0.0.1:9/x")})
    with pytest.raises(Exception, match="does not answer") as refused:
        create(settings)
    assert "hidden" not in str(refused.value)
