"""`/api/v1/symbols`: which instruments the warehouse knows."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from quantmatrix_pipeline.api.models.symbols import Symbols
from quantmatrix_pipeline.api.parameters import OpenWarehouse
from quantmatrix_pipeline.api.problems import documented
from quantmatrix_pipeline.api.representations import ROWS, rows_response
from quantmatrix_pipeline.warehouse import reads

router = APIRouter(tags=["symbols"])


@router.get("/symbols", response_model=Symbols, responses={200: {"content": ROWS}, **documented(304, 406, 503)})
def symbols(request: Request, warehouse: OpenWarehouse) -> Response:
    """List all instruments by symbol, tracked or not, with the span of their daily bars."""
    return rows_response(request, reads.symbols(warehouse))
