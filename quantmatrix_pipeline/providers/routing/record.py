"""What one run asked of whom and how it went, counted as it happens and written when the run is over."""

from __future__ import annotations

import bisect
from collections import Counter, defaultdict
from collections.abc import Mapping
from datetime import datetime

import numpy as np

from quantmatrix_pipeline import clock
from quantmatrix_pipeline.providers.contract import Capability
from quantmatrix_pipeline.providers.transport.calls import Timed
from quantmatrix_pipeline.warehouse.vendor_requests import LATENCY_BOUNDS_MS, Counters, RequestRow


class Record:
    """Counts calls, errors, latencies, the symbols that were served, and why vendors were passed over."""

    def __init__(self) -> None:
        self.started_at: datetime = clock.now()
        self._milliseconds: dict[tuple[str, str], list[float]] = defaultdict(list)
        self._errors: Counter[tuple[str, str, str]] = Counter()
        self._symbols: Counter[tuple[str, str]] = Counter()
        self._fallbacks: Counter[tuple[str, str, str]] = Counter()
        self._undone: Counter[tuple[str, str]] = Counter()
        self._selected: Counter[tuple[str, str]] = Counter()
        self._endpoint_errors: Counter[tuple[str, str, str]] = Counter()
        self._buckets: dict[tuple[str, str], list[int]] = {}
        self._sums: Counter[tuple[str, str]] = Counter()

    def note(self, timed: Timed) -> None:
        """Count one attempt."""
        self._milliseconds[timed.vendor, timed.capability].append(timed.milliseconds)
        endpoint = (timed.vendor, timed.endpoint)
        buckets = self._buckets.setdefault(endpoint, [0] * (len(LATENCY_BOUNDS_MS) + 1))
        buckets[bisect.bisect_left(LATENCY_BOUNDS_MS, timed.milliseconds)] += 1
        self._sums[endpoint] += timed.milliseconds  # type: ignore[assignment]
        if timed.error is not None:
            code = type(timed.error).__name__
            self._errors[timed.vendor, timed.capability, code] += 1
            self._endpoint_errors[timed.vendor, timed.endpoint, code] += 1

    def served(self, vendor: str, capability: Capability, symbols: int) -> None:
        """Count a question that a vendor answered, for so many symbols."""
        self._selected[capability, vendor] += 1
        self._symbols[vendor, capability] += symbols

    def fell_back(self, vendor: str, capability: Capability, reason: str, symbols: int = 1) -> None:
        """Count symbols for which somebody else was asked instead of `vendor`."""
        self._fallbacks[vendor, capability, reason] += symbols

    def ranked(self, capability: Capability, reasons: Mapping[str, str], symbols: int = 1) -> None:
        """Count symbols for which vendors did not stand where the policy names them; `reasons` says why, by vendor."""
        for vendor, why in reasons.items():
            self.fell_back(vendor, capability, why, symbols)

    def left_undone(self, vendor: str, capability: Capability, symbols: int = 1) -> None:
        """Count symbols that nobody served in this run; `vendor` is the last that could have."""
        self._undone[vendor, capability] += symbols

    def rows(self) -> list[RequestRow]:
        """Return one row per vendor and capability that was asked, passed over or left with something undone."""
        keys = {*self._milliseconds, *self._symbols, *self._undone, *((v, c) for v, c, _ in self._fallbacks)}
        found = []
        for vendor, capability in sorted(keys):
            took = self._milliseconds.get((vendor, capability), [])
            p50, p95 = np.percentile(took, [50, 95]).tolist() if took else (None, None)
            found.append(
                RequestRow(
                    vendor,
                    capability,
                    len(took),
                    self._symbols[vendor, capability],
                    {code: n for (v, c, code), n in sorted(self._errors.items()) if (v, c) == (vendor, capability)},
                    p50,
                    p95,
                    {why: n for (v, c, why), n in sorted(self._fallbacks.items()) if (v, c) == (vendor, capability)},
                    self._undone[vendor, capability],
                )
            )
        return found

    def counters(self) -> Counters:
        """Return what Prometheus counts."""
        return Counters(
            dict(self._selected),
            dict(self._endpoint_errors),
            {endpoint: (list(counts), float(self._sums[endpoint])) for endpoint, counts in self._buckets.items()},
        )
