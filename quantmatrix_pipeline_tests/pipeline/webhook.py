"""A real HTTP server on this machine that takes messages as Discord does, and may refuse some first."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(frozen=True)
class Refusal:
    """An answer other than 204."""

    status: int
    body: str = ""


@dataclass
class Webhook:
    """Its address, the messages it took, and every body that was posted, refused ones among them."""

    url: str
    messages: list[str] = field(default_factory=list)
    posted: list[str] = field(default_factory=list)


@contextmanager
def webhook(refusals: Sequence[Refusal] = ()) -> Iterator[Webhook]:
    """Serve on a free port until the block ends; the first posts get `refusals`, all others are taken."""
    waiting = list(refusals)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            content = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["content"]
            taken.posted.append(content)
            refusal = waiting.pop(0) if waiting else None
            if refusal is None:
                taken.messages.append(content)
            body = refusal.body.encode() if refusal else b""
            self.send_response(refusal.status if refusal else 204)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    taken = Webhook(f"http://127.0.0.1:{server.server_address[1]}/api/webhooks/1/token")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield taken
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
