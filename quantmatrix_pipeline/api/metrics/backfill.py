"""What is missing and what is still to be fetched."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from quantmatrix_pipeline.warehouse import backfill, counters, gaps
from quantmatrix_pipeline.warehouse.engine import Warehouse

ENDED = ("done", "failed")


class BackfillMetrics(Collector):
    """Gaps and the backfill queue, as of `now`; what never happened is there with 0, so that rates begin with it."""

    def __init__(self, warehouse: Warehouse, now: datetime) -> None:
        self._warehouse = warehouse
        self._now = now

    def collect(self) -> Iterator[Metric]:
        found = CounterMetricFamily(
            "gaps_found", "Stretches without bars that a scan found where none had been known", labels=["interval"]
        )
        for interval, times in ({"1d": 0} | counters.gaps_found(self._warehouse)).items():
            found.add_metric([interval], times)
        stretches = GaugeMetricFamily(
            "quantmatrix_gap_sessions", "Sessions without a bar, as of the last scan", labels=["reason"]
        )
        for reason, (_, sessions) in gaps.by_reason(self._warehouse).items():
            stretches.add_metric([reason], sessions)
        yield from (found, stretches)

        enqueued = CounterMetricFamily("backfill_jobs_enqueued", "Backfill jobs that were queued", labels=["tier"])
        completed = CounterMetricFamily(
            "backfill_jobs_completed", "Backfill jobs that ended, done or failed", labels=["tier", "status"]
        )
        counted = counters.backfill_counts(self._warehouse)
        for tier in backfill.TIERS:
            enqueued.add_metric([tier], counted.get((tier, "enqueued"), 0))
            for status in ENDED:
                completed.add_metric([tier, status], counted.get((tier, status), 0))
        yield from (enqueued, completed)

        waiting = backfill.depth(self._warehouse, only_open=True)
        oldest = min((d.oldest for d in waiting), default=self._now)
        yield GaugeMetricFamily(
            "backfill_queue_depth", "Backfill jobs queued or under way", value=sum(d.jobs for d in waiting)
        )
        yield GaugeMetricFamily(
            "backfill_oldest_age_seconds",
            "Since when the oldest of them was queued; 0 where there is none",
            value=max(0.0, (self._now - oldest).total_seconds()),
        )
