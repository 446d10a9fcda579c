"""When the chain starts by itself: after the close, never on a holiday, and once for each stale set."""

from __future__ import annotations

from datetime import date, datetime
from zoneinfo import ZoneInfo

import pytest
from dagster import DagsterInstance

from quantmatrix_pipeline.warehouse.engine import Warehouse
from quantmatrix_pipeline_tests.pipeline.running import Chain, Folder, hashes, sessions, walk
from quantmatrix_pipeline_tests.pipeline.ticks import Sensor, schedule_tick

NEW_YORK = ZoneInfo("America/New_York")
DAYS = sessions("2021-12-31", 30)
TONIGHT, LAST_NIGHT = DAYS[-1], DAYS[-2]
AFTER_CLOSE = "2021-12-31T22:30:00Z"


@pytest.fixture
def stale(chain: Chain, instance: DagsterInstance, monkeypatch: pytest.MonkeyPatch) -> Sensor:
    monkeypatch.setenv("QM_NOW", AFTER_CLOSE)
    return Sensor("backfill_stale_coverage", instance)


def test_nothing_is_launched_while_all_are_fresh(stale: Sensor, chain: Chain, folder: Folder) -> None:
    folder.write(walk(["AAA", "SPY"], DAYS))
    chain.run(TONIGHT)
    tick = stale.tick()
    assert (tick.runs, tick.skipped) == ([], f"all 2 expected instruments are fresh as of {TONIGHT}")


def test_nothing_is_launched_before_the_first_chain(
    stale: Sensor, chain: Chain, folder: Folder, warehouse: Warehouse
) -> None:
    folder.write(walk(["AAA", "SPY"], DAYS))
    chain.run(TONIGHT, job="refresh_constituents")
    tick = stale.tick()
    assert tick.runs == []
    assert "the first load is restore_daily_coverage's work" in str(tick.skipped)


def test_a_stale_set_is_launched_once_cools_down_and_a_changed_set_is_launched_after_that(
    stale: Sensor, chain: Chain, folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    bars = walk(["AAA", "BBB", "SPY"], DAYS)
    late = bars["date"] == TONIGHT
    folder.write(bars[~late | (bars["symbol"] == "SPY")])
    chain.run(TONIGHT)
    (launched,) = stale.tick().runs
    assert launched.partition_key == str(TONIGHT)
    assert launched.tags["quantmatrix/stale"] == "2"
    assert "a backfill for exactly these was launched already" in str(stale.tick().skipped)

    folder.write(bars[~late | (bars["symbol"] != "AAA")])
    assert chain.run(TONIGHT, job="backfill_stale_daily").success
    monkeypatch.setenv("QM_NOW", "2021-12-31T23:29:59Z")
    assert "1 stale as of 2021-12-31; cooling down since 2021-12-31T22:30:00" in str(stale.tick().skipped)
    monkeypatch.setenv("QM_NOW", "2021-12-31T23:30:00Z")
    (again,) = stale.tick().runs
    assert again.run_key != launched.run_key
    monkeypatch.setenv("QM_NOW", "2022-01-02T12:00:00Z")
    assert "launched already" in str(stale.tick().skipped), "however long it lasts, one set is tried once a session"


def test_what_the_sensor_launches_asks_for_the_stale_only(stale: Sensor, chain: Chain, folder: Folder) -> None:
    bars = walk(["AAA", "BBB", "SPY"], DAYS)
    folder.write(bars[(bars["symbol"] != "BBB") | (bars["date"] < LAST_NIGHT)])
    chain.run(TONIGHT)
    folder.write(bars)
    (launched,) = stale.tick().runs
    done = chain.run(date.fromisoformat(str(launched.partition_key)), job="backfill_stale_daily")
    assert done.facts["daily_bars"]["asked"] == f"1 symbols, 2 sessions, {DAYS[0]}..{TONIGHT}"
    assert done.facts["coverage_report"]["headline"].startswith(f"{TONIGHT} ok: 3 of 3")
    assert "all 3 expected instruments are fresh" in str(stale.tick().skipped)


def test_the_nightly_chain_asks_for_the_session_that_closed_under_its_own_key(
    chain: Chain, folder: Folder, instance: DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.write(walk(["SPY"], DAYS))
    monkeypatch.setenv("QM_NOW", "2021-12-30T22:30:00Z")
    tick = schedule_tick("nightly_chain", datetime(2021, 12, 30, 17, 30, tzinfo=NEW_YORK), instance)
    (run,) = tick.runs
    assert (run.run_key, run.partition_key) == ("chain-2021-12-30", "2021-12-30")
    assert run.tags["quantmatrix/session"] == "2021-12-30"


@pytest.mark.parametrize(
    ("day", "now", "newest"),
    [
        (datetime(2021, 12, 24, 17, 30, tzinfo=NEW_YORK), "2021-12-24T22:30:00Z", "2021-12-23"),  # Christmas, observed
        (datetime(2021, 11, 25, 17, 30, tzinfo=NEW_YORK), "2021-11-25T22:30:00Z", "2021-11-24"),  # Thanksgiving
        (datetime(2021, 12, 31, 15, 0, tzinfo=NEW_YORK), "2021-12-31T20:00:00Z", "2021-12-30"),  # before the close
    ],
)
def test_the_nightly_chain_skips_a_day_without_a_closed_session_and_says_why(
    chain: Chain, instance: DagsterInstance, monkeypatch: pytest.MonkeyPatch, day: datetime, now: str, newest: str
) -> None:
    monkeypatch.setenv("QM_SOURCE", "yfinance")  # an endless source: what is due is the calendar's to say
    monkeypatch.setenv("QM_NOW", now)
    tick = schedule_tick("nightly_chain", day, instance)
    assert tick.runs == []
    assert str(tick.skipped).startswith(f"{day.date()} is no session of XNYS, or it has not closed; newest: {newest}")


def test_on_a_half_day_the_chain_runs_for_that_session(
    chain: Chain, instance: DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QM_SOURCE", "yfinance")
    monkeypatch.setenv("QM_NOW", "2021-11-26T22:30:00Z")
    (run,) = schedule_tick("nightly_chain", datetime(2021, 11, 26, 17, 30, tzinfo=NEW_YORK), instance).runs
    assert run.run_key == "chain-2021-11-26"


def test_with_files_a_holidays_tick_bears_the_key_of_the_session_before_so_that_nothing_runs_twice(
    chain: Chain, folder: Folder, instance: DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.write(walk(["SPY"], DAYS))
    keys = []
    for day in (23, 24):  # the 24th is a holiday in 2021
        monkeypatch.setenv("QM_NOW", f"2021-12-{day}T22:30:00Z")
        tick = schedule_tick("nightly_chain", datetime(2021, 12, day, 17, 30, tzinfo=NEW_YORK), instance)
        keys += [run.run_key for run in tick.runs]
    assert set(keys) == {"chain-2021-12-23"}


def test_the_hourly_coverage_and_the_weekly_constituents_run_for_the_newest_closed_session(
    chain: Chain, folder: Folder, instance: DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.write(walk(["SPY"], DAYS))
    monkeypatch.setenv("QM_NOW", "2021-12-31T13:05:00Z")
    (hourly,) = schedule_tick("hourly_coverage", datetime(2021, 12, 31, 8, 5, tzinfo=NEW_YORK), instance).runs
    assert (hourly.run_key, hourly.partition_key) == ("coverage-2021-12-31T08", "2021-12-30")
    monkeypatch.setenv("QM_NOW", "2021-12-25T11:00:00Z")
    (weekly,) = schedule_tick("weekly_constituents", datetime(2021, 12, 25, 6, 0, tzinfo=NEW_YORK), instance).runs
    assert (weekly.run_key, weekly.partition_key) == ("constituents-2021-12-25", "2021-12-23")


def test_the_coverage_job_of_a_morning_changes_nothing_but_the_coverage(
    chain: Chain, folder: Folder, warehouse: Warehouse
) -> None:
    folder.write(walk(["AAA", "SPY"], DAYS))
    chain.run(TONIGHT)
    before = hashes(warehouse)
    assert chain.run(TONIGHT, job="refresh_coverage").success
    assert hashes(warehouse) == before
