"""Checks of the breadth: its counts add up, and are those of the history."""

from dagster import AssetCheckExecutionContext, AssetCheckResult, AssetChecksDefinition, asset_check

from quantmatrix_pipeline.assets.metadata import table
from quantmatrix_pipeline.checks.context import session_of
from quantmatrix_pipeline.resources.platform import Platform
from quantmatrix_pipeline.snapshots.breadth import faults


def build() -> list[AssetChecksDefinition]:
    """Return the checks of `market_breadth`."""

    @asset_check(asset="market_breadth")
    def breadth_adds_up(context: AssetCheckExecutionContext, platform: Platform) -> AssetCheckResult:
        """The session's stages sum to its instruments, no part is more than its whole, and the history has the same."""
        wrong = faults(platform.warehouse, session_of(context, platform), platform.method)
        return AssetCheckResult(passed=not wrong, metadata={"faults": table({"fault": fault} for fault in wrong)})

    return [breadth_adds_up]
