"""To which channels a message goes."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from quantmatrix_pipeline.alerts.wording import Links
from quantmatrix_pipeline.settings import Settings
from quantmatrix_pipeline.settings.alerts import DISCORD, OTHERS, channel_names, is_address, routes
from quantmatrix_pipeline.warehouse.alert_outbox import Channel

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Policy:
    """Who hears of what.

    Attributes
    ----------
    usual
        Channels of alerts of which nothing else says where to.
    by_owner
        Asset owner -> channels.
    usable
        The aliases that are set; what names another goes to the log alone.
    """

    usual: tuple[str, ...]
    links: Links
    by_owner: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    usable: frozenset[str] = frozenset()
    cooldown: timedelta = timedelta(hours=6)

    @classmethod
    def of(cls, settings: Settings) -> Policy:
        """Return what the settings say; without any of them failures go to system_status, where that is set."""
        usual = () if settings.alert_channels is None else channel_names(settings.alert_channels.get_secret_value())
        return cls(
            usual=usual or (("system_status",) if settings.discord_webhook else ()),
            by_owner={} if settings.alert_routes is None else routes(settings.alert_routes.get_secret_value()),
            usable=usable(settings),
            cooldown=timedelta(minutes=settings.alert_cooldown_minutes),
            links=Links(settings.ui_url or f"http://127.0.0.1:{settings.ui_port}", settings.runbook_url),
        )

    def channels(self, wished: Sequence[str] = (), owners: Iterable[str] = ()) -> list[Channel]:
        """Return where a message goes: where its run wishes, else where the owners' routes lead, else the usual way.

        Empty: to the log alone, where each message is written anyway.
        """
        routed = [name for owner in owners for name in self.by_owner.get(owner, ())]
        found: dict[str, str | None] = {}
        for name in wished or routed or self.usual:
            if is_address(name):
                found[f"{kind_of(name)}:{hashlib.sha256(name.encode()).hexdigest()[:8]}"] = name
            elif name in self.usable:
                found[name] = None
            elif name != "log":
                log.warning("the channel %s is not set; what it should be told is in this log alone", name)
        return list(found.items())


def usable(settings: Settings) -> frozenset[str]:
    """Return the aliases behind which there is an address."""
    fields = {**DISCORD, **{name: field for name, field in OTHERS.items() if field}}
    there = {name for name, field in fields.items() if getattr(settings, str(field)) is not None}
    return frozenset(there - ({"email"} if settings.alert_email_to is None else set()))


def kind_of(address: str) -> str:
    """Tell discord, slack, webhook or email of a channel that is named by its address."""
    scheme, _, rest = address.partition(":")
    if scheme == "mailto":
        return "email"
    if "+" in scheme:
        return scheme.split("+")[0]
    if "/api/webhooks/" in rest:
        return "discord"
    return "slack" if rest.startswith("//hooks.slack.com/") else "webhook"
