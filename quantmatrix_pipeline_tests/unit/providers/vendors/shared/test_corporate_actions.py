"""Prices with an adjustment for splits undone: what is contained, what is to come, what is not known."""

from __future__ import annotations

from datetime import UTC, date, datetime
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantmatrix_pipeline.bars.batch import BarBatch, Basis
from quantmatrix_pipeline.errors import MalformedResponse, UnsupportedRequest
from quantmatrix_pipeline.providers.answers import Dividend, Split
from quantmatrix_pipeline.providers.contract import BarRequest, Capability
from quantmatrix_pipeline.providers.transport.calls import Call
from quantmatrix_pipeline.providers.transport.reading import one_symbol
from quantmatrix_pipeline.providers.vendors.shared.corporate_actions import (
    as_traded,
    dividend_of,
    named,
    ratio_of,
    serve_dividends,
    serve_splits,
    split_of,
)

AT = datetime(2026, 11, 20, 2, 0, tzinfo=UTC)  # still the 19th in New York
DAYS = np.array(["2026-11-16", "2026-11-17", "2026-11-18", "2026-11-19"], "datetime64[D]")
ASKED = BarRequest("AAPL", DAYS[1:])


def bars(price: float = 10.0, volume: float = 1200.0) -> BarBatch:
    prices = np.full(len(DAYS), price)
    return one_symbol("AAPL", DAYS, [prices, prices + 2, prices - 2, prices + 1, np.full(len(DAYS), volume)])


def split(on: str, ratio: Fraction) -> Split:
    return Split("AAPL", date.fromisoformat(on), ratio)


def test_only_splits_up_to_the_day_of_new_york_are_contained() -> None:
    splits = [split("2026-11-19", Fraction(3)), split("2026-11-20", Fraction(7)), split("2026-11-16", Fraction(5))]
    answer = as_traded("finnhub", ASKED, bars(), splits, AT)
    assert answer.bars.open.tolist() == [30.0, 30.0, 10.0]
    assert (answer.bars.high.tolist(), answer.bars.low.tolist()) == ([36.0, 36.0, 12.0], [24.0, 24.0, 8.0])
    assert (answer.bars.close.tolist(), answer.bars.volume.tolist()) == ([33.0, 33.0, 11.0], [400.0, 400.0, 1200.0])
    assert (answer.basis, answer.basis_date, answer.learned_at) == (Basis.RAW, None, AT)
    assert answer.splits == (split("2026-11-19", Fraction(3)),)


def test_without_splits_prices_stay_as_they_are_and_say_up_to_when_they_are_adjusted() -> None:
    answer = as_traded("finnhub", ASKED, bars(), None, AT)
    assert answer.bars.open.tolist() == [10.0, 10.0, 10.0]
    assert (answer.basis, answer.basis_date) == (Basis.SPLIT, date(2026, 11, 19))


def test_a_ratio_is_the_fraction_that_its_decimals_say() -> None:
    call = Call(Capability.SPLITS, "splits", "/splits", symbol="AAPL")
    assert split_of("finnhub", call, date(2026, 11, 19), 1.05, 1.0).ratio == Fraction(21, 20)


@pytest.mark.parametrize("shares", [0.0, -1.0, float("nan"), float("inf"), 1e7])
def test_what_is_no_number_of_shares_makes_no_split(shares: float) -> None:
    assert ratio_of(shares, 1.0) is ratio_of(1.0, shares) is None
    call = Call(Capability.SPLITS, "splits", "/splits", symbol="AAPL")
    with pytest.raises(MalformedResponse, match=f"AAPL: splits: a split of 2026-11-19 into {shares} for 1.0") as caught:
        split_of("finnhub", call, date(2026, 11, 19), shares, 1.0)
    assert caught.value.symbol == "AAPL"


@pytest.mark.parametrize("cash", [0.0, -0.5, float("nan"), float("inf")])
def test_what_is_no_amount_makes_no_dividend(cash: float) -> None:
    call = Call(Capability.DIVIDENDS, "dividends", "/dividends", symbol="AAPL")
    assert dividend_of("fmp", call, date(2026, 11, 19), 0.25, None) == Dividend("AAPL", date(2026, 11, 19), 0.25, "USD")
    assert dividend_of("fmp", call, date(2026, 11, 19), 0.25, "cad").currency == "CAD"
    with pytest.raises(MalformedResponse, match=f"a dividend of 2026-11-19 over {cash}"):
        dividend_of("fmp", call, date(2026, 11, 19), cash, None)


def test_actions_are_served_of_the_first_day_asked_for_to_the_last() -> None:
    days = [date(2026, 11, day) for day in (16, 17, 18, 19)]
    splits = [Split("AAPL", day, Fraction(2)) for day in days]
    dividends = [Dividend("AAPL", day, 0.25) for day in days]
    assert serve_splits("fmp", "AAPL", days[1], days[2], splits).splits == tuple(splits[1:3])
    assert serve_dividends("fmp", "AAPL", days[1], days[2], dividends).dividends == tuple(dividends[1:3])


def test_actions_of_the_whole_market_are_refused_by_that_name() -> None:
    assert named("fmp", "AAPL") == "AAPL"
    with pytest.raises(UnsupportedRequest) as caught:
        named("fmp", None)
    assert caught.value.symbol == "the whole market"  # without one, the plan would lack the capability


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["2026-11-17", "2026-11-18", "2026-11-19"]),
            st.fractions(Fraction(1, 20), 20, max_denominator=20).filter(lambda ratio: ratio > 0),
        ),
        max_size=4,
        unique_by=lambda each: each[0],
    )
)
def test_what_changed_hands_in_money_is_the_same_in_any_shares(found: list[tuple[str, Fraction]]) -> None:
    splits = [split(on, ratio) for on, ratio in found]
    traded = as_traded("finnhub", BarRequest("AAPL", DAYS), bars(), splits, AT).bars
    np.testing.assert_allclose(traded.close * traded.volume, 11.0 * 1200.0)
    for row, day in enumerate(DAYS.tolist()):
        later = [ratio for on, ratio in found if date.fromisoformat(on) > day]
        np.testing.assert_allclose(traded.close[row], 11.0 * float(np.prod([float(r) for r in later])))
