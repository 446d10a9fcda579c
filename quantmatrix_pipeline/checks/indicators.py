"""Checks of the indicators: what is served now is what was recorded."""

from dagster import AssetCheckResult, AssetChecksDefinition, asset_check

from quantmatrix_pipeline.assets.metadata import table
from quantmatrix_pipeline.indicators.catalogue import COLUMNS
from quantmatrix_pipeline.resources.platform import Platform
from quantmatrix_pipeline.warehouse import audit


def build() -> list[AssetChecksDefinition]:
    """Return the checks of `indicator_history`."""

    @asset_check(asset="indicator_history")
    def snapshot_equals_history(platform: Platform) -> AssetCheckResult:
        """Each snapshot is, number for number, the newest revision of its session's history row.

        What an instrument is measured by others (relative strength, ranks) is compared at the newest session: at an
        older one the history holds what was known of the others then.
        """
        own = ["close", *(column.name for column in COLUMNS if not column.shared)]
        shared = [column.name for column in COLUMNS if column.shared]
        unlike = audit.snapshots_unlike_history(platform.warehouse, own, shared)
        return AssetCheckResult(passed=not unlike, metadata={"unlike": len(unlike), "first": table(unlike)})

    return [snapshot_equals_history]
