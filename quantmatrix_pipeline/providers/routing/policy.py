"""Which vendors may serve each capability, best first: from the names that users write to vendors.

`MARKET_PROVIDER_POLICY` (`paid`, `free` or a list of vendors) holds for bars and quotes of stocks and funds, which most
vendors have. What few have keeps an order of its own, whatever the general policy says: a vendor without its key, or
whose plan lacks it, is skipped anyway. A variable of its own, where it is set, overrides either.

    capability                variable              default
    ------------------------  --------------------  --------------------------------------------------------------------
    daily_bars                POLICY_EOD            the general policy
    bars_5m                   POLICY_BARS_5M        the general policy
    bars_1m                   POLICY_BARS_1M        the general policy
    quotes                    POLICY_QUOTES_L1      the general policy
    grouped_bars              POLICY_EOD_BULK       polygon (one call a session, in its free plan too), fmp (paid plans)
    options_chain             POLICY_OPTIONS_CHAIN  yfinance (no key), finnhub (paid plans)
    constituents              POLICY_CONSTITUENTS   fmp (paid plans, a feed), wikipedia (no key), finnhub (paid plans)
    crypto_daily, crypto_5m,  POLICY_CRYPTO         binance (whole candles, no key), coingecko, cryptocompare (paid
    crypto_1m, crypto_quotes                        plans), yfinance
    profile                   none                  fmp (sector and market cap), finnhub, yfinance, polygon (no sector)
    splits, dividends         none                  polygon, fmp, alpha_vantage, yfinance, finnhub, twelve_data: those
                                                    whose free plan has them first
    macro                     none                  fred
    listings                  none                  nobody: only files and the sample are finite
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from quantmatrix_pipeline.providers.contract import Capability
from quantmatrix_pipeline.settings import vendor_names

GENERAL = "MARKET_PROVIDER_POLICY"
DEFAULT_GENERAL = "free"
NAMED: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "paid": ("fmp", "polygon", "twelve_data", "yfinance"),
        "free": ("finnhub", "twelve_data", "alpha_vantage", "yfinance"),
    }
)
# Which variable overrides the order of which capabilities.
OVERRIDES: Mapping[str, tuple[Capability, ...]] = MappingProxyType(
    {
        "POLICY_EOD": (Capability.DAILY_BARS,),
        "POLICY_EOD_BULK": (Capability.GROUPED_BARS,),
        "POLICY_BARS_1M": (Capability.BARS_1M,),
        "POLICY_BARS_5M": (Capability.BARS_5M,),
        "POLICY_QUOTES_L1": (Capability.QUOTES,),
        "POLICY_OPTIONS_CHAIN": (Capability.OPTIONS_CHAIN,),
        "POLICY_CONSTITUENTS": (Capability.CONSTITUENTS,),
        "POLICY_CRYPTO": (
            Capability.CRYPTO_DAILY,
            Capability.CRYPTO_5M,
            Capability.CRYPTO_1M,
            Capability.CRYPTO_QUOTES,
        ),
    }
)
_BY_GENERAL = (Capability.DAILY_BARS, Capability.BARS_5M, Capability.BARS_1M, Capability.QUOTES)
_CRYPTO = ("binance", "coingecko", "cryptocompare", "yfinance")
_ACTIONS = ("polygon", "fmp", "alpha_vantage", "yfinance", "finnhub", "twelve_data")
_OF_THEIR_OWN: Mapping[Capability, tuple[str, ...]] = MappingProxyType(
    {
        Capability.GROUPED_BARS: ("polygon", "fmp"),
        Capability.OPTIONS_CHAIN: ("yfinance", "finnhub"),
        Capability.CONSTITUENTS: ("fmp", "wikipedia", "finnhub"),
        Capability.CRYPTO_DAILY: _CRYPTO,
        Capability.CRYPTO_5M: _CRYPTO,
        Capability.CRYPTO_1M: _CRYPTO,
        Capability.CRYPTO_QUOTES: _CRYPTO,
        Capability.PROFILE: ("fmp", "finnhub", "yfinance", "polygon"),
        Capability.SPLITS: _ACTIONS,
        Capability.DIVIDENDS: _ACTIONS,
        Capability.MACRO: ("fred",),
        Capability.LISTINGS: (),
    }
)


@dataclass(frozen=True, slots=True)
class Policies:
    """The vendors of each capability, best first; every capability is there."""

    orders: Mapping[Capability, tuple[str, ...]]

    @classmethod
    def build(cls, general: str = DEFAULT_GENERAL, overrides: Mapping[str, str | None] | None = None) -> Policies:
        """Return the policies that the settings' values stand for.

        Parameters
        ----------
        general
            The value of `MARKET_PROVIDER_POLICY`: `paid`, `free`, or vendors separated by commas.
        overrides
            Variable of `OVERRIDES` -> vendors separated by commas; None or a blank text: not set.

        Raises
        ------
        ValueError
            A vendor that is not known, names the variable, the name and the known ones; a list that names nobody; or a
            variable that is none of `OVERRIDES`.
        """
        by_default = NAMED.get(general.strip().lower()) or _vendors(GENERAL, general)
        orders = dict(_OF_THEIR_OWN) | dict.fromkeys(_BY_GENERAL, by_default)
        for variable, text in (overrides or {}).items():
            if variable not in OVERRIDES:
                raise ValueError(f"{variable} sets no policy; known are {', '.join(OVERRIDES)}")
            if text is not None and text.strip():
                orders |= dict.fromkeys(OVERRIDES[variable], _vendors(variable, text))
        return cls(MappingProxyType(orders))

    @classmethod
    def only(cls, vendors: Sequence[str]) -> Policies:
        """Return policies that name these vendors, in this order, for everything."""
        return cls(MappingProxyType(dict.fromkeys(Capability, tuple(vendors))))

    def of(self, capability: Capability) -> tuple[str, ...]:
        """Return who may serve a capability, best first."""
        return self.orders[capability]


def _vendors(variable: str, text: str) -> tuple[str, ...]:
    try:
        return vendor_names(text)
    except ValueError as error:
        raise ValueError(f"{variable}: {error}") from None
