"""The freshness policy that the nightly assets display. Per asset, not per partition: a display, not the truth."""

from __future__ import annotations

from datetime import timedelta

from dagster import FreshnessPolicy

# A long weekend lies between two sessions at most: Thursday's close to Tuesday night.
NIGHTLY = FreshnessPolicy.time_window(warn_window=timedelta(hours=78), fail_window=timedelta(hours=126))
