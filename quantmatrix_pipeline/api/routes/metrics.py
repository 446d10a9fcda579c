"""`/metrics`: what Prometheus scrapes, read from the tables at that moment, whichever process did the work."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter, Depends, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from quantmatrix_pipeline import clock
from quantmatrix_pipeline.api.kept import Kept
from quantmatrix_pipeline.api.metrics.backfill import BackfillMetrics
from quantmatrix_pipeline.api.metrics.coverage import CoverageMetrics
from quantmatrix_pipeline.api.metrics.runs import RunMetrics
from quantmatrix_pipeline.api.metrics.vendors import VendorMetrics
from quantmatrix_pipeline.api.metrics.writes import WriteMetrics
from quantmatrix_pipeline.api.parameters import CurrentSettings, OpenWarehouse, known_parameters
from quantmatrix_pipeline.api.problems import documented
from quantmatrix_pipeline.bars.sessions import trading_calendar
from quantmatrix_pipeline.providers.routing.assemble import build_router
from quantmatrix_pipeline.warehouse import audit, vendor_requests

router = APIRouter(tags=["operations"], dependencies=[Depends(known_parameters)])
_TEXT = {"description": "the metrics", "content": {"text/plain": {"schema": {"type": "string"}}}}

# Counting rows reads every table whole; they are scraped each quarter of a minute, and grow once a night.
ROWS_KEPT_SECONDS = 60.0

_row_counts: Kept[dict[str, int]] = Kept(audit.row_counts, ROWS_KEPT_SECONDS)


@router.get("/metrics", response_class=Response, responses={200: _TEXT, **documented(422, 503)})
def metrics(in_force: CurrentSettings, warehouse: OpenWarehouse) -> Response:
    """Return the metrics in Prometheus' text format."""
    now = clock.now()
    calendar = trading_calendar(in_force.settings.calendar)
    views = asyncio.run(build_router(in_force.settings, warehouse).look())
    registry = CollectorRegistry(auto_describe=False)
    registry.register(RunMetrics(warehouse))
    registry.register(WriteMetrics(warehouse, _row_counts.of(warehouse)))
    registry.register(CoverageMetrics(warehouse, calendar, in_force.settings, now))
    registry.register(BackfillMetrics(warehouse, now))
    registry.register(VendorMetrics(views, vendor_requests.counters(warehouse)))
    return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)
