"""What the routes of operators ask of Dagster, by a server that answers in its shape; and what they refuse."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from fastapi.testclient import TestClient
from pydantic import SecretStr

from quantmatrix_pipeline.api.app import create_app
from quantmatrix_pipeline.api.tasks import TASKS
from quantmatrix_pipeline.definitions import build_defs
from quantmatrix_pipeline.settings import Settings, Source
from quantmatrix_pipeline.warehouse.engine import Warehouse
from quantmatrix_pipeline_tests.api.conftest import Filled

KEY = "0123456789abcdef"
NOBODY = "http://127.0.0.1:9"  # the discard port: a connection is refused at once
RUN = "0b8f9d3c-5a55-4f53-9a2b-0c3a8a6a2f11"
V1 = "/api/v1/market-data"
SESSION = "2013-03-01"  # the sample's last, whatever the day is
FOUND = {
    "__typename": "Run", "runId": RUN, "jobName": "restate", "status": "FAILURE", "creationTime": 1.0, "startTime": 2.0,
    "endTime": 5.5, "updateTime": 5.5,
    "tags": [{"key": "qm/actor", "value": "ann"}, {"key": "qm/failed_checks", "value": "2"}],
    "stats": {"__typename": "RunStatsSnapshot", "stepsSucceeded": 1, "stepsFailed": 1, "materializations": 0},
}  # fmt: skip


@dataclass
class Listening:
    """Answers as Dagster's web server does, and keeps what it was asked to launch."""

    address: str = ""
    launched: list[dict[str, Any]] = field(default_factory=list)

    def answer(self, question: str, variables: dict[str, Any]) -> dict[str, Any]:
        if "launchRun(" in question:
            self.launched.append(variables["params"])
            return {"launchRun": {"__typename": "LaunchRunSuccess", "run": {"runId": RUN}}}
        if "runOrError(" in question:
            lost = {"__typename": "RunNotFoundError", "message": "no run"}
            return {"runOrError": FOUND if variables["id"] == RUN else lost}
        assert "runsOrError(" in question
        job = variables["filter"].get("pipelineName", "restate")
        return {"runsOrError": {"__typename": "Runs", "results": [FOUND] if job == "restate" else []}}


@pytest.fixture(scope="module")
def dagster() -> Iterator[Listening]:
    listening = Listening()

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            body = json.dumps({"data": listening.answer(asked["query"], asked["variables"])}).encode()
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    listening.address = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    yield listening
    server.shutdown()
    server.server_close()


def settings(address: str, keys: str | None = f"ann:{KEY}") -> Settings:
    return Settings(source=Source.SAMPLE, dagster_url=address, admin_api_keys=None if keys is None else SecretStr(keys))


@pytest.fixture
def admin(reader: Warehouse, dagster: Listening) -> Iterator[TestClient]:
    dagster.launched.clear()
    app = create_app(settings(dagster.address), reader)
    with TestClient(app, headers={"X-API-Key": KEY}, raise_server_exceptions=False) as client:
        yield client


def launched(dagster: Listening) -> tuple[str, dict[str, Any], dict[str, str]]:
    """Return job, configuration of its ops and tags of the one run that was launched since the last look."""
    (params,) = dagster.launched
    dagster.launched.clear()
    ops = {op: given["config"] for op, given in params["runConfigData"].get("ops", {}).items()}
    return params["selector"]["jobName"], ops, {t["key"]: t["value"] for t in params["executionMetadata"]["tags"]}


LAUNCHES: list[tuple[str, str, dict[str, Any], str | None]] = [
    ("/admin/coverage/refresh", "refresh_coverage", {}, SESSION),
    ("/admin/coverage/restore-daily-tracked", "restore_daily_coverage", {}, SESSION),
    ("/admin/coverage/restore-daily-tracked?session=2013-02-28", "restore_daily_coverage", {}, "2013-02-28"),
    ("/admin/backfill/index?index=DOW30", "backfill_index", {"fetch_index": {"index": "DOW30"}}, None),
    (
        "/admin/indicators/refresh-index?index=SP500",
        "recompute_indicators",
        {"indicator_snapshots": {"scope": "index", "index": "SP500"}},
        SESSION,
    ),
    ("/admin/history/record", "record_history", {}, SESSION),
    ("/symbol/aapl/refresh", "backfill_symbols", {"fetch_symbols": {"symbols": ["AAPL"]}}, None),
    (
        "/retention/enforce?max_days_5m=30&dry_run=true",
        "enforce_retention",
        {"let_old_rows_go": {"dry_run": True, "max_days_5m": 30}},
        None,
    ),
]


def test_each_route_launches_its_job_for_the_newest_session_and_says_how_to_follow_it(
    admin: TestClient, dagster: Listening
) -> None:
    for url, job, config, session in LAUNCHES:
        response = admin.post(V1 + url)
        assert response.status_code == 202, response.text
        body = response.json()
        assert (body["run_id"], body["task"], body["session"]) == (RUN, job, session), url
        assert body["url"] == f"{dagster.address}/runs/{RUN}"
        asked, given, tags = launched(dagster)
        assert (asked, given) == (job, config)
        assert tags["qm/actor"] == "ann"
        assert tags.get("dagster/partition") == session
    assert admin.get(body["follow"]).json() | {"url": ""} == {
        "run_id": RUN, "job": "restate", "status": "FAILURE", "ended": True, "session": None, "seconds": 3.5,
        "created_at": "1970-01-01T00:00:01Z", "started_at": "1970-01-01T00:00:02Z",
        "ended_at": "1970-01-01T00:00:05.500000Z", "steps_succeeded": 1, "steps_failed": 1, "checks_failed": 2,
        "actor": "ann", "tags": {"qm/actor": "ann", "qm/failed_checks": "2"}, "url": "",
    }  # fmt: skip


def test_a_range_a_stretch_with_a_priority_and_a_job_of_the_list_with_a_configuration(
    admin: TestClient, dagster: Listening
) -> None:
    assert admin.post(V1 + "/admin/history/record?start=2013-02-27&end=2013-03-01").status_code == 202
    job, _, tags = launched(dagster)
    assert (job, tags["dagster/asset_partition_range_start"], tags["dagster/asset_partition_range_end"]) == (
        "record_history", "2013-02-27", "2013-03-01",
    )  # fmt: skip
    wanted = {"symbol": "ibm", "interval": "1d", "start": "2013-01-02", "end": "2013-02-01", "priority": 7}
    assert admin.post("/ops/backfill", json=wanted).status_code == 202
    job, config, tags = launched(dagster)
    assert (job, tags["dagster/priority"]) == ("backfill_symbols", "7")
    assert config == {"fetch_symbols": {"symbols": ["IBM"], "first": "2013-01-02", "last": "2013-02-01"}}
    body = {"task": "restate", "config": {"record_what_is_due": {"dry_run": True}}}
    assert admin.post(V1 + "/admin/tasks/run", json=body).json()["task"] == "restate"
    assert launched(dagster)[1] == {"record_what_is_due": {"dry_run": True}}
    assert admin.post("/ops/validate").json()["task"] == "validate"
    dagster.launched.clear()
    assert {t["task"]: t["last"] and t["last"]["status"] for t in admin.get(V1 + "/admin/tasks").json()} == {
        **dict.fromkeys(TASKS), "restate": "FAILURE",
    }  # fmt: skip
    assert [run["job"] for run in admin.get(V1 + "/admin/jobs?job=restate&status=FAILURE").json()] == ["restate"]


def test_the_stale_are_counted_and_fetched_where_there_are_any(admin: TestClient, dagster: Listening) -> None:
    body = admin.post(V1 + "/admin/coverage/backfill-stale-daily").json()
    assert (body["stale"], body["session"], body["run"]["task"]) == (1, SESSION, "backfill_stale_daily")  # BARE
    assert launched(dagster)[2]["dagster/partition"] == SESSION


@pytest.mark.parametrize(
    ("url", "body", "status", "said"),
    [
        (V1 + "/backfill/5m", None, 501, "no asset of 5-minute bars"),
        (V1 + "/admin/tasks/run", {"task": "rm"}, 422, "may not be launched here; these may: restore_daily_coverage"),
        (V1 + "/admin/tasks/run", {"task": "restate", "session": SESSION}, 422, "restate takes none"),
        (V1 + "/admin/coverage/refresh?session=2013-03-02", None, 422, "2013-03-02"),
        (V1 + "/admin/coverage/refresh?session=2013-03-04", None, 422, "the newest session is 2013-03-01"),
        (V1 + "/admin/history/record?start=2013-03-01&end=2013-02-01", None, 422, "lies after end"),
        (V1 + "/admin/backfill/index?index=FTSE", None, 422, "'SP500'"),
        (V1 + "/admin/backfill/index", None, 422, "index"),
        (V1 + "/symbol/NOPE/refresh", None, 404, "'NOPE'"),
        ("/ops/backfill", {"symbol": "ADJ", "start": "2013-01-02"}, 422, "ADJ is not tracked"),
        ("/ops/backfill", {"symbol": "IBM", "interval": "5m", "start": "2013-01-02"}, 422, "'1d'"),
        ("/ops/backfill", {"symbol": "IBM", "start": "20130102"}, 422, "YYYY-MM-DD"),
    ],
)
def test_what_cannot_be_launched_is_refused_before_dagster_is_asked(
    admin: TestClient, dagster: Listening, url: str, body: dict[str, Any] | None, status: int, said: str
) -> None:
    response = admin.post(url, json=body)
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    assert said in response.json()["detail"]
    assert dagster.launched == []


def test_a_run_that_dagster_does_not_keep_is_404(admin: TestClient) -> None:
    response = admin.get(f"{V1}/admin/jobs/00000000-0000-0000-0000-000000000000")
    assert (response.status_code, response.json()["type"]) == (404, "urn:quantmatrix:problem:no-such-run")


def every_admin_route(client: TestClient) -> list[tuple[str, str]]:
    """Return method and address of each route that takes a key and is served here."""
    ours = (V1, "/ops/")
    return [
        (method, path.replace("{symbol}", "IBM").replace("{run_id}", RUN))
        for path, methods in client.get("/openapi.json").json()["paths"].items()
        for method, described in methods.items()
        if path.startswith(ours) and "security" in described
    ]


def test_without_a_key_nothing_is_done_and_without_a_configured_one_all_of_it_is_off(
    admin: TestClient, reader: Warehouse, dagster: Listening, filled: Filled
) -> None:
    routes = every_admin_route(admin)
    assert len(routes) == 16
    assert {admin.request(m, url, headers={"X-API-Key": "wrong"}).status_code for m, url in routes} == {401}
    off = TestClient(create_app(settings(dagster.address, None), reader), headers={"X-API-Key": KEY})
    assert {off.request(method, url).status_code for method, url in routes} == {403}
    assert dagster.launched == []


def test_without_a_running_dagster_each_says_what_to_do(admin: TestClient, reader: Warehouse) -> None:
    bodies = {
        "/ops/backfill": {"symbol": "IBM", "start": "2013-01-02"},
        f"{V1}/admin/tasks/run": {"task": "restate"},
    }
    away = TestClient(create_app(settings(NOBODY), reader), headers={"X-API-Key": KEY})
    for method, url in every_admin_route(admin):
        if url.endswith("/backfill/5m"):
            continue
        asked = f"{url}?index=DOW30" if url.endswith("index") else url
        response = away.request(method, asked, json=bodies.get(url))
        assert response.status_code == 503, (method, asked, response.text)
        assert "`qm up`" in response.json()["detail"]


def test_the_list_of_what_may_be_launched_is_that_of_the_jobs_there_are() -> None:
    definitions = build_defs()
    takes = {job.name: job.partitions_def is not None for job in definitions.get_repository_def().get_all_jobs()}
    assert {name: takes.get(name) for name in TASKS} == dict(TASKS)
