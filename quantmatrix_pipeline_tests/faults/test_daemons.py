"""The daemon was away for three sessions, was killed, and there are two of them: minutes on the real clock."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path

import pandas as pd
import psycopg
import pytest

from quantmatrix_pipeline.dagster_client import Dagster, Run, runs, schedules
from quantmatrix_pipeline_tests.cli.test_up import start
from quantmatrix_pipeline_tests.faults import chain
from quantmatrix_pipeline_tests.faults.folders import Folder
from quantmatrix_pipeline_tests.faults.waiting import until

JOB = "restore_daily_coverage"
ENTRY = """\
version: 1
schedules:
  nightly:
    job: restore_daily_coverage
    cron: "* * * * *"
    partition: missed
"""


def write_until(last: date, every: Folder, folder: Folder) -> None:
    """Let a folder hold the sessions of `every` up to one."""
    raw = pd.read_parquet(every.path / "raw.parquet")
    raw[raw["date"] <= last].to_parquet(folder.path / "raw.parquet", index=False)
    adjusted = pd.read_csv(every.path / "adjusted.csv.gz")
    adjusted[adjusted["date"] <= str(last)].to_csv(folder.path / "adjusted.csv.gz", index=False)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_three_missed_sessions_are_done_once_by_two_daemons(folder: Folder, database_url: str, tmp_path: Path) -> None:
    data_dir, file = tmp_path / "qm", tmp_path / "schedules.yaml"
    file.write_text(ENTRY)
    settings = {**folder.environment(), "QM_DATABASE_URL": database_url, "QM_SCHEDULES_FILE": str(file)}
    chain.run(["run", "--session", str(folder.sessions[-4])], settings, data_dir)

    with start(settings, data_dir, tmp_path / "up.txt") as up:
        up.wait_for(f"{up.ui}/server_info")
        with (tmp_path / "second.txt").open("wb") as said:
            second = subprocess.Popen(
                [sys.executable, "-m", "dagster._daemon", "run", "-w", str(data_dir / "dagster" / "workspace.yaml")],
                env={**os.environ, **settings, "QM_DATA_DIR": str(data_dir), "DAGSTER_HOME": str(data_dir / "dagster")},
                stdout=said,
                stderr=subprocess.STDOUT,
            )
        dagster = Dagster(up.ui)

        def scheduled() -> list[Run]:
            return runs(dagster, job=JOB, tags={"qm/schedule": "nightly"})

        try:
            until(lambda: any(run.status == "SUCCESS" for run in scheduled()), 240, "no run has succeeded")
            seen = len(schedules(dagster, ticks=20)["nightly"].ticks)
            until(lambda: len(schedules(dagster, ticks=20)["nightly"].ticks) > seen, 150, "there is no further tick")
            evaluated = (tmp_path / "second.txt").read_text().count("Evaluating schedule `nightly`")
            assert (second.poll(), evaluated > 0) == (None, True), "there have been two daemons all along"
        finally:
            second.terminate()
            second.wait(60)
        (caught_up,) = scheduled()
        assert caught_up.sessions == f"{folder.sessions[-3]}..{folder.sessions[-1]}"
        notes = [tick.note for tick in schedules(dagster, ticks=20)["nightly"].ticks]
        assert any("whose run was started before" in str(note) for note in notes), notes


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_daemon_that_is_killed_and_comes_back_three_sessions_later_has_each_of_them_done_once(
    folder: Folder, database_url: str, tmp_path: Path
) -> None:
    growing = replace(folder, path=tmp_path / "files")
    shutil.copytree(folder.path, growing.path)
    data_dir, file = tmp_path / "qm", tmp_path / "schedules.yaml"
    file.write_text(ENTRY)
    settings = {**growing.environment(), "QM_DATABASE_URL": database_url, "QM_SCHEDULES_FILE": str(file)}
    before, after = folder.sessions[-4], folder.sessions[-1]

    def scheduled(dagster: Dagster) -> list[Run]:
        return runs(dagster, job=JOB, tags={"qm/schedule": "nightly"})

    write_until(before, folder, growing)
    evening = {**settings, "QM_NOW": f"{before}T23:30:00Z"}
    with start(evening, data_dir, tmp_path / "up.txt") as up:
        up.wait_for(f"{up.ui}/server_info")
        done = Dagster(up.ui)
        until(lambda: any(run.status == "SUCCESS" for run in scheduled(done)), 240, "no run has succeeded")
        up.server("dagster._daemon").kill()
        assert up.process.wait(60) == 1
    time.sleep(125)  # two ticks at least come while nobody is there
    write_until(after, folder, growing)
    with start({**settings, "QM_NOW": f"{after}T23:30:00Z"}, data_dir, tmp_path / "again.txt") as up:
        up.wait_for(f"{up.ui}/server_info")
        again = Dagster(up.ui)
        until(lambda: len(scheduled(again)) == 2, 150, "what was missed is not made up for")
        until(lambda: scheduled(again)[0].status == "SUCCESS", 240, "it does not succeed")
        seen = len(schedules(again, ticks=30)["nightly"].ticks)
        until(lambda: len(schedules(again, ticks=30)["nightly"].ticks) > seen, 150, "there is no further tick")
        caught_up, first = scheduled(again)
        ticks = schedules(again, ticks=30)["nightly"].ticks
    assert (first.sessions, caught_up.sessions) == (str(before), f"{folder.sessions[-3]}..{after}")
    came = sorted(tick.at for tick in ticks)
    assert max(later - earlier for earlier, later in pairwise(came)) >= timedelta(minutes=2), (
        "the last that passed came"
    )
    assert "whose run was started before" in str(ticks[0].note)
    with psycopg.connect(database_url) as connection:
        recorded = connection.execute(
            "SELECT session, count(DISTINCT instrument_id) = count(*), max(revision) FROM market_analysis_history"
            " WHERE session >= %s GROUP BY session ORDER BY session",
            [before],
        ).fetchall()
    assert recorded == [(session, True, 1) for session in folder.sessions[-4:]]
