"""What `qm up` says when the schedules file changed: whether Dagster took it, or kept the last good one."""

from __future__ import annotations

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from quantmatrix_pipeline.cli import watch
from quantmatrix_pipeline.schedules.file import FINGERPRINT, in_force
from quantmatrix_pipeline.settings import Reloading

RELOADED = {"__typename": "WorkspaceLocationEntry", "locationOrLoadError": {"__typename": "RepositoryLocation"}}


@pytest.mark.parametrize("loaded", ["another", None])  # none where the file was broken when Dagster started
@pytest.mark.parametrize("takes_it", [True, False])
def test_a_change_that_dagster_did_not_take_is_not_said_to_be_live(
    takes_it: bool, loaded: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:

    class Dagster(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            nonlocal loaded
            asked = self.rfile.read(int(self.headers["Content-Length"])).decode()
            if "reloadRepositoryLocation" in asked:
                loaded = wanted if takes_it else loaded
                answer = RELOADED
            else:
                one = {
                    "name": "ours",
                    "pipelineName": "restate",
                    "cronSchedule": "0 0 * * *",
                    "executionTimezone": "UTC",
                }
                state = {"id": "x", "status": "RUNNING", "nextTick": None, "ticks": []}
                tags = [{"key": FINGERPRINT, "value": loaded}]
                results = [{**one, "tags": tags, "scheduleState": state}] if loaded else []
                answer = {"__typename": "Schedules", "results": results}
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps({"data": {"it": answer}}).encode())

        def log_message(self, *_: object) -> None: ...

    file = tmp_path / "ours.yaml"
    file.write_text("version: 1\nschedules:\n  ours: {job: restate, cron: 0 0 * * *}\n")
    with ThreadingHTTPServer(("127.0.0.1", 0), Dagster) as server:
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        monkeypatch.setenv("QM_DATA_DIR", str(tmp_path))
        monkeypatch.setenv("QM_SCHEDULES_FILE", str(file))
        monkeypatch.setenv("QM_DAGSTER_URL", f"http://127.0.0.1:{server.server_address[1]}")
        source = Reloading()
        wanted = in_force(source.current()).fingerprint
        said = [watch._load(source), watch._load(source)]
        server.shutdown()
    kept = f"the last good schedules stay in force: `qm schedules validate` says what is wrong with {file}"
    assert said == ([f"schedules     {file}, as changed", None] if takes_it else [kept, kept])
