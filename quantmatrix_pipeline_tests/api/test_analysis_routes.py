"""Snapshots, the screen, the recorded history, volatility and coverage, against literal pandas."""

from __future__ import annotations

import operator
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import numpy as np
import pandas as pd
import pytest
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quantmatrix_pipeline.api.analysis import percentile_rank, regime
from quantmatrix_pipeline.indicators.catalogue import COLUMNS
from quantmatrix_pipeline.warehouse.engine import Warehouse
from quantmatrix_pipeline_tests.api.conftest import Filled

OPERATORS = {"gt": operator.gt, "gte": operator.ge, "lt": operator.lt, "lte": operator.le, "eq": operator.eq}
NAMES = [column.name for column in COLUMNS]
NUMBERS = [column.name for column in COLUMNS if column.kind == "float"]

_with_database = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def _stored(reader: Warehouse) -> pd.DataFrame:
    """Return the table of snapshots as it is, by symbol."""
    table = reader.arrow_table(
        "SELECT s.symbol, c.* FROM market_analysis_cache c JOIN instrument_symbols s USING (instrument_id)"
        " WHERE s.valid_to IS NULL ORDER BY s.symbol"
    )
    frame: pd.DataFrame = table.drop_columns("raw_analysis").to_pandas()
    return frame


@st.composite
def _filters(draw: st.DrawFn) -> list[tuple[str, str, float]]:
    """Filters whose thresholds often are stored values themselves; the value is a rank, filled in later."""
    one = st.tuples(st.sampled_from(NUMBERS), st.sampled_from(sorted(OPERATORS)), st.floats(0, 1))
    return draw(st.lists(one, max_size=3))


@_with_database
@given(filters=_filters(), sort=st.sampled_from(NUMBERS), descending=st.booleans(), limit=st.integers(1, 8))
def test_the_screen_returns_what_a_filter_in_pandas_returns(
    client: TestClient,
    reader: Warehouse,
    filters: list[tuple[str, str, float]],
    sort: str,
    descending: bool,
    limit: int,
) -> None:
    stored = _stored(reader)
    expected, query = stored, []
    for column, name, rank in filters:
        threshold = float(np.quantile(stored[column].dropna(), rank, method="nearest"))
        query.append((f"{column}__{name}", repr(threshold)))
        expected = expected[OPERATORS[name](expected[column], threshold)]
    expected = expected.sort_values([sort, "symbol"], ascending=[not descending, True], na_position="last")
    query += [("sort", f"-{sort}" if descending else sort), ("limit", str(limit))]
    rows = client.get(f"/api/v1/snapshots?{urlencode(query)}").json()["data"]
    assert [row["symbol"] for row in rows] == list(expected["symbol"])[:limit]


def test_flags_labels_and_sessions_can_be_screened(client: TestClient, reader: Warehouse) -> None:
    stored = _stored(reader)
    for bucket in ("LEADING", "lagging", "NEUTRAL", "UNKNOWN"):
        rows = client.get(f"/api/v1/snapshots?ma_bucket__eq={bucket}").json()["data"]
        assert [row["symbol"] for row in rows] == list(stored[stored.ma_bucket == bucket.upper()].symbol)
    aligned = client.get("/api/v1/snapshots?ma_aligned__eq=true").json()["data"]
    assert [row["symbol"] for row in aligned] == list(stored[stored.ma_aligned == True].symbol)  # noqa: E712
    assert client.get("/api/v1/snapshots?session__gte=2013-03-01").json()["count"] == len(stored)
    assert client.get("/api/v1/snapshots?session__gt=2013-03-01").json()["count"] == 0


def test_a_filter_given_twice_counts_twice(client: TestClient) -> None:
    rows = client.get("/api/v1/snapshots?close__gt=30&close__gt=300").json()["data"]
    assert {row["symbol"] for row in rows} == {"AAPL", "GOOG"}


def test_without_a_filter_every_snapshot_is_returned_by_symbol(client: TestClient, reader: Warehouse) -> None:
    rows = client.get("/api/v1/snapshots").json()["data"]
    assert [row["symbol"] for row in rows] == list(_stored(reader)["symbol"])


def test_a_snapshot_is_expired_from_its_expiry_on(
    client: TestClient, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = "/api/v1/snapshots/AAPL"
    fresh = client.get(url)
    assert fresh.json()["expired"] is False
    expiry = datetime.fromisoformat(fresh.json()["expiry_timestamp"])
    assert expiry > now
    monkeypatch.setenv("QM_NOW", (expiry - timedelta(microseconds=1)).isoformat())
    assert client.get(url).json()["expired"] is False
    monkeypatch.setenv("QM_NOW", expiry.isoformat())
    for late in (client.get(url).json(), client.get("/api/v1/snapshots").json()["data"][0]):
        assert late["expired"] is True
    assert client.get("/api/v1/market/ta?symbol=AAPL").json()["expired"] is True
    assert client.get("/api/v1/market/atr?symbol=AAPL").json()["expired"] is True
    assert client.get(url, headers={"If-None-Match": fresh.headers["etag"]}).status_code == 200


def test_a_snapshot_and_the_newest_recorded_row_and_ta_show_the_same_numbers(client: TestClient) -> None:
    snapshot = client.get("/api/v1/snapshots/ibm").json()
    recorded = client.get("/api/v1/snapshots/ibm/history?limit=1").json()["data"][0]
    indicators = client.get("/api/v1/market/ta?symbol=ibm").json()["indicators"]
    assert snapshot["rsi"] is not None
    for name in NAMES:
        assert snapshot[name] == recorded[name] == indicators[name], name


def counts(analysis: dict[str, Any]) -> dict[str, int]:
    told = {"gaps": "gaps_unfilled_{}", "trend_lines": "trend_{}_count"}
    return {
        column.format(side): sum(item["side"] == side for item in analysis[name])
        for name, column in told.items()
        for side in ("up", "down")
    }


def test_the_stored_analysis_of_a_snapshot_is_the_one_computed_for_its_session_and_has_what_its_row_counts(
    client: TestClient,
) -> None:
    for row in client.get("/api/v1/snapshots").json()["data"]:
        url = f"/api/v1/snapshots/{row['symbol']}"
        stored = client.get(f"{url}/analysis").json()
        assert stored == client.get(f"{url}/history/{row['session']}/analysis").json()
        assert stored["bar"]["close"] == row["close"]
        for name, count in counts(stored).items():
            assert count == (row[name] or 0), name
        assert stored["stage_rules"] == {
            "version": row["stage_rules_version"], "flat_pct": row["stage_flat_pct"],
            "near_pct": row["stage_near_pct"], "far_pct": row["stage_far_pct"],
        }  # fmt: skip


def test_the_analysis_of_a_past_session_has_what_its_recorded_row_counts(client: TestClient) -> None:
    url = "/api/v1/snapshots/AAPL/history"
    rows = client.get(f"{url}?start=2012-02-01&end=2012-12-31").json()["data"][::20]
    for row in rows:
        past = client.get(f"{url}/{row['session']}/analysis").json()
        assert counts(past) == {name: row[name] for name in counts(past)}
        assert past["bar"]["close"] == row["close"]
        assert all(gap["session"] <= row["session"] for gap in past["gaps"])
    assert any(row["trend_up_count"] for row in rows)
    before = client.get(f"{url}/2000-06-15/analysis")
    assert before.status_code == 200, "whether that session was ever recorded or not"


def test_a_snapshot_of_a_release_that_stored_no_analysis_has_the_one_that_its_bars_give(
    client: TestClient, filled: Filled
) -> None:
    stored = client.get("/api/v1/snapshots/FB/analysis").json()
    owner = Warehouse(filled.owner_url)
    of_fb = "instrument_id = (SELECT instrument_id FROM instrument_symbols WHERE symbol = 'FB')"
    kept = owner.scalar(f"SELECT raw_analysis::text FROM market_analysis_cache WHERE {of_fb}")
    assert kept is not None
    try:
        owner.execute(f"UPDATE market_analysis_cache SET raw_analysis = NULL WHERE {of_fb}")
        assert client.get("/api/v1/snapshots/FB/analysis").json() == stored
    finally:
        owner.execute(
            f"UPDATE market_analysis_cache SET raw_analysis = CAST(:kept AS jsonb) WHERE {of_fb}", {"kept": kept}
        )
        owner.close()


def test_an_analysis_needs_a_bar_of_its_session(client: TestClient) -> None:
    holiday = client.get("/api/v1/snapshots/AAPL/history/2012-12-25/analysis")
    assert (holiday.status_code, holiday.json()["type"]) == (404, "urn:quantmatrix:problem:no-bar")
    assert holiday.json()["detail"] == "AAPL has no usable bar of 2012-12-25; the newest up to then is of 2012-12-24"
    assert "no session" in client.get("/api/v1/snapshots/BARE/history/2012-12-24/analysis").json()["detail"]
    assert client.get("/api/v1/snapshots/BARE/analysis").json()["type"] == "urn:quantmatrix:problem:no-snapshot"
    assert client.get("/api/v1/snapshots/AAPL/history/20121224/analysis").status_code == 422


def test_breadth_is_what_the_recorded_rows_of_the_session_add_up_to(client: TestClient) -> None:
    url = "/api/v1/market/breadth"
    told = client.get(f"{url}?start=2013-02-25&end=2013-03-01").json()
    assert [row["session"] for row in told["data"]] == [f"2013-0{d}" for d in ("2-25", "2-26", "2-27", "2-28", "3-01")]
    newest = told["data"][-1]
    rows = client.get("/api/v1/snapshots").json()["data"]
    assert newest["instruments"] == len(rows)
    assert newest["advances"] == sum(row["perf_1d"] > 1e-10 for row in rows)
    assert newest["declines"] == sum(row["perf_1d"] < -1e-10 for row in rows)
    long = [row for row in rows if row["sma_200"] is not None]
    assert newest["with_sma_200"] == len(long) < len(rows)
    assert newest["pct_above_sma_200"] == 100 * sum(row["close"] > row["sma_200"] for row in long) / len(long)
    assert newest["stage_4"] == sum(row["stage_label"] == "4" for row in rows)
    whole = client.get(url).json()["data"]
    assert whole[-1]["advance_decline_line"] == sum(row["advances"] - row["declines"] for row in whole)
    assert client.get(f"{url}?limit=2").json()["data"] == whole[-2:]
    assert client.get(f"{url}?start=2013-03-01&end=2013-02-01").status_code == 422


def test_history_is_ascending_bounded_on_both_ends_and_limited_to_the_newest(client: TestClient) -> None:
    url = "/api/v1/snapshots/MSFT/history"
    bounded = client.get(f"{url}?start=2012-06-01&end=2012-06-29").json()
    sessions = [row["session"] for row in bounded["data"]]
    assert sessions == sorted(sessions)
    assert (sessions[0], sessions[-1], bounded["count"]) == ("2012-06-01", "2012-06-29", 21)
    limited = client.get(f"{url}?end=2012-06-29&limit=2").json()["data"]
    assert [row["session"] for row in limited] == sessions[-2:]


def test_volatility_is_the_percentile_of_the_last_252_recorded_values(client: TestClient) -> None:
    for symbol in ("AAPL", "GOOG", "IBM", "MSFT"):
        recorded = client.get(f"/api/v1/snapshots/{symbol}/history").json()["data"]
        values = pd.Series([row["atrp_14"] for row in recorded]).tail(252)
        body = client.get(f"/api/v1/market/atr?symbol={symbol}").json()
        assert body["observations"] == 252
        assert body["atrp"] == values.iloc[-1]
        assert body["atr"] == recorded[-1]["atr_14"]
        assert body["percentile"] == pytest.approx(100 * values.rank(pct=True).iloc[-1], rel=1e-12)
        assert body["regime"] == _literal_regime(body["percentile"])


def _literal_regime(percentile: float) -> str:
    return "LOW" if percentile <= 25 else "MEDIUM" if percentile <= 75 else "HIGH" if percentile <= 90 else "EXTREME"


@given(st.lists(st.sampled_from([0.5, 1.0, 1.5, 2.0, 3.25]), min_size=1, max_size=300))
def test_the_percentile_rank_is_that_of_pandas_ties_and_all(values: list[float]) -> None:
    rank = percentile_rank(np.array(values))
    assert rank == pytest.approx(100 * pd.Series(values).rank(pct=True).iloc[-1], rel=1e-12)


@pytest.mark.parametrize(
    ("percentile", "name"),
    [
        (0.4, "LOW"),
        (25.0, "LOW"),
        (25.01, "MEDIUM"),
        (75.0, "MEDIUM"),
        (75.01, "HIGH"),
        (90.0, "HIGH"),
        (90.01, "EXTREME"),
    ],
)
def test_a_regime_includes_its_upper_end(percentile: float, name: str) -> None:
    assert regime(percentile) == name


def test_a_volatility_that_does_not_move_is_neither_low_nor_extreme() -> None:
    assert regime(percentile_rank(np.full(252, 2.0))) == "MEDIUM"


def test_coverage_is_the_newest_report_with_the_newest_bars(client: TestClient) -> None:
    body = client.get("/api/v1/market-data/coverage").json()
    assert (body["tracked_count"], body["symbols"], body["indices"]) == (6, 7, {"DOW30": 3})
    assert body["daily"]["count"] == 5
    assert body["daily"]["last"] == dict.fromkeys(["AAPL", "FB", "GOOG", "IBM", "MSFT"], "2013-03-01") | {"BARE": None}
    assert body["daily"]["freshness"] == {"<=24h": 5, "24-48h": 0, ">48h": 0, "none": 1}
    assert body["daily"]["stale"] == {"24-48h": [], ">48h": [], "none": ["BARE"]}
    assert body["m5"] == {"enabled": False, "count": 0, "last": {}, "freshness": {}, "stale": {}}
    assert body["status"] == "degraded"
    assert "press restore_daily_coverage" in body["headline"]
    assert body["meta"]["source"] == "coverage_snapshots"


@pytest.mark.parametrize(
    ("now_is", "age", "freshness"),
    [
        ("2013-03-01T22:00:00Z", 0, "<=24h"),
        ("2013-03-03T12:00:00Z", 0, "<=24h"),  # a weekend is no staleness
        ("2013-03-04T21:29:59Z", 0, "<=24h"),  # closed, and the grace has not passed
        ("2013-03-04T21:30:00Z", 1, "24-48h"),
        ("2013-03-05T22:00:00Z", 2, ">48h"),
    ],
)
def test_a_symbol_ages_in_sessions_that_closed(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, now_is: str, age: int, freshness: str
) -> None:
    monkeypatch.setenv("QM_NOW", now_is)
    daily = client.get("/api/v1/market-data/coverage/msft").json()["daily"]
    assert (daily["age_sessions"], daily["freshness"], daily["last"]) == (age, freshness, "2013-03-01")


def test_a_symbol_without_bars_says_why_it_is_tracked(client: TestClient) -> None:
    body = client.get("/api/v1/market-data/coverage/BARE").json()
    assert (body["tracked"], body["reasons"], body["daily"]["freshness"]) == (True, ["watch_list"], "none")
    member: dict[str, Any] = client.get("/api/v1/market-data/coverage/IBM").json()
    assert member["indices"] == ["DOW30"]


def test_status_counts_what_is_stored(client: TestClient) -> None:
    body = client.get("/api/v1/status").json()
    rows = [
        row
        for symbol in ("AAPL", "ADJ", "FB", "GOOG", "IBM", "MSFT")
        for row in client.get(f"/api/v1/market-data/db/history?symbol={symbol}").json()["data"]
    ]
    assert body == {
        "symbols": 6,
        "records": len(rows),
        "validation_rate": sum(row["validated"] for row in rows) / len(rows),
        "gaps_flagged": sum(row["gap_detected"] for row in rows),
        "latest_date": "2013-03-01",
    }
