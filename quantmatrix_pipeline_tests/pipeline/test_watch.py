"""The watch over Dagster: what it notes of schedules, sensors and the daemon, in a real instance."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from dagster import DagsterInstance
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.remote_origin import InProcessCodeLocationOrigin, RemoteInstigatorOrigin, RemoteRepositoryOrigin
from dagster._core.scheduler.instigation import (
    InstigatorState,
    InstigatorStatus,
    ScheduleInstigatorData,
    SensorInstigatorData,
    TickData,
    TickStatus,
)
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._daemon.types import DaemonHeartbeat
from dagster._utils.error import SerializableErrorInfo

from quantmatrix_pipeline.health.unattended import WATCH, unattended
from quantmatrix_pipeline.warehouse import vital_signs
from quantmatrix_pipeline.warehouse.engine import Warehouse
from quantmatrix_pipeline_tests.pipeline.ticks import Sensor

ORIGIN = RemoteRepositoryOrigin(
    InProcessCodeLocationOrigin(LoadableTargetOrigin(), "quantmatrix_pipeline"), "__repository__"
)
FRIDAY = datetime(2021, 12, 31, 22, 30, tzinfo=UTC)  # 17:30 in New York


def switch_on(instance: DagsterInstance, name: str, cron: str | None, since: datetime) -> InstigatorState:
    origin = RemoteInstigatorOrigin(ORIGIN, name)
    state = (
        InstigatorState(origin, InstigatorType.SENSOR, InstigatorStatus.RUNNING, SensorInstigatorData(min_interval=60))
        if cron is None
        else InstigatorState(
            origin, InstigatorType.SCHEDULE, InstigatorStatus.RUNNING, ScheduleInstigatorData(cron, since.timestamp())
        )
    )
    instance.add_instigator_state(state)
    return state


def tick(instance: DagsterInstance, state: InstigatorState, at: datetime, error: str | None = None) -> None:
    instance.create_tick(
        TickData(
            instigator_origin_id=state.instigator_origin_id,
            instigator_name=state.instigator_name,
            instigator_type=state.instigator_type,
            status=TickStatus.FAILURE if error else TickStatus.SUCCESS,
            timestamp=at.timestamp(),
            selector_id=state.selector_id,
            run_ids=[] if error else ["some-run"],
            error=SerializableErrorInfo(error, [], None) if error else None,
        )
    )


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[DagsterInstance]:
    """One that keeps schedules and sensors, which an ephemeral one does not."""
    (tmp_path / "dagster").mkdir()
    with DagsterInstance.local_temp(str(tmp_path / "dagster")) as instance:
        yield instance


@pytest.mark.usefixtures("environment")
def test_it_notes_the_next_tick_of_each_schedule_and_what_came_of_the_last_and_doctor_reads_it_later(
    instance: DagsterInstance, warehouse: Warehouse
) -> None:
    chain = switch_on(instance, "nightly_chain", "30 17 * * 1-5", FRIDAY - timedelta(days=30))
    tick(instance, chain, FRIDAY)
    switch_on(instance, "weekly_constituents", "0 6 * * 6", FRIDAY)
    queue = switch_on(instance, "backfill_queue", None, FRIDAY)
    tick(instance, queue, FRIDAY, error="psycopg.OperationalError: gone\nwith the wind\n")
    switch_on(instance, "of_an_older_release", "* * * * *", FRIDAY)
    instance.add_daemon_heartbeat(DaemonHeartbeat(FRIDAY.timestamp(), "SCHEDULER", "1", []))

    assert Sensor(WATCH, instance).tick().skipped == "2 schedules and 1 sensors are on; failing: backfill_queue"
    _, said = vital_signs.read(warehouse).beats[WATCH]
    monday, saturday = datetime(2022, 1, 3, 22, 30, tzinfo=UTC), datetime(2022, 1, 1, 11, tzinfo=UTC)
    assert said == {
        "daemons": {"SCHEDULER": FRIDAY.timestamp()},
        "due": {"nightly_chain": monday.timestamp(), "weekly_constituents": saturday.timestamp()},
        "sensors": {"backfill_queue": FRIDAY.timestamp()},
        "intervals": {"backfill_queue": 60},
        "failing": {"backfill_queue": "psycopg.OperationalError: gone with the wind"},
    }

    # Nobody has been there for a week.
    week_later = FRIDAY + timedelta(days=7)
    found = unattended({WATCH: (FRIDAY, said)}, week_later, week_later.timestamp())
    assert [finding.what for finding in found] == ["daemon", "schedules"]
    assert "nightly_chain should have ticked at 2022-01-03 22:30:00Z" in found[1].detail
