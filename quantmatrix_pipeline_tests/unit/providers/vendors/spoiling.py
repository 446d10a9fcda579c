"""Answers with something wrong in them, everywhere: what a client of any vendor must survive."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

STRANGE: tuple[Any, ...] = (
    *(None, "", "abc", "inf", "nan", "-inf", "1e400", "2023-13-45", "9999-12-31", "0001-01-01", "\0", "\u00e9" * 50),
    *(0, -1, 0.1, 1e-300, 1e308, 10**18, 10**25, -(10**25), True, [], {}, [[]]),
)


def spoiled(body: Any) -> Iterator[bytes]:
    """Yield a JSON body with each of its places replaced by each strange value, cut off, and as no JSON at all."""
    for place in _places(body, ()):
        for value in STRANGE:
            yield json.dumps(_put(body, place, value)).encode()
    whole = json.dumps(body).encode()
    yield from (whole[:end] for end in range(0, len(whole), 7))
    yield from (b"\xef\xbb\xbf" + whole, whole.replace(b"1", b"\xff", 1), whole.replace(b"1", b"NaN", 1))
    yield from (b"<html><body>maintenance</body></html>", b"[" * 100_000, b"null", b"1")


def _places(value: Any, place: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
    yield place
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield from _places(value[key], (*place, key))


def _put(body: Any, place: tuple[Any, ...], value: Any) -> Any:
    if not place:
        return value
    body = copy.deepcopy(body)
    holder = body
    for key in place[:-1]:
        holder = holder[key]
    holder[place[-1]] = value
    return body
