"""Tell people: post a message to a Discord-compatible webhook when one is set, else write it to the log."""

from __future__ import annotations

import logging
import time

import httpx
from pydantic import SecretStr

log = logging.getLogger(__name__)

LONGEST = 1900  # Discord refuses a content over 2,000 characters
LONGEST_WAIT = 10.0


class Notifier:
    """Posts `{"content": ...}`; never raises, and never shows the webhook's address, which is a secret."""

    def __init__(self, webhook: SecretStr | None, *, timeout: float = 5.0) -> None:
        self._webhook = webhook
        self._timeout = timeout

    def send(self, message: str) -> bool:
        """Post a message; say whether it arrived. A 429 is obeyed once."""
        log.warning("%s", message)
        if self._webhook is None:
            return False
        body = {"content": message if len(message) <= LONGEST else message[: LONGEST - 2] + " …"}
        for attempt in (1, 2):
            try:
                answer = httpx.post(self._webhook.get_secret_value(), json=body, timeout=self._timeout)
            except httpx.HTTPError as error:
                log.error("the webhook did not take the message: %s", type(error).__name__)
                return False
            if answer.is_success:
                return True
            if answer.status_code != 429 or attempt == 2:
                log.error("the webhook answered %d", answer.status_code)
                return False
            time.sleep(min(_retry_after(answer), LONGEST_WAIT))
        return False


def _retry_after(answer: httpx.Response) -> float:
    """Seconds to wait: Discord says it in the body, others in the header."""
    try:
        return float(answer.json()["retry_after"])
    except (ValueError, KeyError, TypeError):
        header = answer.headers.get("retry-after", "1")
        return float(header) if header.replace(".", "", 1).isdigit() else 1.0
