"""Numbers out of text that surrounds or divides them: currency signs, separators, footnote marks, units.

Only whole digits are read: what may have been another digit ("1O5"), a word, or two numbers in one cell stay unread.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Mapping

_MARKS = r"\"'`*†‡§?~#"
_BEFORE = r"(?:[A-Z]{3}\s*|(?:US)?[$€£¥]\s*)?"
_BEHIND = r"(?:\s*(?:[A-Z]{3}|[$€£¥]|[a-e]|\([a-z0-9]\)|\[[0-9a-z]\]))?"
_AFFIX = re.compile(rf"^{_BEFORE}(?P<number>[-+]?[0-9][0-9.,' ]*|[-+]?[.,][0-9]+){_BEHIND}$")
_GROUPED = re.compile(r"^[-+]?[0-9]{1,3}(?:([,' .])[0-9]{3})(?:\1[0-9]{3})*(?:[.,][0-9]+)?$")
_PLAIN = re.compile(r"^[-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]{1,3})?$")


def read_number(text: str) -> float | None:
    """Return the number that a cell's text holds, None where its digits are not whole and beyond doubt.

    A single comma before other than three digits is a decimal one; before three digits ("1,234") it is read as a
    thousands separator, which the neighbours must then confirm.
    """
    clean = "".join(" " if unicodedata.category(c) in ("Zs", "Cc", "Cf") else c for c in text).replace("\u2212", "-")
    clean = clean.strip().strip(_MARKS).strip()
    if _PLAIN.match(clean):
        return _finite(clean)
    match = _AFFIX.match(clean)
    if match is None:
        return None
    number = match["number"].strip()
    if _PLAIN.match(number):
        return _finite(number)
    grouped = _GROUPED.match(number)
    if grouped is not None:
        separator = grouped[1]
        rest = number.replace(separator, "")
        return _finite(rest.replace(",", "."))
    if number.count(",") == 1 and "." not in number and " " not in number and "'" not in number:
        return _finite(number.replace(",", "."))
    return None


def _finite(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def read_bar(payload: Mapping[str, object]) -> tuple[float | None, ...] | None:
    """Return open, high, low, close, volume out of the cells of an unreadable row, None where a name is missing.

    The names may be written in any case; a cell that cannot be read is None in its place.
    """
    cells = {str(name).strip().lower(): value for name, value in payload.items()}
    names = ("open", "high", "low", "close", "volume")
    if not all(name in cells for name in names):
        return None
    return tuple(_number(cells[name]) for name in names)


def _number(value: object) -> float | None:
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, int | float):
        return float(value) if math.isfinite(value) else None
    return read_number(str(value))
