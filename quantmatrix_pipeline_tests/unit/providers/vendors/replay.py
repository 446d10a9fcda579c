"""A real HTTP server on this machine that gives recorded or constructed answers and counts what it is asked."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit


@dataclass(frozen=True)
class Call:
    """What was asked: decoded path, query, headers."""

    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]


@dataclass(frozen=True)
class Reply:
    body: str
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Replay:
    """The server's address and the calls it got, in their order."""

    url: str
    calls: list[Call] = field(default_factory=list)

    def paths(self, prefix: str = "/") -> list[str]:
        return [c.path for c in self.calls if c.path.startswith(prefix)]


def in_order(*replies: Reply) -> Callable[[Call], Reply]:
    """Return what gives these replies one after the other, and the last one again and again."""
    left = list(replies)
    return lambda _: left.pop(0) if len(left) > 1 else left[0]


@contextmanager
def replay(answer: Callable[[Call], Reply], again: Replay | None = None) -> Iterator[Replay]:
    """Serve `answer` until the block ends: on a free port, or at the address of a server that has ended."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            query = {k: v[0] for k, v in parse_qs(parts.query).items()}
            call = Call(unquote(parts.path), query, dict(self.headers))
            served.calls.append(call)
            reply = answer(call)
            body = reply.body.encode()
            self.send_response(reply.status)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    port = urlsplit(again.url).port if again else 0
    server = ThreadingHTTPServer(("127.0.0.1", port or 0), Handler)
    server.daemon_threads = True
    served = Replay(f"http://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.005}, daemon=True)
    thread.start()
    try:
        yield served
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
