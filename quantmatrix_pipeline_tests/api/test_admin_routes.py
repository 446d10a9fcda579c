"""What the routes of operators ask of Dagster, by a server that answers in its shape; and what they refuse."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from dagster import validate_run_config
from fastapi.testclient import TestClient
from pydantic import SecretStr

from quantmatrix_pipeline.api.app import create_app
from quantmatrix_pipeline.api.former_names import SUCCESSORS
from quantmatrix_pipeline.api.tasks import TASKS
from quantmatrix_pipeline.definitions import build_defs
from quantmatrix_pipeline.settings import Settings, Source
from quantmatrix_pipeline.warehouse.engine import Warehouse
from quantmatrix_pipeline_tests.api.conftest import Filled
from quantmatrix_pipeline_tests.api.listening_dagster import RUN, Listening

KEY = "0123456789abcdef"
NOBODY = "http://127.0.0.1:9"  # the discard port: a connection is refused at once
V1 = "/api/v1/market-data"
SESSION = "2013-03-01"  # the sample's last, whatever the day is


def settings(address: str, keys: str | None = f"ann:{KEY}") -> Settings:
    return Settings(source=Source.SAMPLE, dagster_url=address, admin_api_keys=None if keys is None else SecretStr(keys))


@pytest.fixture
def admin(reader: Warehouse, dagster: Listening) -> Iterator[TestClient]:
    dagster.forget()
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


def test_a_range_and_a_job_of_the_list_with_a_configuration(admin: TestClient, dagster: Listening) -> None:
    assert admin.post(V1 + "/admin/history/record?start=2013-02-27&end=2013-03-01").status_code == 202
    job, _, tags = launched(dagster)
    assert (job, tags["dagster/asset_partition_range_start"], tags["dagster/asset_partition_range_end"]) == (
        "record_history", "2013-02-27", "2013-03-01",
    )  # fmt: skip
    body = {"task": "restate", "config": {"record_what_is_due": {"dry_run": True}}}
    assert admin.post(V1 + "/admin/tasks/run", json=body).json()["task"] == "restate"
    assert launched(dagster)[1] == {"record_what_is_due": {"dry_run": True}}
    assert {t["task"]: t["last"] and t["last"]["status"] for t in admin.get(V1 + "/admin/tasks").json()} == {
        **dict.fromkeys(TASKS), "restate": "FAILURE",
    }  # fmt: skip
    assert [run["job"] for run in admin.get(V1 + "/admin/jobs?job=restate&status=FAILURE").json()] == ["restate"]


STRETCH = {"symbols": ["IBM"], "first": "2013-01-02", "last": "2013-02-01"}


@pytest.mark.parametrize(
    ("wanted", "urgency"),
    [
        ({"start": "2013-01-02", "end": "2013-02-01"}, {"tier": "T2"}),
        ({"interval": "1d", "start": "20130102", "end": "20130201", "priority": "T1"}, {"tier": "T1"}),
        # An hour after the close of the first day; at the exchange it is still the evening of the last one.
        ({"start": "2013-01-02T22:00:00Z", "end": "20130202T040000Z", "priority": "T0"}, {"tier": "T0"}),
        ({"start": "2013-01-02T09:30:00-05:00", "end": "2013-02-01T00:00-05:00", "priority": 7}, {"priority": 7}),
    ],
)
def test_a_stretch_is_queued_and_fetched_by_the_run_that_is_launched(
    admin: TestClient, dagster: Listening, wanted: dict[str, Any], urgency: dict[str, Any]
) -> None:
    answer = admin.post("/ops/backfill", json={"symbol": "ibm", **wanted})
    assert answer.status_code == 202, answer.text
    assert answer.json()["follow"] == f"{V1}/admin/jobs/{RUN}"
    assert launched(dagster)[:2] == ("work_backfill_queue", {"queue_stretch": STRETCH | urgency})


def test_a_stretch_ends_with_the_newest_closed_session(admin: TestClient, dagster: Listening, now: datetime) -> None:
    for end in ({}, {"end": "2030-01-01T00:00:00Z"}):
        assert admin.post("/ops/backfill", json={"symbol": "IBM", "start": "2013-01-02", **end}).status_code == 202
        assert launched(dagster)[1]["queue_stretch"]["last"] == SESSION


def test_a_task_is_known_by_the_names_that_it_had_elsewhere(admin: TestClient, dagster: Listening) -> None:
    run = V1 + "/admin/tasks/run"
    body = {"task": "compute_chart_metrics_index", "config": {"indicator_snapshots": {"index": "DOW30"}}}
    assert admin.post(run, json=body).json()["task"] == "recompute_indicators"
    assert launched(dagster)[1] == {"indicator_snapshots": {"scope": "index", "index": "DOW30"}}
    assert admin.post(run, json={"task": "refresh_portfolio_indicators"}).status_code == 202
    assert launched(dagster)[:2] == ("recompute_indicators", {"indicator_snapshots": {"scope": "portfolio"}})
    for name, job in (
        ("backend.tasks.market_data_tasks.monitor_coverage_health", "refresh_coverage"),
        ("restore-daily-coverage-tracked", "restore_daily_coverage"),
        ("backfill_last_bars", "backfill_stale_daily"),
        ("record_daily_history", "record_history"),
    ):
        answer = admin.post(f"{run}?task_name={name}")
        assert (answer.status_code, answer.json()["task"], answer.json()["session"]) == (202, job, SESSION)
        assert (launched(dagster)[2]["dagster/partition"]) == SESSION
    named = {"fetch_symbols": {"symbols": ["IBM"]}}
    assert admin.post(run, json={"task": "refresh_single_symbol", "config": named}).status_code == 202
    assert launched(dagster)[:2] == ("backfill_symbols", named)
    listed = {task["task"]: task["former_names"] for task in admin.get(V1 + "/admin/tasks").json()}
    assert {name: job for job, names in listed.items() for name in names} == {
        name: successor.job for name, successor in SUCCESSORS.items()
    }


def test_validating_launches_the_checks_and_says_what_is_wrong_with_settings_and_schedules(
    admin: TestClient, dagster: Listening, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QM_DATA_DIR", str(tmp_path))
    body = admin.post("/ops/validate").json()
    assert (body["task"], body["run_id"], launched(dagster)[0]) == ("validate", RUN, "validate")
    assert {name: f["state"] for name, f in body["findings"].items()} == dict.fromkeys(
        ("environment", "schedules file", "settings"), "ok"
    )
    file, schedules = tmp_path / "ours.env", tmp_path / "mine.yaml"
    schedules.write_text("version: 1\nschedules: {late: {job: no_such_job, cron: 0 1 * * *}}\n")
    file.write_text(f"QM_SCHEDULES_FILE={schedules}\n")
    monkeypatch.setenv("QM_ENV_FILE", str(file))
    found = admin.post("/ops/validate").json()["findings"]
    assert (found["settings"]["state"], found["schedules file"]["state"]) == ("ok", "bad")
    assert "no_such_job" in found["schedules file"]["detail"]
    file.write_text("QM_COVERAGE_TARGET=2\n")
    dagster.forget()
    broken = admin.post("/ops/validate")
    assert (broken.status_code, launched(dagster)[0]) == (202, "validate"), "the bars can be checked all the same"
    assert (broken.json()["findings"]["settings"]["state"]) == "bad"
    assert "QM_COVERAGE_TARGET" in broken.json()["findings"]["settings"]["detail"]


def test_a_reload_reads_first_and_a_file_that_is_wrong_changes_nothing(
    admin: TestClient, dagster: Listening, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = "s3cretKEY0123456789"
    file = tmp_path / "ours.env"
    file.write_text(f"FINNHUB_API_KEY={secret} x\nPOLICY_EOD=iex\nQM_FMP_BUDGET=lots\n")
    monkeypatch.setenv("QM_ENV_FILE", str(file))
    refused = admin.post("/ops/reload")
    assert (refused.status_code, refused.json()["type"].rpartition(":")[2]) == (422, "settings-invalid")
    faults = {fault["field"].split()[0]: fault["message"] for fault in refused.json()["errors"]}
    assert faults.keys() == {"FINNHUB_API_KEY", "POLICY_EOD", "QM_FMP_BUDGET"}
    assert all(faults.values())
    assert "nothing was reloaded" in refused.json()["detail"]
    assert dagster.reloads == 0
    file.write_text(f"FINNHUB_API_KEY={secret}\nQM_FINNHUB_BUDGET=300/min\nPOLICY_EOD=massive,yahoo\n")
    done = admin.post("/ops/reload")
    assert (done.status_code, dagster.reloads, dagster.launched) == (200, 1, [])
    body = done.json()
    assert (body["reloaded"], body["file"]) == ("quantmatrix_pipeline", str(file))
    assert body["vendors"]["finnhub"] == "key set, budget 300/min"
    assert body["policies"]["daily_bars"] == ["polygon", "yfinance"]
    assert body["findings"]["settings"]["state"] == "ok"
    assert secret not in refused.text + done.text
    monkeypatch.setenv("POLICY_EOD", "fmp")
    assert admin.post("/ops/reload").json()["without_effect"] == {"POLICY_EOD": "POLICY_EOD"}
    monkeypatch.delenv("QM_ENV_FILE")
    assert admin.post("/ops/reload").json()["file"] is None


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
        # As it stands in the manual of another system.
        (
            "/ops/backfill",
            {
                "symbol": "AAPL",
                "interval": "1m",
                "start": "2025-10-08T14:00:00Z",
                "end": "2025-10-08T15:00:00Z",
                "priority": "T0",
            },
            501,
            "no asset of 1-minute bars",
        ),
        ("/ops/backfill", {"symbol": "IBM", "interval": "2d", "start": "2013-01-02"}, 422, "'1d'"),
        ("/ops/backfill", {"symbol": "IBM", "start": 20130102}, 422, "20130102 is no text"),
        ("/ops/backfill", {"symbol": "IBM", "start": "soon"}, 422, "'soon' is no day and no instant"),
        ("/ops/backfill", {"symbol": "IBM", "start": "2013-01-02T14:00"}, 422, "has no offset from UTC"),
        ("/ops/backfill", {"symbol": "IBM", "start": "2013-01-02", "end": "2013-01-01T12:00Z"}, 422, "lies after end"),
        ("/ops/backfill", {"symbol": "IBM", "start": "2013-01-05", "end": "2013-01-06"}, 422, "no closed session"),
        ("/ops/backfill", {"symbol": "IBM", "start": "2013-01-02", "priority": "T3"}, 422, "'T0'"),
        (V1 + "/admin/tasks/run", None, 422, "name one"),
        (V1 + "/admin/tasks/run?task_name=backfill_5m_last_n_days", None, 501, "no asset of 5-minute bars"),
        (V1 + "/admin/tasks/run", {"task": "monitor_coverage_health", "session": "2013-03-02"}, 422, "2013-03-02"),
        (
            V1 + "/admin/tasks/run",
            {"task": "refresh_single_symbol", "config": {"fetch_symbols": {"dry_run": True}}},
            422,
            "config.fetch_symbols.symbols: must be there",
        ),
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
    assert {name: known for name, known in takes.items() if not name.startswith("__")} == dict(TASKS)
    for name, successor in SUCCESSORS.items():
        ops = {op: {"config": dict(config)} for op, config in successor.config.items()}
        assert validate_run_config(definitions.resolve_job_def(successor.job), {"ops": ops}), name
