"""When the chain starts by itself: after the close, never on a holiday, and once for each stale set."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from uuid import uuid4
from zoneinfo import ZoneInfo

import pytest
from dagster import DagsterInstance, DagsterRun, DagsterRunStatus

from quantmatrix_pipeline.coverage.standing import CHAIN_DONE_BY
from quantmatrix_pipeline.job_names import RESTORE
from quantmatrix_pipeline.schedules.file import in_force
from quantmatrix_pipeline.settings import load
from quantmatrix_pipeline.warehouse.engine import Warehouse
from quantmatrix_pipeline_tests.pipeline.running import CALENDAR, Chain, Folder, hashes, sessions, walk
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
    stale: Sensor, chain: Chain, folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.write(walk(["AAA", "SPY"], DAYS))
    chain.run(TONIGHT, job="refresh_constituents")
    monkeypatch.setenv("QM_NOW", "2022-01-01T12:00:00Z")
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
    environment: None, folder: Folder, on_disk: DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.write(walk(["SPY"], DAYS))
    monkeypatch.setenv("QM_NOW", "2021-12-30T22:30:00Z")
    tick = schedule_tick("nightly_chain", datetime(2021, 12, 30, 17, 30, tzinfo=NEW_YORK), on_disk)
    (run,) = tick.runs
    assert (run.run_key, run.partition_key) == ("nightly_chain-2021-12-30T17:30-05:00", "2021-12-30")
    assert run.tags["quantmatrix/session"] == "2021-12-30"


@pytest.fixture
def endless(monkeypatch: pytest.MonkeyPatch) -> None:
    """A source that always has the newest session: what is due is the calendar's to say."""
    monkeypatch.setenv("QM_SOURCE", "yfinance")


def leave_run(
    instance: DagsterInstance, session: str, status: DagsterRunStatus = DagsterRunStatus.SUCCESS, **tags: str
) -> DagsterRun:
    """Leave a chain in the instance that did that session, or was to."""
    tags = {"dagster/partition": session, **tags}
    return instance.add_run(DagsterRun(RESTORE, run_id=str(uuid4()), status=status, tags=tags))


@pytest.mark.parametrize(
    ("tick", "newest"),
    [
        (datetime(2021, 12, 24, 17, 30, tzinfo=NEW_YORK), "2021-12-23"),  # Christmas, observed
        (datetime(2021, 11, 25, 17, 30, tzinfo=NEW_YORK), "2021-11-24"),  # Thanksgiving
        (datetime(2012, 10, 29, 17, 30, tzinfo=NEW_YORK), "2012-10-26"),  # a hurricane
        (datetime(2021, 12, 31, 15, 0, tzinfo=NEW_YORK), "2021-12-30"),  # before the close
        (datetime(2021, 12, 31, 16, 29, tzinfo=NEW_YORK), "2021-12-30"),  # within the grace after it
    ],
)
def test_a_tick_since_whose_predecessor_no_session_closed_is_skipped_and_says_so(
    environment: None, endless: None, on_disk: DagsterInstance, tick: datetime, newest: str
) -> None:
    leave_run(on_disk, newest)
    done = schedule_tick("nightly_chain", tick, on_disk)
    assert done.runs == []
    assert str(done.skipped).startswith(f"no session closed since {newest}, whose run was started before")
    assert f"{tick:%Y-%m-%d}" in str(done.skipped)


def test_a_night_that_was_missed_is_made_up_for_on_the_holiday_after_it(
    environment: None, endless: None, on_disk: DagsterInstance
) -> None:
    leave_run(on_disk, "2021-12-22")
    (run,) = schedule_tick("nightly_chain", datetime(2021, 12, 24, 17, 30, tzinfo=NEW_YORK), on_disk).runs
    assert (run.run_key, run.partition_key) == ("nightly_chain-2021-12-24T17:30-05:00", "2021-12-23")


def test_on_a_half_day_the_chain_runs_for_that_session(
    environment: None, endless: None, on_disk: DagsterInstance
) -> None:
    (run,) = schedule_tick("nightly_chain", datetime(2021, 11, 26, 17, 30, tzinfo=NEW_YORK), on_disk).runs
    assert run.partition_key == "2021-11-26"


def test_between_a_close_and_its_chain_neither_the_coverage_nor_the_stale_sensor_raises_an_alarm(
    chain: Chain, folder: Folder, on_disk: DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.write(walk(["AAA", "SPY"], DAYS))
    chain.run(LAST_NIGHT)
    tick = datetime(2021, 12, 31, 17, 5, tzinfo=NEW_YORK)
    monkeypatch.setenv("QM_NOW", "2021-12-31T22:05:00Z")
    hourly = schedule_tick("hourly_coverage", tick, on_disk)  # no chain has ended in this instance
    assert (hourly.runs, hourly.skipped) == (
        [],
        f"{TONIGHT} has closed, and nightly_chain (restore_daily_coverage) has not ended for it yet",
    )
    waiting = Sensor("backfill_stale_coverage", on_disk).tick()
    assert waiting.runs == []
    assert "its chain comes first" in str(waiting.skipped)
    monkeypatch.setenv("QM_NOW", "2022-01-01T00:59:59Z")
    assert "its chain comes first" in str(Sensor("backfill_stale_coverage", on_disk).tick().skipped)
    monkeypatch.setenv("QM_NOW", "2022-01-01T01:00:00Z")
    late = Sensor("backfill_stale_coverage", on_disk).tick()
    assert len(late.runs) == 1, "a chain that has not ended four hours after the close keeps nobody waiting"
    monkeypatch.setenv("QM_NOW", "2021-12-31T22:05:00Z")
    leave_run(on_disk, str(TONIGHT), DagsterRunStatus.FAILURE, **{"qm/retries": "1"})
    waiting = Sensor("backfill_stale_coverage", on_disk).tick()
    assert "its chain comes first" in str(waiting.skipped), "it is going to be launched again"
    hung = leave_run(on_disk, str(TONIGHT), DagsterRunStatus.STARTED, **{"qm/retries": "1"})
    on_disk.report_run_canceling(hung, "Canceling due to exceeding maximum runtime of 60 seconds.")
    on_disk.report_run_canceled(hung)
    waiting = Sensor("backfill_stale_coverage", on_disk).tick()
    assert "its chain comes first" in str(waiting.skipped), "so is one that its timeout ended, though it is canceled"
    leave_run(on_disk, str(TONIGHT), DagsterRunStatus.FAILURE, **{"qm/retries": "1", "qm/attempt": "1"})
    assert len(Sensor("backfill_stale_coverage", on_disk).tick().runs) == 1, "it has failed for good"
    assert len(schedule_tick("hourly_coverage", tick, on_disk).runs) == 1, "a chain has ended since"


def test_the_packaged_coverage_waits_as_long_for_the_chain_as_everybody(environment: None) -> None:
    entries = in_force(load()).catalogue.schedules
    nightly = {a.patience_s for e in entries.values() if e.enabled for a in e.after if a.schedule == "nightly_chain"}
    assert nightly == {CHAIN_DONE_BY.total_seconds()}
    safety = entries["nightly_chain"].safety
    begins = datetime.combine(TONIGHT, time(17, 30), NEW_YORK) - CALENDAR.close(TONIGHT)
    assert begins + timedelta(seconds=safety.timeout_s or 0) <= CHAIN_DONE_BY, "no chain is late that has its time yet"
    assert (safety.retries, safety.backoff_s) == (1, 900)


def test_the_hourly_coverage_and_the_weekly_constituents_run_for_the_newest_closed_session(
    environment: None, folder: Folder, on_disk: DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.write(walk(["SPY"], DAYS))
    monkeypatch.setenv("QM_NOW", "2021-12-31T13:05:00Z")
    (hourly,) = schedule_tick("hourly_coverage", datetime(2021, 12, 31, 8, 5, tzinfo=NEW_YORK), on_disk).runs
    assert (hourly.run_key, hourly.partition_key) == ("hourly_coverage-2021-12-31T08:05-05:00", "2021-12-30")
    monkeypatch.setenv("QM_NOW", "2021-12-25T11:00:00Z")
    (weekly,) = schedule_tick("weekly_constituents", datetime(2021, 12, 25, 6, 0, tzinfo=NEW_YORK), on_disk).runs
    assert (weekly.run_key, weekly.partition_key) == ("weekly_constituents-2021-12-25T06:00-05:00", "2021-12-23")


def test_the_coverage_job_of_a_morning_changes_nothing_but_the_coverage(
    chain: Chain, folder: Folder, warehouse: Warehouse
) -> None:
    folder.write(walk(["AAA", "SPY"], DAYS))
    chain.run(TONIGHT)
    before = hashes(warehouse)
    assert chain.run(TONIGHT, job="refresh_coverage").success
    assert hashes(warehouse) == before
