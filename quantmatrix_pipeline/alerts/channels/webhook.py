"""Any webhook: the message as JSON, with an id by which a second delivery can be told."""

from __future__ import annotations

import base64

from quantmatrix_pipeline.alerts.channels.http import post
from quantmatrix_pipeline.alerts.channels.outcome import Outcome
from quantmatrix_pipeline.alerts.message import Message


class Webhook:
    """Posts `{"id", "event", "tone", "title", "facts", "text", "link", "runbook"}`, and `picture` in base64."""

    def __init__(self, url: str, timeout: float) -> None:
        self._url = url
        self._timeout = timeout

    def send(self, message: Message, message_id: int, picture: bytes | None) -> Outcome:
        body = {"id": message_id, **message.as_json(), "facts": dict(message.facts)}
        if picture is not None:
            body["picture"] = base64.b64encode(picture).decode()
        return post(self._url, self._timeout, json=body, headers={"Idempotency-Key": str(message_id)})
