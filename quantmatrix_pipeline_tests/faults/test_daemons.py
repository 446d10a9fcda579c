"""The daemon was away for three sessions, and there are two of them: minutes on the real clock."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from quantmatrix_pipeline.dagster_client import Dagster, Run, runs, schedules
from quantmatrix_pipeline_tests.cli.test_up import start
from quantmatrix_pipeline_tests.faults import chain
from quantmatrix_pipeline_tests.faults.folders import Folder

JOB = "restore_daily_coverage"
ENTRY = """\
version: 1
schedules:
  nightly:
    job: restore_daily_coverage
    cron: "* * * * *"
    partition: missed
"""


def until(what: Callable[[], bool], seconds: float, said: str) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, said
        time.sleep(1)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_three_missed_sessions_are_done_once_by_two_daemons(folder: Folder, database_url: str, tmp_path: Path) -> None:
    data_dir, file = tmp_path / "qm", tmp_path / "schedules.yaml"
    file.write_text(ENTRY)
    settings = {**folder.environment(), "QM_DATABASE_URL": database_url, "QM_SCHEDULES_FILE": str(file)}
    chain.run(["run", "--session", str(folder.sessions[-4])], settings, data_dir)

    with start(settings, data_dir, tmp_path / "up.txt") as up:
        up.wait_for(f"{up.ui}/server_info")
        second = subprocess.Popen(
            [sys.executable, "-m", "dagster._daemon", "run", "-w", str(data_dir / "dagster" / "workspace.yaml")],
            env={**os.environ, **settings, "QM_DATA_DIR": str(data_dir), "DAGSTER_HOME": str(data_dir / "dagster")},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        dagster = Dagster(up.ui)

        def scheduled() -> list[Run]:
            return runs(dagster, job=JOB, tags={"qm/schedule": "nightly"})

        try:
            until(lambda: any(run.status == "SUCCESS" for run in scheduled()), 240, "no run has succeeded")
            seen = len(schedules(dagster, ticks=20)["nightly"].ticks)
            until(lambda: len(schedules(dagster, ticks=20)["nightly"].ticks) > seen, 150, "there is no further tick")
        finally:
            second.terminate()
            second.wait(60)
        (caught_up,) = scheduled()
        assert caught_up.sessions == f"{folder.sessions[-3]}..{folder.sessions[-1]}"
        notes = [tick.note for tick in schedules(dagster, ticks=20)["nightly"].ticks]
        assert any("whose run was started before" in str(note) for note in notes), notes
