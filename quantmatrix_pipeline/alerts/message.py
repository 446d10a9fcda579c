"""A message as it is kept in the outbox, before any channel gives it its form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Tone(StrEnum):
    """How a message is meant: its colour where a channel has colours."""

    ERROR = "error"
    WARNING = "warning"
    GOOD = "good"
    INFO = "info"


@dataclass(frozen=True, slots=True)
class Message:
    """What is told.

    Attributes
    ----------
    event
        What happened: failure, slow, stale, recovery, success, digest, test or duration.
    title
        One line that says the most.
    facts
        Name -> value, in the order in which they are shown.
    text
        More, on lines of its own; may be empty.
    link
        The run in the Dagster UI; None: there is none.
    runbook
        Where it says what to do; None: nothing is to be done.
    """

    event: str
    tone: Tone
    title: str
    facts: Mapping[str, str] = field(default_factory=dict)
    text: str = ""
    link: str | None = None
    runbook: str | None = None

    def as_json(self) -> dict[str, Any]:
        """Return what the outbox keeps; the facts as pairs, since the database forgets the order of a JSON object."""
        return {
            "event": self.event,
            "tone": self.tone.value,
            "title": self.title,
            "facts": [[name, value] for name, value in self.facts.items()],
            "text": self.text,
            "link": self.link,
            "runbook": self.runbook,
        }

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Message:
        return cls(**{**body, "tone": Tone(body["tone"]), "facts": dict(body["facts"])})

    def plain(self) -> str:
        """Return the whole as lines of text."""
        lines = [self.title, *(f"{name}: {value}" for name, value in self.facts.items())]
        if self.text:
            lines += ["", self.text, ""]
        lines += [f"{name}: {value}" for name, value in (("link", self.link), ("what to do", self.runbook)) if value]
        return "\n".join(lines)


def cut(text: str, longest: int) -> str:
    """Return `text`, its end left away where it is longer than `longest` characters."""
    return text if len(text) <= longest else text[: longest - 2].rstrip() + " …"
