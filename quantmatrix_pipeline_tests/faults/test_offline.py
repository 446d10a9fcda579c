"""Computing needs no network: with every door but the database's shut, from stored bars to history and coverage."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest
from dagster import DagsterInstance

from quantmatrix_pipeline.definitions import build_defs
from quantmatrix_pipeline.job_names import RECOMPUTE, RECORD, REFRESH_COVERAGE
from quantmatrix_pipeline_tests.faults import chain
from quantmatrix_pipeline_tests.faults.conftest import Undisturbed
from quantmatrix_pipeline_tests.no_network import only_the_database


def run_job(name: str, session: str) -> None:
    with DagsterInstance.ephemeral() as instance:
        job = build_defs().resolve_job_def(name)
        assert job.execute_in_process(instance=instance, partition_key=session).success


def test_recompute_history_and_coverage_talk_to_nobody_but_the_database(
    undisturbed: Undisturbed, database_url: str, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chain.run(undisturbed.arguments, undisturbed.environment(database_url), data_dir)
    for name, value in undisturbed.environment(database_url).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("QM_DATA_DIR", str(data_dir))
    earlier, last = str(undisturbed.folder.sessions[-9]), str(undisturbed.folder.sessions[-1])
    with psycopg.connect(database_url) as connection:
        connection.execute("DELETE FROM market_analysis_cache")
        connection.execute("DELETE FROM coverage_snapshots")

    with only_the_database(database_url):
        run_job(RECOMPUTE, last)
        run_job(REFRESH_COVERAGE, last)
        undisturbed.assert_same(database_url)
        run_job(RECORD, earlier)

    with psycopg.connect(database_url) as connection:
        recorded = connection.execute("SELECT count(*) FROM market_analysis_history WHERE session = %s", (earlier,))
        bars = connection.execute("SELECT count(*) FROM price_data WHERE session = %s", (earlier,))
        assert recorded.fetchone() == bars.fetchone() != (0,)
