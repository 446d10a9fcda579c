"""Where each instrument stands among all of its session: percentile ranks, in the universe and in its sector.

This is the only place where a value depends on other instruments' rows; it takes the engine's columns of whole sessions
and is therefore given the panel of all instruments.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from quantmatrix_pipeline.indicators import engine
from quantmatrix_pipeline.indicators.catalogue import RANKED, rank_name
from quantmatrix_pipeline.indicators.panel import Dates, Floats, Panel

Ranks = npt.NDArray[np.integer]

_SESSIONS_AT_ONCE = 64


def twice_ranks(values: Floats) -> tuple[Ranks, Ranks]:
    """Rank each row's values among themselves, ascending from 1; equal ones share the mean of their ranks.

    Parameters
    ----------
    values
        Shape (sessions, n); NaN has no rank.

    Returns
    -------
    Twice the rank, which is whole, of shape (sessions, n), 0 for NaN; and how many values a row has, shape (sessions,).
    """
    sessions, n = values.shape
    dtype = np.uint16 if 2 * n <= np.iinfo(np.uint16).max else np.int32
    order = np.argsort(values, axis=1)
    ascending = np.take_along_axis(values, order, axis=1)
    place = np.arange(n, dtype=np.int32)
    begins = np.ones((sessions, n + 1), np.bool_)
    np.not_equal(ascending[:, 1:], ascending[:, :-1], out=begins[:, 1:n])
    first = np.maximum.accumulate(np.where(begins[:, :n], place, 0), axis=1)
    last = np.minimum.accumulate(np.where(begins[:, 1:], place, n)[:, ::-1], axis=1)[:, ::-1]
    ranks = np.empty((sessions, n), dtype)
    np.put_along_axis(ranks, order, (first + last + 2).astype(dtype), axis=1)
    missing = np.isnan(values)
    ranks[missing] = 0
    return ranks, n - missing.sum(axis=1)


@dataclass(frozen=True, slots=True)
class CrossSection:
    """The ranks of some sessions; get one from `over_sessions` or `of_newest`.

    Attributes
    ----------
    sessions
        Ascending.
    instrument_ids
        Ascending: those of the panel.
    """

    sessions: Dates
    instrument_ids: npt.NDArray[np.int32]
    _ranks: dict[str, tuple[Ranks, Ranks]]
    """Name -> twice the ranks and the number of those ranked with it, each of shape (sessions, instruments)."""

    @classmethod
    def over_sessions(cls, panel: Panel, first: np.datetime64) -> CrossSection:
        """Rank every session of the panel from `first` on."""
        due = panel.session >= first  # NaT beyond an instrument's life is never due
        day, sessions = numbered(panel.session[due], first)
        inputs = [np.full((len(sessions), panel.width), np.nan) for _ in RANKED]
        bars = np.flatnonzero(due.any(axis=1))
        if len(bars):
            for block in engine.blocks(panel, columns=RANKED, first_row=int(bars[0])):
                rows, instrument = np.nonzero(due[block.row0 : block.row1, block.instruments])
                at = instrument + block.instruments.start
                session = day[(panel.session[rows + block.row0, at] - first).astype(np.int64)]
                for place, values in enumerate(inputs):
                    values[session, at] = block.values[rows, place, instrument]
        return cls._of(sessions, panel, inputs)

    @classmethod
    def of_newest(cls, panel: Panel) -> CrossSection:
        """Rank the sessions of the instruments' newest bars."""
        newest = panel.session[panel.length - 1, np.arange(panel.width)]
        sessions = np.unique(newest)
        if len(sessions) > 1:  # whoever stopped trading is ranked among those that traded with it
            return cls.over_sessions(panel, sessions[0])
        return cls._of(sessions, panel, [values[None] for values in engine.last_rows(panel, columns=RANKED)])

    @classmethod
    def _of(cls, sessions: Dates, panel: Panel, inputs: list[Floats]) -> CrossSection:
        sector = np.full(panel.width, -1, np.int32) if panel.sector is None else panel.sector
        members = [np.flatnonzero(sector == number) for number in np.unique(sector[sector >= 0])]
        ranks = {}
        for name in RANKED:
            values = inputs.pop(0)  # one input is let go before the next is ranked: together they are large
            ranks[rank_name(name)] = _ranked(values, [np.arange(panel.width)])
            ranks[rank_name(name, sector=True)] = _ranked(values, members)
        return cls(sessions, panel.instrument_ids, ranks)

    def at(self, session: Dates, instrument_id: npt.NDArray[np.int32]) -> Callable[[str], Floats]:
        """Return what gives a column of ranks by name, for rows of sessions and instruments that are among these."""
        rows = np.searchsorted(self.sessions, session), np.searchsorted(self.instrument_ids, instrument_id)

        def percent(name: str) -> Floats:
            twice, count = (part[rows] for part in self._ranks[name])
            share = np.full(len(twice), np.nan)
            np.divide(50.0 * twice, count, out=share, where=twice > 0)
            return share

        return percent


def numbered(session: Dates, first: np.datetime64) -> tuple[npt.NDArray[np.intp], Dates]:
    """Return the place of each day from `first` on among the sessions, and the sessions, ascending."""
    days = (session - first).astype(np.int64)
    seen = np.zeros(days.max(initial=-1) + 1, np.bool_)
    seen[days] = True
    return np.cumsum(seen) - 1, first + np.flatnonzero(seen).astype("timedelta64[D]")


def _ranked(values: Floats, groups: list[npt.NDArray[np.intp]]) -> tuple[Ranks, Ranks]:
    """Rank within each group of columns; who is in none has no rank."""
    n = values.shape[1]
    dtype = np.uint16 if 2 * n <= np.iinfo(np.uint16).max else np.int32
    ranks, counts = np.zeros(values.shape, dtype), np.zeros(values.shape, dtype)
    for start in range(0, len(values), _SESSIONS_AT_ONCE):
        some = slice(start, start + _SESSIONS_AT_ONCE)
        for members in groups:
            found, count = twice_ranks(values[some][:, members])
            ranks[some, members] = found
            counts[some, members] = count[:, None]
    return ranks, counts
