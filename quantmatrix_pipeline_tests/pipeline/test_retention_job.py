"""Retention as an operator runs it: shown first, by command and by job, then let go, and written down as a run."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

from dagster import DagsterInstance
from typer.testing import CliRunner

from quantmatrix_pipeline import clock
from quantmatrix_pipeline.cli.main import app
from quantmatrix_pipeline.definitions import build_defs
from quantmatrix_pipeline.job_names import RETENTION
from quantmatrix_pipeline.warehouse import runs
from quantmatrix_pipeline.warehouse.engine import Warehouse
from quantmatrix_pipeline_tests.pipeline.running import Chain

LONG_AGO = datetime(2001, 1, 1, tzinfo=UTC)


def test_the_command_and_the_job_show_first_and_then_let_go(
    chain: Chain, warehouse: Warehouse, instance: DagsterInstance
) -> None:
    warehouse.execute(
        "INSERT INTO runs (run_id, job, status, started_at, ended_at) VALUES ('old', 'j', 'success', :at, :at)",
        {"at": LONG_AGO},
    )
    month = clock.now().date() - timedelta(days=62)  # over 30 days old, and under 90
    warehouse.execute("SELECT ensure_intraday_partitions('5m', :day, :day)", {"day": month})
    cli = CliRunner()
    shown = json.loads(cli.invoke(app, ["retention", "--dry-run", "--json"], catch_exceptions=False).output)
    assert [(old["table"], old["rows"]) for old in shown] == [("runs", 1)]

    def press(**config: object) -> dict[str, float]:
        job = build_defs().resolve_job_def(RETENTION)
        ops = {"ops": {"let_old_rows_go": {"config": config}}} if config else {}
        done = job.execute_in_process(instance=instance, run_config=ops)
        assert done.success
        return dict(runs.recent(warehouse, 1, job=RETENTION)[0].counters["let_old_rows_go"])

    assert press(dry_run=True)["rows"] == 1
    assert warehouse.scalar("SELECT count(*) FROM runs WHERE run_id = 'old'") == 1
    assert press(max_days_5m=30)["rows"] == 1
    assert warehouse.scalar("SELECT count(*) FROM intraday_partitions") == 0
    assert warehouse.scalar("SELECT count(*) FROM runs WHERE run_id = 'old'") == 0
    assert "0 rows went" in cli.invoke(app, ["retention"], catch_exceptions=False).output
