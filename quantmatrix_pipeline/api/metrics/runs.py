"""Runs by job: how many ended how, how long they took, which are under way, what gave a sign of life."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric, SummaryMetricFamily
from prometheus_client.registry import Collector

from quantmatrix_pipeline.warehouse import counters, coverage, runs
from quantmatrix_pipeline.warehouse.engine import Warehouse


class RunMetrics(Collector):
    """What the runs' tables tell."""

    def __init__(self, warehouse: Warehouse) -> None:
        self._warehouse = warehouse

    def collect(self) -> Iterator[Metric]:
        ended = CounterMetricFamily(
            "quantmatrix_runs", "Runs that ended, by job and success, failure or canceled", labels=["job", "status"]
        )
        took = SummaryMetricFamily(
            "quantmatrix_run_duration_seconds", "How long runs took that ended", labels=["job", "status"]
        )
        for (job, status), counted in counters.run_counts(self._warehouse).items():
            ended.add_metric([job, status], counted.runs)
            took.add_metric([job, status], counted.runs, counted.seconds)
        yield from (ended, took)

        running = GaugeMetricFamily("quantmatrix_runs_running", "Runs under way", labels=["job"])
        last = GaugeMetricFamily(
            "quantmatrix_run_last_end_timestamp_seconds",
            "When a run of the job last ended like this",
            labels=["job", "status"],
        )
        for state in runs.by_job(self._warehouse):
            running.add_metric([state.job], state.running)
            for how, at in state.last_ended.items():
                last.add_metric([state.job, how], at.timestamp())
        yield from (running, last)

        beat = GaugeMetricFamily(
            "quantmatrix_heartbeat_timestamp_seconds", "When a sensor or schedule last ticked", labels=["name"]
        )
        for name, (at, _) in coverage.heartbeats(self._warehouse).items():
            beat.add_metric([name], at.timestamp())
        yield beat
