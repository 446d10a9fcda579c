"""`/metrics`: what Prometheus scrapes, read from the tables at that moment, whichever process did the work.

While the database is away it is an answer all the same, with `quantmatrix_warehouse_up` 0 and nothing else: whoever is
woken knows which of the two has gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import Iterator

from fastapi import APIRouter, Depends, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Gauge, generate_latest

from quantmatrix_pipeline import clock
from quantmatrix_pipeline.api.kept import Kept
from quantmatrix_pipeline.api.metrics.backfill import BackfillMetrics
from quantmatrix_pipeline.api.metrics.coverage import CoverageMetrics
from quantmatrix_pipeline.api.metrics.runs import RunMetrics
from quantmatrix_pipeline.api.metrics.vendors import VendorMetrics
from quantmatrix_pipeline.api.metrics.writes import WriteMetrics
from quantmatrix_pipeline.api.parameters import CurrentSettings, OpenDoor, known_parameters
from quantmatrix_pipeline.api.problems import documented
from quantmatrix_pipeline.api.tasks import TASKS
from quantmatrix_pipeline.bars.sessions import trading_calendar
from quantmatrix_pipeline.errors import ConfigurationError, WarehouseError, WarehouseUnavailable
from quantmatrix_pipeline.providers.routing.assemble import build_router
from quantmatrix_pipeline.settings import Settings
from quantmatrix_pipeline.warehouse import vendor_requests
from quantmatrix_pipeline.warehouse.engine import Warehouse
from quantmatrix_pipeline.warehouse.row_counts import RowCounter

log = logging.getLogger(__name__)

router = APIRouter(tags=["operations"], dependencies=[Depends(known_parameters)])
_TEXT = {"description": "the metrics", "content": {"text/plain": {"schema": {"type": "string"}}}}

# What grows is counted whole each time; rows are scraped each quarter of a minute, and come once a night.
ROWS_KEPT_SECONDS = 60.0

# A scrape that hangs in the database holds up no thread but its own. Prometheus waits for ten seconds, if not told
# otherwise.
PATIENCE_SECONDS = 8.0
_reading = threading.Lock()

_row_counts: Kept[dict[str, int]] = Kept(RowCounter(), ROWS_KEPT_SECONDS)


@router.get("/metrics", response_class=Response, responses={200: _TEXT, **documented(422)})
def metrics(in_force: CurrentSettings, door: OpenDoor) -> Response:
    """Return the metrics in Prometheus' text format; `quantmatrix_warehouse_up 0` alone while the database is away."""
    try:
        with _turn(), door.opened() as warehouse:
            told = _up(1) + _read(warehouse, in_force.settings)
    except (WarehouseError, ConfigurationError) as error:
        log.warning("/metrics: %s", error)
        told = _up(0)
    return Response(told, media_type=CONTENT_TYPE_LATEST)


@contextlib.contextmanager
def _turn() -> Iterator[None]:
    """Wait for the scrape before this one, if it is not over yet.

    Raises
    ------
    WarehouseUnavailable
        It still is not, after `PATIENCE_SECONDS`.
    """
    if not _reading.acquire(timeout=PATIENCE_SECONDS):
        raise WarehouseUnavailable("the scrape before this one still waits for the database; `qm doctor` tells")
    try:
        yield
    finally:
        _reading.release()


def _up(value: int) -> bytes:
    registry = CollectorRegistry()
    Gauge("quantmatrix_warehouse_up", "1 while the database answers, else 0", registry=registry).set(value)
    return generate_latest(registry)


def _read(warehouse: Warehouse, settings: Settings) -> bytes:
    now = clock.now()
    calendar = trading_calendar(settings.calendar)
    views = asyncio.run(build_router(settings, warehouse).look())
    registry = CollectorRegistry(auto_describe=False)
    registry.register(RunMetrics(warehouse, TASKS))
    registry.register(WriteMetrics(warehouse, _row_counts.of(warehouse)))
    registry.register(CoverageMetrics(warehouse, calendar, settings, now))
    registry.register(BackfillMetrics(warehouse, now))
    registry.register(VendorMetrics(views, vendor_requests.counters(warehouse)))
    return generate_latest(registry)
