"""Checks of the coverage: the promises made to users."""

from dagster import AssetCheckExecutionContext, AssetCheckResult, AssetChecksDefinition, AssetCheckSeverity, asset_check

from quantmatrix_pipeline.assets.metadata import table
from quantmatrix_pipeline.checks.context import session_of
from quantmatrix_pipeline.coverage.attempts import SENSORS, given_up
from quantmatrix_pipeline.coverage.report import coverage_as_of
from quantmatrix_pipeline.coverage.state import M5_INACTIVE, NONE, STALE, CoverageReport
from quantmatrix_pipeline.resources.platform import Platform


def build() -> list[AssetChecksDefinition]:
    """Return the checks of `coverage_report`."""

    @asset_check(asset="coverage_report")
    def coverage_at_target(context: AssetCheckExecutionContext, platform: Platform) -> AssetCheckResult:
        """At least the promised share of the expected instruments has the session's bar (QM_COVERAGE_TARGET)."""
        report = _report(context, platform)
        return AssetCheckResult(
            passed=report.share >= report.target,
            metadata={
                "share": round(report.share, 4),
                "target": report.target,
                "without_any_bar": report.buckets[NONE],
            },
        )

    @asset_check(asset="coverage_report")
    def nothing_over_48h(context: AssetCheckExecutionContext, platform: Platform) -> AssetCheckResult:
        """No expected instrument's newest bar is two or more sessions old."""
        report = _report(context, platform)
        return AssetCheckResult(
            passed=not report.buckets[STALE],
            metadata={"over_48h": report.buckets[STALE], "symbols": table({"symbol": s} for s in report.stale[STALE])},
        )

    @asset_check(asset="coverage_report")
    def m5_of_last_session() -> AssetCheckResult:
        """Each expected instrument has the last session's bars of five minutes; inactive while nothing fetches them."""
        return AssetCheckResult(passed=True, metadata=dict(M5_INACTIVE))

    @asset_check(asset="coverage_report")
    def backfills_get_on(context: AssetCheckExecutionContext, platform: Platform) -> AssetCheckResult:
        """No sensor has given up for the session on what it launches backfills for."""
        stuck = given_up(platform.warehouse, session_of(context, platform), SENSORS)
        return AssetCheckResult(
            passed=not stuck,
            severity=AssetCheckSeverity.WARN,
            metadata={"given_up": len(stuck), "by": table(stuck)},
        )

    return [coverage_at_target, nothing_over_48h, m5_of_last_session, backfills_get_on]


def _report(context: AssetCheckExecutionContext, platform: Platform) -> CoverageReport:
    return coverage_as_of(
        platform.warehouse,
        platform.calendar,
        session_of(context, platform),
        target=platform.settings.coverage_target,
    )
