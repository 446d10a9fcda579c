"""What comes late is recorded for every session that it touches; what comes too early is refused."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pytest

from quantmatrix_pipeline import clock
from quantmatrix_pipeline.api.tasks import Launcher
from quantmatrix_pipeline.dagster_client import Dagster
from quantmatrix_pipeline.errors import VendorUnavailable
from quantmatrix_pipeline.indicators.panel import Panel
from quantmatrix_pipeline.resources.platform import Platform
from quantmatrix_pipeline.schedules.entry import Entry, Partition
from quantmatrix_pipeline.schedules.launching import run_now
from quantmatrix_pipeline.settings import load
from quantmatrix_pipeline.snapshots.panel import read_panel
from quantmatrix_pipeline.snapshots.record import record_history
from quantmatrix_pipeline.warehouse import actions
from quantmatrix_pipeline.warehouse.engine import Warehouse
from quantmatrix_pipeline_tests.pipeline.running import CALENDAR, Chain, Folder, sessions, walk

DAYS = sessions("2021-12-31", 30)
SYMBOLS = ["AAA", "BBB", "SPY"]


def revisions(warehouse: Warehouse, symbol: str) -> dict[object, int]:
    rows = warehouse.rows(
        "SELECT session, max(revision) AS revision FROM market_analysis_history"
        " JOIN instrument_symbols USING (instrument_id) WHERE symbol = :symbol GROUP BY session",
        symbol=symbol,
    )
    return {row.session: row.revision for row in rows}


def test_a_hole_that_fills_restates_the_recorded_sessions_behind_it_and_no_others(
    chain: Chain, folder: Folder, warehouse: Warehouse
) -> None:
    bars = walk(SYMBOLS, DAYS)
    hole = (bars["symbol"] == "BBB") & (bars["date"] == DAYS[-4])
    folder.write(bars[~hole])
    assert chain.run(DAYS[-5], DAYS[-2]).success
    assert DAYS[-4] not in revisions(warehouse, "BBB")

    folder.write(bars)
    healed = chain.run(DAYS[-1])
    assert healed.success, healed.errors
    assert healed.facts["daily_bars"]["inserted"] == 4
    assert revisions(warehouse, "BBB") == {DAYS[-5]: 1, DAYS[-4]: 1, DAYS[-3]: 2, DAYS[-2]: 2, DAYS[-1]: 1}
    assert set(revisions(warehouse, "AAA").values()) == {1}
    assert healed.checks["snapshot_equals_history"].passed
    assert warehouse.scalar("SELECT count(*) FROM history_due") == 0

    again = chain.run(DAYS[-5], DAYS[-1])
    assert (again.facts["indicator_history"]["recorded"], again.facts["indicator_history"]["restated"]) == (0, 0)


def test_what_is_due_stays_due_when_recording_fails(
    chain: Chain, folder: Folder, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.write(walk(SYMBOLS, DAYS))
    chain.run(DAYS[-2])
    warehouse.execute(
        "INSERT INTO history_due SELECT instrument_id, :first FROM instrument_symbols WHERE symbol = 'AAA'",
        {"first": DAYS[-2]},
    )
    with monkeypatch.context() as patch:
        patch.setattr("quantmatrix_pipeline.snapshots.record.read_panel", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            record_history(warehouse, DAYS[-2], DAYS[-2], now=CALENDAR.close(DAYS[-1]))
    assert warehouse.scalar("SELECT count(*) FROM history_due") == 1
    record_history(warehouse, DAYS[-2], DAYS[-2], now=CALENDAR.close(DAYS[-1]))
    assert warehouse.scalar("SELECT count(*) FROM history_due") == 0


def test_what_becomes_due_while_a_panel_is_read_is_not_taken_for_recorded(
    chain: Chain, folder: Folder, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.write(walk(SYMBOLS, DAYS))
    chain.run(DAYS[-1])

    def while_an_ingestion_commits(*asked: object) -> Panel:
        panel = read_panel(*asked)  # type: ignore[arg-type]
        warehouse.execute(
            "INSERT INTO history_due SELECT instrument_id, :first FROM instrument_symbols WHERE symbol = 'AAA'",
            {"first": DAYS[-1]},
        )
        return panel

    monkeypatch.setattr("quantmatrix_pipeline.snapshots.record.read_panel", while_an_ingestion_commits)
    record_history(warehouse, DAYS[-1], DAYS[-1], now=CALENDAR.close(DAYS[-1]))
    assert warehouse.scalar("SELECT count(*) FROM history_due") == 1


def test_a_session_that_has_not_closed_is_refused_before_anything_is_fetched(
    chain: Chain, folder: Folder, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.write(walk(SYMBOLS, DAYS))
    monkeypatch.setenv("QM_NOW", (CALENDAR.close(DAYS[-1]) + timedelta(minutes=29)).isoformat())
    early = chain.run(DAYS[-1])
    assert not early.success
    assert f"{DAYS[-1]} has not closed yet" in early.errors["daily_bars"]
    assert str(DAYS[-2]) in early.errors["daily_bars"]
    assert warehouse.scalar("SELECT count(*) FROM price_data") == 0
    monkeypatch.setenv("QM_NOW", (CALENDAR.close(DAYS[-1]) + timedelta(minutes=30)).isoformat())
    assert chain.run(DAYS[-1]).success


def test_a_split_that_the_vendor_takes_back_and_gives_again_is_in_force_as_given_last(warehouse: Warehouse) -> None:
    warehouse.execute("INSERT INTO instruments (kind) VALUES ('stock')")
    instrument_id = warehouse.scalar("SELECT max(instrument_id) FROM instruments")
    learned = []
    for day, ratio in enumerate((2, 3, 2, 2)):
        action = {"instrument_id": instrument_id, "kind": "split", "ex_date": DAYS[5], "numerator": ratio}
        action |= {"denominator": 1, "vendor": "test", "as_of": CALENDAR.close(DAYS[day])}
        with warehouse.arrow() as transaction:
            learned.append(bool(actions.write_actions(transaction, [action])))
            in_force = actions.read_splits(transaction)["numerator"].to_pylist()
        assert in_force == [ratio]
    assert learned == [True, True, True, False]


def test_auto_does_not_take_the_sample_where_another_source_has_filled_the_warehouse(
    chain: Chain, folder: Folder, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.write(walk(SYMBOLS, DAYS))
    chain.run(DAYS[-1])
    monkeypatch.setenv("QM_SOURCE", "auto")
    monkeypatch.delenv("QM_FILES_DIR")
    monkeypatch.setenv("QM_YAHOO_BASE_URL", "http://127.0.0.1:9")
    with pytest.raises(VendorUnavailable, match="bars of files are stored"):
        _ = Platform().selection
    nobody = Dagster("http://127.0.0.1:9")
    with pytest.raises(VendorUnavailable, match="bars of files are stored"):
        Launcher(nobody, "ada", load(), warehouse).start("restore_daily_coverage")
    entry = Entry(job="restore_daily_coverage", cron="0 1 * * *", partition=Partition.NEWEST)
    with pytest.raises(VendorUnavailable, match="bars of files are stored"):
        run_now(nobody, warehouse, load(), "nightly", entry, "ada", clock.now())


def test_the_newest_snapshot_follows_from_the_bars_though_an_older_session_was_run_again(
    chain: Chain, folder: Folder, warehouse: Warehouse
) -> None:
    bars = walk(SYMBOLS, DAYS)
    hole = (bars["symbol"] == "BBB") & (bars["date"] == DAYS[-4])
    folder.write(bars[~hole])
    chain.run(DAYS[-1])
    folder.write(bars)
    older = chain.run(DAYS[-4])
    assert older.success, older.errors
    assert older.checks["snapshot_equals_history"].passed
    snapshot = warehouse.rows(
        "SELECT c.session, c.sma_5 FROM market_analysis_cache c JOIN instrument_symbols USING (instrument_id)"
        " WHERE symbol = 'BBB'"
    )[0]
    closes = bars[bars["symbol"] == "BBB"]["close"].to_numpy()
    assert snapshot.session == DAYS[-1]
    np.testing.assert_allclose(snapshot.sma_5, closes[-5:].mean(), rtol=1e-12)
