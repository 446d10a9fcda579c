"""`/stats/providers`, `/api/market-data/sources/status` and `/metrics` tell of vendors what SQL tells of them."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any

import psycopg
import pytest
from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample
from psycopg.rows import dict_row
from pydantic import SecretStr

from quantmatrix_pipeline.api.app import create_app
from quantmatrix_pipeline.errors import NobodyServes
from quantmatrix_pipeline.providers.contract import BarRequest, Capability
from quantmatrix_pipeline.providers.routing.assemble import build_router
from quantmatrix_pipeline.providers.routing.router import Router
from quantmatrix_pipeline.settings import VENDORS, Settings, load
from quantmatrix_pipeline.warehouse.embedded import EmbeddedServer
from quantmatrix_pipeline.warehouse.engine import Warehouse
from quantmatrix_pipeline.warehouse.vendor_requests import LATENCY_BOUNDS_MS
from quantmatrix_pipeline_tests.pipeline.running import CALENDAR, walk
from quantmatrix_pipeline_tests.vendor_server import Market, Vendors, at, broken, limited, vendors

NEWEST = CALENDAR.newest_closed(datetime.now(UTC), timedelta(minutes=30))
DAYS: list[date] = list(CALENDAR.window(NEWEST, 20).tolist())
ROUTES = ("/stats/providers", "/api/market-data/sources/status", "/metrics")
COUNTED = ("provider_selected_total", "provider_errors_total", "provider_latency_ms_bucket", "circuit_state")


@pytest.fixture
def market() -> Iterator[Vendors]:
    with vendors(Market(walk(["AAPL", "MSFT"], DAYS))) as running:
        yield running


@pytest.fixture
def settings(market: Vendors, monkeypatch: pytest.MonkeyPatch) -> Settings:
    market.enter(monkeypatch, "finnhub", "twelve_data", "polygon")
    return load()


@pytest.fixture
def warehouse(database_url: str) -> Iterator[Warehouse]:
    warehouse = Warehouse(database_url)
    yield warehouse
    warehouse.close()


@pytest.fixture
def reader_url(server: EmbeddedServer, database_url: str) -> str:
    return server.url(database_url.rsplit("/", 1)[1], "qm_reader")


@pytest.fixture
def asked(market: Vendors, settings: Settings, warehouse: Warehouse) -> None:
    """Vendors that were asked: Finnhub with a key that is refused, Polygon broken, Twelve Data at its limit once."""
    router = build_router(settings, warehouse)
    asyncio.run(_quote(router, "AAPL"))
    market.keys["finnhub"] = "another"
    asyncio.run(_quote(router, "MSFT"))
    asyncio.run(_bars(router, "AAPL"))
    market.trouble["polygon"] = broken
    asyncio.run(_quote(router, "MSFT", prefer="polygon"))
    market.trouble["twelve_data"] = at("/quote", limited(120))
    market.trouble["yfinance"] = limited(120)
    with pytest.raises(NobodyServes):
        asyncio.run(_quote(build_router(settings, warehouse), "MSFT"))


async def _quote(router: Router, symbol: str, prefer: str | None = None) -> None:
    async with router:
        await router.first_answer(Capability.QUOTES, lambda v: v.quotes([symbol]), f"quote {symbol}", prefer=prefer)


async def _bars(router: Router, symbol: str) -> None:
    request = BarRequest(symbol, CALENDAR.sessions_in(DAYS[0], DAYS[-1]))
    async with router:
        await router.first_answer(Capability.DAILY_BARS, lambda v: v.daily_bars([request]), f"bars {symbol}")


@pytest.fixture
def client(settings: Settings, reader_url: str) -> Iterator[TestClient]:
    """A client of the API, which has no rights but a reader's."""
    warehouse = Warehouse(reader_url)
    with TestClient(create_app(settings, warehouse), raise_server_exceptions=False) as client:
        yield client
    warehouse.close()


def rows(url: str, statement: str) -> list[dict[str, Any]]:
    with psycopg.connect(url, row_factory=dict_row) as connection:
        return connection.execute(statement).fetchall()  # type: ignore[arg-type]


def samples(text: str) -> dict[str, list[Sample]]:
    """Return the metrics as Prometheus' own parser reads them."""
    found: dict[str, list[Sample]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, []).append(sample)
    return found


def by(labelled: list[Sample], *labels: str) -> Mapping[tuple[str, ...], float]:
    """Return label values -> value; holds the samples to having these labels and no others, and no two alike."""
    assert all(set(sample.labels) == set(labels) for sample in labelled)
    found = {tuple(sample.labels[name] for name in labels): sample.value for sample in labelled}
    assert len(found) == len(labelled)
    return found


@pytest.mark.usefixtures("asked")
def test_the_metrics_bear_the_known_names_and_the_values_that_sql_tells(client: TestClient, reader_url: str) -> None:
    response = client.get("/metrics")
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/plain; version=")
    found = samples(response.text)
    assert set(COUNTED) <= set(found)

    selected = rows(reader_url, "SELECT capability, vendor, times FROM provider_selected")
    assert by(found["provider_selected_total"], "capability", "provider") == {
        (row["capability"], row["vendor"]): row["times"] for row in selected
    }
    assert ("quotes", "finnhub") in {(row["capability"], row["vendor"]) for row in selected}

    errors = rows(reader_url, "SELECT vendor, endpoint, code, times FROM provider_errors")
    assert by(found["provider_errors_total"], "provider", "endpoint", "code") == {
        (row["vendor"], row["endpoint"], row["code"]): row["times"] for row in errors
    }
    assert {("finnhub", "AuthFailed"), ("polygon", "VendorUnavailable"), ("twelve_data", "RateLimited")} <= {
        (row["vendor"], row["code"]) for row in errors
    }

    latency = rows(reader_url, "SELECT vendor, endpoint, buckets, sum_ms, calls FROM provider_latency")
    bounds = [*(str(float(bound)) for bound in LATENCY_BOUNDS_MS), "+Inf"]
    buckets = by(found["provider_latency_ms_bucket"], "provider", "endpoint", "le")
    assert buckets == {
        (row["vendor"], row["endpoint"], bound): sum(row["buckets"][: place + 1])
        for row in latency
        for place, bound in enumerate(bounds)
    }
    assert by(found["provider_latency_ms_count"], "provider", "endpoint") == {
        (row["vendor"], row["endpoint"]): row["calls"] for row in latency
    }
    assert by(found["provider_latency_ms_sum"], "provider", "endpoint") == {
        (row["vendor"], row["endpoint"]): row["sum_ms"] for row in latency
    }

    state = by(found["circuit_state"], "provider")
    level = {"open": 0.0, "half_open": 0.5, "closed": 1.0}
    worst = {(name,): 1.0 for name in VENDORS}
    for row in rows(reader_url, "SELECT vendor, state FROM provider_circuits"):
        worst[row["vendor"],] = min(worst[row["vendor"],], level[row["state"]])
    assert state == worst
    assert state["finnhub",] == 0.0


@pytest.mark.usefixtures("asked")
def test_the_statistics_name_the_state_its_reason_and_parts_that_sum_to_the_score(
    client: TestClient, reader_url: str
) -> None:
    body = client.get("/stats/providers").json()
    assert (body["overall_health"], body["settings_refused"]) == ("degraded", None)
    assert body["policies"]["quotes"] == ["finnhub", "twelve_data", "alpha_vantage", "yfinance"]
    of = {each["provider"]: each for each in body["providers"]}
    assert set(of) == set(VENDORS)
    for each in of.values():
        assert sum(each["parts"].values()) == pytest.approx(each["health_score"], abs=1e-12)

    finnhub = of["finnhub"]
    assert (finnhub["state"], finnhub["parts"]["breaker"]) == ("open", 0.0)
    assert {circuit["reason"] for circuit in finnhub["circuits"].values()} == {"AuthFailed"}
    assert set(finnhub["circuits"]) == set(finnhub["capabilities"]), "a refused key concerns all that it opens"
    assert (of["twelve_data"]["state"], of["twelve_data"]["parts"]["breaker"]) == ("closed", 0.45)
    assert of["polygon"]["error_ewma"] > 0
    assert (of["fmp"]["configured"], of["fmp"]["missing_key"]) == (False, "FMP_API_KEY")

    health = {row["vendor"]: row for row in rows(reader_url, "SELECT * FROM provider_health")}
    assert {name for name, each in of.items() if each["calls"]} == set(health)
    for name, row in health.items():
        assert (of[name]["calls"], of[name]["error_ewma"]) == (row["calls"], row["error_ewma"])
    days = {row["vendor"]: row["used"] for row in rows(reader_url, "SELECT vendor, used FROM provider_days")}
    assert {name: each["calls_today"] for name, each in of.items() if each["calls_today"]} == days
    twelve_data = of["twelve_data"]
    assert (twelve_data["budget"], twelve_data["calls_left_today"]) == ("8/min 800/day", 800 - days["twelve_data"])
    assert twelve_data["calls_left_now"] == 0, "it asked for a pause"


@pytest.mark.usefixtures("asked")
def test_health_says_whose_circuit_is_open_and_who_is_tried_again(
    client: TestClient, warehouse: Warehouse, market: Vendors
) -> None:
    answer = client.get("/health")
    told = answer.json()["vendors"]
    assert (told["finnhub"], told["twelve_data"]) == ("open", "closed")
    assert "fmp" not in told, "it lacks its key and is never asked"
    assert not [key for key in market.settings("finnhub", "twelve_data", "polygon").values() if key in answer.text]
    warehouse.execute("UPDATE provider_circuits SET retry_at = now() - interval '1 second' WHERE vendor = 'finnhub'")
    later = client.get("/health").json()
    assert (later["vendors"]["finnhub"], later["components"]["vendors"]["state"]) == ("half_open", "ok")


@pytest.mark.usefixtures("asked")
def test_people_are_told_who_is_there_who_is_at_the_limit_and_what_is_missing(client: TestClient) -> None:
    body = client.get("/api/market-data/sources/status").json()
    assert body["overall_health"] == "degraded"
    of = {each["name"]: each for each in body["sources"]}
    assert of["finnhub"]["status"] == "unavailable"
    assert "open after AuthFailed, tried again from" in of["finnhub"]["detail"]
    assert (of["twelve_data"]["status"], of["twelve_data"]["limit_state"]) == ("available", "paused")
    assert (of["twelve_data"]["requests_per_minute"], of["twelve_data"]["limit_per_minute"]) == (3, 4), "halved"
    assert (of["fmp"]["status"], of["fmp"]["detail"]) == ("not configured", "FMP_API_KEY is not set")
    assert (of["fred"]["status"], of["wikipedia"]["detail"]) == ("not configured", "not asked yet")
    assert of["polygon"]["reliability"] < 1 == of["twelve_data"]["reliability"]


def test_before_anybody_was_asked_all_is_well_and_every_vendor_is_named(client: TestClient) -> None:
    body = client.get("/stats/providers").json()
    assert body["overall_health"] == "healthy"
    assert {each["health_score"] for each in body["providers"]} == {1.0}
    found = samples(client.get("/metrics").text)
    assert by(found["circuit_state"], "provider") == {(name,): 1.0 for name in VENDORS}


@pytest.mark.parametrize("route", ROUTES)
def test_a_parameter_that_is_not_known_is_refused(client: TestClient, route: str) -> None:
    response = client.get(f"{route}?provider=finnhub")
    assert response.status_code == 422
    assert response.json()["errors"][0]["field"] == "provider"


@pytest.mark.parametrize("route", ROUTES[:2])
def test_without_the_database_it_says_so_and_is_asked_again(server: EmbeddedServer, route: str) -> None:
    settings = Settings(database_url=SecretStr(server.url("never_made", "qm_reader")))
    with TestClient(create_app(settings), raise_server_exceptions=False) as client:
        response = client.get(route)
    assert response.status_code == 503
    assert response.headers["retry-after"].isdigit()


@pytest.mark.usefixtures("asked")
def test_no_route_asks_a_vendor_or_tells_a_key(client: TestClient, market: Vendors) -> None:
    market.forget()
    said = "".join(client.get(route).text for route in ROUTES)
    assert market.count() == {}
    assert not [key for key in market.settings("finnhub", "twelve_data", "polygon").values() if key in said]


def test_a_redis_that_hangs_holds_up_one_answer_and_not_each(
    settings: Settings, reader_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as hanging:  # takes connections, and says nothing
        url = SecretStr(f"redis://127.0.0.1:{hanging.getsockname()[1]}/0")
        warehouse = Warehouse(reader_url)
        with TestClient(create_app(settings.model_copy(update={"redis_url": url}), warehouse)) as client:
            started = time.monotonic()
            assert {client.get(route).status_code for route in ROUTES} == {200}
            took = time.monotonic() - started
        warehouse.close()
    assert took < 2 * len(ROUTES), "one time-out of 2 s for all of them"
    assert sum("Redis does not count calls" in record.getMessage() for record in caplog.records) == 1
