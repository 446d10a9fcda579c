"""Discord's webhooks, and whatever takes messages in their form."""

from __future__ import annotations

import json
from typing import Any

from quantmatrix_pipeline.alerts.channels.http import post
from quantmatrix_pipeline.alerts.channels.outcome import Outcome
from quantmatrix_pipeline.alerts.message import Message, Tone, cut

# Discord's limits: https://docs.discord.com/developers/resources/message#embed-object-embed-limits
CONTENT, TITLE, TEXT, FIELDS, NAME, VALUE, EMBED = 2000, 256, 4096, 25, 256, 1024, 6000
COLOURS = {Tone.ERROR: 0xC0392B, Tone.WARNING: 0xE67E22, Tone.GOOD: 0x27AE60, Tone.INFO: 0x2980B9}
SHORT = 40  # up to so many characters a fact shares its line with others
PICTURE = "picture.png"


class Discord:
    """Posts the title as content, and the facts as an embed."""

    def __init__(self, url: str, timeout: float) -> None:
        self._url = url
        self._timeout = timeout

    def send(self, message: Message, message_id: int, picture: bytes | None) -> Outcome:
        body = payload(message, with_picture=picture is not None)
        if picture is None:
            return post(self._url, self._timeout, json=body)
        files = {"files[0]": (PICTURE, picture, "image/png")}
        return post(self._url, self._timeout, data={"payload_json": json.dumps(body)}, files=files)


def payload(message: Message, *, with_picture: bool = False) -> dict[str, Any]:
    """Return a message in Discord's form, within its limits; nobody is mentioned by what an error says."""
    room = EMBED - TITLE
    facts = dict(message.facts)
    if message.runbook:
        facts["what to do"] = message.runbook
    fields = []
    for name, value in list(facts.items())[:FIELDS]:
        shown = cut(value, VALUE) or "-"
        if (room := room - len(name) - len(shown)) < 0:
            break
        fields.append({"name": cut(name, NAME), "value": shown, "inline": len(shown) <= SHORT})
    embed: dict[str, Any] = {"color": COLOURS[message.tone], "fields": fields}
    if message.text:
        embed["description"] = cut(message.text, max(2, min(TEXT, room)))
    if message.link:
        embed |= {"title": "the run", "url": message.link}
    if with_picture:
        embed["image"] = {"url": f"attachment://{PICTURE}"}
    return {"content": cut(message.title, CONTENT), "embeds": [embed], "allowed_mentions": {"parse": []}}
