"""Where each instrument stands among all of its session: percentile ranks, in the universe and in its sector.

This is the only place where a value depends on other instruments' rows; it takes the engine's columns of whole sessions
and is therefore given the panel of all instruments.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from quantmatrix_pipeline.indicators import engine
from quantmatrix_pipeline.indicators.catalogue import RANKED, rank_name
from quantmatrix_pipeline.indicators.compiled import compiled
from quantmatrix_pipeline.indicators.panel import Bools, Dates, Floats, Panel
from quantmatrix_pipeline.indicators.ranking import Counts, Groups, Ranks, twice_ranks

_GROUPING = {rank_name(name, sector=bool(grouping)): (name, grouping) for name in RANKED for grouping in (0, 1)}
"""Column -> what is ranked, and whether in the one group of all or in the sectors."""


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
    _groups: Groups
    """Shape (1 or 2, instruments): the one group of all, and the sectors where there are any."""
    _ranks: dict[str, tuple[Ranks, Counts]]
    """What is ranked -> its ranks and their numbers in each group, as `twice_ranks` has them."""

    @classmethod
    def over_sessions(cls, panel: Panel, first: np.datetime64) -> CrossSection:
        """Rank every session of the panel from `first` on."""
        place, sessions = numbered(panel, first)
        days, first_day = panel.session.view(np.int64), day_number(first)
        due = np.flatnonzero((days >= first_day).any(axis=1))

        def by_session() -> Iterator[Floats]:
            values = np.empty((len(sessions), panel.width))  # one for all: fresh memory costs more than the engine
            for name in RANKED:
                values.fill(np.nan)
                for block in engine.blocks(panel, columns=[name], first_row=int(due[0])) if len(due) else ():
                    own = np.ascontiguousarray(block.values[:, 0])
                    _to_sessions(days, first_day, place, block.row0, block.instruments.start, own, values)
                yield values

        return cls._of(sessions, panel, by_session())

    @classmethod
    def of_newest(cls, panel: Panel) -> CrossSection:
        """Rank the sessions of the instruments' newest bars."""
        sessions = np.unique(newest_sessions(panel))
        if len(sessions) > 1:  # whoever stopped trading is ranked among those that traded with it
            return cls.over_sessions(panel, sessions[0])
        return cls._of(sessions, panel, (values[None] for values in engine.last_rows(panel, columns=RANKED)))

    @classmethod
    def _of(cls, sessions: Dates, panel: Panel, values: Iterable[Floats]) -> CrossSection:
        """`values` are those of each name of `RANKED`, of shape (sessions, instruments), and may overwrite the last."""
        groups = np.zeros((1 if panel.sector is None else 2, panel.width), np.int64)
        if panel.sector is not None:
            groups[1] = panel.sector
        ranks = {name: twice_ranks(own, groups, engine.THREADS) for name, own in zip(RANKED, values, strict=True)}
        return cls(sessions, panel.instrument_ids, groups, ranks)

    def at(self, session: Dates, instrument_id: npt.NDArray[np.int32]) -> Callable[[str], Floats]:
        """Return what gives a column of ranks by name, for rows of sessions and instruments that are among these."""
        row, column = np.searchsorted(self.sessions, session), np.searchsorted(self.instrument_ids, instrument_id)

        def percent(name: str) -> Floats:
            ranked, grouping = _GROUPING[name]
            share = np.full(len(row), np.nan)
            if grouping == len(self._groups):
                return share
            ranks, counts = self._ranks[ranked]
            twice = ranks[row, grouping, column]
            np.divide(50.0 * twice, counts[row, grouping, self._groups[grouping, column]], out=share, where=twice > 0)
            return share

        return percent


@compiled
def _to_sessions(
    days: npt.NDArray[np.int64],
    first_day: int,
    place: npt.NDArray[np.int64],
    row0: int,
    instrument0: int,
    values: Floats,
    out: Floats,
) -> None:
    """Put a block's values, shape (rows, instruments), in the rows of their sessions.

    `days` are those of the panel's rows, `place` is that of each day from `first_day` on among the sessions.
    """
    rows, width = values.shape
    for k in range(rows):
        for i in range(width):
            day = days[row0 + k, instrument0 + i]
            if day >= first_day:  # NaT is before every day
                out[place[day - first_day], instrument0 + i] = values[k, i]


def numbered(panel: Panel, first: np.datetime64) -> tuple[npt.NDArray[np.int64], Dates]:
    """Return the place of each day from `first` on among the panel's sessions, and these sessions, ascending."""
    first_day = day_number(first)
    last_day = day_number(np.append(newest_sessions(panel), first).max())
    seen = np.zeros(last_day - first_day + 1, np.bool_)
    _mark(panel.session.view(np.int64), first_day, seen)
    return np.cumsum(seen) - 1, first.astype("datetime64[D]") + np.flatnonzero(seen).astype("timedelta64[D]")


@compiled
def _mark(days: npt.NDArray[np.int64], first_day: int, seen: Bools) -> None:
    rows, width = days.shape
    for k in range(rows):
        for i in range(width):
            if days[k, i] >= first_day:
                seen[days[k, i] - first_day] = True


def newest_sessions(panel: Panel) -> Dates:
    """Return each instrument's newest session."""
    return panel.session[panel.length - 1, np.arange(panel.width)]


def day_number(session: np.datetime64) -> int:
    """Return the days from 1970 to a session."""
    return int(session.astype("datetime64[D]").astype(np.int64))
