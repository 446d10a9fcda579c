"""`qm logs`: where they are, how large they become, what they never show."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from quantmatrix_pipeline.cli import log_files
from quantmatrix_pipeline_tests.cli.conftest import Installation
from quantmatrix_pipeline_tests.faults import chain


@pytest.fixture
def daemon_log(migrated: Installation) -> Path:
    file = migrated.data_dir / "logs" / "daemon.log"
    file.parent.mkdir(parents=True)
    file.write_text("".join(f"line {n}\n" for n in range(100)))
    return file


def test_without_a_name_it_says_where_each_log_is(migrated: Installation, daemon_log: Path) -> None:
    said = migrated.qm("logs").stdout
    assert str(daemon_log) in said
    assert "never" in said  # the API has not run here


def test_keys_and_passwords_in_a_log_are_not_shown(migrated: Installation, daemon_log: Path) -> None:
    password = migrated.url.split(":")[2].split("@")[0]
    daemon_log.write_text(f"asked {migrated.url} and https://vendor/?apikey=SECRETKEY123, {password}\n")
    done = migrated.qm("logs", "daemon", FMP_API_KEY="SECRETKEY123")
    assert done.code == 0, done.stderr
    assert password not in done.stdout
    assert "SECRETKEY123" not in done.stdout
    assert "https://vendor/?apikey=***" in done.stdout


def test_an_unknown_name_and_a_log_not_begun_are_one_line(migrated: Installation) -> None:
    assert "api, code, ui, daemon" in migrated.qm("logs", "worker").error
    assert "qm up" in migrated.qm("logs", "api").error


def test_it_follows_a_log_through_a_rotation(migrated: Installation, daemon_log: Path) -> None:
    arguments = ["logs", "daemon", "-n", "2", "--follow"]
    qm = chain.start(arguments, migrated.environment, migrated.data_dir)
    try:
        _until(qm, "line 99\n")
        assert qm.stdout == "line 98\nline 99\n"
        with daemon_log.open("a") as file:
            file.write("before\n")
            file.flush()
            _until(qm, "before\n")
            assert log_files.rotate(daemon_log, largest=100)
            file.write("after\n")
        _until(qm, "after\n")
    finally:
        qm.kill()
    assert qm.stdout == "line 98\nline 99\nbefore\nafter\n"


def _until(qm: chain.Qm, end: str) -> None:
    deadline = time.monotonic() + 30
    while not qm.stdout.endswith(end):
        assert qm.running, qm.output
        assert time.monotonic() < deadline, qm.output
        time.sleep(0.02)


def test_a_writer_goes_on_in_the_same_file_and_so_many_old_ones_are_kept(tmp_path: Path) -> None:
    file = tmp_path / "api.log"
    writer = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for number in range(5):
        os.write(writer, b"%d" % number * 200)
        assert log_files.rotate(file, largest=100, kept=3)
    os.write(writer, b"new")
    os.close(writer)
    assert not log_files.rotate(file, largest=100, kept=3)
    found = {path.name: path.read_bytes()[:3] for path in tmp_path.iterdir()}
    assert found == {"api.log": b"new", "api.log.1": b"444", "api.log.2": b"333", "api.log.3": b"222"}
