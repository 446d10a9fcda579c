from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantmatrix_pipeline.errors import UnsupportedRequest
from quantmatrix_pipeline.providers.symbols import DIALECTS, canonical, from_vendor, is_crypto, to_vendor

ROOTS = st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789", min_size=1, max_size=5)
SHARES = st.one_of(ROOTS, st.builds("{}.{}".format, ROOTS, st.sampled_from("ABKV")))
INDICES = st.builds("^{}".format, ROOTS)
COINS = st.builds(
    "{}-{}".format,
    st.one_of(ROOTS, st.sampled_from(["BTC", "ETH", "USDT", "FD", "1000SATS"])),
    st.sampled_from(["USD", "EUR", "JPY", "USDT", "USDC", "FDUSD"]),
)
TICKERS = st.one_of(SHARES, INDICES, COINS)
SHARE_VENDORS = ["fmp", "twelve_data", "finnhub", "alpha_vantage", "polygon", "yfinance"]
DOLLAR_COIN_VENDORS = ["twelve_data", "polygon", "yfinance", "cryptocompare"]


@given(st.sampled_from(sorted(DIALECTS)), TICKERS)
def test_a_symbol_comes_back_unchanged_or_is_refused(vendor: str, symbol: str) -> None:
    try:
        theirs = to_vendor(vendor, symbol)
    except UnsupportedRequest:
        return
    assert from_vendor(vendor, theirs) == symbol


@given(st.sampled_from(sorted(DIALECTS)), st.text(max_size=12))
def test_whatever_a_vendor_writes_leads_back_to_itself_or_is_refused(vendor: str, theirs: str) -> None:
    try:
        symbol = from_vendor(vendor, theirs)
    except UnsupportedRequest:
        return
    assert canonical(symbol) == symbol
    assert to_vendor(vendor, symbol) == theirs


@given(st.sampled_from(SHARE_VENDORS), SHARES)
def test_every_share_can_be_asked_of_every_vendor_of_shares(vendor: str, symbol: str) -> None:
    assert from_vendor(vendor, to_vendor(vendor, symbol)) == symbol


@given(st.sampled_from(["fmp", "polygon", "yfinance"]), INDICES)
def test_every_index_can_be_asked_of_a_vendor_whose_form_is_known(vendor: str, symbol: str) -> None:
    assert from_vendor(vendor, to_vendor(vendor, symbol)) == symbol


@given(st.sampled_from(DOLLAR_COIN_VENDORS), ROOTS)
def test_every_coin_in_dollars_can_be_asked_of_a_vendor_of_coins(vendor: str, base: str) -> None:
    assert from_vendor(vendor, to_vendor(vendor, f"{base}-USD")) == f"{base}-USD"


@given(st.sampled_from(sorted(DIALECTS)), st.lists(TICKERS, unique=True, max_size=30))
def test_no_two_symbols_are_written_alike(vendor: str, symbols: list[str]) -> None:
    written = []
    for symbol in symbols:
        try:
            written.append(to_vendor(vendor, symbol))
        except UnsupportedRequest:
            continue
    assert len(set(written)) == len(written)


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


@pytest.mark.parametrize(
    ("vendor", "symbol", "theirs"),
    [
        ("yfinance", "BRK.B", "BRK-B"),
        ("yfinance", "^GSPC", "^GSPC"),
        ("yfinance", "BTC-USD", "BTC-USD"),
        ("fmp", "BRK.B", "BRK-B"),
        ("fmp", "^GSPC", "^GSPC"),
        ("alpha_vantage", "BRK.B", "BRK-B"),
        ("twelve_data", "BRK.B", "BRK.B"),
        ("twelve_data", "BTC-USD", "BTC/USD"),
        ("finnhub", "BRK.B", "BRK.B"),
        ("polygon", "BRK.B", "BRK.B"),
        ("polygon", "BTC-USD", "X:BTCUSD"),
        ("polygon", "^SPX", "I:SPX"),
        ("binance", "BTC-USD", "BTCUSDT"),
        ("binance", "BTC-EUR", "BTCEUR"),
        ("binance", "ETH-FDUSD", "ETHFDUSD"),
        ("coingecko", "BTC-USD", "bitcoin"),
        ("coingecko", "AVAX-USD", "avalanche-2"),
        ("cryptocompare", "BTC-USD", "BTC-USD"),
        ("fred", "DGS10", "DGS10"),
        ("wikipedia", "BRK.B", "BRK.B"),
    ],
)
def test_each_vendor_is_asked_in_its_own_writing(vendor: str, symbol: str, theirs: str) -> None:
    assert to_vendor(vendor, symbol) == theirs
    assert from_vendor(vendor, theirs) == symbol


@pytest.mark.parametrize(
    ("vendor", "symbol", "says"),
    [
        ("yfinance", "BRK-B", "BRK-B"),  # not canonical
        ("fmp", "BTC-USD", "shares, funds and indices"),
        ("twelve_data", "^GSPC", "shares, funds and coins"),
        ("finnhub", "EURUSD=X", "shares and funds"),
        ("polygon", "BTC-USDT", "ordinary money"),
        ("binance", "AAPL", "coins"),
        ("binance", "BTC-USDT", "reads back as 'BTC-USD'"),  # USD is what USDT is called here
        ("coingecko", "BTC-EUR", "largest coins in US dollars"),
        ("coingecko", "NOSUCH-USD", "largest coins in US dollars"),
        ("cryptocompare", "AAPL", "coins"),
    ],
)
def test_what_a_vendor_has_no_symbol_for_is_refused_by_name(vendor: str, symbol: str, says: str) -> None:
    with pytest.raises(UnsupportedRequest, match=says) as caught:
        to_vendor(vendor, symbol)
    assert caught.value.symbol == symbol


@pytest.mark.parametrize(
    ("vendor", "theirs"),
    [("yfinance", "X.Y"), ("polygon", "BACpL"), ("polygon", "O:AAPL"), ("binance", "USDT"), ("coingecko", "batcoin")],
)
def test_a_vendors_symbol_without_a_way_back_is_refused(vendor: str, theirs: str) -> None:
    with pytest.raises(UnsupportedRequest, match=theirs):
        from_vendor(vendor, theirs)


@pytest.mark.parametrize("symbol", ["BTC-USD", "1INCH-USD", "ETH-EUR", "SOL-USDT"])
def test_a_coin_is_told_by_the_money_that_it_is_priced_in(symbol: str) -> None:
    assert is_crypto(symbol)


@pytest.mark.parametrize("symbol", ["AAPL", "BRK.B", "BAC-PL", "^GSPC", "EURUSD=X", "-USD", "BTC-USD-X", "USD"])
def test_a_share_or_an_index_is_no_coin(symbol: str) -> None:
    assert not is_crypto(symbol)
