"""What a benchmark hands back, and how it is timed."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True)
class Row:
    """One measured number.

    Attributes
    ----------
    name
        What was measured, with its size.
    value, unit
        The number: a median where it is a time.
    ratio_to, ratio
        What it is compared with in the same run, and this value divided by that one's; None where it stands alone.
    requirement
        What it should be, in words; empty where nothing is promised.
    """

    name: str
    value: float
    unit: str
    ratio_to: str | None = None
    ratio: float | None = None
    requirement: str = ""


def interleaved_medians(tasks: Mapping[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Return the median seconds of each task; they take turns, so that a busy moment of the machine hits all alike.

    Each runs once before it counts: the first run pays for pages and caches that later ones reuse.
    """
    seconds: dict[str, list[float]] = {name: [] for name in tasks}
    for turn in range(repeats + 1):
        for name, task in tasks.items():
            started = time.perf_counter()
            task()
            if turn:
                seconds[name].append(time.perf_counter() - started)
    return {name: median(times) for name, times in seconds.items()}
