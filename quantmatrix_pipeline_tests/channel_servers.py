"""Real servers on this machine that take messages as Discord, Slack, a mail server and a Pushgateway do."""

from __future__ import annotations

import json
import re
import socketserver
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_string
from email.message import Message
from email.policy import default
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Answer:
    """An answer other than 204 at once; with `hangs` none comes until the server ends."""

    status: int = 204
    body: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    hangs: bool = False


@dataclass
class Hook:
    """Its address, the bodies that it took, how many it was sent, and the paths and headers of all."""

    url: str
    taken: list[dict[str, Any]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    headers: list[Mapping[str, str]] = field(default_factory=list)
    pictures: list[bytes] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)

    @property
    def sent(self) -> int:
        return len(self.paths)

    @property
    def titles(self) -> list[str]:
        return [body["content"] for body in self.taken]


@contextmanager
def hook(answers: Sequence[Answer] = ()) -> Iterator[Hook]:
    """Serve on a free port until the block ends; the first posts get `answers`, all others are taken."""
    ended = threading.Event()
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            content = self.rfile.read(int(self.headers["Content-Length"]))
            with lock:
                got.paths.append(self.path)
                got.headers.append(dict(self.headers))
                answer = got.answers.pop(0) if got.answers else Answer()
            if answer.hangs:
                ended.wait(30)
                return
            if 200 <= answer.status < 300:
                self._take(content)
            self.send_response(answer.status)
            for name, value in {**answer.headers, "Content-Length": str(len(answer.body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer.body.encode())

        def do_PUT(self) -> None:
            self.do_POST()

        def _take(self, content: bytes) -> None:
            if self.headers["Content-Type"].startswith("multipart/"):
                boundary = self.headers["Content-Type"].split("boundary=")[1].encode()
                parts = [part.split(b"\r\n\r\n", 1) for part in content.split(b"--" + boundary)[1:-1]]
                got.pictures.extend(body[:-2] for head, body in parts if b"image/png" in head)
                content = next(body for head, body in parts if b"payload_json" in head)
            if self.headers["Content-Type"].startswith("text/plain"):
                got.texts.append(content.decode())
            else:
                got.taken.append(json.loads(content))

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    got = Hook(f"http://127.0.0.1:{server.server_address[1]}/api/webhooks/1/token", answers=list(answers))
    with _served(server):
        yield got
        ended.set()


@dataclass
class Mailbox:
    """Its address as a setting, and the letters that came."""

    url: str
    letters: list[Message] = field(default_factory=list)
    recipients: list[str] = field(default_factory=list)


@contextmanager
def mailbox(refuse_data: int | None = None) -> Iterator[Mailbox]:
    """Serve SMTP on a free port until the block ends; with `refuse_data` the text of each letter gets that code."""

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self._say("220 here")
            while line := self.rfile.readline().decode().strip():
                verb = line.split()[0].upper()
                if verb == "RCPT":
                    got.recipients.append(re.findall(r"<(.+?)>", line)[0])
                if verb == "DATA":
                    self._say("354 go on")
                    text = "".join(iter(lambda: self.rfile.readline().decode(), ".\r\n"))
                    if refuse_data:
                        self._say(f"{refuse_data} no")
                        continue
                    got.letters.append(message_from_string(text, policy=default))  # type: ignore[arg-type]
                self._say("221 bye" if verb == "QUIT" else "250 ok")
                if verb == "QUIT":
                    return

        def _say(self, text: str) -> None:
            self.wfile.write(f"{text}\r\n".encode())

    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    got = Mailbox(f"smtp+plain://127.0.0.1:{server.server_address[1]}")
    with _served(server):
        yield got


@contextmanager
def _served(server: socketserver.BaseServer) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
