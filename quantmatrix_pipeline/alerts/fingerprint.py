"""What makes two failures one cause: the text of the cause without what differs from symbol to symbol."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable

_ID = re.compile(r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b")
# A word in capitals with a share class at most; QM_FILES_DIR and FMP_API_KEY are none, since they tell causes apart.
_SYMBOL = re.compile(r"(?<![\w.])[A-Z][A-Z0-9]{0,6}(?:[.-][A-Z]{1,2})?(?![\w])")
_NUMBER = re.compile(r"\d+")
_LIST = re.compile(r"'?<symbol>'?(?:(?:, | and | or )'?<symbol>'?)*(?:, (?:\.\.\.|…))?")


def fingerprint(cause: str, symbols: Iterable[str] = ()) -> str:
    """Return 16 hexadecimal digits that are the same for one cause, whichever symbols, days and numbers it names.

    Parameters
    ----------
    cause
        One line, such as `fmp: no key; AAPL was not asked`.
    symbols
        Symbols that are replaced however they are written.
    """
    return hashlib.sha256(_common(cause, symbols).encode()).hexdigest()[:16]


def _common(cause: str, symbols: Iterable[str]) -> str:
    text = " ".join(cause.split())
    for symbol in sorted(symbols, key=len, reverse=True):
        text = re.sub(rf"(?<!\w){re.escape(symbol)}(?!\w)", "<symbol>", text)
    text = _SYMBOL.sub("<symbol>", _ID.sub("<id>", text))
    return _NUMBER.sub("#", _LIST.sub("<symbol>", text))
