"""Tiers by trailing dollar volume, and what a night's tracked set was."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import UTC, date, datetime

import numpy as np
import pyarrow as pa
import pytest

from quantmatrix_pipeline.bars.sessions import trading_calendar
from quantmatrix_pipeline.errors import UnknownNight
from quantmatrix_pipeline.universe.nights import difference, rank_and_record
from quantmatrix_pipeline.warehouse import bars, instruments, naming, tiers, universe
from quantmatrix_pipeline.warehouse.engine import Warehouse

NOW = datetime(2021, 12, 31, 22, tzinfo=UTC)
CALENDAR = trading_calendar()
SESSION = date(2021, 12, 30)
NEXT = date(2021, 12, 31)
MAXIMA = {"T0": 2, "T1": 1}


@pytest.fixture
def warehouse(database_url: str) -> Iterator[Warehouse]:
    warehouse = Warehouse(database_url)
    yield warehouse
    warehouse.close()


def trade(warehouse: Warehouse, symbol: str, sessions: np.ndarray, volume: float, validated: bool = True) -> None:
    """Store bars of 10.00 and track the symbol."""
    own = instruments.ensure(warehouse, [symbol])[symbol]
    count = len(sessions)
    table = {
        "instrument_id": pa.array(np.full(count, own), pa.int32()),
        "session": pa.array(sessions, pa.date32()),
        **{name: np.full(count, 10.0) for name in ("open", "high", "low", "close")},
        "volume": np.full(count, volume),
        "quality_score": np.full(count, 1.0 if validated else 0.6),
        "validated": np.full(count, validated),
        "gap_detected": np.zeros(count, bool),
        "volume_anomaly": np.zeros(count, bool),
        "source_id": pa.array(np.full(count, bars.source_id(warehouse, "files", "raw", None)), pa.int16()),
    }
    with warehouse.arrow() as transaction:
        bars.write_daily(transaction, pa.table(table), NOW)
    universe.track(warehouse, SESSION, {own: ["watch_list"]})


def fill(warehouse: Warehouse) -> None:
    window = CALENDAR.window(SESSION, 25)
    trade(warehouse, "BIG", window[-20:], 100.0)
    trade(warehouse, "HALF", window[-10:], 150.0)  # half the sessions at 1.5 times: 75 a session
    trade(warehouse, "TWINB", window[-20:], 50.0)
    trade(warehouse, "TWINA", window[-20:], 50.0)
    trade(warehouse, "OLD", window[:5], 1e6)  # before the window
    trade(warehouse, "ODD", window[-20:], 1e6, validated=False)
    trade(warehouse, "NONE", window[:0], 0.0)


def ranked(warehouse: Warehouse) -> list[tuple[str, str, float]]:
    rows = warehouse.rows(
        "SELECT symbol, tier, dollar_volume FROM symbol_universe JOIN symbols USING (instrument_id)"
        " WHERE active ORDER BY liquidity_rank"
    )
    return [tuple(row) for row in rows]


def test_tiers_follow_dollar_volume_over_twenty_sessions_and_equal_ones_their_symbols(warehouse: Warehouse) -> None:
    fill(warehouse)
    tonight = rank_and_record(warehouse, CALENDAR, SESSION, MAXIMA, NOW)
    assert ranked(warehouse) == [
        ("BIG", "T0", 1_000.0), ("HALF", "T0", 750.0), ("TWINA", "T1", 500.0), ("TWINB", "T2", 500.0),
        ("NONE", "T2", 0.0), ("ODD", "T2", 0.0), ("OLD", "T2", 0.0),
    ]  # fmt: skip
    assert tonight.tiers == {"T0": 2, "T1": 1, "T2": 4}
    assert warehouse.scalar("SELECT COUNT(*) FROM symbol_universe WHERE active") == 7


def test_what_is_traded_after_the_session_and_a_second_ranking_change_nothing(warehouse: Warehouse) -> None:
    fill(warehouse)
    first = rank_and_record(warehouse, CALENDAR, SESSION, MAXIMA, NOW)
    before = ranked(warehouse)
    trade(warehouse, "NONE", np.array([NEXT], "datetime64[D]"), 1e9)
    assert rank_and_record(warehouse, CALENDAR, SESSION, MAXIMA, NOW) == first
    assert ranked(warehouse) == before
    rank_and_record(warehouse, CALENDAR, NEXT, MAXIMA, NOW)
    assert ranked(warehouse)[0][0] == "NONE"
    late = rank_and_record(warehouse, CALENDAR, SESSION, MAXIMA, NOW)
    assert late.hash is None, "the set of a later night is none of an old one"
    assert ranked(warehouse)[0][0] == "NONE"


def test_two_nights_differ_by_who_joined_left_was_renamed_or_moved(warehouse: Warehouse) -> None:
    fill(warehouse)
    rank_and_record(warehouse, CALENDAR, SESSION, MAXIMA, NOW)
    universe.unwatch(warehouse, [instruments.ids(warehouse)["OLD"]])
    naming.rename(warehouse, "HALF", "AHALF", NEXT, source="operator", now=NOW)
    trade(warehouse, "NEW", np.array([NEXT], "datetime64[D]"), 1e9)
    rank_and_record(warehouse, CALENDAR, NEXT, MAXIMA, NOW)
    before, after = tiers.night(warehouse, SESSION), tiers.night(warehouse, NEXT)
    assert before.hash == hashlib.sha256(b"BIG\nHALF\nNONE\nODD\nOLD\nTWINA\nTWINB\n").hexdigest()
    assert before.hash != after.hash
    found = difference(before, after, tiers.renamed_between(warehouse, SESSION, NEXT))
    assert (found.joined, found.left, found.renamed) == (("NEW",), ("OLD",), (("HALF", "AHALF"),))
    assert found.moved == (("AHALF", "T0", "T1"), ("TWINA", "T1", "T2"))


def test_a_night_of_which_no_set_was_recorded_names_the_nearest(warehouse: Warehouse) -> None:
    with pytest.raises(UnknownNight, match="none was recorded at all"):
        tiers.night(warehouse, SESSION)
    rank_and_record(warehouse, CALENDAR, date(2021, 12, 28), MAXIMA, NOW)
    rank_and_record(warehouse, CALENDAR, NEXT, MAXIMA, NOW)
    with pytest.raises(UnknownNight, match="the nearest ones are of 2021-12-28 and 2021-12-31"):
        tiers.night(warehouse, SESSION)
