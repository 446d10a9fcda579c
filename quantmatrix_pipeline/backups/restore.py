"""Come back to a backup."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from quantmatrix_pipeline.backups.manifest import Manifest, Part
from quantmatrix_pipeline.backups.store import NEWEST, Store
from quantmatrix_pipeline.backups.verify import differences, require_whole
from quantmatrix_pipeline.errors import BackupError, NotEmpty
from quantmatrix_pipeline.settings import Settings
from quantmatrix_pipeline.warehouse.locate import Kept, kept
from quantmatrix_pipeline.warehouse.restore import restore as put_back
from quantmatrix_pipeline.warehouse.restore import tables_in

SHOWN_TABLES = 3


@dataclass(frozen=True, slots=True)
class Restored:
    """A backup that was put back, and which parts of it."""

    name: str
    manifest: Manifest
    parts: tuple[Part, ...]


def restore(settings: Settings, name: str = NEWEST, *, only: Sequence[str] = (), overwrite: bool = False) -> Restored:
    """Put a backup into the databases of the settings: the warehouse, then Dagster's storage.

    Parts that are damaged or would overwrite something are found before any is put back; each is put back in one
    transaction, and then compared with what was dumped.

    Parameters
    ----------
    settings
        They name the backup's place and the databases; the embedded server is started, and made if need be.
    name
        A backup's name, or `newest`.
    only
        Names of the parts to put back; none named: all.
    overwrite
        Whether a database that holds tables is overwritten: all of what it held is gone then.

    Raises
    ------
    NoSuchBackup
        There is no complete one of that name.
    NotEmpty
        A database holds tables and `overwrite` is not set; says which.
    BackupError
        A file is damaged, can't be put back, or what is in the database afterwards is not what was dumped.
    WarehouseError
        The database does not answer.
    """
    store = Store.of(settings)
    name, manifest = store.complete(name)
    parts = tuple(manifest.part(which) for which in only) or manifest.parts
    databases = {database.name: database for database in kept(settings)}
    for part in parts:
        _require_fitting(part, databases[part.name], overwrite)
    with tempfile.TemporaryDirectory(prefix="qm-restore-") as folder, ExitStack() as copies:
        archives = [(part, copies.enter_context(store.local(name, part.file, Path(folder)))) for part in parts]
        for part, archive in archives:
            require_whole(part, archive)
        for part, archive in archives:
            put_back(databases[part.name].url, archive, part.schema)
    faults = [line for part in parts for line in differences(part, databases[part.name].url)]
    if faults:
        raise BackupError(f"{name} was put back and differs from what was dumped: {'; '.join(faults[:SHOWN_TABLES])}")
    return Restored(name, manifest, parts)


def _require_fitting(part: Part, database: Kept, overwrite: bool) -> None:
    if part.schema != database.schema:
        raise BackupError(
            f"the part {part.name} was dumped from schema {part.schema} and belongs to {database.schema} here (one is "
            "of an embedded server, the other is not): put back `--only warehouse`"
        )
    there = tables_in(database.url, database.schema)
    if there and not overwrite:
        largest = sorted((table for table in there if there[table] > 0), key=lambda table: -there[table])
        told = ", ".join(f"{table} with about {there[table]:,} rows" for table in largest[:SHOWN_TABLES])
        raise NotEmpty(
            f"the database for the part {part.name} holds {len(there)} tables{' (' + told + ')' if told else ''}: "
            "all of that would be gone; say --overwrite if it may be"
        )
