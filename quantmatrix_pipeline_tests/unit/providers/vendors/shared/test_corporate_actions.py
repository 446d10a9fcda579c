"""Prices with an adjustment for splits undone: what is contained, what is to come, what is not known."""

from __future__ import annotations

from datetime import UTC, date, datetime
from fractions import Fraction

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from quantmatrix_pipeline.bars.batch import BarBatch, Basis
from quantmatrix_pipeline.providers.answers import Split
from quantmatrix_pipeline.providers.contract import BarRequest, Capability
from quantmatrix_pipeline.providers.transport.calls import Call
from quantmatrix_pipeline.providers.transport.reading import one_symbol
from quantmatrix_pipeline.providers.vendors.shared.corporate_actions import as_traded, split_of

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
