"""How Yahoo is reached: yfinance holds the conversation, and each call that it makes is budgeted, bounded and typed.

The library knows Yahoo's cookies, crumbs and consent pages, and looks like a browser. It also asks on its own: for a
cookie and a crumb before the first answer, and, whenever a status is 400 or more, for others and then a second time;
and it keeps one session per process. So it is given a session of ours, which sees every call, and lets only a refusal
of the cookies be asked again.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

from curl_cffi import requests

from quantmatrix_pipeline import clock
from quantmatrix_pipeline.errors import MalformedResponse, RateLimited, VendorError, VendorUnavailable
from quantmatrix_pipeline.providers.transport.calls import Answer, Call, Meter, Timed
from quantmatrix_pipeline.providers.transport.http import CONNECTIONS, Http, Refusal, retry_after
from quantmatrix_pipeline.providers.transport.vendor import Access

VENDOR = "yfinance"
HOST = "https://query2.finance.yahoo.com"
CHART = "/v8/finance/chart/"
BEFORE_LISTING = b"Data doesn't exist for startDate"
PAUSE = 60.0  # seconds for which a crumb or cookie that could not be had is not asked for again
_DATA = ("/v7/", "/v8/", "/v10/")
_ASIDE_TIMEOUT = 5.0  # seconds; the library lets all other questions wait while it asks for a cookie
_WORTH_NEW_COOKIES = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)
_LIMITED = "Too Many Requests"


class _Refused(Exception):
    """Yahoo said no; raised through the library, so that it does not ask again."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(f"HTTP {answer.status}")
        self.answer = answer


@dataclass(slots=True)
class _Conversation:
    """One question put to the library, in a thread of its own.

    Its first call for data is admitted and noted by whoever asked; all others that the library makes are by the
    session. `refused` is what our own budget said to one of those; `over` tells the thread that nobody waits for it
    any more.
    """

    call: Call
    loop: asyncio.AbstractEventLoop
    paid: bool = True
    refused: VendorError | None = None
    over: bool = False

    def note(self, meter: Meter, endpoint: str, started: float, error: VendorError | None, lost: bool = False) -> None:
        milliseconds = (time.perf_counter() - started) * 1000
        timed = Timed(VENDOR, self.call.capability, endpoint, milliseconds, error, lost)
        self.loop.call_soon_threadsafe(meter.note, timed)


class YahooSession(requests.Session[requests.Response]):
    """A session that looks like a browser, as Yahoo wants it.

    Parameters
    ----------
    base_url
        Where calls to any host under yahoo.com go instead, path and query kept; None, or an address of Yahoo itself:
        nowhere else.
    meter
        Admits and hears of each call that belongs to a conversation; None: the session is used without any.
    deadline
        Seconds that a call may wait to be admitted.
    """

    def __init__(self, base_url: str | None = None, meter: Meter | None = None, deadline: float = 60.0) -> None:
        super().__init__(impersonate="chrome")
        self._own_base = base_url.rstrip("/") if base_url and not _yahoos(base_url) else None
        self._meter = meter
        self._deadline = deadline
        self._here = threading.local()
        self._not_before: dict[str, float] = {}  # endpoint -> when it may be asked again
        self._limited_until = 0.0  # no crumb until then, for too many calls

    @contextmanager
    def conversing(self, conversation: _Conversation) -> Iterator[None]:
        """Count this thread's calls to a conversation."""
        self._here.conversation = conversation
        try:
            yield
        finally:
            self._here.conversation = None

    def request(self, method: Any, url: str, *args: Any, **kwargs: Any) -> Any:
        parts = urlsplit(url)
        if self._own_base and _yahoos(url):
            url = self._own_base + parts.path + (f"?{parts.query}" if parts.query else "")

        def make(**changed: Any) -> requests.Response:
            return super(YahooSession, self).request(method, url, *args, **(kwargs | changed))

        conversation = getattr(self._here, "conversation", None)
        if conversation is None or self._meter is None:
            return make()
        if conversation.over:
            raise VendorUnavailable(VENDOR, "given up at the deadline", symbol=conversation.call.symbol)
        if parts.path.startswith(_DATA):
            with_crumb = "crumb" in (kwargs.get("params") or {})
            return self._data(conversation, self._meter, make, with_crumb or parts.path.startswith(CHART))
        return self._aside(conversation, self._meter, make, "crumb" if parts.path.endswith("getcrumb") else "cookie")

    def _data(
        self, conversation: _Conversation, meter: Meter, make: Callable[..., requests.Response], introduced: bool
    ) -> requests.Response:
        if not introduced and time.monotonic() < self._limited_until:
            # It would be refused for want of a crumb, which was refused for too many calls.
            what = f"{conversation.call.endpoint}: no crumb to be had, so it is not asked for"
            conversation.refused = RateLimited(VENDOR, what, symbol=conversation.call.symbol)
            raise conversation.refused
        first, conversation.paid = conversation.paid, False
        if not first:
            self._admit(conversation, meter)
        started = time.perf_counter()
        response = make()
        if response.status_code < HTTPStatus.BAD_REQUEST:
            return response
        if first and response.status_code in _WORTH_NEW_COOKIES:
            what = f"{conversation.call.endpoint}: HTTP {response.status_code}; other cookies are fetched"
            refused = MalformedResponse(VENDOR, what)
            conversation.note(meter, conversation.call.endpoint, started, refused)
            return response
        answer = _answer(response)
        if answer.status == HTTPStatus.BAD_REQUEST and BEFORE_LISTING in answer.content:
            # That there is nothing on those days is an answer, not a refusal.
            answer = Answer(HTTPStatus.OK, answer.headers, answer.content, answer.learned_at)
        raise _Refused(answer)

    def _aside(
        self, conversation: _Conversation, meter: Meter, make: Callable[..., requests.Response], endpoint: str
    ) -> requests.Response:
        """Ask for what is no data; what can't be had is left alone for a while, as the library would ask each time."""
        from yfinance.exceptions import YFRateLimitError

        if time.monotonic() < self._not_before.get(endpoint, 0.0):
            raise requests.exceptions.ConnectionError(f"no {endpoint} a moment ago; not asked again yet")
        self._admit(conversation, meter)
        started = time.perf_counter()
        try:
            response = make(timeout=_ASIDE_TIMEOUT)
        except requests.exceptions.RequestException as error:
            self._not_before[endpoint] = time.monotonic() + PAUSE
            timed_out = isinstance(error, requests.exceptions.Timeout)
            failed = VendorUnavailable(VENDOR, f"{endpoint}: {type(error).__name__}")
            conversation.note(meter, endpoint, started, failed, lost=not timed_out)
            raise
        limited = endpoint == "crumb" and (
            response.status_code == HTTPStatus.TOO_MANY_REQUESTS or _LIMITED in response.text
        )
        if not limited:
            conversation.note(meter, endpoint, started, None)
            return response
        wait = retry_after(_answer(response))
        conversation.note(meter, endpoint, started, RateLimited(VENDOR, f"{endpoint}: {_LIMITED}", retry_after=wait))
        self._limited_until = self._not_before[endpoint] = time.monotonic() + (PAUSE if wait is None else wait)
        raise YFRateLimitError  # before the library takes the text for a crumb; it goes on without

    def _admit(self, conversation: _Conversation, meter: Meter) -> None:
        admission = asyncio.run_coroutine_threadsafe(meter.admit(VENDOR, 1), conversation.loop)
        try:
            admission.result(self._deadline)
        except VendorError as error:
            conversation.refused = error
            raise
        finally:
            admission.cancel()


class _Deaf:
    """A meter that does not hear of what our own budget refused in the middle of a conversation: no call was made."""

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        self.unsaid: list[VendorError] = []

    async def admit(self, vendor: str, weight: int) -> None:
        await self._meter.admit(vendor, weight)

    def note(self, timed: Timed) -> None:
        for place, error in enumerate(self.unsaid):
            if error is timed.error:
                del self.unsaid[place]
                return
        self._meter.note(timed)


class YahooHttp(Http):
    """Yahoo's client: budget, retries, deadline and kept answers as for every vendor; the calls are the library's.

    It runs in as many threads as other vendors have connections. It has its own copy of what the library keeps per
    process, so that two clients don't use each other's session.
    """

    def __init__(self, access: Access, refusal: Refusal) -> None:
        meter = _Deaf(access.meter)
        super().__init__(
            VENDOR,
            access.base_url,
            meter,
            refusal,
            timeout=access.timeout,
            deadline=access.deadline,
            kept=access.kept,
        )
        self._deaf = meter
        self._access = access
        self._pool: ThreadPoolExecutor | None = None
        self._session: YahooSession | None = None
        self._library: Any = None

    async def open(self) -> None:
        if self._pool is None:
            self._pool = ThreadPoolExecutor(CONNECTIONS, thread_name_prefix=VENDOR)
            self._session = YahooSession(self._access.base_url, self._access.meter, self._access.deadline)
            loop = asyncio.get_running_loop()
            self._library = await loop.run_in_executor(self._pool, _library, self._session)

    async def close(self) -> None:
        if self._pool is not None and self._session is not None:
            pool, self._pool = self._pool, None
            await asyncio.to_thread(pool.shutdown, cancel_futures=True)
            self._session.close()

    async def _extract(self, call: Call) -> Answer:
        if self._pool is None:
            raise RuntimeError(f"{VENDOR}: ask between open() and close()")
        loop = asyncio.get_running_loop()
        conversation = _Conversation(call, loop)
        try:
            return await loop.run_in_executor(self._pool, self._converse, conversation)
        except VendorError as error:
            if error is conversation.refused:
                self._deaf.unsaid.append(error)
            raise
        finally:
            conversation.over = True

    def _converse(self, conversation: _Conversation) -> Answer:
        assert self._session is not None, "there while the pool is"
        call, library = conversation.call, self._library
        if library._crumb is not None and library._cookie is None:
            # The session holds it. Where its disk cache fails, the library would fetch one before each answer.
            library._cookie = True
        with self._session.conversing(conversation):
            try:
                response = library.get(HOST + call.path, params=dict(call.params), timeout=self._access.timeout)
            except _Refused as refused:
                return refused.answer
            except requests.exceptions.Timeout:
                raise TimeoutError(f"no answer within {self._access.timeout:.0f} s") from None
            except OSError as error:
                said = str(error).partition(" See https://curl.se")[0]
                what = f"{call.endpoint}: {type(error).__name__}: {said}"
                reached = not isinstance(error, requests.exceptions.ConnectionError)
                raise VendorUnavailable(VENDOR, what, symbol=call.symbol, reached=reached) from None
        return _answer(response)


def _library(session: YahooSession) -> Any:
    """Return the library's conversation with Yahoo over a session; it costs a second and opens caches on disk."""
    from yfinance.data import YfData

    logging.getLogger("yfinance").setLevel(logging.CRITICAL)  # each failure is handed on with its type instead
    return type.__call__(YfData, session)  # past its metaclass, which hands out one object per process


def _answer(response: requests.Response) -> Answer:
    headers = {name.lower(): value or "" for name, value in response.headers.items()}
    return Answer(response.status_code, headers, response.content, clock.now())


def _yahoos(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    return host == "yahoo.com" or host.endswith(".yahoo.com")
