"""Some columns have the bits that they have among all; strips have threads of their own, which end with the reader."""

from __future__ import annotations

import threading
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantmatrix_pipeline.errors import QuantMatrixError
from quantmatrix_pipeline.indicators import engine
from quantmatrix_pipeline.indicators.catalogue import COLUMN_INDEX
from quantmatrix_pipeline.indicators.engine import blocks, compute, last_rows
from quantmatrix_pipeline.indicators.momentum import RelativeStrengthIndex
from quantmatrix_pipeline.indicators.panel import Panel
from quantmatrix_pipeline.indicators.plan import FAMILIES, plan_for
from quantmatrix_pipeline_tests.unit.indicators.panels import ragged_panels, real_panel, same_bits

NAMES = list(COLUMN_INDEX)


@settings(max_examples=30, deadline=None)
@given(ragged_panels(), st.lists(st.sampled_from(NAMES), min_size=1, max_size=6, unique=True))
def test_some_columns_have_the_bits_that_they_have_among_all(panel: Panel, names: list[str]) -> None:
    places = [COLUMN_INDEX[name] for name in names]
    assert same_bits(compute(panel, names), compute(panel)[:, places])
    assert same_bits(last_rows(panel, columns=names), last_rows(panel)[places])


def test_each_column_alone_has_the_bits_that_it_has_among_all() -> None:
    panel = real_panel(3)
    whole = compute(panel)
    alone = [name for name in NAMES if not same_bits(compute(panel, [name])[:, 0], whole[:, COLUMN_INDEX[name]])]
    assert alone == []


def test_every_column_is_written_by_one_family() -> None:
    assert Counter(name for family in FAMILIES for name in family.columns) == Counter(NAMES)


def test_only_the_families_that_are_needed_run() -> None:
    assert [family.__name__ for family in plan_for(["atr_distance"]).families] == [
        "SimpleAverages",
        "ExponentialAverages",
        "AverageTrueRange",
        "AtrMatrix",
    ]
    assert [family.__name__ for family in plan_for(["rsi"]).families] == ["RelativeStrengthIndex"]


def test_an_unknown_column_is_refused_by_name() -> None:
    with pytest.raises(QuantMatrixError, match="computes no column sma_7"):
        compute(real_panel(3), ["rsi", "sma_7"])
    with pytest.raises(QuantMatrixError, match="once"):
        compute(real_panel(3), ["rsi", "rsi"])


@pytest.fixture
def narrow_strips(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "TILE_WIDTH", 3)


@pytest.mark.usefixtures("narrow_strips")
def test_a_reader_that_stops_leaves_no_thread_behind() -> None:
    before = threading.active_count()
    reader = blocks(real_panel(20), threads=2)
    next(reader)
    reader.close()
    assert threading.active_count() == before


@pytest.mark.usefixtures("narrow_strips")
def test_an_error_in_a_thread_reaches_the_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise FloatingPointError("no")

    monkeypatch.setattr(RelativeStrengthIndex, "feed", fail)
    before = threading.active_count()
    with pytest.raises(FloatingPointError, match="no"):
        list(blocks(real_panel(20), threads=2))
    assert threading.active_count() == before


@pytest.mark.usefixtures("narrow_strips")
def test_the_order_of_the_blocks_is_the_same_every_time() -> None:
    panel = real_panel(20)
    orders = [[(b.row0, b.instruments.start) for b in blocks(panel, threads=2)] for _ in range(3)]
    assert orders[0] == orders[1] == orders[2]
    assert len(orders[0]) == len(set(orders[0])) > 40


def test_a_panel_without_instruments_has_no_blocks() -> None:
    panel = real_panel(3).select(np.empty(0, np.intp))
    assert list(blocks(panel)) == []
