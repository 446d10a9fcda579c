"""Change schedules: checked, written as a whole, recorded with who did it, and loaded by a running Dagster."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from quantmatrix_pipeline.dagster_client import Dagster, jobs, reload_location, wrong_config
from quantmatrix_pipeline.errors import DagsterUnreachable, QuantMatrixError, SchedulesBusy, SchedulesInvalid
from quantmatrix_pipeline.schedules.entry import Catalogue, Changed, Entry
from quantmatrix_pipeline.schedules.file import InForce, edited, in_force, last_good, last_recorded, replace, replacing
from quantmatrix_pipeline.schedules.jobs import Job, Jobs, misfits
from quantmatrix_pipeline.schedules.reading import parse
from quantmatrix_pipeline.schedules.text import described, with_entry, written
from quantmatrix_pipeline.settings import Settings
from quantmatrix_pipeline.warehouse import schedules as audit
from quantmatrix_pipeline.warehouse.engine import Warehouse

LOCK_SECONDS = 30.0
Written = tuple[Path | None, tuple[audit.Change, ...]]  # where, if anywhere, and what was different
BY_HAND = "file"  # the actor of what was changed in the file itself


@dataclass(frozen=True, slots=True)
class Edited:
    """What a change came to.

    Attributes
    ----------
    file
        Where it was written; None: nothing was different.
    changes
        As recorded.
    live
        Whether a running Dagster has loaded it.
    note
        Why it has not; None where it has.
    """

    file: Path | None
    changes: tuple[audit.Change, ...]
    live: bool
    note: str | None


@dataclass(frozen=True)
class Editor:
    """Somebody who changes schedules.

    Parameters
    ----------
    settings
        They name the file.
    warehouse
        Where changes are recorded, with the rights of a writer.
    dagster
        Where they are loaded, if it runs.
    actor
        Who it is.
    """

    settings: Settings
    warehouse: Warehouse
    dagster: Dagster
    actor: str

    def put(self, name: str, entry: Entry, now: datetime) -> Edited:
        """Add an entry, or put it in the place of the one of its name.

        Raises
        ------
        SchedulesInvalid
            The entry, or the file as it is now, has a fault; nothing is written.
        SchedulesBusy
            Somebody else is changing schedules; nothing is written.
        """
        return self._loaded(*self._change(name, entry, now))

    def remove(self, name: str, now: datetime) -> Edited:
        """Take an entry away.

        Raises
        ------
        NoSuchSchedule
            There is none of this name.
        SchedulesInvalid
            Another entry waits for it, or the file as it is now has a fault; nothing is written.
        SchedulesBusy
            Somebody else is changing schedules; nothing is written.
        """
        in_force(self.settings).entry(name)
        return self._loaded(*self._change(name, None, now))

    def replace_all(self, text: str, now: datetime) -> Edited:
        """Put all entries in the place of those there are; `text` is what a schedules file holds, in YAML or JSON.

        Raises
        ------
        SchedulesInvalid
            It has a fault; nothing is written.
        SchedulesBusy
            Somebody else is changing schedules; nothing is written.
        """
        return self._loaded(*self._replace(text, now))

    def _replace(self, text: str, now: datetime) -> Written:
        with _lock(self.settings):
            catalogue, good = self._checked(text)
            before = self._before(now)
            changes = _differences(before.catalogue, catalogue, self.actor, "import")
            for change in changes:
                if change.schedule in catalogue.schedules:
                    text = with_entry(text, change.schedule, self._stamped(catalogue.schedules[change.schedule], now))
            return self._write(text, changes, now, good=good, even_if_same=before.fault is not None)

    def _change(self, name: str, entry: Entry | None, now: datetime) -> Written:
        with _lock(self.settings):
            before = self._before(now)
            if before.fault:
                raise SchedulesInvalid(
                    str(before.meant), [f"mend it, or import a whole one, before an entry is changed: {before.fault}"]
                )
            was = before.catalogue.schedules.get(name)
            difference = differences(was, entry)
            if not difference:
                return None, ()
            text = _text(before)
            text = with_entry(text, name, entry and self._stamped(entry, now))
            _, good = self._checked(text)
            changes = [audit.Change(self.actor, _action(was, entry), name, difference)]
            return self._write(text, changes, now, good=good)

    def _before(self, now: datetime) -> InForce:
        """Return what is in force; what a hand has changed until now is recorded as that hand's."""
        found = in_force(self.settings)
        _record(self.settings, self.warehouse, found, now)
        return found

    def _stamped(self, entry: Entry, now: datetime) -> Entry:
        return entry.model_copy(update={"changed": Changed(by=self.actor, at=now.replace(microsecond=0))})

    def _checked(self, text: str) -> tuple[Catalogue, bool]:
        """Read a text as what will be written; tell also whether a running Dagster has jobs that bear it."""
        source = str(edited(self.settings))
        catalogue = parse(text, source)
        try:
            faults = misfits(catalogue, running_jobs(self.dagster))
        except QuantMatrixError:
            return catalogue, False  # whoever loads it looks at the jobs again
        if faults:
            raise SchedulesInvalid(source, faults)
        return catalogue, True

    def _write(
        self, text: str, changes: list[audit.Change], now: datetime, *, good: bool, even_if_same: bool = False
    ) -> Written:
        file = edited(self.settings)
        if not changes and not even_if_same:
            return None, ()
        before = file.read_bytes() if file.exists() else None
        try:
            with audit.recorded(self.warehouse, changes, now):
                replace(file, text.encode())
        except Exception:
            # What could not be recorded is not in force either.
            if before is None:
                file.unlink(missing_ok=True)
            else:
                replace(file, before)
            raise
        replace(last_recorded(self.settings), text.encode())
        kept = last_good(self.settings)
        if good or not kept.exists():  # what nobody held against the jobs must not take the place of what works
            replace(kept, text.encode())
        return file, tuple(changes)

    def _loaded(self, file: Path | None, changes: tuple[audit.Change, ...]) -> Edited:
        """Let Dagster load what was written, which may take longer than others wait for the lock: it is left before."""
        try:
            reload_location(self.dagster)
        except DagsterUnreachable as error:
            return Edited(file, changes, False, f"it is in force when Dagster starts: {error}")
        except QuantMatrixError as error:
            return Edited(file, changes, False, str(error))
        return Edited(file, changes, True, None)


def keep_good(settings: Settings, warehouse: Warehouse, now: datetime, jobs: Jobs | None = None) -> InForce:
    """Keep a copy of the file in force for when it is broken, and record what was changed in it by hand.

    That is what differs from what was recorded last, also where it came with another file. Whoever asks first records
    a difference, and nobody twice.

    Parameters
    ----------
    settings, jobs
        As of `in_force`.
    warehouse
        Where differences are recorded, with the rights of a writer.
    now
        When that is.

    Raises
    ------
    SchedulesBusy
        Somebody is changing schedules.
    """
    with _lock(settings):
        found = in_force(settings, jobs)
        _record(settings, warehouse, found, now)
        kept = last_good(settings)
        if found.fault is None and _content(kept) != found.text:
            replace(kept, found.text.encode())
    return found


def _record(settings: Settings, warehouse: Warehouse, found: InForce, now: datetime) -> None:
    before = _content(last_recorded(settings))
    if found.fault is not None or before == found.text:
        return
    changes: list[audit.Change] = []
    if before is not None:
        try:
            changes = _differences(parse(before, "recorded"), parse(found.text, str(found.file)), BY_HAND)
        except SchedulesInvalid:  # recorded by another release: what is different can't be told
            changes = []
    # Put in place after the commit: what counts as recorded and is not would never be.
    with replacing(last_recorded(settings), found.text.encode()), audit.recorded(warehouse, changes, now):
        pass


def _content(file: Path) -> str | None:
    return file.read_text(encoding="utf-8") if file.exists() else None


@contextmanager
def _lock(settings: Settings) -> Iterator[None]:
    """Hold the lock of those who change the schedules file, or record how it was changed."""
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    lock = FileLock(settings.data_dir.resolve() / ".schedules.lock")
    try:
        lock.acquire(timeout=LOCK_SECONDS)
    except Timeout:
        raise SchedulesBusy(
            f"another change of the schedules, or the sensor schedules_file that records one, has held {lock.lock_file}"
            f" for {LOCK_SECONDS:g} s: nothing was written; try again"
        ) from None
    try:
        yield
    finally:
        lock.release()


def running_jobs(dagster: Dagster) -> dict[str, Job]:
    """Return the jobs of a running Dagster, which is asked again about each configuration.

    Raises
    ------
    DagsterUnreachable
        There is none, or it did not answer.
    """
    return {
        job.name: Job.of(job.tags, job.partitioned, partial(wrong_config, dagster, job.name)) for job in jobs(dagster)
    }


def differences(before: Entry | None, after: Entry | None) -> dict[str, tuple[Any, Any]]:
    """Return what differs, field -> (before, after); `changed` does not count."""
    was, now = (_plain(entry) for entry in (before, after))
    return {field: (was.get(field), now.get(field)) for field in {**was, **now} if was.get(field) != now.get(field)}


def _plain(entry: Entry | None) -> Mapping[str, Any]:
    return {} if entry is None else {field: v for field, v in described(entry).items() if field != "changed"}


def _action(before: Entry | None, after: Entry | None) -> str:
    return "create" if before is None else "delete" if after is None else "update"


def _differences(before: Catalogue, after: Catalogue, actor: str, action: str | None = None) -> list[audit.Change]:
    """Return a change for each entry that differs, as what `action` says, or as what was done to that entry."""
    changes = []
    for name in {**before.schedules, **after.schedules}:
        was, now = before.schedules.get(name), after.schedules.get(name)
        if difference := differences(was, now):
            changes.append(audit.Change(actor, action or _action(was, now), name, difference))
    return changes


def _text(found: InForce) -> str:
    """Return the text of the entries in force, with its comments where the file holds just these."""
    # QM_NIGHTLY_CRON may have the last word on the packaged file; in a copy of it, what is in force is written down.
    return found.text if parse(found.text, str(found.file)) == found.catalogue else written(found.catalogue)
