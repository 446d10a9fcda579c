"""The HTTP session that yfinance is given: one call per question, refusals as refusals, and an address of one's own.

yfinance asks again, with other cookies, whenever an answer's status is 400 or more, and then reports most of them as
"no data". A refused chart call is therefore raised here, where the status is still known.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

from curl_cffi import requests

CHART = "/v8/finance/chart/"
_WORTH_NEW_COOKIES = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)


class ChartRefused(Exception):
    """A chart call was answered with a status of 400 or more."""

    def __init__(self, status: int, text: str, retry_after: float | None) -> None:
        super().__init__(f"HTTP {status}: {text[:120]}")
        self.status = status
        self.text = text
        self.retry_after = retry_after


class ChartSession(requests.Session[requests.Response]):
    """A session that looks like a browser, as Yahoo wants it.

    Parameters
    ----------
    base_url
        Where calls to any host under yahoo.com go instead, path and query kept.
    """

    def __init__(self, base_url: str | None = None) -> None:
        super().__init__(impersonate="chrome")
        self._own_base = base_url.rstrip("/") if base_url else None

    def request(self, method: Any, url: str, *args: Any, **kwargs: Any) -> Any:
        parts = urlsplit(url)
        if self._own_base and (parts.hostname or "").endswith("yahoo.com"):
            url = self._own_base + parts.path + (f"?{parts.query}" if parts.query else "")
        answer = super().request(method, url, *args, **kwargs)
        status = answer.status_code
        if status >= HTTPStatus.BAD_REQUEST and CHART in parts.path and status not in _WORTH_NEW_COOKIES:
            wait = answer.headers.get("Retry-After") or ""
            raise ChartRefused(status, answer.text, float(wait) if wait.isdigit() else None)
        return answer
