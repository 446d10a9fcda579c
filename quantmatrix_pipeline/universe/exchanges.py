"""Exchanges under one name, whatever a vendor calls them: its MIC, its legal name or a short form."""

from __future__ import annotations

# The United States' exchanges as the vendors of profiles write them, without regard to case.
_SPELLINGS = {
    "NASDAQ": (
        "NASDAQ",
        "XNAS",
        "NASDAQGS",
        "NASDAQGM",
        "NASDAQCM",
        "NMS",
        "NGM",
        "NCM",
        "NASDAQ GLOBAL SELECT",
        "NASDAQ GLOBAL MARKET",
        "NASDAQ CAPITAL MARKET",
        "NASDAQ NMS - GLOBAL MARKET",
    ),
    "NYSE": (
        "NYSE",
        "XNYS",
        "NYQ",
        "NEW YORK STOCK EXCHANGE",
        "NEW YORK STOCK EXCHANGE, INC.",
        "NEW YORK STOCK EXCHANGE INC.",
    ),
    "NYSE American": (
        "NYSE AMERICAN",
        "XASE",
        "ASE",
        "NYSE MKT",
        "NYSE MKT LLC",
        "NYSEAMERICAN",
        "AMERICAN STOCK EXCHANGE",
    ),
    "NYSE Arca": ("NYSE ARCA", "ARCX", "PCX", "NYSEARCA", "NEW YORK STOCK EXCHANGE ARCA"),
    "Cboe": ("CBOE", "BATS", "BTS", "CBOE US", "CBOE BZX", "BATS GLOBAL MARKETS"),
}
_NAMES = {spelling: name for name, spellings in _SPELLINGS.items() for spelling in spellings}


def exchange_name(said: str) -> str:
    """Return the common name of an exchange, or what was said where it is none that we know by another name.

    AMEX stays as it is: a vendor says it of what is listed on NYSE American and on NYSE Arca alike.
    """
    return _NAMES.get(said.upper(), said)
