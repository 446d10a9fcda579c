"""`/metrics`: what Prometheus scrapes, read from the tables at that moment, whichever process did the work."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator, Sequence

from fastapi import APIRouter, Depends, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from quantmatrix_pipeline.api.parameters import CurrentSettings, OpenWarehouse, known_parameters
from quantmatrix_pipeline.api.problems import documented
from quantmatrix_pipeline.providers.routing.assemble import build_router
from quantmatrix_pipeline.providers.routing.overview import VendorView
from quantmatrix_pipeline.warehouse import vendor_requests
from quantmatrix_pipeline.warehouse.vendor_requests import LATENCY_BOUNDS_MS, Counters

router = APIRouter(tags=["operations"], dependencies=[Depends(known_parameters)])
_TEXT = {"description": "the metrics", "content": {"text/plain": {"schema": {"type": "string"}}}}


@router.get("/metrics", response_class=Response, responses={200: _TEXT, **documented(422, 503)})
def metrics(in_force: CurrentSettings, warehouse: OpenWarehouse) -> Response:
    """Return the metrics in Prometheus' text format."""
    views = asyncio.run(build_router(in_force.settings, warehouse).look())
    registry = CollectorRegistry(auto_describe=False)
    registry.register(VendorMetrics(views, vendor_requests.counters(warehouse)))
    return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)


class VendorMetrics(Collector):
    """The vendors' metrics under the names that dashboards of the systems before know."""

    def __init__(self, views: list[VendorView], counters: Counters) -> None:
        self._views = views
        self._counters = counters

    def collect(self) -> Iterator[Metric]:
        selected = CounterMetricFamily(
            "provider_selected", "Questions that a vendor answered", labels=["capability", "provider"]
        )
        for (capability, vendor), times in self._counters.selected.items():
            selected.add_metric([capability, vendor], times)
        yield selected

        errors = CounterMetricFamily(
            "provider_errors", "Calls that ended in an error, by its type", labels=["provider", "endpoint", "code"]
        )
        for labels, times in self._counters.errors.items():
            errors.add_metric(list(labels), times)
        yield errors

        latency = HistogramMetricFamily(
            "provider_latency_ms", "How long calls took, in milliseconds", labels=["provider", "endpoint"]
        )
        for (vendor, endpoint), (counts, total) in self._counters.latency.items():
            latency.add_metric([vendor, endpoint], _cumulative(counts), total)
        yield latency

        circuit = GaugeMetricFamily(
            "circuit_state", "0 open, 0.5 half open, 1 closed: the worst of a vendor's circuits", labels=["provider"]
        )
        health = GaugeMetricFamily("provider_health_score", "The health score, 0 to 1", labels=["provider"])
        left = GaugeMetricFamily(
            "provider_calls_left_today", "Calls left until midnight UTC, of vendors with a limit", labels=["provider"]
        )
        for v in self._views:
            circuit.add_metric([v.name], v.state.level)
            health.add_metric([v.name], v.score.total)
            if v.room.today is not None:
                left.add_metric([v.name], v.room.today)
        yield from (circuit, health, left)


def _cumulative(counts: Sequence[int]) -> list[tuple[str, float]]:
    """Return counts per bucket as Prometheus wants them: each with all those below it."""
    bounds = [*(str(float(bound)) for bound in LATENCY_BOUNDS_MS), "+Inf"]
    return list(zip(bounds, itertools.accumulate(float(n) for n in counts), strict=True))
