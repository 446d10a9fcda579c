"""Indicators of one symbol as charts ask for them: `/market/ta`, `/market/atr`."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from quantmatrix_pipeline.api.analysis import COLUMN_NAMES, require_snapshot, volatility
from quantmatrix_pipeline.api.models.indicators import TechnicalAnalysis, Volatility
from quantmatrix_pipeline.api.parameters import OpenWarehouse, SymbolQuery
from quantmatrix_pipeline.api.problems import documented
from quantmatrix_pipeline.api.representations import json_response
from quantmatrix_pipeline.warehouse import reads

router = APIRouter(tags=["indicators"])


@router.get("/market/ta", response_model=TechnicalAnalysis, responses=documented(304, 404, 422, 503))
def technical_analysis(request: Request, warehouse: OpenWarehouse, symbol: SymbolQuery) -> Response:
    """Return every indicator of a symbol's latest snapshot."""
    row = require_snapshot(warehouse, reads.find_instrument(warehouse, symbol))
    head = {name: value for name, value in row.items() if name not in COLUMN_NAMES}
    return json_response(request, head | {"indicators": {name: row[name] for name in COLUMN_NAMES}})


@router.get("/market/atr", response_model=Volatility, responses=documented(304, 404, 422, 503))
def average_true_range(request: Request, warehouse: OpenWarehouse, symbol: SymbolQuery) -> Response:
    """Return a symbol's average true range and its volatility regime, by rank among its last 252 bars."""
    return json_response(request, volatility(warehouse, reads.find_instrument(warehouse, symbol)))
