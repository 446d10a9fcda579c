"""How an asset of this project is declared: one partition per session, a range in one run, a table with its columns."""

from collections.abc import Callable, Sequence
from typing import Any

from dagster import AssetsDefinition, FreshnessPolicy, PartitionsDefinition, TableSchema, asset

from quantmatrix_pipeline.assets.partitions import ONE_RUN

OWNER = "team:market-data"


def session_asset(
    partitions: PartitionsDefinition[str],
    *,
    group: str,
    table: str,
    columns: TableSchema,
    after: Sequence[str] = (),
    freshness: FreshnessPolicy | None = None,
    may_skip: bool = False,
) -> Callable[[Callable[..., Any]], AssetsDefinition]:
    """Return the decorator for an asset over sessions.

    Parameters
    ----------
    after
        What must be there before it.
    may_skip
        Whether a run may yield nothing, as a dry run does; what comes after it is skipped then.
    """
    return asset(
        deps=list(after),
        partitions_def=partitions,
        backfill_policy=ONE_RUN,
        group_name=group,
        owners=[OWNER],
        kinds={"postgres"},
        code_version="1",
        freshness_policy=freshness,
        output_required=not may_skip,
        metadata={"dagster/table_name": table, "dagster/column_schema": columns},
    )
