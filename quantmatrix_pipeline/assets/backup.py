"""The asset of the operations: copies of the databases."""

from dagster import AssetExecutionContext, AssetsDefinition, MaterializeResult, asset

from quantmatrix_pipeline.assets.declare import OWNER
from quantmatrix_pipeline.assets.metadata import table
from quantmatrix_pipeline.backups.create import create
from quantmatrix_pipeline.resources.platform import Platform


def build() -> list[AssetsDefinition]:
    """Return the backups' asset."""

    @asset(name="backup", group_name="operations", owners=[OWNER], kinds={"postgres"}, code_version="1")
    def databases(context: AssetExecutionContext, platform: Platform) -> MaterializeResult[None]:
        """The databases' newest dump, with a count and a hash of each table; the newest QM_BACKUP_KEEP are kept.

        Not partitioned by session: a copy holds all sessions, as they are when it is taken.
        """
        taken = create(platform.settings)
        return MaterializeResult(
            metadata={
                "dagster/row_count": taken.manifest.rows,
                "name": taken.name,
                "where": taken.where,
                "bytes": taken.manifest.bytes,
                "parts": table(
                    {"part": p.name, "bytes": p.bytes, "tables": len(p.tables), "rows": p.rows, "sha256": p.sha256}
                    for p in taken.manifest.parts
                ),
                "removed": ", ".join(taken.removed) or "none",
                "seconds": round(taken.seconds, 3),
            }
        )

    return [databases]
