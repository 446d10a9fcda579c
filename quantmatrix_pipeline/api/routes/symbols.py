"""`/api/v1/symbols`: which instruments the warehouse knows, and the names that they bore."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from quantmatrix_pipeline.api.models.symbols import Names, Symbols
from quantmatrix_pipeline.api.parameters import OpenWarehouse, SymbolPath
from quantmatrix_pipeline.api.problems import documented
from quantmatrix_pipeline.api.representations import ROWS, rows_response
from quantmatrix_pipeline.warehouse import reads

router = APIRouter(tags=["symbols"])


@router.get("/symbols", response_model=Symbols, responses={200: {"content": ROWS}, **documented(304, 406, 503)})
def symbols(request: Request, warehouse: OpenWarehouse) -> Response:
    """List all instruments by symbol, tracked or not, with the span of their daily bars."""
    return rows_response(request, reads.symbols(warehouse))


@router.get(
    "/symbols/{symbol}/names",
    response_model=Names,
    responses={200: {"content": ROWS}, **documented(304, 404, 406, 503)},
)
def names(request: Request, warehouse: OpenWarehouse, symbol: SymbolPath) -> Response:
    """List all names of every instrument that ever bore a symbol, with the days from which and until which it did."""
    return rows_response(request, reads.names(warehouse, symbol), symbol=symbol.strip().upper())
