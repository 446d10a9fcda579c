"""Which sessions a run is about, by its tags: one as its partition, several as the two ends of a range.

Pure; shared by Dagster's own processes and by those that only ask it.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date

PARTITION = "dagster/partition"
SESSION = "quantmatrix/session"  # the same for people, whether one or several: as `written`
RANGE = ("dagster/asset_partition_range_start", "dagster/asset_partition_range_end")


def sessions_in(tags: Mapping[str, str]) -> tuple[date, date] | None:
    """Return the first and the last session of a run, both inclusive; None: it has none."""
    one = tags.get(PARTITION, "")
    try:
        first, last = (date.fromisoformat(tags.get(end, one)) for end in RANGE)
    except ValueError:
        return None
    return first, last


def range_tags(first: date | str, last: date | str) -> dict[str, str]:
    """Return the tags of a run that does the sessions from `first` to `last`, both inclusive, at once."""
    return dict(zip(RANGE, (str(first), str(last)), strict=True))


def written(first: date, last: date) -> str:
    """Return sessions as people and tags write them: one, or `first..last`."""
    return str(first) if first == last else f"{first}..{last}"
