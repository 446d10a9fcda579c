"""`/api/v1/status`: how much is stored and how sound it is."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response

from quantmatrix_pipeline.api.kept import Kept
from quantmatrix_pipeline.api.models.operations import Status
from quantmatrix_pipeline.api.parameters import OpenWarehouse
from quantmatrix_pipeline.api.problems import documented
from quantmatrix_pipeline.api.representations import json_response
from quantmatrix_pipeline.warehouse import audit

router = APIRouter(tags=["operations"])

# Counting reads every bar (0.1 s for 630,000): a page that asks each second must not keep a core busy.
KEPT_SECONDS = 15.0

_totals: Kept[dict[str, Any]] = Kept(audit.totals, KEPT_SECONDS)


@router.get("/status", response_model=Status, responses=documented(304, 503))
def status(request: Request, warehouse: OpenWarehouse) -> Response:
    """Count what is stored; the counts may be 15 seconds old."""
    totals = _totals.of(warehouse)
    records = totals["records"]
    return json_response(
        request,
        {
            "symbols": totals["symbols"],
            "records": records,
            "validation_rate": totals["validated"] / records if records else None,
            "gaps_flagged": totals["gaps_flagged"],
            "latest_date": totals["latest_date"],
        },
    )
