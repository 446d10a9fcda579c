"""Which file is in force, and what stays in force while it is broken."""

from __future__ import annotations

from pathlib import Path

import pytest

from quantmatrix_pipeline.errors import NoSuchSchedule
from quantmatrix_pipeline.schedules.entry import Partition
from quantmatrix_pipeline.schedules.file import PACKAGED, in_force, last_good, replace, version
from quantmatrix_pipeline.schedules.jobs import Job
from quantmatrix_pipeline.settings import Settings

OURS = "version: 1\nschedules:\n  ours: {job: restate, cron: 0 0 * * *}\n"
THEIRS = OURS.replace("ours", "theirs")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path / "qm", schedules_file=None, nightly_cron=None)


def test_the_named_file_comes_before_the_changed_copy_and_that_before_the_packaged_one(
    settings: Settings, tmp_path: Path
) -> None:
    assert in_force(settings).file == PACKAGED
    replace(settings.data_dir / "schedules.yaml", OURS.encode())
    assert list(in_force(settings).catalogue.schedules) == ["ours"]
    named = tmp_path / "named.yaml"
    named.write_text(THEIRS)
    assert list(in_force(settings.model_copy(update={"schedules_file": named})).catalogue.schedules) == ["theirs"]


def test_the_nightly_cron_of_the_settings_is_that_of_the_packaged_file_only(settings: Settings) -> None:
    other = settings.model_copy(update={"nightly_cron": "0  18 * * 1-5"})
    assert in_force(other).entry("nightly_chain").cron == "0 18 * * 1-5"
    replace(settings.data_dir / "schedules.yaml", PACKAGED.read_bytes())
    assert in_force(other).entry("nightly_chain").cron == "30 17 * * 1-5"


def test_while_the_file_is_broken_the_last_good_one_stays_and_before_any_nothing_is_scheduled(
    settings: Settings,
) -> None:
    file = settings.data_dir / "schedules.yaml"
    replace(file, b"schedules: [")
    found = in_force(settings)
    assert (found.catalogue.schedules, found.meant) == ({}, file), "a misprint switches nothing on"
    before = "nothing is scheduled, since no good file was in force before"
    assert str(found.trouble).startswith(f"{before}: {file}: line 1")
    with pytest.raises(NoSuchSchedule, match="it has none: nothing is scheduled"):
        found.entry("nightly_chain")
    replace(last_good(settings), OURS.encode())
    replace(file, b"\xff\xfe")
    found = in_force(settings)
    assert (found.file, list(found.catalogue.schedules)) == (last_good(settings), ["ours"])
    assert str(found.trouble) == f"the last good schedules stay in force: {file}: no text in UTF-8"
    file.unlink()
    assert in_force(settings).file == PACKAGED, "a copy that somebody took away is not missed"
    assert in_force(settings).trouble is None


def test_a_nightly_cron_that_never_comes_is_a_fault_like_any_other(settings: Settings) -> None:
    replace(last_good(settings), PACKAGED.read_bytes())
    found = in_force(settings.model_copy(update={"nightly_cron": "61 17 * * 1-5"}))
    assert str(found.trouble).startswith("the last good schedules stay in force: QM_NIGHTLY_CRON: '61 17 * * 1-5'")
    assert found.entry("nightly_chain").cron == "30 17 * * 1-5"


def test_an_entry_of_a_job_that_there_is_not_breaks_the_file_for_whoever_knows_the_jobs(settings: Settings) -> None:
    jobs = {
        entry.job: Job(entry.partition is not Partition.NONE, None, lambda config: [])
        for entry in in_force(settings).catalogue.schedules.values()
    }
    replace(settings.data_dir / "schedules.yaml", OURS.replace("restate", "no_such_job").encode())
    assert in_force(settings).fault is None
    found = in_force(settings, jobs)
    assert found.catalogue.schedules == {}
    assert "ours.job: there is no job 'no_such_job'" in str(found.fault)


def test_a_named_file_that_is_gone_is_a_fault(settings: Settings, tmp_path: Path) -> None:
    gone = settings.model_copy(update={"schedules_file": tmp_path / "gone.yaml"})
    assert "gone.yaml: no such file" in str(in_force(gone).fault)
    assert version(gone) is None


def test_a_change_of_the_file_is_noticed_and_of_nothing_else(settings: Settings) -> None:
    first = version(settings)
    assert version(settings) == first
    replace(settings.data_dir / "schedules.yaml", OURS.encode())
    second = version(settings)
    assert second != first
    replace(settings.data_dir / "schedules.yaml", THEIRS.encode())
    assert version(settings) != second


def test_a_file_is_replaced_as_a_whole_and_keeps_its_rights(tmp_path: Path) -> None:
    file = tmp_path / "deep" / "f.yaml"
    replace(file, b"one")
    file.chmod(0o640)
    replace(file, b"two")
    assert file.read_bytes() == b"two"
    assert file.stat().st_mode & 0o777 == 0o640
    assert list(file.parent.iterdir()) == [file]


def test_an_entry_that_there_is_not_is_told_with_those_there_are(settings: Settings) -> None:
    with pytest.raises(NoSuchSchedule, match="nightly_chain"):
        in_force(settings).entry("nightly")
