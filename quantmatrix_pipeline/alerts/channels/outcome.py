"""What came of sending a message, whatever the channel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from quantmatrix_pipeline.alerts.message import Message


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one attempt.

    Attributes
    ----------
    delivered
        Whether the channel took the message.
    reason
        Why not, without any address or secret.
    pause
        Seconds that the channel asks to be left alone, with a message taken or not; None: it asks for nothing.
    never
        Whether this message will not be taken however often it is sent.
    """

    delivered: bool
    reason: str = ""
    pause: float | None = None
    never: bool = False


class Sender(Protocol):
    """Brings one message to one channel."""

    def send(self, message: Message, message_id: int, picture: bytes | None) -> Outcome:
        """Send; raises nothing that a channel could cause.

        Parameters
        ----------
        message_id
            The same whenever the same message is sent again, for who wants to notice.
        picture
            A PNG; left away where the channel takes none.
        """
        ...
