"""The jobs of the backups: one takes a copy, one proves the newest."""

from __future__ import annotations

from dagster import AssetSelection, define_asset_job
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from quantmatrix_pipeline.job_names import BACKUP, VERIFY_BACKUP

_LIMITS = {"dagster/max_runtime": "14400"}


def build() -> list[UnresolvedAssetJobDefinition]:
    """Return the jobs; both have no session, and neither stops a chain from writing meanwhile."""
    backup = AssetSelection.assets("backup")
    return [
        define_asset_job(
            BACKUP,
            # Proving a copy takes longer than taking it, and reads it all: that is the other job's, less often.
            selection=backup.without_checks(),
            description="Dump the warehouse and Dagster's storage, and let go of the oldest beyond QM_BACKUP_KEEP.",
            tags=_LIMITS,
        ),
        define_asset_job(
            VERIFY_BACKUP,
            selection=AssetSelection.checks_for_assets("backup"),
            description="Restore the newest backup into a scratch database and compare rows and hash of each table.",
            tags=_LIMITS,
        ),
    ]
