"""The kinds of values that settings of vendors take, and what each accepts."""

from __future__ import annotations

import re
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, SecretStr

UNLIMITED = "unlimited"
LEAST_ADMIN_KEY = 16
_LIMIT = re.compile(r"([1-9]\d*)/(s|min|day)")


def _key(value: SecretStr) -> SecretStr:
    text = value.get_secret_value().strip()
    # Whatever else it is, it would be refused by the HTTP client, whose message shows it.
    if not (text.isascii() and text.isprintable()) or " " in text:
        raise ValueError("a key is printable ASCII without blanks")
    return SecretStr(text)


def _base_url(value: str) -> str:
    # No message shows the value: whoever writes credentials into an address wrote a secret.
    try:
        parts = urlsplit(value.strip())
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise ValueError("this is no URL; write one such as https://proxy.example/path") from None
    if parts.scheme not in ("http", "https") or not host:
        raise ValueError("an address starts with http:// or https:// and names a host")
    if parts.username is not None or parts.password is not None:
        raise ValueError("an address holds no user and no password; keys have variables of their own")
    if parts.query or parts.fragment:
        raise ValueError("an address ends with its path; a query or fragment would be lost")
    return value.strip().rstrip("/?#")


def _budget(value: str) -> str:
    text = value.strip().lower()
    if text in ("none", UNLIMITED):
        return UNLIMITED
    units = []
    for part in text.split():
        match = _LIMIT.fullmatch(part)
        if match is None:
            raise ValueError(f"{part!r} is no limit; write them like '8/min 800/day' (units s, min, day), or 'none'")
        units.append(match[2])
    if not units:
        raise ValueError("no limit is named; write them like '8/min 800/day' (units s, min, day), or 'none'")
    if repeated := next((unit for unit in units if units.count(unit) > 1), None):
        raise ValueError(f"two limits per {repeated}; name one")
    return " ".join(text.split())


def admin_keys(value: str) -> dict[str, str]:
    """Return the keys that a list holds, by whose they are; one without a name is `admin 1`, after its place.

    Raises
    ------
    ValueError
        Says which entry is wrong, and keeps silent about the keys themselves.
    """
    keys: dict[str, str] = {}
    for number, part in enumerate(value.split(","), 1):
        name, colon, key = (text.strip() for text in part.partition(":"))
        if not colon:
            name, key = f"admin {number}", name
        elif not re.fullmatch(r"[A-Za-z0-9_.@-]{1,40}", name):
            raise ValueError(f"the name before the colon of entry {number} is not of letters, digits and _ . @ -")
        if not (key.isascii() and key.isprintable()) or " " in key or len(key) < LEAST_ADMIN_KEY:
            raise ValueError(
                f"the key of entry {number} is not printable ASCII of at least {LEAST_ADMIN_KEY} characters without"
                " blanks; `openssl rand -hex 24` makes one"
            )
        if name in keys:
            raise ValueError(f"two keys of {name}; a name tells who changed what, so each has one")
        keys[name] = key
    return keys


def _admin_keys(value: SecretStr) -> SecretStr:
    admin_keys(value.get_secret_value())
    return value


Key = Annotated[SecretStr, AfterValidator(_key)]
BaseUrl = Annotated[str, AfterValidator(_base_url)]
Budget = Annotated[str, AfterValidator(_budget)]
AdminKeys = Annotated[SecretStr, AfterValidator(_admin_keys)]
