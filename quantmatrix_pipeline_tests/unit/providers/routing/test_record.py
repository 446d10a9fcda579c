"""What a run asked is counted as it happens."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantmatrix_pipeline.errors import RateLimited, VendorUnavailable
from quantmatrix_pipeline.providers.contract import Capability
from quantmatrix_pipeline.providers.routing.record import Record
from quantmatrix_pipeline.providers.transport.calls import Timed
from quantmatrix_pipeline.warehouse.vendor_requests import LATENCY_BOUNDS_MS

DAILY = Capability.DAILY_BARS


def test_a_row_per_vendor_and_capability_tells_calls_errors_latencies_and_reasons() -> None:
    record = Record()
    for milliseconds in (10.0, 20.0, 30.0, 40.0):
        record.note(Timed("a", DAILY, "x", milliseconds, None))
    record.note(Timed("a", DAILY, "x", 50.0, VendorUnavailable("a", "HTTP 500")))
    record.note(Timed("a", Capability.QUOTES, "q", 5.0, RateLimited("a", "HTTP 429")))
    record.served("a", DAILY, 4)
    record.fell_back("a", DAILY, "VendorUnavailable", 3)
    record.left_undone("b", DAILY, 2)
    first, quotes, undone = record.rows()
    assert (first.vendor, first.capability, first.calls, first.symbols) == ("a", DAILY, 5, 4)
    assert (first.p50_ms, first.p95_ms) == (30.0, pytest.approx(48.0))
    assert first.errors == {"VendorUnavailable": 1}
    assert first.fallbacks == {"VendorUnavailable": 3}
    assert quotes.errors == {"RateLimited": 1}
    assert (undone.vendor, undone.calls, undone.undone, undone.p50_ms) == ("b", 0, 2, None)


@given(st.lists(st.floats(0, 60_000) | st.sampled_from(LATENCY_BOUNDS_MS).map(float), min_size=1, max_size=60))
def test_every_call_is_in_the_bucket_that_ends_at_or_above_it(took: list[float]) -> None:
    record = Record()
    for milliseconds in took:
        record.note(Timed("a", DAILY, "x", milliseconds, None))
    counts, total = record.counters().latency["a", "x"]
    below = np.cumsum(counts)
    for bound, number in zip(LATENCY_BOUNDS_MS, below, strict=False):
        assert number == sum(t <= bound for t in took)
    assert below[-1] == len(took)
    assert total == pytest.approx(sum(took))
