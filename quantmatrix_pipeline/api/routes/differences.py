"""`/market-data/differences/{symbol}`: where a second vendor contradicts what is stored of a symbol."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from quantmatrix_pipeline.api.models.differences import Differences
from quantmatrix_pipeline.api.parameters import Asof, End, OpenWarehouse, Start, SymbolPath, ordered
from quantmatrix_pipeline.api.problems import documented
from quantmatrix_pipeline.api.representations import ROWS, rows_response
from quantmatrix_pipeline.warehouse import reads, reconciliation

router = APIRouter(prefix="/market-data", tags=["coverage"])


@router.get(
    "/differences/{symbol}",
    response_model=Differences,
    responses={200: {"content": ROWS}, **documented(304, 404, 406, 422, 503)},
)
def of_symbol(
    request: Request,
    warehouse: OpenWarehouse,
    symbol: SymbolPath,
    start: Start = None,
    end: End = None,
    asof: Asof = None,
) -> Response:
    """Return a row per field in which two vendors differ: both candidates, the cause, and who is believed."""
    ordered(start, end)
    instrument = reads.find_instrument(warehouse, symbol, asof)
    rows = reconciliation.of_instrument(warehouse, instrument.instrument_id, start, end)
    return rows_response(request, rows, symbol=instrument.symbol)
