"""What instruments are measured against: the benchmark where its bars are on their basis, else the universe's mean."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np
import pytest

from quantmatrix_pipeline.indicators.catalogue import COLUMN_INDEX, RS_BENCHMARK_LABELS
from quantmatrix_pipeline.indicators.engine import last_rows
from quantmatrix_pipeline.indicators.panel import Panel
from quantmatrix_pipeline.indicators.stage_rules import StageRules
from quantmatrix_pipeline.snapshots.method import Method
from quantmatrix_pipeline.warehouse import instruments
from quantmatrix_pipeline.warehouse.engine import Warehouse

SYMBOLS = ("AAA", "BBB", "CCC", "SPY")
BARS = 400


@pytest.fixture
def warehouse(database_url: str) -> Iterator[Warehouse]:
    warehouse = Warehouse(database_url)
    yield warehouse
    warehouse.close()


@pytest.fixture
def panel(warehouse: Warehouse) -> Panel:
    ids = sorted(instruments.ensure(warehouse, SYMBOLS).values())
    days = np.busday_offset("2020-01-01", np.arange(BARS), roll="forward")
    prices = np.exp(np.cumsum(np.random.default_rng(4).normal(0, 0.01, 4 * BARS)))
    return Panel.from_rows(np.repeat(ids, BARS), np.tile(days, 4), *[prices] * 5)


def told(panel: Panel) -> dict[str, str]:
    codes = last_rows(panel)[COLUMN_INDEX["rs_benchmark"]]
    return dict(zip(SYMBOLS, [RS_BENCHMARK_LABELS[int(code)] for code in codes], strict=True))


def test_the_benchmark_is_what_all_are_measured_against(warehouse: Warehouse, panel: Panel) -> None:
    rules = StageRules(flat=0.2)
    measured = Method("SPY", rules).applied_to(warehouse, panel)
    assert told(measured) == dict.fromkeys(SYMBOLS, "BENCHMARK")
    assert measured.stage_rules == rules
    assert abs(last_rows(measured)[COLUMN_INDEX["rs_mansfield_pct"], 3]) < 1e-9


def test_a_benchmark_without_bars_gives_way_to_the_universes_mean(warehouse: Warehouse, panel: Panel) -> None:
    assert told(Method("QQQ").applied_to(warehouse, panel)) == dict.fromkeys(SYMBOLS, "UNIVERSE")
    alone = panel.select(np.array([0, 1, 2]))
    codes = last_rows(Method("SPY").applied_to(warehouse, alone))[COLUMN_INDEX["rs_benchmark"]]
    assert set(codes) == {float(RS_BENCHMARK_LABELS.index("UNIVERSE"))}


def test_a_benchmark_whose_prices_include_dividends_is_not_held_against_prices_that_do_not(
    warehouse: Warehouse, panel: Panel
) -> None:
    lowered = dataclasses.replace(panel, dividends_in=np.array([False, False, False, True]))
    assert told(Method("SPY").applied_to(warehouse, lowered)) == {
        "AAA": "UNIVERSE", "BBB": "UNIVERSE", "CCC": "UNIVERSE", "SPY": "UNKNOWN",
    }  # fmt: skip
    all_of_them = dataclasses.replace(panel, dividends_in=np.ones(4, np.bool_))
    assert told(Method("SPY").applied_to(warehouse, all_of_them)) == dict.fromkeys(SYMBOLS, "BENCHMARK")
