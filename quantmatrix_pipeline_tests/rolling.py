"""What a vendor would see: the instants of all calls, held against its limits window by window."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Sequence

from quantmatrix_pipeline.providers.routing.limits import Limits

Call = tuple[float, int]  # seconds, weight
DAY = 86_400


def most_within(calls: Iterable[Call], seconds: float) -> int:
    """Return the largest sum of weights in any window of this length; the window's end is not part of it."""
    ordered = sorted(calls)
    instants = [instant for instant, _ in ordered]
    sums = [0]
    for _, weight in ordered:
        sums.append(sums[-1] + weight)
    return max(
        (sums[bisect_left(instants, start + seconds)] - sums[first] for first, start in enumerate(instants)),
        default=0,
    )


def most_in_a_day(calls: Iterable[Call]) -> int:
    """Return the largest sum of weights in any UTC day; instants are seconds since 1970."""
    days: Counter[int] = Counter()
    for instant, weight in calls:
        days[int(instant // DAY)] += weight
    return max(days.values(), default=0)


def excess(calls: Sequence[Call], limits: Limits) -> list[str]:
    """Return which limits the calls break, and by how much; empty where they keep them all."""
    found = (
        ("second", limits.per_second, most_within(calls, 1)),
        ("minute", limits.per_minute, most_within(calls, 60)),
        ("day", limits.per_day, most_in_a_day(calls)),
    )
    return [f"{most} calls in a {unit}, {limit} allowed" for unit, limit, most in found if limit and most > limit]
