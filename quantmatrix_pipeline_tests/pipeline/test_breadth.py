"""The breadth as the chain records it: whom it counts, when a session is counted again, what its check finds."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from quantmatrix_pipeline.indicators.breadth import BREADTH_COLUMNS
from quantmatrix_pipeline.snapshots.breadth import SQL_TYPES, faults
from quantmatrix_pipeline.snapshots.method import Method
from quantmatrix_pipeline.warehouse.engine import Warehouse
from quantmatrix_pipeline_tests.pipeline.running import Chain, Folder, hashes, sessions, walk

DAYS = sessions("2021-12-31", 30)
TONIGHT, LAST_NIGHT = DAYS[-1], DAYS[-2]
SYMBOLS = ["AAA", "BBB", "CCC", "FND", "SPY"]
KINDS = "symbol,kind\nFND,fund\n"


def recorded(warehouse: Warehouse) -> list[dict[str, Any]]:
    rows = warehouse.rows("SELECT * FROM market_breadth ORDER BY session, revision")
    return [dict(row._mapping) for row in rows]


def test_the_table_has_the_columns_that_are_declared(warehouse: Warehouse) -> None:
    rows = warehouse.rows(
        "SELECT column_name, data_type FROM information_schema.columns WHERE table_name = 'market_breadth'"
        " AND column_name NOT IN ('session', 'revision', 'as_of') ORDER BY ordinal_position"
    )
    assert [tuple(row) for row in rows] == [(c.name, SQL_TYPES[c.kind]) for c in BREADTH_COLUMNS]


def test_stocks_are_counted_and_neither_funds_nor_the_benchmark_and_a_second_run_changes_nothing(
    chain: Chain, folder: Folder, warehouse: Warehouse
) -> None:
    folder.write(walk(SYMBOLS, DAYS), instruments=KINDS)
    assert chain.run(LAST_NIGHT).success
    done = chain.run(TONIGHT)
    assert done.success, done.errors
    assert done.facts["market_breadth"]["recorded"] == 1
    assert done.checks["breadth_adds_up"].passed
    last_night, tonight = recorded(warehouse)
    assert (last_night["session"], tonight["session"]) == (LAST_NIGHT, TONIGHT)
    assert tonight["instruments"] == tonight["with_sma_20"] == tonight["stage_unknown"] == 3
    assert tonight["advances"] + tonight["declines"] + tonight["unchanged"] == 3
    assert tonight["pct_above_sma_20"] == pytest.approx(100 * tonight["above_sma_20"] / 3)
    assert (tonight["with_sma_50"], tonight["pct_above_sma_50"]) == (0, None)
    line = warehouse.rows("SELECT advance_decline_line AS line FROM market_breadth_current ORDER BY session")
    assert [row.line for row in line] == [
        last_night["advances"] - last_night["declines"],
        last_night["advances"] - last_night["declines"] + tonight["advances"] - tonight["declines"],
    ]
    before = hashes(warehouse)
    again = chain.run(LAST_NIGHT, TONIGHT)
    assert (again.facts["market_breadth"]["recorded"], again.facts["market_breadth"]["unchanged"]) == (0, 2)
    assert hashes(warehouse) == before


def test_a_bar_that_comes_late_restates_the_sessions_it_changes_and_what_was_counted_then_stays(
    chain: Chain, folder: Folder, warehouse: Warehouse
) -> None:
    bars = walk(SYMBOLS, DAYS)
    late = (bars["symbol"] == "BBB") & (bars["date"] == LAST_NIGHT)
    folder.write(bars[~late & (bars["date"] < TONIGHT)], instruments=KINDS)
    assert chain.run(DAYS[-3], LAST_NIGHT).success
    folder.write(bars, instruments=KINDS)
    done = chain.run(TONIGHT)
    assert (done.facts["market_breadth"]["recorded"], done.facts["market_breadth"]["restated"]) == (1, 1)
    told = [(row["session"], row["revision"], row["instruments"]) for row in recorded(warehouse)]
    assert told == [(DAYS[-3], 1, 3), (LAST_NIGHT, 1, 2), (LAST_NIGHT, 2, 3), (TONIGHT, 1, 3)]
    assert warehouse.scalar("SELECT count(*) FROM market_breadth_due") == 0
    settled = hashes(warehouse)
    again = chain.run(LAST_NIGHT)
    assert again.checks["breadth_adds_up"].passed
    assert hashes(warehouse) == settled


def test_counts_that_do_not_add_up_or_are_not_those_of_the_history_are_found_and_cannot_be_changed(
    chain: Chain, folder: Folder, warehouse: Warehouse, database_url: str
) -> None:
    folder.write(walk(SYMBOLS, DAYS), instruments=KINDS)
    assert chain.run(TONIGHT).success
    with psycopg.connect(database_url) as connection:
        for change in (
            "UPDATE market_breadth SET stage_1 = 1",
            "DELETE FROM market_breadth",
            "TRUNCATE market_breadth",
        ):
            with pytest.raises(psycopg.errors.RestrictViolation, match="immutable"):
                connection.execute(change)
            connection.rollback()
    warehouse.execute("ALTER TABLE market_breadth DISABLE TRIGGER breadth_is_immutable")
    warehouse.execute("UPDATE market_breadth SET stage_unknown = 2, advances = 9, above_sma_50 = 1")
    assert faults(warehouse, TONIGHT, Method()) == [
        "the stages' counts do not add up to the 3 instruments",
        "more than the 3 instruments advance, decline or stay",
        "above_sma_50 1, with_sma_50 0 and instruments 3 do not contain one another",
        "stage_unknown is 2, the history has 3 such rows",
    ]
    warehouse.execute("DELETE FROM market_breadth")
    assert faults(warehouse, TONIGHT, Method()) == ["no breadth is recorded, of 3 stocks with a row"]
    mended = chain.run(TONIGHT, job="record_history")
    assert mended.checks["breadth_adds_up"].passed
    assert faults(warehouse, LAST_NIGHT, Method()) == [], "no row, no breadth"
