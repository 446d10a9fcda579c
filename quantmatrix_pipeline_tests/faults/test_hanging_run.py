"""A run that hangs, under a real `qm up`: it is ended at its timeout, told once, and not started again."""

from __future__ import annotations

import time
from pathlib import Path

import psycopg
import pytest

from quantmatrix_pipeline.dagster_client import UNDER_WAY, Dagster, launch, run, runs
from quantmatrix_pipeline.schedules.entry import Entry, Safety
from quantmatrix_pipeline.warehouse.engine import LOCKS
from quantmatrix_pipeline_tests.channel_servers import hook
from quantmatrix_pipeline_tests.cli.test_up import start
from quantmatrix_pipeline_tests.faults.folders import Folder
from quantmatrix_pipeline_tests.faults.waiting import until

ROOT = Path(__file__).parents[2]
JOB = "restore_daily_coverage"


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_run_that_hangs_is_ended_at_its_timeout_and_told_once(
    folder: Folder, database_url: str, tmp_path: Path
) -> None:
    instance = tmp_path / "dagster.yaml"
    text = (ROOT / "dagster.yaml").read_text()
    assert "poll_interval_seconds: 60" in text
    instance.write_text(text.replace("poll_interval_seconds: 60", "poll_interval_seconds: 5"))
    settings = {
        **folder.environment(),
        "QM_DATABASE_URL": database_url,
        "QM_DAGSTER_FILE": str(instance),
        "QM_LOCK_WAIT_SECONDS": "600",  # by itself the run would wait for ten minutes
        "QM_ALERT_COOLDOWN_MINUTES": "0",  # whatever is told twice comes twice
    }
    tags = Entry(job=JOB, cron="0 0 1 1 *", safety=Safety(timeout_s=20)).run_tags("nightly")
    with hook() as server, psycopg.connect(database_url, autocommit=True) as held:
        settings["QM_DISCORD_WEBHOOK"] = server.url
        with start(settings, tmp_path / "qm", tmp_path / "up.txt") as up:
            up.wait_for(f"{up.ui}/server_info")
            dagster = Dagster(up.ui)
            held.execute("SELECT pg_advisory_lock(%s)", (LOCKS["bars_1d"] + 1000,))
            hung = launch(dagster, JOB, partition=str(folder.sessions[-1]), tags=tags)
            until(lambda: run(dagster, hung).status == "STARTED", 120, "the run has not begun")
            until(lambda: run(dagster, hung).status not in UNDER_WAY, 90, "the run that hangs is not ended")

            def told() -> list[str]:
                return [title for title in server.titles if title.startswith("ENDED")]

            until(lambda: bool(told()), 120, f"nobody was told: {server.titles}")
            time.sleep(75)  # two more ticks of those who tell, and many of who would start it again
            ended = run(dagster, hung)
            assert [each.run_id for each in runs(dagster, job=JOB)] == [hung]
            row = held.execute("SELECT status, error FROM runs WHERE run_id = %s", (hung,)).fetchone()
            assert row == ("failure", "Exceeded maximum runtime of 20 seconds.")
    assert ended.status in ("FAILURE", "CANCELED"), "who has the last word is open"
    assert ended.seconds is not None
    assert ended.seconds < 60
    assert ended.tags["dagster/will_retry"] == "false"
    (title,) = told()
    assert title == (
        f"ENDED AT ITS TIMEOUT {JOB}, session {folder.sessions[-1]}: Exceeded maximum runtime of 20 seconds."
    )
    (body,) = [body for body in server.taken if body["content"] == title]
    facts = {field["name"]: field["value"] for field in body["embeds"][0]["fields"]}
    assert facts["what to do"] == "docs/operations.md#a-run-was-ended-at-its-timeout"
    assert not [other for other in server.titles if other.startswith(("FAILED", "RECOVERED"))]
