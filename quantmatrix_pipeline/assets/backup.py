"""The asset of the operations: copies of the databases."""

from dagster import AssetExecutionContext, AssetsDefinition, AssetSpec, MaterializeResult, multi_asset

from quantmatrix_pipeline.assets.declare import OWNER
from quantmatrix_pipeline.assets.metadata import column_schema, listed, table
from quantmatrix_pipeline.backups.create import create
from quantmatrix_pipeline.resources.platform import Platform

DESCRIPTION = """\
The databases' newest dump, with a count and a hash of each table; the newest QM_BACKUP_KEEP are kept.

Not partitioned by session: a copy holds all sessions, as they are when it is taken.
"""
PARTS = column_schema(
    [
        ("part", "text", "warehouse, or dagster: its runs, events and ticks"),
        ("bytes", "integer", "of the dump"),
        ("tables", "integer", "in it; of a partitioned table its parts"),
        ("rows", "integer", "in all of them"),
        ("sha256", "text", "of the dump"),
    ]
)


def build() -> list[AssetsDefinition]:
    """Return the backups' asset."""

    spec = AssetSpec(
        "backup",
        description=DESCRIPTION,
        group_name="operations",
        owners=[OWNER],
        kinds={"postgres"},
        code_version="1",
        metadata={"dagster/column_schema": PARTS},
    )

    # A step of another name than the asset's: the job bears that one, and Dagster wants the names of both to differ.
    @multi_asset(name="dump_databases", specs=[spec])
    def dump_databases(context: AssetExecutionContext, platform: Platform) -> MaterializeResult[None]:
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
                "removed": listed(taken.removed),
                "seconds": round(taken.seconds, 3),
            }
        )

    return [dump_databases]
