"""The API while the database is away, comes back, or refuses; and that it can only read."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import httpx
import psycopg
import pytest
from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families
from psycopg import sql
from pydantic import SecretStr

from quantmatrix_pipeline.api.app import create_app
from quantmatrix_pipeline.api.routes import metrics
from quantmatrix_pipeline.errors import WarehouseError
from quantmatrix_pipeline.settings import Settings
from quantmatrix_pipeline.warehouse import coverage
from quantmatrix_pipeline.warehouse.embedded import SUPERUSER, EmbeddedServer
from quantmatrix_pipeline.warehouse.engine import Warehouse
from quantmatrix_pipeline_tests.api.conftest import Filled
from quantmatrix_pipeline_tests.api.routes import EVERY_ROUTE
from quantmatrix_pipeline_tests.conftest import TEMPLATE


def _execute(server: EmbeddedServer, statement: str, *names: str) -> None:
    with psycopg.connect(server.url("postgres", SUPERUSER), autocommit=True) as connection:
        connection.execute(sql.SQL(statement).format(*(sql.Identifier(name) for name in names)))


@pytest.fixture
def later(server: EmbeddedServer) -> Iterator[str]:
    """Name of a database that is not there yet, and is gone afterwards."""
    name = f"later_{uuid4().hex[:12]}"
    yield name
    _execute(server, "DROP DATABASE IF EXISTS {} WITH (FORCE)", name)


def _away(client: TestClient, secret: str) -> None:
    health = client.get("/health")
    assert health.status_code == 503
    assert health.json()["status"] == "unavailable"
    assert (health.json()["database"], health.json()["scheduler_running"]) == ("away", False)
    for path, url in EVERY_ROUTE.items():
        response = client.get(url)
        assert response.status_code == 503, path
        assert secret not in response.text
        if path != "/health":
            assert response.headers["content-type"] == "application/problem+json"
            assert response.headers["retry-after"].isdigit()
            assert response.json()["type"] == "urn:quantmatrix:problem:warehouse-unavailable"
    assert _metrics(client) == {"quantmatrix_warehouse_up": 0.0}, "Prometheus tells the database from the API"


def _metrics(client: TestClient) -> dict[str, float]:
    """Return the metrics that have no labels."""
    response = client.get("/metrics")
    assert response.status_code == 200
    samples = [sample for family in text_string_to_metric_families(response.text) for sample in family.samples]
    return {sample.name: sample.value for sample in samples if not sample.labels}


def test_it_starts_without_a_database_says_so_and_heals_when_there_is_one(
    server: EmbeddedServer, later: str, caplog: pytest.LogCaptureFixture
) -> None:
    url = server.url(later, "qm_reader")
    password = url.split(":")[2].split("@")[0]
    settings = Settings(database_url=SecretStr(url))
    with TestClient(create_app(settings), raise_server_exceptions=False) as client:
        _away(client, password)
        assert client.get("/docs").status_code == 200
        _execute(server, "CREATE DATABASE {} OWNER qm_owner", later)
        _away(client, password)  # there, and without tables
        assert "qm db upgrade" in caplog.text
        _execute(server, "DROP DATABASE {} WITH (FORCE)", later)
        _away(client, password)
        _execute(server, "CREATE DATABASE {} TEMPLATE {} OWNER qm_owner", later, TEMPLATE)
        assert client.get("/health").json()["database"] == "ok"
        assert _metrics(client)["quantmatrix_warehouse_up"] == 1.0
        assert client.get("/api/v1/status").json() == {
            "symbols": 0,
            "records": 0,
            "validation_rate": None,
            "gaps_flagged": 0,
            "latest_date": None,
        }
        coverage_body = client.get("/api/v1/market-data/coverage").json()
        assert (coverage_body["status"], coverage_body["meta"]["source"]) == ("unknown", "none")
        assert client.get("/api/v1/snapshots").json() == {"known_at": None, "count": 0, "data": []}
    assert password not in caplog.text


@pytest.mark.timeout(60)
def test_scrapes_do_not_pile_up_behind_one_that_hangs_in_the_database(
    server: EmbeddedServer, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics, "PATIENCE_SECONDS", 0.2)
    reader = SecretStr(server.url(database_url.rsplit("/", 1)[1], "qm_reader"))
    with TestClient(create_app(Settings(database_url=reader))) as client, ThreadPoolExecutor(1) as elsewhere:
        with psycopg.connect(database_url) as busy:
            busy.execute("LOCK TABLE heartbeats")
            hangs = elsewhere.submit(_metrics, client)
            waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'heartbeats'::regclass"
            while busy.execute(waiting).fetchone() == (0,):
                time.sleep(0.05)
            assert _metrics(client) == {"quantmatrix_warehouse_up": 0.0}
            assert not hangs.done()
        assert hangs.result(30)["quantmatrix_warehouse_up"] == 1.0
        assert _metrics(client)["quantmatrix_warehouse_up"] == 1.0


def test_an_installation_without_a_data_folder_is_away_and_makes_none(run_folder: Path) -> None:
    folder = run_folder / f"nothing-{uuid4().hex[:8]}"
    app = create_app(Settings(data_dir=folder))
    client = TestClient(app, raise_server_exceptions=False)  # not entered: as if the start-up had failed
    assert client.get("/health").status_code == 503
    assert client.get("/api/v1/status").status_code == 503
    assert not folder.exists()


def test_a_warehouse_that_did_not_answer_is_looked_up_anew(server: EmbeddedServer, later: str) -> None:
    app = create_app(Settings(database_url=SecretStr(server.url(later, "qm_reader"))))
    with TestClient(app, raise_server_exceptions=False) as client:
        for url in ("/health", "/api/v1/status", "/api/v1/snapshots", "/metrics"):
            before = app.state.door.warehouse()
            assert client.get(url).status_code == (200 if url == "/metrics" else 503)
            assert app.state.door.warehouse() is not before, url
        _execute(server, "CREATE DATABASE {} TEMPLATE {} OWNER qm_owner", later, TEMPLATE)
        kept = app.state.door.warehouse()
        assert client.get("/api/v1/snapshots").status_code == 200
        assert client.get("/api/v1/snapshots/NOPE").status_code == 404
        assert app.state.door.warehouse() is kept


def test_an_embedded_server_that_comes_later_is_found(
    server: EmbeddedServer, run_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = run_folder / f"later-{uuid4().hex[:8]}"
    folder.mkdir()
    client = TestClient(create_app(Settings(data_dir=folder)), raise_server_exceptions=False)
    assert client.get("/api/v1/status").status_code == 503
    (folder / "postgres").symlink_to(server.folder)
    assert client.get("/health").status_code == 503  # reached, and no migration was applied to its own database
    assert client.get("/api/v1/status").status_code == 503
    assert "qm db upgrade" in caplog.records[-1].getMessage()


def test_readers_do_not_notice_that_their_connections_were_cut(client: TestClient, server: EmbeddedServer) -> None:
    urls = [url for path, url in EVERY_ROUTE.items() if path != "/health"]
    assert {client.get(url).status_code for url in urls} == {200}
    with psycopg.connect(server.url("postgres", SUPERUSER), autocommit=True) as connection:
        cut = connection.execute(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = 'qm_reader'"
        ).fetchone()
    assert cut is not None
    assert cut[0] >= 2
    assert {client.get(url).status_code for url in urls} == {200}


def test_no_transaction_stays_open_after_a_request(client: TestClient, server: EmbeddedServer) -> None:
    for url in EVERY_ROUTE.values():
        client.get(url)
    with psycopg.connect(server.url("postgres", SUPERUSER), autocommit=True) as connection:
        states = {
            state for (state,) in connection.execute("SELECT state FROM pg_stat_activity WHERE usename = 'qm_reader'")
        }
    assert states == {"idle"}


def test_a_reader_can_change_no_table(filled: Filled) -> None:
    with psycopg.connect(filled.reader_url, autocommit=True) as connection:
        tables = [
            name
            for (name,) in connection.execute(
                "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')"
            )
        ]
        assert "price_data" in tables
        assert "market_analysis_history" in tables
        for name in tables:
            table = sql.Identifier(name)
            for statement in ("DELETE FROM {}", "TRUNCATE {}", "INSERT INTO {} DEFAULT VALUES", "DROP TABLE {}"):
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    connection.execute(sql.SQL(statement).format(table))
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("CREATE TABLE mine (x integer)")


def test_kept_connections_read_only_whatever_the_role_may(database_url: str) -> None:
    warehouse = Warehouse(database_url)  # the owner's
    try:
        with pytest.raises(WarehouseError, match="read-only"):
            warehouse.read("INSERT INTO heartbeats (name, beat_at) VALUES ('x', now()) RETURNING name")
        assert warehouse.read("SELECT count(*) AS n FROM heartbeats")["n"][0].as_py() == 0
    finally:
        warehouse.close()


@pytest.mark.parametrize(
    ("age", "status"), [(timedelta(minutes=4, seconds=59), "ok"), (timedelta(minutes=5), "degraded")]
)
def test_a_sign_of_life_younger_than_five_minutes_means_that_the_scheduler_runs(
    database_url: str, monkeypatch: pytest.MonkeyPatch, age: timedelta, status: str
) -> None:
    now = datetime(2013, 3, 1, 22, tzinfo=UTC)
    monkeypatch.setenv("QM_NOW", now.isoformat())
    warehouse = Warehouse(database_url)
    coverage.beat(warehouse, "failed_runs", now - timedelta(days=3))
    coverage.beat(warehouse, "stale_coverage", now - age)
    with TestClient(create_app(Settings(), warehouse)) as client:
        response = client.get("/health")
    warehouse.close()
    assert response.status_code == 200
    body = response.json()
    assert {component["detail"] for component in body.pop("components").values()} == {None}
    assert body == {
        "status": status,
        "timestamp": "2013-03-01T22:00:00Z",
        "scheduler_running": status == "ok",
        "database": "ok",
        "vendors": dict.fromkeys(("yfinance", "binance", "coingecko", "wikipedia"), "closed"),  # those without a key
        "heartbeats": {"failed_runs": 259_200.0, "stale_coverage": age.total_seconds()},
    }


def test_health_names_what_is_bad_and_tells_details_to_holders_of_a_key_only(
    database_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    key = "0123456789abcdef0123"
    monkeypatch.setenv("QM_DISCORD_WEBHOK", "https://discord/hidden")
    settings = Settings(
        data_dir=tmp_path,
        redis_url=SecretStr("redis://:hidden@127.0.0.1:9/0"),
        admin_api_keys=SecretStr(f"ann:{key}"),
    )
    warehouse = Warehouse(database_url)
    now, wall = datetime.now(UTC), time.time()
    watched = {"daemons": {"SCHEDULER": wall}, "due": {"nightly_chain": wall - 3600}, "sensors": {}, "intervals": {}}
    coverage.beat(warehouse, "watch_dagster", now, watched)
    warehouse.execute("INSERT INTO index_refusals VALUES ('SP500', '2021-12-31', 'too short', NULL, now())")
    warehouse.execute("DELETE FROM schema_migrations WHERE id = (SELECT max(id) FROM schema_migrations)")
    with TestClient(create_app(settings, warehouse)) as client:
        anybody = client.get("/health", headers={"X-API-Key": "wrong"})
        holder = client.get("/health", headers={"X-API-Key": key})
        quick = time.monotonic()
        assert client.get("/health").status_code == 200
        quick = time.monotonic() - quick
    warehouse.close()
    assert (anybody.status_code, anybody.json()["status"]) == (200, "degraded")
    components = anybody.json()["components"]
    ill = {name for name, component in components.items() if component["state"] == "bad"}
    assert ill == {"environment", "members of SP500", "migrations", "redis", "schedules"}
    assert {component["detail"] for component in components.values()} == {None}
    told = {name: component["detail"] for name, component in holder.json()["components"].items()}
    assert "did you mean QM_DISCORD_WEBHOOK?" in told["environment"]
    assert "nightly_chain should have ticked" in told["schedules"]
    assert str(tmp_path) in told["disk"]
    assert "hidden" not in anybody.text + holder.text
    assert quick < 1, "what takes long is kept for some seconds"


def test_the_process_serves_while_the_database_is_away_and_ends_on_sigterm(server: EmbeddedServer, later: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    url = server.url(later, "qm_reader")
    environment = os.environ | {"QM_DATABASE_URL": url, "QM_API_PORT": str(port)}
    process = subprocess.Popen(
        [sys.executable, "-m", "quantmatrix_pipeline.api"], env=environment, stderr=subprocess.PIPE, text=True
    )
    try:
        health = _first_answer(f"http://127.0.0.1:{port}/health")
        assert (health.status_code, health.json()["status"]) == (503, "unavailable")
        assert httpx.get(f"http://127.0.0.1:{port}/api/v1/status").status_code == 503
    finally:
        process.send_signal(signal.SIGTERM)
        _, log = process.communicate(timeout=20)
    assert "Application shutdown complete" in log
    assert "does not answer" in log
    assert "Traceback" not in log
    assert url.split(":")[2].split("@")[0] not in log


def _first_answer(url: str) -> httpx.Response:
    deadline = time.monotonic() + 60
    while True:
        try:
            return httpx.get(url)
        except httpx.ConnectError:
            assert time.monotonic() < deadline, "the server did not come up"
            time.sleep(0.1)


def test_the_api_works_without_dagster() -> None:
    code = "import sys, quantmatrix_pipeline.api.__main__; raise SystemExit('dagster' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0


def test_a_wrong_setting_is_one_line_and_no_traceback() -> None:
    environment = os.environ | {"QM_API_PORT": "http"}
    done = subprocess.run(
        [sys.executable, "-m", "quantmatrix_pipeline.api"], env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 2
    assert "QM_API_PORT" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
