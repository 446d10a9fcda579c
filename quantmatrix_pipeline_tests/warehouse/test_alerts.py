"""Incidents and the outbox in a real PostgreSQL, with channels on this machine that refuse, break, hang and die."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial

import psycopg
import pytest

from quantmatrix_pipeline.alerts.channels import PUSHGATEWAY, sender
from quantmatrix_pipeline.alerts.channels.pushgateway import duration
from quantmatrix_pipeline.alerts.deliver import Delivery, deliver
from quantmatrix_pipeline.alerts.events import FailedCheck, Run, Wishes
from quantmatrix_pipeline.alerts.message import Message, Tone
from quantmatrix_pipeline.alerts.routing import Policy
from quantmatrix_pipeline.alerts.tell import Told, tell
from quantmatrix_pipeline.alerts.troubles import judge, stale
from quantmatrix_pipeline.settings import load
from quantmatrix_pipeline.settings.loading import VARIABLES
from quantmatrix_pipeline.warehouse import alert_incidents as incidents
from quantmatrix_pipeline.warehouse import alert_outbox as outbox
from quantmatrix_pipeline.warehouse.embedded import EmbeddedServer
from quantmatrix_pipeline.warehouse.engine import Warehouse
from quantmatrix_pipeline_tests.channel_servers import Answer, Hook, hook, mailbox
from quantmatrix_pipeline_tests.forked import PROCESSES

START = datetime(2027, 1, 4, 22, tzinfo=UTC)
DISCORD_429 = Answer(429, '{"message": "You are being rate limited.", "retry_after": 0.05, "global": false}')


@dataclass
class Installation:
    """A warehouse, settings out of the environment, and a clock that a test moves."""

    warehouse: Warehouse
    now: datetime = START
    numbers: Iterator[int] = field(default_factory=lambda: iter(range(10_000)))

    def later(self, **span: float) -> Installation:
        self.now += timedelta(**span)
        return self

    def run(self, outcome: str = "failure", **facts: object) -> Run:
        body = {"job": "restore_daily_coverage", "what": "session 2027-01-04", "seconds": 5.0} | facts
        return Run(run_id=f"{next(self.numbers):08d}-0", outcome=outcome, **body)  # type: ignore[arg-type]

    def ended(self, *runs: Run) -> Told:
        verdict = judge(runs, incidents.broken(self.warehouse))
        return tell(
            self.warehouse,
            Policy.of(load()),
            self.now,
            groups=verdict.groups,
            well=verdict.well,
            over=verdict.over,
            successes=[run for run in runs if run.outcome == "success"],
        )

    def deliver(self, *, timeout: float = 2.0, budget_seconds: float = 30.0) -> Delivery:
        return deliver(
            self.warehouse,
            partial(sender, load(), timeout=timeout),
            worker="test",
            budget_seconds=budget_seconds,
            now=lambda: self.now,
        )

    def states(self) -> list[str]:
        return [row.state for row in self.warehouse.rows("SELECT state FROM alert_outbox ORDER BY message_id")]


@pytest.fixture
def here(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Installation]:
    for name in {name for names in VARIABLES.values() for name in names} | {"QM_ENV_FILE"}:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("QM_ALERT_COOLDOWN_MINUTES", "60")
    warehouse = Warehouse(database_url)
    yield Installation(warehouse)
    warehouse.close()


@pytest.fixture
def discord(here: Installation, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hook]:
    """The webhook that failures go to."""
    with hook() as server:
        monkeypatch.setenv("DISCORD_WEBHOOK_SYSTEM_STATUS", server.url)
        yield server


# --- one per cause --------------------------------------------------------------------------------------------------


def test_500_symbols_failing_from_one_cause_are_one_message_and_one_recovery_on_each_of_two_channels(
    here: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ExitStack() as servers:
        busy, slack = (servers.enter_context(hook(answers)) for answers in ([DISCORD_429], ()))
        monkeypatch.setenv("DISCORD_WEBHOOK_SYSTEM_STATUS", busy.url)
        monkeypatch.setenv("QM_SLACK_WEBHOOK", slack.url)
        monkeypatch.setenv("QM_ALERT_CHANNELS", "system_status,slack")
        names = [f"S{n:03}" for n in range(500)]
        runs = [here.run(cause=f"fmp: {s}: the key was refused", symbols=(s,)) for s in names]
        for first in range(0, 500, 50):
            here.later(seconds=30).ended(*runs[first : first + 50])
        here.deliver()
        (title,) = busy.titles
        assert busy.sent == 2, "refused once with 429, then taken"
        assert [body["text"] for body in slack.taken] == [title]
        assert title.startswith("FAILED restore_daily_coverage, session 2027-01-04 (and 49 more runs): fmp: S000: the")
        for first in range(0, 500, 50):
            goods = [here.run("success", symbols=(s,)) for s in names[first : first + 50]]
            here.later(seconds=30).ended(*goods)
        here.deliver()
    assert [len(busy.taken), len(slack.taken)] == [2, 2]
    assert busy.titles[1] == slack.taken[1]["text"]
    assert busy.titles[1].startswith("RECOVERED: restore_daily_coverage[S000]")
    facts = {f["name"]: f["value"] for f in busy.taken[1]["embeds"][0]["fields"]}
    assert facts["occurrences"] == "500"
    assert incidents.open_now(here.warehouse) == []


def test_while_a_cause_lasts_it_is_told_once_per_cool_down_with_how_often_it_was_seen(
    here: Installation, discord: Hook
) -> None:
    for _ in range(5):
        here.later(minutes=10).ended(here.run(cause="no disk"))
    here.later(minutes=30).ended(here.run(cause="no disk"))
    here.deliver()
    first, second = discord.taken
    assert first["content"] == second["content"]
    assert {"name": "seen", "value": "6 times", "inline": True} in second["embeds"][0]["fields"]
    here.ended(here.run(cause="no network"))
    here.deliver()
    assert len(discord.taken) == 3, "another cause does not wait for the first one's cool-down"


def test_what_flaps_is_told_once_and_what_comes_back_to_stay_at_the_end_of_the_cool_down(
    here: Installation, discord: Hook
) -> None:
    for _ in range(4):
        here.later(minutes=2).ended(here.run(cause="no disk"))
        here.later(minutes=2).ended(here.run("success"))
        here.deliver()
    assert [t.split()[0] for t in discord.titles] == ["FAILED", "RECOVERED:"]
    here.later(minutes=2).ended(here.run(cause="no disk"))
    here.deliver()
    assert len(discord.taken) == 2
    here.later(minutes=60).deliver()
    here.later(minutes=1).ended(here.run("success"))
    here.deliver()
    assert [t.split()[0] for t in discord.titles[2:]] == ["FAILED", "RECOVERED:"]
    assert here.states().count("withdrawn") == 3


def test_an_incident_is_over_when_all_that_it_broke_works_again(here: Installation, discord: Hook) -> None:
    checks = [FailedCheck(f"daily_bars.{name}", "ERROR", "x") for name in ("one", "two")]
    here.ended(here.run("success", failed=tuple(checks)), here.run(job="restate", cause="no disk"))
    here.ended(here.run(job="refresh_coverage", cause="no disk"))
    here.later(minutes=5).ended(here.run("success", job="restate", passed=("daily_bars.one",)))
    here.deliver()
    assert discord.titles[2:] == ["RECOVERED: daily_bars.one"]
    here.ended(here.run("success", job="refresh_coverage", passed=("daily_bars.two",)))
    here.deliver()
    assert discord.titles[3:] == ["RECOVERED: daily_bars.two, refresh_coverage, restate"]


def test_a_mute_keeps_silent_about_a_cause_and_its_end(here: Installation, discord: Hook) -> None:
    number = incidents.mute(here.warehouse, "check:daily_bars.*", here.now + timedelta(days=1), "known", "me", here.now)
    failed = (FailedCheck("daily_bars.one", "WARN", "x"),)
    assert here.ended(here.run("success", failed=failed)).messages == ()
    assert here.ended(here.run(cause="x", wishes=Wishes(muted=True))).messages == ()
    here.ended(here.run("success", passed=("daily_bars.one",)))
    assert here.ended(here.run(job="restate", cause="y")).queued == 1, "all else is told"
    here.ended(here.run("success", failed=failed))
    assert incidents.unmute(here.warehouse, number, here.now)
    assert not incidents.unmute(here.warehouse, number, here.now)
    assert here.ended(here.run("success", failed=failed)).queued == 1, "once it is lifted, the next occurrence is told"


def test_a_warning_that_becomes_graver_is_told_again_and_recovers_once(here: Installation, discord: Hook) -> None:
    policy = Policy.of(load())
    tell(here.warehouse, policy, here.now, groups=[stale(["daily_bars", "coverage_report"], "WARN")])
    tell(here.warehouse, policy, here.now, groups=[stale(["daily_bars"], "FAIL")], over=["asset:daily_bars:WARN"])
    states = [f"asset:{name}:{state}" for name in ("daily_bars", "coverage_report") for state in ("WARN", "FAIL")]
    tell(here.warehouse, policy, here.now, well=states)
    here.deliver()
    assert [t.split(":")[0] for t in discord.titles] == ["STALE 2 assets", "STALE 1 asset", "RECOVERED"]


def test_the_log_has_each_message_at_the_level_of_what_it_tells(
    here: Installation, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    here.ended(here.run(cause="no disk"))
    tell(here.warehouse, Policy.of(load()), here.now, groups=[stale(["daily_bars"], "WARN")])
    here.ended(here.run("success", wishes=Wishes(on=frozenset({"success"}))))
    said = [(r.levelname, r.message.split()[0]) for r in caplog.records if r.name == "quantmatrix_pipeline.alerts.tell"]
    assert said == [("ERROR", "FAILED"), ("WARNING", "STALE"), ("INFO", "RECOVERED:"), ("INFO", "OK")]
    assert all("\n" not in record.message and "; ;" not in record.message for record in caplog.records)


def test_success_is_told_to_who_wishes_it_where_the_run_says(here: Installation) -> None:
    with hook() as other:
        wishes = Wishes(on=frozenset({"success"}), channels=(f"{other.url}",))
        here.ended(here.run("success", wishes=wishes, counters={"daily_bars inserted": 12}), here.run("success"))
        here.deliver()
    (body,) = other.taken
    assert body["content"] == "OK restore_daily_coverage, session 2027-01-04"
    (address,) = [row.address for row in here.warehouse.rows("SELECT address FROM alert_outbox")]
    assert address == other.url


# --- channels that refuse -------------------------------------------------------------------------------------------


def a_message(here: Installation, *channels: outbox.Channel, title: str = "hello", once: str | None = None) -> None:
    with here.warehouse.begin() as connection:
        message = Message("test", Tone.INFO, title, {"a": "b"}).as_json()
        outbox.queue(connection, channels, message, here.now, once=once, picture=b"\x89PNG\r\n")


def test_a_server_error_is_tried_again_later_and_later_until_it_is_taken_in_order_and_once(
    here: Installation, discord: Hook, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    discord.answers += [Answer(500), Answer(502)]
    a_message(here, ("system_status", None), title="first")
    a_message(here, ("system_status", None), title="second")
    here.deliver()
    a_message(here, ("system_status", None), title="third")
    here.later(seconds=29).deliver()
    assert discord.sent == 1, "the whole channel waits, not only the message"
    here.later(seconds=1).deliver()
    here.later(seconds=59).deliver()
    assert discord.sent == 2
    here.later(seconds=1).deliver()
    assert discord.titles == ["first", "second", "third"]
    here.later(hours=1).deliver()
    assert discord.sent == 5
    assert "answered 500" in caplog.text
    assert "/api/webhooks/1/token" not in caplog.text


def test_a_long_429_pauses_the_channel_for_as_long_as_it_says_and_a_spent_window_until_its_reset(
    here: Installation, discord: Hook
) -> None:
    discord.answers += [
        Answer(429, headers={"Retry-After": "90"}),
        Answer(204, headers={"X-RateLimit-Remaining": "0", "X-RateLimit-Reset-After": "40"}),
    ]
    a_message(here, ("system_status", None), title="first")
    a_message(here, ("system_status", None), title="second")
    here.deliver()
    here.later(seconds=89).deliver()
    assert discord.sent == 1
    here.later(seconds=1).deliver()
    here.later(seconds=39).deliver()
    assert discord.titles == ["first"]
    here.later(seconds=1).deliver()
    assert discord.titles == ["first", "second"]


def test_a_message_that_is_never_taken_is_kept_as_refused_and_holds_up_no_other(
    here: Installation, discord: Hook
) -> None:
    discord.answers.append(Answer(400))
    a_message(here, ("system_status", None), title="wrong")
    a_message(here, ("system_status", None), title="right")
    done = here.deliver()
    assert (done.refused, done.delivered, discord.titles) == (1, 1, ["right"])
    assert here.states() == ["refused", "delivered"]
    assert outbox.again(here.warehouse, here.now) == 1
    here.deliver()
    assert discord.titles == ["right", "wrong"]


def test_a_dead_and_a_hanging_channel_hold_up_nobody_and_nothing_is_lost(
    here: Installation, discord: Hook, monkeypatch: pytest.MonkeyPatch
) -> None:
    with hook([Answer(hangs=True)]) as hanging:
        monkeypatch.setenv("QM_ALERT_WEBHOOK", hanging.url)
        monkeypatch.setenv("QM_SLACK_WEBHOOK", "http://127.0.0.1:9/x")
        a_message(here, ("system_status", None), ("webhook", None), ("slack", None))
        unfinished: set[str] = set()

        def reasons() -> dict[str, str]:
            """Go on until each was tried: on a slow machine the budget may be used up before a thread begins."""
            began = time.monotonic()
            unfinished.update(here.deliver(timeout=1.5, budget_seconds=0.5).unfinished)
            assert time.monotonic() - began < 20, "the budget, and what a slow machine makes of it"
            return {row["channel"]: row["reason"] for row in outbox.overview(here.warehouse)}

        expected = {"slack": "no answer: ConnectError", "webhook": "no answer: ReadTimeout", "system_status": None}
        wait_until(lambda: reasons() == expected and len(discord.taken) == 1)
        assert "webhook" in unfinished
        with hook() as alive:
            monkeypatch.setenv("QM_SLACK_WEBHOOK", alive.url)
            here.later(seconds=30)
            wait_until(lambda: here.deliver().unfinished == [] and here.states() == ["delivered"] * 3)
    assert [len(discord.taken), len(hanging.taken), len(alive.taken)] == [1, 1, 1]


def wait_until(true: Callable[[], bool], seconds: float = 60) -> None:
    ends = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < ends
        time.sleep(0.02)


def test_what_nobody_could_be_told_for_a_week_is_given_up_and_a_channel_that_is_not_set_waits_for_its_setting(
    here: Installation, discord: Hook, monkeypatch: pytest.MonkeyPatch
) -> None:
    a_message(here, ("signals", None))
    here.deliver()
    assert outbox.overview(here.warehouse)[0]["reason"] == "the settings do not say where it is"
    monkeypatch.setenv("DISCORD_WEBHOOK_SIGNALS", discord.url)
    here.later(minutes=1).deliver()
    assert discord.titles == ["hello"]
    monkeypatch.delenv("DISCORD_WEBHOOK_SIGNALS")
    a_message(here, ("signals", None))
    here.later(days=8).deliver()
    assert here.states() == ["delivered", "expired"]


# --- the forms ------------------------------------------------------------------------------------------------------


def test_discord_a_webhook_mail_and_the_pushgateway_each_get_their_form(
    here: Installation, discord: Hook, monkeypatch: pytest.MonkeyPatch
) -> None:
    with hook() as plain, mailbox() as post, hook() as gateway:
        monkeypatch.setenv("QM_ALERT_WEBHOOK", plain.url)
        monkeypatch.setenv("QM_SMTP_URL", post.url)
        monkeypatch.setenv("QM_ALERT_EMAIL_TO", "me@example.com,you@example.com")
        monkeypatch.setenv("QM_PUSHGATEWAY_URL", gateway.url.removesuffix("/api/webhooks/1/token"))
        a_message(here, ("system_status", None), ("webhook", None), ("email", None), once="x")
        a_message(here, ("system_status", None), ("webhook", None), ("email", None), once="x")
        with here.warehouse.begin() as connection:
            run = here.run("success", seconds=12.5, pool="vendors")
            outbox.queue(connection, [(PUSHGATEWAY, None)], duration(run).as_json(), here.now)
        assert here.deliver().delivered == 4
    assert discord.titles == ["hello"]
    assert discord.pictures == [b"\x89PNG\r\n"]
    (body,) = plain.taken
    assert (body["event"], body["title"], body["facts"], body["picture"]) == ("test", "hello", {"a": "b"}, "iVBORw0K")
    assert plain.headers[0]["Idempotency-Key"] == str(body["id"])
    (letter,) = post.letters
    assert (letter["Subject"], letter["To"]) == ("hello", "me@example.com, you@example.com")
    assert post.recipients == ["me@example.com", "you@example.com"]
    assert [part.get_content_type() for part in letter.walk()] == ["multipart/mixed", "text/plain", "image/png"]
    path = "/metrics/job/quantmatrix_pipeline/"
    assert gateway.paths[0].startswith(path)
    labels = gateway.paths[0].removeprefix(path).split("/")
    assert dict(zip(labels[::2], labels[1::2], strict=True)) == {
        "task": "restore_daily_coverage",
        "event": "success",
        "queue": "vendors",
    }
    assert "\nquantmatrix_task_duration_seconds 12.5\n" in gateway.texts[0]


def test_a_letter_that_the_server_refuses_for_good_is_not_written_again_and_a_dead_server_is_asked_again(
    here: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QM_ALERT_EMAIL_TO", "me@example.com")
    with mailbox(refuse_data=554) as post:
        monkeypatch.setenv("QM_SMTP_URL", post.url)
        a_message(here, ("email", None))
        assert here.deliver().refused == 1
    a_message(here, ("email", None))
    assert here.deliver().later == 1
    with mailbox() as post:
        monkeypatch.setenv("QM_SMTP_URL", post.url)
        assert here.later(minutes=1).deliver().delivered == 1
    assert len(post.letters) == 1


# --- several processes ----------------------------------------------------------------------------------------------


def work(url: str, webhook: str, name: str) -> None:
    """Deliver and tell as a process of its own, until told otherwise: what two daemons by mistake do."""
    import os

    os.environ["DISCORD_WEBHOOK_SYSTEM_STATUS"] = webhook
    warehouse = Warehouse(url)
    for number in range(5):
        run = Run(f"{name}-{number}", "restate", "failure", "no session", 1.0, cause="no disk")
        tell(warehouse, Policy.of(load()), START, groups=judge([run]).groups)
        deliver(warehouse, partial(sender, load(), timeout=2.0), worker=name, budget_seconds=10, now=lambda: START)
    warehouse.close()


def test_two_processes_open_one_incident_and_send_each_message_once(here: Installation, discord: Hook) -> None:
    for number in range(20):
        a_message(here, ("system_status", None), title=f"message {number}")
    processes = [PROCESSES.Process(target=work, args=(here.warehouse.url, discord.url, name)) for name in "ab"]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
        assert process.exitcode == 0
    here.deliver()
    assert discord.titles == [f"message {n}" for n in range(20)] + ["FAILED restate, no session: no disk"]
    (incident,) = incidents.open_now(here.warehouse)
    assert incident["occurrences"] == 10


def test_a_turn_that_a_dead_process_held_passes_on_and_a_late_one_cannot_give_back_what_is_not_its_own(
    here: Installation, discord: Hook
) -> None:
    a_message(here, ("system_status", None))
    assert outbox.lease(here.warehouse, "system_status", "dead", here.now, here.now + timedelta(minutes=3))
    here.later(minutes=2).deliver()
    assert discord.sent == 0
    here.later(minutes=2)
    assert outbox.lease(here.warehouse, "system_status", "other", here.now, here.now + timedelta(minutes=3))
    outbox.release(here.warehouse, "system_status", "dead")
    assert outbox.due(here.warehouse, here.now) == []
    outbox.release(here.warehouse, "system_status", "other")
    here.deliver()
    assert discord.sent == 1


def test_readers_see_the_outbox_without_its_addresses(here: Installation, server: EmbeddedServer) -> None:
    name = here.warehouse.scalar("SELECT current_database()")
    with psycopg.connect(server.url(name, "qm_reader")) as connection:
        assert connection.execute("SELECT count(message) FROM alert_outbox").fetchone() == (0,)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("SELECT address FROM alert_outbox")


def test_a_hanging_thread_never_keeps_the_process_from_ending(here: Installation, discord: Hook) -> None:
    discord.answers.append(Answer(hangs=True))
    a_message(here, ("system_status", None))
    here.deliver(timeout=1.0, budget_seconds=0.05)
    (thread,) = [t for t in threading.enumerate() if t.name == "alerts to system_status"]
    assert thread.daemon
    thread.join(10)
