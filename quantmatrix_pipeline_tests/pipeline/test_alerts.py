"""Who is told what: one message per failure, with its root cause, over a real webhook."""

from __future__ import annotations

import pytest
from dagster import DagsterInstance

from quantmatrix_pipeline.automation.alerts import CHECKS, FAILURES
from quantmatrix_pipeline.warehouse import coverage as tables
from quantmatrix_pipeline.warehouse.engine import Warehouse
from quantmatrix_pipeline_tests.pipeline.running import Chain, Folder, sessions, walk
from quantmatrix_pipeline_tests.pipeline.ticks import Sensor
from quantmatrix_pipeline_tests.pipeline.webhook import Refusal, webhook

DAYS = sessions("2021-12-31", 30)
TONIGHT = DAYS[-1]
WHY = "source.toml: bars[1].path: 'gone.parquet' matches no"


def break_folder(folder: Folder) -> None:
    folder.write(walk(["SPY"], DAYS))
    declaration = folder.path / "source.toml"
    declaration.write_text(declaration.read_text().replace("bars.parquet", "gone.parquet"))


@pytest.fixture
def on_failure(instance: DagsterInstance, chain: Chain) -> Sensor:
    """The failure sensor after its first look."""
    sensor = Sensor(FAILURES, instance)
    assert sensor.tick().skipped
    return sensor


@pytest.fixture
def on_check(instance: DagsterInstance, chain: Chain) -> Sensor:
    """The failed-check sensor after its first look."""
    sensor = Sensor(CHECKS, instance)
    assert sensor.tick().skipped
    return sensor


def test_a_failed_run_is_told_once_with_its_root_cause_and_the_job_to_press(
    chain: Chain, folder: Folder, on_failure: Sensor, instance: DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_folder(folder)
    failed = chain.run(TONIGHT)
    assert not failed.success
    with webhook() as hook:
        monkeypatch.setenv("QM_DISCORD_WEBHOOK", hook.url)
        on_failure.tick()
        assert on_failure.tick().skipped == "nothing happened since the last look"
        # A retry, or a person, puts a tag on the run later: it has not failed again.
        instance.add_run_tags(failed.run_id, {"dagster/did_retry": "true"})
        on_failure.tick()
    (message,) = hook.messages
    assert message.startswith(f"FAILED restore_daily_coverage for session {TONIGHT}: ")
    assert WHY in message
    assert f"(run {failed.run_id[:8]}; press restore_daily_coverage again" in message


def test_each_of_several_failures_is_told_once_and_a_range_by_its_ends(
    chain: Chain, folder: Folder, on_failure: Sensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_folder(folder)
    with webhook() as hook:
        monkeypatch.setenv("QM_DISCORD_WEBHOOK", hook.url)
        chain.run(TONIGHT)
        chain.run(DAYS[-3], TONIGHT)
        on_failure.tick()
        chain.run(TONIGHT, job="refresh_constituents")
        on_failure.tick()
        on_failure.tick()
    assert [m.split(":")[0] for m in hook.messages] == [
        f"FAILED restore_daily_coverage for session {TONIGHT}",
        f"FAILED restore_daily_coverage for sessions {DAYS[-3]}..{TONIGHT}",
        f"FAILED refresh_constituents for session {TONIGHT}",
    ]


def test_what_failed_before_anybody_listened_is_no_news(
    chain: Chain, folder: Folder, instance: DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_folder(folder)
    chain.run(TONIGHT)
    sensor = Sensor(FAILURES, instance)
    with webhook() as hook:
        monkeypatch.setenv("QM_DISCORD_WEBHOOK", hook.url)
        assert sensor.tick().skipped == "listening from here on"
        sensor.tick()
    assert hook.posted == []


def test_the_message_of_our_own_error_is_told_rather_than_the_librarys_beneath_it(
    chain: Chain, folder: Folder, on_failure: Sensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.path.mkdir()
    (folder.path / "source.toml").write_text("[[bars]\n")
    chain.run(TONIGHT)
    with webhook() as hook:
        monkeypatch.setenv("QM_DISCORD_WEBHOOK", hook.url)
        on_failure.tick()
    (message,) = hook.messages
    assert "source.toml: no valid TOML" in message, "the parser's error alone would not name the file"


def test_a_429_is_obeyed_and_the_message_arrives_once(
    chain: Chain, folder: Folder, on_failure: Sensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_folder(folder)
    chain.run(TONIGHT)
    with webhook([Refusal(429, '{"message": "You are being rate limited.", "retry_after": 0.05}')]) as hook:
        monkeypatch.setenv("QM_DISCORD_WEBHOOK", hook.url)
        on_failure.tick()
        on_failure.tick()
    assert len(hook.posted) == 2
    assert len(hook.messages) == 1


@pytest.mark.parametrize("status", [404, 500])
def test_a_webhook_that_refuses_harms_nothing_and_its_address_is_shown_nowhere(
    chain: Chain,
    folder: Folder,
    on_failure: Sensor,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    status: int,
) -> None:
    break_folder(folder)
    chain.run(TONIGHT)
    with webhook([Refusal(status)]) as hook:
        monkeypatch.setenv("QM_DISCORD_WEBHOOK", hook.url)
        on_failure.tick()
        assert on_failure.tick().skipped
    assert len(hook.posted) == 1, "no storm against a broken webhook"
    assert f"the webhook answered {status}" in caplog.text
    ours = [r.getMessage() for r in caplog.records if r.name.startswith("quantmatrix_pipeline")]
    assert not any("/api/webhooks/1/token" in text for text in ours)


def test_a_dead_webhook_and_none_at_all_harm_nothing(
    chain: Chain, folder: Folder, on_failure: Sensor, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    break_folder(folder)
    chain.run(TONIGHT)
    monkeypatch.setenv("QM_DISCORD_WEBHOOK", "http://127.0.0.1:9/api/webhooks/1/token")
    on_failure.tick()
    assert "the webhook did not take the message: ConnectError" in caplog.text
    monkeypatch.delenv("QM_DISCORD_WEBHOOK")
    chain.run(TONIGHT)
    on_failure.tick()
    assert caplog.text.count(WHY) >= 2, "without a webhook the message stands in the log"


def test_a_failed_check_that_does_not_block_is_told_though_its_run_succeeded(
    chain: Chain, folder: Folder, on_check: Sensor, on_failure: Sensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    bars = walk(["AAA", "SPY"], DAYS)
    folder.write(bars[(bars["symbol"] != "AAA") | ~bars["date"].isin(DAYS[3:5])])
    with webhook() as hook:
        monkeypatch.setenv("QM_DISCORD_WEBHOOK", hook.url)
        assert chain.run(TONIGHT).success
        on_check.tick()
        on_check.tick()
        on_failure.tick()
    (message,) = hook.messages
    assert message.startswith("CHECK WARN daily_bars.no_session_missing_inside_a_life failed: ")
    assert "instruments=1" in message
    assert "sessions=2" in message


def test_a_run_that_a_blocking_check_stopped_is_told_once_by_the_check_with_its_counts(
    chain: Chain,
    folder: Folder,
    warehouse: Warehouse,
    on_check: Sensor,
    on_failure: Sensor,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder.write(walk(["AAA", "SPY"], DAYS))
    chain.run(DAYS[-2])
    on_check.tick()
    warehouse.execute(f"UPDATE price_data SET high = low - 1 WHERE session = '{DAYS[3]}'")
    with webhook() as hook:
        monkeypatch.setenv("QM_DISCORD_WEBHOOK", hook.url)
        stopped = chain.run(TONIGHT)
        assert not stopped.success
        on_check.tick()
        on_failure.tick()
    (message,) = hook.messages
    assert message.startswith("CHECK ERROR daily_bars.bars_obey_the_rules failed: broken=2, e.g. ")
    assert "symbol AAA" in message, "the first of what it found"
    assert message.endswith(f" (run {stopped.run_id[:8]})")


def test_every_tick_leaves_a_heartbeat(
    warehouse: Warehouse,
    chain: Chain,
    folder: Folder,
    on_check: Sensor,
    on_failure: Sensor,
    instance: DagsterInstance,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder.write(walk(["SPY"], DAYS))
    monkeypatch.setenv("QM_NOW", "2022-01-01T00:00:00Z")
    for sensor in (on_check, on_failure, Sensor("backfill_stale_coverage", instance)):
        sensor.tick()
    beats = {name: beat.isoformat() for name, (beat, _) in tables.heartbeats(warehouse).items()}
    assert beats == dict.fromkeys((CHECKS, FAILURES, "backfill_stale_coverage"), "2022-01-01T00:00:00+00:00")
