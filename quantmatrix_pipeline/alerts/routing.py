"""To which channels a message goes."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from quantmatrix_pipeline.alerts.wording import Links
from quantmatrix_pipeline.settings import Settings
from quantmatrix_pipeline.settings.alerts import DISCORD, OTHERS, channel_names, is_address, routes, variable
from quantmatrix_pipeline.warehouse.alert_outbox import Channel

log = logging.getLogger(__name__)

FALLBACK, LOG, MAIL = "system_status", "log", "mailto"


@dataclass(frozen=True, slots=True)
class Policy:
    """Who hears of what.

    Attributes
    ----------
    usual
        Channels of alerts of which nothing else says where to; empty: system_status, where that is set.
    by_owner
        Asset owner -> channels.
    usable
        The aliases that are set, and mailto where there is a mail server.
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
            usual=usual,
            by_owner={} if settings.alert_routes is None else routes(settings.alert_routes.get_secret_value()),
            usable=usable(settings),
            cooldown=timedelta(minutes=settings.alert_cooldown_minutes),
            links=Links(settings.ui_url or f"http://127.0.0.1:{settings.ui_port}", settings.runbook_url),
        )

    def channels(self, wished: Sequence[str] = (), owners: Iterable[str] = ()) -> list[Channel]:
        """Return where an alert goes: where its run wishes, else where the owners' routes lead, else the usual way.

        Names behind which there is no address lose nothing: where nobody is left, the next of these hears of it, and at
        last system_status. Empty: to the log alone, where each message is written anyway.
        """
        routed = [name for owner in owners for name in self.by_owner.get(owner, ())]
        for names in (wished, routed, self.usual):
            found = self.named(names)
            if found or (names and not self.unset(names)):
                return found
        return self.named({FALLBACK} & self.usable)

    def named(self, names: Iterable[str]) -> list[Channel]:
        """Return the channels of these names, without those that are not set; the log is none."""
        found: dict[str, str | None] = {}
        for name in names:
            kind = kind_of(name) if is_address(name) else name
            if not self._reaches(name):
                if name != LOG:
                    log.warning("the channel %s is not set: %s", kind, variable(name))
            elif is_address(name):
                found[f"{kind}:{hashlib.sha256(name.encode()).hexdigest()[:8]}"] = name
            else:
                found[name] = None
        return list(found.items())

    def unset(self, names: Iterable[str]) -> tuple[str, ...]:
        """Return which of these names lead nowhere: aliases without an address, and letters without a mail server."""
        return tuple(name for name in dict.fromkeys(names) if name != LOG and not self._reaches(name))

    def _reaches(self, name: str) -> bool:
        return name in self.usable or (is_address(name) and (kind_of(name) != "email" or MAIL in self.usable))


def usable(settings: Settings) -> frozenset[str]:
    """Return the aliases behind which there is an address, and mailto where there is a mail server."""
    fields = {**DISCORD, **{name: field for name, field in OTHERS.items() if field}}
    there = {name for name, field in fields.items() if getattr(settings, str(field)) is not None}
    mail = set() if settings.smtp_url is None else {MAIL}
    return frozenset(there - ({"email"} if settings.alert_email_to is None else set()) | mail)


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
