"""When a backfill that a sensor launches is tried, tried again, and given up: once per set, cooled down, at most so
often per session.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date, datetime, timedelta
from enum import Enum, auto
from typing import Any

from quantmatrix_pipeline.warehouse import coverage as tables
from quantmatrix_pipeline.warehouse.engine import Warehouse

STALE, NEW, MISSED = SENSORS = ("backfill_stale_coverage", "backfill_new_symbols", "record_missed_sessions")


class Step(Enum):
    """What a tick does."""

    LAUNCH = auto()
    WAIT = auto()
    GIVE_UP = auto()


class Outcome(Enum):
    """What became of the run that was launched last."""

    UNKNOWN = auto()
    UNDER_WAY = auto()
    SUCCESS = auto()
    FAILURE = auto()


@dataclass(frozen=True, slots=True)
class Attempts:
    """What a sensor remembers from tick to tick.

    Attributes
    ----------
    session
        The one in which the attempts are counted; None before the first.
    what
        Fingerprint of the set that was tried last.
    at
        When that was.
    tries
        Runs launched in that session.
    gave_up
        Why nothing more is tried in that session; None: something may be.
    """

    session: str | None = None
    what: str = ""
    at: str | None = None
    tries: int = 0
    gave_up: str | None = None

    @classmethod
    def parse(cls, cursor: str | None) -> Attempts:
        """Return what a cursor holds; one that can't be read counts as none."""
        try:
            found = json.loads(cursor or "{}")
            return cls(**{name: found[name] for name in cls.__dataclass_fields__ if name in found})
        except (ValueError, TypeError):
            return cls()

    def __str__(self) -> str:
        return json.dumps(asdict(self))

    def run_key(self, sensor: str) -> str:
        """Return the key of the run that the sensor launched last; another's for the same set is another run."""
        return f"{sensor}-{self.session}-{self.what}-{self.tries}"

    def next_step(
        self, session: date, what: str, now: datetime, outcome: Outcome, *, cooldown: timedelta, most: int
    ) -> tuple[Step, str]:
        """Say what to do about a set, and why.

        Parameters
        ----------
        session, what
            The newest session, and the set's fingerprint.
        outcome
            Of the run that was launched last.
        cooldown
            How long after a launch the next one waits.
        most
            Launches per session.
        """
        same_session = self.session == str(session)
        same = same_session and self.what == what
        cooling = self.at is not None and now - datetime.fromisoformat(self.at) < cooldown
        if same_session and self.gave_up:
            return Step.WAIT, f"given up for {session}: {self.gave_up}"
        if outcome is Outcome.UNDER_WAY:
            return Step.WAIT, "the backfill that was launched last is under way"
        if same and outcome is not Outcome.FAILURE:
            if cooling or outcome is Outcome.UNKNOWN:
                return Step.WAIT, "a backfill for exactly these was launched already"
            return Step.GIVE_UP, "a backfill of exactly these succeeded and changed nothing"
        if cooling:
            return Step.WAIT, f"cooling down since {self.at}"
        if same_session and self.tries >= most:
            return Step.GIVE_UP, f"{self.tries} backfills did not help"
        return Step.LAUNCH, ""

    def launched(self, session: date, what: str, now: datetime) -> Attempts:
        """Return what is remembered once a run for a set was launched."""
        tries = self.tries + 1 if self.session == str(session) else 1
        return Attempts(str(session), what, now.isoformat(), tries)

    def given_up(self, why: str) -> Attempts:
        return replace(self, gave_up=why)


def fingerprint(session: date, symbols: Sequence[str]) -> str:
    """Return the same text for the same set of a session."""
    return hashlib.sha256(f"{session}|{','.join(symbols)}".encode()).hexdigest()[:16]


def beat(warehouse: Warehouse, sensor: str, attempts: Attempts, now: datetime) -> None:
    """Note that a sensor is alive, and how its attempts stand."""
    tables.beat(warehouse, sensor, now, asdict(attempts))


def given_up(warehouse: Warehouse, session: date, sensors: Sequence[str]) -> list[Mapping[str, Any]]:
    """Return which of the sensors have given up for a session, and why."""
    beats = tables.heartbeats(warehouse)
    details = {name: beats[name][1] for name in sensors if name in beats}
    return [
        {"sensor": name, "why": detail["gave_up"], "tries": detail["tries"]}
        for name, detail in details.items()
        if detail.get("gave_up") and detail.get("session") == str(session)
    ]
