from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantmatrix_pipeline.errors import UnsupportedRequest
from quantmatrix_pipeline.providers.symbols import DIALECTS, canonical, from_vendor, to_vendor

ROOTS = st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789", min_size=1, max_size=5)
TICKERS = st.one_of(
    ROOTS,
    st.builds("{}.{}".format, ROOTS, st.sampled_from("ABKV")),
    st.builds("^{}".format, ROOTS),
    st.builds("{}-USD".format, ROOTS),
)


@given(st.sampled_from(sorted(DIALECTS)), TICKERS)
def test_every_symbol_that_a_vendor_can_be_asked_for_comes_back_unchanged(vendor: str, symbol: str) -> None:
    assert from_vendor(vendor, to_vendor(vendor, symbol)) == symbol


@given(st.text(max_size=12))
def test_the_canonical_form_is_its_own_canonical_form(text: str) -> None:
    symbol = canonical(text)
    assert symbol is None or canonical(symbol) == symbol


@pytest.mark.parametrize("written", ["BRK.B", "brk-b", "BRK/B", "BRK B", " Brk.b "])
def test_every_way_to_write_a_share_class_is_one_symbol(written: str) -> None:
    assert canonical(written) == "BRK.B"


@pytest.mark.parametrize("text", ["", " ", "A,B", "<html>", '{"a": 1}', "-", "A" * 40])
def test_what_is_no_symbol_has_no_canonical_form(text: str) -> None:
    assert canonical(text) is None


def test_yahoo_writes_share_classes_with_a_dash() -> None:
    assert to_vendor("yfinance", "BRK.B") == "BRK-B"
    assert from_vendor("yfinance", "BF-B") == "BF.B"
    assert to_vendor("yfinance", "BTC-USD") == "BTC-USD"


def test_a_symbol_that_would_come_back_as_another_is_refused_by_name() -> None:
    with pytest.raises(UnsupportedRequest, match="BRK-B"):
        to_vendor("yfinance", "BRK-B")
    with pytest.raises(UnsupportedRequest, match=r"X\.Y"):
        from_vendor("yfinance", "X.Y")
