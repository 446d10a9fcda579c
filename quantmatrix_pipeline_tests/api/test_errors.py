"""Every refusal is one problem body that says what is wrong and what would be taken."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from quantmatrix_pipeline.api import problems
from quantmatrix_pipeline.errors import VendorUnavailable
from quantmatrix_pipeline_tests.api.conftest import Filled


def _problem(client: TestClient, url: str, status: int, **headers: str) -> dict[str, Any]:
    response = client.get(url, headers=headers)
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = response.json()
    assert body["status"] == status
    assert body["type"].startswith("urn:quantmatrix:problem:")
    assert {"title", "detail"} <= set(body)
    return body


@pytest.mark.parametrize(
    "url",
    [
        "/api/v1/historical/NOPE",
        "/api/v1/market/prices?symbol=NOPE",
        "/api/v1/market/ta?symbol=NOPE",
        "/api/v1/market/atr?symbol=NOPE",
        "/api/v1/market-data/db/history?symbol=NOPE",
        "/api/v1/market-data/coverage/nope",
        "/api/v1/snapshots/NOPE",
        "/api/v1/snapshots/NOPE/history",
    ],
)
def test_an_unknown_symbol_is_404_and_named(client: TestClient, url: str) -> None:
    body = _problem(client, url, 404)
    assert body["type"] == "urn:quantmatrix:problem:unknown-symbol"
    assert "'NOPE'" in body["detail"]


@contextlib.contextmanager
def formerly(filled: Filled, name: str) -> Iterator[None]:
    """While the block runs, FB bore this name until 2012-06-09; the database is shared with the other tests."""
    with psycopg.connect(filled.owner_url, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO instrument_symbols (symbol, valid_from, valid_to, instrument_id)"
            " SELECT %s, '2000-01-01', '2012-06-09', instrument_id FROM instrument_symbols WHERE symbol = 'FB'",
            [name],
        )
        try:
            yield
        finally:
            connection.execute("DELETE FROM instrument_symbols WHERE symbol = %s", [name])


def test_a_former_symbol_is_404_and_names_the_present_one(client: TestClient, filled: Filled) -> None:
    with formerly(filled, "OLDFB"):
        detail = _problem(client, "/api/v1/historical/oldfb", 404)["detail"]
        assert "'FB'" in detail
        assert "2012-06-09" in detail


def test_a_symbol_is_looked_up_among_the_names_of_the_day_that_is_named(client: TestClient, filled: Filled) -> None:
    with formerly(filled, "THEN"):
        for url in (
            "/api/v1/historical/{}", "/api/v1/market/prices?symbol={}", "/api/v1/market/ta?symbol={}",
            "/api/v1/market/atr?symbol={}", "/api/v1/market-data/db/history?symbol={}",
            "/api/v1/market-data/coverage/{}", "/api/v1/snapshots/{}", "/api/v1/snapshots/{}/history",
        ):  # fmt: skip
            asked = client.get(url.format("THEN"), params={"asof": "2012-06-08"} | _query(url.format("THEN")))
            assert asked.status_code == 200, url
            assert asked.json() == client.get(url.format("FB")).json(), url
        detail = _problem(client, "/api/v1/historical/THEN?asof=2012-06-09", 404)["detail"]
        assert "no instrument bore the symbol 'THEN' on 2012-06-09" in detail
        assert "2000-01-01..2012-06-09" in detail


def _query(url: str) -> dict[str, str]:
    return dict(pair.split("=") for pair in url.partition("?")[2].split("&") if pair)


def test_members_on_a_day_that_nothing_tells_of_are_404_and_the_known_days_are_named(client: TestClient) -> None:
    assert client.get("/api/v1/indexes/dow30/members?on=2013-03-01").json()["count"] == 3
    for day in ("2013-02-28", "2013-03-02"):
        body = _problem(client, f"/api/v1/indexes/DOW30/members?on={day}", 404)
        assert body["type"] == "urn:quantmatrix:problem:members-unknown"
        assert f"DOW30 on {day} are not known; known are 2013-03-01..2013-03-01" in body["detail"]
    assert "only of DOW30" in _problem(client, "/api/v1/indexes/SP500/members?on=2013-03-01", 404)["detail"]
    _problem(client, "/api/v1/indexes/DOW30/members", 422)


def test_a_known_symbol_without_a_snapshot_is_404_and_says_so(client: TestClient) -> None:
    for url in ("/api/v1/snapshots/BARE", "/api/v1/market/ta?symbol=BARE", "/api/v1/market/atr?symbol=BARE"):
        assert "BARE is known" in _problem(client, url, 404)["detail"]


def test_a_known_symbol_without_bars_is_an_empty_answer(client: TestClient) -> None:
    historical = client.get("/api/v1/historical/BARE").json()
    dates = dict.fromkeys(("start_date", "end_date", "adjust", "convention", "adjusted_to", "known_at"))
    assert historical == {"symbol": "BARE", **dates, "count": 0, "data": []}
    for adjust in ("split", "raw", "total_return"):
        assert client.get(f"/api/v1/market/prices?symbol=BARE&adjust={adjust}").json()["count"] == 0
    assert client.get("/api/v1/market-data/db/history?symbol=BARE").json()["data"] == []
    assert client.get("/api/v1/snapshots/BARE/history").json()["data"] == []


@pytest.mark.parametrize(
    ("url", "field", "said"),
    [
        ("/api/v1/historical/AAPL?start=20121231", "start", "YYYY-MM-DD"),
        ("/api/v1/historical/AAPL?end=2012-02-30", "end", "YYYY-MM-DD"),
        ("/api/v1/historical/AAPL?start=1356912000", "start", "YYYY-MM-DD"),
        ("/api/v1/historical/AAPL?start=2013-01-03&end=2013-01-02", "start", "after end"),
        ("/api/v1/historical/AAPL?min_quality=1.5", "min_quality", "less than or equal to 1"),
        ("/api/v1/historical/AAPL?min_quality=nan", "min_quality", "less than or equal to 1"),
        ("/api/v1/historical/AAPL?strat=2013-01-03", "strat", "start, end, validated_only, min_quality"),
        ("/api/v1/market/prices?symbol=AAPL&adjust=dividend", "adjust", "'raw', 'split' or 'total_return'"),
        ("/api/v1/market/prices?symbol=AAPL&interval=5m", "interval", "'1d'"),
        ("/api/v1/market/prices?symbol=AAPL&range=0d", "range", "pattern"),
        ("/api/v1/market/prices", "symbol", "required"),
        ("/api/v1/market/prices?symbol=AAPL%00", "symbol", "pattern"),
        ("/api/v1/historical/%C4%B1bm", "symbol", "pattern"),
        ("/api/v1/snapshots/AA%20PL", "symbol", "pattern"),
        ("/api/v1/market-data/db/history?symbol=AAPL&limit=0", "limit", "greater than or equal to 1"),
        ("/api/v1/snapshots/AAPL?rsi__gt=1", "rsi__gt", "takes asof, as_of"),
        ("/api/v1/symbols?asof=2012-01-03", "asof", "takes none"),
        ("/api/v1/status?x=1", "x", "takes none"),
        ("/api/v1/snapshots?rsi__gt=high", "rsi__gt", "finite number"),
        ("/api/v1/snapshots?rsi__gt=inf", "rsi__gt", "finite number"),
        ("/api/v1/snapshots?rsi=50", "rsi", "rsi__gt, rsi__gte"),
        ("/api/v1/snapshots?rsi__ne=50", "rsi__ne", "rsi__gt, rsi__gte"),
        ("/api/v1/snapshots?ma_aligned__gt=true", "ma_aligned__gt", "ma_aligned__eq"),
        ("/api/v1/snapshots?ma_aligned__eq=1", "ma_aligned__eq", "true nor false"),
        ("/api/v1/snapshots?ma_bucket__eq=UP", "ma_bucket__eq", "LEADING"),
        ("/api/v1/snapshots?volume__gt=1", "volume__gt", "sma_200"),
        ("/api/v1/snapshots?rsi;drop__gt=1", "rsi;drop__gt", "sma_200"),
        ("/api/v1/snapshots?sort=--rsi", "sort", "sma_200"),
        ("/api/v1/snapshots?limit=-1", "limit", "whole number"),
        ("/api/v1/snapshots?session__gte=yesterday", "session__gte", "YYYY-MM-DD"),
    ],
)
def test_a_refused_parameter_is_422_and_told_what_it_takes(client: TestClient, url: str, field: str, said: str) -> None:
    body = _problem(client, url, 422)
    assert [fault["field"] for fault in body["errors"]] == [field]
    assert said in body["errors"][0]["message"]
    assert said in body["detail"]


def test_all_refused_parameters_are_named_at_once(client: TestClient) -> None:
    body = _problem(client, "/api/v1/snapshots?foo__gt=1&rsi__lt=x&sort=bar", 422)
    assert [fault["field"] for fault in body["errors"]] == ["foo__gt", "rsi__lt", "sort"]


def test_a_path_that_is_not_there_and_a_method_that_is_not_offered_are_problems_too(client: TestClient) -> None:
    assert "/api/v1/nothing" in _problem(client, "/api/v1/nothing", 404)["detail"]
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        response = client.request(method, "/api/v1/snapshots")
        assert response.status_code == 405
        assert response.headers["content-type"] == "application/problem+json"
        assert "only read" in response.json()["detail"]


def test_a_media_type_that_is_not_offered_is_406_and_told_which_are(client: TestClient) -> None:
    detail = _problem(client, "/api/v1/snapshots", 406, accept="image/png, application/json;q=0")["detail"]
    assert "text/csv" in detail


def test_a_fault_of_the_server_is_500_without_its_particulars(
    client: TestClient, filled: Filled, caplog: pytest.LogCaptureFixture
) -> None:
    with psycopg.connect(filled.owner_url, autocommit=True) as connection:
        # A bar whose source is nowhere described: no foreign key prevents it, and no basis can be told.
        change = "UPDATE price_data_1d SET source_id = %s WHERE instrument_id ="
        owner = " (SELECT instrument_id FROM instrument_symbols WHERE symbol = 'GOOG') AND session = '2013-03-01'"
        kept = connection.execute("SELECT source_id FROM price_data_1d WHERE instrument_id =" + owner).fetchone()
        assert kept is not None
        connection.execute(change + owner, (32_000,))
        try:
            body = _problem(client, "/api/v1/market/prices?symbol=GOOG", 500)
        finally:
            connection.execute(change + owner, kept)
    assert "Traceback" not in str(body)
    assert "32000" not in str(body)
    assert "Traceback" in caplog.text
    assert client.get("/api/v1/market/prices?symbol=GOOG").status_code == 200


def test_a_source_that_does_not_answer_is_503_and_says_which() -> None:
    app = FastAPI()
    problems.install(app)

    @app.get("/launch")
    def launch() -> None:
        raise VendorUnavailable("yahoo", "Yahoo does not answer")

    body = _problem(TestClient(app, raise_server_exceptions=False), "/launch", 503)
    assert body["type"] == "urn:quantmatrix:problem:source-unavailable"
    assert "Yahoo does not answer" in body["detail"]
