"""A server that answers in the shape of Dagster's, and keeps what it was asked for."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from quantmatrix_pipeline.api.tasks import TASKS

RUN = "0b8f9d3c-5a55-4f53-9a2b-0c3a8a6a2f11"
FOUND = {
    "__typename": "Run", "runId": RUN, "jobName": "restate", "status": "FAILURE", "creationTime": 1.0, "startTime": 2.0,
    "endTime": 5.5, "updateTime": 5.5,
    "tags": [{"key": "qm/actor", "value": "ann"}, {"key": "qm/failed_checks", "value": "2"}],
    "stats": {"__typename": "RunStatsSnapshot", "stepsSucceeded": 1, "stepsFailed": 1, "materializations": 0},
}  # fmt: skip


@dataclass
class Listening:
    """What was asked of it: runs to launch, reloads; `before_launch` is called while a launch is under way."""

    address: str = ""
    launched: list[dict[str, Any]] = field(default_factory=list)
    reloads: int = 0
    before_launch: Callable[[], None] | None = None

    def forget(self) -> None:
        self.launched.clear()
        self.reloads = 0
        self.before_launch = None

    def answer(self, question: str, variables: dict[str, Any]) -> dict[str, Any]:
        if "launchRun(" in question:
            if self.before_launch is not None:
                self.before_launch()
            self.launched.append(variables["params"])
            return {"launchRun": {"__typename": "LaunchRunSuccess", "run": {"runId": RUN}}}
        if "reloadRepositoryLocation(" in question:
            self.reloads += 1
            loaded = {"locationOrLoadError": {"__typename": "RepositoryLocation"}}
            return {"reloadRepositoryLocation": {"__typename": "WorkspaceLocationEntry", **loaded}}
        if "repositoryOrError(" in question:
            jobs = [{"name": name, "tags": []} for name in TASKS]
            partitioned = [{"pipelineName": name} for name, takes in TASKS.items() if takes]
            return {"repositoryOrError": {"__typename": "Repository", "jobs": jobs, "partitionSets": partitioned}}
        if "isPipelineConfigValid(" in question:
            return {"isPipelineConfigValid": {"__typename": "PipelineConfigValidationValid"}}
        if "runOrError(" in question:
            lost = {"__typename": "RunNotFoundError", "message": "no run"}
            return {"runOrError": FOUND if variables["id"] == RUN else lost}
        assert "runsOrError(" in question
        job = variables["filter"].get("pipelineName", "restate")
        return {"runsOrError": {"__typename": "Runs", "results": [FOUND] if job == "restate" else []}}


@contextmanager
def listening() -> Iterator[Listening]:
    """Serve until the block ends."""
    asked_of = Listening()

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            body = json.dumps({"data": asked_of.answer(asked["query"], asked["variables"])}).encode()
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    asked_of.address = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    try:
        yield asked_of
    finally:
        server.shutdown()
        server.server_close()
