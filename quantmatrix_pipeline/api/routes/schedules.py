"""`/admin/schedules`: what runs when, and changing it; for the holders of an admin key."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import asdict
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Body, Depends, Path, Query, Response

from quantmatrix_pipeline import clock
from quantmatrix_pipeline.api.admin import Admin, RunningDagster
from quantmatrix_pipeline.api.models.admin import Launched
from quantmatrix_pipeline.api.models.schedules import (
    ChangeBody,
    ComingBody,
    EditedBody,
    NamedEntry,
    PreviewBody,
    RunNow,
    ScheduleBody,
    SchedulesBody,
    SwitchedBody,
    TickBody,
)
from quantmatrix_pipeline.api.parameters import CurrentSettings
from quantmatrix_pipeline.api.problems import RequestError, documented, refused
from quantmatrix_pipeline.api.tasks import Launching, launched
from quantmatrix_pipeline.dagster_client import Instigator, schedules
from quantmatrix_pipeline.errors import DagsterUnreachable, QuantMatrixError
from quantmatrix_pipeline.job_names import REFRESH_COVERAGE
from quantmatrix_pipeline.schedules import launching
from quantmatrix_pipeline.schedules.editing import Edited, Editor
from quantmatrix_pipeline.schedules.entry import EXCHANGE, NAME, Cron, Entry, Zone
from quantmatrix_pipeline.schedules.file import FINGERPRINT, in_force
from quantmatrix_pipeline.schedules.preview import Coming, conditions, preview
from quantmatrix_pipeline.schedules.text import written
from quantmatrix_pipeline.warehouse import schedules as audit
from quantmatrix_pipeline.warehouse.engine import Warehouse
from quantmatrix_pipeline.warehouse.locate import locate

router = APIRouter(prefix="/admin/schedules", tags=["admin"], responses=documented(401, 403))

Name = Annotated[str, Path(description="a schedule", pattern=NAME, examples=["nightly_chain"])]
NameQuery = Annotated[str, Query(description="a schedule", pattern=NAME)]
MaybeName = Annotated[str | None, Query(description="a schedule", pattern=NAME)]
Task = Annotated[str | None, Query(description="one of /market-data/admin/tasks; instead of a name")]


def _writer(in_force: CurrentSettings) -> Iterator[Warehouse]:
    warehouse = Warehouse(locate(in_force.settings, start=False).writer)
    with contextlib.closing(warehouse):
        yield warehouse


Writer = Annotated[Warehouse, Depends(_writer)]


def _editor(admin: Admin, settings: CurrentSettings, warehouse: Writer, dagster: RunningDagster) -> Editor:
    return Editor(settings.settings, warehouse, dagster, admin)


Editing = Annotated[Editor, Depends(_editor)]


@router.get("")
def list_schedules(admin: Admin, settings: CurrentSettings, dagster: RunningDagster) -> SchedulesBody:
    """Return the schedules in force, and what the running Dagster says of them."""
    found = in_force(settings.settings)
    running, silent = _running(dagster)
    return SchedulesBody(
        file=str(found.file),
        fault=found.fault,
        live=bool(running) and all(at.tags.get(FINGERPRINT) == found.fingerprint for at in running.values()),
        dagster=silent,
        schedules=[_body(name, entry, running.get(name)) for name, entry in found.catalogue.schedules.items()],
    )


@router.post("/export", response_class=Response, responses={200: {"content": {"application/yaml": {}}}})
@router.get("/export", response_class=Response, responses={200: {"content": {"application/yaml": {}}}})
def export(admin: Admin, settings: CurrentSettings) -> Response:
    """Return the schedules in force as the file that `/import` takes."""
    return Response(written(in_force(settings.settings).catalogue), media_type="application/yaml")


@router.get("/audit")
def changes(
    admin: Admin,
    warehouse: Writer,
    name: Annotated[str | None, Query(description="of this schedule only", pattern=NAME)] = None,
    limit: Annotated[int, Query(description="at most so many, the newest", ge=1, le=1000)] = 50,
) -> list[ChangeBody]:
    """Return who did what to schedules, newest first."""
    return [_change(change) for change in audit.changes(warehouse, name, limit)]


@router.post("/import", responses=documented(409, 422, 503))
def import_all(
    editor: Editing,
    text: Annotated[bytes, Body(media_type="application/yaml", description="a schedules file, in YAML or JSON")],
) -> EditedBody:
    """Put all schedules of a file in the place of those in force; a file with a fault changes nothing."""
    try:
        return _edited(editor.replace_all(text.decode(), clock.now()))
    except UnicodeDecodeError:
        raise RequestError(HTTPStatus.UNPROCESSABLE_ENTITY, "invalid-request", "the body is no text in UTF-8") from None


@router.post("/preview", responses=documented(422))
def preview_of(admin: Admin, settings: CurrentSettings, entry: Entry) -> PreviewBody:
    """Return the next ten ticks of an entry that need not be in force; nothing is changed."""
    return _preview(entry, preview(entry, launching.exchange(settings.settings), clock.now()))


@router.get("/preview", responses=documented(404, 422))
def coming_by_query(
    admin: Admin,
    settings: CurrentSettings,
    dagster: RunningDagster,
    name: MaybeName = None,
    cron: Annotated[Cron | None, Query(description="in five fields; instead of a name")] = None,
    timezone: Annotated[Zone, Query(description="of the cron; exchange: that of QM_CALENDAR")] = EXCHANGE,
) -> PreviewBody:
    """Return the next ten ticks of the schedule `name`, or of a cron in a time zone."""
    if name is not None:
        return coming(admin, settings, dagster, name)
    if cron is None:
        raise refused([("name", "name a schedule, or a cron and its timezone")])
    return preview_of(admin, settings, Entry(job=REFRESH_COVERAGE, cron=cron, timezone=timezone))


@router.post("/pause", responses=documented(404, 409, 422, 503))
def pause_by_query(editor: Editing, name: NameQuery) -> SwitchedBody:
    """Do what `/{name}/pause` does."""
    return pause(editor, name)


@router.post("/resume", responses=documented(404, 409, 422, 503))
def resume_by_query(editor: Editing, name: NameQuery) -> SwitchedBody:
    """Do what `/{name}/resume` does."""
    return resume(editor, name)


@router.post("/run-now", status_code=HTTPStatus.ACCEPTED, responses=documented(404, 409, 422, 501, 503))
def run_now_by_query(
    editor: Editing, launcher: Launching, name: MaybeName = None, task: Task = None, of: RunNow | None = None
) -> Launched:
    """Do what `/{name}/run-now` does; or launch a task, by its name or a former one, as `/admin/tasks/run` does."""
    if name is not None:
        return run_now(editor, name, of)
    if task is None:
        raise refused([("name", "name a schedule, or a task")])
    return launcher.start_named(task, {}, session=of.session if of else None)


@router.post("", status_code=HTTPStatus.CREATED, responses=documented(409, 422, 503))
def create(editor: Editing, entry: NamedEntry) -> EditedBody:
    """Add a schedule."""
    if entry.name in in_force(editor.settings).catalogue.schedules:
        raise RequestError(
            HTTPStatus.CONFLICT, "schedule-exists", f"there is a schedule {entry.name!r} already; PUT changes it"
        )
    return _edited(editor.put(entry.name, entry.entry(), clock.now()))


@router.get("/{name}", responses=documented(404))
def one(admin: Admin, settings: CurrentSettings, dagster: RunningDagster, name: Name) -> ScheduleBody:
    """Return a schedule."""
    entry = in_force(settings.settings).entry(name)
    return _body(name, entry, _running(dagster)[0].get(name))


@router.put("/{name}", responses=documented(404, 409, 422, 503))
def change(editor: Editing, settings: CurrentSettings, name: Name, entry: Entry) -> EditedBody:
    """Put another entry in the place of a schedule's."""
    in_force(settings.settings).entry(name)
    return _edited(editor.put(name, entry, clock.now()))


@router.delete("/{name}", responses=documented(404, 409, 422, 503))
def remove(editor: Editing, name: Name) -> EditedBody:
    """Take a schedule away."""
    return _edited(editor.remove(name, clock.now()))


@router.get("/{name}/preview", responses=documented(404))
def coming(admin: Admin, settings: CurrentSettings, dagster: RunningDagster, name: Name) -> PreviewBody:
    """Return a schedule's next ten ticks, which are known to be skipped, and why."""
    entry = in_force(settings.settings).entry(name)
    try:
        done = launching.newest_done(dagster, entry.job)
    except DagsterUnreachable:
        done = None
    return _preview(entry, preview(entry, launching.exchange(settings.settings), clock.now(), done))


@router.post("/{name}/pause", responses=documented(404, 409, 503))
def pause(editor: Editing, name: Name) -> SwitchedBody:
    """Let a schedule tick no more until it is resumed, whatever happens to its entry or to Dagster."""
    in_force(editor.settings).entry(name)
    launching.pause(editor.dagster, editor.warehouse, name, editor.actor, clock.now())
    return SwitchedBody(name=name, running=False)


@router.post("/{name}/resume", responses=documented(404, 409, 503))
def resume(editor: Editing, name: Name) -> SwitchedBody:
    """Let a schedule tick, whether its entry is enabled or not."""
    in_force(editor.settings).entry(name)
    launching.resume(editor.dagster, editor.warehouse, name, editor.actor, clock.now())
    return SwitchedBody(name=name, running=True)


@router.post("/{name}/run-now", status_code=HTTPStatus.ACCEPTED, responses=documented(404, 409, 422, 503))
def run_now(editor: Editing, name: Name, of: RunNow | None = None) -> Launched:
    """Launch a schedule's run now, whatever its conditions are, and return the run's id, which can be polled."""
    entry = in_force(editor.settings).entry(name)
    done = launching.run_now(
        editor.dagster,
        editor.warehouse,
        editor.settings,
        name,
        entry,
        editor.actor,
        clock.now(),
        of.session if of else None,
    )
    return launched(editor.dagster, done.run_id, done.job, done.sessions)


def _running(dagster: RunningDagster) -> tuple[dict[str, Instigator], str | None]:
    try:
        return schedules(dagster), None
    except QuantMatrixError as error:
        return {}, str(error)


def _body(name: str, entry: Entry, at: Instigator | None) -> ScheduleBody:
    last = at.ticks[0] if at and at.ticks else None
    return ScheduleBody(
        name=name,
        entry=entry,
        running=at.running if at else None,
        next_tick=at.next_tick if at else None,
        last_tick=TickBody(at=last.at, status=last.status, note=last.note, run_ids=list(last.run_ids))
        if last
        else None,
    )


def _preview(entry: Entry, ticks: list[Coming]) -> PreviewBody:
    return PreviewBody(ticks=[ComingBody(**asdict(tick)) for tick in ticks], conditions=conditions(entry))


def _change(change: audit.Change) -> ChangeBody:
    return ChangeBody(**(asdict(change) | {"difference": dict(change.difference)}))


def _edited(edited: Edited) -> EditedBody:
    return EditedBody(
        file=str(edited.file) if edited.file else None,
        changes=[_change(change) for change in edited.changes],
        live=edited.live,
        note=edited.note,
    )
