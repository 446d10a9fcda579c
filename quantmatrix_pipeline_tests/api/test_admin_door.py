"""Who may change things over HTTP: nobody while no key is configured, then whoever sends one of the keys."""

from __future__ import annotations

import hmac
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from pydantic import SecretStr

from quantmatrix_pipeline.api import problems
from quantmatrix_pipeline.api.admin import Admin, RunningDagster
from quantmatrix_pipeline.dagster_client import launch
from quantmatrix_pipeline.settings import Reloading, Settings

ADA, BOB = "k" * 15 + "A", "k" * 15 + "B"


def behind_the_door(settings: Settings | Reloading) -> TestClient:
    """Return a client of an app with two routes behind the door."""
    app = FastAPI()
    app.state.settings_source = settings
    problems.install(app)

    @app.get("/who")
    def who(admin: Admin) -> str:
        return admin

    @app.post("/launch")
    def start(admin: Admin, dagster: RunningDagster) -> str:
        return launch(dagster, "restate", tags={"by": admin})

    return TestClient(app)


def test_without_a_configured_key_it_is_off_whatever_is_sent() -> None:
    client = behind_the_door(Settings(admin_api_keys=None))
    for headers in ({}, {"X-API-Key": ""}, {"X-API-Key": ADA}):
        answer = client.get("/who", headers=headers)
        assert answer.status_code == 403
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["type"] == "urn:quantmatrix:problem:admin-routes-off"
        assert "QM_ADMIN_API_KEYS" in answer.json()["detail"]


def test_each_key_enters_under_its_name_and_nothing_else_does(monkeypatch: pytest.MonkeyPatch) -> None:
    client = behind_the_door(Settings(admin_api_keys=SecretStr(f"ada:{ADA}, {BOB}")))
    compared = []
    compare = hmac.compare_digest
    monkeypatch.setattr(hmac, "compare_digest", lambda a, b: compared.append(b) or compare(a, b))
    assert client.get("/who", headers={"X-API-Key": ADA}).json() == "ada"
    assert client.get("/who", headers={"X-API-Key": BOB}).json() == "admin 2"
    assert compared == [ADA.encode(), BOB.encode()] * 2, "the first match must not end the comparing"
    for headers in ({}, {"X-API-Key": ""}, {"X-API-Key": f"ada:{ADA}"}, {"X-API-Key": ADA[:-1]}):
        answer = client.get("/who", headers=headers)
        assert answer.status_code == 401
        assert answer.json()["type"] == "urn:quantmatrix:problem:admin-key-required"
        assert "X-API-Key" in answer.json()["detail"]
        assert "X-API-Key" in answer.headers["www-authenticate"]
        assert ADA not in answer.text
    assert client.get("/who", headers={"X-API-Key": b"\xff\xfe"}).status_code == 401


def test_a_key_that_the_settings_file_takes_away_enters_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "ours.env"
    file.write_text(f"QM_ADMIN_API_KEYS=ada:{ADA},bob:{BOB}\n")
    monkeypatch.setenv("QM_ENV_FILE", str(file))
    client = behind_the_door(Reloading())
    assert client.get("/who", headers={"X-API-Key": ADA}).json() == "ada"
    file.write_text(f"QM_ADMIN_API_KEYS=bob:{BOB}\n")
    assert client.get("/who", headers={"X-API-Key": ADA}).status_code == 401
    assert client.get("/who", headers={"X-API-Key": BOB}).json() == "bob"


def test_without_a_running_dagster_it_says_so_and_how_to_start_one() -> None:
    # The discard port: a connection is refused at once.
    client = behind_the_door(Settings(admin_api_keys=SecretStr(ADA), dagster_url="http://127.0.0.1:9"))
    answer = client.post("/launch", headers={"X-API-Key": ADA})
    assert answer.status_code == 503
    assert answer.json()["type"] == "urn:quantmatrix:problem:dagster-unreachable"
    assert "`qm up`" in answer.json()["detail"]
    assert answer.headers["retry-after"].isdigit()
