"""The latest indicators and their recorded history: `/snapshots` and what lies under it."""

from __future__ import annotations

from fastapi import APIRouter, Depends, Request, Response

from quantmatrix_pipeline.api import screen
from quantmatrix_pipeline.api.analysis import COLUMN_NAMES, flagged, raw_analysis, raw_analysis_at, require_snapshot
from quantmatrix_pipeline.api.models.indicators import Snapshot, SnapshotHistory, Snapshots
from quantmatrix_pipeline.api.models.raw_analysis import RawAnalysis
from quantmatrix_pipeline.api.moment import Moment
from quantmatrix_pipeline.api.parameters import (
    AppSettings,
    Asof,
    CurrentSettings,
    End,
    Limit,
    OpenWarehouse,
    SessionPath,
    Start,
    SymbolPath,
    known_parameters,
    ordered,
)
from quantmatrix_pipeline.api.problems import documented
from quantmatrix_pipeline.api.representations import ROWS, json_response, rows_response
from quantmatrix_pipeline.snapshots.method import Method
from quantmatrix_pipeline.warehouse import reads

router = APIRouter(tags=["snapshots"])


@router.get(
    "/snapshots",
    response_model=Snapshots,
    responses={200: {"content": ROWS}, **documented(304, 406, 422, 503)},
    openapi_extra={"parameters": screen.openapi_parameters()},
)
def screened(request: Request, warehouse: OpenWarehouse, settings: AppSettings) -> Response:
    """Return the latest snapshots that meet every filter given; without any, all of them."""
    wanted = screen.parse(request.query_params.multi_items())
    rows = reads.snapshots(
        warehouse,
        COLUMN_NAMES,
        conditions=wanted.conditions,
        sort=wanted.sort,
        descending=wanted.descending,
        limit=wanted.limit,
        as_of=wanted.as_of,
    )
    return rows_response(request, flagged(rows, settings, wanted.as_of), known_at=wanted.as_of)


@router.get(
    "/snapshots/{symbol}",
    response_model=Snapshot,
    responses=documented(304, 404, 422, 503),
    dependencies=[Depends(known_parameters)],
)
def one(
    request: Request,
    warehouse: OpenWarehouse,
    settings: AppSettings,
    symbol: SymbolPath,
    asof: Asof = None,
    as_of: Moment = None,
) -> Response:
    """Return the latest snapshot of one instrument."""
    instrument = reads.find_instrument(warehouse, symbol, asof)
    return json_response(request, require_snapshot(warehouse, instrument, settings, as_of))


@router.get(
    "/snapshots/{symbol}/history",
    response_model=SnapshotHistory,
    responses={200: {"content": ROWS}, **documented(304, 404, 406, 422, 503)},
    dependencies=[Depends(known_parameters)],
)
def recorded(
    request: Request,
    warehouse: OpenWarehouse,
    symbol: SymbolPath,
    start: Start = None,
    end: End = None,
    limit: Limit = None,
    asof: Asof = None,
    as_of: Moment = None,
) -> Response:
    """Return recorded sessions of one instrument, each in its newest revision, ascending."""
    ordered(start, end)
    instrument = reads.find_instrument(warehouse, symbol, asof)
    rows = reads.history(
        warehouse, instrument.instrument_id, COLUMN_NAMES, start=start, end=end, newest=limit, as_of=as_of
    )
    return rows_response(request, rows, symbol=instrument.symbol, known_at=as_of)


@router.get(
    "/snapshots/{symbol}/analysis",
    response_model=RawAnalysis,
    responses=documented(304, 404, 422, 503),
    dependencies=[Depends(known_parameters)],
)
def latest_analysis(
    request: Request,
    warehouse: OpenWarehouse,
    settings: CurrentSettings,
    symbol: SymbolPath,
    asof: Asof = None,
    as_of: Moment = None,
) -> Response:
    """Return the zones, lines and thresholds behind the latest snapshot of one instrument."""
    instrument = reads.find_instrument(warehouse, symbol, asof)
    return json_response(request, raw_analysis(warehouse, instrument, Method.of(settings.settings), as_of))


@router.get(
    "/snapshots/{symbol}/history/{session}/analysis",
    response_model=RawAnalysis,
    responses=documented(304, 404, 422, 503),
    dependencies=[Depends(known_parameters)],
)
def past_analysis(
    request: Request,
    warehouse: OpenWarehouse,
    settings: CurrentSettings,
    symbol: SymbolPath,
    session: SessionPath,
    asof: Asof = None,
    as_of: Moment = None,
) -> Response:
    """Return the same as of any session, computed from the stored bars up to it; recorded or not."""
    instrument = reads.find_instrument(warehouse, symbol, asof)
    method = Method.of(settings.settings)
    return json_response(request, raw_analysis_at(warehouse, instrument, session, method, as_of))
