"""`/ops`: how far a vendor's bars reach without a hole; for holders of an admin key, backfills, reloads, checks."""

from __future__ import annotations

from datetime import date, datetime
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request, Response

from quantmatrix_pipeline.api.admin import AdminOnly, RunningDagster
from quantmatrix_pipeline.api.configuration import findings
from quantmatrix_pipeline.api.models.admin import BackfillRequest, Checking, Launched, Reloaded
from quantmatrix_pipeline.api.models.operations import Cursor
from quantmatrix_pipeline.api.parameters import OpenWarehouse, SymbolPath, ordered
from quantmatrix_pipeline.api.problems import RequestError, documented, no_intraday_bars, placed, refused
from quantmatrix_pipeline.api.representations import json_response
from quantmatrix_pipeline.api.routes.admin import tracked
from quantmatrix_pipeline.api.tasks import Launcher, Launching
from quantmatrix_pipeline.dagster_client import LOCATION, reload_location
from quantmatrix_pipeline.job_names import VALIDATE, WORK_QUEUE
from quantmatrix_pipeline.providers import configured
from quantmatrix_pipeline.schedules.editing import running_jobs
from quantmatrix_pipeline.settings import read
from quantmatrix_pipeline.warehouse import fetches, reads

router = APIRouter(prefix="/ops", tags=["operations"])

Interval = Annotated[str, Path(description="of the bars", examples=["1d"], pattern="^(1d|5m|1m)$")]
SourceName = Annotated[str, Path(description="the vendor", examples=["polygon"], pattern="^[a-z0-9_]{1,32}$")]


@router.get("/cursor/{symbol}/{interval}/{source}", response_model=Cursor, responses=documented(304, 404, 422, 503))
def cursor(
    request: Request, symbol: SymbolPath, interval: Interval, source: SourceName, warehouse: OpenWarehouse
) -> Response:
    """Return where a symbol's bars begin with a vendor, and up to which session none is missing, as of the last run.

    It advances over contiguous bars only: it stands before the first session without a bar, unless that was accepted
    as missing. Bars that another vendor served in its place count.
    """
    instrument = reads.find_instrument(warehouse, symbol)
    found = fetches.cursor(warehouse, instrument.instrument_id, interval, source)
    if found is None:
        raise RequestError(
            404, "no-cursor", f"{source} was not asked for {interval} bars of {instrument.symbol}, or never had one"
        )
    body = Cursor(
        symbol=instrument.symbol,
        interval=interval,
        source=source,
        asked_from=found.asked_from,
        first_bar=found.first_bar,
        contiguous_to=found.contiguous_to,
        updated_at=found.updated_at,
    )
    return json_response(request, body.model_dump(mode="json"))


ADMIN: dict[str, Any] = {
    "tags": ["admin"], "dependencies": [AdminOnly], "responses": documented(401, 403, 404, 409, 422, 503)
}  # fmt: skip


@router.post("/backfill", status_code=HTTPStatus.ACCEPTED, **ADMIN)
def backfill(launcher: Launching, wanted: BackfillRequest) -> Launched:
    """Queue what a tracked symbol lacks of a stretch, and work the queue; how far its bars reach then, `/ops/cursor`
    says.
    """
    if wanted.interval != "1d":
        raise no_intraday_bars(wanted.interval)
    first, last = _stretch(launcher, wanted)
    symbol = tracked(launcher, wanted.symbol)
    urgency = {"tier" if isinstance(wanted.priority, str) else "priority": wanted.priority}
    stretch = {"symbols": [symbol], "first": str(first), "last": str(last)}
    return launcher.start(WORK_QUEUE, {"queue_stretch": stretch | urgency})


@router.post("/validate", status_code=HTTPStatus.ACCEPTED, **ADMIN)
def validate(launcher: Launching) -> Checking:
    """Run every check over what is stored, and say what is wrong with the settings and the schedules file.

    A check that fails stands in the Dagster UI and is told like any failed check.
    """
    found = findings(read(), launcher.settings, running_jobs(launcher.dagster))
    return Checking(**launcher.start(VALIDATE).model_dump(), findings=found)


@router.post("/reload", **ADMIN)
def reload(dagster: RunningDagster) -> Reloaded:
    """Read the settings' file again, have the running Dagster load its definitions anew, and say what is in force.

    A file that is wrong changes nothing: each fault is told, and Dagster keeps what it has loaded. Runs, and this API,
    read the file by themselves.
    """
    reading = read()
    if reading.settings is None:
        raise RequestError(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            "settings-invalid",
            f"nothing was reloaded, and what was read before stays in force: {'; '.join(reading.faults)}",
            {"errors": [{"field": field, "message": message} for field, message in map(placed, reading.faults)]},
        )
    reload_location(dagster)
    return Reloaded(
        reloaded=LOCATION,
        file=None if reading.file is None else str(reading.file),
        without_effect=dict(reading.shadowed),
        policies={capabilities: list(order) for capabilities, order in configured.policies(reading.settings)},
        vendors={vendor.name: state for vendor, state in configured.vendors(reading.settings)},
        findings=findings(reading, reading.settings, running_jobs(dagster)),
    )


def _stretch(launcher: Launcher, wanted: BackfillRequest) -> tuple[date, date]:
    """Return the first and the last day that are wanted, none of which need be a session, up to the newest closed one.

    Raises
    ------
    RequestError
        There is no session between them that has closed.
    """
    calendar, newest = launcher.calendar, launcher.newest_closed()
    first, last = (
        day.astimezone(calendar.timezone).date() if isinstance(day, datetime) else day
        for day in (wanted.start, newest if wanted.end is None else wanted.end)
    )
    ordered(first, last)
    if not len(calendar.sessions_in(first, min(last, newest))):
        raise refused([("start", f"there is no closed session of {calendar.name} from {first} to {last}")])
    return first, min(last, newest)
