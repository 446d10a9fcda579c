"""The settings of alerts: where messages go, who gets which, and how often."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, AliasChoices, Field, SecretStr
from pydantic_settings import BaseSettings

# Discord webhooks by alias -> the field that holds the address.
DISCORD: Mapping[str, str] = MappingProxyType(
    {
        "system_status": "discord_webhook",
        "signals": "discord_webhook_signals",
        "portfolio": "discord_webhook_portfolio",
        "morning_brew": "discord_webhook_morning_brew",
        "playground": "discord_webhook_playground",
    }
)
# The other names that a list of channels may hold -> the field that makes them work.
OTHERS: Mapping[str, str | None] = MappingProxyType(
    {"slack": "slack_webhook", "webhook": "alert_webhook", "email": "smtp_url", "log": None}
)
_VARIABLES = {
    "slack": "QM_SLACK_WEBHOOK",
    "webhook": "QM_ALERT_WEBHOOK",
    "email": "QM_SMTP_URL and QM_ALERT_EMAIL_TO",
    "mailto": "QM_SMTP_URL",
}
_SCHEMES = ("http", "https", "discord+http", "discord+https", "slack+http", "slack+https", "mailto")


def channel_names(text: str) -> tuple[str, ...]:
    """Return the channels that a list names, in its order, each once: aliases in lower case, addresses as they stand.

    Raises
    ------
    ValueError
        If one is neither an alias nor an address; an address is not shown, it may hold a secret.
    """
    found: dict[str, None] = {}
    for part in re.split(r"[,\s|]+", text.strip()):
        if not part:
            continue
        if (name := _known(part)) is not None:
            found[name] = None
        elif ":" in part and is_address(part):
            found[part] = None
        else:
            shown = "an address" if re.search(r"[/@]", part) else repr(part)
            raise ValueError(
                f"{shown} names no channel; known are {', '.join((*DISCORD, *OTHERS))}, an https:// address (with "
                "discord+ or slack+ before it where its host does not say which), and mailto:somebody@example.com"
            )
    return tuple(found)


def alias(text: str) -> str:
    """Return the alias of one channel, in lower case: what may stand where many read it.

    Raises
    ------
    ValueError
        If it names none, or is an address, which is not shown.
    """
    if (name := _known(text.strip())) is not None:
        return name
    known = ", ".join((*DISCORD, *OTHERS))
    if re.search(r"[:/@]", text):
        raise ValueError(
            "an address lets whoever reads it post there, and this is shown, exported and recorded: set it as"
            f" DISCORD_WEBHOOK_<ALIAS>, QM_SLACK_WEBHOOK or QM_ALERT_WEBHOOK, and write its alias here ({known})"
        )
    raise ValueError(f"{text!r} is no alias of a channel; known are {known}")


def variable(name: str) -> str:
    """Return the variable that makes a channel work, named by its alias or as mailto:..."""
    return _VARIABLES.get(name.partition(":")[0], f"DISCORD_WEBHOOK_{name.upper()}")


def _known(text: str) -> str | None:
    name = text.lower().replace("-", "_")
    return name if name in DISCORD or name in OTHERS else None


def is_address(text: str) -> bool:
    """Tell whether a channel is named by its address."""
    try:
        parts = urlsplit(text)
        return parts.scheme in _SCHEMES and bool(parts.hostname or (parts.scheme == "mailto" and "@" in parts.path))
    except ValueError:
        return False


def routes(text: str) -> dict[str, tuple[str, ...]]:
    """Return owner -> channels of a text such as `team:market-data=slack,email; me@example.com=playground`.

    Raises
    ------
    ValueError
        If a part has no `=`, or names no channel.
    """
    found = {}
    for part in filter(None, (p.strip() for p in text.split(";"))):
        owner, equals, channels = part.partition("=")
        if not equals or not owner.strip() or not (names := channel_names(channels)):
            raise ValueError(
                "write routes as owner=channels, separated by semicolons, such as team:market-data=slack,email"
            )
        found[owner.strip()] = names
    return found


def _channels(value: SecretStr) -> SecretStr:
    channel_names(value.get_secret_value())
    return value


def _routes(value: SecretStr) -> SecretStr:
    routes(value.get_secret_value())
    return value


def _http(value: SecretStr) -> SecretStr:
    text = value.get_secret_value().strip()
    # No message shows the value, which lets whoever has it post.
    if not text.startswith(("http://", "https://")) or not is_address(text):
        raise ValueError("an address starts with http:// or https:// and names a host")
    return SecretStr(text)


def _smtp(value: SecretStr) -> SecretStr:
    try:
        parts = urlsplit(value.get_secret_value().strip())
        good = parts.scheme in ("smtp", "smtps", "smtp+plain") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good:
        raise ValueError(
            "write smtp://user:password@host:587 (STARTTLS), smtps://...:465, or smtp+plain:// without TLS"
        )
    return SecretStr(value.get_secret_value().strip())


def _addresses(value: str) -> str:
    parts = [part for part in re.split(r"[,\s]+", value.strip()) if part]
    if not parts or not all(re.fullmatch(r"[^@\s]+@[^@\s]+", part) for part in parts):
        raise ValueError("write e-mail addresses separated by commas")
    return ",".join(parts)


Channels = Annotated[SecretStr, AfterValidator(_channels)]
Routes = Annotated[SecretStr, AfterValidator(_routes)]
Webhook = Annotated[SecretStr, AfterValidator(_http)]
Smtp = Annotated[SecretStr, AfterValidator(_smtp)]
Addresses = Annotated[str, AfterValidator(_addresses)]


def _discord(alias: str, *more: str) -> Any:
    names = (f"DISCORD_WEBHOOK_{alias.upper()}", *more)
    return Field(
        None,
        validation_alias=AliasChoices(*names, *(f"QM_{name}" for name in names)),
        description=f"the Discord webhook that channels name {alias}",
    )


class AlertFields(BaseSettings):
    """The fields of alerts."""

    discord_webhook: Webhook | None = Field(
        None,
        validation_alias=AliasChoices(
            "QM_DISCORD_WEBHOOK", "DISCORD_WEBHOOK_SYSTEM_STATUS", "QM_DISCORD_WEBHOOK_SYSTEM_STATUS"
        ),
        description="the Discord webhook that channels name system_status; failures go there unless told otherwise",
    )
    discord_webhook_signals: Webhook | None = _discord("signals")
    discord_webhook_portfolio: Webhook | None = _discord("portfolio", "DISCORD_WEBHOOK_PORTFOLIO_DIGEST")
    discord_webhook_morning_brew: Webhook | None = _discord("morning_brew")
    discord_webhook_playground: Webhook | None = _discord("playground")
    slack_webhook: Webhook | None = Field(
        None,
        validation_alias=AliasChoices("QM_SLACK_WEBHOOK", "SLACK_WEBHOOK_URL", "QM_SLACK_WEBHOOK_URL"),
        description="the incoming webhook of Slack that channels name slack",
    )
    alert_webhook: Webhook | None = Field(None, description="takes each message as JSON; channels name it webhook")
    smtp_url: Smtp | None = Field(None, description="the mail server, such as smtp://user:password@host:587")
    alert_email_from: Addresses = Field("quantmatrix@localhost", description="sender of e-mails")
    alert_email_to: Addresses | None = Field(None, description="to whom the channel email writes; commas between")
    pushgateway_url: Webhook | None = Field(
        None,
        validation_alias=AliasChoices("QM_PUSHGATEWAY_URL", "PUSHGATEWAY_URL"),
        description="a Prometheus Pushgateway that gets the duration of each run",
    )
    alert_channels: Channels | None = Field(
        None, description="channels of alerts, commas between; unset: system_status, where that is set"
    )
    alert_routes: Routes | None = Field(
        None, description="channels by asset owner, such as 'team:market-data=slack,email; me@example.com=playground'"
    )
    # Coverage is looked at hourly: a cause that lasts is told four times a day, and not with every look.
    alert_cooldown_minutes: int = Field(
        360, ge=0, le=10_080, description="so long nothing more is said of a cause that was told"
    )
    digest_channels: Channels | None = Field(None, description="who gets a digest after the nightly chain; unset: none")
    ui_url: str | None = Field(None, description="the Dagster UI in links; unset: http://127.0.0.1:<QM_UI_PORT>")
    runbook_url: str = Field("docs/operations.md", description="where docs/operations.md is read, in links")
