"""Migrations on a real server: order, records, refusals, two at once."""

from __future__ import annotations

import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest

from quantmatrix_pipeline.errors import MigrationError, WarehouseUnavailable
from quantmatrix_pipeline.warehouse import migrations
from quantmatrix_pipeline.warehouse.embedded import EmbeddedServer
from quantmatrix_pipeline.warehouse.embedded_programs import program
from quantmatrix_pipeline.warehouse.migrations import State


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "0001_first.sql").write_text("CREATE TABLE first (n integer);\nINSERT INTO first VALUES (1);\n")
    (tmp_path / "0002_second.sql").write_text(
        "CREATE FUNCTION twice(n integer) RETURNS integer LANGUAGE plpgsql AS $$\n"
        "BEGIN\n  RETURN n * 2; -- 100 %\nEND $$;\n"
    )
    return tmp_path


def rows(url: str, query: str) -> list[tuple[object, ...]]:
    with psycopg.connect(url) as connection:
        return connection.execute(query).fetchall()  # type: ignore[arg-type]


def schema(url: str) -> str:
    """Return a dump of a database's schema without the record of its migrations and the dump's random token."""
    done = subprocess.run(
        [program("pg_dump"), "--schema-only", "--exclude-table=schema_migrations", url],
        capture_output=True,
        text=True,
        check=True,
    )
    return "\n".join(line for line in done.stdout.splitlines() if "restrict" not in line)


def test_pending_files_are_applied_in_order_and_a_second_call_finds_nothing_left(
    empty_database_url: str, folder: Path
) -> None:
    assert [s.state for s in migrations.status(empty_database_url, folder)] == [State.PENDING, State.PENDING]
    assert migrations.apply(empty_database_url, folder) == ["0001_first", "0002_second"]
    assert migrations.apply(empty_database_url, folder) == []
    assert rows(empty_database_url, "SELECT twice(n) FROM first") == [(2,)]
    assert [(s.id, s.state) for s in migrations.status(empty_database_url, folder)] == [
        ("0001_first", State.APPLIED),
        ("0002_second", State.APPLIED),
    ]


def test_status_changes_nothing_in_a_database_without_records(empty_database_url: str, folder: Path) -> None:
    migrations.status(empty_database_url, folder)
    assert rows(empty_database_url, "SELECT to_regclass('schema_migrations')") == [(None,)]


def test_a_later_file_is_applied_alone(empty_database_url: str, folder: Path) -> None:
    migrations.apply(empty_database_url, folder)
    (folder / "0003_third.sql").write_text("INSERT INTO first VALUES (3);")
    assert migrations.apply(empty_database_url, folder) == ["0003_third"]
    assert rows(empty_database_url, "SELECT n FROM first ORDER BY n") == [(1,), (3,)]


def test_a_failing_file_leaves_nothing_of_itself_and_is_named_with_its_line(
    empty_database_url: str, folder: Path
) -> None:
    bad = folder / "0003_bad.sql"
    bad.write_text("CREATE TABLE third (n integer);\n\nINSERT INTO thrid VALUES (1);\n")
    with pytest.raises(MigrationError, match=r'0003_bad\.sql, line 3: relation "thrid" does not exist'):
        migrations.apply(empty_database_url, folder)
    assert [s.state for s in migrations.status(empty_database_url, folder)] == [
        State.APPLIED,
        State.APPLIED,
        State.PENDING,
    ]
    bad.write_text("CREATE TABLE third (n integer);")
    assert migrations.apply(empty_database_url, folder) == ["0003_bad"]


def test_an_edited_applied_file_is_refused_by_its_name(empty_database_url: str, folder: Path) -> None:
    migrations.apply(empty_database_url, folder)
    (folder / "0001_first.sql").write_text("CREATE TABLE first (n bigint);\nINSERT INTO first VALUES (1);\n")
    (folder / "0003_third.sql").write_text("CREATE TABLE third (n integer);")
    assert migrations.status(empty_database_url, folder)[0].state is State.EDITED
    with pytest.raises(MigrationError, match=r"0001_first\.sql: edited after it was applied"):
        migrations.apply(empty_database_url, folder)
    assert rows(empty_database_url, "SELECT to_regclass('third')") == [(None,)]


def test_other_line_ends_are_no_edit(empty_database_url: str, folder: Path) -> None:
    migrations.apply(empty_database_url, folder)
    first = folder / "0001_first.sql"
    first.write_bytes(first.read_bytes().replace(b"\n", b"\r\n"))
    assert migrations.apply(empty_database_url, folder) == []


def test_a_file_numbered_before_an_applied_one_is_refused(empty_database_url: str, folder: Path) -> None:
    first = folder / "0001_first.sql"
    late = first.read_text()
    first.unlink()
    migrations.apply(empty_database_url, folder)
    first.write_text(late)
    with pytest.raises(MigrationError, match=r"0001_first\.sql: comes before 0002_second"):
        migrations.apply(empty_database_url, folder)


def test_a_database_of_a_newer_release_is_refused(empty_database_url: str, folder: Path) -> None:
    migrations.apply(empty_database_url, folder)
    (folder / "0002_second.sql").unlink()
    with pytest.raises(MigrationError, match="has migration 0002_second, which this release does not know"):
        migrations.apply(empty_database_url, folder)


@pytest.mark.parametrize(
    "ending", ["COMMIT;", "ROLLBACK;", "COMMIT; BEGIN;", "COMMIT; CREATE TABLE other (n integer);"]
)
def test_a_file_that_ends_its_own_transaction_is_refused(empty_database_url: str, folder: Path, ending: str) -> None:
    (folder / "0003_third.sql").write_text(f"CREATE TABLE third (n integer); {ending}")
    with pytest.raises(MigrationError, match=r"0003_third\.sql: ends the transaction it is applied in"):
        migrations.apply(empty_database_url, folder)
    assert migrations.status(empty_database_url, folder)[2].state is State.PENDING


def test_what_a_file_sets_does_not_reach_the_next_one(empty_database_url: str, folder: Path) -> None:
    (folder / "0003_third.sql").write_text("CREATE SCHEMA elsewhere; SET search_path = elsewhere, public;")
    (folder / "0004_fourth.sql").write_text("CREATE TABLE fourth (n integer);")
    migrations.apply(empty_database_url, folder)
    assert rows(empty_database_url, "SELECT schemaname FROM pg_tables WHERE tablename = 'fourth'") == [("public",)]


@pytest.mark.parametrize("name", ["0003-third.sql", "3_third.sql", "0003_Third.sql", "0003_third.SQL"])
def test_a_misnamed_file_is_refused(empty_database_url: str, folder: Path, name: str) -> None:
    (folder / name).write_text("SELECT 1;")
    with pytest.raises(MigrationError, match="a migration is named like"):
        migrations.apply(empty_database_url, folder)


def test_two_files_of_one_number_are_refused(empty_database_url: str, folder: Path) -> None:
    (folder / "0002_another.sql").write_text("SELECT 1;")
    with pytest.raises(MigrationError, match=r"0002_second\.sql: 0002_another\.sql bears the same number"):
        migrations.apply(empty_database_url, folder)


def test_callers_at_the_same_time_apply_every_file_once(empty_database_url: str, folder: Path) -> None:
    (folder / "0003_slow.sql").write_text("SELECT pg_sleep(0.3); INSERT INTO first VALUES (3);")
    with ThreadPoolExecutor(4) as pool:
        calls = [pool.submit(migrations.apply, empty_database_url, folder) for _ in range(4)]
        applied = [id_ for call in calls for id_ in call.result()]
    assert sorted(applied) == ["0001_first", "0002_second", "0003_slow"]
    assert rows(empty_database_url, "SELECT n FROM first ORDER BY n") == [(1,), (3,)]


def test_no_database_is_said_without_the_password() -> None:
    with pytest.raises(WarehouseUnavailable, match="does not answer") as failure:
        migrations.apply("postgresql://qm_owner:the-password@127.0.0.1:1/quantmatrix", migrations.folder())
    assert "the-password" not in str(failure.value)


def test_psql_applies_this_releases_files_to_the_same_schema(
    server: EmbeddedServer, empty_database_url: str, database_url: str
) -> None:
    for path in sorted(migrations.folder().glob("[0-9]*.sql")):
        subprocess.run(
            [program("psql"), "-X", "-q", "-1", "-v", "ON_ERROR_STOP=1", "-f", path, empty_database_url], check=True
        )
    assert schema(empty_database_url) == schema(database_url)
