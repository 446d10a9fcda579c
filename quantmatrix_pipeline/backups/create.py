"""Take a backup, and let go of those that are too many."""

from __future__ import annotations

import logging
import time
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from quantmatrix_pipeline import __version__, clock
from quantmatrix_pipeline.backups.manifest import Manifest, Part
from quantmatrix_pipeline.backups.store import Store
from quantmatrix_pipeline.settings import Settings
from quantmatrix_pipeline.warehouse.contents import snapshot
from quantmatrix_pipeline.warehouse.dump import dump
from quantmatrix_pipeline.warehouse.engine import Warehouse
from quantmatrix_pipeline.warehouse.locate import Kept, kept, locate

log = logging.getLogger(__name__)

NAME = "%Y%m%dT%H%M%SZ"
LOCK = "backup"

# An unfinished backup of another installation in the same place may still be under way; after so long it is not.
ABANDONED = timedelta(days=2)


@dataclass(frozen=True, slots=True)
class Taken:
    """A backup that was taken, where it lies (without secrets), and what was let go of for it."""

    name: str
    where: str
    manifest: Manifest
    removed: tuple[str, ...]
    seconds: float


def create(settings: Settings) -> Taken:
    """Dump the warehouse and Dagster's storage, each in one snapshot, and remove what is beyond `QM_BACKUP_KEEP`.

    What fails or is killed leaves no backup: the manifest is written last. Nothing is removed before it is.

    Raises
    ------
    BackupError
        The dump or writing it fails.
    ChainBusy
        Another backup of this database is under way.
    WarehouseError
        The database does not answer, or there is none yet.
    """
    store = Store.of(settings)
    began = time.monotonic()
    warehouse = Warehouse(locate(settings).owner)
    try:
        with warehouse.exclusive(LOCK, 0):
            name = _free_name(store)
            # By the machine's clock, not QM_NOW: which of two backups is the newer is no matter of drills.
            taken_at = _at(name)
            try:
                parts, server = _dump_all(store, name, kept(settings))
                manifest = Manifest(taken_at=taken_at, release=__version__, server=server, parts=parts)
                store.finish(name, manifest)
            except BaseException:
                _forget(store, name)
                raise
            removed = _let_go(store, settings.backup_keep)
    finally:
        warehouse.close()
    return Taken(name, store.shown, manifest, removed, time.monotonic() - began)


def _dump_all(store: Store, name: str, databases: tuple[Kept, ...]) -> tuple[tuple[Part, ...], str]:
    parts = []
    server = ""
    for database in databases:
        file = f"{database.name}.dump"
        with snapshot(database.url) as state, store.writing(name, file) as written, ThreadPoolExecutor(1) as beside:
            # Of the same snapshot as the dump, and counted while pg_dump works.
            tables = beside.submit(state.contents, database.schema)
            try:
                dump(database.url, database.schema, state, written.write)
            except BaseException:
                # A cancellation that comes between two statements ends none.
                while not tables.done():
                    state.give_up()
                    wait([tables], timeout=0.2)
                raise
            part = Part(
                name=database.name,
                file=file,
                schema=database.schema,
                bytes=written.bytes,
                sha256=written.sha256,
                tables=tables.result(),
            )
            server = state.server
        parts.append(part)
    return tuple(parts), server


def _let_go(store: Store, keep: int) -> tuple[str, ...]:
    """Remove complete backups beyond the newest `keep`, and remains of those that were never finished."""
    found = store.backups()
    oldest = clock.wall() - ABANDONED.total_seconds()
    surplus = [backup.name for backup in found if backup.manifest is not None][keep:]
    remains = [b.name for b in found if b.manifest is None and _is_ours(b.name) and _at(b.name).timestamp() < oldest]
    for name in (*surplus, *remains):
        store.remove(name)
    return (*surplus, *remains)


def _free_name(store: Store) -> str:
    while store.exists(name := datetime.fromtimestamp(clock.wall(), UTC).strftime(NAME)):
        time.sleep(0.1)
    return name


def _at(name: str) -> datetime:
    return datetime.strptime(name, NAME).replace(tzinfo=UTC)


def _is_ours(name: str) -> bool:
    try:
        _at(name)
    except ValueError:
        return False
    return True


def _forget(store: Store, name: str) -> None:
    try:
        store.remove(name)
    except Exception as error:
        log.warning("what was written of backup %s stays: %s", name, error)
