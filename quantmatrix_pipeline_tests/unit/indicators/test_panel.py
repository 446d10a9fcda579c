"""Rows become a panel and a wrong row is refused by its place."""

from __future__ import annotations

import numpy as np
import pytest

from quantmatrix_pipeline.errors import QuantMatrixError
from quantmatrix_pipeline.indicators.catalogue import CATALOGUE, COLUMNS
from quantmatrix_pipeline.indicators.panel import Panel

DAYS = np.array(["2020-01-02", "2020-01-03", "2020-01-03", "2020-01-06", "2020-01-07"], "datetime64[D]")
IDS = np.array([4, 4, 9, 9, 9], np.int32)


def build(ids: object = IDS, days: object = DAYS, close: object = (1.0, 2.0, 3.0, 4.0, 5.0)) -> Panel:
    prices = np.array(close)
    return Panel.from_rows(np.asarray(ids), np.asarray(days), prices, prices, prices, prices, prices)


def test_bars_stand_left_aligned_with_a_tail_of_nan() -> None:
    panel = build()
    assert panel.instrument_ids.tolist() == [4, 9]
    assert panel.length.tolist() == [2, 3]
    np.testing.assert_array_equal(panel.close, [[1.0, 3.0], [2.0, 4.0], [np.nan, 5.0]])
    assert np.isnat(panel.session[2, 0])
    assert panel.session[2, 1] == np.datetime64("2020-01-07")
    assert panel.close.flags.c_contiguous


def test_more_instruments_than_fit_one_piece_come_out_in_place() -> None:
    lengths = np.arange(1, 301)
    ids = np.repeat(np.arange(300, dtype=np.int32), lengths)
    bar = np.concatenate([np.arange(length) for length in lengths])
    panel = build(ids, np.datetime64("2020-01-01") + bar, ids * 1000.0 + bar + 1)
    expected = np.where(
        np.arange(300)[:, None] < lengths, np.arange(300) * 1000.0 + np.arange(300)[:, None] + 1, np.nan
    )
    np.testing.assert_array_equal(panel.close, expected)


def test_unsorted_rows_are_refused_with_their_place() -> None:
    with pytest.raises(QuantMatrixError, match=r"row 2 \(instrument 3"):
        build(ids=[4, 4, 3, 9, 9])


def test_a_session_that_comes_twice_is_refused_with_its_place() -> None:
    with pytest.raises(QuantMatrixError, match=r"row 1 .*2020-01-02.* one bar per session"):
        build(days=DAYS[[0, 0, 2, 3, 4]])


def test_a_price_that_is_no_number_is_refused_with_its_place() -> None:
    with pytest.raises(QuantMatrixError, match=r"row 3 \(instrument 9, session 2020-01-06\) has open = nan"):
        build(close=[1.0, 2.0, 3.0, np.nan, 5.0])


def test_columns_of_unequal_length_are_refused_by_name() -> None:
    with pytest.raises(QuantMatrixError, match="column open has shape"):
        build(close=[1.0])


def test_no_rows_make_an_empty_panel() -> None:
    panel = build(np.empty(0, np.int32), np.empty(0, "datetime64[D]"), np.empty(0))
    assert (panel.bars, panel.width) == (0, 0)


def test_the_catalogue_declares_each_column_once_and_says_what_it_is() -> None:
    names = [column.name for column in COLUMNS]
    assert len(set(names)) == len(names)
    assert all(indicator.formula and indicator.source and indicator.lookback >= 0 for indicator in CATALOGUE)
    assert all(column.level == (indicator.unit == "price") for indicator in CATALOGUE for column in indicator.columns)
    assert all(bool(column.labels) == (column.kind == "label") for column in COLUMNS)
