"""The guard of the tests themselves: it refuses what it says it refuses."""

from __future__ import annotations

import asyncio
import socket
import urllib.request

import pytest

from quantmatrix_pipeline_tests.no_network import NetworkRefusedError, only_the_database


def test_a_connection_elsewhere_is_refused_even_where_the_error_is_swallowed() -> None:
    with pytest.raises(AssertionError, match=r"connections were tried: .*127\.0\.0\.1.*9"):  # noqa: PT012, SIM117
        with only_the_database("postgresql://u@127.0.0.1:5432/d"):
            with pytest.raises(NetworkRefusedError), socket.socket() as client:
                client.connect(("127.0.0.1", 9))


def test_names_are_not_looked_up_and_datagrams_not_sent() -> None:
    with pytest.raises(AssertionError, match="connections were tried"):  # noqa: PT012, SIM117
        with only_the_database("postgresql://u@127.0.0.1:5432/d") as attempts:
            with pytest.raises(OSError, match="only"):
                urllib.request.urlopen("http://prices.example/")
            with pytest.raises(NetworkRefusedError), socket.socket(type=socket.SOCK_DGRAM) as client:
                client.sendto(b"x", ("192.0.2.1", 53))
            assert len(attempts) == 2


def test_curl_is_refused_as_well() -> None:
    curl_cffi = pytest.importorskip("curl_cffi")
    with pytest.raises(AssertionError, match="curl"):  # noqa: PT012, SIM117
        with only_the_database("postgresql://u@127.0.0.1:5432/d"):
            with pytest.raises(Exception, match="curl"):
                curl_cffi.requests.get("http://127.0.0.1:9/")


def test_the_database_s_port_and_event_loops_work_under_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with only_the_database(f"postgresql://u@127.0.0.1:{port}/d") as attempts:
            with socket.create_connection(("127.0.0.1", port)):
                pass
            asyncio.run(asyncio.sleep(0))
        assert attempts == []
    with pytest.raises(OSError, match=r"[Rr]efused"):  # the system's own refusal: the guard is gone
        socket.create_connection(("127.0.0.1", port), timeout=1)
