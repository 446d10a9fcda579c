"""The sessions of an exchange: which dates trade, when they close, and how far apart two of them are.

Everything is computed once from `exchange_calendars` over a fixed span, so that an answer never depends on the day on
which it is asked. A single day is a `datetime.date`, many are a datetime64[D] array, an instant is an aware datetime.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

import exchange_calendars
import numpy as np
import numpy.typing as npt
import pandas as pd

from quantmatrix_pipeline.bars.batch import Dates, Ints
from quantmatrix_pipeline.errors import ConfigurationError, NotASession

FIRST_DAY = date(1990, 1, 1)
LAST_DAY = date(2049, 12, 31)  # left to itself the library ends a year after today, by the wall clock

NO_SESSION = -1
NO_BAR = -1


class TradingCalendar:
    """The sessions of one exchange from 1990 (or the first the library knows) to 2049 (or the last it knows).

    Get one from `trading_calendar`, which keeps it: building takes about 0.2 s.

    Attributes
    ----------
    name
        The exchange's market identifier code, such as `XNYS`, or `24/7`.
    sessions
        All sessions, ascending, datetime64[D], read only.
    timezone
        The exchange's time zone, in which a session's date is to be understood.
    """

    def __init__(self, name: str) -> None:
        library = _library_calendar(name)
        self.name: str = library.name
        self.timezone = ZoneInfo(str(library.tz))
        self.sessions: Dates = library.sessions.to_numpy().astype("datetime64[D]")
        self.sessions.flags.writeable = False
        self._closes: npt.NDArray[np.datetime64] = (
            library.closes.dt.tz_localize(None).to_numpy().astype("datetime64[s]")
        )
        opens = library.opens.dt.tz_localize(None).to_numpy().astype("datetime64[s]")
        self._minutes: Ints = ((self._closes - opens).astype(np.int64) // 60).astype(np.int32)
        self._library = library
        self._origin = self.sessions[0]
        # A table by day answers `index_of` by one lookup a row, an order of magnitude faster than a binary search.
        days = (self.sessions - self._origin).astype(np.int64)
        self._index_by_day: Ints = np.full(int(days[-1]) + 1, NO_SESSION, np.int32)
        self._index_by_day[days] = np.arange(len(days), dtype=np.int32)

    def __repr__(self) -> str:
        return f"TradingCalendar({self.name!r}, {self.sessions[0]}..{self.sessions[-1]})"

    # --- which dates trade ------------------------------------------------------------------------------------------

    def index_of(self, dates: Dates) -> Ints:
        """Return each date's position in `sessions`, int32 of the same shape; -1 for what is no session (or is NaT)."""
        days: npt.NDArray[np.int64] = (np.asarray(dates, "datetime64[D]") - self._origin).astype(np.int64)
        inside = (days >= 0) & (days < len(self._index_by_day))
        if inside.all():
            return np.asarray(self._index_by_day[days], np.int32)
        return np.where(inside, self._index_by_day[np.where(inside, days, 0)], np.int32(NO_SESSION))

    def is_session(self, day: date) -> bool:
        """Tell whether the exchange trades on `day`."""
        return self._position(day) != NO_SESSION

    def require_session(self, day: date) -> date:
        """Return `day`.

        Raises
        ------
        NotASession
            Says why `day` is none (weekday, holiday by name, outside the calendar) and names the sessions next to it.
        """
        if not self.is_session(day):
            raise NotASession(f"{day} is no session of {self.name} ({self._why_closed(day)}); {self._neighbours(day)}")
        return day

    def sessions_in(self, first: date, last: date) -> Dates:
        """Return the sessions from `first` to `last`, both included; neither need be a session."""
        return self.sessions[self._at_or_after(first) : self._after(last)]

    def previous(self, day: date, n: int = 1) -> date:
        """Return the n-th session before `day`, `day` itself (a session or not) excluded; n >= 1."""
        return self._nth(self._at_or_after(day) - _positive(n), day, f"{n} before")

    def next(self, day: date, n: int = 1) -> date:
        """Return the n-th session after `day`, `day` itself (a session or not) excluded; n >= 1."""
        return self._nth(self._after(day) + _positive(n) - 1, day, f"{n} after")

    def window(self, last: date, count: int) -> Dates:
        """Return the `count` sessions that end at the session `last`, ascending.

        Raises
        ------
        NotASession
            `last` is none, or the calendar doesn't reach back that far.
        """
        end = self._require_position(last) + 1
        if _positive(count) > end:
            raise NotASession(f"{self.name} knows {end} sessions up to {last}, since {self.sessions[0]}: not {count}")
        return self.sessions[end - count : end]

    def minutes(self, sessions: Dates) -> Ints:
        """Return from open to close of each session in minutes, int32 of the same shape; half days have fewer.

        Bars of n minutes are expected minutes / n of them: 78 of five minutes on a full day of 390, 42 on one of 210.
        """
        at = self.index_of(sessions)
        if (at == NO_SESSION).any():
            self.require_session(np.asarray(sessions, "datetime64[D]")[at == NO_SESSION][0].item())
        return self._minutes[at]

    def special_days(self, first: date, last: date) -> dict[date, int]:
        """Return day -> minutes of trading, for weekdays from `first` to `last`, both inclusive, without a session (0)
        and for sessions shorter than the usual one.
        """
        days = np.arange(np.datetime64(first, "D"), np.datetime64(last, "D") + 1)
        weekdays = days[np.is_busday(days)]
        found = dict.fromkeys(weekdays[self.index_of(weekdays) == NO_SESSION].tolist(), 0)
        inside = self.sessions_in(first, last)
        minutes = self.minutes(inside)
        usual = int(np.median(minutes)) if len(minutes) else 0
        short = minutes < usual
        return found | dict(zip(inside[short].tolist(), minutes[short].tolist(), strict=True))

    # --- when they close --------------------------------------------------------------------------------------------

    def close(self, session: date) -> datetime:
        """Return the instant, in UTC, at which `session` closes; half days close early."""
        return self._close_at(self._require_position(session))

    def newest_closed(self, instant: datetime, grace: timedelta) -> date:
        """Return the last session whose close plus `grace` is at or before the aware `instant`."""
        if instant.tzinfo is None:
            raise ValueError(f"newest_closed needs an aware datetime, got {instant!r}")
        # Floored to the second, as closes are whole seconds: a floor never lets a session end too early.
        limit = np.datetime64((instant - grace).astimezone(UTC).replace(tzinfo=None), "s")
        count = int(np.searchsorted(self._closes, limit, side="right"))
        return self._nth(count - 1, instant.date(), f"closed as of {instant.isoformat()}")

    def expiry(self, session: date, grace: timedelta) -> datetime:
        """Return when what was computed for `session` is superseded: the next session's close plus `grace`, in UTC."""
        position = self._require_position(session) + 1
        self._nth(position, session, "1 after")
        return self._close_at(position) + grace

    def age(self, last_bar_session: Dates, as_of_session: date) -> Ints:
        """Return how many sessions lie after each last bar, up to and including the session `as_of_session`.

        Parameters
        ----------
        last_bar_session
            Any shape, datetime64[D]; NaT where an instrument has no bar.
        as_of_session
            The newest session that closed, as of which the age is told.

        Returns
        -------
        int32 of the same shape: 0 for a bar of `as_of_session` (or later), -1 (`NO_BAR`) for NaT.
        """
        last = np.asarray(last_bar_session, "datetime64[D]")
        as_of = self._require_position(as_of_session)
        passed = np.maximum(as_of + 1 - np.searchsorted(self.sessions, last, side="right"), 0)
        return np.where(np.isnat(last), NO_BAR, passed).astype(np.int32)

    # --- positions in `sessions` ------------------------------------------------------------------------------------

    def _position(self, day: date) -> int:
        return int(self.index_of(np.array([day], "datetime64[D]"))[0])

    def _require_position(self, day: date) -> int:
        return self._position(self.require_session(day))

    def _at_or_after(self, day: date) -> int:
        return int(np.searchsorted(self.sessions, np.datetime64(day, "D"), side="left"))

    def _after(self, day: date) -> int:
        return int(np.searchsorted(self.sessions, np.datetime64(day, "D"), side="right"))

    def _nth(self, position: int, day: date, what: str) -> date:
        if not 0 <= position < len(self.sessions):
            span = f"{self.sessions[0]} to {self.sessions[-1]}"
            raise NotASession(f"no such session of {self.name} ({what}, from {day}): the calendar spans {span}")
        return self.sessions[position].item()  # type: ignore[no-any-return]

    def _close_at(self, position: int) -> datetime:
        return self._closes[position].item().replace(tzinfo=UTC)  # type: ignore[no-any-return]

    # --- for people -------------------------------------------------------------------------------------------------

    def _why_closed(self, day: date) -> str:
        if not self.sessions[0] <= np.datetime64(day, "D") <= self.sessions[-1]:
            return f"the calendar spans {self.sessions[0]} to {self.sessions[-1]}"
        if self._library.weekmask[day.weekday()] == "0":
            return f"a {day:%A}"
        holidays = self._library.regular_holidays
        if holidays is not None and len(names := holidays.holidays(str(day), str(day), return_name=True)):
            return str(names.iloc[0])
        return "the exchange was closed that day"

    def _neighbours(self, day: date) -> str:
        before, after = self._at_or_after(day) - 1, self._after(day)
        near = [f"{self.sessions[before]} before"] if before >= 0 else []
        near += [f"{self.sessions[after]} after"] if after < len(self.sessions) else []
        return f"the nearest: {' and '.join(near)}"


@lru_cache(maxsize=16)
def trading_calendar(name: str = "XNYS") -> TradingCalendar:
    """Return the calendar of an exchange by market identifier code or alias; built once per process.

    Raises
    ------
    ConfigurationError
        No calendar bears this name.
    """
    return TradingCalendar(name)


def _library_calendar(name: str) -> Any:
    try:
        return exchange_calendars.get_calendar(name, start=str(FIRST_DAY), end=str(LAST_DAY))
    except exchange_calendars.errors.InvalidCalendarName:
        raise ConfigurationError(
            f"no exchange calendar is called {name!r}; QM_CALENDAR takes a market identifier code "
            f"such as XNYS, XNAS, XLON, or 24/7"
        ) from None
    except ValueError:  # the library refuses to go beyond the holidays that it knows; take all of those
        kind = type(exchange_calendars.get_calendar(name))
        first = max(filter(None, (kind.bound_min(), pd.Timestamp(FIRST_DAY))))
        last = min(filter(None, (kind.bound_max(), pd.Timestamp(LAST_DAY))))
        return exchange_calendars.get_calendar(name, start=first, end=last)


def _positive(n: int) -> int:
    if n < 1:
        raise ValueError(f"a count of sessions is at least 1, got {n}")
    return n
