"""Where no Dagster answers, or answers with an error: one clear sentence each, over a real connection."""

from __future__ import annotations

import http.server
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from quantmatrix_pipeline.dagster_client import Dagster, launch
from quantmatrix_pipeline.errors import DagsterNotRunning, DagsterRefused, DagsterUnreachable

QUESTION = "query Q { thing { __typename } }"
Serve = Callable[[bytes], Dagster]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Start a server that gives one answer to every question."""
    servers = []

    def start(body: bytes) -> Dagster:
        class Answer(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                self.send_response(200)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *arguments: object) -> None:
                pass

        servers.append(http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer))
        threading.Thread(target=servers[-1].serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return Dagster(f"http://127.0.0.1:{servers[-1].server_address[1]}")

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def test_where_nobody_listens_it_says_how_to_start_one() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{probe.getsockname()[1]}"
    with pytest.raises(DagsterNotRunning, match=f"no Dagster UI runs at {address}; `qm up` starts one"):
        launch(Dagster(address), "restate")


@pytest.mark.parametrize("body", [b"<html>", b"[]", b'"x"', b"{}", b'{"data": null}', b'{"data": {"thing": 3}}'])
def test_what_is_no_dagster_is_not_taken_for_one(serve: Serve, body: bytes) -> None:
    with pytest.raises(DagsterNotRunning, match="is no Dagster UI"):
        serve(body).ask(QUESTION, {}, ["Thing"])


def test_one_that_does_not_answer_is_not_waited_for() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        began = time.monotonic()
        dagster = Dagster(f"http://127.0.0.1:{silent.getsockname()[1]}")
        with pytest.raises(DagsterUnreachable, match=r"ReadTimeout within 0\.2 s") as failed:
            dagster.ask(QUESTION, {}, ["Thing"], seconds=0.2)
        assert not isinstance(failed.value, DagsterNotRunning)
        assert time.monotonic() - began < 10


@pytest.mark.parametrize(
    ("answer", "kind", "said"),
    [
        ({"errors": [{"message": "Unknown\nfield"}]}, "GraphQLError", "Unknown field"),
        ({"data": {"thing": {"__typename": "NotFound", "message": "no thing"}}}, "NotFound", "NotFound: no thing"),
        (
            {"data": {"thing": {"__typename": "Invalid", "errors": [{"message": "no such op"}]}}},
            "Invalid",
            "Invalid: no such op",
        ),
        (
            {"data": {"thing": {"__typename": "PythonError", "message": "wrapped", "causes": [{"message": "ours"}]}}},
            "PythonError",
            "PythonError: ours",
        ),
        ({"data": {"thing": {"__typename": "Other"}}}, "Other", "Other: no reason was given"),
    ],
)
def test_an_error_that_comes_as_an_answer_is_raised(
    serve: Serve, answer: dict[str, object], kind: str, said: str
) -> None:
    with pytest.raises(DagsterRefused, match=said) as refused:
        serve(json.dumps(answer).encode()).ask(QUESTION, {}, ["Thing"])
    assert refused.value.kind == kind
