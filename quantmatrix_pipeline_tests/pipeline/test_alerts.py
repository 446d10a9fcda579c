"""Who is told what: real runs on a real instance, the sensors' ticks, and a real webhook."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
import yaml
from dagster import (
    AssetKey,
    DagsterEvent,
    DagsterEventType,
    DagsterExecutionInterruptedError,
    DagsterInstance,
    DagsterRun,
    DagsterRunStatus,
    RunRecord,
    job,
    op,
)
from dagster._core.definitions.freshness import FreshnessState, FreshnessStateChange
from dagster._core.events import JobFailureData, RunFailureReason
from dagster._core.execution.plan.objects import ErrorSource, StepFailureData
from dagster._daemon.auto_run_reexecution.auto_run_reexecution import filter_runs_to_should_retry
from dagster._daemon.monitoring.run_monitoring import check_run_timeout
from dagster._utils.error import SerializableErrorInfo, serializable_error_info_from_exc_info

from quantmatrix_pipeline.alerts.events import Wishes
from quantmatrix_pipeline.automation.runs import attempts
from quantmatrix_pipeline.automation.runs.events import EndedCursor
from quantmatrix_pipeline.automation.runs.reports import wishes
from quantmatrix_pipeline.automation.sensors.alerts import DELIVERY, FRESHNESS, RUNS
from quantmatrix_pipeline.definitions import build_defs
from quantmatrix_pipeline.warehouse import coverage as tables
from quantmatrix_pipeline.warehouse.engine import Warehouse
from quantmatrix_pipeline_tests.channel_servers import Answer, Hook, hook
from quantmatrix_pipeline_tests.pipeline.running import Chain, Folder, sessions, walk
from quantmatrix_pipeline_tests.pipeline.ticks import Sensor

DAYS = sessions("2021-12-31", 30)
TONIGHT = DAYS[-1]
ROOT = Path(__file__).parents[2]
WHY = "source.toml: bars[1].path: 'gone.parquet' matches no"


@dataclass
class Alerts:
    """The sensors over their ticks, and what reached the webhook."""

    runs: Sensor
    delivery: Sensor
    hook: Hook

    def tick(self) -> list[str]:
        """Let both tick once; return the titles that came."""
        before = len(self.hook.taken)
        self.runs.tick()
        self.delivery.tick()
        return self.hook.titles[before:]

    def facts(self, number: int = -1) -> dict[str, str]:
        (embed,) = self.hook.taken[number]["embeds"]
        return {field["name"]: field["value"] for field in embed["fields"]}


@pytest.fixture
def alerts(instance: DagsterInstance, chain: Chain, monkeypatch: pytest.MonkeyPatch) -> Iterator[Alerts]:
    """The sensors after their first look, and a webhook that failures go to."""
    with hook() as server:
        monkeypatch.setenv("QM_DISCORD_WEBHOOK", server.url)
        found = Alerts(Sensor(RUNS, instance), Sensor(DELIVERY, instance), server)
        assert found.tick() == []
        yield found


def broken(folder: Folder) -> None:
    folder.write(walk(["SPY"], DAYS))
    declaration = folder.path / "source.toml"
    declaration.write_text(declaration.read_text().replace("bars.parquet", "gone.parquet"))


def test_a_failed_run_is_told_once_with_all_that_an_operator_asks_first_and_so_is_its_recovery(
    chain: Chain, folder: Folder, alerts: Alerts, instance: DagsterInstance, warehouse: Warehouse
) -> None:
    broken(folder)
    failed = chain.run(TONIGHT)
    assert not failed.success
    (title,) = alerts.tick()
    assert title.startswith(f"FAILED restore_daily_coverage, session {TONIGHT}: ")
    assert WHY in title
    facts = alerts.facts()
    kept = [name for name in facts if name != "symbols"]
    assert kept == ["for", "job", "run", "duration", "pool", "cause", "press", "what to do"], "in their order"
    assert facts["run"] == failed.run_id
    assert facts["what to do"] == "docs/operations.md#a-setting-or-a-file-is-wrong"
    assert alerts.hook.taken[0]["embeds"][0]["url"] == f"http://127.0.0.1:3000/runs/{failed.run_id}"
    assert alerts.tick() == []
    chain.run(DAYS[-3], TONIGHT)
    assert alerts.tick() == [], "one cause, and its cool-down lasts"
    folder.write(walk(["SPY"], DAYS))
    assert chain.run(TONIGHT).success
    assert alerts.tick() == ["RECOVERED: restore_daily_coverage"]
    assert alerts.facts()["occurrences"] == "2"
    beats = tables.heartbeats(warehouse)
    assert {RUNS, DELIVERY} <= set(beats)


def test_500_symbols_without_tonights_bar_are_one_message_and_one_recovery_on_two_channels_one_of_which_is_busy(
    chain: Chain, folder: Folder, alerts: Alerts, monkeypatch: pytest.MonkeyPatch
) -> None:
    symbols = [f"S{n:03}" for n in range(500)]
    days = DAYS[-4:]
    bars = walk([*symbols, "SPY"], days)
    folder.write(bars)
    chain.run(days[-3])
    alerts.tick()
    assert alerts.hook.taken == []
    folder.write(bars[(bars["symbol"] == "SPY") | (bars["date"] <= days[-3])])
    alerts.hook.answers.append(Answer(429, '{"message": "You are being rate limited.", "retry_after": 0.05}'))
    with hook() as other:
        monkeypatch.setenv("QM_ALERT_CHANNELS", f"system_status, slack+{other.url}")
        assert chain.run(TONIGHT).success, "checks that do not block leave the run a success"
        (title,) = alerts.tick()
        assert title.startswith(
            f"CHECK ERROR coverage_report.coverage_at_target failed (and 1 more check), session {TONIGHT}"
        )
        assert alerts.facts()["symbols"].startswith("500 of 501 without the session's bar, e.g. S000, S001")
        folder.write(bars)
        assert chain.run(TONIGHT).success
        (recovery,) = alerts.tick()
    assert recovery.startswith("RECOVERED: coverage_report.coverage_at_target, coverage_report.nothing_over_48h")
    assert [body["text"] for body in other.taken] == [title, recovery]
    assert alerts.hook.sent == 3


def test_what_failed_before_anybody_listened_is_no_news_and_our_own_errors_message_is_the_cause(
    chain: Chain, folder: Folder, instance: DagsterInstance, alerts: Alerts
) -> None:
    folder.path.mkdir()
    (folder.path / "source.toml").write_text("[[bars]\n")
    chain.run(TONIGHT)
    late = Sensor(RUNS, instance)
    assert late.tick().skipped == "listening from here on"
    assert late.tick().skipped == "0 runs ended since the last look, 0 take long"
    (title,) = alerts.tick()
    assert "source.toml: no valid TOML" in title, "the parser's error alone would not name the file"


def test_a_run_that_a_blocking_check_stopped_is_told_once_by_the_check_with_its_counts(
    chain: Chain, folder: Folder, warehouse: Warehouse, alerts: Alerts
) -> None:
    folder.write(walk(["AAA", "SPY"], DAYS))
    chain.run(DAYS[-2])
    warehouse.execute(f"UPDATE price_data SET high = low - 1 WHERE session = '{DAYS[3]}'")
    assert not chain.run(TONIGHT).success
    (title,) = alerts.tick()
    start = f"CHECK ERROR daily_bars.bars_obey_the_rules failed, session {TONIGHT}: broken=2, e.g. "
    assert title.startswith(start)
    assert "symbol AAA" in title, "the first of what it found"


def test_tags_of_a_run_mute_it_send_it_elsewhere_and_ask_to_hear_of_success_and_owners_have_channels_of_their_own(
    chain: Chain, folder: Folder, alerts: Alerts, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken(folder)
    with hook() as playground, hook() as team:
        monkeypatch.setenv("DISCORD_WEBHOOK_PLAYGROUND", playground.url)
        monkeypatch.setenv("QM_ALERT_ROUTES", f"team:market-data={team.url}")
        monkeypatch.setenv("QM_ALERT_COOLDOWN_MINUTES", "0")
        chain.run(TONIGHT, tags={"qm/mute": "true"})
        alerts.tick()
        chain.run(TONIGHT, tags={"qm/channels": "playground"})
        alerts.tick()
        chain.run(TONIGHT)
        alerts.tick()
        folder.write(walk(["SPY"], DAYS))
        chain.run(TONIGHT, tags={"qm/alert_on": "failure|success", "qm/channels": "playground"})
        alerts.tick()
    assert alerts.hook.taken == []
    kinds = [title.split()[0] for title in playground.titles]
    assert kinds == ["FAILED", "RECOVERED:", "OK"]
    assert [title.split()[0] for title in team.titles] == ["FAILED", "RECOVERED:"]


def test_tags_say_what_is_told_and_pushed_and_one_that_cannot_be_read_counts_as_absent() -> None:
    assert wishes({}) == Wishes()
    read = wishes(
        {"qm/alert_on": "nothing", "qm/channels": "slack,email", "qm/slow_after_s": "90", "qm/pushgateway": "false"}
    )
    assert (read.on, read.channels) == ({"nothing"}, ("slack", "email"))
    assert (read.slow_after_s, read.pushed, read.muted) == (90.0, False, False)
    assert wishes({"qm/channels": "sistem_status", "qm/slow_after_s": "soon", "qm/mute": "no"}) == Wishes()
    some = wishes({"qm/channels": "sistem_status, Slack https://hook.example/x"})
    assert some.channels == ("slack",), "one that is wrong takes no other with it, and an address is none for a tag"


# --- the digest ------------------------------------------------------------------------------------------------------


def test_the_digest_of_tonight_is_started_by_its_chain_and_comes_once_with_one_picture(
    chain: Chain, folder: Folder, alerts: Alerts, instance: DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    bars = walk(["AAA", "BBB", "SPY"], DAYS)
    moved = bars["symbol"].eq("AAA") & bars["date"].isin(DAYS[-19:])
    # Nine closes in a row above the fourth before: after ten that fall, each of nine that rise is one.
    close = 100 * np.cumprod([0.99] * 10 + [1.05] * 9)
    for column, ratio in {"open": 1.0, "high": 1.01, "low": 0.99, "close": 1.0}.items():
        bars.loc[moved, column] = np.round(close * ratio, 2)
    folder.write(bars)
    monkeypatch.setenv("QM_NOW", f"{TONIGHT}T23:00:00Z")
    chain.run(DAYS[-2])
    with hook() as brew:
        monkeypatch.setenv("DISCORD_WEBHOOK_MORNING_BREW", brew.url)
        monkeypatch.setenv("QM_DIGEST_CHANNELS", "morning_brew")
        assert alerts.runs.tick().runs == [], "an older session's is no news"
        chain.run(TONIGHT)
        (request,) = alerts.runs.tick().runs
        assert request.run_key == f"digest-{TONIGHT}"
        job = build_defs().resolve_job_def("send_digest")
        for _ in range(2):
            assert job.execute_in_process(instance=instance, run_config=request.run_config).success
        alerts.delivery.tick()
    (body,) = brew.taken
    assert body["content"].startswith(f"Digest of {TONIGHT} ok: 3 of 3 instruments fresh")
    facts = {field["name"]: field["value"] for field in body["embeds"][0]["fields"]}
    assert facts["up"].startswith("AAA +5.0 %")
    assert facts["TD sell 9"] == "AAA"
    assert facts["breadth"].endswith(" new highs, 0 new lows")
    (picture,) = brew.pictures
    assert picture.startswith(b"\x89PNG")


# --- slow, timed out, stale -----------------------------------------------------------------------------------------


@job
def long_one() -> None:
    @op
    def wait() -> None: ...

    wait()


class Begun:
    """A run that began some seconds ago, without a process behind it: a test reports what one would."""

    def __init__(self, instance: DagsterInstance, since: float = 5.0, **tags: str) -> None:
        self._instance = instance
        self.run_id = instance.create_run_for_job(long_one, tags=tags).run_id
        self.report(DagsterEventType.RUN_START, at=time.time() - since)
        assert self.run.status is DagsterRunStatus.STARTED

    @property
    def run(self) -> DagsterRun:
        return self.record.dagster_run

    @property
    def record(self) -> RunRecord:
        found = self._instance.get_run_record_by_id(self.run_id)
        assert found is not None
        return found

    def report(self, kind: DagsterEventType, message: str = "", *, at: float | None = None, **more: object) -> None:
        event = DagsterEvent(kind.value, "long_one", message=message, **more)  # type: ignore[arg-type]
        self._instance.report_dagster_event(event, self.run_id, timestamp=at or time.time())

    def fail(self, cause: str) -> str:
        """End as a run ends whose step raised an error; return the run's id."""
        error = SerializableErrorInfo(f"{cause}\n", [], "OSError")
        self.report(DagsterEventType.STEP_FAILURE, step_key="wait", event_specific_data=StepFailureData(error, None))
        data = JobFailureData(error=None, failure_reason=RunFailureReason.STEP_FAILURE)
        self.report(DagsterEventType.RUN_FAILURE, "Steps failed", event_specific_data=data)
        return self.run_id

    def crash(self) -> None:
        """End as the run monitoring ends a run whose process is gone."""
        self._instance.report_run_failed(self.run, "Detected run worker status UNKNOWN. Marking run as failed.")

    def interrupted(self, last_word: DagsterEventType | None) -> bool:
        """Do what a run's process does when it is told to end, and whatever launched it."""
        self._instance.report_run_canceling(self.run)
        try:
            raise DagsterExecutionInterruptedError
        except DagsterExecutionInterruptedError:
            error = serializable_error_info_from_exc_info(sys.exc_info())
        data = StepFailureData(error, None, error_source=ErrorSource.INTERRUPT)
        self.report(DagsterEventType.STEP_FAILURE, step_key="wait", event_specific_data=data)
        if last_word is not None:
            self.report(last_word, "Execution was interrupted")
        return True


@pytest.fixture
def stored(environment: None, tmp_path: Path) -> Iterator[DagsterInstance]:
    """An instance with the product's storage and its settings of retries."""
    settings = yaml.safe_load((ROOT / "dagster.yaml").read_text())
    with DagsterInstance.local_temp(
        str(tmp_path), overrides={name: settings[name] for name in ("storage", "run_retries", "run_monitoring")}
    ) as instance:
        yield instance


def test_a_run_that_hangs_is_ended_at_its_timeout_told_once_and_not_taken_for_one_that_crashed(
    stored: DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QM_ALERT_COOLDOWN_MINUTES", "0")  # so that a second telling would be seen
    with hook() as server:
        monkeypatch.setenv("QM_DISCORD_WEBHOOK", server.url)
        alerts = Alerts(Sensor(RUNS, stored), Sensor(DELIVERY, stored), server)
        assert alerts.tick() == []
        # Who has the last word: the monitoring, the run's own process before it, or that process after it.
        for last_word, status in ((None, "FAILURE"), (DagsterEventType.RUN_CANCELED, "FAILURE")):
            hung = Begun(stored, since=90, **{"dagster/max_runtime": "60"})
            monkeypatch.setattr(stored.run_launcher, "terminate", lambda run_id, h=hung, w=last_word: h.interrupted(w))
            check_run_timeout(stored, hung.record, logging.getLogger(), 14400.0)
            assert (hung.run.status.value, hung.run.tags["dagster/will_retry"]) == (status, "false")
            assert list(filter_runs_to_should_retry([hung.run], stored)) == []
            (title,) = alerts.tick()
            assert title == "ENDED AT ITS TIMEOUT long_one, no session: Exceeded maximum runtime of 60 seconds."
            assert alerts.facts()["what to do"] == "docs/operations.md#a-run-was-ended-at-its-timeout"
            hung.report(DagsterEventType.RUN_CANCELED, "Execution was interrupted")
            assert hung.run.status is DagsterRunStatus.CANCELED
            assert alerts.tick() == [], "told already"
        # The process alone had a word, and nobody could be asked to end it.
        hung = Begun(stored, since=90, **{"dagster/max_runtime": "60"})
        monkeypatch.setattr(
            stored.run_launcher, "terminate", lambda run_id: not hung.interrupted(DagsterEventType.RUN_CANCELED)
        )
        check_run_timeout(stored, hung.record, logging.getLogger(), 14400.0)
        assert hung.run.status is DagsterRunStatus.CANCELED
        assert [title.split(":")[0] for title in alerts.tick()] == ["ENDED AT ITS TIMEOUT long_one, no session"]
        # Whose process is gone is retried still, and speaks through the run that comes after it.
        crashed = Begun(stored)
        crashed.crash()
        assert crashed.run.tags["dagster/will_retry"] == "true"
        assert alerts.tick() == []
        canceled = Begun(stored)
        stored.report_run_canceling(canceled.run)
        stored.report_run_canceled(canceled.run)
        assert alerts.tick() == [], "whoever ended it knows"


def test_a_run_that_is_tried_again_is_told_by_its_last_attempt_and_its_recovery_once(
    instance: DagsterInstance, alerts: Alerts
) -> None:
    def attempt(number: int, of: str = "") -> Begun:
        tags = {"qm/retries": "2", "qm/backoff_s": "60", "qm/attempt": str(number), "qm/retry_of": of}
        return Begun(instance, **{tag: value for tag, value in tags.items() if value})

    first = attempt(0).fail("no answer")
    assert alerts.tick() == []
    second = attempt(1, first).fail("no route")
    assert alerts.tick() == []
    third = attempt(2, second).fail("no answer")
    assert alerts.tick() == ["FAILED long_one, no session: no answer"]
    assert alerts.facts().get("seen") is None
    Begun(instance).report(DagsterEventType.RUN_SUCCESS)
    assert alerts.tick() == ["RECOVERED: long_one"]
    # One that does well at last is no news at all.
    first = attempt(0).fail("no answer")
    assert alerts.tick() == []
    attempt(1, first).report(DagsterEventType.RUN_SUCCESS)
    assert alerts.tick() == []
    assert third != first


def test_a_failure_is_told_after_all_where_the_further_attempt_does_not_come(
    instance: DagsterInstance, alerts: Alerts, monkeypatch: pytest.MonkeyPatch
) -> None:
    def late(minutes: int) -> None:
        monkeypatch.setattr(attempts, "PATIENCE", timedelta(minutes=minutes))

    Begun(instance, **{"qm/retries": "1", "qm/backoff_s": "0"}).fail("no disk")
    Begun(instance).report(DagsterEventType.RUN_SUCCESS)
    assert alerts.tick() == []
    late(0)
    assert alerts.tick() == [], "the job did well since"
    late(15)
    left, other = (Begun(instance, **{"qm/retries": "1", "qm/symbols": symbol}) for symbol in "AB")
    crashed = Begun(instance)
    for run in (left, other):
        run.fail("no disk")
    crashed.crash()
    instance.add_run_tags(crashed.run_id, {"dagster/will_retry": "true"})
    assert alerts.tick() == []
    instance.add_run_tags(crashed.run_id, {"dagster/auto_retry_run_id": "some-run"})
    late(0)
    assert alerts.tick() == ["FAILED long_one, no session (and 1 more runs): no disk"]
    assert alerts.tick() == []


def test_a_run_that_takes_long_is_told_once_and_so_is_that_dagster_ended_it(
    instance: DagsterInstance, alerts: Alerts
) -> None:
    # Without a word about slowness half of its timeout counts; Dagster's own mind to retry it is of no account.
    hung = Begun(instance, since=90, **{"dagster/max_runtime": "120", "dagster/will_retry": "true"})
    (title,) = alerts.tick()
    assert title.startswith("SLOW long_one, no session: still running after 9")
    assert title.endswith("expected to take 60 s at most")
    assert alerts.tick() == []
    said = "Exceeded maximum runtime of 120 seconds."
    hung.report(DagsterEventType.RUN_FAILURE, said, event_specific_data=JobFailureData(None, None))
    assert alerts.tick() == [f"ENDED AT ITS TIMEOUT long_one, no session: {said}"]
    assert alerts.tick() == []


def test_a_slow_run_that_ends_well_is_told_to_its_owner_and_so_is_that_it_ended(
    instance: DagsterInstance, alerts: Alerts, monkeypatch: pytest.MonkeyPatch
) -> None:
    with hook() as team:
        monkeypatch.setenv("QM_ALERT_ROUTES", f"team:market-data={team.url}")
        slow = Begun(instance, since=90, **{"qm/slow_after_s": "60"})
        alerts.tick()
        slow.report(DagsterEventType.RUN_SUCCESS)
        alerts.tick()
    assert [title.split()[0] for title in team.titles] == ["SLOW", "ended:"]
    assert alerts.hook.taken == []


def test_each_ended_runs_duration_is_pushed_once_by_how_it_ended_unless_its_tag_forbids_it(
    instance: DagsterInstance, alerts: Alerts, monkeypatch: pytest.MonkeyPatch
) -> None:
    with hook() as gateway:
        monkeypatch.setenv("QM_PUSHGATEWAY_URL", gateway.url.removesuffix("/api/webhooks/1/token"))
        Begun(instance).report(DagsterEventType.RUN_SUCCESS)
        Begun(instance, since=90, **{"dagster/max_runtime": "120"}).report(DagsterEventType.RUN_SUCCESS)
        Begun(instance, **{"qm/pool": "vendors"}).fail("no disk")
        Begun(instance, **{"qm/pushgateway": "false"}).report(DagsterEventType.RUN_SUCCESS)
        Begun(instance, **{"qm/retries": "1", "qm/pool": "again"}).fail("no disk")
        for _ in range(2):
            alerts.tick()
            monkeypatch.setattr(attempts, "PATIENCE", timedelta(0))
    labels = [dict(zip(path.split("/")[4::2], path.split("/")[5::2], strict=True)) for path in gateway.paths]
    assert [(each["event"], each["queue"]) for each in labels] == [
        ("success", "default"),
        ("slow", "default"),
        ("failure", "vendors"),
        ("failure", "again"),
    ]
    assert {each["task"] for each in labels} == {"long_one"}


def test_assets_that_grow_stale_together_are_one_message_to_their_owner_and_fresh_again_another(
    instance: DagsterInstance, alerts: Alerts, monkeypatch: pytest.MonkeyPatch
) -> None:
    def turn(state: FreshnessState, before: FreshnessState) -> None:
        for name in ("daily_bars", "coverage_report"):
            instance._report_runless_asset_event(
                FreshnessStateChange(
                    key=AssetKey(name), new_state=state, previous_state=before, state_change_timestamp=time.time()
                )
            )

    sensor = Sensor(FRESHNESS, instance)
    sensor.tick()
    with hook() as team:
        monkeypatch.setenv("QM_ALERT_ROUTES", f"team:market-data={team.url}")
        turn(FreshnessState.WARN, FreshnessState.PASS)
        sensor.tick()
        alerts.tick()
        turn(FreshnessState.PASS, FreshnessState.WARN)
        sensor.tick()
        alerts.tick()
    assert team.titles == [
        "STALE 2 assets: not materialized within the warning window of its freshness policy",
        "RECOVERED: coverage_report, daily_bars",
    ]
    assert alerts.hook.taken == []


def test_an_event_that_appears_after_a_later_one_is_not_missed_and_none_is_taken_twice() -> None:
    cursor = EndedCursor(10, {12: 1000.0, 13: 1030.0})
    cursor.settle(1065.0)
    assert (cursor.after, set(cursor.handled)) == (12, {13}), "13 may still be overtaken"
    assert EndedCursor.parse(str(cursor)) == cursor
    many = EndedCursor(0, dict.fromkeys(range(1, 700), 2000.0))
    many.settle(2000.0)
    assert len(many.handled) == 500


def test_a_run_that_ends_twice_is_news_once_unless_it_ended_otherwise() -> None:
    cursor = EndedCursor(10)
    assert cursor.is_news("a", "failure", 1000.0)
    cursor = EndedCursor.parse(str(cursor)) or EndedCursor(0)
    assert not cursor.is_news("a", "failure", 1060.0)
    assert cursor.is_news("a", "success", 1061.0), "its process was only cut off"
    cursor.settle(1061.0 + 900)
    assert not cursor.is_news("a", "success", 1961.0)
    cursor.settle(1961.0 + 901)
    assert cursor.told == {}
    of_an_older_release = EndedCursor.parse('{"after": 12, "handled": {}}')
    assert of_an_older_release == EndedCursor(12)
