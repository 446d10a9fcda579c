"""The vendors' settings: for each its key, its address and what may be asked of it; and which vendors there are."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from pydantic import AliasChoices, Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from quantmatrix_pipeline.settings.values import BaseUrl, Budget, Key

# Names that people also write, in policies and in variables.
ALIASES: Mapping[str, str] = MappingProxyType(
    {
        "yahoo": "yfinance",
        "massive": "polygon",
        "twelvedata": "twelve_data",
        "alphavantage": "alpha_vantage",
        "crypto_compare": "cryptocompare",
    }
)
# Whom policies of other systems still name.
_CLOSED: Mapping[str, str] = MappingProxyType(
    dict.fromkeys(
        ("iex", "iex_cloud", "iexcloud"),
        "IEX Cloud closed in August 2024; finnhub or twelve_data take its place for quotes, polygon for the whole "
        "market by date",
    )
)
_ASKED_WITHOUT_KEY = ("coingecko",)  # has keys, and answers without, at a lower rate


@dataclass(frozen=True, slots=True)
class VendorSettings:
    """What is set for one vendor.

    Attributes
    ----------
    name
        As in `VENDORS`.
    key
        None: not set, or there is none to set.
    base_url
        Without a slash at its end; None: what the vendor's library uses.
    budget
        Calls allowed, such as `8/min 800/day`, or `unlimited`.
    key_variable
        The variable that sets the key; None: the vendor has no keys.
    key_required
        Whether the vendor answers nobody without a key.
    """

    name: str
    key: SecretStr | None
    base_url: str | None
    budget: str
    key_variable: str | None
    key_required: bool

    @property
    def usable(self) -> bool:
        """Whether it can be asked at all."""
        return self.key is not None or not self.key_required


def _key_of(*names: str) -> Any:
    """Declare a key; each name is read with QM_ before it as well."""
    choices = [*names, *(f"QM_{name}" for name in names)]
    return Field(None, validation_alias=AliasChoices(*choices), description="the vendor's key; unset: it is skipped")


def _budget_of(limits: str, of: str) -> Any:
    return Field(limits, description=f"calls allowed, such as '8/min 800/day'; 'none': unlimited. Pre-set: {of}")


class VendorFields(BaseSettings):
    """The fields of each vendor: `<vendor>_api_key` where it has keys, `<vendor>_base_url`, `<vendor>_budget`."""

    model_config = SettingsConfigDict(env_prefix="QM_", extra="ignore", populate_by_name=True, frozen=True)

    fmp_api_key: Key | None = _key_of("FMP_API_KEY")
    fmp_base_url: BaseUrl = Field("https://financialmodelingprep.com/stable", description="FMP's address")
    fmp_budget: Budget = _budget_of("250/day", "the free plan")

    twelve_data_api_key: Key | None = _key_of("TWELVE_DATA_API_KEY", "TWELVEDATA_API_KEY")
    twelve_data_base_url: BaseUrl = Field("https://api.twelvedata.com", description="Twelve Data's address")
    twelve_data_budget: Budget = _budget_of("8/min 800/day", "the free plan's credits, one per symbol")

    finnhub_api_key: Key | None = _key_of("FINNHUB_API_KEY")
    finnhub_base_url: BaseUrl = Field("https://finnhub.io/api/v1", description="Finnhub's address")
    finnhub_budget: Budget = _budget_of("30/s 60/min", "the free plan")

    alpha_vantage_api_key: Key | None = _key_of("ALPHA_VANTAGE_API_KEY", "ALPHAVANTAGE_API_KEY")
    alpha_vantage_base_url: BaseUrl = Field("https://www.alphavantage.co", description="Alpha Vantage's address")
    alpha_vantage_budget: Budget = _budget_of("1/s 25/day", "the free plan")

    polygon_api_key: Key | None = _key_of("POLYGON_API_KEY", "MASSIVE_API_KEY")
    polygon_base_url: BaseUrl = Field("https://api.massive.com", description="Polygon's (Massive's) address")
    polygon_budget: Budget = _budget_of("5/min", "the free plan")
    polygon_history_days: int = Field(
        730, ge=0, description="how many calendar days back the plan has history; 0: no limit"
    )

    # Yahoo is reached through yfinance, which the vendor is called after.
    yahoo_base_url: BaseUrl | None = Field(None, description="send Yahoo's calls through this address instead")
    yahoo_budget: Budget = Field(
        "120/min",
        validation_alias=AliasChoices("QM_YAHOO_BUDGET", "QM_YFINANCE_BUDGET"),
        description="calls allowed; 'none': unlimited. Pre-set: our own politeness, Yahoo publishes no limit",
    )

    binance_base_url: BaseUrl = Field("https://data-api.binance.vision", description="Binance's address")
    binance_budget: Budget = _budget_of("6000/min", "the public limit, in Binance's weights")

    coingecko_api_key: Key | None = _key_of("COINGECKO_API_KEY")
    coingecko_base_url: BaseUrl = Field("https://api.coingecko.com/api/v3", description="CoinGecko's address")
    coingecko_budget: Budget = _budget_of("30/min 320/day", "the demo plan, its 10,000 a month spread over the days")

    cryptocompare_api_key: Key | None = _key_of("CRYPTOCOMPARE_API_KEY")
    cryptocompare_base_url: BaseUrl = Field("https://min-api.cryptocompare.com", description="CryptoCompare's address")
    cryptocompare_budget: Budget = _budget_of("100/min", "a modest share of a paid plan, there is no free one")

    fred_api_key: Key | None = _key_of("FRED_API_KEY")
    fred_base_url: BaseUrl = Field("https://api.stlouisfed.org/fred", description="FRED's address")
    fred_budget: Budget = _budget_of("120/min", "the public limit")

    wikipedia_base_url: BaseUrl = Field("https://en.wikipedia.org", description="where index members are read")
    wikipedia_budget: Budget = _budget_of("30/min", "our own politeness")

    def vendor(self, name: str) -> VendorSettings:
        """Return what is set for a vendor of `VENDORS`.

        Raises
        ------
        KeyError
            If there is no such vendor.
        """
        prefix = _PREFIXES[name]
        key = f"{prefix}_api_key"
        return VendorSettings(
            name=name,
            key=getattr(self, key, None),
            base_url=getattr(self, f"{prefix}_base_url"),
            budget=getattr(self, f"{prefix}_budget"),
            key_variable=variables_of(VendorFields, key)[0] if key in VendorFields.model_fields else None,
            key_required=key in VendorFields.model_fields and name not in _ASKED_WITHOUT_KEY,
        )


def variables_of(model: type[BaseSettings], field: str) -> tuple[str, ...]:
    """Return the variables that set a field, best first."""
    alias = model.model_fields[field].validation_alias
    if isinstance(alias, AliasChoices):
        return tuple(str(choice) for choice in alias.choices)
    return (f"QM_{field.upper()}",)


# Vendor -> what its fields begin with, in the order in which they are declared.
_PREFIXES: Mapping[str, str] = MappingProxyType(
    {
        ALIASES.get(prefix, prefix): prefix
        for prefix in (field.removesuffix("_budget") for field in VendorFields.model_fields if "_budget" in field)
    }
)
VENDORS: tuple[str, ...] = tuple(_PREFIXES)


def vendor_names(text: str) -> tuple[str, ...]:
    """Return the vendors that a list names, in its order, each once.

    Names are separated by commas; case, blanks and hyphens don't matter (`Twelve Data`, `twelve-data`).

    Raises
    ------
    ValueError
        If one is not known, or none is named; says which are known.
    """
    known = f"known are {', '.join(VENDORS)}"
    found: dict[str, None] = {}
    for part in text.split(","):
        plain = re.sub(r"[\s-]+", "_", part.strip().lower())
        vendor = ALIASES.get(plain, plain)
        if vendor in _CLOSED:
            raise ValueError(f"{part.strip()!r} is no vendor any more: {_CLOSED[vendor]}; {known}")
        if vendor and vendor not in VENDORS:
            raise ValueError(f"{part.strip()!r} is no vendor; {known}")
        if vendor:
            found[vendor] = None
    if not found:
        raise ValueError(f"{text!r} names no vendor; {known}")
    return tuple(found)
