"""Open and close incidents, and queue what is to be said about them, all in one transaction."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatchcase

from quantmatrix_pipeline.alerts import wording
from quantmatrix_pipeline.alerts.events import SUCCESS, Run
from quantmatrix_pipeline.alerts.message import Message, Tone
from quantmatrix_pipeline.alerts.routing import Policy
from quantmatrix_pipeline.alerts.troubles import Group, Trouble
from quantmatrix_pipeline.alerts.wording import Closed
from quantmatrix_pipeline.warehouse import alert_incidents as incidents
from quantmatrix_pipeline.warehouse import alert_outbox as outbox
from quantmatrix_pipeline.warehouse.alert_outbox import Channel
from quantmatrix_pipeline.warehouse.engine import Warehouse

log = logging.getLogger(__name__)

LEVELS = {Tone.ERROR: logging.ERROR, Tone.WARNING: logging.WARNING, Tone.GOOD: logging.INFO, Tone.INFO: logging.INFO}


@dataclass(frozen=True, slots=True)
class Told:
    """What was said: to the log, and to as many channels as `queued` says."""

    messages: tuple[Message, ...]
    queued: int


def tell(
    warehouse: Warehouse,
    policy: Policy,
    now: datetime,
    *,
    groups: Sequence[Group] = (),
    well: Sequence[str] = (),
    over: Sequence[str] = (),
    successes: Sequence[Run] = (),
) -> Told:
    """Note troubles and recoveries; queue one message for each group that people don't know of yet.

    Parameters
    ----------
    well
        Subjects that work again, which is told to who heard that they didn't.
    over
        Subjects that are not broken any more, of which nobody need be told.
    successes
        Runs that went well; those whose tags wish it are told.
    """
    silent = [mute["what"] for mute in incidents.mutes(warehouse, now)]
    said: list[Message] = []
    queued = 0
    with warehouse.begin() as connection:
        incidents.alone(connection)
        for group in groups:
            muted = {t for t in group.troubles if _muted(t, group, silent)}
            seen = []
            for key in dict.fromkeys(t.key for t in group.troubles):
                same = [t for t in group.troubles if t.key == key]
                note = incidents.see(
                    connection,
                    key=key,
                    kind=same[0].kind,
                    cause=same[0].cause,
                    subjects=[t.subject for t in same],
                    times=max(1, len(group.runs)),
                    now=now,
                    cooldown=policy.cooldown,
                    muted=muted.issuperset(same),
                )
                seen.append(note)
            due = [note.due for note in seen if note.due is not None]
            if not due:
                continue
            message = wording.trouble(group, policy.links, seen[0].occurrences)
            said.append(message)
            ids = outbox.queue(connection, _channels(policy, group), message.as_json(), now, not_before=min(due))
            incidents.tell(connection, [note.incident_id for note in seen if note.due is not None], ids)
            queued += len(ids)
        incidents.recover(connection, over, now)
        for channel, closed in _by_channel(incidents.recover(connection, well, now)).items():
            message = wording.recovery(closed, now)
            said += [message] if message not in said else []
            queued += len(outbox.queue(connection, [channel] if channel else [], message.as_json(), now))
        for run in successes:
            if SUCCESS in run.wishes.on and not run.wishes.muted:
                message = wording.success(run, policy.links)
                said.append(message)
                to = policy.channels(run.wishes.channels, run.owners)
                queued += len(outbox.queue(connection, to, message.as_json(), now))
    for message in said:
        log.log(LEVELS[message.tone], "%s", "; ".join(filter(None, message.plain().splitlines())))
    return Told(tuple(said), queued)


def _by_channel(closed: Iterable[incidents.Recovered]) -> dict[Channel | None, list[Closed]]:
    """Return for each channel the incidents whose beginning it was told; None stands for the log."""
    found: dict[Channel | None, list[Closed]] = {}
    for incident in closed:
        told = Closed(incident.kind, incident.cause, incident.subjects, incident.occurrences, incident.opened_at)
        for channel in incident.channels or (None,):
            found.setdefault(channel, []).append(told)
    return found


def _channels(policy: Policy, group: Group) -> list[Channel]:
    wished = dict.fromkeys(name for run in group.runs for name in run.wishes.channels)
    owners = dict.fromkeys([*group.owners, *(owner for run in group.runs for owner in run.owners)])
    return policy.channels(tuple(wished), owners)


def _muted(trouble: Trouble, group: Group, silent: Sequence[str]) -> bool:
    if group.runs and all(run.wishes.muted for run in group.runs):
        return True
    names = (trouble.subject, *(f"job:{run.job}" for run in group.runs))
    return any(fnmatchcase(name, what.replace("[", "[[]")) for what in silent for name in names)
