"""What the views that people query by hand say of bars whose number, score, holes and names are known."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime

import numpy as np
import pyarrow as pa
import pytest

from quantmatrix_pipeline.bars.batch import FIELDS
from quantmatrix_pipeline.warehouse import bars, instruments
from quantmatrix_pipeline.warehouse.embedded import EmbeddedServer
from quantmatrix_pipeline.warehouse.engine import Warehouse
from quantmatrix_pipeline_tests.pipeline.running import sessions, walk

DAYS = sessions("2021-12-31", 10)
FIRST, SECOND = datetime(2022, 1, 3, tzinfo=UTC), datetime(2022, 1, 4, tzinfo=UTC)


@pytest.fixture
def warehouse(database_url: str) -> Iterator[Warehouse]:
    """AAA, from the fourth day on, is flagged once, excluded once and has a hole; BBB is whole; CCC has no bar."""
    warehouse = Warehouse(database_url)
    instruments.ensure(warehouse, ["AAA", "BBB", "CCC"])
    whole = np.ones(len(DAYS))
    store(warehouse, "BBB", DAYS, whole, FIRST)
    own = [day for at, day in enumerate(DAYS) if at >= 3 and at != 6]
    score = np.array([1.0, 0.8, 1.0, 0.3, 0.85, 1.0])
    store(warehouse, "AAA", own, score, FIRST)
    yield warehouse
    warehouse.close()


def store(
    warehouse: Warehouse, symbol: str, days: list[date], score: np.ndarray, now: datetime, *, vendor: str = "acme"
) -> None:
    table = walk([symbol], days)
    columns = {
        "instrument_id": pa.array(np.full(len(days), instruments.ids(warehouse, [symbol])[symbol], np.int32)),
        "session": pa.array(days, pa.date32()),
        **{name: pa.array(table[name].to_numpy(float)) for name in FIELDS},
        "quality_score": pa.array(score),
        "validated": pa.array(score >= 0.85),
        "gap_detected": pa.array(score == 0.8),
        "volume_anomaly": pa.array(score == 0.85),
        "source_id": pa.array(np.full(len(days), bars.source_id(warehouse, vendor, "raw", None)), pa.int16()),
    }
    with warehouse.arrow() as transaction:
        bars.write_daily(transaction, pa.table(columns), now)


def one(warehouse: Warehouse, view: str, symbol: str) -> dict[str, object]:
    [row] = warehouse.rows(f"SELECT * FROM {view} WHERE symbol = :symbol", symbol=symbol)
    return dict(row._mapping)


def test_a_symbols_bars_are_counted_by_their_score(warehouse: Warehouse) -> None:
    warehouse.execute("""
        INSERT INTO validation_log
            (vendor, symbol, instrument_id, interval, session, reason_codes, payload, fingerprint, logged_at)
        SELECT 'acme', 'AAA', instrument_id, '1d', '2021-12-31', '{not_finite}', '{}', '\\x01', now()
        FROM instrument_symbols WHERE symbol = 'AAA'
    """)
    own = one(warehouse, "symbol_quality", "AAA")
    assert own["bars"] == own["validated"] + own["flagged"] + own["excluded"] == 6  # type: ignore[operator]
    assert (own["validated"], own["flagged"], own["excluded"], own["refused"]) == (4, 1, 1, 1)
    assert own["validated_share"] == 4 / 6
    assert own["mean_score"] == pytest.approx(4.95 / 6, rel=1e-15)
    assert (own["lowest_score"], own["gaps_flagged"], own["volume_anomalies"], own["revised"]) == (0.3, 1, 1, 0)
    assert one(warehouse, "symbol_quality", "BBB")["validated_share"] == 1
    assert warehouse.rows("SELECT * FROM symbol_quality WHERE symbol = 'CCC'") == []


def test_a_corrected_bar_counts_as_revised_and_for_its_new_vendor(warehouse: Warehouse) -> None:
    store(warehouse, "AAA", DAYS[-1:], np.array([1.0]), SECOND, vendor="other")
    assert one(warehouse, "symbol_quality", "AAA")["revised"] == 1
    vendors = {row.vendor: row for row in warehouse.rows("SELECT * FROM vendor_quality")}
    assert {vendor: row.bars for vendor, row in vendors.items()} == {"acme": 15, "other": 1}
    assert vendors["acme"].validated_share == 13 / 15
    status = one(warehouse, "symbol_status", "AAA")
    assert (status["vendor"], status["last_fetch"]) == ("other", SECOND)


def test_status_says_from_when_to_when_how_sound_and_what_is_missing(warehouse: Warehouse) -> None:
    own = one(warehouse, "symbol_status", "AAA")
    assert (own["first_bar"], own["last_bar"], own["bars"], own["gaps"]) == (DAYS[3], DAYS[-1], 6, 1)
    assert (own["validated_share"], own["last_fetch"], own["vendor"]) == (4 / 6, FIRST, "acme")
    assert (own["listed_on"], own["delisted_on"], own["tracked"], own["tier"]) == (None, None, False, None)
    assert one(warehouse, "symbol_status", "BBB")["gaps"] == 0
    empty = one(warehouse, "symbol_status", "CCC")
    assert (empty["bars"], empty["first_bar"], empty["gaps"], empty["validated_share"]) == (0, None, None, None)


def test_the_days_of_another_calendar_are_no_gaps(warehouse: Warehouse) -> None:
    warehouse.execute("""
        UPDATE instruments SET kind = 'crypto', calendar = '24/7'
        WHERE instrument_id = (SELECT instrument_id FROM instrument_symbols WHERE symbol = 'BBB')
    """)
    assert one(warehouse, "symbol_status", "AAA")["gaps"] == 0  # nobody of its own calendar had a bar on that day
    # Every day is a session of BBB now, weekends and holidays too.
    assert one(warehouse, "symbol_status", "BBB")["gaps"] == (DAYS[-1] - DAYS[0]).days + 1 - len(DAYS)


def test_a_bar_that_is_used_for_nothing_fills_no_gap(warehouse: Warehouse) -> None:
    store(warehouse, "AAA", [DAYS[6]], np.array([0.0]), SECOND)
    own = one(warehouse, "symbol_status", "AAA")
    assert (own["bars"], own["gaps"]) == (7, 1)


def test_who_is_delisted_is_still_shown_under_the_last_name(warehouse: Warehouse) -> None:
    warehouse.execute("UPDATE instrument_symbols SET valid_to = '2022-02-01' WHERE symbol = 'BBB'")
    warehouse.execute("""
        UPDATE instruments SET listed_on = '2001-05-01', delisted_on = '2022-02-01'
        WHERE instrument_id = (SELECT instrument_id FROM instrument_symbols WHERE symbol = 'BBB')
    """)
    own = one(warehouse, "symbol_status", "BBB")
    assert (own["bars"], own["listed_on"], own["delisted_on"]) == (10, date(2001, 5, 1), date(2022, 2, 1))


def test_daily_bars_stand_at_midnight_utc_of_their_session(warehouse: Warehouse) -> None:
    stored = warehouse.rows("SELECT * FROM bars WHERE symbol = 'AAA' ORDER BY session")
    with warehouse.begin() as connection:
        connection.exec_driver_sql("SET LOCAL timezone = 'America/New_York'")  # whatever the reader's own is
        rows = connection.exec_driver_sql("SELECT * FROM market_data WHERE symbol = 'AAA' ORDER BY time").all()
    days = [row.session for row in stored]
    assert [row.time for row in rows] == [datetime(d.year, d.month, d.day, tzinfo=UTC) for d in days]
    for name, theirs in {"close": "close", "volume": "volume", "source": "vendor", "fetched_at": "as_of"}.items():
        assert [getattr(row, name) for row in rows] == [getattr(row, theirs) for row in stored]
    assert {row.timeframe for row in rows} == {"1d"}


def test_the_time_series_leave_out_what_is_used_for_nothing(warehouse: Warehouse) -> None:
    rows = warehouse.rows("SELECT session, price, close FROM financial_time_series WHERE symbol = 'AAA' ORDER BY time")
    used = warehouse.rows(
        "SELECT session, close FROM bars WHERE symbol = 'AAA' AND quality_score <> 0.3 ORDER BY session"
    )
    assert [(row.session, row.price) for row in rows] == [tuple(row) for row in used]
    assert all(row.price == row.close for row in rows)


def test_only_bars_shorter_than_a_day_are_intraday_candles(warehouse: Warehouse) -> None:
    assert warehouse.rows("SELECT * FROM candles_intraday") == []
    warehouse.execute("SELECT ensure_intraday_partitions('5m', '2021-12-31', '2021-12-31')")
    warehouse.execute("""
        INSERT INTO price_data SELECT instrument_id, '5m', session, session + time '14:30' AT TIME ZONE 'UTC', open,
               high, low, close, volume, 1, true, false, false, source_id, 1, as_of
        FROM price_data_1d JOIN instrument_symbols USING (instrument_id) WHERE symbol = 'BBB' AND session = '2021-12-31'
    """)
    [row] = warehouse.rows("SELECT symbol, interval, ts, provider, status FROM candles_intraday")
    assert tuple(row) == ("BBB", "5m", datetime(2021, 12, 31, 14, 30, tzinfo=UTC), "acme", "final")


def test_readers_may_read_them(server: EmbeddedServer, warehouse: Warehouse) -> None:
    reader = Warehouse(server.url(warehouse.scalar("SELECT current_database()"), role="qm_reader"), read_only=True)
    views = ("symbol_quality", "vendor_quality", "symbol_status", "market_data", "financial_time_series")
    assert all(reader.scalar(f"SELECT count(*) FROM {view}") > 0 for view in views)
    assert reader.scalar("SELECT count(*) FROM candles_intraday") == 0
    reader.close()
