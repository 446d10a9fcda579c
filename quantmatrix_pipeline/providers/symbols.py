"""How a symbol is written: one canonical form here, one dialect per vendor.

Canonical symbols are upper case and name a share class with a dot (`BRK.B`). A vendor's dialect is a pair of functions;
a symbol that does not come back from the round trip unchanged would silently name another instrument, so it is refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from quantmatrix_pipeline.errors import UnsupportedRequest

_CANONICAL = re.compile(r"\^?[A-Z0-9][A-Z0-9.&=-]{0,30}")
_CLASS_SHARE = re.compile(r"([A-Z0-9]+)[-/ .]([A-Z])")


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


@dataclass(frozen=True, slots=True)
class Dialect:
    """How one vendor writes symbols; `to` and `back` are pure and meant to be inverse on what the vendor serves."""

    to: Callable[[str], str]
    back: Callable[[str], str]


def _same(symbol: str) -> str:
    return symbol


def _dash(symbol: str) -> str:
    return re.sub(r"\.([A-Z])$", r"-\1", symbol)


def _undash(symbol: str) -> str:
    return re.sub(r"-([A-Z])$", r".\1", symbol)


IDENTITY = Dialect(_same, _same)
DIALECTS: Mapping[str, Dialect] = MappingProxyType(
    {
        "files": IDENTITY,
        "sample": IDENTITY,
        "wikipedia": IDENTITY,
        "yfinance": Dialect(_dash, _undash),  # BRK-B
    }
)


def to_vendor(vendor: str, symbol: str) -> str:
    """Return `symbol` as `vendor` writes it.

    Raises
    ------
    UnsupportedRequest
        If the symbol is not canonical, or the vendor's form of it reads back as another symbol.
    """
    dialect = DIALECTS[vendor]
    if canonical(symbol) != symbol:
        raise UnsupportedRequest(vendor, f"{symbol!r} is not a canonical symbol such as AAPL or BRK.B", symbol=symbol)
    theirs = dialect.to(symbol)
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
    if canonical(symbol) != symbol or dialect.to(symbol) != theirs:
        raise UnsupportedRequest(vendor, f"the vendor's symbol {theirs!r} has no canonical form that leads back to it")
    return symbol
