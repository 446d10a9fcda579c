"""Proof that a piece of work talks to nobody but the database: every other connection is refused, and counted."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import pytest

LOOPBACK = ("127.0.0.1", "::1", "localhost")


class NetworkRefusedError(OSError):
    """Somebody tried to leave the machine."""


@contextmanager
def only_the_database(*urls: str) -> Iterator[list[str]]:
    """Refuse every connection but those to the ports of these URLs on this machine, while the block runs.

    The attempts are collected as well, and fail the block at its end: who swallows the error is found all the same. The
    database's own client library opens its sockets in C and is not seen here; of other libraries that do so, curl is
    refused at its own door.

    Yields
    ------
    list[str]
        The attempts so far.
    """
    allowed = {urlsplit(url).port for url in urls}
    attempts: list[str] = []

    def refuse(target: object) -> NetworkRefusedError:
        attempts.append(str(target))
        return NetworkRefusedError(
            f"a connection to {target} was tried, and only {sorted(map(str, allowed))} are allowed"
        )

    def is_allowed(family: int, address: Any) -> bool:
        if family not in (socket.AF_INET, socket.AF_INET6):
            return True  # a pipe within the machine
        return address[0] in LOOPBACK and address[1] in allowed

    with pytest.MonkeyPatch.context() as patch:
        for name in ("connect", "connect_ex"):
            patch.setattr(socket.socket, name, _guarded(getattr(socket.socket, name), is_allowed, refuse))
        patch.setattr(socket.socket, "sendto", _guarded(socket.socket.sendto, is_allowed, refuse))
        patch.setattr(socket, "getaddrinfo", _guarded_lookup(socket.getaddrinfo, refuse))
        _refuse_curl(patch, refuse)
        yield attempts
    assert not attempts, f"connections were tried: {attempts}"


def _guarded(original: Any, is_allowed: Any, refuse: Any) -> Any:
    def guarded(self: socket.socket, *arguments: Any) -> Any:
        if not is_allowed(self.family, arguments[-1]):
            raise refuse(arguments[-1])
        return original(self, *arguments)

    return guarded


def _guarded_lookup(original: Any, refuse: Any) -> Any:
    def guarded(host: Any, *arguments: Any, **options: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        if name not in (*LOOPBACK, None):
            raise refuse(name)
        return original(host, *arguments, **options)

    return guarded


def _refuse_curl(patch: pytest.MonkeyPatch, refuse: Any) -> None:
    try:
        import curl_cffi
    except ImportError:
        return

    def refused(*_: object, **__: object) -> Any:
        raise refuse("curl")

    patch.setattr(curl_cffi.Curl, "perform", refused)
    patch.setattr(curl_cffi.AsyncCurl, "add_handle", refused)
