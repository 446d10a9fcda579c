"""A value depends on its own instrument's bars up to its row, to the bit; a split moves nothing but the unit."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantmatrix_pipeline.indicators import engine
from quantmatrix_pipeline.indicators.benchmark import Benchmark
from quantmatrix_pipeline.indicators.catalogue import ENGINE_COLUMNS
from quantmatrix_pipeline.indicators.engine import blocks, compute, last_rows
from quantmatrix_pipeline.indicators.panel import Panel
from quantmatrix_pipeline_tests.unit.indicators.panels import ragged_panels, real_panel, same_bits

QUICK = settings(max_examples=30, deadline=None)


@QUICK
@given(ragged_panels(), st.data())
def test_later_bars_change_no_bit_of_earlier_rows(panel: Panel, data: st.DataObject) -> None:
    bars = data.draw(st.integers(1, panel.bars))
    assert same_bits(compute(panel.cut(bars)), np.where(_within(panel, bars), compute(panel)[:bars], np.nan))


def _within(panel: Panel, bars: int) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    return (np.arange(bars)[:, None] < panel.length)[:, None]


@QUICK
@given(ragged_panels(), st.randoms(use_true_random=False))
def test_the_order_of_the_batch_changes_no_bit(panel: Panel, random: object) -> None:
    order = np.arange(panel.width)
    random.shuffle(order)  # type: ignore[attr-defined]
    assert same_bits(compute(panel.select(order)), compute(panel)[:, :, order])


def test_an_instrument_alone_has_the_bits_that_it_has_in_a_batch() -> None:
    panel = real_panel(40, missing=0.01)
    together = compute(panel)
    for instrument in (0, 17, 39):
        assert same_bits(compute(panel.select(np.array([instrument]))), together[:, :, [instrument]])


def test_tiles_of_another_width_give_the_same_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    panel = real_panel(20, missing=0.01)
    whole = compute(panel)
    monkeypatch.setattr(engine, "TILE_WIDTH", 7)
    assert same_bits(compute(panel), whole)


def test_two_threads_give_the_bits_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    panel = real_panel(40)
    whole = compute(panel)
    monkeypatch.setattr(engine, "TILE_WIDTH", 16)
    seen = np.zeros((panel.bars, panel.width), int)
    for block in blocks(panel, threads=2):
        assert same_bits(block.values, whole[block.row0 : block.row1, :, block.instruments])
        seen[block.row0 : block.row1, block.instruments] += 1
    lived = np.arange(panel.bars)[:, None] < panel.length
    assert (seen[lived] == 1).all(), "every bar is handed out, and once"


@pytest.mark.parametrize("threads", [1, 2])
def test_the_last_rows_have_the_same_bits_on_any_number_of_threads_and_in_any_order(
    threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Against the universe's mean, so that what depends on others is among it."""
    panel = real_panel(20, missing=0.01)
    panel = dataclasses.replace(panel, benchmark=Benchmark.of_universe(panel, np.ones(20, np.bool_)))
    whole = last_rows(panel, threads=1)
    monkeypatch.setattr(engine, "TILE_WIDTH", 6)
    assert same_bits(last_rows(panel, threads=threads), whole)
    order = np.random.default_rng(threads).permutation(20)
    assert same_bits(last_rows(panel.select(order), threads=threads), whole[:, order])


@pytest.mark.parametrize("first_row", [0, 1, 100, 659, 1200])
def test_a_range_has_the_bits_of_the_whole_history(first_row: int) -> None:
    panel = real_panel(12)
    whole, seen = compute(panel), first_row
    for block in blocks(panel, first_row=first_row):
        assert block.row0 == seen
        assert same_bits(block.values, whole[block.row0 : block.row1])
        seen = block.row1
    assert seen == panel.bars


@QUICK
@given(ragged_panels())
def test_the_last_rows_are_the_last_rows_of_the_history(panel: Panel) -> None:
    expected = compute(panel)[panel.length - 1, :, np.arange(panel.width)].T
    assert same_bits(last_rows(panel), expected)


def test_rows_after_an_instruments_last_bar_are_nan_in_every_column() -> None:
    panel = real_panel(80)
    short = int(panel.length.argmin())
    assert panel.length[short] < panel.bars
    assert np.isnan(compute(panel)[panel.length[short] :, :, short]).all()


def test_a_split_divides_prices_and_multiplies_shares_from_its_session_on_and_changes_nothing_else() -> None:
    panel = real_panel(5)
    unit = panel.unit.copy()
    unit[400:, 2] = 3.0
    unit[900:, 2] = 21.0
    plain, split = compute(panel), compute(dataclasses.replace(panel, unit=unit))
    levels = np.array([column.level for column in ENGINE_COLUMNS])
    shares = np.array([column.shares for column in ENGINE_COLUMNS])
    others = ~(levels | shares)
    assert same_bits(split[:, others], plain[:, others])
    assert same_bits(split[:400], plain[:400])
    np.testing.assert_allclose(split[:, levels], plain[:, levels] / unit[:, None], rtol=1e-15)
    np.testing.assert_allclose(split[:, shares], plain[:, shares] * unit[:, None], rtol=1e-15)


@pytest.mark.parametrize("ratio", [2.0, 4.0, 0.125])
def test_another_first_share_changes_no_column_at_all(ratio: float) -> None:
    """All bars in another unit, with the unit that undoes it: powers of two, so that not a bit may differ."""
    panel = real_panel(20)
    prices = {field: getattr(panel, field) * ratio for field in ("open", "high", "low", "close")}
    scaled = dataclasses.replace(panel, unit=panel.unit * ratio, volume=panel.volume / ratio, **prices)
    assert same_bits(compute(scaled), compute(panel))
