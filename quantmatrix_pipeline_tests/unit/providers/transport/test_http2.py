"""HTTP/2 where a server offers it, over TLS as vendors do: many questions share one connection."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import RequestReceived

from quantmatrix_pipeline.errors import VendorError, VendorUnavailable
from quantmatrix_pipeline.providers.contract import Capability
from quantmatrix_pipeline.providers.transport import http
from quantmatrix_pipeline.providers.transport.calls import Answer, Call
from quantmatrix_pipeline.providers.transport.http import Http
from quantmatrix_pipeline_tests.unit.providers.vendors.metering import Recording

QUESTIONS = 12


class Server:
    """Speaks HTTP/2 and nothing else, and answers each question with its path, once `together` of them are there."""

    def __init__(self, certificates: ssl.SSLContext, together: int) -> None:
        self.connections = 0
        self.url = ""
        self._certificates = certificates
        self.together = together
        self._waiting: list[tuple[int, bytes]] = []

    async def start(self) -> asyncio.Server:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._certificates)
        self.url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        return server

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        said = H2Connection(H2Configuration(client_side=False))
        said.initiate_connection()
        writer.write(said.data_to_send())
        while data := await reader.read(65536):
            for event in said.receive_data(data):
                if isinstance(event, RequestReceived):
                    self._waiting.append((event.stream_id, dict(event.headers)[b":path"]))
            if len(self._waiting) == self.together:
                for stream, path in self._waiting:
                    said.send_headers(stream, [(":status", "200"), ("content-type", "text/plain")])
                    said.send_data(stream, path, end_stream=True)
                self._waiting.clear()
            writer.write(said.data_to_send())
            await writer.drain()
        writer.close()


@pytest.fixture(autouse=True)
def _read_again() -> Iterator[None]:
    """Trusted certificates are read once in a process: here they are read anew, and the usual ones afterwards."""
    http._certificates.cache_clear()
    yield
    http._certificates.cache_clear()


@pytest.fixture
def certificates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ssl.SSLContext:
    """A server's certificate, whose issuer is trusted as users have a proxy's trusted: through SSL_CERT_FILE."""
    issuer = trustme.CA()
    trusted = tmp_path / "issuer.pem"
    issuer.cert_pem.write_to_path(str(trusted))
    monkeypatch.setenv("SSL_CERT_FILE", str(trusted))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    issuer.issue_cert("127.0.0.1").configure_cert(context)
    context.set_alpn_protocols(["h2"])
    return context


def call(number: int) -> Call:
    return Call(Capability.QUOTES, "quote", f"/quote/{number}")


def text(answer: Answer) -> str:
    return answer.content.decode()


def nobody_refuses(call: Call, answer: Answer) -> VendorError | None:
    return None


async def asked(server: Server, questions: int) -> list[str]:
    async with await server.start():
        client = Http("v", server.url, Recording(), nobody_refuses, timeout=20.0, deadline=20.0)
        await client.open()
        try:
            first = await client.ask(call(0), text)
            server.together = questions
            rest = await asyncio.gather(*(client.ask(call(n), text) for n in range(1, questions + 1)))
        finally:
            await client.close()
    return [first, *rest]


def test_questions_under_way_together_share_one_http2_connection(certificates: ssl.SSLContext) -> None:
    server = Server(certificates, together=1)
    assert asyncio.run(asked(server, QUESTIONS)) == [f"/quote/{n}" for n in range(QUESTIONS + 1)]
    assert server.connections == 1


def test_a_server_that_nobody_vouches_for_is_not_asked(
    certificates: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    with pytest.raises(VendorUnavailable, match="ConnectError"):
        asyncio.run(asked(Server(certificates, together=1), QUESTIONS))
