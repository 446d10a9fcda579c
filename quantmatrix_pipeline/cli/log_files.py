"""The log files of what runs unattended: where they are, how large they may become, what of them is not shown."""

from __future__ import annotations

import contextlib
import re
import shutil
import time
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from pydantic import SecretStr

from quantmatrix_pipeline.errors import WarehouseError
from quantmatrix_pipeline.settings import Settings
from quantmatrix_pipeline.settings.alerts import channel_names, is_address, routes
from quantmatrix_pipeline.settings.values import admin_keys
from quantmatrix_pipeline.warehouse.embedded import ROLES, SUPERUSER
from quantmatrix_pipeline.warehouse.locate import embedded

SERVERS = ("api", "code", "ui", "daemon")  # what `qm up` starts
LARGEST_BYTES = 10_000_000
KEPT = 5
POLL_SECONDS = 0.3
SHORTEST_SECRET = 6  # a shorter one would also be found in what is none
SHORTEST_TOKEN = 16  # a shorter part of a webhook's path is hidden with the whole path only
_LIKE_SECRET = re.compile("pass|pwd|token|key|secret|sig|auth", re.IGNORECASE)


def folder(settings: Settings) -> Path:
    """Return where `qm up` writes the logs of its servers."""
    return settings.data_dir.resolve() / "logs"


def log_files(settings: Settings) -> dict[str, Path]:
    """Return name -> file, which need not be there yet; the embedded database's is the newest of its week."""
    found = {name: folder(settings) / f"{name}.log" for name in SERVERS}
    if settings.database_url is None:
        of_the_week = list(embedded(settings).log.glob("postgresql-*.log"))
        if of_the_week:
            found["database"] = max(of_the_week, key=lambda path: path.stat().st_mtime)
    return found


def rotate(file: Path, *, largest: int = LARGEST_BYTES, kept: int = KEPT) -> bool:
    """Move a log that has become too large to `file.1`, what was there to `file.2`, ...; say whether it was.

    Whoever writes it has it open for appending and goes on at its new end. What is written between the copy and the
    cut, a matter of milliseconds, is lost.
    """
    if not file.exists() or file.stat().st_size <= largest:
        return False
    numbered = [file.with_name(f"{file.name}.{number}") for number in range(1, kept + 1)]
    for older, newer in zip(reversed(numbered), reversed(numbered[:-1]), strict=False):
        if newer.exists():
            newer.replace(older)
    shutil.copyfile(file, numbered[0])
    with file.open("r+b") as opened:
        opened.truncate(0)
    return True


def last_lines(file: Path, count: int) -> list[str]:
    """Return the last lines of a log."""
    with file.open(encoding="utf-8", errors="replace") as opened:
        return [line.rstrip("\n") for line in deque(opened, maxlen=count)]


def follow(file: Path) -> Iterator[str]:
    """Yield the lines that are written from now on, without end; a rotation is followed, too."""
    with file.open(encoding="utf-8", errors="replace") as opened:
        opened.seek(0, 2)
        rest = ""
        while True:
            piece = opened.readline()
            if piece:
                rest += piece
                if rest.endswith("\n"):
                    yield rest.rstrip("\n")
                    rest = ""
                continue
            if file.exists() and file.stat().st_size < opened.tell():
                opened.seek(0)
            time.sleep(POLL_SECONDS)


def secrets(settings: Settings) -> tuple[str, ...]:
    """Return what no log may show, longest first: each key and address of the settings, and the passwords in them."""
    found = {secret for name, value in settings if isinstance(value, SecretStr) for secret in _each(name, value)}
    found |= {secret for address in found for secret in _in_address(address)}
    if settings.database_url is None:
        # None where none was made yet, or it is not ours to read.
        with contextlib.suppress(WarehouseError):
            found |= {str(urlsplit(embedded(settings).url(role=role)).password) for role in (SUPERUSER, *ROLES)}
    found |= {unquote(secret) for secret in found}
    return tuple(sorted((secret for secret in found if len(secret) >= SHORTEST_SECRET), key=len, reverse=True))


def redacted(line: str, hidden: tuple[str, ...]) -> str:
    """Return a line with each secret replaced by `***`."""
    for secret in hidden:
        line = line.replace(secret, "***")
    return line


def _each(field: str, value: SecretStr) -> Iterable[str]:
    """Return the secrets of a setting one by one; names of people, of owners and of channels are none."""
    text = value.get_secret_value()
    if field == "admin_api_keys":
        return admin_keys(text).values()
    if field == "alert_routes":
        return [name for names in routes(text).values() for name in names if is_address(name)]
    if field in ("alert_channels", "digest_channels"):
        return [name for name in channel_names(text) if is_address(name)]
    return [text]


def _in_address(text: str) -> list[str]:
    """Return what of an address lets in whoever knows it: the password, a webhook's path, keys of a query."""
    try:
        address = urlsplit(text)
        password, port = address.password, address.port
    except ValueError:
        return []  # a key that looks like half an address
    if not address.netloc:
        return []
    found = [value for name, value in parse_qsl(address.query) if _LIKE_SECRET.search(name)]
    if address.scheme.endswith(("http", "https")):
        path = address.path + (f"?{address.query}" if address.query else "")
        found += [path, *(part for part in address.path.split("/") if len(part) >= SHORTEST_TOKEN)]
    if password:
        # With the host beside it even a password of three letters is told from a word.
        found += [address.netloc.removesuffix(f":{port}"), password, quote(unquote(password), safe="")]
    return found
