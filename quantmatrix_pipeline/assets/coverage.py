"""Assets of the coverage: the report of how fresh the tracked set is."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import date

from dagster import AssetExecutionContext, AssetsDefinition, MaterializeResult, PartitionsDefinition

from quantmatrix_pipeline import clock
from quantmatrix_pipeline.assets.declare import session_asset
from quantmatrix_pipeline.assets.freshness import NIGHTLY
from quantmatrix_pipeline.assets.metadata import column_schema, table
from quantmatrix_pipeline.assets.partitions import sessions_of
from quantmatrix_pipeline.coverage.fill import update_fill
from quantmatrix_pipeline.coverage.report import coverage_as_of, save
from quantmatrix_pipeline.coverage.state import CoverageReport
from quantmatrix_pipeline.resources.cache import COVERAGE
from quantmatrix_pipeline.resources.platform import Platform
from quantmatrix_pipeline.warehouse.coverage_fill import SessionFill

COLUMNS = column_schema(
    [
        ("session", "date", "as of which session"),
        ("status", "text", "ok or degraded"),
        ("tracked_count", "integer", "tracked instruments, delisted ones among them"),
        ("expected", "integer", "those that should have a bar"),
        ("fresh", "integer", "those whose newest bar is the session's"),
        ("report", "jsonb", "buckets, stale symbols, reasons, the job to press"),
    ]
)


def build(partitions: PartitionsDefinition[str]) -> list[AssetsDefinition]:
    """Return the coverage's assets over the given sessions."""

    @session_asset(
        partitions,
        group="coverage",
        table="coverage_snapshots",
        columns=COLUMNS,
        after=["indicator_history"],
        freshness=NIGHTLY,
    )
    def coverage_report(context: AssetExecutionContext, platform: Platform) -> MaterializeResult[None]:
        """How many instruments are fresh as of the session, which are not, and the job that mends it."""
        first, session = sessions_of(context)
        report, fills = look_at_coverage(platform, first, session)
        return MaterializeResult(
            metadata={
                "headline": report.headline(),
                "share_fresh": round(report.share, 4),
                "buckets": table({"age": age, "instruments": n} for age, n in report.buckets.items()),
                "by_group": table(
                    {"group": group, **counts} for group, counts in {**report.by_index, **report.by_tier}.items()
                ),
                "stale": table({"age": age, "symbol": s} for age, symbols in report.stale.items() for s in symbols),
                "fill": table(asdict(fill) | {"session": str(fill.session)} for fill in fills[-10:]),
            }
        )

    return [coverage_report]


def look_at_coverage(platform: Platform, first: date, last: date) -> tuple[CoverageReport, Sequence[SessionFill]]:
    """Work out the coverage as of `last` and how full the sessions from `first` on are, both inclusive; keep both."""
    now = clock.now()
    report = coverage_as_of(platform.warehouse, platform.calendar, last, target=platform.settings.coverage_target)
    save(platform.warehouse, report, now)
    fills = update_fill(platform.warehouse, platform.calendar, first, last, now)
    platform.cache.publish({COVERAGE: report.published(now)})
    return report, fills
