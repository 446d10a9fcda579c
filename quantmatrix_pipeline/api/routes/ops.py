"""`/ops`: how far a vendor's bars reach without a hole; for holders of an admin key, backfills, reloads, checks."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request, Response

from quantmatrix_pipeline.api.admin import AdminOnly, RunningDagster
from quantmatrix_pipeline.api.models.admin import BackfillRequest, Launched, Reloaded
from quantmatrix_pipeline.api.models.operations import Cursor
from quantmatrix_pipeline.api.parameters import OpenWarehouse, SymbolPath, ordered
from quantmatrix_pipeline.api.problems import RequestError, documented
from quantmatrix_pipeline.api.representations import json_response
from quantmatrix_pipeline.api.routes.admin import tracked
from quantmatrix_pipeline.api.tasks import Launching
from quantmatrix_pipeline.dagster_client import LOCATION, reload_location
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
    """Fetch what a tracked symbol lacks of a stretch; how far its bars reach then, `/ops/cursor` says."""
    ordered(wanted.start, wanted.end)
    stretch = {"first": str(wanted.start)} | ({} if wanted.end is None else {"last": str(wanted.end)})
    symbols = {"symbols": [tracked(launcher, wanted.symbol)]}
    return launcher.start("backfill_symbols", {"fetch_symbols": symbols | stretch}, priority=wanted.priority)


@router.post("/validate", status_code=HTTPStatus.ACCEPTED, **ADMIN)
def validate(launcher: Launching) -> Launched:
    """Run every check over what is stored; what fails stands in the Dagster UI and is told like any failed check."""
    return launcher.start("validate")


@router.post("/reload", **ADMIN)
def reload(dagster: RunningDagster) -> Reloaded:
    """Have the running Dagster load its definitions anew; runs, and this API, read the settings' file by themselves."""
    reload_location(dagster)
    return Reloaded(reloaded=LOCATION)
