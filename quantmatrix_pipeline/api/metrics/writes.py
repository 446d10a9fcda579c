"""What was stored, in which batches and how fast, and how many rows there are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from quantmatrix_pipeline.api.metrics.buckets import cumulative
from quantmatrix_pipeline.warehouse import counters
from quantmatrix_pipeline.warehouse.engine import Warehouse
from quantmatrix_pipeline.warehouse.vendor_requests import LATENCY_BOUNDS_MS


class WriteMetrics(Collector):
    """What the writers counted; `rows` is table -> number of its rows."""

    def __init__(self, warehouse: Warehouse, rows: Mapping[str, int]) -> None:
        self._warehouse = warehouse
        self._rows = rows

    def collect(self) -> Iterator[Metric]:
        jobs = CounterMetricFamily(
            "jobs_processed",
            "Parts of sources' answers that were proved and stored, by what they held and who served",
            labels=["type", "provider"],
        )
        bars = CounterMetricFamily(
            "quantmatrix_bars_written", "Bars that were new or another version", labels=["type", "provider"]
        )
        latency = HistogramMetricFamily(
            "write_batch_ms",
            "From the writers' lock to just before the commit of one part of an answer, in milliseconds",
            labels=["type"],
        )
        types: dict[str, tuple[list[int], float]] = {}
        for b in counters.batches(self._warehouse):
            jobs.add_metric([b.type, b.provider], b.batches)
            bars.add_metric([b.type, b.provider], b.bars)
            counts, total = types.get(b.type, ([0] * (len(LATENCY_BOUNDS_MS) + 1), 0.0))
            types[b.type] = [n + m for n, m in zip(counts, b.buckets, strict=True)], total + b.sum_ms
        for kind, (counts, total) in types.items():
            latency.add_metric([kind], cumulative(counts), total)
        yield from (jobs, bars, latency)

        rows = GaugeMetricFamily("quantmatrix_table_rows", "Rows, at most a minute ago", labels=["table"])
        for table, count in self._rows.items():
            rows.add_metric([table], count)
        yield rows
