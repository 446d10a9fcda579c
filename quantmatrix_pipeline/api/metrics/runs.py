"""Runs by task: how many ended how, how long they took, which are under way, what gave a sign of life.

A run's job is the label `task`: `job` is Prometheus' own name for what it scrapes, and takes its place.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric, SummaryMetricFamily
from prometheus_client.registry import Collector

from quantmatrix_pipeline.warehouse import counters, coverage, runs
from quantmatrix_pipeline.warehouse.engine import Warehouse


class RunMetrics(Collector):
    """What the runs' tables tell; each of `tasks` is there with 0 before its first run, so that rates begin with it."""

    def __init__(self, warehouse: Warehouse, tasks: Collection[str]) -> None:
        self._warehouse = warehouse
        self._tasks = tasks

    def collect(self) -> Iterator[Metric]:
        ended = CounterMetricFamily(
            "quantmatrix_runs", "Runs that ended, by task and success, failure or canceled", labels=["task", "status"]
        )
        took = SummaryMetricFamily(
            "quantmatrix_run_duration_seconds", "How long runs took that ended", labels=["task", "status"]
        )
        counts = counters.run_counts(self._warehouse)
        for task in sorted({*self._tasks, *(job for job, _ in counts)}):
            for status in counters.RUN_ENDINGS:
                counted = counts.get((task, status), counters.Runs(0, 0.0))
                ended.add_metric([task, status], counted.runs)
                took.add_metric([task, status], counted.runs, counted.seconds)
        yield from (ended, took)

        running = GaugeMetricFamily("quantmatrix_runs_running", "Runs under way", labels=["task"])
        last = GaugeMetricFamily(
            "quantmatrix_run_last_end_timestamp_seconds",
            "When a run of the task last ended like this",
            labels=["task", "status"],
        )
        states = {state.job: state for state in runs.by_job(self._warehouse)}
        for task in sorted({*self._tasks, *states}):
            state = states.get(task, runs.JobState(task, 0, {}))
            running.add_metric([task], state.running)
            for how, at in state.last_ended.items():
                last.add_metric([task, how], at.timestamp())
        yield from (running, last)

        beat = GaugeMetricFamily(
            "quantmatrix_heartbeat_timestamp_seconds", "When a sensor or schedule last ticked", labels=["name"]
        )
        for name, (at, _) in coverage.heartbeats(self._warehouse).items():
            beat.add_metric([name], at.timestamp())
        yield beat
