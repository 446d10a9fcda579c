"""Slack's incoming webhooks."""

from __future__ import annotations

from typing import Any

from quantmatrix_pipeline.alerts.channels.http import post
from quantmatrix_pipeline.alerts.channels.outcome import Outcome
from quantmatrix_pipeline.alerts.message import Message, Tone, cut

# Slack's limits: https://docs.slack.dev/reference/block-kit/blocks/section-block
SECTION, FIELDS, FIELD = 3000, 10, 2000
MARKS = {
    Tone.ERROR: ":red_circle:",
    Tone.WARNING: ":large_orange_circle:",
    Tone.GOOD: ":large_green_circle:",
    Tone.INFO: "",
}


class Slack:
    """Posts the title as text, and the facts as blocks; such a webhook takes no pictures."""

    def __init__(self, url: str, timeout: float) -> None:
        self._url = url
        self._timeout = timeout

    def send(self, message: Message, message_id: int, picture: bytes | None) -> Outcome:
        return post(self._url, self._timeout, json=payload(message))


def payload(message: Message) -> dict[str, Any]:
    """Return a message in Slack's form, within its limits."""
    title = f"{MARKS[message.tone]} *{_plain(message.title)}*".strip()
    blocks = [_section(title)]
    facts = [f"*{_plain(name)}*\n{_plain(value)}" for name, value in message.facts.items()]
    for first in range(0, len(facts), FIELDS):
        some = [{"type": "mrkdwn", "text": cut(fact, FIELD)} for fact in facts[first : first + FIELDS]]
        blocks.append({"type": "section", "fields": some})
    if message.text:
        blocks.append(_section(_plain(message.text)))
    more = [_linked("the run", message.link), _linked("what to do", message.runbook)]
    if any(more):
        blocks.append(_section(" · ".join(filter(None, more))))
    return {"text": cut(_plain(message.title), SECTION), "blocks": blocks}


def _section(text: str) -> dict[str, Any]:
    return {"type": "section", "text": {"type": "mrkdwn", "text": cut(text, SECTION)}}


def _linked(name: str, address: str | None) -> str:
    if not address:
        return ""
    return f"<{address}|{name}>" if address.startswith(("http://", "https://")) else f"{name}: {_plain(address)}"


def _plain(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
