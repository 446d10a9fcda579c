"""Which bars of the US exchanges had closed when an answer came: the newest one that a vendor gives may be moving."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import numpy as np

from quantmatrix_pipeline.bars.batch import Bools, Dates
from quantmatrix_pipeline.bars.sessions import trading_calendar
from quantmatrix_pipeline.providers.answers import Instants
from quantmatrix_pipeline.providers.transport.kept_for import NEW_YORK

SECONDS = {"1m": 60, "5m": 300}  # from one bar to the next
EXCHANGE = "XNYS"  # whose sessions, half days among them, are those of all US exchanges


def day_in_new_york(at: datetime) -> date:
    """Return the day of New York on which an instant lies."""
    return at.astimezone(NEW_YORK).date()


def closed_sessions(session: Dates, at: datetime) -> Bools:
    """Return which sessions of the US exchanges had closed at an instant, shape of `session`."""
    return session <= np.datetime64(_last_closed(at), "D")


def has_closed(session: date, at: datetime) -> bool:
    """Return whether a session of the US exchanges had closed at an instant."""
    return session <= _last_closed(at)


def _last_closed(at: datetime) -> date:
    return trading_calendar(EXCHANGE).newest_closed(at, timedelta(0))


def closed_bars(opened_at: Instants, interval: str, at: datetime) -> Bools:
    """Return which bars of `interval` (`1m` or `5m`) had closed at an instant, shape of `opened_at`."""
    now = np.datetime64(at.astimezone(UTC).replace(tzinfo=None), "s")
    return opened_at + np.timedelta64(SECONDS[interval], "s") <= now
