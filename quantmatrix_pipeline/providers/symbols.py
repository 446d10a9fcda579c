"""How a symbol is written: one canonical form here, one dialect per vendor.

Canonical symbols are upper case and name a share class with a dot (`BRK.B`), an index with a caret (`^GSPC`), a coin
with the currency that it is priced in (`BTC-USD`). A vendor's dialect is a pair of functions; a symbol that does not
come back from the round trip unchanged would silently name another instrument, so it is refused.

    vendor          BRK.B      BTC-USD     ^GSPC      else
    --------------  ---------  ----------  ---------  ------------------------------------------------------------------
    fmp             BRK-B      refused     ^GSPC
    twelve_data     BRK.B      BTC/USD     refused    writes SPX, which could be a share as well
    finnhub         BRK.B      refused     refused
    alpha_vantage   BRK-B      refused     refused
    polygon         BRK.B      X:BTCUSD    I:GSPC     coins in ordinary money only; its S&P 500 is I:SPX, so ^SPX
    yfinance        BRK-B      BTC-USD     ^GSPC
    binance         refused    BTCUSDT     refused    US dollars are quoted in the stable coin USDT there, which may
                                                      stand some hundredths of a percent beside the dollar
    coingecko       refused    bitcoin     refused    the coins of `_COINGECKO`, in US dollars only
    cryptocompare   refused    BTC-USD     refused
    fred, others    as it is   as it is    as it is
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from quantmatrix_pipeline.errors import UnsupportedRequest

_CANONICAL = re.compile(r"\^?[A-Z0-9][A-Z0-9.&=-]{0,30}")
_CLASS_SHARE = re.compile(r"([A-Z0-9]+)[-/ .]([A-Z])")
_MONEY = ("USD", "EUR", "GBP", "JPY", "CHF", "AUD", "CAD", "KRW", "BRL", "TRY")
_STABLE = ("USDT", "USDC", "FDUSD", "DAI")
_QUOTES = frozenset(_MONEY + _STABLE)


def canonical(text: str) -> str | None:
    """Return the canonical form of a symbol as people and files write it, None where it can't be a symbol.

    `brk-b`, `BRK/B` and `BRK B` are all `BRK.B`: a single letter after a separator is a share class. Longer suffixes
    (`BTC-USD`) and index carets (`^GSPC`) stay as they are.
    """
    name = text.strip().upper()
    share = _CLASS_SHARE.fullmatch(name)
    if share:
        return f"{share[1]}.{share[2]}"
    return name if _CANONICAL.fullmatch(name) else None


def is_crypto(symbol: str) -> bool:
    """Say whether a canonical symbol is a coin priced in ordinary money or a stable coin, such as `BTC-USD`."""
    base, dash, quote = symbol.partition("-")
    return bool(dash) and quote in _QUOTES and base.isalnum()


@dataclass(frozen=True, slots=True)
class Dialect:
    """How one vendor writes symbols; `to` and `back` are pure and meant to be inverse on what the vendor serves.

    Either returns None for what the vendor has no symbol for; `serves` says what it has, for a message.
    """

    to: Callable[[str], str | None]
    back: Callable[[str], str | None]
    serves: str = "shares, funds, indices and coins"


def _same(symbol: str) -> str:
    return symbol


def _dash(symbol: str) -> str:
    return re.sub(r"\.([A-Z])$", r"-\1", symbol)


def _undash(symbol: str) -> str:
    return re.sub(r"-([A-Z])$", r".\1", symbol)


def _share(symbol: str) -> bool:
    return not symbol.startswith("^") and "=" not in symbol and not is_crypto(symbol)


def _dotted_share(symbol: str) -> str | None:
    return symbol if _share(symbol) else None


def _dashed_share(symbol: str) -> str | None:
    return _dash(symbol) if _share(symbol) else None


def _dashed_share_or_index(symbol: str) -> str | None:
    return _dash(symbol) if _share(symbol.removeprefix("^")) else None


def _to_twelve_data(symbol: str) -> str | None:
    return symbol.replace("-", "/") if is_crypto(symbol) else _dotted_share(symbol)


def _from_twelve_data(theirs: str) -> str:
    return theirs.replace("/", "-")


def _to_polygon(symbol: str) -> str | None:
    if symbol.startswith("^"):
        return f"I:{symbol[1:]}"
    if is_crypto(symbol):
        base, quote = symbol.split("-")
        return f"X:{base}{quote}" if quote in _MONEY else None
    return _dotted_share(symbol)


def _from_polygon(theirs: str) -> str | None:
    kind, colon, rest = theirs.partition(":")
    if not colon:
        return theirs
    if kind == "I":
        return f"^{rest}"
    return _pair(rest, _MONEY) if kind == "X" else None


_DOLLAR_THERE = "USDT"  # what Binance quotes in where we say USD
_BINANCE = (*(money for money in _MONEY if money != "USD"), *(coin for coin in _STABLE if coin != _DOLLAR_THERE))


def _to_binance(symbol: str) -> str | None:
    if not is_crypto(symbol):
        return None
    base, quote = symbol.split("-")
    return base + (_DOLLAR_THERE if quote == "USD" else quote)


def _from_binance(theirs: str) -> str | None:
    if theirs.endswith(_DOLLAR_THERE):
        return f"{theirs.removesuffix(_DOLLAR_THERE)}-USD"
    return _pair(theirs, _BINANCE)


def _pair(text: str, quotes: tuple[str, ...]) -> str | None:
    """Return BASE-QUOTE of what is written without a separator; the longest quote wins."""
    for quote in sorted(quotes, key=len, reverse=True):
        if text.endswith(quote) and len(text) > len(quote):
            return f"{text.removesuffix(quote)}-{quote}"
    return None


# The largest coins; many share a ticker with a small one, so an id can't be looked up by ticker.
_COINGECKO: Mapping[str, str] = MappingProxyType(
    {
        "AAVE": "aave",
        "ADA": "cardano",
        "ALGO": "algorand",
        "APT": "aptos",
        "ARB": "arbitrum",
        "ATOM": "cosmos",
        "AVAX": "avalanche-2",
        "BCH": "bitcoin-cash",
        "BNB": "binancecoin",
        "BTC": "bitcoin",
        "CRO": "crypto-com-chain",
        "DAI": "dai",
        "DOGE": "dogecoin",
        "DOT": "polkadot",
        "ETC": "ethereum-classic",
        "ETH": "ethereum",
        "FIL": "filecoin",
        "HBAR": "hedera-hashgraph",
        "HYPE": "hyperliquid",
        "ICP": "internet-computer",
        "LEO": "leo-token",
        "LINK": "chainlink",
        "LTC": "litecoin",
        "NEAR": "near",
        "OP": "optimism",
        "PEPE": "pepe",
        "SHIB": "shiba-inu",
        "SOL": "solana",
        "SUI": "sui",
        "TON": "the-open-network",
        "TRX": "tron",
        "UNI": "uniswap",
        "USDC": "usd-coin",
        "USDT": "tether",
        "VET": "vechain",
        "XLM": "stellar",
        "XMR": "monero",
        "XRP": "ripple",
        "ZEC": "zcash",
    }
)
_COINGECKO_BACK: Mapping[str, str] = MappingProxyType({coin: base for base, coin in _COINGECKO.items()})


def _to_coingecko(symbol: str) -> str | None:
    return _COINGECKO.get(symbol.removesuffix("-USD")) if symbol.endswith("-USD") else None


def _from_coingecko(theirs: str) -> str | None:
    base = _COINGECKO_BACK.get(theirs)
    return f"{base}-USD" if base else None


def _coin(symbol: str) -> str | None:
    return symbol if is_crypto(symbol) else None


IDENTITY = Dialect(_same, _same)
DIALECTS: Mapping[str, Dialect] = MappingProxyType(
    {
        "files": IDENTITY,
        "sample": IDENTITY,
        "wikipedia": IDENTITY,
        "fred": IDENTITY,  # series, such as DGS10
        "fmp": Dialect(_dashed_share_or_index, _undash, "shares, funds and indices"),
        "twelve_data": Dialect(_to_twelve_data, _from_twelve_data, "shares, funds and coins"),
        "finnhub": Dialect(_dotted_share, _same, "shares and funds"),
        "alpha_vantage": Dialect(_dashed_share, _undash, "shares and funds"),
        "polygon": Dialect(_to_polygon, _from_polygon, "shares, funds, indices, and coins in ordinary money"),
        "yfinance": Dialect(_dash, _undash),
        "binance": Dialect(_to_binance, _from_binance, "coins, those in US dollars as pairs with USDT"),
        "coingecko": Dialect(_to_coingecko, _from_coingecko, "the largest coins in US dollars"),
        "cryptocompare": Dialect(_coin, _coin, "coins"),
    }
)


def to_vendor(vendor: str, symbol: str) -> str:
    """Return `symbol` as `vendor` writes it.

    Raises
    ------
    UnsupportedRequest
        If the symbol is not canonical, the vendor has none for it, or the vendor's form of it reads back as another.
    """
    dialect = DIALECTS[vendor]
    if canonical(symbol) != symbol:
        raise UnsupportedRequest(vendor, f"{symbol!r} is not a canonical symbol such as AAPL or BRK.B", symbol=symbol)
    theirs = dialect.to(symbol)
    if theirs is None:
        raise UnsupportedRequest(vendor, f"is only asked for {dialect.serves}", symbol=symbol)
    back = dialect.back(theirs)
    if back != symbol:
        raise UnsupportedRequest(vendor, f"written {theirs!r} there, which reads back as {back!r}", symbol=symbol)
    return theirs


def from_vendor(vendor: str, theirs: str) -> str:
    """Return the canonical form of a symbol that `vendor` wrote.

    Raises
    ------
    UnsupportedRequest
        If it has no canonical form, or that form would be written differently when asking the vendor for it.
    """
    dialect = DIALECTS[vendor]
    symbol = dialect.back(theirs)
    if symbol is None or canonical(symbol) != symbol or dialect.to(symbol) != theirs:
        raise UnsupportedRequest(vendor, f"the vendor's symbol {theirs!r} has no canonical form that leads back to it")
    return symbol
