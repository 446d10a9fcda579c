"""`/ops`: how far a vendor's bars reach without a hole."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Request, Response

from quantmatrix_pipeline.api.models.operations import Cursor
from quantmatrix_pipeline.api.parameters import OpenWarehouse, SymbolPath
from quantmatrix_pipeline.api.problems import RequestError, documented
from quantmatrix_pipeline.api.representations import json_response
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
