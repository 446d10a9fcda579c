"""What the bar routes return, against the sample's own rows and literal arithmetic."""

from __future__ import annotations

from datetime import date
from typing import Any

import numpy as np
import pandas as pd
import pytest
from bokeh_sampledata import stocks
from fastapi.testclient import TestClient

from quantmatrix_pipeline_tests.api.conftest import ADJUSTED_TO


def _sample(name: str) -> pd.DataFrame:
    frame = pd.DataFrame(getattr(stocks, name)).set_index("date")
    return frame[["open", "high", "low", "close", "volume"]].astype(float)


def _frame(rows: list[dict[str, Any]]) -> pd.DataFrame:
    return pd.DataFrame(rows).set_index("time")


def test_historical_returns_the_stored_bars_between_two_sessions_inclusive(client: TestClient) -> None:
    body = client.get("/api/v1/historical/aApL?start=2012-06-01&end=2012-06-29").json()
    expected = _sample("AAPL").loc["2012-06-01":"2012-06-29"]
    assert (body["symbol"], body["start_date"], body["end_date"]) == ("AAPL", "2012-06-01", "2012-06-29")
    assert body["count"] == len(body["data"]) == len(expected) == 21
    got = _frame(body["data"])
    np.testing.assert_array_equal(got[list(expected.columns)].to_numpy(), expected.to_numpy())
    assert list(got.index) == list(expected.index)
    assert set(got["symbol"]) == {"AAPL"}


def test_without_bounds_the_dates_are_those_of_the_first_and_last_bar(client: TestClient) -> None:
    body = client.get("/api/v1/historical/FB").json()
    assert (body["start_date"], body["end_date"]) == (body["data"][0]["time"], body["data"][-1]["time"])


@pytest.mark.parametrize(
    ("query", "lowest", "left_out"),
    [
        ("", 0.7, 1),
        ("min_quality=0", 0.4, 0),
        ("min_quality=0.7", 0.7, 1),
        ("min_quality=0.71", 1.0, 2),
        ("validated_only=true", 1.0, 2),
        ("validated_only=true&min_quality=0.2", 1.0, 2),
    ],
)
def test_quality_decides_which_bars_are_returned(client: TestClient, query: str, lowest: float, left_out: int) -> None:
    all_of_them = client.get("/api/v1/historical/ADJ?min_quality=0").json()["count"]
    rows = client.get(f"/api/v1/historical/ADJ?{query}").json()["data"]
    assert min(row["quality_score"] for row in rows) == lowest
    assert all_of_them - len(rows) == left_out


def test_stored_history_has_every_bar_with_its_source_and_version(client: TestClient) -> None:
    body = client.get("/api/v1/market-data/db/history?symbol=ADJ&start=2012-12-03&end=2012-12-10").json()
    assert [row["quality_score"] for row in body["data"]] == [1.0, 1.0, 1.0, 0.4, 1.0, 0.7]
    assert {(r["vendor"], r["basis"], r["basis_date"], r["version"]) for r in body["data"]} == {
        ("files", "split", str(ADJUSTED_TO), 1)
    }
    assert {pd.Timestamp(row["as_of"]) for row in body["data"]} == {pd.Timestamp("2013-03-01T22:00:00Z")}


def test_a_limit_keeps_the_newest_rows_in_ascending_order(client: TestClient) -> None:
    rows = client.get("/api/v1/market-data/db/history?symbol=MSFT&limit=3").json()["data"]
    assert [row["session"] for row in rows] == ["2013-02-27", "2013-02-28", "2013-03-01"]


def test_split_adjusted_prices_are_in_shares_of_the_newest_session(client: TestClient) -> None:
    body = client.get("/api/v1/market/prices?symbol=AAPL&range=max").json()
    got, raw = _frame(body["data"]), _sample("AAPL")
    assert body["adjusted_to"] == "2013-03-01"
    # Apple split 2:1 with ex-dates 2000-06-21 and 2005-02-28.
    days = np.array([date.fromisoformat(day) for day in raw.index])
    factor = np.where(days < date(2000, 6, 21), 0.25, np.where(days < date(2005, 2, 28), 0.5, 1.0))
    kept = raw.index.isin(got.index)
    np.testing.assert_array_equal(got["factor"], factor[kept])
    np.testing.assert_array_equal(got["close"], (raw["close"] * factor)[kept])
    np.testing.assert_array_equal(got["volume"], (raw["volume"] / factor)[kept])
    assert kept.mean() > 0.99


def test_a_range_that_ends_before_a_split_is_not_touched_by_it(client: TestClient) -> None:
    body = client.get("/api/v1/market/prices?symbol=AAPL&range=200d").json()
    assert body["count"] == 200
    assert {row["factor"] for row in body["data"]} == {1.0}


def test_prices_of_an_adjusted_source_get_only_the_splits_after_its_date(client: TestClient) -> None:
    rows = client.get("/api/v1/market/prices?symbol=ADJ&range=max").json()["data"]
    assert {row["close"] for row in rows} == {50.0}
    assert {row["basis"] for row in rows} == {"split"}
    assert next(row["time"] for row in rows if row["factor"] == 1.0) == "2013-02-20"
    assert {row["factor"] for row in rows} == {0.5, 1.0}
    assert "2012-12-06" not in {row["time"] for row in rows}  # of quality 0.4


@pytest.mark.parametrize(("convention", "before"), [("previous_close", 1 - 2.5 / 50), ("ex_close", 1 / (1 + 2.5 / 50))])
@pytest.mark.parametrize(
    "route", ["market/prices?symbol=ADJ&range=max&", "historical/ADJ?", "market-data/db/history?symbol=ADJ&"]
)
def test_a_total_return_is_lowered_by_dividends_and_names_its_convention(
    client: TestClient, route: str, convention: str, before: float
) -> None:
    body = client.get(f"/api/v1/{route}adjust=total_return&convention={convention}").json()
    assert (body["adjust"], body["convention"], body["adjusted_to"]) == ("total_return", convention, "2013-03-01")
    rows = {row.get("time") or row["session"]: row for row in body["data"]}
    for day, split, paid in (("2013-02-19", 0.5, before), ("2013-02-25", 1.0, before), ("2013-02-26", 1.0, 1.0)):
        assert rows[day]["factor"] == pytest.approx(split * paid, rel=1e-15)
        assert rows[day]["volume_factor"] == 1 / split
        assert rows[day]["close"] == pytest.approx(50 * paid, rel=1e-15)
        assert rows[day]["volume"] == 1_000 / split


def test_without_adjust_bars_come_as_they_are_stored(client: TestClient) -> None:
    for route in ("historical/ADJ", "market-data/db/history?symbol=ADJ"):
        body = client.get(f"/api/v1/{route}").json()
        assert (body["adjust"], body["convention"], body["adjusted_to"]) == (None, None, None)
        assert {row["factor"] for row in body["data"]} == {row["volume_factor"] for row in body["data"]} == {1.0}
        assert {row["close"] for row in body["data"]} == {50.0, 100.0}


@pytest.mark.parametrize("route", ["historical/ADJ?", "market-data/db/history?symbol=ADJ&"])
def test_no_route_calls_an_adjusted_price_raw(client: TestClient, route: str) -> None:
    assert client.get(f"/api/v1/{route}adjust=raw").status_code == 409


def test_raw_prices_are_those_that_traded(client: TestClient) -> None:
    body = client.get("/api/v1/market/prices?symbol=MSFT&range=max&adjust=raw").json()
    got, raw = _frame(body["data"]), _sample("MSFT")
    np.testing.assert_array_equal(got["close"], raw.loc[got.index, "close"])
    assert body["adjusted_to"] is None
    assert set(got["factor"]) == {1.0}


def test_an_adjusted_price_is_never_called_raw(client: TestClient) -> None:
    response = client.get("/api/v1/market/prices?symbol=ADJ&adjust=raw")
    assert response.status_code == 409
    assert response.headers["content-type"] == "application/problem+json"
    body = response.json()
    assert (body["basis"], body["basis_date"], body["symbol"]) == ("split", str(ADJUSTED_TO), "ADJ")
    assert "'split'" in body["detail"]
    assert str(ADJUSTED_TO) in body["detail"]
