"""How long an answer may be served again: until the day that it tells of can have changed."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta, tzinfo
from zoneinfo import ZoneInfo

NEW_YORK = ZoneInfo("America/New_York")
_SETTLED = time(16, 30)  # the close and half an hour of grace
_SATURDAY = 5


def keep_until_close(now: datetime) -> float:
    """Return the seconds until the next weekday's 16:30 in New York, more than 0.

    A holiday counts as a weekday: it costs one call too many, while a calendar here would have to be kept right.

    Parameters
    ----------
    now
        An instant with an offset.
    """
    here = now.astimezone(NEW_YORK)
    day = here.date()
    while datetime.combine(day, _SETTLED, NEW_YORK) <= here or day.weekday() >= _SATURDAY:
        day += timedelta(days=1)
    return (datetime.combine(day, _SETTLED, NEW_YORK).astimezone(UTC) - now).total_seconds()


def keep_until_midnight(now: datetime, zone: tzinfo = UTC) -> float:
    """Return the seconds until the next midnight in `zone`, more than 0; the days of crypto end with those of UTC."""
    tomorrow = now.astimezone(zone).date() + timedelta(days=1)
    return (datetime.combine(tomorrow, time(), zone).astimezone(UTC) - now).total_seconds()
