"""The vendors' metrics: who answered, how fast, with which errors, and how they stand."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from quantmatrix_pipeline.api.metrics.buckets import cumulative
from quantmatrix_pipeline.providers.routing.overview import VendorView
from quantmatrix_pipeline.warehouse.vendor_requests import Counters


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
            latency.add_metric([vendor, endpoint], cumulative(counts), total)
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
