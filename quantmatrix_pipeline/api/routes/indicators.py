"""Indicators of one symbol as charts ask for them, and of the whole market: `/market/ta`, `/market/atr`,
`/market/breadth`.
"""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from quantmatrix_pipeline.api.analysis import COLUMN_NAMES, require_snapshot, volatility
from quantmatrix_pipeline.api.models.breadth import MarketBreadth
from quantmatrix_pipeline.api.models.indicators import TechnicalAnalysis, Volatility
from quantmatrix_pipeline.api.moment import Moment
from quantmatrix_pipeline.api.parameters import (
    AppSettings,
    Asof,
    End,
    Limit,
    OpenWarehouse,
    Start,
    SymbolQuery,
    ordered,
)
from quantmatrix_pipeline.api.problems import documented
from quantmatrix_pipeline.api.representations import ROWS, json_response, rows_response
from quantmatrix_pipeline.indicators.breadth import BREADTH_COLUMNS
from quantmatrix_pipeline.warehouse import reads

router = APIRouter(tags=["indicators"])


@router.get("/market/ta", response_model=TechnicalAnalysis, responses=documented(304, 404, 422, 503))
def technical_analysis(
    request: Request,
    warehouse: OpenWarehouse,
    settings: AppSettings,
    symbol: SymbolQuery,
    asof: Asof = None,
    as_of: Moment = None,
) -> Response:
    """Return every indicator of a symbol's latest snapshot."""
    row = require_snapshot(warehouse, reads.find_instrument(warehouse, symbol, asof), settings, as_of)
    head = {name: value for name, value in row.items() if name not in COLUMN_NAMES}
    return json_response(request, head | {"indicators": {name: row[name] for name in COLUMN_NAMES}})


@router.get("/market/atr", response_model=Volatility, responses=documented(304, 404, 422, 503))
def average_true_range(
    request: Request,
    warehouse: OpenWarehouse,
    settings: AppSettings,
    symbol: SymbolQuery,
    asof: Asof = None,
    as_of: Moment = None,
) -> Response:
    """Return a symbol's average true range and its volatility regime, by rank among its last 252 bars."""
    return json_response(
        request, volatility(warehouse, reads.find_instrument(warehouse, symbol, asof), settings, as_of)
    )


@router.get(
    "/market/breadth",
    response_model=MarketBreadth,
    responses={200: {"content": ROWS}, **documented(304, 406, 422, 503)},
)
def breadth(
    request: Request,
    warehouse: OpenWarehouse,
    start: Start = None,
    end: End = None,
    limit: Limit = None,
    as_of: Moment = None,
) -> Response:
    """Return the breadth of recorded sessions, each in its newest revision, ascending."""
    ordered(start, end)
    names = [column.name for column in BREADTH_COLUMNS]
    rows = reads.breadth(warehouse, names, start=start, end=end, newest=limit, as_of=as_of)
    return rows_response(request, rows, known_at=as_of)
