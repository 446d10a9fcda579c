"""A tick has so long for the warehouse: a database that is slow ends it with the budget's name, and loses nothing."""

from __future__ import annotations

import time
from datetime import UTC, date, datetime, timedelta

import pytest
from dagster import DagsterInstance, DagsterRunStatus, build_sensor_context
from dagster._core.test_utils import create_run_for_test

from quantmatrix_pipeline.alerts import troubles
from quantmatrix_pipeline.automation.runs import attempts
from quantmatrix_pipeline.automation.runs import ended as ended_runs
from quantmatrix_pipeline.automation.sensors import alerts as alerting
from quantmatrix_pipeline.automation.sensors.alerts import RUNS
from quantmatrix_pipeline.automation.sensors.watch import look
from quantmatrix_pipeline.bars.sessions import TradingCalendar
from quantmatrix_pipeline.coverage.attempts import STALE
from quantmatrix_pipeline.coverage.report import coverage_as_of
from quantmatrix_pipeline.coverage.state import CoverageReport
from quantmatrix_pipeline.dagster_client.session_tags import PARTITION
from quantmatrix_pipeline.definitions import build_defs
from quantmatrix_pipeline.errors import TimeBudgetExceeded
from quantmatrix_pipeline.resources import platform
from quantmatrix_pipeline.warehouse.engine import Warehouse
from quantmatrix_pipeline_tests.pipeline.running import Chain, Folder, sessions, walk
from quantmatrix_pipeline_tests.pipeline.ticks import Sensor, leave_tick, switch_on

DAYS = sessions("2021-12-31", 30)
TONIGHT = DAYS[-1]
SLOW = """
    CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep({seconds}); RETURN NEW; END';
    CREATE TRIGGER slow BEFORE INSERT OR UPDATE ON {table} FOR EACH ROW EXECUTE FUNCTION slow();
"""


@pytest.fixture
def instance(on_disk: DagsterInstance) -> DagsterInstance:
    return on_disk


def test_whatever_a_sensor_waits_for_its_tick_ends_and_says_why_and_the_next_one_goes_on(
    chain: Chain,
    folder: Folder,
    instance: DagsterInstance,
    warehouse: Warehouse,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bars = walk(["AAA", "SPY"], DAYS)
    folder.write(bars[(bars["symbol"] != "AAA") | (bars["date"] != TONIGHT)])
    monkeypatch.setenv("QM_NOW", "2021-12-31T22:30:00Z")
    definitions = build_defs()
    with monkeypatch.context() as short:
        short.setattr(platform, "TICK_SECONDS", 0.2)
        warehouse.execute(SLOW.format(seconds=0.5, table="coverage_snapshots"))
        assert chain.run(TONIGHT).success, "a run has all the time it needs"
        warehouse.execute("DROP FUNCTION slow CASCADE")

        warehouse.execute(SLOW.format(seconds=60, table="heartbeats"))
        raised: dict[str, TimeBudgetExceeded] = {}
        for sensor in definitions.sensors or ():
            began = time.monotonic()
            with (
                build_sensor_context(
                    instance=instance,
                    repository_def=definitions.get_repository_def(),
                    sensor_name=sensor.name,
                    resources={"platform": platform.Platform()},
                ) as context,
                pytest.raises(TimeBudgetExceeded, match=r"the time budget of 0\.2 s is used up") as caught,
            ):
                definitions.resolve_sensor_def(sensor.name).evaluate_tick(context)
            assert time.monotonic() - began < 30, sensor.name
            raised[sensor.name] = caught.value
        for name, error in raised.items():
            leave_tick(instance, switch_on(instance, name, None, datetime.now(UTC)), datetime.now(UTC), error=error)
        why = look(instance, definitions.get_repository_def())["failing"]
        assert why == {name: str(error) for name, error in raised.items()}
        assert len(troubles.failing(why)) == 1, "one message, however many sensors wait for the database"

        warehouse.execute("ALTER TABLE heartbeats DISABLE TRIGGER slow")
        stale = Sensor(STALE, instance)
        assert len(stale.tick().runs) == 1
        warehouse.execute("ALTER TABLE heartbeats ENABLE TRIGGER slow")
        kept = stale.cursor
        with pytest.raises(TimeBudgetExceeded):
            stale.tick()
        warehouse.execute("DROP TRIGGER slow ON heartbeats")
        assert stale.cursor == kept
    assert "a backfill for exactly these was launched already" in str(stale.tick().skipped)


@pytest.mark.usefixtures("environment")
def test_runs_that_one_look_has_no_time_for_are_read_by_the_next_ones_each_once(
    instance: DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    alerts = Sensor(RUNS, instance)
    assert alerts.tick().skipped == "listening from here on"
    for _ in range(3):
        instance.report_run_canceled(
            create_run_for_test(instance, job_name="restate", status=DagsterRunStatus.CANCELING)
        )
    with monkeypatch.context() as slow:
        slow.setattr(ended_runs, "READING_SECONDS", 0.0)
        read = [str(alerts.tick().skipped).partition(" ")[0] for _ in range(2)]
    assert [*read, *(str(alerts.tick().skipped).partition(" ")[0] for _ in range(2))] == ["1", "1", "1", "0"]


def leave_failed(instance: DagsterInstance, **tags: str) -> None:
    run = create_run_for_test(instance, job_name="restate", status=DagsterRunStatus.STARTED, tags=tags)
    instance.report_run_failed(run, "no disk")


@pytest.mark.usefixtures("environment")
def test_runs_that_are_held_back_take_turns_where_a_look_has_no_time_for_all(
    instance: DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    alerts = Sensor(RUNS, instance)
    alerts.tick()
    for pause in ("3600", "0", "0"):  # of the first it is known for an hour that it is launched again
        leave_failed(instance, **{"qm/retries": "1", "qm/backoff_s": pause})
    assert str(alerts.tick().skipped).startswith("3 runs ended")
    monkeypatch.setattr(attempts, "PATIENCE", timedelta(0))
    monkeypatch.setattr(ended_runs, "READING_SECONDS", 0.0)
    assert [str(alerts.tick().skipped).partition(" ")[0] for _ in range(5)] == ["0", "1", "1", "0", "0"]


@pytest.mark.usefixtures("environment")
def test_the_coverage_is_looked_at_once_for_all_runs_of_a_session_that_failed(
    instance: DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked_at = []

    def coverage(warehouse: Warehouse, calendar: TradingCalendar, session: date, *, target: float) -> CoverageReport:
        looked_at.append(session)
        return coverage_as_of(warehouse, calendar, session, target=target)

    monkeypatch.setattr(alerting, "coverage_as_of", coverage)
    alerts = Sensor(RUNS, instance)
    alerts.tick()
    for session in (TONIGHT, DAYS[-2], TONIGHT):
        leave_failed(instance, **{PARTITION: str(session)})
    assert str(alerts.tick().skipped).startswith("3 runs ended")
    assert looked_at == [TONIGHT, DAYS[-2]]
