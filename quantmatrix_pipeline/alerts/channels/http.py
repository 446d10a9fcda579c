"""Posting to an address that is a secret, and what the answers mean."""

from __future__ import annotations

import logging
import math
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import httpx

from quantmatrix_pipeline import clock
from quantmatrix_pipeline.alerts.channels.outcome import Outcome

TAKEN_NEVER = (
    400,
    413,
    422,
)  # it is the message that is wrong; all others may be mended by waiting, or by the settings
LONGEST_PAUSE = 3600.0
LONGEST_ANSWER = 65_536


def hide_addresses() -> None:
    """Keep the HTTP library from logging each address that it posts to, which is a secret."""
    for name in ("httpx", "httpcore"):
        logging.getLogger(name).setLevel(logging.WARNING)


def post(url: str, timeout: float, **body: Any) -> Outcome:
    """Post and read the answer; `body` is what `httpx.post` takes."""
    hide_addresses()
    try:
        with httpx.Client(timeout=timeout, follow_redirects=False) as client, client.stream("POST", url, **body) as got:
            content = b""
            for part in got.iter_bytes():
                content += part
                if len(content) > LONGEST_ANSWER:
                    break
            return _outcome(got, content)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return Outcome(False, f"no answer: {type(error).__name__}")


def _outcome(answer: httpx.Response, content: bytes) -> Outcome:
    if answer.is_success:
        return Outcome(True, pause=_until_reset(answer))
    if answer.status_code == 429:
        return Outcome(False, "answered 429, too many messages", pause=_retry_after(answer, content))
    return Outcome(False, f"answered {answer.status_code}", never=answer.status_code in TAKEN_NEVER)


def _until_reset(answer: httpx.Response) -> float | None:
    """Seconds until the next message may come, where this was the last one of Discord's window."""
    if answer.headers.get("x-ratelimit-remaining") != "0":
        return None
    return _seconds(answer.headers.get("x-ratelimit-reset-after"))


def _retry_after(answer: httpx.Response, content: bytes) -> float:
    """Seconds to wait: Discord says it in the body, others in the header, as a number or as a date."""
    try:
        told = _seconds(httpx.Response(200, content=content).json()["retry_after"])
    except (ValueError, KeyError, TypeError):
        told = None
    header = answer.headers.get("retry-after")
    told = told if told is not None else _seconds(header)
    if told is None and header:
        try:
            at = parsedate_to_datetime(header)
            told = max(0.0, (at - datetime.fromtimestamp(clock.wall(), UTC)).total_seconds())
        except (ValueError, TypeError):
            told = None
    return min(1.0 if told is None else told, LONGEST_PAUSE)


def _seconds(text: object) -> float | None:
    try:
        value = float(text)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
    return value if math.isfinite(value) and value >= 0 else None
