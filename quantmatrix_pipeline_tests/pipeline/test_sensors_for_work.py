"""What launches itself: new symbols, missed nights, a backfill that failed; and what is given up or postponed."""

from __future__ import annotations

from datetime import UTC, date, datetime
from uuid import uuid4

import pytest
from dagster import DagsterInstance, DagsterRun, DagsterRunStatus, RunRequest

from quantmatrix_pipeline import clock
from quantmatrix_pipeline.automation.facts import DagsterFacts
from quantmatrix_pipeline.resources.platform import Platform
from quantmatrix_pipeline.schedules.entry import Preflight
from quantmatrix_pipeline.universe.tracking import watch
from quantmatrix_pipeline.warehouse import vendor_budgets
from quantmatrix_pipeline.warehouse.engine import Warehouse
from quantmatrix_pipeline_tests.pipeline.running import Chain, Folder, sessions, walk
from quantmatrix_pipeline_tests.pipeline.ticks import Sensor

DAYS = sessions("2021-12-31", 30)
TONIGHT = DAYS[-1]
POLYGON_ALONE = {
    "QM_SOURCE": "vendors",
    "MARKET_PROVIDER_POLICY": "polygon",
    "POLYGON_API_KEY": "a-key",
    "QM_POLYGON_BASE_URL": "http://127.0.0.1:9",  # the discard port: a connection is refused at once
}


def left(instance: DagsterInstance, job: str, status: DagsterRunStatus, **tags: str) -> DagsterRun:
    """Leave a run in the instance, as the daemon does of a launched one."""
    return instance.add_run(DagsterRun(job, run_id=str(uuid4()), status=status, tags=tags))


def ran(instance: DagsterInstance, run: RunRequest, status: DagsterRunStatus) -> None:
    left(instance, str(run.job_name), status, **{"dagster/run_key": str(run.run_key)})


def test_missed_nights_new_symbols_and_a_stale_set_each_find_their_job_once(
    chain: Chain, folder: Folder, instance: DagsterInstance, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.write(walk(["AAA", "LATE", "SPY"], DAYS).query("symbol != 'LATE'"))
    for day in (date(2021, 12, 28), TONIGHT):
        monkeypatch.setenv("QM_NOW", f"{day}T23:00:00Z")
        assert chain.run(day).success
    missed = Sensor("record_missed_sessions", instance)
    new = Sensor("backfill_new_symbols", instance)
    stale = Sensor("backfill_stale_coverage", instance)

    (run,) = missed.tick().runs
    assert run.job_name == "backfill_history"
    stretch = {"first": "2021-12-29", "last": "2021-12-30"}
    assert run.run_config == {"ops": {"record_range": {"config": stretch}}}
    assert "launched already" in str(missed.tick().skipped)

    assert new.tick().skipped == "nothing is new"
    watch(warehouse, ["LATE"], datetime(2021, 12, 31, 23, tzinfo=UTC))
    busy = left(instance, "restore_daily_coverage", DagsterRunStatus.STARTED, **{"quantmatrix/chain": "daily"})
    assert new.tick().skipped == "1 new; a run that may fetch them is under way"
    instance.delete_run(busy.run_id)
    (run,) = new.tick().runs
    assert (run.job_name, run.tags["quantmatrix/new"]) == ("backfill_symbols", "1")

    # Bars of a tracked symbol are lost while no vendor may be asked any more: that is postponed, and costs no try.
    warehouse.execute("DELETE FROM price_data WHERE session = :day AND instrument_id = 1", {"day": TONIGHT})
    with monkeypatch.context() as polygon_alone:
        for name, value in POLYGON_ALONE.items():
            polygon_alone.setenv(name, value)
        assert Platform().out_of_calls() is None
        assert DagsterFacts(instance, Platform()).missing(Preflight.VENDOR_BUDGET, clock.now()) is None
        vendor_budgets.exhaust(warehouse, "polygon", until=None)
        postponed = stale.tick()
        lacks = DagsterFacts(instance, Platform()).missing(Preflight.VENDOR_BUDGET, clock.now())
    assert postponed.runs == []
    assert str(lacks).startswith("the calls of polygon are used up until")
    assert "1 stale as of 2021-12-31; postponed: the calls of polygon are used up until" in str(postponed.skipped)

    # Its backfill fails: it is tried again, and given up after that.
    monkeypatch.setenv("QM_STALE_TRIES", "2")
    before = stale.cursor
    busy = left(instance, "restore_daily_coverage", DagsterRunStatus.STARTING, **{"quantmatrix/chain": "daily"})
    assert stale.tick().skipped == f"1 stale as of {TONIGHT}; a run that may fetch them is under way"
    assert stale.cursor == before, "what a chain may mend costs no try"
    instance.delete_run(busy.run_id)
    (first,) = stale.tick().runs
    ran(instance, first, DagsterRunStatus.FAILURE)
    assert "cooling down" in str(stale.tick().skipped)
    monkeypatch.setenv("QM_NOW", "2022-01-01T00:00:00Z")
    (second,) = stale.tick().runs
    assert (first.job_name, second.job_name) == ("backfill_stale_daily",) * 2
    assert first.run_key != second.run_key
    ran(instance, second, DagsterRunStatus.FAILURE)
    monkeypatch.setenv("QM_NOW", "2022-01-01T01:00:00Z")
    (looked,) = stale.tick().runs
    assert (looked.job_name, looked.partition_key) == ("refresh_coverage", str(TONIGHT))
    check = chain.run(TONIGHT, job="refresh_coverage").checks["backfills_get_on"]
    assert not check.passed
    (row,) = check.metadata["by"].value.records
    assert (row.data["sensor"], row.data["why"]) == ("backfill_stale_coverage", "2 backfills did not help")
    assert "given up for 2021-12-31" in str(stale.tick().skipped)
