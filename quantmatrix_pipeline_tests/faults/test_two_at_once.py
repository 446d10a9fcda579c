"""Two runs of the chain at the same time: the second waits or refuses, and nothing is doubled."""

from __future__ import annotations

from pathlib import Path

import psycopg

from quantmatrix_pipeline.warehouse.engine import LOCKS, Warehouse
from quantmatrix_pipeline_tests.faults import chain
from quantmatrix_pipeline_tests.faults.conftest import Undisturbed


def test_two_chains_at_once_in_a_new_database_leave_the_rows_of_one(
    undisturbed: Undisturbed, empty_database_url: str, tmp_path: Path
) -> None:
    environment = undisturbed.environment(empty_database_url)
    both = [chain.start(undisturbed.arguments, environment, tmp_path / name) for name in ("one", "other")]
    assert [qm.wait() for qm in both] == [0, 0], "\n".join(qm.output for qm in both)
    undisturbed.assert_same(empty_database_url)


def test_a_chain_over_a_range_and_one_over_its_last_session_at_once_leave_the_rows_of_the_range(
    undisturbed: Undisturbed, database_url: str, tmp_path: Path
) -> None:
    environment = undisturbed.environment(database_url)
    one_session = ["run", "--session", str(undisturbed.folder.sessions[-1])]
    both = [
        chain.start(arguments, environment, tmp_path / str(number))
        for number, arguments in enumerate((undisturbed.arguments, one_session))
    ]
    assert [qm.wait() for qm in both] == [0, 0], "\n".join(qm.output for qm in both)
    with psycopg.connect(database_url) as connection:
        doubled = connection.execute("SELECT count(*) FROM market_analysis_history WHERE revision > 1").fetchone()
    assert doubled == (0,)
    undisturbed.assert_same(database_url)


def test_a_chain_that_may_not_wait_refuses_with_one_line_and_a_code_of_its_own(
    undisturbed: Undisturbed, database_url: str, data_dir: Path
) -> None:
    environment = undisturbed.environment(database_url) | {"QM_LOCK_WAIT_SECONDS": "0"}
    with Warehouse(database_url).exclusive("bars_1d", 0):
        refused = chain.start(undisturbed.arguments, environment, data_dir)
        assert refused.wait() != 0
    assert "another run is writing bars_1d" in refused.output
    assert "Traceback" not in refused.output
    with psycopg.connect(database_url) as connection:
        assert connection.execute("SELECT count(*) FROM price_data").fetchone() == (0,)


def test_a_lock_of_a_dead_run_binds_nobody(undisturbed: Undisturbed, database_url: str, data_dir: Path) -> None:
    held = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = %s AND database = %s::regdatabase"
    held = held.replace("%s::regdatabase", "(SELECT oid FROM pg_database WHERE datname = current_database())")
    with psycopg.connect(database_url, autocommit=True) as watcher:
        killed = chain.start(undisturbed.arguments, undisturbed.environment(database_url), data_dir)
        while killed.running and watcher.execute(held, (LOCKS["bars_1d"] + 1000,)).fetchone() == (0,):
            pass
        assert killed.running, killed.output
        killed.kill()
    chain.run(undisturbed.arguments, undisturbed.environment(database_url) | {"QM_LOCK_WAIT_SECONDS": "5"}, data_dir)
    undisturbed.assert_same(database_url)
