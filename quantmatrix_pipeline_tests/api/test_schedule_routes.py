"""Schedules over HTTP, on a real file and a real database, without a Dagster, which loads them when it starts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from filelock import FileLock
from pydantic import SecretStr

from quantmatrix_pipeline.api.app import create_app
from quantmatrix_pipeline.schedules.file import PACKAGED
from quantmatrix_pipeline.settings import Settings, Source
from quantmatrix_pipeline.warehouse import schedules as audit
from quantmatrix_pipeline.warehouse.engine import Warehouse
from quantmatrix_pipeline_tests.api.listening_dagster import RUN, Listening

KEY = "0123456789abcdef"
NOBODY = "http://127.0.0.1:9"  # the discard port: a connection is refused at once
ROUTE = "/api/v1/admin/schedules"
ENTRY = {"job": "restate", "cron": "0 1 * * *", "description": "what came late"}


@pytest.fixture
def settings(database_url: str, tmp_path: Path) -> Settings:
    return Settings(
        data_dir=tmp_path / "qm",
        database_url=SecretStr(database_url),
        schedules_file=None,
        dagster_url=NOBODY,
        admin_api_keys=SecretStr(f"ada:{KEY}"),
    )


@pytest.fixture
def client(settings: Settings) -> Iterator[TestClient]:
    with TestClient(create_app(settings), headers={"X-API-Key": KEY}, raise_server_exceptions=False) as client:
        yield client


def copy(settings: Settings) -> Path:
    return settings.data_dir.resolve() / "schedules.yaml"


def audited(client: TestClient) -> list[tuple[str, str, str]]:
    return [(c["actor"], c["action"], c["schedule"]) for c in client.get(f"{ROUTE}/audit").json()]


def faults(response: Any) -> dict[str, str]:
    assert response.status_code == 422, response.text
    assert response.headers["content-type"] == "application/problem+json"
    return {fault["field"]: fault["message"] for fault in response.json()["errors"]}


def test_without_a_key_none_of_the_routes_does_anything(client: TestClient, settings: Settings) -> None:
    tried = 0
    for path, methods in client.get("/openapi.json").json()["paths"].items():
        for method in methods if path.startswith(ROUTE) else ():
            url = path.replace("{name}", "nightly_chain")
            assert client.request(method, url, headers={"X-API-Key": "wrong"}).status_code == 401, (method, path)
            tried += 1
    assert tried == 18
    assert not copy(settings).exists()


def test_a_schedule_is_added_changed_and_taken_away_in_a_copy_and_all_of_it_is_recorded(
    client: TestClient, settings: Settings
) -> None:
    before = client.get(ROUTE).json()
    assert (before["file"], before["fault"], before["live"]) == (str(PACKAGED), None, False)
    assert NOBODY in before["dagster"]

    made = client.post(ROUTE, json={"name": "late", **ENTRY})
    assert made.status_code == 201, made.text
    assert (made.json()["file"], made.json()["live"]) == (str(copy(settings)), False)
    assert "when Dagster starts" in made.json()["note"]
    text = copy(settings).read_text()
    assert text.startswith(PACKAGED.read_text()), "comments and the other entries stay as they are"
    assert client.post(ROUTE, json={"name": "late", **ENTRY}).status_code == 409
    stored = client.get(f"{ROUTE}/late").json()
    assert (stored["running"], stored["entry"]["cron"], stored["entry"]["changed"]["by"]) == (None, "0 1 * * *", "ada")

    changed = client.put(f"{ROUTE}/late", json={**ENTRY, "cron": "0 2 * * *"}).json()
    assert changed["changes"][0]["difference"] == {"cron": ["0 1 * * *", "0 2 * * *"]}
    assert client.put(f"{ROUTE}/late", json={**ENTRY, "cron": "0 2 * * *"}).json()["file"] is None
    assert client.put(f"{ROUTE}/later", json=ENTRY).status_code == 404

    assert client.delete(f"{ROUTE}/late").status_code == 200
    assert client.delete(f"{ROUTE}/late").status_code == 404
    assert copy(settings).read_text().rstrip() == PACKAGED.read_text().rstrip()
    assert audited(client) == [("ada", action, "late") for action in ("delete", "update", "create")]


def test_who_changes_schedules_while_somebody_else_does_is_told_to_try_again(
    client: TestClient, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("quantmatrix_pipeline.schedules.editing.LOCK_SECONDS", 0.05)
    settings.data_dir.mkdir()
    with FileLock(settings.data_dir.resolve() / ".schedules.lock"):
        busy = client.post(ROUTE, json={"name": "late", **ENTRY})
    assert (busy.status_code, busy.headers["retry-after"]) == (503, "5")
    assert busy.json()["type"] == "urn:quantmatrix:problem:schedules-busy"
    assert "nothing was written; try again" in busy.json()["detail"]
    assert client.post(ROUTE, json={"name": "late", **ENTRY}).status_code == 201


def test_what_is_wrong_is_told_by_field_and_changes_nothing(client: TestClient, settings: Settings) -> None:
    assert "cron" in str(faults(client.post(ROUTE, json={"name": "late", "job": "x", "cron": "0 0 * *"})))
    assert faults(client.put(f"{ROUTE}/nightly_chain", json={**ENTRY, "crom": 1})).keys() == {"crom"}
    waits = {**ENTRY, "name": "late", "after": [{"schedule": "nobody"}]}
    assert faults(client.post(ROUTE, json=waits)) == {"late.after.0.schedule": "there is no entry 'nobody'"}
    assert "there is no entry" in str(faults(client.delete(f"{ROUTE}/nightly_chain"))), "others wait for it"
    assert faults(client.post(f"{ROUTE}/import", content="version: 1\nschedules: {a: {job: x}}")) == {
        "a.cron": "it must be there"
    }
    assert client.post(f"{ROUTE}/import", content=b"\xff").status_code == 422
    assert client.get(ROUTE, params={"page": 2}).status_code == 422
    assert not copy(settings).exists()
    assert audited(client) == []


def test_a_webhooks_address_is_refused_by_every_way_in_and_shown_nowhere(
    client: TestClient, settings: Settings
) -> None:
    hooks = {"channels": ["slack", "https://discord.com/api/webhooks/1/hidden"]}
    answers = [
        client.post(ROUTE, json={"name": "late", **ENTRY, "hooks": hooks}),
        client.put(f"{ROUTE}/nightly_chain", json={**ENTRY, "hooks": hooks}),
        client.post(f"{ROUTE}/preview", json={**ENTRY, "hooks": hooks}),
        client.post(
            f"{ROUTE}/import", content=json.dumps({"version": 1, "schedules": {"late": {**ENTRY, "hooks": hooks}}})
        ),
    ]
    for answer in answers:
        ((field, message),) = faults(answer).items()
        assert field.endswith("hooks.channels.1")
        assert "write its alias here" in message
        assert "hidden" not in answer.text
    assert not copy(settings).exists()


def test_what_is_exported_is_what_an_import_takes(client: TestClient, settings: Settings) -> None:
    exported = client.get(f"{ROUTE}/export")
    assert exported.headers["content-type"].startswith("application/yaml")
    same = client.post(f"{ROUTE}/import", content=exported.content)
    assert (same.status_code, same.json()["file"]) == (200, None)
    other = exported.text.replace("cron: 5 * * * *", "cron: 6 * * * *").replace("  weekly_profiles:", "  profiles:")
    done = client.post(f"{ROUTE}/import", content=other).json()
    assert {c["schedule"] for c in done["changes"]} == {"hourly_coverage", "weekly_profiles", "profiles"}
    assert client.get(f"{ROUTE}/hourly_coverage").json()["entry"]["changed"]["by"] == "ada"
    assert client.post(f"{ROUTE}/import", content=client.get(f"{ROUTE}/export").content).json()["file"] is None


def test_while_the_file_is_broken_an_entry_can_not_be_changed_but_a_whole_file_put_in_its_place(
    client: TestClient, settings: Settings
) -> None:
    exported = client.get(f"{ROUTE}/export").content
    client.post(ROUTE, json={"name": "late", **ENTRY})
    # No Dagster is there to say that this job has no sessions: this must not become what is in force meanwhile.
    assert client.post(ROUTE, json={"name": "later", **ENTRY, "partition": "newest"}).status_code == 201
    copy(settings).write_text("schedules: [")
    listed = client.get(ROUTE).json()
    assert "line 1" in listed["fault"]
    names = [s["name"] for s in listed["schedules"]]
    assert ("late" in names, "later" in names) == (True, False), "the last good ones are in force"
    assert "mend it" in str(faults(client.put(f"{ROUTE}/late", json={**ENTRY, "cron": "0 5 * * *"})))
    assert client.post(f"{ROUTE}/import", content=exported).status_code == 200
    assert client.get(ROUTE).json()["fault"] is None


def test_a_preview_is_ten_ticks_also_of_an_entry_that_is_not_in_force(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QM_NOW", "2021-11-24T23:00:00Z")
    nightly = client.get(f"{ROUTE}/nightly_chain/preview").json()
    assert len(nightly["ticks"]) == 10
    first = nightly["ticks"][0]
    assert (first["local"], first["utc"]) == ("2021-11-25T17:30:00-05:00", "2021-11-25T22:30:00Z")
    assert "no session" in first["skipped"]
    assert nightly["ticks"][1]["sessions"] == "2021-11-26"
    assert "preflight disk passes" in nightly["conditions"]
    other = client.post(f"{ROUTE}/preview", json={**ENTRY, "timezone": "Asia/Tokyo"}).json()
    assert other["ticks"][0] == {
        "local": "2021-11-26T01:00:00+09:00", "utc": "2021-11-25T16:00:00Z", "sessions": None, "skipped": None,
    }  # fmt: skip


def test_without_a_dagster_nothing_is_paused_and_nothing_recorded(client: TestClient) -> None:
    for action in ("pause", "resume"):
        for url in (f"{ROUTE}/weekly_profiles/{action}", f"{ROUTE}/{action}?name=weekly_profiles"):
            answer = client.post(url)
            assert (answer.status_code, answer.json()["type"].rpartition(":")[2]) == (503, "dagster-unreachable"), url
        assert client.post(f"{ROUTE}/nobody/{action}").status_code == 404
        assert client.post(f"{ROUTE}/{action}?name=nobody").status_code == 404
        assert faults(client.post(f"{ROUTE}/{action}")).keys() == {"name"}
    assert client.post(f"{ROUTE}/nobody/run-now").status_code == 404
    assert faults(client.post(f"{ROUTE}/nightly_chain/run-now", json={"session": "2021-11-25"})).keys() == {"session"}
    assert audited(client) == []


def test_a_launch_that_came_to_nothing_is_recorded_with_the_reason(client: TestClient) -> None:
    answer = client.post(f"{ROUTE}/weekly_profiles/run-now")
    assert (answer.status_code, answer.json()["type"].rpartition(":")[2]) == (503, "dagster-unreachable")
    (change,) = client.get(f"{ROUTE}/audit").json()
    assert (change["actor"], change["action"], change["run_id"]) == ("ada", "run_now", None)
    assert NOBODY in change["error"]


@pytest.fixture
def launching(settings: Settings, dagster: Listening) -> Iterator[TestClient]:
    """A client of an API whose Dagster launches whatever it is asked to."""
    dagster.forget()
    app = create_app(settings.model_copy(update={"dagster_url": dagster.address, "source": Source.SAMPLE}))
    with TestClient(app, headers={"X-API-Key": KEY}, raise_server_exceptions=False) as client:
        yield client


def test_a_launch_is_recorded_before_it_happens_and_its_run_after(
    launching: TestClient, dagster: Listening, database_url: str
) -> None:
    warehouse = Warehouse(database_url)
    seen = []
    dagster.before_launch = lambda: seen.extend(audit.changes(warehouse))
    answer = launching.post(f"{ROUTE}/weekly_profiles/run-now")
    assert answer.status_code == 202, answer.text
    assert answer.json() == {
        "run_id": RUN, "task": "refresh_profiles", "session": None, "url": f"{dagster.address}/runs/{RUN}",
        "follow": f"/api/v1/market-data/admin/jobs/{RUN}",
    }  # fmt: skip
    assert [(c.actor, c.schedule, c.run_id) for c in seen] == [("ada", "weekly_profiles", None)]
    assert [(c["run_id"], c["error"]) for c in launching.get(f"{ROUTE}/audit").json()] == [(RUN, None)]

    # What came of it can't be added: the run is under way all the same, and who asked for it hears of it.
    dagster.before_launch = lambda: warehouse.execute("DROP TABLE schedule_audit_outcomes") and None
    answer = launching.post(f"{ROUTE}/weekly_profiles/run-now")
    assert (answer.status_code, answer.json()["run_id"]) == (202, RUN)
    assert warehouse.scalar("SELECT count(*) FROM schedule_audit WHERE action = 'run_now'") == 2

    # What can't be recorded is not launched.
    dagster.forget()
    warehouse.execute("DROP TABLE schedule_audit")
    assert launching.post(f"{ROUTE}/weekly_profiles/run-now").status_code == 503
    assert dagster.launched == []
    warehouse.close()


def test_the_forms_without_a_name_in_the_path_do_the_same(
    launching: TestClient, dagster: Listening, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = launching
    task = "backend.tasks.market_data_tasks.monitor_coverage_health"
    by_task = client.post(f"{ROUTE}/run-now?task={task}").json()
    assert (by_task["task"], by_task["session"], by_task["run_id"]) == ("refresh_coverage", "2013-03-01", RUN)
    by_name = client.post(f"{ROUTE}/run-now?name=weekly_profiles").json()
    assert (by_name["task"], audited(client)) == ("refresh_profiles", [("ada", "run_now", "weekly_profiles")])
    assert client.post(f"{ROUTE}/run-now?task=backfill_5m_last_n_days").status_code == 501
    assert faults(client.post(f"{ROUTE}/run-now")).keys() == {"name"}
    symbols = "config.fetch_symbols.symbols"
    assert faults(client.post(f"{ROUTE}/run-now?task=refresh_single_symbol")).keys() == {symbols}, "or it fetches more"
    assert len(dagster.launched) == 2
    assert client.post(f"{ROUTE}/export").text == client.get(f"{ROUTE}/export").text
    monkeypatch.setenv("QM_NOW", "2021-11-24T23:00:00Z")
    preview = client.get(f"{ROUTE}/preview?name=nightly_chain")
    assert preview.json() == client.get(f"{ROUTE}/nightly_chain/preview").json()
    ticks = client.get(f"{ROUTE}/preview", params={"cron": "0 1 * * *", "timezone": "UTC"}).json()["ticks"]
    assert [ticks[0]["utc"], len(ticks)] == ["2021-11-25T01:00:00Z", 10]
    assert faults(client.get(f"{ROUTE}/preview?cron=daily")).keys() == {"cron"}
    assert faults(client.get(f"{ROUTE}/preview?cron=0+1+*+*+*&timezone=Mars")).keys() == {"timezone"}
    assert faults(client.get(f"{ROUTE}/preview")).keys() == {"name"}


def test_what_can_not_be_recorded_is_not_written_either(settings: Settings) -> None:
    away = settings.model_copy(update={"database_url": SecretStr("postgresql://nobody@127.0.0.1:9/none")})
    with TestClient(create_app(away), headers={"X-API-Key": KEY}, raise_server_exceptions=False) as client:
        answer = client.post(ROUTE, json={"name": "late", **ENTRY})
        assert (answer.status_code, answer.json()["type"].rpartition(":")[2]) == (503, "warehouse-unavailable")
        assert not copy(settings).exists()
        assert client.get(ROUTE).status_code == 200
