"""Prove a backup: its files are those that were written, and a database restored from them holds what was dumped."""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from quantmatrix_pipeline import clock
from quantmatrix_pipeline.backups.create import LOCK
from quantmatrix_pipeline.backups.manifest import Manifest, Part, Verification
from quantmatrix_pipeline.backups.store import NEWEST, Store, sha256_of
from quantmatrix_pipeline.errors import BackupError
from quantmatrix_pipeline.settings import Settings
from quantmatrix_pipeline.warehouse.contents import snapshot
from quantmatrix_pipeline.warehouse.engine import Warehouse
from quantmatrix_pipeline.warehouse.locate import Kept, kept, locate
from quantmatrix_pipeline.warehouse.restore import restore, scratch


@dataclass(frozen=True, slots=True)
class Verified:
    """What came of restoring a backup into a scratch database; no faults: it came back as it was."""

    name: str
    manifest: Manifest
    faults: tuple[str, ...]
    seconds: float


def verify(settings: Settings, name: str = NEWEST) -> Verified:
    """Restore a backup into scratch databases, which are dropped again, and compare each table's rows and hash.

    What was found is kept beside the backup, for `list`.

    Raises
    ------
    NoSuchBackup
        There is no complete one of that name.
    BackupError
        There may be no scratch database here.
    ChainBusy
        A backup, or another verification, is under way.
    WarehouseError
        The database server does not answer.
    """
    store = Store.of(settings)
    name, manifest = store.complete(name)
    began = time.monotonic()
    databases = {database.name: database for database in kept(settings)}
    warehouse = Warehouse(locate(settings).owner)
    try:
        with warehouse.exclusive(LOCK, 0), tempfile.TemporaryDirectory(prefix="qm-verify-") as folder:
            faults: list[str] = []
            for part in manifest.parts:
                with store.local(name, part.file, Path(folder)) as archive:
                    faults += _faults(part, archive, databases[part.name])
    finally:
        warehouse.close()
    store.note(name, Verification(at=datetime.fromtimestamp(clock.wall(), UTC), faults=tuple(faults)))
    return Verified(name, manifest, tuple(faults), time.monotonic() - began)


def require_whole(part: Part, archive: Path) -> None:
    """Refuse a file that is not the one that was written.

    Raises
    ------
    BackupError
        Its SHA-256 is another.
    """
    found = sha256_of(archive)
    if found != part.sha256:
        raise BackupError(
            f"{part.file} is damaged: its SHA-256 is {found[:16]}... and was {part.sha256[:16]}... when it was written"
        )


def _faults(part: Part, archive: Path, database: Kept) -> list[str]:
    with scratch(database.url, database.administrator) as url:
        try:
            require_whole(part, archive)
            restore(url, archive, part.schema)
        except BackupError as error:
            return [f"{part.name}: {error}"]
        return differences(part, url)


def differences(part: Part, url: str) -> list[str]:
    """Return a line per table that does not hold in the database at `url` what it held when it was dumped."""
    with snapshot(url) as state:
        found = state.contents(part.schema)
    lines = []
    for table in sorted(part.tables.keys() | found.keys()):
        before, after = part.tables.get(table), found.get(table)
        if before is None or after is None:
            lines.append(f"{part.name}: table {table} {'is missing' if after is None else 'came from nowhere'}")
        elif before.rows != after.rows:
            lines.append(f"{part.name}: table {table} has {after.rows:,} rows instead of {before.rows:,}")
        elif before.hash != after.hash:
            lines.append(f"{part.name}: table {table} has its {after.rows:,} rows and other values in them")
    return lines
