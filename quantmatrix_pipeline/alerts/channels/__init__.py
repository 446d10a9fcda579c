"""The ways in which messages reach people: Discord, Slack, any webhook, e-mail, and Prometheus' Pushgateway.

Belongs here: the form that a channel wants, and what its answers mean. Does not: when something is sent, and again.

Written against httpx and the standard library: a library for notifications, such as apprise, says only whether a
message was taken. The outbox needs to know why not and how long to wait. What such libraries reach beyond these
channels is reached through a webhook, which takes every message as JSON.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from quantmatrix_pipeline.alerts.channels.discord import Discord
from quantmatrix_pipeline.alerts.channels.email import Email
from quantmatrix_pipeline.alerts.channels.outcome import Outcome, Sender
from quantmatrix_pipeline.alerts.channels.pushgateway import PUSHGATEWAY, Pushgateway
from quantmatrix_pipeline.alerts.channels.slack import Slack
from quantmatrix_pipeline.alerts.channels.webhook import Webhook
from quantmatrix_pipeline.alerts.routing import kind_of
from quantmatrix_pipeline.settings import Settings
from quantmatrix_pipeline.settings.alerts import DISCORD
from quantmatrix_pipeline.warehouse.alert_outbox import Channel

__all__ = ["PUSHGATEWAY", "Outcome", "Sender", "sender"]


_POSTING: Mapping[str, Callable[[str, float], Sender]] = {"discord": Discord, "slack": Slack, "webhook": Webhook}


def sender(settings: Settings, channel: Channel, timeout: float) -> Sender | None:
    """Return what sends to a channel; None where the settings do not say any more how.

    Parameters
    ----------
    timeout
        How long a connection, and each answer to what is sent, is waited for, in seconds.
    """
    alias, address = channel
    if address is not None:
        plain = address.split("+", 1)[1] if address.split(":")[0].startswith(("discord+", "slack+")) else address
        kind = kind_of(address)
        if kind == "email":
            to = address.removeprefix("mailto:").split("?")[0]
            return None if settings.smtp_url is None else _email(settings, to, timeout)
        return _POSTING[kind](plain, timeout)
    if alias in DISCORD:
        webhook = getattr(settings, DISCORD[alias])
        return None if webhook is None else Discord(webhook.get_secret_value(), timeout)
    if alias == "slack" and settings.slack_webhook is not None:
        return Slack(settings.slack_webhook.get_secret_value(), timeout)
    if alias == "webhook" and settings.alert_webhook is not None:
        return Webhook(settings.alert_webhook.get_secret_value(), timeout)
    if alias == "email" and settings.smtp_url is not None and settings.alert_email_to is not None:
        return _email(settings, settings.alert_email_to, timeout)
    if alias == PUSHGATEWAY and settings.pushgateway_url is not None:
        return Pushgateway(settings.pushgateway_url.get_secret_value(), timeout)
    return None


def _email(settings: Settings, to: str, timeout: float) -> Email:
    assert settings.smtp_url is not None
    return Email(settings.smtp_url.get_secret_value(), settings.alert_email_from, to, timeout)
