"""The schedules file in force: which one it is, what it holds, and what stays in force while it is broken."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from quantmatrix_pipeline.errors import NoSuchSchedule, SchedulesInvalid
from quantmatrix_pipeline.health.finding import Finding, bad, ok
from quantmatrix_pipeline.schedules.cron import checked
from quantmatrix_pipeline.schedules.entry import Catalogue, Entry
from quantmatrix_pipeline.schedules.jobs import Jobs, misfits
from quantmatrix_pipeline.schedules.reading import parse
from quantmatrix_pipeline.settings import Settings

PACKAGED = Path(__file__).resolve().parents[1] / "automation" / "schedules.yaml"
NIGHTLY = "nightly_chain"

FINGERPRINT = "qm/schedules"  # tag of each schedule in Dagster: of which entries it was made

Version = tuple[str, int, int, int] | None


@dataclass(frozen=True, slots=True)
class InForce:
    """The schedules in force.

    Attributes
    ----------
    catalogue
        The entries.
    file
        Where they were read.
    text
        What it held.
    meant
        The file that should be in force; another than `file` while it is broken.
    fault
        What is wrong with it; None: nothing.
    """

    catalogue: Catalogue
    file: Path
    text: str
    meant: Path
    fault: str | None

    @property
    def fingerprint(self) -> str:
        """What changes when an entry does."""
        return hashlib.sha256(self.catalogue.model_dump_json().encode()).hexdigest()[:16]

    @property
    def trouble(self) -> str | None:
        """What is wrong with the file that is meant, and what is in force meanwhile; None: nothing is wrong."""
        if self.fault is None:
            return None
        if self.file == self.meant:
            return f"nothing is scheduled, since no good file was in force before: {self.fault}"
        return f"the last good schedules stay in force: {self.fault}"

    def entry(self, name: str) -> Entry:
        """Return an entry.

        Raises
        ------
        NoSuchSchedule
            There is none of this name.
        """
        try:
            return self.catalogue.schedules[name]
        except KeyError:
            known = ", ".join(self.catalogue.schedules) or f"none: {self.trouble}"
            raise NoSuchSchedule(f"there is no schedule {name!r} in {self.file}; it has {known}") from None


def chosen(settings: Settings) -> Path:
    """Return what should be in force: QM_SCHEDULES_FILE, else the copy in QM_DATA_DIR, else the packaged file."""
    copy = edited(settings)
    return settings.schedules_file or (copy if copy.exists() else PACKAGED)


def edited(settings: Settings) -> Path:
    """Return the file that a change is written to."""
    return settings.schedules_file or settings.data_dir.resolve() / "schedules.yaml"


def last_good(settings: Settings) -> Path:
    """Return where what was in force last is kept, for as long as the file is broken."""
    return settings.data_dir.resolve() / "schedules.last-good.yaml"


def last_recorded(settings: Settings) -> Path:
    """Return where the file is kept as it was when its differences were recorded last, by whatever hand they were."""
    return settings.data_dir.resolve() / "schedules.recorded.yaml"


def in_force(settings: Settings, jobs: Jobs | None = None) -> InForce:
    """Return the schedules in force.

    A file that is broken or gone takes nothing down: what `editing.keep_good` kept last is in force instead. Where
    nothing was kept yet, nothing is in force: what a file of one's own turns off must not begin to tick by a misprint
    in it, and the nights that are missed until it is mended are made up for.

    Parameters
    ----------
    settings
        They name the file.
    jobs
        The jobs that there are, of which an entry must name one and fit it; None: who asks doesn't know them.
    """
    meant = chosen(settings)
    try:
        return InForce(*_read(meant, settings, jobs), meant, None)
    except SchedulesInvalid as error:
        fault = str(error)
    try:
        return InForce(*_read(last_good(settings), settings, jobs), meant, fault)
    except SchedulesInvalid:
        return InForce(Catalogue(version=1, schedules={}), meant, "", meant, fault)


def look(settings: Settings, jobs: Jobs | None = None) -> Finding:
    """Return whether the file that should be in force is; `jobs` as in `in_force`."""
    found = in_force(settings, jobs)
    if found.trouble:
        return bad("schedules file", found.trouble)
    return ok("schedules file", f"{len(found.catalogue.schedules)} of {found.file}")


def version(settings: Settings) -> Version:
    """Return what changes when the file that should be in force does; None: it is gone."""
    file = chosen(settings)
    try:
        status = file.stat()
    except OSError:
        return None
    return str(file), status.st_mtime_ns, status.st_size, status.st_ino


def replace(file: Path, content: bytes) -> None:
    """Put a file in place as a whole: whoever reads sees the old one or the new one, also after a crash."""
    with replacing(file, content):
        pass


@contextmanager
def replacing(file: Path, content: bytes) -> Iterator[None]:
    """Do what `replace` does, if the block succeeds; that the disk has no room for it is known before the block."""
    file.parent.mkdir(parents=True, exist_ok=True)
    new = file.with_name(f".{file.name}.{os.getpid()}")
    with new.open("wb") as opened:
        opened.write(content)
        opened.flush()
        os.fsync(opened.fileno())
    if file.exists():
        new.chmod(file.stat().st_mode & 0o777)
    try:
        yield
    except BaseException:
        new.unlink()
        raise
    new.replace(file)


def _read(file: Path, settings: Settings, jobs: Jobs | None) -> tuple[Catalogue, Path, str]:
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise SchedulesInvalid(str(file), ["no such file"]) from None
    except OSError as error:
        raise SchedulesInvalid(str(file), [f"can't be read: {error.strerror}"]) from None
    except UnicodeDecodeError:
        raise SchedulesInvalid(str(file), ["no text in UTF-8"]) from None
    catalogue = parse(text, str(file))
    if jobs is not None and (faults := misfits(catalogue, jobs)):
        raise SchedulesInvalid(str(file), faults)
    if file == PACKAGED and settings.nightly_cron is not None:
        # Whoever keeps schedules of their own says it there.
        try:
            cron = checked(settings.nightly_cron)
        except ValueError as error:
            raise SchedulesInvalid("QM_NIGHTLY_CRON", [str(error)]) from None
        nightly = catalogue.schedules[NIGHTLY].model_copy(update={"cron": cron})
        catalogue = catalogue.model_copy(update={"schedules": {**catalogue.schedules, NIGHTLY: nightly}})
    return catalogue, file, text
