"""Which session a check is about."""

from __future__ import annotations

from datetime import date

from dagster import AssetCheckExecutionContext

from quantmatrix_pipeline.dagster_client.session_tags import sessions_in
from quantmatrix_pipeline.resources.platform import Platform


def session_of(context: AssetCheckExecutionContext, platform: Platform) -> date:
    """Return the (last) session of the run; in a run without partitions, the newest one the source can serve."""
    found = sessions_in(context.run.tags)
    return platform.newest_session() if found is None else found[1]
