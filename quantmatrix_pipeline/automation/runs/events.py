"""The events that ended runs since the last look: past a cursor that misses none and takes none twice."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import cast

from dagster import DagsterEventType, DagsterInstance, RunStatusChangeRecordsFilter
from dagster._core.event_api import RunStatusChangeEventType

ENDED: tuple[DagsterEventType, ...] = (
    DagsterEventType.RUN_SUCCESS,
    DagsterEventType.RUN_FAILURE,
    DagsterEventType.RUN_CANCELED,
)
# An event gets its number before it is committed: one with a smaller number may appear this long after a greater one.
SETTLED_SECONDS = 60.0
MOST_UNSETTLED = 500
# A run may end twice: by what Dagster's monitoring writes, and by what its own process still does.
TOLD_SECONDS = 900.0
MOST_TOLD = 500


@dataclass
class EndedCursor:
    """Up to where the event log was read.

    Attributes
    ----------
    after
        All events up to this number are settled, and those about ended runs were handled.
    handled
        Event -> its time, of those beyond `after` that were handled.
    told
        Run -> how it ended and when, of those that ended lately.
    held
        Failed runs that nobody was told of, since they are to be launched again.
    """

    after: int
    handled: dict[int, float] = field(default_factory=dict)
    told: dict[str, tuple[str, float]] = field(default_factory=dict)
    held: list[str] = field(default_factory=list)

    @classmethod
    def parse(cls, text: str | None) -> EndedCursor | None:
        """Return what a sensor kept; None for the first look."""
        if not text:
            return None
        body = json.loads(text)
        return cls(
            body["after"],
            {int(number): at for number, at in body["handled"].items()},
            {run_id: (outcome, at) for run_id, (outcome, at) in body.get("told", {}).items()},
            body.get("held", []),
        )

    def __str__(self) -> str:
        return json.dumps({"after": self.after, "handled": self.handled, "told": self.told, "held": self.held})

    def is_news(self, run_id: str, outcome: str, at: float) -> bool:
        """Note how a run ended, and tell whether that was not known yet."""
        known = self.told.pop(run_id, None)
        self.told[run_id] = (outcome, at)
        return known is None or known[0] != outcome

    def settle(self, now: float) -> None:
        """Move past what can't be overtaken any more."""
        old = [number for number, at in self.handled.items() if at < now - SETTLED_SECONDS]
        settled = sorted(self.handled)[: max(0, len(self.handled) - MOST_UNSETTLED)]
        self.after = max([self.after, *old, *settled])
        self.handled = {number: at for number, at in self.handled.items() if number > self.after}
        lately = [(run_id, told) for run_id, told in self.told.items() if told[1] >= now - TOLD_SECONDS]
        self.told = dict(lately[-MOST_TOLD:])


@dataclass(frozen=True, slots=True)
class Ended:
    """An event that ended a run."""

    number: int
    run_id: str
    at: float


def newest(instance: DagsterInstance) -> EndedCursor:
    """Return a cursor behind all that has ended so far."""
    return EndedCursor(max((event.number for event in _read(instance, None, 1)), default=0))


def ended_since(instance: DagsterInstance, cursor: EndedCursor, limit: int) -> list[Ended]:
    """Return the events beyond the cursor that were not handled yet, the oldest first."""
    found = _read(instance, cursor.after, limit + len(cursor.handled))
    return sorted((e for e in found if e.number not in cursor.handled), key=lambda event: event.number)[:limit]


def _read(instance: DagsterInstance, after: int | None, limit: int) -> list[Ended]:
    found = []
    for event_type in ENDED:
        wanted = RunStatusChangeRecordsFilter(cast(RunStatusChangeEventType, event_type), after_storage_id=after)
        records = instance.fetch_run_status_changes(wanted, limit=limit, ascending=after is not None).records
        found += [Ended(record.storage_id, record.run_id, record.timestamp) for record in records]
    return found
