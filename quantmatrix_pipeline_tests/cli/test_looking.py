"""`qm status`, `coverage`, `doctor`, `db`: what they say of a filled warehouse, of an empty one, and of none."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest

from quantmatrix_pipeline_tests.cli.conftest import Installation


def counted(installation: Installation, table: str) -> int:
    with psycopg.connect(installation.url) as connection:
        row = connection.execute(f"SELECT count(*) FROM {table}").fetchone()
    assert row is not None
    return int(row[0])


def test_the_first_line_of_status_says_session_state_why_and_the_job_to_press(filled: Installation) -> None:
    done = filled.qm("status")
    assert done.code == 0, done.stderr
    first = done.stdout.splitlines()[0]
    # GHOST is a member of the index that no file holds.
    assert first == f"{filled.folder.sessions[-1]} degraded: 1 without any bar: GHOST -> press backfill_stale_daily"


def test_status_tells_of_a_broken_schedules_file_beside_the_state(filled: Installation, tmp_path: Path) -> None:
    ours = tmp_path / "ours.yaml"
    ours.write_text("version: 1\nschedules:\n  a: {job: restate, cron: 0 1 * * *, priority: high}\n")
    headline, broken = filled.qm("status", QM_SCHEDULES_FILE=str(ours)).stdout.splitlines()[:2]
    assert headline == filled.qm("status").stdout.splitlines()[0]
    assert broken.startswith("schedules file: nothing is scheduled")
    assert f"{ours}: a.priority: 'high' is no whole number" in broken
    body = json.loads(filled.qm("status", "--json", QM_SCHEDULES_FILE=str(ours)).stdout)
    assert broken == f"schedules file: {body['schedules_file']}"
    ours.write_text(ours.read_text().replace("high", "7"))
    assert "schedules file" not in filled.qm("status", QM_SCHEDULES_FILE=str(ours)).stdout


def test_status_as_json_counts_what_the_database_holds(filled: Installation) -> None:
    body = json.loads(filled.qm("status", "--json").stdout)
    assert body["coverage"]["status"] == "degraded"
    assert body["rows"]["price_data"] == counted(filled, "price_data")


def test_coverage_names_the_stale_and_its_json_has_every_bucket(filled: Installation) -> None:
    shown = filled.qm("coverage").stdout
    assert "GHOST" in shown
    body = json.loads(filled.qm("coverage", "--json").stdout)
    (tier,) = [line.split() for line in shown.splitlines() if line.split()[:1] == ["T0"]]
    assert tier == ["T0", *(str(body["by_tier"]["T0"][age]) for age in ("<=24h", "24-48h", ">48h", "none"))]
    assert sum(body["buckets"].values()) == body["expected"] == counted(filled, "symbol_universe")
    assert body["buckets"]["none"] == 1
    assert body["stale"]["none"] == ["GHOST"]
    assert body["by_index"]["DOW30"]["none"] == 1
    assert body["by_tier"] == {"T0": body["buckets"]}


def test_coverage_shows_how_full_the_newest_sessions_are(filled: Installation) -> None:
    body = json.loads(filled.qm("coverage", "--json", "--history", "3").stdout)
    assert [day["session"] for day in body["history"]] == [str(day) for day in filled.folder.sessions[-3:]]
    with psycopg.connect(filled.url) as connection:
        stored = connection.execute(
            "SELECT count(*) FROM price_data_1d WHERE session = %s AND quality_score > 0", [filled.folder.sessions[-1]]
        ).fetchone()
    assert body["history"][-1]["bars"] == body["history"][-1]["snapshots"] == (stored or [None])[0]
    assert body["history"][-1]["expected"] == body["expected"]


@pytest.mark.parametrize("command", ["status", "coverage"])
def test_before_the_first_chain_one_line_says_what_to_press(migrated: Installation, command: str) -> None:
    done = migrated.qm(command)
    assert done.code == 4
    assert "restore_daily_coverage" in done.error


@pytest.mark.parametrize("command", ["status", "coverage", "chart AAPL", "export bars"])
def test_without_any_database_none_is_made_and_one_line_says_how(migrated: Installation, command: str) -> None:
    done = migrated.qm(*command.split(), QM_DATABASE_URL=None)
    assert done.code == 4
    assert "no database" in done.error
    assert "qm run" in done.error
    assert not (migrated.data_dir / "postgres" / "data").exists()


def test_the_doctor_finds_a_filled_installation_healthy(filled: Installation) -> None:
    done = filled.qm("doctor")
    assert done.code == 0, done.stdout
    assert done.stdout.splitlines()[-1] == "nothing is bad"
    findings = json.loads(filled.qm("doctor", "--json").stdout)
    states = {finding["what"]: finding["state"] for finding in findings}
    assert states["database"] == states["migrations"] == states["source"] == states["disk"] == "ok"


@pytest.mark.parametrize(
    ("variable", "value", "what"),
    [
        ("QM_DATABASE_URL", "postgresql://user:hidden@127.0.0.1:9/none", "database"),
        ("QM_DATABASE_URL", None, "database"),
        ("QM_REDIS_URL", "redis://:hidden@127.0.0.1:9/0", "redis"),
        ("QM_FILES_DIR", "/nowhere", "source"),
    ],
)
def test_the_doctor_names_what_is_ill_and_its_exit_code_says_so(
    migrated: Installation, variable: str, value: str | None, what: str
) -> None:
    done = migrated.qm("doctor", "--json", **{variable: value})
    assert done.code == 1, done.stderr
    assert what in {finding["what"] for finding in json.loads(done.stdout) if finding["state"] == "bad"}
    assert "hidden" not in done.stdout + done.stderr


def test_the_doctor_finds_misspelt_settings_and_leaves_other_programs_alone(filled: Installation) -> None:
    done = filled.qm("doctor", QM_DISCORD_WEBHOK="https://hidden", FINHUB_API_KEY="hidden", OPENAI_API_KEY="x")
    (line,) = [line for line in done.stdout.splitlines() if " environment: " in line]
    assert line.startswith("bad  environment: without effect: FINHUB_API_KEY: there is no such variable; did you mean")
    assert "QM_DISCORD_WEBHOK: there is no such variable; did you mean QM_DISCORD_WEBHOOK?" in line
    assert "OPENAI" not in line
    assert "hidden" not in done.stdout
    assert done.code == 1


def test_the_doctor_knows_the_newest_backup_and_whether_it_was_proved(filled: Installation, tmp_path: Path) -> None:
    place = {"QM_BACKUP_URL": str(tmp_path / "copies")}
    assert "note backup: none was taken" in filled.qm("doctor", **place).stdout
    listed = filled.qm("backup", "list", **place)
    assert (listed.code, "no backups in" in listed.stdout) == (0, True)
    taken = filled.qm("backup", "create", "--json", **place)
    assert taken.code == 0, taken.stderr
    name = json.loads(taken.stdout)["name"]
    assert f"note backup: the newest is {name}, 0 days old, and was never proved" in filled.qm("doctor", **place).stdout
    (row,) = json.loads(filled.qm("backup", "list", "--json", **place).stdout)
    assert (row["name"], row["complete"], row["verified_at"]) == (name, True, None)
    assert name in filled.qm("backup", "restore", "20000101T000000Z", **place).error
    refused = filled.qm("backup", "restore", name, **place)
    assert refused.code == 2
    assert "--overwrite" in refused.error


def test_the_doctor_sees_migrations_that_are_not_applied(migrated: Installation, empty_database_url: str) -> None:
    done = migrated.qm("doctor", QM_DATABASE_URL=empty_database_url)
    assert done.code == 1
    assert "migrations" in done.stdout


def test_db_upgrade_applies_once_and_status_lists_each_migration(
    migrated: Installation, empty_database_url: str
) -> None:
    first = migrated.qm("db", "upgrade", QM_DATABASE_URL=empty_database_url)
    assert first.code == 0, first.stderr
    assert "applied 0001_roles_and_instruments" in first.stdout
    assert "nothing to apply" in migrated.qm("db", "upgrade", QM_DATABASE_URL=empty_database_url).stdout
    status = migrated.qm("db", "status", QM_DATABASE_URL=empty_database_url)
    assert status.stdout.count("applied") == first.stdout.count("applied")
    assert "pending" not in status.stdout


def test_a_server_of_the_users_is_not_stopped(migrated: Installation) -> None:
    done = migrated.qm("db", "stop")
    assert done.code == 0
    assert "not ours" in done.stdout
    assert counted(migrated, "schema_migrations") > 0


def test_db_url_is_the_only_command_that_prints_the_password(filled: Installation, tmp_path: Path) -> None:
    password = urlsplit(filled.url).password
    assert password
    assert filled.qm("db", "url").stdout.strip() == filled.url
    for arguments in (
        ["db", "status"], ["db", "upgrade"], ["doctor"], ["doctor", "--json"], ["status"], ["coverage"],
        ["symbols", "list"], ["run", "--session", "2021-12-24"], ["--debug", "status"],
        ["export", "bars", "--output", str(tmp_path / "bars.parquet")],
    ):  # fmt: skip
        done = filled.qm(*arguments)
        assert password not in done.stdout + done.stderr, arguments
