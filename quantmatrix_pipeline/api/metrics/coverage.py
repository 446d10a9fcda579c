"""How fresh the tracked set is, and how late the newest bars are."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from quantmatrix_pipeline.bars.sessions import TradingCalendar
from quantmatrix_pipeline.coverage.standing import ingestion_lag, source_ends, standing
from quantmatrix_pipeline.settings import Settings
from quantmatrix_pipeline.warehouse import gaps
from quantmatrix_pipeline.warehouse.engine import Warehouse


class CoverageMetrics(Collector):
    """The newest report, how things stand at `now`, and the ingestion's lag; nothing that nobody worked out yet."""

    def __init__(self, warehouse: Warehouse, calendar: TradingCalendar, settings: Settings, now: datetime) -> None:
        self._warehouse = warehouse
        self._calendar = calendar
        self._grace = timedelta(minutes=settings.close_grace_minutes)
        self._now = now

    def collect(self) -> Iterator[Metric]:
        lag = GaugeMetricFamily(
            "ingestion_lag_seconds",
            "Since when, closed and past its grace, the first session without any bar is due; 0 where none is",
            labels=["interval"],
        )
        ends = source_ends(self._warehouse)
        newest = gaps.newest_session(self._warehouse)
        if newest is not None:
            late = timedelta(0) if ends else ingestion_lag(self._calendar, newest, self._now, self._grace)
            lag.add_metric(["1d"], late.total_seconds())
        yield lag
        yield GaugeMetricFamily(
            "quantmatrix_source_ends",
            "1 while the newest bars are of a source that may hold no later session (files, sample), else 0",
            value=ends,
        )

        now = standing(self._warehouse, self._calendar, self._now)
        yield GaugeMetricFamily(
            "quantmatrix_coverage_ok", "1 while nothing is wrong with the coverage, else 0", value=now.status == "ok"
        )
        instruments = GaugeMetricFamily(
            "quantmatrix_coverage_instruments", "Expected instruments by the age of their newest bar", labels=["age"]
        )
        groups = GaugeMetricFamily(
            "quantmatrix_coverage_group_instruments", "The same by index and by tier", labels=["group", "age"]
        )
        share = GaugeMetricFamily("quantmatrix_coverage_fresh_ratio", "Fresh instruments over expected ones, 0 to 1")
        target = GaugeMetricFamily("quantmatrix_coverage_target_ratio", "The share that is promised, 0 to 1")
        at = GaugeMetricFamily("quantmatrix_coverage_report_timestamp_seconds", "When the newest report was made")
        if now.report is not None and now.computed_at is not None:
            for age, count in now.report["buckets"].items():
                instruments.add_metric([age], count)
            for kind in ("by_index", "by_tier"):
                for group, counts in now.report.get(kind, {}).items():
                    for age, count in counts.items():
                        groups.add_metric([group, age], count)
            share.add_metric([], now.report["share"])
            target.add_metric([], now.report["target"])
            at.add_metric([], now.computed_at.timestamp())
        yield from (instruments, groups, share, target, at)
