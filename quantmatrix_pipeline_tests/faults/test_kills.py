"""SIGKILL of a run of the chain, at random moments and inside chosen statements; then run again: the same rows."""

from __future__ import annotations

import random
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from quantmatrix_pipeline.warehouse import migrations
from quantmatrix_pipeline.warehouse.runs import DIED
from quantmatrix_pipeline_tests.faults import chain
from quantmatrix_pipeline_tests.faults.conftest import Undisturbed
from quantmatrix_pipeline_tests.fingerprint import fingerprints

KILLS_PER_DATABASE = 3
SLICES = 6
QUICK = (3,)  # the other seeds, and the kills inside the writes of what was computed, are slow


def finish(undisturbed: Undisturbed, url: str, data_dir: Path) -> None:
    chain.run(undisturbed.arguments, undisturbed.environment(url), data_dir)
    undisturbed.assert_same(url)
    with psycopg.connect(url) as connection:
        states = connection.execute("SELECT status, error FROM runs ORDER BY started_at").fetchall()
    assert states[-1] == ("success", None)
    # Some are killed when they have done everything but exit; none is running for ever.
    assert set(states) <= {("failure", DIED), ("success", None)}


@pytest.mark.parametrize(
    "seed", [pytest.param(seed, marks=() if seed in QUICK else pytest.mark.slow) for seed in range(3 * SLICES)]
)
def test_a_run_killed_at_random_moments_and_run_again_leaves_the_same_rows(
    undisturbed: Undisturbed, empty_database_url: str, data_dir: Path, seed: int
) -> None:
    moments = random.Random(20211231 + seed)
    for number in range(KILLS_PER_DATABASE):
        # A slice of the first run per seed, so that together they cover it; later kills fall anywhere.
        share = (seed % SLICES + moments.random()) / SLICES if number == 0 else moments.random()
        kill_after(share * undisturbed.seconds, undisturbed, empty_database_url, data_dir)
    finish(undisturbed, empty_database_url, data_dir)


def kill_after(seconds: float, undisturbed: Undisturbed, url: str, data_dir: Path) -> None:
    """Start the chain and kill it after so long; was it quicker, then start and kill it again after half of that."""
    while True:
        qm = chain.start(undisturbed.arguments, undisturbed.environment(url), data_dir)
        until = time.perf_counter() + seconds
        while qm.running and time.perf_counter() < until:
            time.sleep(0.005)
        if qm.kill():
            return
        seconds /= 2


@contextmanager
def held_back(url: str, *statements: str) -> Iterator[psycopg.Connection[Any]]:
    """Hold back, with the locks of an open transaction, whoever comes to the same rows or tables."""
    with psycopg.connect(url) as connection:
        for statement in statements:
            connection.execute(statement)
        yield connection
        connection.rollback()


def kill_inside(pattern: str, undisturbed: Undisturbed, url: str, data_dir: Path) -> None:
    """Start the chain and kill it while it executes a statement like `pattern`, on which something holds it back."""
    with psycopg.connect(url, autocommit=True) as watcher:
        qm = chain.start(undisturbed.arguments, undisturbed.environment(url), data_dir)
        assert chain.wait_for_statement(watcher, pattern, qm, waiting=True), qm.output
        assert qm.kill()


def test_a_run_killed_inside_a_migration_leaves_the_same_rows(
    undisturbed: Undisturbed, empty_database_url: str, data_dir: Path, tmp_path: Path
) -> None:
    (tmp_path / "sql").mkdir()
    shutil.copy(migrations.folder() / "0001_roles_and_instruments.sql", tmp_path / "sql")
    migrations.apply(empty_database_url, tmp_path / "sql")
    second = next(migrations.folder().glob("0002_*.sql")).read_text().splitlines()[0]
    for _ in range(3):
        # A foreign key to a table that is being written has to wait: in the middle of the second file.
        with held_back(empty_database_url, "LOCK TABLE instruments IN ROW EXCLUSIVE MODE"):
            kill_inside(f"{second}%", undisturbed, empty_database_url, data_dir)
        assert "price_data" not in fingerprints(empty_database_url)
    finish(undisturbed, empty_database_url, data_dir)


@pytest.mark.slow
def test_a_run_killed_inside_the_copy_of_bars_leaves_the_same_rows(
    undisturbed: Undisturbed, database_url: str, data_dir: Path
) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        qm = chain.start(undisturbed.arguments, undisturbed.environment(database_url), data_dir)
        while qm.running and not connection.execute("SELECT FROM symbol_universe").fetchone():
            time.sleep(0.005)
        qm.kill()
        connection.execute("TRUNCATE price_data, ingestion_cursor, validation_log")  # had it come that far
    for symbol in ("S010", "S030", "S058"):
        # A row of the same key in an open transaction: the COPY waits at it, with the rows before it written.
        day = undisturbed.folder.sessions[150]
        with held_back(
            database_url,
            f"""
            INSERT INTO price_data
            SELECT instrument_id, '1d', '{day}', NULL, 1, 1, 1, 1, 1, 1, true, false, false, 1, 1, now()
            FROM symbols WHERE symbol = '{symbol}'
            """,
        ):
            kill_inside("COPY %price_data_1d%", undisturbed, database_url, data_dir)
        with psycopg.connect(database_url) as connection:
            parts = connection.execute("SELECT count(DISTINCT source_id) FROM price_data").fetchone()
        assert parts == ((1,) if symbol == "S058" else (0,))  # S058 comes with the second part, after the first
    finish(undisturbed, database_url, data_dir)


@pytest.mark.slow
def test_a_run_killed_inside_the_writes_of_snapshots_and_of_history_leaves_the_same_rows(
    undisturbed: Undisturbed, database_url: str, data_dir: Path
) -> None:
    first, last = undisturbed.folder.sessions[-8], undisturbed.folder.sessions[-1]
    with held_back(database_url, "LOCK TABLE market_analysis_cache IN SHARE MODE"):
        kill_inside("%INSERT INTO market_analysis_cache%", undisturbed, database_url, data_dir)
    with psycopg.connect(database_url) as connection:
        connection.execute("SELECT ensure_history_partitions(%s, %s)", (first.year, last.year))
    bars = undisturbed.folder.frame
    for symbol in ("S007", "S020", "S040"):
        day = bars[bars.symbol == symbol].date.iloc[-2]
        with held_back(
            database_url,
            f"""
            INSERT INTO market_analysis_history (instrument_id, session, as_of, close)
            SELECT instrument_id, '{day}', now(), 1 FROM symbols WHERE symbol = '{symbol}'
            """,
        ):
            kill_inside("COPY %market_analysis_history%", undisturbed, database_url, data_dir)
        with psycopg.connect(database_url) as connection:
            assert connection.execute("SELECT count(*) FROM market_analysis_history").fetchone() == (0,)
    finish(undisturbed, database_url, data_dir)


def test_a_run_killed_while_dagsters_tables_are_made_leaves_the_same_rows_and_all_of_those_tables(
    undisturbed: Undisturbed, database_url: str, data_dir: Path
) -> None:
    for table in ("asset_keys", "job_ticks"):
        # Two tables of one name: the second has to wait for what becomes of the first.
        with held_back(database_url, f"CREATE TABLE dagster.{table} ()"):
            kill_inside(f"%CREATE TABLE {table}%", undisturbed, database_url, data_dir)
        with psycopg.connect(database_url) as connection:
            made = connection.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'dagster'").fetchone()
        assert made == (0,)
    finish(undisturbed, database_url, data_dir)
    with psycopg.connect(database_url) as connection:
        indexed = connection.execute("SELECT count(*) FROM dagster.secondary_indexes").fetchone()
        revision = connection.execute("SELECT count(*) FROM dagster.alembic_version").fetchone()
    assert indexed is not None
    assert indexed[0] > 0
    assert revision == (1,)
