"""The backfill queue under Dagster: gaps are queued by the sensor, fetched by its job, one run at a time."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest
from dagster import DagsterInstance, DagsterRunStatus, ExecuteInProcessResult
from dagster._core.test_utils import create_run_for_test
from typer.testing import CliRunner

from quantmatrix_pipeline import clock
from quantmatrix_pipeline.automation.jobs.tags import ONE_AT_A_TIME
from quantmatrix_pipeline.automation.sensors.queue import SENSOR
from quantmatrix_pipeline.cli.main import app
from quantmatrix_pipeline.coverage.gaps import scan
from quantmatrix_pipeline.definitions import build_defs
from quantmatrix_pipeline.job_names import WORK_QUEUE
from quantmatrix_pipeline.warehouse import backfill as queue
from quantmatrix_pipeline.warehouse import runs
from quantmatrix_pipeline.warehouse.engine import Warehouse
from quantmatrix_pipeline_tests.pipeline.running import CALENDAR, Chain, Folder, sessions, walk
from quantmatrix_pipeline_tests.pipeline.ticks import Sensor

DAYS = sessions("2021-12-31", 30)
TONIGHT = DAYS[-1]
SYMBOLS = ["AAA", "BBB", "SPY"]


@pytest.fixture
def lacking(chain: Chain, folder: Folder, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch) -> Chain:
    """A night is over; then bars that nobody answered about are lost: two of AAA, four of BBB."""
    folder.write(walk(SYMBOLS, DAYS))
    assert chain.run(TONIGHT).success
    warehouse.execute("DELETE FROM price_data WHERE instrument_id = 1 AND session = ANY (:d)", {"d": DAYS[5:7]})
    warehouse.execute("DELETE FROM price_data WHERE instrument_id = 2 AND session = ANY (:d)", {"d": DAYS[9:13]})
    warehouse.execute("DELETE FROM answered_sessions")
    monkeypatch.setenv("QM_NOW", "2022-01-02T15:00:00Z")
    scan(warehouse, CALENDAR, TONIGHT, depth=30, now=datetime(2022, 1, 2, tzinfo=UTC))
    return chain


def test_the_sensor_queues_what_was_never_fetched_and_its_run_fetches_it(
    lacking: Chain, instance: DagsterInstance, warehouse: Warehouse
) -> None:
    sensor = Sensor(SENSOR, instance)
    (request,) = sensor.tick().runs
    assert request.tags["quantmatrix/queued"] == "2"
    queued = warehouse.rows(
        "SELECT symbol, first_session, last_session, tier, state FROM backfill_queue ORDER BY symbol"
    )
    assert [tuple(row) for row in queued] == [
        ("AAA", DAYS[5], DAYS[6], "T0", "queued"),
        ("BBB", DAYS[9], DAYS[12], "T0", "queued"),
    ]
    done = build_defs().resolve_job_def(WORK_QUEUE).execute_in_process(instance=instance)
    assert done.success
    assert warehouse.scalar("SELECT count(*) FROM price_data") == 3 * 30
    assert warehouse.scalar("SELECT count(*) FROM backfill_jobs WHERE state = 'done'") == 2
    fetched = warehouse.rows("SELECT * FROM backfill_history WHERE origin = 'gaps' ORDER BY symbol")
    assert [(row.symbol, row.start_date, row.end_date, row.records_imported, row.success) for row in fetched] == [
        ("AAA", DAYS[5], DAYS[6], 2, True),
        ("BBB", DAYS[9], DAYS[12], 4, True),
    ]
    (run,) = runs.recent(warehouse, 1, job=WORK_QUEUE)
    assert (run.status, run.counters["work_queue"]["done"], run.counters["work_queue"]["inserted"]) == ("success", 2, 6)
    assert warehouse.scalar("SELECT count(*) FROM missing_bars") == 0
    assert "nothing" in (sensor.tick().skipped or "")


def test_a_stretch_that_somebody_asks_for_is_queued_in_his_tier_and_fetched_by_the_same_run(
    lacking: Chain, instance: DagsterInstance, warehouse: Warehouse
) -> None:
    def press(**stretch: object) -> ExecuteInProcessResult:
        config = {"ops": {"queue_stretch": {"config": stretch}}}
        return build_defs().resolve_job_def(WORK_QUEUE).execute_in_process(instance=instance, run_config=config)

    def contiguous() -> list[date]:
        rows = warehouse.rows("SELECT contiguous_to FROM ingestion_cursor ORDER BY instrument_id")
        return [row.contiguous_to for row in rows]

    wanted = {"symbols": ["AAA"], "first": str(DAYS[2]), "last": str(DAYS[9]), "tier": "T2", "priority": 30}
    dry = press(**wanted, dry_run=True)
    (seen,) = [e for e in dry.all_events if e.event_type_value == "ASSET_OBSERVATION"]
    assert "1 symbols, 2 sessions" in str(seen.event_specific_data.asset_observation.metadata["would_ask"])
    assert warehouse.scalar("SELECT count(*) FROM backfill_jobs") == 0
    assert contiguous()[0] == DAYS[4]

    with warehouse.first_in_line("bars_1d"):  # a chain comes first: what was queued waits
        assert press(**wanted).success
        assert [(d.tier, d.state, d.jobs) for d in queue.depth(warehouse)] == [("T2", "queued", 1)]
    dry = press(dry_run=True)
    (seen,) = [e for e in dry.all_events if e.event_type_value == "ASSET_OBSERVATION"]
    assert "no symbol was named" in str(seen.event_specific_data.asset_observation.metadata["would_ask"])
    assert queue.depth(warehouse)[0].state == "queued", "a dry run fetches nothing, also where it names nobody"
    assert press(**wanted).success, "again: it joins the job that waits"
    job = warehouse.rows("SELECT tier, priority, state, first_session, last_session, inserted FROM backfill_jobs")
    assert [tuple(row) for row in job] == [("T2", 30, "done", DAYS[5], DAYS[6], 2)]
    assert queue.depth(warehouse)[0].state == "done"
    counted = warehouse.rows("SELECT tier, event, jobs FROM backfill_counts ORDER BY event")
    assert [tuple(row) for row in counted] == [("T2", "done", 1), ("T2", "enqueued", 1)]
    assert contiguous()[0] == TONIGHT
    row = warehouse.rows("SELECT * FROM backfill_history WHERE origin = 'request'")
    assert [(r.symbol, r.records_imported, r.success) for r in row] == [("AAA", 2, True)]
    assert runs.recent(warehouse, 1, job=WORK_QUEUE)[0].counters["queue_stretch"]["sessions"] == 2
    assert warehouse.scalar("SELECT count(*) FROM missing_bars") == 1, "that of BBB, for which nobody asked"


def test_one_run_at_a_time_and_none_again_that_did_not_get_on(
    lacking: Chain, instance: DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    sensor = Sensor(SENSOR, instance)
    chain = create_run_for_test(
        instance, job_name="restore_daily_coverage", status=DagsterRunStatus.STARTED, tags=ONE_AT_A_TIME
    )
    assert "a chain is under way" in (sensor.tick().skipped or "")
    instance.delete_run(chain.run_id)
    assert len(sensor.tick().runs) == 1
    assert "cooling down" in (sensor.tick().skipped or "")
    monkeypatch.setenv("QM_NOW", "2022-01-02T17:00:00Z")
    create_run_for_test(instance, job_name=WORK_QUEUE, status=DagsterRunStatus.STARTED)
    assert sensor.tick().skipped == "a run of the queue is under way"


def test_after_a_close_the_chain_comes_first(lacking: Chain, folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.write(walk(SYMBOLS, sessions("2022-01-03", 31)))
    monkeypatch.setenv("QM_NOW", "2022-01-03T21:45:00Z")
    with DagsterInstance.ephemeral() as without_runs:  # the night before ended by the real clock, years after this
        assert "its chain comes first" in (Sensor(SENSOR, without_runs).tick().skipped or "")


def test_the_command_says_what_is_missing_and_queues_it(lacking: Chain, warehouse: Warehouse) -> None:
    cli = CliRunner()
    ask = ["backfill", "--symbols", "bbb,AAA", "--start", "2021-11-01", "--end", "2021-12-31"]
    shown = cli.invoke(app, [*ask, "--dry-run"], catch_exceptions=False)
    before = len(CALENDAR.sessions_in(datetime(2021, 11, 1).date(), DAYS[0])) - 1  # noqa: DTZ001
    assert f"2 symbols lack {2 * before + 6} sessions; nothing was queued" in shown.output
    assert warehouse.scalar("SELECT count(*) FROM backfill_jobs") == 0
    assert "2 jobs queued" in cli.invoke(app, ask, catch_exceptions=False).output
    assert "0 jobs queued, 2 joined" in cli.invoke(app, ask, catch_exceptions=False).output
    assert warehouse.scalar("SELECT min(priority) FROM backfill_jobs") == 10
    assert clock.now().year == 2022


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--symbols", "NOBODY", "--start", "2021-12-01"], "not tracked: NOBODY"),
        (["--symbols", "all", "--start", "2021-12-25", "--end", "2021-12-26"], "no session"),
        (["--symbols", "all", "--start", "2021-12-01", "--interval", "5m"], "only 1d"),
    ],
)
def test_what_cannot_be_queued_is_refused(environment: None, arguments: list[str], said: str) -> None:
    assert said in str(CliRunner().invoke(app, ["backfill", *arguments]).exception)
