"""Which session a check is about."""

from __future__ import annotations

from datetime import date

from dagster import AssetCheckExecutionContext

from quantmatrix_pipeline.resources.platform import Platform


def session_of(context: AssetCheckExecutionContext, platform: Platform) -> date:
    """Return the (last) session of the run; in a run without partitions, the newest one the source can serve."""
    tags = context.run.tags
    key = tags.get("dagster/partition") or tags.get("dagster/asset_partition_range_end")
    return date.fromisoformat(key) if key else platform.newest_session()
