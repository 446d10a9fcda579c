"""What the jobs share: which tags hold them to limits, and what a job may be."""

from __future__ import annotations

from dagster import JobDefinition
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

AnyJob = UnresolvedAssetJobDefinition | JobDefinition

LIMITS = {"dagster/max_runtime": "7200"}
# What runs twice at once does nothing twice, but the second would only wait for the first's locks.
ONE_AT_A_TIME = {"quantmatrix/chain": "daily"}
