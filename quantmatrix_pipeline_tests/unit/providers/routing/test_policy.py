"""From the names that users write to the vendors of each capability."""

from __future__ import annotations

import pytest

from quantmatrix_pipeline.providers.contract import Capability
from quantmatrix_pipeline.providers.routing.policy import OVERRIDES, Policies
from quantmatrix_pipeline.settings import VENDORS

PAID = ("fmp", "polygon", "twelve_data", "yfinance")
FREE = ("finnhub", "twelve_data", "alpha_vantage", "yfinance")
CRYPTO = ("binance", "coingecko", "cryptocompare", "yfinance")
ACTIONS = ("polygon", "fmp", "alpha_vantage", "yfinance", "finnhub", "twelve_data")
OF_THEIR_OWN = {
    "grouped_bars": ("polygon", "fmp"),
    "options_chain": ("yfinance", "finnhub"),
    "constituents": ("fmp", "wikipedia", "finnhub"),
    "profile": ("fmp", "finnhub", "yfinance", "polygon"),
    "splits": ACTIONS,
    "dividends": ACTIONS,
    "crypto_daily": CRYPTO,
    "crypto_5m": CRYPTO,
    "crypto_1m": CRYPTO,
    "crypto_quotes": CRYPTO,
    "macro": ("fred",),
    "listings": (),
}


@pytest.mark.parametrize(
    ("general", "vendors"),
    [
        ("paid", PAID),
        (" Free ", FREE),
        ("yahoo, Massive,twelve-data", ("yfinance", "polygon", "twelve_data")),
        ("Alpha Vantage,ALPHAVANTAGE,,alpha_vantage,twelvedata,crypto_compare",
         ("alpha_vantage", "twelve_data", "cryptocompare")),
    ],
)  # fmt: skip
def test_the_general_policy_holds_for_bars_and_quotes_and_the_rest_has_orders_of_its_own(
    general: str, vendors: tuple[str, ...]
) -> None:
    policies = Policies.build(general)
    by_general = dict.fromkeys(("daily_bars", "bars_5m", "bars_1m", "quotes"), vendors)
    assert {c.value: policies.of(c) for c in Capability} == OF_THEIR_OWN | by_general


def test_without_any_setting_the_policy_is_the_free_one() -> None:
    assert Policies.build() == Policies.build("free", dict.fromkeys(OVERRIDES)) == Policies.build("free", {})


@pytest.mark.parametrize(
    ("variable", "capabilities"),
    [
        ("POLICY_EOD", {"daily_bars"}),
        ("POLICY_EOD_BULK", {"grouped_bars"}),
        ("POLICY_BARS_1M", {"bars_1m"}),
        ("POLICY_BARS_5M", {"bars_5m"}),
        ("POLICY_QUOTES_L1", {"quotes"}),
        ("POLICY_OPTIONS_CHAIN", {"options_chain"}),
        ("POLICY_CONSTITUENTS", {"constituents"}),
        ("POLICY_CRYPTO", {"crypto_daily", "crypto_5m", "crypto_1m", "crypto_quotes"}),
    ],
)
def test_a_variable_of_its_own_overrides_its_capabilities_and_no_others(variable: str, capabilities: set[str]) -> None:
    before = Policies.build("paid")
    after = Policies.build("paid", {variable: "fred,yahoo"})
    assert {c.value for c in Capability if after.of(c) != before.of(c)} == capabilities
    assert {after.of(Capability(c)) for c in capabilities} == {("fred", "yfinance")}


def test_a_blank_override_is_none() -> None:
    assert Policies.build("paid", {"POLICY_EOD": "  "}) == Policies.build("paid")


@pytest.mark.parametrize("name", ["tiingo", "paid", "fmpp"])
def test_an_unknown_vendor_is_refused_with_the_variable_the_name_and_the_known_ones(name: str) -> None:
    with pytest.raises(ValueError, match=f"^POLICY_CRYPTO: '{name}' is no vendor; known are {', '.join(VENDORS)}$"):
        Policies.build("paid", {"POLICY_CRYPTO": f"binance, {name}"})
    with pytest.raises(ValueError, match=f"^MARKET_PROVIDER_POLICY: '{name}' is no vendor; known are fmp, "):
        Policies.build(f"{name},fmp")


@pytest.mark.parametrize("name", ["iex", "IEX Cloud", "iexcloud"])
def test_one_that_closed_is_refused_with_what_takes_its_place(name: str) -> None:
    says = (
        f"^POLICY_QUOTES_L1: '{name}' is no vendor any more: IEX Cloud closed .* finnhub or twelve_data .*; known are "
    )
    with pytest.raises(ValueError, match=says):
        Policies.build("paid", {"POLICY_QUOTES_L1": f"yahoo, {name}"})


def test_a_list_that_names_nobody_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^MARKET_PROVIDER_POLICY: ' , ' names no vendor; known are fmp, "):
        Policies.build(" , ")


def test_a_variable_that_sets_no_policy_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^POLICY_EODD sets no policy; known are POLICY_EOD, "):
        Policies.build("paid", {"POLICY_EODD": "fmp"})
