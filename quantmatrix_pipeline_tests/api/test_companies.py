"""What is known of companies beside symbols and snapshots, and as a part of the screen's language."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from urllib.parse import urlencode

import pytest
from fastapi.testclient import TestClient

from quantmatrix_pipeline_tests.api.conftest import PROFILES

KNOWN = ("exchange", "sector", "industry", "market_cap", "market_cap_currency", "next_earnings")
NOTHING = dict.fromkeys(KNOWN)
SECTORS = {"AAPL": "Technology", "IBM": "Information Technology", "MSFT": "technology", "FB": "Media"}
EARNINGS = {"AAPL": "2013-04-23", "IBM": "2013-03-01"}  # those that have not passed


def expected(symbol: str) -> dict[str, Any]:
    facts = PROFILES.get(symbol)
    if facts is None:
        return NOTHING
    return {
        "exchange": facts.exchange,
        "sector": SECTORS[symbol],
        "industry": facts.industry,
        "market_cap": facts.market_cap,
        "market_cap_currency": facts.currency,
        "next_earnings": EARNINGS.get(symbol),
    }


def of(row: dict[str, Any]) -> dict[str, Any]:
    return {name: row[name] for name in KNOWN}


def test_symbols_and_snapshots_show_the_version_in_force_with_the_indexs_sector_before_a_vendors(
    client: TestClient,
) -> None:
    snapshots = {row["symbol"]: row for row in client.get("/api/v1/snapshots").json()["data"]}
    symbols = {row["symbol"]: row for row in client.get("/api/v1/symbols").json()["data"]}
    assert set(PROFILES) < set(snapshots) < set(symbols)
    for symbol, row in symbols.items():
        assert of(row) == expected(symbol)
        if symbol in snapshots:
            assert of(snapshots[symbol]) == expected(symbol)
            assert of(client.get(f"/api/v1/snapshots/{symbol}").json()) == expected(symbol)
    assert (symbols["AAPL"]["sub_industry"], symbols["MSFT"]["name"]) == ("Phones", "Microsoft")


@pytest.mark.parametrize(
    ("query", "symbols"),
    [
        ({"sector__eq": "TECHNOLOGY"}, ["AAPL", "MSFT"]),
        ({"sector__eq": "information technology"}, ["IBM"]),
        ({"sector__eq": "Tech%"}, []),
        ({"exchange__eq": "nasdaq"}, ["AAPL", "FB", "MSFT"]),
        ({"industry__eq": "software", "exchange__eq": "NASDAQ"}, ["MSFT"]),
        ({"market_cap__gte": "2.3e11"}, ["AAPL", "IBM", "MSFT"]),
        ({"market_cap__gt": "2.3e11", "market_cap_currency__eq": "usd"}, ["AAPL"]),
        ({"market_cap__lt": "1e99", "sort": "-market_cap"}, ["AAPL", "IBM", "MSFT"]),
        ({"next_earnings__lte": "2013-03-01"}, ["IBM"]),
        ({"next_earnings__gte": "2013-02-01", "sort": "-next_earnings"}, ["AAPL", "IBM"]),
        ({"market_cap__gt": "0", "rsi__gt": "0", "close__gt": "300"}, ["AAPL"]),
    ],
)
def test_companies_are_screened_by_what_is_known_of_them(
    client: TestClient, query: dict[str, str], symbols: list[str]
) -> None:
    rows = client.get(f"/api/v1/snapshots?{urlencode(query)}").json()["data"]
    assert [row["symbol"] for row in rows] == symbols


def test_who_lacks_what_is_sorted_by_comes_last(client: TestClient) -> None:
    for sort in ("sector", "-sector", "market_cap", "-next_earnings"):
        rows = client.get(f"/api/v1/snapshots?sort={sort}").json()["data"]
        missing = [row[sort.removeprefix("-")] is None for row in rows]
        assert missing == sorted(missing)
        assert 0 < sum(missing) < len(missing)
    sectors = [row["sector"] for row in client.get("/api/v1/snapshots?sort=sector").json()["data"]]
    assert sectors[:4] == sorted(SECTORS.values())


def test_an_earnings_date_is_the_next_one_on_its_day_and_none_after_it(
    client: TestClient, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = "/api/v1/snapshots/IBM"
    assert client.get(url).json()["next_earnings"] == "2013-03-01"
    monkeypatch.setenv("QM_NOW", "2013-03-02T00:00:00Z")
    assert client.get(url).json()["next_earnings"] is None
    assert client.get("/api/v1/snapshots?next_earnings__eq=2013-03-01").json()["count"] == 0


@pytest.mark.parametrize(
    ("query", "hint"),
    [
        ("sector__gt=A", "sector__eq"),
        ("exchange__eq=", "no text to look for"),
        ("sector__eq=%00", "no text to look for"),
        ("market_cap__gt=big", "finite number"),
        ("next_earnings__gt=soon", "YYYY-MM-DD"),
    ],
)
def test_a_filter_that_means_nothing_is_refused(client: TestClient, query: str, hint: str) -> None:
    response = client.get(f"/api/v1/snapshots?{query}")
    assert response.status_code == 422
    assert hint in response.text
