"""Who takes a tick when two ask for it, and what was done to schedules: kept with the deed, or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa
from filelock import FileLock

from quantmatrix_pipeline.dagster_client import Dagster
from quantmatrix_pipeline.errors import SchedulesBusy
from quantmatrix_pipeline.schedules import editing
from quantmatrix_pipeline.schedules.editing import Editor, keep_good
from quantmatrix_pipeline.schedules.file import last_good, last_recorded, replace
from quantmatrix_pipeline.settings import Settings
from quantmatrix_pipeline.warehouse.embedded import EmbeddedServer
from quantmatrix_pipeline.warehouse.engine import Warehouse
from quantmatrix_pipeline.warehouse.schedules import Change, Evaluation, changes, claim, outcome, record, recorded

NOW = datetime(2026, 11, 27, 22, 30, tzinfo=UTC)
FILE = "version: 1\nschedules:\n  a: {job: restate, cron: 0 0 * * *}\n  b: {job: backup, cron: 0 1 * * *}\n"
NOBODY = Dagster("http://127.0.0.1:9")  # the discard port: a connection is refused at once


@pytest.fixture
def warehouse(database_url: str) -> Iterator[Warehouse]:
    warehouse = Warehouse(database_url)
    yield warehouse
    warehouse.close()


def by(pid: int, host: str = "here", number: str = "1") -> Evaluation:
    return Evaluation(host, pid, number)


def test_of_many_at_once_one_takes_a_tick_and_the_others_hear_who(warehouse: Warehouse) -> None:
    def ask(pid: int, number: str = "1") -> tuple[Evaluation | None, timedelta | None]:
        return claim(warehouse, "nightly", NOW, by(pid, number=number), NOW, lambda pid: True)

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(ask, range(100, 116)))
    assert answers.count((None, None)) == 1
    winner = 100 + answers.index((None, None))
    assert {holder for holder, _ in answers if holder} == {by(winner)}
    assert ask(winner) == (None, timedelta(0)), "its own claim is no obstacle: a tick that failed is tried again"
    assert ask(winner, "2") == (by(winner), None), "two daemons may share a code server"
    assert claim(warehouse, "nightly", NOW + timedelta(days=1), by(1), NOW, lambda pid: True) == (None, None)
    assert claim(warehouse, "weekly", NOW, by(1), NOW, lambda pid: True) == (None, None)


def test_what_a_dead_process_took_is_taken_over_and_old_claims_are_forgotten(warehouse: Warehouse) -> None:
    assert claim(warehouse, "nightly", NOW, by(1), NOW, lambda pid: True) == (None, None)
    assert claim(warehouse, "nightly", NOW, by(2), NOW, lambda pid: False) == (None, None)
    assert claim(warehouse, "nightly", NOW, by(1), NOW, lambda pid: True) == (by(2), None)
    soon, late = NOW + timedelta(seconds=119), NOW + timedelta(minutes=2)
    assert claim(warehouse, "nightly", NOW, by(3, "there"), soon, lambda pid: False) == (by(2), None)
    assert claim(warehouse, "nightly", NOW, by(3, "there"), late, lambda pid: False) == (None, None)
    assert claim(warehouse, "other", NOW, by(9), NOW + timedelta(days=40), lambda pid: True) == (None, None)
    assert warehouse.scalar("SELECT count(*) FROM schedule_claims") == 1


def test_a_change_is_recorded_together_with_what_it_is_about_or_not_at_all(
    warehouse: Warehouse, server: EmbeddedServer, database_url: str
) -> None:
    one = Change("ada", "update", "nightly", {"cron": ("0 1 * * *", "0 2 * * *"), "enabled": (True, False)})
    with recorded(warehouse, [one], NOW):
        pass
    with pytest.raises(OSError, match="full"), recorded(warehouse, [Change("bob", "delete", "nightly", {})], NOW):
        raise OSError("full")
    launches = [record(warehouse, Change("eve", "run_now", "weekly", {}), NOW + timedelta(hours=h)) for h in (1, 2, 3)]
    outcome(warehouse, launches[0], NOW, run_id="run-1")
    outcome(warehouse, launches[1], NOW, error="no Dagster runs")
    *newest, first = changes(warehouse)
    assert [(c.actor, c.action, c.run_id, c.error) for c in newest] == [
        ("eve", "run_now", None, None),
        ("eve", "run_now", None, "no Dagster runs"),
        ("eve", "run_now", "run-1", None),
    ]
    assert (first.actor, first.difference, first.at) == ("ada", one.difference, NOW)
    assert [c.actor for c in changes(warehouse, "nightly")] == ["ada"]
    assert len(changes(warehouse, limit=1)) == 1
    writer = server.url(database_url.rpartition("/")[2], "qm_writer")
    for changed in ("UPDATE schedule_audit SET actor = 'mallory'", "DELETE FROM schedule_audit_outcomes"):
        with psycopg.connect(writer) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(changed)
    other = Warehouse(writer)
    outcome(other, record(other, Change("bob", "run_now", "weekly", {}), NOW), NOW, run_id="run-2")
    other.close()


@pytest.fixture
def ours(tmp_path: Path) -> Settings:
    """Settings that name a schedules file, which was in force before."""
    file = tmp_path / "ours.yaml"
    file.write_text(FILE)
    settings = Settings(data_dir=tmp_path / "qm", schedules_file=file)
    replace(last_good(settings), FILE.encode())
    replace(last_recorded(settings), FILE.encode())
    return settings


def by_whom(warehouse: Warehouse) -> list[tuple[str, str, str]]:
    return sorted((c.actor, c.action, c.schedule) for c in changes(warehouse))


def test_what_a_hand_changes_in_the_file_is_recorded_by_one_of_those_who_notice(
    warehouse: Warehouse, ours: Settings
) -> None:
    assert ours.schedules_file is not None
    edited = FILE.replace("0 0 * * *", "5 0 * * *").replace("  b:", "  c:")
    ours.schedules_file.write_text(edited + "  broken\n")
    assert keep_good(ours, warehouse, NOW).fault is not None
    assert (changes(warehouse), last_good(ours).read_text()) == ([], FILE), "a fault is nothing that came in force"
    ours.schedules_file.write_text(edited)
    with ThreadPoolExecutor(4) as pool:
        noticed = list(pool.map(lambda _: keep_good(ours, warehouse, NOW), range(4)))
    assert {found.fault for found in noticed} == {None}
    assert by_whom(warehouse) == [("file", "create", "c"), ("file", "delete", "b"), ("file", "update", "a")]
    assert changes(warehouse, "a")[0].difference == {"cron": ("0 0 * * *", "5 0 * * *")}
    ours.schedules_file.write_text(edited + "# a word more\n")
    keep_good(ours, warehouse, NOW)
    assert len(changes(warehouse)) == 3, "the same entries"
    assert last_good(ours).read_text() == ours.schedules_file.read_text()


def test_what_an_editor_changes_is_recorded_as_its_own_and_what_a_hand_did_before_as_the_hands(
    warehouse: Warehouse, ours: Settings
) -> None:
    assert ours.schedules_file is not None
    ours.schedules_file.write_text(FILE.replace("0 0 * * *", "5 0 * * *"))
    Editor(ours, warehouse, NOBODY, "ada").remove("b", NOW)
    keep_good(ours, warehouse, NOW)
    assert by_whom(warehouse) == [("ada", "delete", "b"), ("file", "update", "a")]


def test_the_first_file_that_is_seen_changes_nothing(warehouse: Warehouse, ours: Settings) -> None:
    last_good(ours).unlink()
    last_recorded(ours).unlink()
    keep_good(ours, warehouse, NOW)
    assert (changes(warehouse), last_good(ours).read_text()) == ([], FILE)


def test_while_dagster_loads_a_change_others_may_change_and_record_and_who_waits_too_long_hears_why(
    warehouse: Warehouse, ours: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(editing, "LOCK_SECONDS", 0.1)
    loads = []

    def load(dagster: Dagster) -> None:
        loads.append(keep_good(ours, warehouse, NOW).fault)

    monkeypatch.setattr(editing, "reload_location", load)
    ada = Editor(ours, warehouse, NOBODY, "ada")
    assert ada.remove("b", NOW).live
    assert ada.replace_all(FILE, NOW).live
    assert ada.replace_all((ours.schedules_file or Path()).read_text(), NOW).file is None
    assert loads == [None] * 3
    before = by_whom(warehouse)
    with FileLock(ours.data_dir.resolve() / ".schedules.lock"):
        for change in (lambda: ada.remove("b", NOW), lambda: keep_good(ours, warehouse, NOW)):
            with pytest.raises(SchedulesBusy, match=r"\.schedules\.lock for 0\.1 s: nothing was written; try again"):
                change()
    assert by_whom(warehouse) == before


def test_a_hands_change_whose_record_failed_is_recorded_by_the_next_who_notices(
    warehouse: Warehouse, ours: Settings
) -> None:
    assert ours.schedules_file is not None
    ours.schedules_file.write_text(FILE.replace("0 0 * * *", "5 0 * * *"))
    # The commit fails, when all has been said.
    warehouse.execute(
        "CREATE FUNCTION away() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'the server goes down'; END $$"
    )
    warehouse.execute(
        "CREATE CONSTRAINT TRIGGER away AFTER INSERT ON schedule_audit DEFERRABLE INITIALLY DEFERRED"
        " FOR EACH ROW EXECUTE FUNCTION away()"
    )
    with pytest.raises(sa.exc.DBAPIError, match="the server goes down"):
        keep_good(ours, warehouse, NOW)
    warehouse.execute("DROP TRIGGER away ON schedule_audit")
    blocked = last_recorded(ours).with_name(f".{last_recorded(ours).name}.{os.getpid()}")
    assert not blocked.exists()
    blocked.mkdir()  # as little room as on a full disk
    with pytest.raises(IsADirectoryError):
        keep_good(ours, warehouse, NOW)
    assert changes(warehouse) == [], "or each look would record it once more"
    blocked.rmdir()
    for _ in range(2):
        keep_good(ours, warehouse, NOW)
    assert by_whom(warehouse) == [("file", "update", "a")]
