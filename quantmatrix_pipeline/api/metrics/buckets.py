"""Histograms as Prometheus wants them, out of counts per bucket."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from quantmatrix_pipeline.warehouse.vendor_requests import LATENCY_BOUNDS_MS


def cumulative(counts: Sequence[int]) -> list[tuple[str, float]]:
    """Return (upper bound, count) of the buckets of `LATENCY_BOUNDS_MS` and above, each with all those below it."""
    bounds = [*(str(float(bound)) for bound in LATENCY_BOUNDS_MS), "+Inf"]
    return list(zip(bounds, itertools.accumulate(float(n) for n in counts), strict=True))
