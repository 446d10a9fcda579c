"""One thing that was looked at."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """How it is: `note` is worth knowing and nothing wrong."""

    OK = "ok"
    NOTE = "note"
    BAD = "bad"


@dataclass(frozen=True, slots=True)
class Finding:
    """What was looked at, how it is, and a line that says so and what to do; it may name paths and addresses."""

    what: str
    state: Verdict
    detail: str


def ok(what: str, detail: str) -> Finding:
    return Finding(what, Verdict.OK, detail)


def note(what: str, detail: str) -> Finding:
    return Finding(what, Verdict.NOTE, detail)


def bad(what: str, detail: str) -> Finding:
    return Finding(what, Verdict.BAD, detail)
