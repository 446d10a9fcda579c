"""`/api/v1/indexes`: who was in an index on a day, and on which days that is known."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import pyarrow as pa
from fastapi import APIRouter, Path, Query, Request, Response

from quantmatrix_pipeline.api.models.indexes import IndexMembers, Reaches
from quantmatrix_pipeline.api.parameters import IsoDate, OpenWarehouse
from quantmatrix_pipeline.api.problems import documented
from quantmatrix_pipeline.api.representations import ROWS, rows_response
from quantmatrix_pipeline.warehouse import membership

router = APIRouter(tags=["indexes"])

IndexPath = Annotated[str, Path(description="SP500, NASDAQ100, DOW30 or R2000", examples=["SP500"], max_length=32)]
On = Annotated[IsoDate, Query(description="the day", examples=["2019-06-28"])]

_REACH = pa.schema(
    [
        ("index", pa.string()),
        ("kind", pa.string()),
        ("covered_from", pa.date32()),
        ("covered_to", pa.date32()),
        ("source", pa.string()),
    ]
)


@router.get("/indexes", response_model=Reaches, responses={200: {"content": ROWS}, **documented(304, 406, 503)})
def reaches(request: Request, warehouse: OpenWarehouse) -> Response:
    """List the days on which the members of each index are known."""
    rows = pa.Table.from_pylist([asdict(reach) for reach in membership.reaches(warehouse)], schema=_REACH)
    return rows_response(request, rows)


@router.get(
    "/indexes/{index}/members",
    response_model=IndexMembers,
    responses={200: {"content": ROWS}, **documented(304, 404, 406, 422, 503)},
)
def members(request: Request, warehouse: OpenWarehouse, index: IndexPath, on: On) -> Response:
    """Return who was in an index on a day; 404 where nothing stored says so, never the list of another day."""
    rows = membership.members_on(warehouse, index, on)
    return rows_response(request, rows, index=index.strip().upper(), on=on)
