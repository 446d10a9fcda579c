"""A real mail server on this machine that speaks TLS with a certificate of its own and remembers what came without."""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import Message
from email.policy import default
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session, syntax

USER, PASSWORD = "me@example.com", "pass word/1"


@dataclass
class MailServer:
    """What reached it.

    Attributes
    ----------
    port
        On 127.0.0.1.
    letters
        Those that it took.
    bare, covered
        All bytes that came before and within TLS.
    """

    port: int = 0
    letters: list[Message] = field(default_factory=list)
    bare: bytearray = field(default_factory=bytearray)
    covered: bytearray = field(default_factory=bytearray)

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        assert isinstance(envelope.content, bytes)
        self.letters.append(message_from_bytes(envelope.content, policy=default))  # type: ignore[arg-type]
        return "250 taken"

    def authenticate(self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, said: Any) -> AuthResult:
        assert isinstance(said, LoginPassword)
        return AuthResult(success=said == LoginPassword(USER.encode(), PASSWORD.encode()), handled=False)


@contextmanager
def mail_server(
    certificate: ssl.SSLContext | None, *, implicit: bool = False, refuses_tls: bool = False
) -> Iterator[MailServer]:
    """Serve on a free port until the block ends, to who logs in as USER with PASSWORD.

    Parameters
    ----------
    certificate
        What the server shows; None: it offers no TLS, and takes a password without.
    implicit
        TLS from the first byte on, instead of STARTTLS.
    refuses_tls
        STARTTLS is offered, and answered with 454.
    """
    got = MailServer()

    class Listening(SMTP):
        def data_received(self, data: bytes) -> None:
            covered = self.transport.get_extra_info("sslcontext") is not None
            (got.covered if covered else got.bare).extend(data)
            super().data_received(data)

        @syntax("STARTTLS")
        async def smtp_STARTTLS(self, arg: str) -> None:  # noqa: N802
            if refuses_tls:
                await self.push("454 TLS not available")
            else:
                await super().smtp_STARTTLS(arg)

    def speak() -> SMTP:
        return Listening(
            got,
            tls_context=None if implicit else certificate,
            auth_required=True,
            auth_require_tls=certificate is not None and not implicit,
            authenticator=got.authenticate,
            hostname="localhost",
            loop=loop,
        )

    loop = asyncio.new_event_loop()
    over = certificate if implicit else None
    server = loop.run_until_complete(loop.create_server(speak, "127.0.0.1", 0, ssl=over))
    got.port = server.sockets[0].getsockname()[1]
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield got
    finally:
        asyncio.run_coroutine_threadsafe(_end(server), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


async def _end(server: asyncio.Server) -> None:
    """Let go of whoever is still connected, such as one that did not trust the certificate."""
    server.close()
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    await asyncio.sleep(0)
