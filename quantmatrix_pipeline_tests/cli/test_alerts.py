"""`qm alerts` as an operator has it: what is wrong, silence, trials, what waits, the digest."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

from quantmatrix_pipeline.alerts.message import Message, Tone
from quantmatrix_pipeline.warehouse import alert_incidents as incidents
from quantmatrix_pipeline.warehouse import alert_outbox as outbox
from quantmatrix_pipeline.warehouse.engine import Warehouse
from quantmatrix_pipeline_tests.channel_servers import Answer, hook
from quantmatrix_pipeline_tests.cli.conftest import Installation


def test_incidents_mutes_and_what_waits_are_listed_and_put_in_order(migrated: Installation) -> None:
    warehouse = Warehouse(migrated.url)
    now = datetime.now(UTC)
    with warehouse.begin() as connection:
        incidents.see(
            connection,
            key="failed_run:x",
            kind="failed_run",
            cause="no disk",
            subjects=["job:restate"],
            times=2,
            now=now,
            cooldown=timedelta(hours=1),
            muted=False,
        )
        outbox.queue(connection, [("system_status", None)], Message("test", Tone.INFO, "hello").as_json(), now)
    warehouse.close()
    muted = migrated.qm("alerts", "mute", "job:rest*", "--hours", "2", "--note", "moving house", "--by", "me")
    assert muted.stdout.startswith("mute 1: silence about job:rest* until ")
    assert "--note is empty" in migrated.qm("alerts", "mute", "job:x").error
    shown = migrated.qm("alerts", "list").stdout
    assert "job:restate is broken, 2 times since " in shown
    assert ": no disk\n" in shown
    assert ", by me: moving house\n" in shown
    assert "system_status: has taken none yet; 1 wait since " in shown
    found = json.loads(migrated.qm("alerts", "list", "--json").stdout)
    assert [i["occurrences"] for i in found["incidents"]] == [2]
    assert [(c["channel"], c["queued"]) for c in found["channels"]] == [("system_status", 1)]
    assert migrated.qm("alerts", "unmute", "1").stdout == "mute 1 is lifted\n"
    assert "no mute 1 is in force" in migrated.qm("alerts", "unmute", "1").error
    assert migrated.qm("alerts", "retry").code == 1, "its channel is not set"
    with hook() as server:
        done = migrated.qm("alerts", "retry", DISCORD_WEBHOOK_SYSTEM_STATUS=server.url)
    assert done.stdout == "1 waited: 1 delivered, 0 refused, 0 put off\n"
    assert server.titles == ["hello"]


def test_a_trial_says_of_each_channel_what_it_answered_and_shows_no_address(migrated: Installation) -> None:
    with hook() as good, hook([Answer(404)]) as bad:
        settings = {"DISCORD_WEBHOOK_SYSTEM_STATUS": good.url, "QM_SLACK_WEBHOOK": bad.url}
        done = migrated.qm("--debug", "alerts", "test", "system_status,slack,signals", **settings)
    assert done.code == 1
    assert done.stdout == ("signals: DISCORD_WEBHOOK_SIGNALS is not set\nsystem_status: took it\nslack: answered 404\n")
    assert "/api/webhooks/1/token" not in done.stdout + done.stderr
    with hook() as good:
        done = migrated.qm("alerts", "test", "system_status,signals", DISCORD_WEBHOOK_SYSTEM_STATUS=good.url)
    assert (done.code, len(good.taken)) == (1, 1), "one that is not set did not take it"
    assert "no channel is set" in migrated.qm("alerts", "test").error
    assert "'sms' names no channel" in migrated.qm("alerts", "test", "sms").error


def test_the_doctor_names_channels_that_are_not_set_by_who_names_them_and_links_that_nobody_can_click(
    migrated: Installation, tmp_path: Path
) -> None:
    file = tmp_path / "schedules.yaml"
    file.write_text(
        "version: 1\nschedules:\n  ours: {job: restate, cron: 0 0 * * *, hooks: {channels: [slack, signals]}}\n"
    )
    settings = {
        "QM_SCHEDULES_FILE": str(file),
        "DISCORD_WEBHOOK_SYSTEM_STATUS": "https://discord.com/api/webhooks/1/hidden",
        "DISCORD_WEBHOOK_SIGNALS": "https://discord.com/api/webhooks/1/hidden",
        "QM_ALERT_CHANNELS": "email,system_status",
        "QM_ALERT_ROUTES": "team:data=slack,log; team:other=https://hook.example/hidden",
    }
    done = migrated.qm("doctor", "--json", **settings)
    found = {f["what"]: f for f in json.loads(done.stdout)}
    assert {what for what in found if what.startswith("channel")} == {"channel slack", "channel email"}
    instead = "is not set: what it should hear goes to system_status"
    named = "named by QM_ALERT_ROUTES, schedule ours, and QM_SLACK_WEBHOOK"
    assert (found["channel slack"]["state"], found["channel slack"]["detail"]) == ("bad", f"{named} {instead}")
    named = "named by QM_ALERT_CHANNELS, and QM_SMTP_URL and QM_ALERT_EMAIL_TO"
    assert found["channel email"]["detail"] == f"{named} {instead}"
    assert (found["runbook"]["state"], found["alerts"]["state"]) == ("note", "ok")
    assert "hidden" not in done.stdout + done.stderr
    whole = {
        "QM_SLACK_WEBHOOK": "https://x/y",
        "QM_ALERT_CHANNELS": "slack",
        "QM_RUNBOOK_URL": "https://wiki/operations",
    }
    done = migrated.qm("doctor", "--json", **settings | whole)
    assert not {"channel slack", "channel email", "runbook"} & {f["what"] for f in json.loads(done.stdout)}


def test_the_digest_is_printed_from_what_is_recorded(filled: Installation) -> None:
    done = filled.qm("alerts", "digest")
    assert done.code == 0, done.stderr
    assert done.stdout.startswith("Digest of ")
    for fact in ("up: ", "down: ", "breadth: "):
        assert f"\n{fact}" in done.stdout
    assert "nothing is recorded of" in filled.qm("alerts", "digest", "2000-01-04").error
