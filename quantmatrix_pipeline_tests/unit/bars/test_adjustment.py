"""Split adjustment: round trips, exactness, and two real sources that publish raw and adjusted prices side by side."""

from __future__ import annotations

from datetime import date
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantmatrix_pipeline.bars.adjustment import (
    SplitTable,
    anchor,
    as_quoted,
    forward_price,
    forward_volume,
    split_adjusted,
    to_raw,
)
from quantmatrix_pipeline.bars.batch import Basis
from quantmatrix_pipeline_tests.shared_data import shared_data

DAY0 = np.datetime64("2020-01-01", "D")
ratios = st.sampled_from([Fraction(2), Fraction(3), Fraction(7), Fraction(3, 2), Fraction(1, 10), Fraction(1, 8)])
Split = tuple[int, int, Fraction]


def splits(ratio: st.SearchStrategy[Fraction]) -> st.SearchStrategy[list[Split]]:
    return st.lists(st.tuples(st.integers(0, 3), st.integers(-30_000, 200), ratio), max_size=8)


rows = st.lists(st.tuples(st.integers(0, 3), st.integers(-30_000, 200)), min_size=1, max_size=20)


def table(given_splits: list[Split]) -> SplitTable:
    day = np.array([DAY0 + s[1] for s in given_splits], "datetime64[D]")
    return SplitTable.build([s[0] for s in given_splits], day, [s[2] for s in given_splits])


def columns(given_rows: list[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray]:
    instrument = np.array([r[0] for r in given_rows], np.int32)
    return instrument, np.array([DAY0 + r[1] for r in given_rows], "datetime64[D]")


@given(splits(ratios), rows)
def test_the_unit_is_the_product_of_all_ratios_up_to_that_day(given_splits: list[Split], wanted: list) -> None:
    expected = []
    for instrument, day in wanted:
        product = Fraction(1)
        for other, ex_date, ratio in given_splits:
            if other == instrument and ex_date <= day:
                product *= ratio
        expected.append(float(product))
    assert table(given_splits).unit(*columns(wanted)).tolist() == expected


@given(splits(ratios), rows, st.integers(-100, 300), st.integers(1, 10**9))
def test_a_vendor_s_adjustment_is_undone_to_the_bit_for_prices_as_they_are_quoted(
    given_splits: list[Split], wanted: list, basis_day: int, seed: int
) -> None:
    steps, (instrument, session) = table(given_splits), columns(wanted)
    rng = np.random.default_rng(seed)
    raw, volume = np.round(rng.uniform(0.5, 900, len(wanted)), 4), rng.integers(1, 10**9, len(wanted)).astype(float)
    basis_date = DAY0 + basis_day
    later = steps.unit(instrument, np.maximum(session, basis_date)) / steps.unit(instrument, session)
    price, shares = to_raw(raw / later, volume * later, instrument, session, basis_date, steps)
    assert price.tolist() == raw.tolist()
    assert shares.tolist() == volume.tolist()


def test_a_number_that_is_no_quoted_price_is_left_as_it_is() -> None:
    odd = np.array([1 / 3, 100 / 3, 1e9 + 1 / 3, 12.3456789])
    assert as_quoted(odd).tolist() == odd.tolist()
    assert as_quoted(np.array([0.1 + 0.2, 4.35 * 100 / 100, 3e9 * (1 + 2e-16)])).tolist() == [0.3, 4.35, 3e9]


@given(splits(ratios), rows, st.integers(-100, 300))
def test_adjusting_and_undoing_it_returns_the_raw_price(
    given_splits: list[Split], wanted: list, basis_day: int
) -> None:
    steps, (instrument, session) = table(given_splits), columns(wanted)
    raw, basis_date = np.linspace(10.01, 99.99, len(wanted)), DAY0 + basis_day
    basis_unit = steps.unit(instrument, np.maximum(session, basis_date))
    adjusted = split_adjusted(raw, steps.unit(instrument, session), basis_unit)
    price, _ = to_raw(adjusted, raw, instrument, session, basis_date, steps)
    np.testing.assert_allclose(price, raw, rtol=1e-15)


@given(splits(ratios), rows, st.integers(-100, 300))
def test_forward_prices_do_not_depend_on_the_basis_in_which_they_are_stored(
    given_splits: list[Split], wanted: list, basis_day: int
) -> None:
    steps, (instrument, session) = table(given_splits), columns(wanted)
    raw, basis_date = np.linspace(10.01, 99.99, len(wanted)), DAY0 + basis_day
    raw_unit = steps.unit(instrument, anchor(session, Basis.RAW, None))
    stored_unit = steps.unit(instrument, anchor(session, Basis.SPLIT, basis_date))
    stored = split_adjusted(raw, raw_unit, stored_unit)
    np.testing.assert_allclose(forward_price(stored, stored_unit), forward_price(raw, raw_unit), rtol=1e-15)
    np.testing.assert_allclose(
        forward_price(stored, stored_unit) * forward_volume(raw, stored_unit), stored * raw, rtol=1e-15
    )


@given(ratios, st.integers(1, 19))
def test_the_series_as_of_any_day_is_continuous_over_a_split(ratio: Fraction, ex_day: int) -> None:
    session = DAY0 + np.arange(20)
    steps = SplitTable.build([0], np.array([DAY0 + ex_day]), [ratio])
    unit = steps.unit(np.zeros(20, np.int32), session)
    traded = 100.0 / unit  # the stake's worth never moves, the quoted price drops by the ratio
    for as_of in (0, ex_day - 1, ex_day, 19):
        as_of_unit = steps.unit(np.int32(0), session[as_of])
        np.testing.assert_allclose(split_adjusted(traded, unit, as_of_unit), traded[as_of], rtol=1e-15)


def test_a_split_after_the_as_of_day_changes_no_price_before_it() -> None:
    session = DAY0 + np.arange(5)
    steps = SplitTable.build([0], session[3:4], [Fraction(3)])
    unit = steps.unit(np.zeros(3, np.int32), session[:3])
    price = np.array([10.1, 10.2, 10.3])
    assert split_adjusted(price, unit, steps.unit(np.int32(0), session[2])).tolist() == price.tolist()


def test_a_split_and_the_reverse_split_that_undoes_it_cancel_exactly() -> None:
    ex_dates = np.array(["2020-02-03", "2020-03-02", "2020-04-01"], "datetime64[D]")
    steps = SplitTable.build([0, 0, 0], ex_dates, [Fraction(1, 10), Fraction(7), Fraction(10, 7)])
    assert steps.unit(np.int32(0), np.datetime64("2020-05-01")) == 1.0


def test_an_instrument_without_splits_has_unit_one_between_two_that_have() -> None:
    steps = SplitTable.build([0, 2], np.array([DAY0, DAY0]), [Fraction(2), Fraction(3)])
    assert steps.unit(np.arange(4, dtype=np.int32), DAY0).tolist() == [2.0, 1.0, 3.0, 1.0]
    assert SplitTable.none().unit(np.arange(4, dtype=np.int32), DAY0).tolist() == [1.0] * 4


@pytest.mark.parametrize("ratio", [Fraction(0), Fraction(-2)])
def test_a_ratio_that_is_not_positive_is_refused(ratio: Fraction) -> None:
    with pytest.raises(ValueError, match="instrument 5"):
        SplitTable.build([5], np.array([DAY0]), [ratio])


def test_a_basis_without_its_date_is_refused() -> None:
    session = DAY0 + np.arange(2)
    with pytest.raises(ValueError, match="split_dividend"):
        anchor(session, Basis.SPLIT_DIVIDEND, None)
    with pytest.raises(ValueError, match="raw prices"):
        anchor(session, Basis.RAW, DAY0)


def test_an_adjusted_price_is_anchored_at_its_session_once_that_is_after_the_basis_date() -> None:
    session = DAY0 + np.arange(4)
    assert anchor(session, Basis.SPLIT, DAY0 + 2).tolist() == [date(2020, 1, 3)] * 3 + [date(2020, 1, 4)]
    assert anchor(session, Basis.RAW, None).tolist() == session.tolist()


@pytest.mark.parametrize(("symbol", "ex_date", "ratio"), [("AVGO", "2024-07-15", 10), ("IBKR", "2025-06-18", 4)])
def test_real_raw_volumes_scaled_by_their_splits_are_the_vendor_s_adjusted_ones(
    symbol: str, ex_date: str, ratio: int
) -> None:
    table_ = pd.read_parquet(shared_data("raw_and_actions", "raw_adjusted_dividends_splits.parquet"))
    bars = table_[table_.symbol == symbol]
    session = pd.to_datetime(bars.date).to_numpy().astype("datetime64[D]")
    instrument = np.zeros(len(bars), np.int32)
    steps = SplitTable.build([0], np.array([ex_date], "datetime64[D]"), [Fraction(ratio)])
    raw_price, raw_volume = to_raw(
        bars.close.to_numpy() / np.where(session < np.datetime64(ex_date), ratio, 1),
        bars.adjvolume.to_numpy(),
        instrument,
        session,
        session[-1],
        steps,
    )
    np.testing.assert_allclose(raw_price, bars.close.to_numpy(), rtol=1e-15)
    # The vendor rounds adjusted volumes to whole shares.
    np.testing.assert_allclose(raw_volume, bars.volume.to_numpy(), atol=1)


def test_apple_as_traded_has_no_jump_of_a_split_left_after_adjustment() -> None:
    raw = pd.read_parquet(shared_data("raw_and_actions", "raw_unadjusted.parquet")).query("symbol == 'AAPL'")
    session = pd.to_datetime(raw.date).to_numpy().astype("datetime64[D]")
    ex_dates = np.array(["2000-06-21", "2005-02-28", "2014-06-09", "2020-08-31"], "datetime64[D]")
    steps = SplitTable.build([0] * 4, ex_dates, [Fraction(r) for r in (2, 2, 7, 4)])
    unit = steps.unit(np.zeros(len(raw), np.int32), session)
    adjusted = split_adjusted(raw.close.to_numpy(), unit, unit[-1])
    at = np.searchsorted(session, ex_dates)
    unadjusted_move = raw.close.to_numpy()[at] / raw.close.to_numpy()[at - 1]
    assert (unadjusted_move < 0.6).all()
    assert (np.abs(adjusted[at] / adjusted[at - 1] - 1) < 0.15).all()  # 2000-06-21 really was a day of +10 %
    assert adjusted[session == np.datetime64("2014-06-06")] == pytest.approx(645.57 / 28, rel=2e-5)
    assert adjusted[-1] == raw.close.to_numpy()[-1]
