"""What instruments are measured against: one closing price per day, of a single instrument or of the universe."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from quantmatrix_pipeline.indicators.panel import Bools, Dates, Floats, Panel
from quantmatrix_pipeline.indicators.weeks import week_number


@dataclass(frozen=True, slots=True)
class Benchmark:
    """Closes by calendar day; make it with `of_closes`, `of_instrument` or `of_universe`.

    Attributes
    ----------
    universe
        Whether it is the equal-weight mean of the universe, not an instrument.
    dividends_in
        Whether its prices include dividends: only prices of the same kind may be divided by them.
    """

    universe: bool
    dividends_in: bool
    _first_day: int
    _by_day: Floats

    @classmethod
    def of_closes(
        cls, session: Dates, close: Floats, *, universe: bool = False, dividends_in: bool = False
    ) -> Benchmark:
        """Take closes of ascending sessions, in one share unit.

        A day without one has the last close before it of the same calendar week (an instrument may trade when the
        benchmark has a hole), and none where the week has had none yet.
        """
        if not len(session):
            return cls(universe, dividends_in, 0, np.full(1, np.nan))
        days = np.arange(session[0] - 1, session[-1] + 8)  # a day without any at either end, for all days beyond
        place = np.searchsorted(session, days, side="right") - 1
        known = week_number(session[place]) == week_number(days)
        known &= place >= 0
        return cls(universe, dividends_in, int(days[0].astype(np.int64)), np.where(known, close[place], np.nan))

    @classmethod
    def of_instrument(cls, panel: Panel, place: int) -> Benchmark:
        """Take the instrument at this position of a panel."""
        life = slice(0, panel.length[place])
        included = panel.dividends_in is not None and bool(panel.dividends_in[place])
        return cls.of_closes(panel.session[life, place], panel.close[life, place], dividends_in=included)

    @classmethod
    def of_universe(cls, panel: Panel, members: Bools, *, dividends_in: bool = False) -> Benchmark:
        """Chain the equal-weight mean of the members' changes from their bar before, session by session.

        A session's value depends on sessions up to it alone; the level is 1 at the first.
        """
        session = panel.session[:, members]
        close = panel.close[:, members]
        lived = ~np.isnat(session)
        if not lived.any():
            return cls.of_closes(session[lived], close[lived], universe=True, dividends_in=dividends_in)
        first = session[lived].min()
        days = int((session[lived].max() - first).astype(np.int64)) + 1
        totals, counts, seen = np.zeros(days), np.zeros(days, np.int64), np.zeros(days, np.bool_)
        for row in range(len(session)):  # ascending bars: what follows adds nothing to an earlier sum's front
            here = lived[row]
            day = (session[row, here] - first).astype(np.int64)
            seen[day] = True
            if row:
                totals += np.bincount(day, close[row, here] / close[row - 1, here], days)
                counts += np.bincount(day, minlength=days)
        change = np.divide(totals, counts, out=np.ones(days), where=counts > 0)
        sessions: Dates = first + np.flatnonzero(seen).astype("timedelta64[D]")
        return cls.of_closes(sessions, np.multiply.accumulate(change[seen]), universe=True, dividends_in=dividends_in)

    def at(self, session: Dates) -> Floats:
        """Return the close of each session, NaN where there is none."""
        return np.take(self._by_day, session.view(np.int64) - self._first_day, mode="clip")
