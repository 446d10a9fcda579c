"""The ticks of a cron expression in a time zone, as Dagster's scheduler keeps them.

Where clocks are put forward, a tick within the missing hour comes at its end; where they are put back, one within the
repeated hour comes the second time. An expression whose hour is `*` ticks each hour that there is: none within the
missing one, and twice within the repeated one.
"""

from __future__ import annotations

import heapq
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

_FIELDS = ("minute", "hour", "day of month", "month", "day of week")
_PLAIN = re.compile(r"[0-9A-Za-z*,/-]+")
_EARLIER = timedelta(hours=3)  # more than clocks are ever put back by


def checked(expression: str) -> str:
    """Return a cron expression with single blanks.

    Raises
    ------
    ValueError
        It is none that every cron reads alike; says why.
    """
    fields = expression.split()
    if len(fields) != len(_FIELDS):
        raise ValueError(f"a cron schedule has five fields ({', '.join(_FIELDS)}), such as '30 17 * * 1-5'")
    for name, field in zip(_FIELDS, fields, strict=True):
        if not _PLAIN.fullmatch(field):
            raise ValueError(f"{field!r} is no {name}: of numbers, names, and * , - / only")
    if "*" not in fields[2] and "*" not in fields[4]:
        raise ValueError("a day of month beside a day of week is read as 'or' by some and as 'and' by others")
    plain = " ".join(fields)
    try:
        next(CronSim(plain, datetime(2024, 1, 1)))  # noqa: DTZ001 - a cron expression knows no zone
    except CronSimError as error:
        raise ValueError(f"{plain!r}: {str(error)[0].lower()}{str(error)[1:]}") from None
    except StopIteration:
        raise ValueError(f"{plain!r} never comes") from None
    return plain


def ticks(expression: str, zone: ZoneInfo, after: datetime) -> Iterator[datetime]:
    """Yield the ticks after an aware instant, in `zone`, ascending, without end."""
    each_hour = expression.split()[1] == "*"
    waiting: list[datetime] = []  # in UTC; where clocks are put back, what is read from them goes back, too
    last = after.astimezone(UTC)
    begin = after.astimezone(zone).replace(tzinfo=None) - _EARLIER
    for naive in CronSim(expression, begin):
        earliest = naive.replace(tzinfo=zone).astimezone(UTC)
        while waiting and waiting[0] < earliest:
            tick = heapq.heappop(waiting)
            if tick > last:
                last = tick
                yield tick.astimezone(zone)
        for instant in _instants(naive, zone, each_hour):
            heapq.heappush(waiting, instant)


def _instants(naive: datetime, zone: ZoneInfo, each_hour: bool) -> list[datetime]:
    """Return in UTC when the clocks of a zone show a time and a tick is due."""
    first, second = (naive.replace(tzinfo=zone, fold=fold) for fold in (0, 1))
    before, behind = first.utcoffset(), second.utcoffset()
    assert before is not None
    assert behind is not None
    if before == behind:
        return [first.astimezone(UTC)]
    if behind < before:  # put back: there are two such times
        return [d.astimezone(UTC) for d in ((first, second) if each_hour else (second,))]
    if each_hour:  # put forward: there is no such time
        return []
    resumed = naive.replace(minute=0, second=0) + (behind - before)
    return [resumed.replace(tzinfo=zone).astimezone(UTC)]
