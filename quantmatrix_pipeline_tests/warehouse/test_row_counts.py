"""Rows are counted again where some came or went, in all partitions, and nowhere else."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
import sqlalchemy as sa

from quantmatrix_pipeline.warehouse import instruments
from quantmatrix_pipeline.warehouse.engine import Warehouse
from quantmatrix_pipeline.warehouse.row_counts import TABLES, RowCounter

PATIENCE_SECONDS = 60.0  # the statistics follow a commit by a second, or when its connection has been idle for ten


class Watched(Warehouse):
    """A warehouse that notes what it was asked to count."""

    counted: Sequence[str] = ()

    def rows(self, sql: str, **parameters: object) -> Sequence[sa.Row[Any]]:
        self.counted = re.findall(r"count\(\*\) AS n FROM (\S+)", sql)
        return super().rows(sql, **parameters)


@pytest.fixture
def warehouse(database_url: str) -> Iterator[Watched]:
    warehouse = Watched(database_url)
    yield warehouse
    warehouse.close()


def add_bar(warehouse: Warehouse, table: str, interval: str, day: str) -> None:
    warehouse.execute(
        f"""
        INSERT INTO {table} (instrument_id, interval, session, opened_at, open, high, low, close, volume, quality_score,
                             validated, gap_detected, volume_anomaly, source_id, as_of)
        VALUES (1, '{interval}', '{day}', CASE '{interval}' WHEN '1d' THEN NULL ELSE timestamptz '{day}' END,
                1, 1, 1, 1, 1, 1, true, false, false, 1, '{day}')
        """
    )
    # The statistics of a connection that stays open wait; one that is closed hands them in.
    warehouse.engine.dispose()


def test_only_what_changed_is_counted_again(warehouse: Watched) -> None:
    counter = RowCounter()
    assert counter(warehouse) == dict.fromkeys(TABLES, 0)
    assert "price_data_1d" in warehouse.counted

    def within_reach(expected: Callable[[dict[str, int]], bool]) -> list[str]:
        """Return what was counted when the counter said what was expected."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not expected(counter(warehouse)):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        return list(warehouse.counted)

    counter(warehouse)
    assert warehouse.counted == [], "nothing changed"
    add_bar(warehouse, "price_data", "1d", "2021-12-30")
    assert within_reach(lambda counts: counts["price_data"] == 1) == ["price_data_1d"]
    warehouse.execute("SELECT ensure_intraday_partitions('5m', '2021-11-01', '2021-12-31')")
    add_bar(warehouse, "price_data", "5m", "2021-11-30")
    within_reach(lambda counts: counts["price_data"] == 2)
    instruments.ensure(warehouse, ["AAA", "BBB"])
    warehouse.engine.dispose()
    assert within_reach(lambda counts: counts["instruments"] == 2) == ["instruments"]

    warehouse.execute("DELETE FROM price_data_1d")
    warehouse.engine.dispose()
    within_reach(lambda counts: counts["price_data"] == 1)
    add_bar(warehouse, "price_data", "1d", "2021-12-31")
    within_reach(lambda counts: counts["price_data"] == 2)
    warehouse.execute("TRUNCATE price_data_1d")
    assert counter(warehouse)["price_data"] == 1, "a truncated table has another file at once"
    assert warehouse.counted == ["price_data_1d"]
    assert RowCounter()(warehouse) == counter(warehouse)
