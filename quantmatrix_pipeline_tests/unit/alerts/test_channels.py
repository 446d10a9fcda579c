"""The forms that channels want, within their limits; where a message goes; every alert's heading."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from quantmatrix_pipeline import errors
from quantmatrix_pipeline.alerts import runbook
from quantmatrix_pipeline.alerts.channels import discord, sender, slack
from quantmatrix_pipeline.alerts.channels.discord import Discord
from quantmatrix_pipeline.alerts.channels.email import Email
from quantmatrix_pipeline.alerts.channels.slack import Slack
from quantmatrix_pipeline.alerts.channels.webhook import Webhook
from quantmatrix_pipeline.alerts.message import Message, Tone
from quantmatrix_pipeline.alerts.routing import Policy
from quantmatrix_pipeline.definitions import build_defs
from quantmatrix_pipeline.settings import load
from quantmatrix_pipeline.settings.loading import VARIABLES

ROOT = Path(__file__).resolve().parents[3]
LONG = Message(
    "failure",
    Tone.ERROR,
    "FAILED <@everyone> & more " + "t" * 3000,
    {f"fact {n}": "v" * 2000 for n in range(40)},
    text="w" * 9000,
    link="http://ui/runs/1",
    runbook="docs/operations.md#a-run-failed",
)


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in {name for names in VARIABLES.values() for name in names} | {"QM_ENV_FILE"}:
        monkeypatch.delenv(name, raising=False)


def test_discords_form_keeps_its_limits_and_mentions_nobody() -> None:
    body = discord.payload(LONG, with_picture=True)
    (embed,) = body["embeds"]
    assert len(body["content"]) <= 2000
    assert body["allowed_mentions"] == {"parse": []}
    assert embed["fields"]
    assert len(embed["fields"]) <= 25
    assert all(len(f["name"]) <= 256 and 0 < len(f["value"]) <= 1024 for f in embed["fields"])
    texts = (embed["title"], embed.get("description", ""), *(f["name"] + f["value"] for f in embed["fields"]))
    assert sum(map(len, texts)) <= 6000
    assert embed["image"]["url"] == "attachment://picture.png"


def test_slacks_form_keeps_its_limits_and_escapes_what_is_no_markup() -> None:
    body = slack.payload(LONG)
    assert len(body["blocks"]) <= 50
    for block in body["blocks"]:
        assert len(block.get("fields", ())) <= 10
        assert all(len(f["text"]) <= 2000 for f in block.get("fields", ()))
        assert len(block.get("text", {}).get("text", "")) <= 3000
    assert "<@everyone>" not in json.dumps(body)
    assert "<http://ui/runs/1|the run>" in json.dumps(body)


@pytest.mark.parametrize(
    ("name", "channel"),
    [
        ("DISCORD_WEBHOOK_SYSTEM_STATUS", "system_status"),
        ("DISCORD_WEBHOOK_PORTFOLIO_DIGEST", "portfolio"),
        ("DISCORD_WEBHOOK_SIGNALS", "signals"),
        ("SLACK_WEBHOOK_URL", "slack"),
    ],
)
@pytest.mark.parametrize("before", ["", "QM_"])
def test_the_replaced_systems_names_work_with_and_without_ours_before_them(
    monkeypatch: pytest.MonkeyPatch, name: str, channel: str, before: str
) -> None:
    monkeypatch.setenv(f"{before}{name}", "https://hook.example/x")
    monkeypatch.setenv("QM_ALERT_CHANNELS", channel)
    assert Policy.of(load()).channels() == [(channel, None)]


def test_who_hears_is_said_by_the_run_then_by_owners_then_by_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Policy.of(load()).channels() == [], "without any setting the log is all there is"
    monkeypatch.setenv("DISCORD_WEBHOOK_SYSTEM_STATUS", "https://discord.com/api/webhooks/1/a")
    assert Policy.of(load()).channels() == [("system_status", None)]
    monkeypatch.setenv("DISCORD_WEBHOOK_PORTFOLIO_DIGEST", "https://discord.com/api/webhooks/1/b")
    monkeypatch.setenv("QM_SLACK_WEBHOOK", "https://hooks.slack.com/services/a")
    monkeypatch.setenv("QM_ALERT_CHANNELS", "Slack, https://hook.example/x, log, email")
    monkeypatch.setenv("QM_ALERT_ROUTES", "team:market-data=portfolio,slack; me@example.com=morning_brew")
    policy = Policy.of(load())
    usual = policy.channels()
    assert [name.split(":")[0] for name, _ in usual] == ["slack", "webhook"], "email is not set"
    assert usual[1][1] == "https://hook.example/x"
    assert "hook.example" not in usual[1][0], "the name shows no address"
    assert policy.channels(owners=["team:market-data"]) == [("portfolio", None), ("slack", None)]
    assert policy.channels(wished=["system_status"], owners=["team:market-data"]) == [("system_status", None)]


@pytest.mark.parametrize(
    ("wished", "owner", "heard"),
    [
        (["signals"], "team:market-data", ["slack"]),
        (["signals", "webhook"], "team:market-data", ["slack"]),
        (["log", "signals"], "team:market-data", ["slack"]),
        (["mailto:me@example.com"], "team:market-data", ["slack"]),
        (["signals", "system_status"], "team:market-data", ["system_status"]),
        (["signals"], "team:other", ["playground"]),
        ([], "team:other", ["playground"]),
        (["log"], "team:market-data", []),
        ([], "team:quiet", []),
    ],
)
def test_where_a_named_channel_is_not_set_the_next_that_is_hears_of_it(
    wished: list[str], owner: str, heard: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DISCORD_WEBHOOK_SYSTEM_STATUS", "https://discord.com/api/webhooks/1/a")
    monkeypatch.setenv("DISCORD_WEBHOOK_PLAYGROUND", "https://discord.com/api/webhooks/1/b")
    monkeypatch.setenv("QM_SLACK_WEBHOOK", "https://hooks.slack.com/services/a")
    monkeypatch.setenv("QM_ALERT_CHANNELS", "playground")
    monkeypatch.setenv("QM_ALERT_ROUTES", "team:market-data=slack; team:other=signals; team:quiet=log")
    policy = Policy.of(load())
    assert [name for name, _ in policy.channels(wished, [owner])] == heard
    assert policy.named(["signals", "email"]) == [], "who asks for a channel alone gets that one or none"
    monkeypatch.setenv("QM_ALERT_CHANNELS", "email")
    last = [name for name, _ in Policy.of(load()).channels(wished, [owner])]
    assert last == (["system_status"] if heard == ["playground"] else heard)


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        ("https://discord.com/api/webhooks/1/a", Discord),
        ("https://hooks.slack.com/services/a/b", Slack),
        ("discord+http://127.0.0.1:9/x", Discord),
        ("slack+http://127.0.0.1:9/x", Slack),
        ("https://example.com/x", Webhook),
        ("mailto:me@example.com", Email),
    ],
)
def test_an_address_says_which_form_it_takes(address: str, kind: type, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QM_SMTP_URL", "smtp://mail.example")
    assert isinstance(sender(load(), ("name", address), 1.0), kind)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("QM_ALERT_CHANNELS", "sistem_status"),
        ("QM_ALERT_CHANNELS", "ftp://hidden.example/x"),
        ("QM_ALERT_ROUTES", "team:market-data"),
        ("QM_SMTP_URL", "mail.example:hidden"),
        ("QM_ALERT_EMAIL_TO", "nobody"),
        ("DISCORD_WEBHOOK_SIGNALS", "hidden"),
    ],
)
def test_a_wrong_setting_is_named_and_its_address_is_not_shown(
    variable: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(errors.ConfigurationError, match=variable) as refused:
        load()
    assert "hidden" not in str(refused.value)


def headings() -> set[str]:
    """Return the anchors of docs/operations.md, made as GitHub makes them."""
    lines = re.findall(r"^#+ (.+)$", (ROOT / "docs" / "operations.md").read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", line.lower()).replace(" ", "-") for line in lines}


def test_every_alert_has_its_heading_in_the_operations_manual() -> None:
    anchors = {*runbook.KINDS.values(), *runbook.CHECKS.values(), *runbook.ERRORS.values(), runbook.TIMEOUT}
    assert anchors <= headings()
    assert set(runbook.KINDS) == set(runbook.Kind)
    assert all(issubclass(getattr(errors, name), errors.QuantMatrixError) for name in runbook.ERRORS)


def test_every_check_has_a_heading_of_its_own() -> None:
    checks = {
        f"{key.asset_key.to_user_string()}.{key.name}"
        for key in build_defs().get_repository_def().asset_graph.asset_check_keys
    }
    assert set(runbook.CHECKS) == checks
