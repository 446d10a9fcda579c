"""What a backup says of itself."""

from __future__ import annotations

from datetime import datetime

import msgspec

from quantmatrix_pipeline.errors import BackupError
from quantmatrix_pipeline.warehouse.contents import Contents

FORMAT = 1


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """One dumped database: its file with size in bytes and SHA-256, and what the tables held in the dump's snapshot."""

    name: str
    file: str
    schema: str
    bytes: int
    sha256: str
    tables: dict[str, Contents]

    @property
    def rows(self) -> int:
        return sum(table.rows for table in self.tables.values())


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """A complete backup: when it was begun (UTC), of which release and server, its parts."""

    format: int = FORMAT
    taken_at: datetime
    release: str
    server: str
    parts: tuple[Part, ...]

    @property
    def bytes(self) -> int:
        return sum(part.bytes for part in self.parts)

    @property
    def rows(self) -> int:
        return sum(part.rows for part in self.parts)

    def part(self, name: str) -> Part:
        """Return a part.

        Raises
        ------
        BackupError
            The backup has no such part; names those it has.
        """
        for part in self.parts:
            if part.name == name:
                return part
        raise BackupError(f"this backup has no part {name!r}; it has {', '.join(part.name for part in self.parts)}")


class Verification(msgspec.Struct, frozen=True, kw_only=True):
    """What a `verify` found: when (UTC), one line per fault; none means that all of it came back as it was."""

    at: datetime
    faults: tuple[str, ...]


def encode(what: Manifest | Verification) -> bytes:
    """Return it as indented JSON, for people to read as well."""
    return msgspec.json.format(msgspec.json.encode(what), indent=1) + b"\n"


def manifest_of(text: bytes) -> Manifest | None:
    """Return what a manifest's file says, None where it is no whole one.

    Raises
    ------
    BackupError
        It was written by a release that came after this one.
    """
    try:
        manifest = msgspec.json.decode(text, type=Manifest)
    except msgspec.DecodeError:
        return None
    if manifest.format > FORMAT:
        raise BackupError(
            f"a backup of format {manifest.format}, taken by release {manifest.release}; this release reads "
            f"{FORMAT}: install that one to read it"
        )
    return manifest


def verification_of(text: bytes) -> Verification | None:
    """Return what a verification's file says, None where it is no whole one."""
    try:
        return msgspec.json.decode(text, type=Verification)
    except msgspec.DecodeError:
        return None
