"""What ran is written down in the warehouse: how it ended, what it counted, and that a killed run is not running."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from dagster import (
    AssetSpec,
    DagsterExecutionInterruptedError,
    DagsterInstance,
    DagsterRunStatus,
    MaterializeResult,
    RunsFilter,
    materialize,
    multi_asset,
)

from quantmatrix_pipeline.automation.runs import reports
from quantmatrix_pipeline.automation.sensors.alerts import RUNS
from quantmatrix_pipeline.dagster_client.runs import FAILED_CHECKS
from quantmatrix_pipeline.resources import run_record
from quantmatrix_pipeline.resources.platform import Platform
from quantmatrix_pipeline.warehouse import runs
from quantmatrix_pipeline.warehouse.engine import Warehouse
from quantmatrix_pipeline_tests.pipeline.running import Chain, Folder, sessions, walk
from quantmatrix_pipeline_tests.pipeline.ticks import Sensor

DAYS = sessions("2021-12-31", 30)
TONIGHT = DAYS[-1]
WEBHOOK = "https://discord.com/api/webhooks/1/token"


def test_a_night_and_a_range_are_written_down_with_what_they_counted(
    chain: Chain, folder: Folder, warehouse: Warehouse
) -> None:
    folder.write(walk(["SPY", "AAA"], DAYS), constituents={"SP500": "symbol\nAAA\n"})
    night = chain.run(DAYS[-3], tags={"quantmatrix/session": "the night"})
    chain.run(DAYS[-2], TONIGHT, job="refresh_coverage", tags={"qm/channels": f"Slack, {WEBHOOK} {WEBHOOK}2"})
    span, first = runs.recent(warehouse, 5)
    assert (span.job, span.first, span.last) == ("refresh_coverage", DAYS[-2], TONIGHT)
    assert span.params["qm/channels"] == "slack,***", "readers see this table"
    assert (first.run_id, first.job, first.status) == (night.run_id, "restore_daily_coverage", "success")
    assert (first.first, first.last, first.error) == (DAYS[-3], DAYS[-3], None)
    assert first.params == {"quantmatrix/session": "the night", "quantmatrix/chain": "daily"}
    assert first.counters["daily_bars"]["inserted"] == night.facts["daily_bars"]["inserted"] == 56
    assert first.counters["indicator_history"]["recorded"] == 2
    told = reports.report(chain.instance, night.run_id, None, 0.0)
    assert told is not None
    assert (told.counters["daily_bars inserted"], told.counters["indicator_history recorded"]) == (56, 2)
    assert {name.split()[0] for name in told.counters} <= night.facts.keys(), "once each, under the assets' names"
    assert set(first.step_seconds) >= {"daily_bars", "indicator_history"}
    assert first.ended_at is not None
    assert 0 < (first.ended_at - first.started_at).total_seconds() < 300
    (row,) = warehouse.rows("SELECT * FROM job_run WHERE id = :run", run=night.run_id)
    assert (row.task_name, row.status, row.params["first_session"]) == (first.job, "ok", str(DAYS[-3]))
    assert row.finished_at == first.ended_at
    assert row.duration_seconds == pytest.approx((first.ended_at - first.started_at).total_seconds())
    (stored,) = warehouse.rows("SELECT * FROM backfill_history")
    assert (stored.symbol, stored.start_date, stored.end_date) == (None, DAYS[-3], DAYS[-3])
    assert (stored.records_imported, stored.success, stored.origin) == (56, True, first.job)


def test_a_run_that_fails_says_why(chain: Chain, folder: Folder, warehouse: Warehouse) -> None:
    folder.write(walk(["SPY"], DAYS))
    declaration = folder.path / "source.toml"
    declaration.write_text(declaration.read_text().replace("bars.parquet", "gone.parquet"))
    chain.run(TONIGHT)
    (run,) = runs.recent(warehouse, 5, job="restore_daily_coverage")
    assert run.status == "failure"
    assert run.error is not None
    assert "source.toml: bars[1].path: 'gone.parquet' matches no" in run.error
    assert warehouse.scalar("SELECT status FROM job_run") == "error"


def test_a_run_whose_process_was_killed_is_closed_by_the_failure_sensor_and_by_the_next_run(
    chain: Chain, folder: Folder, warehouse: Warehouse, instance: DagsterInstance
) -> None:
    folder.write(walk(["SPY"], DAYS))
    begun = datetime(2021, 12, 31, 22, tzinfo=UTC)
    killed, alive, later = (
        runs.Run(name, "restore_daily_coverage", TONIGHT, TONIGHT, {}, "running", begun)
        for name in ("killed", "alive", "later")
    )
    life = runs.Life(warehouse, "alive")
    runs.begin(warehouse, killed)
    runs.begin(warehouse, alive)
    Sensor(RUNS, instance).tick()
    assert _status(warehouse) == {"killed": ("failure", runs.DIED), "alive": ("running", None)}
    # The lock goes with the connection, as it does when a process is killed.
    life.end()
    runs.begin(warehouse, later)
    ran = chain.run(TONIGHT, job="refresh_coverage")
    found = _status(warehouse)
    assert found["alive"] == found["later"] == ("failure", runs.DIED)
    assert found[ran.run_id] == ("success", None)
    # Who was only cut off from the database, and comes back, has the last word.
    runs.end(
        warehouse,
        "alive",
        status="success",
        ended_at=datetime(2021, 12, 31, 23, tzinfo=UTC),
        step_seconds={},
        counters={},
        error=None,
    )
    assert _status(warehouse)["alive"] == ("success", None)


def _status(warehouse: Warehouse) -> dict[str, tuple[str, str | None]]:
    return {run.run_id: (run.status, run.error) for run in runs.recent(warehouse, 10)}


def test_a_run_goes_on_where_it_can_not_be_written_down(
    chain: Chain, folder: Folder, warehouse: Warehouse, caplog: pytest.LogCaptureFixture
) -> None:
    folder.write(walk(["SPY"], DAYS))
    warehouse.execute("ALTER TABLE runs RENAME TO runs_elsewhere")
    assert chain.run(TONIGHT, job="refresh_coverage").success
    assert any(
        record.name == run_record.__name__ and "is not written down" in record.message for record in caplog.records
    )


@pytest.mark.usefixtures("environment")
def test_what_a_step_under_another_name_than_its_asset_counts_is_told_and_written_down_once(
    instance: DagsterInstance, warehouse: Warehouse
) -> None:
    @multi_asset(name="dump", specs=[AssetSpec("copy")], required_resource_keys={"platform"})
    def dump() -> MaterializeResult[None]:
        return MaterializeResult(asset_key="copy", metadata={"bytes": 3, "seconds": 2, "whole": True})

    done = materialize([dump], instance=instance, resources={"platform": Platform()})
    told = reports.report(instance, done.run_id, None, 0.0)
    assert told is not None
    assert told.counters == {"copy bytes": 3}
    (written,) = runs.recent(warehouse, 5)
    assert written.counters == {"copy": {"bytes": 3, "seconds": 2}}


def test_a_run_bears_how_many_of_its_checks_failed_though_it_is_a_success(
    chain: Chain, folder: Folder, warehouse: Warehouse, instance: DagsterInstance
) -> None:
    folder.write(walk(["SPY", "AAA"], DAYS))
    well = chain.run(DAYS[-2], tags={FAILED_CHECKS: "17"})  # as a run that is launched again inherits it
    warehouse.execute(f"DELETE FROM price_data_1d WHERE session = '{DAYS[-2]}'")
    poor = chain.run(DAYS[-2], job="refresh_coverage")
    assert poor.success
    failed = [name for name, found in poor.checks.items() if not found.passed]
    assert len(failed) >= 1
    tags = [(instance.get_run_by_id(run.run_id) or pytest.fail("no run")).tags for run in (well, poor)]
    assert [found[FAILED_CHECKS] for found in tags] == ["0", str(len(failed))]


def test_a_run_that_its_timeout_ended_is_written_down_as_a_failure_with_that_cause(
    chain: Chain, folder: Folder, warehouse: Warehouse, instance: DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    def hang(*_: object, **__: object) -> None:
        (run,) = instance.get_runs(RunsFilter(statuses=[DagsterRunStatus.STARTED]))
        instance.report_run_canceling(run, "Canceling due to exceeding maximum runtime of 60 seconds.")
        raise DagsterExecutionInterruptedError

    folder.write(walk(["SPY"], DAYS))
    monkeypatch.setattr("quantmatrix_pipeline.assets.coverage.coverage_as_of", hang)
    ended = chain.run(TONIGHT, job="refresh_coverage")
    assert (instance.get_run_by_id(ended.run_id) or pytest.fail("no run")).status is DagsterRunStatus.CANCELED
    assert _status(warehouse) == {ended.run_id: ("failure", "Exceeded maximum runtime of 60 seconds.")}
