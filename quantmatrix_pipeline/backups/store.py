"""Where backups lie: a local folder, or whatever fsspec knows by an address."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import fsspec
from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem

from quantmatrix_pipeline.backups.manifest import Manifest, Verification, encode, manifest_of, verification_of
from quantmatrix_pipeline.errors import BackupError, ConfigurationError, NoSuchBackup
from quantmatrix_pipeline.settings import Settings
from quantmatrix_pipeline.warehouse.engine import masked

MANIFEST, VERIFICATION = "manifest.json", "verification.json"
NEWEST = "newest"
CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Backup:
    """A backup as it lies there; without a manifest, or with faults, it is none to come back to."""

    name: str
    manifest: Manifest | None
    verification: Verification | None
    faults: tuple[str, ...]

    @property
    def complete(self) -> bool:
        return self.manifest is not None and not self.faults


class Store:
    """The folder or address with all backups, each in a folder of its own named after the instant when it was begun.

    Parameters
    ----------
    url
        A path, or an address such as `s3://bucket/folder`; the file system's own package must be installed for those.

    Raises
    ------
    ConfigurationError
        No file system is known or installed for the address.
    """

    def __init__(self, url: str) -> None:
        self.shown = masked(url)
        self._files: fsspec.AbstractFileSystem
        try:
            self._files, self._root = url_to_fs(url)
        except (ImportError, ValueError) as error:
            raise ConfigurationError(f"QM_BACKUP_URL={self.shown}: {error}") from None

    @classmethod
    def of(cls, settings: Settings) -> Store:
        """Return the one that the settings name."""
        if settings.backup_url is not None:
            return cls(settings.backup_url.get_secret_value())
        return cls(str(settings.data_dir.resolve() / "backups"))

    # --- looking ------------------------------------------------------------------------------------------------

    def backups(self) -> list[Backup]:
        """Return all backups, the newest first, those begun and never finished as well."""
        with self._told("list"):
            if not self._files.exists(self._root):
                return []
            self._files.invalidate_cache()
            found = self._files.ls(self._root, detail=True)
        folders = [entry["name"].rstrip("/") for entry in found if entry["type"] == "directory"]
        names = sorted((folder.rsplit("/", 1)[-1] for folder in folders), reverse=True)
        return [self._backup(name) for name in names]

    def complete(self, name: str) -> tuple[str, Manifest]:
        """Return a complete backup's name and manifest; `newest` is the newest of them.

        Raises
        ------
        NoSuchBackup
            There is none of that name, or it is not complete; says why.
        """
        found = self.backups()
        for backup in found:
            if backup.complete and backup.manifest is not None and name in (backup.name, NEWEST):
                return backup.name, backup.manifest
        broken = next((backup for backup in found if backup.name == name), None)
        if broken is not None:
            raise NoSuchBackup(f"backup {name} in {self.shown}: {'; '.join(broken.faults)}")
        names = [backup.name for backup in found if backup.complete]
        there = f"there are {', '.join(names[:5])}{' ...' if names[5:] else ''}" if names else "there is none"
        raise NoSuchBackup(f"no backup {name!r} in {self.shown}; {there}")

    def _backup(self, name: str) -> Backup:
        text = self._read(name, MANIFEST)
        manifest = manifest_of(text) if text is not None else None
        if manifest is None:
            return Backup(name, None, None, ("begun and not finished",))
        faults = []
        for part in manifest.parts:
            path = self._path(name, part.file)
            size = self._files.info(path)["size"] if self._files.exists(path) else None
            if size is None:
                faults.append(f"{part.file} is gone")
            elif size != part.bytes:
                faults.append(f"{part.file} has {size:,} bytes instead of {part.bytes:,}")
        said = self._read(name, VERIFICATION)
        return Backup(name, manifest, verification_of(said) if said is not None else None, tuple(faults))

    # --- writing and reading ------------------------------------------------------------------------------------

    def exists(self, name: str) -> bool:
        return bool(self._files.exists(self._path(name)))

    @contextlib.contextmanager
    def writing(self, name: str, file: str) -> Iterator[HashedFile]:
        """Open a file of a backup for writing; it counts bytes and hashes them."""
        with self._told(f"write {name}/{file} to"):
            if isinstance(self._files, LocalFileSystem) and not self._files.exists(self._root):
                # Who may read the dumps may read all that the databases hold.
                Path(self._root).mkdir(mode=0o700, parents=True)
            self._files.makedirs(self._path(name), exist_ok=True)
            with self._files.open(self._path(name, file), "wb") as opened:
                yield HashedFile(opened)
                opened.flush()
                if isinstance(self._files, LocalFileSystem):
                    os.fsync(opened.fileno())

    def finish(self, name: str, manifest: Manifest) -> None:
        """Write the manifest: from now on it is a backup."""
        with self.writing(name, MANIFEST) as file:
            file.write(encode(manifest))

    def note(self, name: str, verification: Verification) -> None:
        """Keep what a verification found beside the backup, in the place of what an earlier one found."""
        with self.writing(name, VERIFICATION) as file:
            file.write(encode(verification))

    @contextlib.contextmanager
    def local(self, name: str, file: str, folder: Path) -> Iterator[Path]:
        """Yield a local path of a backup's file: its own where it lies in a local folder, else a copy in `folder`."""
        path = self._path(name, file)
        if isinstance(self._files, LocalFileSystem):
            yield Path(path)
            return
        copy = folder / file
        with self._told(f"read {name}/{file} from"):
            self._files.get_file(path, str(copy))
        try:
            yield copy
        finally:
            copy.unlink(missing_ok=True)

    def remove(self, name: str) -> None:
        """Remove a backup, its manifest first: a kill in between leaves none that looks complete."""
        with self._told(f"remove {name} from"):
            if self._files.exists(self._path(name, MANIFEST)):
                self._files.rm_file(self._path(name, MANIFEST))
            self._files.rm(self._path(name), recursive=True)

    def _path(self, *parts: str) -> str:
        return "/".join((self._root.rstrip("/"), *parts))

    def _read(self, name: str, file: str) -> bytes | None:
        with self._told(f"read {name}/{file} from"):
            path = self._path(name, file)
            return bytes(self._files.cat_file(path)) if self._files.exists(path) else None

    @contextlib.contextmanager
    def _told(self, what: str) -> Iterator[None]:
        """Tell a file system's failure as one of ours: a full disk, a refused key, an address that does not answer."""
        try:
            yield
        except OSError as error:
            raise BackupError(f"could not {what} {self.shown}: {error.strerror or error}") from error


class HashedFile:
    """A file that is written once; knows its size in bytes and its SHA-256 so far."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._sha256 = hashlib.sha256()
        self.bytes = 0

    def write(self, piece: bytes) -> None:
        self._file.write(piece)
        self._sha256.update(piece)
        self.bytes += len(piece)

    @property
    def sha256(self) -> str:
        return self._sha256.hexdigest()


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
