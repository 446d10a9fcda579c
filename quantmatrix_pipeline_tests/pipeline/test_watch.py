"""The watch over Dagster: what it notes of schedules, sensors and the daemon, in a real instance."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from dagster import DagsterInstance
from dagster._core.scheduler.instigation import InstigatorStatus, TickStatus
from dagster._daemon.types import DaemonHeartbeat
from psycopg import OperationalError

from quantmatrix_pipeline.assets.declare import OWNER
from quantmatrix_pipeline.automation.sensors.alerts import DELIVERY
from quantmatrix_pipeline.errors import QuantMatrixError
from quantmatrix_pipeline.health.unattended import WATCH, unattended
from quantmatrix_pipeline.warehouse import vital_signs
from quantmatrix_pipeline.warehouse.engine import Warehouse
from quantmatrix_pipeline_tests.channel_servers import hook
from quantmatrix_pipeline_tests.pipeline.ticks import Sensor, leave_tick, switch_on

FRIDAY = datetime(2021, 12, 31, 22, 30, tzinfo=UTC)  # 17:30 in New York


@pytest.fixture
def instance(on_disk: DagsterInstance) -> DagsterInstance:
    return on_disk


@pytest.mark.usefixtures("environment")
def test_it_notes_the_next_tick_of_each_schedule_and_what_came_of_the_last_and_doctor_reads_it_later(
    instance: DagsterInstance, warehouse: Warehouse
) -> None:
    chain = switch_on(instance, "nightly_chain", "30 17 * * 1-5", FRIDAY - timedelta(days=30))
    leave_tick(instance, chain, FRIDAY)
    switch_on(instance, "weekly_constituents", "0 6 * * 6", FRIDAY)
    queue = switch_on(instance, "backfill_queue", None, FRIDAY)
    leave_tick(instance, queue, FRIDAY, error=OperationalError("gone\nwith the wind"))
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


@pytest.mark.usefixtures("environment")
def test_ticks_that_fail_for_three_minutes_are_told_once_per_cause_and_so_is_that_they_do_no_longer(
    instance: DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = datetime.now(UTC)

    def minutes_later(count: int) -> None:
        nonlocal now
        now += timedelta(minutes=count)
        monkeypatch.setattr("quantmatrix_pipeline.clock.wall", now.timestamp)

    minutes_later(0)
    queue, stale, nightly = (
        switch_on(instance, name, cron, now)
        for name, cron in (("backfill_queue", None), ("backfill_stale_coverage", None), ("nightly_chain", "0 0 * * *"))
    )
    why = "/data/files: permission denied"
    with hook() as server:
        monkeypatch.setenv("DISCORD_WEBHOOK_SIGNALS", server.url)
        monkeypatch.setenv("QM_ALERT_ROUTES", f"{OWNER}=signals")
        watch, delivery = Sensor(WATCH, instance), Sensor(DELIVERY, instance)

        def look() -> list[str]:
            before = len(server.taken)
            watch.tick()
            delivery.tick()
            return server.titles[before:]

        for state in (queue, stale):
            leave_tick(instance, state, now, error=QuantMatrixError(why))
        assert look() == []
        minutes_later(2)
        leave_tick(instance, stale, now)
        leave_tick(instance, queue, now, status=TickStatus.STARTED)
        leave_tick(instance, nightly, now, error=QuantMatrixError(why))
        assert look() == [], "two minutes are no news, and what goes on has not come to anything yet"
        minutes_later(1)
        leave_tick(instance, queue, now, error=QuantMatrixError(why))
        assert look() == [f"TICKS FAIL of backfill_queue: {why}"]
        (embed,) = server.taken[-1]["embeds"]
        assert embed["fields"][-1]["value"] == "docs/operations.md#the-ticks-of-a-schedule-or-sensor-fail"
        assert look() == []
        minutes_later(2)
        leave_tick(instance, stale, now, error=QuantMatrixError(why))
        assert look() == [f"TICKS FAIL of backfill_queue, nightly_chain: {why}"]
        leave_tick(instance, queue, now)
        instance.update_instigator_state(nightly.with_status(InstigatorStatus.STOPPED))
        minutes_later(1)
        assert look() == ["RECOVERED: backfill_queue"], "who switches one off knows"
        minutes_later(60 * 24)
        leave_tick(instance, stale, now)
        assert look() == [], "nobody was told of it"
