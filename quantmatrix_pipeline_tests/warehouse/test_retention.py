"""What goes when it is old, what is shown before it does, and what no setting reaches."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta

import pytest
from fastapi.testclient import TestClient

from quantmatrix_pipeline.api.app import create_app
from quantmatrix_pipeline.errors import KnownNoMore, WarehouseError
from quantmatrix_pipeline.settings import Settings
from quantmatrix_pipeline.warehouse import exports, retention
from quantmatrix_pipeline.warehouse.engine import Warehouse
from quantmatrix_pipeline.warehouse.retention import Limits
from quantmatrix_pipeline_tests.market_nights import DAYS, SYMBOLS, Market
from quantmatrix_pipeline_tests.pipeline.running import hashes

FIRST = datetime(2021, 12, 30, 22, tzinfo=UTC)
CORRECTED = FIRST + timedelta(days=1)
LATER = FIRST + timedelta(days=500)
EVERYTHING = Limits(bars_5m=1, bars_1m=1, revisions=1, logs=1)
KEPT = (
    "market_analysis_history",
    "market_analysis_cache",
    "price_data_1d",
    "corporate_actions",
    "instruments",
    "instrument_symbols",
    "coverage_snapshots",
)


@pytest.fixture
def market(database_url: str) -> Iterator[Market]:
    """Three symbols' bars, of which one was corrected a day later, a recorded history, and a row in each log."""
    warehouse = Warehouse(database_url)
    market = Market(warehouse)
    everything = {(symbol, day): 1.0 for symbol in range(len(SYMBOLS)) for day in range(len(DAYS))}
    market.store(FIRST, everything)
    market.record(FIRST, len(DAYS) - 3, len(DAYS) - 1)
    market.store(CORRECTED, {(0, 5): 1.01})
    market.record(CORRECTED, len(DAYS) - 1, len(DAYS) - 1)
    day, missing = DAYS[3].item(), date(2020, 1, 2)
    for sql in (
        "INSERT INTO runs VALUES ('old', 'j', NULL, NULL, '{}', 'success', :at, :at), ('new', 'j', NULL, NULL, '{}',"
        " 'running', :at, NULL)",
        "INSERT INTO provider_requests (started_at, finished_at, vendor, capability, calls, symbols)"
        " VALUES (:at, :at, 'acme', 'daily_bars', 1, 1)",
        "INSERT INTO alert_outbox (channel, message, state, not_before, queued_at, finished_at)"
        " VALUES ('slack', '{}', 'delivered', :at, :at, :at), ('slack', '{}', 'queued', :at, :at, NULL)",
        "INSERT INTO alert_incidents (cause_key, kind, cause, occurrences, opened_at, seen_at)"
        " VALUES ('x', 'slow_run', 'x', 1, :at, :at)",
        "INSERT INTO alert_tellings SELECT incident_id, message_id FROM alert_incidents, alert_outbox",
        "INSERT INTO backfill_jobs (instrument_id, first_session, last_session, tier, origin, state, not_before,"
        " queued_at, finished_at) VALUES (1, :day, :day, 'T0', 'gaps', 'done', :at, :at, :at),"
        " (1, :day, :day, 'T0', 'gaps', 'queued', :at, :at, NULL)",
        "INSERT INTO validation_log (vendor, instrument_id, interval, session, reason_codes, payload, fingerprint,"
        " logged_at) VALUES ('acme', 1, '1d', :day, '{x}', '{}', 'a', :at),"
        " ('acme', 1, '1d', :missing, '{x}', '{}', 'b', :at)",
    ):
        warehouse.execute(sql, {"at": FIRST, "day": day, "missing": missing})
    yield market
    warehouse.close()


def store_minutes(warehouse: Warehouse, interval: str, days: list[date]) -> None:
    warehouse.execute("SELECT ensure_intraday_partitions(:i, :a, :z)", {"i": interval, "a": min(days), "z": max(days)})
    warehouse.execute(
        "INSERT INTO price_data SELECT 1, :i, d, d + time '14:30' AT TIME ZONE 'UTC', 1, 1, 1, 1, 1, 1, true, false,"
        " false, 1, 1, d FROM unnest(CAST(:days AS date[])) d",
        {"i": interval, "days": days},
    )


def test_old_rows_are_shown_and_go_and_history_and_daily_bars_stay_whatever_the_settings(market: Market) -> None:
    warehouse = market.warehouse
    before = hashes(warehouse, KEPT)
    known = {
        name: warehouse.arrow_table(f"SELECT * FROM {name}('{FIRST}') ORDER BY 1, 2") for name in ("history_known_at",)
    }
    assert retention.find(warehouse, Limits.of(Settings()), CORRECTED) == []
    shown = retention.find(warehouse, EVERYTHING, LATER)
    assert {(old.table, old.rows) for old in shown} == {
        ("price_data_revisions", 1),
        ("runs", 1),
        ("provider_requests", 1),
        ("backfill_jobs", 1),
        ("validation_log", 1),
        ("alert_tellings", 1),
        ("alert_outbox", 1),
    }
    assert all(old.bytes > 0 and old.before == LATER - timedelta(days=1) for old in shown)
    assert warehouse.scalar("SELECT count(*) FROM price_data_revisions") == 1, "looking takes nothing"
    assert retention.enforce(warehouse, EVERYTHING, LATER) == shown
    assert retention.enforce(warehouse, EVERYTHING, LATER) == []
    assert hashes(warehouse, KEPT) == before
    for name, table in known.items():
        assert warehouse.arrow_table(f"SELECT * FROM {name}('{FIRST}') ORDER BY 1, 2").equals(table)
    # What runs, waits or still explains a missing bar is no old news.
    assert warehouse.scalar("SELECT string_agg(run_id, ',') FROM runs") == "new"
    assert warehouse.scalar("SELECT string_agg(state, ',') FROM backfill_jobs") == "queued"
    assert warehouse.scalar("SELECT min(session) FROM validation_log") == date(2020, 1, 2)


def test_what_was_known_before_versions_were_given_up_is_refused_and_later_moments_stay_exact(market: Market) -> None:
    warehouse = market.warehouse
    client = TestClient(create_app(Settings(database_url=warehouse.url)))
    path = f"/api/v1/historical/{SYMBOLS[0]}?min_quality=0&as_of="
    early, late = "2021-12-31T10:00:00Z", "2022-01-02T10:00:00Z"
    exact = client.get(path + late).json()
    assert client.get(path + early).status_code == 200
    retention.enforce(warehouse, EVERYTHING, LATER)
    assert client.get(path + late).json() == exact
    refused = client.get(path + early)
    assert refused.status_code == 422
    (fault,) = refused.json()["errors"]
    assert fault["field"] == "as_of"
    assert "versions superseded up to 2021-12-31 22:00:00+00 were given up" in fault["message"]
    assert client.get(f"/api/v1/snapshots/{SYMBOLS[0]}/history?as_of={early}").status_code == 200
    with pytest.raises(KnownNoMore, match="given up"):
        exports.read(warehouse, "bars", None, None, None, datetime(2021, 12, 31, 10, tzinfo=UTC))
    (version,) = warehouse.rows("SELECT DISTINCT reason FROM price_data_versions WHERE version = 2")
    assert version.reason == "forgotten"


def test_months_of_intraday_bars_are_dropped_when_their_last_day_is_old(database_url: str) -> None:
    warehouse = Warehouse(database_url)
    days = [date(2021, 9, 30), date(2021, 10, 1), date(2021, 11, 30), date(2021, 12, 30)]
    store_minutes(warehouse, "5m", days)
    store_minutes(warehouse, "1m", days)
    limits = Limits(bars_5m=90, bars_1m=0, revisions=0, logs=0)
    now = datetime(2021, 12, 31, 22, tzinfo=UTC)
    (old,) = retention.find(warehouse, limits, now)  # 90 days before are the second of October
    assert (old.table, old.partition, old.rows) == ("price_data_5m", "price_data_5m_2021_09", 1)
    assert old.bytes >= 8192
    # Whoever reads these bars for long is not waited for, and neither are those that come after.
    with warehouse.begin() as reader, pytest.MonkeyPatch.context() as patch:
        reader.exec_driver_sql("SELECT count(*) FROM price_data_5m")
        patch.setattr(retention, "LOCK_WAIT", "100ms")
        with pytest.raises(WarehouseError, match="run it again when fewer read"):
            retention.enforce(warehouse, limits, now)
    assert len(retention.enforce(warehouse, limits, now)) == 1
    assert [r.session for r in warehouse.rows("SELECT session FROM price_data_5m ORDER BY 1")] == days[1:]
    assert warehouse.scalar("SELECT count(*) FROM price_data_1m") == 4
    with pytest.raises(Exception, match="only those of 5m and 1m"):
        warehouse.execute("SELECT ensure_intraday_partitions('1d', '2021-01-01', '2021-01-02')")
    warehouse.close()
