"""The check of the backups: a copy that was never put back is a hope."""

from dagster import AssetCheckResult, AssetChecksDefinition, asset_check

from quantmatrix_pipeline.assets.metadata import table
from quantmatrix_pipeline.backups.verify import verify
from quantmatrix_pipeline.resources.platform import Platform


def build() -> list[AssetChecksDefinition]:
    """Return the check of `backup`."""

    @asset_check(asset="backup")
    def restores_whole(platform: Platform) -> AssetCheckResult:
        """The newest backup restores into a scratch database, and each table has the rows and the hash it had."""
        done = verify(platform.settings)
        return AssetCheckResult(
            passed=not done.faults,
            metadata={
                "name": done.name,
                "rows": done.manifest.rows,
                "faults": len(done.faults),
                "found": table({"fault": fault} for fault in done.faults),
                "seconds": round(done.seconds, 3),
            },
        )

    return [restores_whole]
