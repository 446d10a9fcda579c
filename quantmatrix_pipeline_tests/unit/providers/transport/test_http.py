"""One way out over HTTP, asked of real servers: retries, deadlines, refusals, and where the key may be seen."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from pydantic import SecretStr

from quantmatrix_pipeline.errors import (
    AuthFailed,
    MalformedResponse,
    RateLimited,
    VendorError,
    VendorUnavailable,
)
from quantmatrix_pipeline.providers.contract import Capability
from quantmatrix_pipeline.providers.transport.calls import Answer, Call
from quantmatrix_pipeline.providers.transport.http import ATTEMPTS, CONNECTIONS, LARGE_BODY, Http, Key
from quantmatrix_pipeline_tests.unit.providers.vendors.metering import Recording
from quantmatrix_pipeline_tests.unit.providers.vendors.replay import Call as Asked
from quantmatrix_pipeline_tests.unit.providers.vendors.replay import Reply, in_order, replay

CALL = Call(Capability.QUOTES, "quote", "/quote", {"symbol": "A"}, symbol="A")
SECRET = "s3cr3t+key/of=mine"
OK = Reply("fine")


def text(answer: Answer) -> str:
    return answer.content.decode()


def nobody_refuses(call: Call, answer: Answer) -> VendorError | None:
    return None


class Asking:
    """A client of a server; `ask` opens it, asks once and closes it."""

    def __init__(self, url: str, *, deadline: float = 2.0, timeout: float = 1.0, key: Key | None = None) -> None:
        self.meter = Recording()
        self.http = Http("v", url, self.meter, nobody_refuses, key=key, timeout=timeout, deadline=deadline)

    def ask(self, call: Call = CALL, read: Callable[[Answer], object] = text) -> object:
        async def once() -> object:
            await self.http.open()
            try:
                return await self.http.ask(call, read)
            finally:
                await self.http.close()

        return asyncio.run(once())


@contextmanager
def raw(*answers: bytes) -> Iterator[str]:
    """Say these bytes, one after the other, to whoever connects, and hang up."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        for answer in answers:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            with connection:
                connection.recv(65536)
                connection.sendall(answer)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
    finally:
        server.shutdown(socket.SHUT_RDWR)
        server.close()
        thread.join()


# --- once more, where that can help ------------------------------------------------------------------------------


def test_a_server_error_is_asked_again_and_each_attempt_is_charged_and_noted() -> None:
    with replay(in_order(Reply("oops", 500), Reply("oops", 503), OK)) as server:
        asking = Asking(server.url)
        assert asking.ask(Call(Capability.QUOTES, "quote", "/quote", weight=3)) == "fine"
    assert asking.meter.weights == [3, 3, 3]
    assert [type(t.error).__name__ for t in asking.meter.attempts] == [
        "VendorUnavailable",
        "VendorUnavailable",
        "NoneType",
    ]
    assert all(t.milliseconds > 0 and not t.lost for t in asking.meter.attempts)


def test_it_is_asked_four_times_and_no_more() -> None:
    with replay(lambda _: Reply("oops", 502)) as server:
        with pytest.raises(VendorUnavailable, match="HTTP 502: oops"):
            Asking(server.url).ask()
        assert len(server.calls) == ATTEMPTS


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, MalformedResponse),
        (401, AuthFailed),
        (403, AuthFailed),
        (404, MalformedResponse),
        (301, MalformedResponse),
    ],
)
def test_what_a_second_try_can_not_mend_is_asked_once(status: int, error: type[VendorError]) -> None:
    with replay(lambda _: Reply("no", status)) as server:
        with pytest.raises(error):
            Asking(server.url).ask()
        assert len(server.calls) == 1


def test_an_answer_that_can_not_be_read_is_asked_for_once_and_noted_as_malformed() -> None:
    def read(_: Answer) -> str:
        raise KeyError("close")

    with replay(lambda _: OK) as server:
        asking = Asking(server.url)
        with pytest.raises(KeyError):
            asking.ask(read=read)
    assert [type(t.error) for t in asking.meter.attempts] == [MalformedResponse]


@pytest.mark.parametrize("dated", [False, True])
def test_the_pause_that_a_429_asks_for_is_kept(dated: bool) -> None:
    def refused(_: Asked) -> Reply:
        if len(server.calls) > 1:
            return OK
        at = datetime.now(UTC) + timedelta(seconds=2)
        return Reply("", 429, {"Retry-After": format_datetime(at, usegmt=True) if dated else "1"})

    with replay(refused) as server:
        started = time.monotonic()
        assert Asking(server.url, deadline=10).ask() == "fine"
        assert time.monotonic() - started >= 1.0
        assert len(server.calls) == 2


@pytest.mark.parametrize(
    ("header", "pause"), [({"Retry-After": "60"}, 60.0), ({}, None), ({"Retry-After": "soon"}, None)]
)
def test_a_429_whose_pause_is_unknown_or_outlasts_the_deadline_is_handed_on(
    header: dict[str, str], pause: float | None
) -> None:
    with replay(lambda _: Reply("slow down", 429, header)) as server:
        with pytest.raises(RateLimited, match="HTTP 429: slow down") as caught:
            Asking(server.url).ask()
        assert len(server.calls) == 1
    assert caught.value.retry_after == pause


def test_the_deadline_holds_for_all_attempts_together() -> None:
    def slow(_: Asked) -> Reply:
        time.sleep(0.3)
        return Reply("oops", 500)

    with replay(slow) as server:
        started = time.monotonic()
        with pytest.raises(VendorUnavailable):
            Asking(server.url, deadline=0.8).ask()
        assert time.monotonic() - started < 1.1
        assert len(server.calls) < ATTEMPTS


def test_one_attempt_does_not_hang_longer_than_its_timeout() -> None:
    def hang_first(_: Asked) -> Reply:
        if len(server.calls) == 1:
            time.sleep(0.6)
        return OK

    with replay(hang_first) as server:
        asking = Asking(server.url, timeout=0.2)
        assert asking.ask() == "fine"
        first, second = asking.meter.attempts
        assert "no answer within" in str(first.error)
        assert 200 <= first.milliseconds < 500
        assert not first.lost
        assert second.error is None


def test_waiting_for_our_own_budget_is_not_counted_as_the_vendors_time() -> None:
    class Late(Recording):
        async def admit(self, vendor: str, weight: int) -> None:
            await super().admit(vendor, weight)
            await asyncio.sleep(0.5)

    with replay(in_order(Reply("oops", 500), OK)) as server:
        asking = Asking(server.url, deadline=0.4)
        asking.http._meter = asking.meter = Late()
        assert asking.ask() == "fine"
        assert all(t.milliseconds < 400 for t in asking.meter.attempts)


def test_what_our_own_budget_refuses_is_not_tried_again() -> None:
    class Spent(Recording):
        async def admit(self, vendor: str, weight: int) -> None:
            await super().admit(vendor, weight)
            raise RateLimited(vendor, "no room", retry_after=0.01)

    with replay(lambda _: OK) as server:
        asking = Asking(server.url)
        asking.http._meter = asking.meter = Spent()
        with pytest.raises(RateLimited, match="no room"):
            asking.ask()
        assert server.calls == []
    assert asking.meter.weights == [1]
    assert asking.meter.attempts == []


# --- what comes back ---------------------------------------------------------------------------------------------


def test_where_nobody_listens_the_vendor_is_unavailable_and_its_speed_unknown() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    asking = Asking(f"http://127.0.0.1:{port}")
    with pytest.raises(VendorUnavailable, match="v: A: quote: ConnectError"):
        asking.ask()
    assert len(asking.meter.attempts) == 2  # no connection is mostly none for longer
    assert all(t.lost for t in asking.meter.attempts)


def test_a_body_that_breaks_off_is_no_answer() -> None:
    half = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhalf"
    with raw(*[half] * ATTEMPTS) as url, pytest.raises(VendorUnavailable, match="RemoteProtocolError"):
        Asking(url).ask()


def test_a_body_that_breaks_off_once_is_asked_for_again() -> None:
    whole = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\nfine"
    with raw(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhalf", whole) as url:
        assert Asking(url).ask() == "fine"


def test_a_large_body_is_read_in_a_thread_and_a_small_one_is_not() -> None:
    def where(_: Answer) -> bool:
        return threading.current_thread() is threading.main_thread()

    with replay(in_order(Reply("x" * LARGE_BODY), Reply("x"))) as server:
        asking = Asking(server.url, deadline=10)
        assert asking.ask(read=where) is False
        assert asking.ask(read=where) is True


def test_a_body_without_end_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("quantmatrix_pipeline.providers.transport.http.LARGEST_BODY", 1 << 20)
    with replay(lambda _: Reply("x" * (2 << 20))) as server:
        with pytest.raises(MalformedResponse, match="a body of over 1 MB"):
            Asking(server.url, deadline=10).ask()
        assert len(server.calls) == 1


def test_the_vendors_own_words_for_no_are_heard_before_the_status() -> None:
    def refusal(call: Call, answer: Answer) -> VendorError | None:
        return RateLimited("v", "thank you for using us") if b"Thank you" in answer.content else None

    with replay(lambda _: Reply("Thank you for using our API", 200)) as server:
        asking = Asking(server.url)
        asking.http._refusal = refusal
        with pytest.raises(RateLimited):
            asking.ask()


# --- the key -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("header", [False, True])
def test_the_key_is_sent_where_it_belongs_and_nowhere_else(header: bool) -> None:
    key = Key(SecretStr(SECRET), "X-Key" if header else "apikey", header, "Bearer " if header else "")
    with replay(lambda _: OK) as server:
        Asking(server.url, key=key).ask()
        (asked,) = server.calls
    assert asked.query == {"symbol": "A"} | ({} if header else {"apikey": SECRET})
    assert [value for value in asked.headers.values() if SECRET in value] == ([f"Bearer {SECRET}"] if header else [])
    assert SECRET not in repr(key)


@pytest.mark.parametrize("header", [False, True])
@pytest.mark.parametrize("status", [200, 400, 401, 429, 500])
def test_no_text_ever_holds_the_key(header: bool, status: int, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    key = Key(SecretStr(SECRET), "apikey", header)
    quoted = "s3cr3t%2Bkey%2Fof%3Dmine"
    echo = Reply(f"your key {SECRET}, in a URL {quoted}", status, {"X-You": SECRET, "X-Url": quoted})
    seen: list[str] = []

    def read(answer: Answer) -> str:
        seen.append(f"{answer} {answer.headers}")
        raise MalformedResponse("v", answer.text())

    with replay(lambda _: echo) as server:
        asking = Asking(server.url, key=key, deadline=0.5)
        with pytest.raises(VendorError) as caught:
            asking.ask(read=read)
    errors: list[BaseException] = [caught.value]
    while (inner := errors[-1].__cause__ or errors[-1].__context__) is not None:
        errors.append(inner)
    texts = [*seen, caplog.text, *(f"{e!r} {e} {e.__dict__}" for e in errors), repr(asking.meter.attempts)]
    assert "***" in "".join(texts)
    for word in (SECRET, quoted):
        assert not [t for t in texts if word in t]


def test_the_libraries_that_log_urls_and_headers_are_silent(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with replay(lambda _: OK) as server:
        Asking(server.url, key=Key(SecretStr(SECRET), "apikey")).ask()
    for name in ("httpx", "httpcore.http11", "httpcore.http2", "hpack.hpack", "hpack.table"):
        assert not logging.getLogger(name).isEnabledFor(logging.INFO)
    assert "127.0.0.1" not in caplog.text


def test_a_redirect_never_carries_the_key_to_another_host_and_is_followed_without_one() -> None:
    with replay(lambda _: OK) as other, replay(lambda _: Reply("", 302, {"Location": other.url + "/x"})) as server:
        with pytest.raises(MalformedResponse, match="HTTP 302"):
            Asking(server.url, key=Key(SecretStr(SECRET), "X-Key", header=True)).ask()
        assert other.calls == []
        assert Asking(server.url).ask() == "fine"
        assert len(other.calls) == 1


# --- connections -------------------------------------------------------------------------------------------------


def test_a_connection_is_used_again_and_no_more_than_sixteen_are_open_at_once() -> None:
    ports: set[int] = set()
    lock, busy, most = threading.Lock(), 0, 0

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            nonlocal busy, most
            with lock:
                ports.add(self.client_address[1])
                busy += 1
                most = max(most, busy)
            time.sleep(0.02)
            with lock:
                busy -= 1
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"ok")

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    http = Http("v", f"http://127.0.0.1:{server.server_address[1]}", Recording(), nobody_refuses, timeout=20)

    async def many() -> tuple[int, int]:
        await http.open()
        for _ in range(5):
            await http.ask(CALL, text)
        one_after_the_other = len(ports)
        await asyncio.gather(*(http.ask(CALL, text) for _ in range(100)))
        await http.close()
        return one_after_the_other, len(ports)

    try:
        first, all_of_them = asyncio.run(many())
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    assert first == 1
    assert 2 <= most <= CONNECTIONS
    assert all_of_them <= CONNECTIONS


def test_who_asks_before_it_is_opened_is_told_so() -> None:
    with pytest.raises(RuntimeError, match=r"ask between open\(\) and close\(\)"):
        asyncio.run(Asking("http://127.0.0.1:9").http.ask(CALL, text))
