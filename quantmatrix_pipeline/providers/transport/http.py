"""The extracting step of every vendor that speaks HTTP: ask, within budget and deadline, again where that can help."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import ssl
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache
from http import HTTPStatus
from typing import TypeVar
from urllib.parse import quote

import httpx
import stamina
from pydantic import SecretStr

from quantmatrix_pipeline import clock
from quantmatrix_pipeline.errors import AuthFailed, MalformedResponse, RateLimited, VendorError, VendorUnavailable
from quantmatrix_pipeline.providers.transport.answers_kept import KeptAnswers
from quantmatrix_pipeline.providers.transport.calls import Answer, Call, Meter, Timed

T = TypeVar("T")

ATTEMPTS = 4
SHORTEST_SECRET = 8  # characters
LONGEST_OBEYED = 5.0  # seconds of a Retry-After that a call sits out; after longer ones others are asked meanwhile
LONGEST_PAUSE = 2.0  # seconds before another attempt, where the vendor names none
CONNECTIONS = 16
LARGEST_BODY = 64 * 1024 * 1024  # a whole market on one day is 1 to 2 MB
LARGE_BODY = 256 * 1024  # read in a thread, so that other answers can arrive meanwhile
_HIDDEN = "***"

# Says what an answer really is: the error that it carries, whatever its status, or None. Pure.
Refusal = Callable[[Call, Answer], VendorError | None]


@dataclass(frozen=True, slots=True)
class Key:
    """A vendor's key and where it goes: into a header or, where `header` is None, into the query.

    `prefix` stands before it in the header, as in `Bearer `.
    """

    secret: SecretStr
    name: str
    header: bool = False
    prefix: str = ""


class _Attach(httpx.Auth):
    """Puts the key on the request at the last moment, so that no URL of ours ever holds it."""

    def __init__(self, key: Key) -> None:
        self._key = key

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        value = self._key.prefix + self._key.secret.get_secret_value()
        if self._key.header:
            request.headers[self._key.name] = value
        else:
            request.url = request.url.copy_merge_params({self._key.name: value})
        yield request


class Http:
    """One vendor's HTTP client.

    Parameters
    ----------
    vendor
        Its name; stands in errors.
    base_url
        Where its paths are appended.
    meter
        Asked before each attempt, told after it.
    refusal
        The vendor's way of saying no; see `Refusal`. Called for every answer.
    key
        None for a vendor that wants none.
    headers
        Sent with each request.
    timeout, deadline
        Seconds that one attempt may take, and all attempts of a call together with the pauses between them, but without
        waiting for our own budget.
    kept
        Answers that may be served again.
    """

    def __init__(
        self,
        vendor: str,
        base_url: str,
        meter: Meter,
        refusal: Refusal,
        *,
        key: Key | None = None,
        headers: dict[str, str] | None = None,
        timeout: float = 15.0,
        deadline: float = 60.0,
        kept: KeptAnswers | None = None,
    ) -> None:
        self.vendor = vendor
        self._base = base_url.rstrip("/")
        self._meter = meter
        self._refusal = refusal
        self._key = key
        self._headers = headers or {}
        self._timeout = timeout
        self._deadline = deadline
        self._kept = kept
        # Another address, or another key with another plan, has other answers.
        told = f"{self._base} {key.secret.get_secret_value() if key else ''}"
        self._kept_as = f"{vendor}@{hashlib.sha256(told.encode()).hexdigest()[:8]}"
        self._client: httpx.AsyncClient | None = None

    async def open(self) -> None:
        """Open the client in this event loop."""
        if self._client is None:
            # At INFO and DEBUG they log URLs and headers, and a key stands in one of them.
            for name in ("httpx", "httpcore", "hpack"):
                logging.getLogger(name).setLevel(logging.WARNING)
            stamina.instrumentation.set_on_retry_hooks([])  # the meter hears of every attempt
            self._client = httpx.AsyncClient(
                http2=True,
                verify=_certificates(),
                timeout=self._timeout,
                limits=httpx.Limits(max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS),
                headers=self._headers,
                follow_redirects=self._key is None,  # never carry a key to another host
                auth=_Attach(self._key) if self._key else None,
            )

    async def close(self) -> None:
        """Close the client; `open` makes another one."""
        if self._client is not None:
            client, self._client = self._client, None
            await client.aclose()

    async def ask(self, call: Call, read: Callable[[Answer], T]) -> T:
        """Return what `read` (pure) makes of the answer to a call: of the kept one where there is one, else the
        vendor's.

        Tried up to four times with growing, jittered pauses where a second try can help: a time-out, a server error, a
        429 whose `Retry-After` is over in 5 s; twice where there is no connection at all, which is mostly so
        for longer. An answer is kept once it has been read.

        Raises
        ------
        VendorError
            What the vendor answered, typed; what `read` found wrong; `VendorUnavailable` at the deadline; `RateLimited`
            or `QuotaExhausted` when our own budget allows no call.
        """
        if self._kept is not None and call.keep_seconds > 0:
            kept = await self._kept.find(self._kept_as, call)
            if kept is not None:
                return read(kept)
        ends = time.monotonic() + self._deadline
        tried = 0

        def worthwhile(error: Exception) -> bool | float:
            left = ends - time.monotonic()
            if isinstance(error, RateLimited):
                wait = error.retry_after
                return wait if wait is not None and wait < min(left, LONGEST_OBEYED) else False
            return isinstance(error, VendorUnavailable) and longest < left and (error.reached or tried < 2)

        longest = min(LONGEST_PAUSE, self._deadline / 10)
        async for attempt in stamina.retry_context(
            on=worthwhile, attempts=ATTEMPTS, timeout=None, wait_initial=0.25, wait_max=longest
        ):
            asked = time.monotonic()
            await self._meter.admit(self.vendor, call.weight)  # not an attempt: what our own budget refuses stays so
            ends += time.monotonic() - asked
            tried += 1
            with attempt:
                return await self._attempt(call, read, ends)
        raise AssertionError("the attempts end in an answer or in an error")

    async def forget(self, capability: str, symbol: str) -> None:
        """Don't serve again what was kept of a symbol."""
        if self._kept is not None:
            await self._kept.forget(self._kept_as, capability, symbol)

    async def _attempt(self, call: Call, read: Callable[[Answer], T], ends: float) -> T:
        started = time.perf_counter()
        took: float | None = None
        error: VendorError | None = None
        timed_out = cancelled = False
        try:
            async with asyncio.timeout(max(0.0, ends - time.monotonic())):
                answer = await self._extract(call)
            took = time.perf_counter() - started
            said_no = self._refusal(call, answer) or _by_status(self.vendor, call, answer)
            if said_no is not None:
                raise said_no
            value = read(answer) if len(answer.content) < LARGE_BODY else await asyncio.to_thread(read, answer)
        except TimeoutError as late:
            timed_out = True
            what = str(late) or f"no answer within {self._deadline:.0f} s, retries included"
            error = VendorUnavailable(self.vendor, f"{call.endpoint}: {what}", symbol=call.symbol)
            raise error from None
        except VendorError as failed:
            error = failed
            raise
        except Exception as unread:
            error = MalformedResponse(self.vendor, f"{call.endpoint}: {type(unread).__name__}", symbol=call.symbol)
            raise
        finally:
            seconds = took if took is not None else time.perf_counter() - started
            lost = took is None and not timed_out
            if not cancelled:
                self._meter.note(Timed(self.vendor, call.capability, call.endpoint, seconds * 1000, error, lost))
        if self._kept is not None and call.keep_seconds > 0:
            await self._kept.put(self._kept_as, call, answer)
        return value

    async def _extract(self, call: Call) -> Answer:
        if self._client is None:
            raise RuntimeError(f"{self.vendor}: ask between open() and close()")
        try:
            async with self._client.stream("GET", self._base + call.path, params=dict(call.params)) as response:
                parts, size = [], 0
                async for part in response.aiter_bytes():
                    parts.append(part)
                    size += len(part)
                    if size > LARGEST_BODY:
                        raise MalformedResponse(
                            self.vendor, f"{call.endpoint}: a body of over {LARGEST_BODY >> 20} MB", symbol=call.symbol
                        )
        except httpx.TimeoutException:
            raise TimeoutError(f"no answer within {self._timeout:.0f} s") from None
        except httpx.HTTPError as error:
            what = f"{call.endpoint}: {type(error).__name__}"
            reached = not isinstance(error, httpx.ConnectError)
            # No cause: its text and its request hold the URL, and with it perhaps the key.
            raise VendorUnavailable(self.vendor, what, symbol=call.symbol, reached=reached) from None
        headers = {name.lower(): self._without_key(value) for name, value in response.headers.items()}
        content = b"".join(parts)
        for secret in self._secrets:  # Alpha Vantage tells people their key
            content = content.replace(secret.encode(), _HIDDEN.encode())
        return Answer(response.status_code, headers, content, clock.now())

    def _without_key(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, _HIDDEN)
        return text

    @property
    def _secrets(self) -> tuple[str, ...]:
        """The key as it is, and as it stands in a URL."""
        secret = self._key.secret.get_secret_value() if self._key else ""
        # A short one, such as "demo", is no secret, and cutting it out would cut up the data.
        return tuple(dict.fromkeys((secret, quote(secret, safe="")))) if len(secret) >= SHORTEST_SECRET else ()


@lru_cache(maxsize=1)
def _certificates() -> ssl.SSLContext:
    """The certificates that are trusted, read once for all vendors: it takes 25 ms."""
    return httpx.create_ssl_context()


def _by_status(vendor: str, call: Call, answer: Answer) -> VendorError | None:
    """Return the error that a status stands for, where the vendor's own body said nothing better."""
    status, said = answer.status, answer.text(160)
    what = f"{call.endpoint}: HTTP {status}" + (f": {said}" if said else "")
    if status < HTTPStatus.MULTIPLE_CHOICES:
        return None
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return RateLimited(vendor, what, symbol=call.symbol, retry_after=retry_after(answer))
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        return AuthFailed(vendor, f"{what}; check the key")
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status == HTTPStatus.REQUEST_TIMEOUT:
        return VendorUnavailable(vendor, what, symbol=call.symbol)
    return MalformedResponse(vendor, what, symbol=call.symbol)


def retry_after(answer: Answer) -> float | None:
    """Return the seconds that a `Retry-After` header asks for (a number or an HTTP date), None where there is none."""
    value = answer.headers.get("retry-after", "").strip()
    if not value:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        at = parsedate_to_datetime(value)
    except ValueError:
        return None
    return max(
        0.0, ((at if at.tzinfo else at.replace(tzinfo=UTC)) - datetime.fromtimestamp(clock.wall(), UTC)).total_seconds()
    )
