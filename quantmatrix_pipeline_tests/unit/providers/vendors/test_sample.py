from __future__ import annotations

import sys
from datetime import date
from fractions import Fraction

import numpy as np
import pytest

from quantmatrix_pipeline.errors import ConfigurationError, SymbolNotFound
from quantmatrix_pipeline.providers.vendors.sample import SYMBOLS, SampleProvider, infer_splits
from quantmatrix_pipeline_tests.unit.providers.vendors.folders import ask, days

pytest.importorskip("bokeh_sampledata.stocks", reason="the extra `sample` is not installed")


def test_the_splits_of_the_sample_are_those_that_happened() -> None:
    (answer,) = ask(SampleProvider(), SYMBOLS, days("2000-01-03", "2013-12-31"))
    assert {(s.symbol, str(s.ex_date), s.ratio) for s in answer.splits} == {
        ("AAPL", "2000-06-21", Fraction(2)),
        ("AAPL", "2005-02-28", Fraction(2)),
        ("MSFT", "2003-02-18", Fraction(2)),
    }


def test_the_prices_of_the_sample_are_as_traded() -> None:
    (answer,) = ask(SampleProvider(), ["AAPL"], days("2005-02-25", "2005-02-28"))
    assert answer.bars.close.tolist() == [88.99, 44.86]


def test_all_bars_of_the_sample_are_served_and_it_ends_in_2013() -> None:
    provider = SampleProvider()
    (answer,) = ask(provider, [*SYMBOLS, "SPY"], days("2000-01-03", "2013-12-31"))
    assert len(answer.bars) == 3 * 3270 + 196 + 2148
    assert {s: type(e) for s, e in answer.failures.items()} == {"SPY": SymbolNotFound}
    assert provider.newest_session(date(2026, 11, 20)) == date(2013, 3, 1)
    assert [listing.first_bar for listing in provider.listings() if listing.symbol == "FB"] == [date(2012, 5, 18)]
    with pytest.raises(ConfigurationError, match="QM_NOW"):
        provider.newest_session(date(1999, 1, 1))


@pytest.mark.parametrize(
    ("jump", "price", "expected"),
    [
        (4.0, 0.25, [Fraction(4)]),
        (0.1, 10.0, [Fraction(1, 10)]),  # a reverse split
        (1.5, 0.7, [Fraction(3, 2)]),
        (1.1124498, 0.914, []),  # Microsoft's special dividend
        (1.334, 0.75, []),  # a dividend near 4:3
        (2.0, 1.0, []),  # an adjustment that the price knows nothing of
    ],
)
def test_only_an_exact_jump_that_the_price_follows_is_a_split(
    jump: float, price: float, expected: list[Fraction]
) -> None:
    session = np.array(["2021-01-04", "2021-01-05", "2021-01-06"], "datetime64[D]")
    close = np.array([100.0, 100.0 * price, 100.0 * price])
    factor = np.array([0.3, 0.3 * jump, 0.3 * jump])
    found = infer_splits("X", session, close, close * factor)
    assert [(s.ex_date, s.ratio) for s in found] == [(date(2021, 1, 5), r) for r in expected]


def test_without_the_extra_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bokeh_sampledata.stocks", None)  # what a missing package looks like to import
    with pytest.raises(ConfigurationError, match=r"pip install 'quantmatrix-pipeline\[sample\]'"):
        SampleProvider()
