"""Repeated measurements and what they come to: a median, its spread, and whether a requirement holds."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import TypeVar

from quantmatrix_pipeline.bench.report import Row

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Samples:
    """Seconds (or whatever was measured) of several repeats."""

    values: tuple[float, ...]

    @property
    def median(self) -> float:
        return median(self.values)

    @property
    def low(self) -> float:
        return min(self.values)

    @property
    def high(self) -> float:
        return max(self.values)

    def times(self, factor: float) -> Samples:
        """Return the samples in another unit."""
        return Samples(tuple(value * factor for value in self.values))

    def rate(self, amount: float) -> Samples:
        """Return how much of `amount` was done per second, where these are seconds."""
        return Samples(tuple(amount / seconds for seconds in self.values))

    def over(self, other: Samples) -> Samples:
        """Return the ratios to what was measured beside each of these, in the same repeat."""
        return Samples(tuple(own / theirs for own, theirs in zip(self.values, other.values, strict=True)))


class Series:
    """Samples under names, taken in turn, so that whatever else the machine does hits all of them alike."""

    def __init__(self) -> None:
        self._values: dict[str, list[float]] = {}

    def add(self, name: str, value: float) -> None:
        self._values.setdefault(name, []).append(value)

    def time(self, name: str, work: Callable[[], T]) -> T:
        """Do the work once and note its wall time in seconds."""
        started = time.perf_counter()
        result = work()
        self.add(name, time.perf_counter() - started)
        return result

    def __getitem__(self, name: str) -> Samples:
        return Samples(tuple(self._values[name]))


@dataclass(frozen=True)
class Measured(Row):
    """A row with its spread over the repeats, and whether its requirement holds (None where it has none)."""

    low: float | None = None
    high: float | None = None
    met: bool | None = None


def measured(
    name: str,
    samples: Samples,
    unit: str,
    *,
    ratio_to: str | None = None,
    ratio: Samples | None = None,
    requirement: str = "",
    met: bool | None = None,
) -> Measured:
    """Return the row of some samples: medians, and the spread; `met` is whether `requirement` holds."""
    return Measured(
        name,
        samples.median,
        unit,
        ratio_to,
        None if ratio is None else ratio.median,
        requirement,
        samples.low,
        samples.high,
        met,
    )
