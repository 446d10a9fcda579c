"""The asset checks find what somebody broke behind the chain's back, and the database itself refuses what it must."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from quantmatrix_pipeline.warehouse.embedded import SUPERUSER, EmbeddedServer
from quantmatrix_pipeline.warehouse.engine import Warehouse
from quantmatrix_pipeline_tests.pipeline.running import Chain, Folder, hashes, sessions, walk

DAYS = sessions("2021-12-31", 30)
TONIGHT, LAST_NIGHT = DAYS[-1], DAYS[-2]
SYMBOLS = ["AAA", "BBB", "CCC", "SPY"]


@pytest.fixture
def a_night(chain: Chain, folder: Folder) -> Chain:
    """A chain whose first night is over: bars until LAST_NIGHT are stored, those of TONIGHT wait in the folder."""
    folder.write(walk(SYMBOLS, DAYS))
    assert chain.run(LAST_NIGHT).success
    return chain


@pytest.mark.parametrize(
    "change",
    [
        "high = low - 1",
        "low = close + 1",
        "volume = -1",
        "low = 0",
        "close = 'NaN'",
        "high = 'infinity'",
    ],
)
def test_a_bar_that_breaks_a_rule_in_the_warehouse_stops_the_chain_before_the_indicators(
    a_night: Chain, warehouse: Warehouse, change: str
) -> None:
    warehouse.execute(f"UPDATE price_data SET {change} WHERE session = '{DAYS[10]}' AND instrument_id = 1")
    before = hashes(warehouse, ["market_analysis_cache", "market_analysis_history"])
    done = a_night.run(TONIGHT)
    assert not done.success
    check = done.checks["bars_obey_the_rules"]
    assert not check.passed
    assert check.metadata["broken"].value == 1
    first = check.metadata["first"].value.records[0].data
    assert (first["symbol"], first["session"]) == ("AAA", str(DAYS[10]))
    assert set(done.facts) == {"index_constituents", "tracked_universe", "daily_bars"}
    assert hashes(warehouse, ["market_analysis_cache", "market_analysis_history"]) == before


def test_a_hole_inside_a_life_warns_with_the_symbol_and_blocks_nothing(
    chain: Chain, folder: Folder, warehouse: Warehouse
) -> None:
    bars = walk(SYMBOLS, DAYS)
    folder.write(bars[(bars["symbol"] != "BBB") | ~bars["date"].isin(DAYS[4:7])])
    done = chain.run(TONIGHT)
    assert done.success
    check = done.checks["no_session_missing_inside_a_life"]
    assert (check.passed, check.severity.value, check.blocking) == (False, "WARN", False)
    assert [r.data for r in check.metadata["worst"].value.records] == [
        {"symbol": "BBB", "missing": 3, "rejected": 0, "first": str(DAYS[0]), "last": str(TONIGHT)}
    ]
    assert check.metadata["sessions"].value == 3
    assert "coverage_report" in done.facts


@pytest.mark.parametrize("change", ["sma_5 = sma_5 + 1e-9", "rsi = NULL", "ma_bucket = 'LEADING'", "close = 1"])
def test_a_snapshot_that_is_not_what_the_history_says_is_found(
    a_night: Chain, warehouse: Warehouse, change: str
) -> None:
    warehouse.execute(f"UPDATE market_analysis_cache SET {change} WHERE instrument_id = 3")
    # Only the history is recorded again: a recompute would put the snapshot right before the check looks.
    done = a_night.run(LAST_NIGHT, job="record_history")
    check = done.checks["snapshot_equals_history"]
    assert not check.passed
    assert [r.data["symbol"] for r in check.metadata["first"].value.records] == ["CCC"]
    mended = a_night.run(LAST_NIGHT, job="recompute_indicators")
    assert mended.checks["snapshot_equals_history"].passed


def test_coverage_below_the_promise_and_bars_two_sessions_old_fail_their_checks(
    chain: Chain, folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    bars = walk(SYMBOLS, DAYS)
    folder.write(bars[(bars["symbol"] != "BBB") | (bars["date"] < LAST_NIGHT)])
    done = chain.run(TONIGHT)
    assert done.success, "a promise that is not kept is told, it does not undo the night"
    target, old = done.checks["coverage_at_target"], done.checks["nothing_over_48h"]
    assert (target.passed, target.metadata["share"].value, target.metadata["target"].value) == (False, 0.75, 0.9)
    assert (old.passed, old.metadata["over_48h"].value) == (False, 1)
    assert old.metadata["symbols"].value.records[0].data == {"symbol": "BBB"}
    five_minutes = done.checks["m5_of_last_session"]
    assert (five_minutes.passed, five_minutes.metadata["enabled"].value) == (True, False)
    monkeypatch.setenv("QM_COVERAGE_TARGET", "0.7")
    lenient = chain.run(TONIGHT)
    assert lenient.checks["coverage_at_target"].passed
    assert not lenient.checks["nothing_over_48h"].passed


def test_a_bar_one_session_old_is_not_over_48h(chain: Chain, folder: Folder) -> None:
    bars = walk(SYMBOLS, DAYS)
    folder.write(bars[(bars["symbol"] != "BBB") | (bars["date"] < TONIGHT)])
    done = chain.run(TONIGHT)
    assert done.checks["nothing_over_48h"].passed
    assert not done.checks["coverage_at_target"].passed


def test_a_session_with_far_fewer_bars_than_the_one_before_is_told(chain: Chain, folder: Folder) -> None:
    bars = walk(SYMBOLS, DAYS)
    folder.write(bars[(bars["symbol"] == "SPY") | (bars["date"] < TONIGHT)])
    check = chain.run(TONIGHT).checks["row_count_against_yesterday"]
    assert (check.passed, check.severity.value) == (False, "WARN")
    assert (check.metadata["bars"].value, check.metadata["bars_before"].value) == (1, 4)


# --- what the database refuses by itself ------------------------------------------------------------------------------


@pytest.fixture
def as_writer(database_url: str, server: EmbeddedServer) -> Iterator[psycopg.Connection]:
    """A connection to the test's database that has taken the role of those who write."""
    name = database_url.rsplit("/", 1)[-1].split("?")[0]
    with psycopg.connect(server.url(name, SUPERUSER), autocommit=True) as connection:
        connection.execute("SET ROLE qm_writer")
        yield connection


CHANGES = {
    "UPDATE": "UPDATE {} SET rsi = 50",
    "DELETE": "DELETE FROM {}",
    "TRUNCATE": "TRUNCATE {}",
}
HISTORY = ("market_analysis_history", "market_analysis_history_2021")


@pytest.mark.parametrize("table", HISTORY)
@pytest.mark.parametrize("change", CHANGES.values(), ids=list(CHANGES))
def test_the_history_refuses_change_even_to_its_owner(
    a_night: Chain, warehouse: Warehouse, database_url: str, change: str, table: str
) -> None:
    before = hashes(warehouse, ["market_analysis_history"])
    with (
        psycopg.connect(database_url, autocommit=True) as owner,
        pytest.raises(psycopg.errors.RestrictViolation, match="the history is immutable"),
    ):
        owner.execute(change.format(table))
    assert hashes(warehouse, ["market_analysis_history"]) == before


@pytest.mark.parametrize("table", HISTORY)
@pytest.mark.parametrize("change", CHANGES.values(), ids=list(CHANGES))
def test_the_writer_has_no_right_to_change_the_history(
    a_night: Chain, as_writer: psycopg.Connection, change: str, table: str
) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="permission denied"):
        as_writer.execute(change.format(table))


def test_the_writer_may_not_rewrite_revisions_and_actions_but_may_write_bars(
    a_night: Chain, as_writer: psycopg.Connection
) -> None:
    for table in ("price_data_revisions", "corporate_actions"):
        for change in (f"UPDATE {table} SET as_of = now()", f"DELETE FROM {table}", f"TRUNCATE {table}"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                as_writer.execute(change)
    assert as_writer.execute("UPDATE price_data SET volume = volume WHERE instrument_id = 1").rowcount == 29


def test_the_writer_makes_the_partition_of_a_new_year_and_can_not_change_it_either(
    a_night: Chain, as_writer: psycopg.Connection
) -> None:
    as_writer.execute("SELECT ensure_history_partitions(2031, 2031)")
    as_writer.execute(
        "INSERT INTO market_analysis_history (instrument_id, session, as_of, close) VALUES (1, '2031-03-03', now(), 1)"
    )
    for change in CHANGES.values():
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            as_writer.execute(change.format("market_analysis_history_2031"))
