"""Bring what is queued to its channels, within a time budget, whatever the channels do."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from quantmatrix_pipeline import clock
from quantmatrix_pipeline.alerts.channels import Outcome, Sender
from quantmatrix_pipeline.alerts.message import Message
from quantmatrix_pipeline.errors import QuantMatrixError
from quantmatrix_pipeline.warehouse import alert_outbox as outbox
from quantmatrix_pipeline.warehouse.alert_outbox import Channel
from quantmatrix_pipeline.warehouse.engine import Warehouse

log = logging.getLogger(__name__)

BUDGET_SECONDS = 20.0
TIMEOUT_SECONDS = 5.0
LEAST_PAUSE = 0.05  # a channel that says "at once" and refuses again is not asked in a circle
# Far longer than an attempt takes: who is still waiting for an answer has the turn, and notes it when it comes.
LEASE = timedelta(minutes=3)
UNSET = "the settings do not say where it is"


def instant() -> datetime:
    """Return the present by the wall clock: other people's servers know nothing of QM_NOW."""
    return datetime.fromtimestamp(clock.wall(), UTC)


@dataclass
class Delivery:
    """What came of the attempts so far: messages delivered, refused for good, put off; and channels not heard of."""

    delivered: int = 0
    refused: int = 0
    later: int = 0
    unfinished: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def count(self, outcome: Outcome) -> None:
        with self.lock:
            if outcome.delivered:
                self.delivered += 1
            elif outcome.never:
                self.refused += 1
            else:
                self.later += 1


def deliver(
    warehouse: Warehouse,
    sender: Callable[[Channel], Sender | None],
    *,
    worker: str,
    budget_seconds: float = BUDGET_SECONDS,
    now: Callable[[], datetime] = instant,
) -> Delivery:
    """Send what is due, each channel at its own pace; return when all is sent or the budget is used up.

    A message is sent until the channel says that it took it: it is told at least once. It can come twice only where a
    channel took it and its answer was lost.

    Parameters
    ----------
    sender
        What sends to a channel; None where nobody knows how.
    worker
        Who sends; two must not bear the same name.
    """
    deadline = time.monotonic() + budget_seconds
    outbox.expire(warehouse, now())
    done = Delivery()
    # A thread per channel, so that a hanging one holds up nobody else; daemons, so that it never holds up an exit.
    threads = {
        channel: threading.Thread(
            target=_send_all,
            args=(warehouse, channel, sender(channel), f"{worker}:{channel[0]}", deadline, now, done),
            name=f"alerts to {channel[0]}",
            daemon=True,
        )
        for channel in outbox.due(warehouse, now())
    }
    for thread in threads.values():
        thread.start()
    for channel, thread in threads.items():
        thread.join(max(0.0, deadline - time.monotonic()))
        if thread.is_alive():
            done.unfinished.append(channel[0])
    return done


def _send_all(
    warehouse: Warehouse,
    channel: Channel,
    sender: Sender | None,
    worker: str,
    deadline: float,
    now: Callable[[], datetime],
    done: Delivery,
) -> None:
    """Send what waits for one channel, the oldest first, until one fails, the channel wants a pause or time is up."""
    name = channel[0]
    try:
        if not outbox.lease(warehouse, name, worker, now(), now() + LEASE):
            return
        try:
            for queued in outbox.waiting(warehouse, name, now()):
                if time.monotonic() >= deadline:
                    return
                while True:
                    outcome = Outcome(False, UNSET)
                    if sender is not None:
                        message = Message.from_json(queued.message)
                        outcome = sender.send(message, queued.message_id, queued.picture)
                    short = outcome.pause is not None and time.monotonic() + outcome.pause < deadline
                    if outcome.delivered or not short:
                        break
                    time.sleep(max(outcome.pause or 0.0, LEAST_PAUSE))
                done.count(outcome)
                if not _note(warehouse, name, queued.message_id, outcome, now()):
                    return
                if outcome.pause is not None:
                    if not short:
                        outbox.pause(warehouse, name, now() + timedelta(seconds=outcome.pause))
                        return
                    time.sleep(outcome.pause)
        finally:
            outbox.release(warehouse, name, worker)
    except QuantMatrixError as error:
        log.error("alerts to %s: %s", name, error)


def _note(warehouse: Warehouse, channel: str, message_id: int, outcome: Outcome, now: datetime) -> bool:
    """Write down what came of an attempt; tell whether to go on with the next message."""
    if outcome.delivered:
        outbox.delivered(warehouse, channel, message_id, now)
        return True
    if outcome.never:
        outbox.refused(warehouse, message_id, outcome.reason, now)
        log.error("%s will not take message %d: %s", channel, message_id, outcome.reason)
        return True
    wanted = None if outcome.pause is None else timedelta(seconds=outcome.pause)
    until = outbox.failed(warehouse, channel, message_id, outcome.reason, now, pause=wanted)
    log.error("%s: %s; message %d waits until %s", channel, outcome.reason, message_id, f"{until:%H:%M:%SZ}")
    return False
