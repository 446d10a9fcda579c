"""Have a running Dagster load its definitions anew when the schedules file has changed; a part of `qm up`."""

from __future__ import annotations

import threading
import time

from rich.console import Console

from quantmatrix_pipeline.dagster_client import Dagster, reload_location, schedules
from quantmatrix_pipeline.errors import DagsterUnreachable, QuantMatrixError
from quantmatrix_pipeline.schedules.file import FINGERPRINT, InForce, in_force, version
from quantmatrix_pipeline.settings import Reloading

LOOK_SECONDS = 2.0


def watch(source: Reloading, console: Console) -> None:
    """Watch the schedules file from now on, in a thread that ends with the process; say a line for each change."""
    threading.Thread(target=_watch, args=(source, console), name="schedules", daemon=True).start()


def _watch(source: Reloading, console: Console) -> None:
    seen = version(source.current())
    if trouble := in_force(source.current()).trouble:
        console.print(trouble, highlight=False, markup=False)
    while True:
        time.sleep(LOOK_SECONDS)
        found = version(source.current())
        if found == seen:
            continue
        # Whoever writes over HTTP has it loaded at once; an editor may not be done yet.
        time.sleep(LOOK_SECONDS)
        try:
            said = _load(source)
        except DagsterUnreachable:
            continue  # it starts, or is being started again: the next look tries once more
        except QuantMatrixError as error:
            said = str(error)
        seen = found
        if said:
            console.print(said, highlight=False, markup=False)


def _load(source: Reloading) -> str | None:
    """Have the file loaded unless it is; return what there is to say."""
    settings = source.current()
    found = in_force(settings)
    if found.fault:
        return found.trouble
    dagster = Dagster.of(settings)
    if _are_loaded(found, dagster):
        return None
    reload_location(dagster)
    if not _are_loaded(found, dagster):  # it knows the jobs, which this process doesn't
        return f"the last good schedules stay in force: `qm schedules validate` says what is wrong with {found.file}"
    return f"schedules     {found.file}, as changed"


def _are_loaded(found: InForce, dagster: Dagster) -> bool:
    loaded = schedules(dagster, ticks=0).values()
    if not loaded:  # as where the file was broken when Dagster started
        return not found.catalogue.schedules
    return all(at.tags.get(FINGERPRINT) == found.fingerprint for at in loaded)
