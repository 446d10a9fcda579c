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
from quantmatrix_pipeline.indicators.compiled import compiled
from quantmatrix_pipeline.indicators.panel import Dates, Floats, Panel
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
    """Shape (2, instruments): the one group of all, and the sectors."""
    _ranks: dict[str, tuple[Ranks, Counts]]
    """What is ranked -> its ranks and their numbers in each group, as `twice_ranks` has them."""

    @classmethod
    def over_sessions(cls, panel: Panel, first: np.datetime64) -> CrossSection:
        """Rank every session of the panel from `first` on."""
        due = panel.session >= first  # NaT beyond an instrument's life is never due
        day, sessions = numbered(panel.session[due], first)
        inputs = [np.full((len(sessions), panel.width), np.nan) for _ in RANKED]
        bars = np.flatnonzero(due.any(axis=1))
        if len(bars):
            days, first_day = panel.session.view(np.int64), int(first.astype("datetime64[D]").astype(np.int64))
            for block in engine.blocks(panel, columns=RANKED, first_row=int(bars[0])):
                values = np.ascontiguousarray(block.values.transpose(1, 0, 2))
                _to_sessions(days, first_day, day, block.row0, block.instruments.start, values, tuple(inputs))
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
        sector = np.full(panel.width, -1, np.int64) if panel.sector is None else panel.sector.astype(np.int64)
        groups = np.stack((np.zeros_like(sector), sector))
        ranks = {}
        for name in RANKED:
            values = inputs.pop(0)  # one input is let go before the next is ranked: together they are large
            ranks[name] = twice_ranks(values, groups, engine.THREADS)
        return cls(sessions, panel.instrument_ids, groups, ranks)

    def at(self, session: Dates, instrument_id: npt.NDArray[np.int32]) -> Callable[[str], Floats]:
        """Return what gives a column of ranks by name, for rows of sessions and instruments that are among these."""
        row, column = np.searchsorted(self.sessions, session), np.searchsorted(self.instrument_ids, instrument_id)

        def percent(name: str) -> Floats:
            ranked, grouping = _GROUPING[name]
            ranks, counts = self._ranks[ranked]
            twice = ranks[row, grouping, column]
            share = np.full(len(twice), np.nan)
            np.divide(50.0 * twice, counts[row, grouping, self._groups[grouping, column]], out=share, where=twice > 0)
            return share

        return percent


@compiled
def _to_sessions(
    days: npt.NDArray[np.int64],
    first_day: int,
    session: npt.NDArray[np.int64],
    row0: int,
    instrument0: int,
    values: Floats,
    outs: tuple[Floats, ...],
) -> None:
    """Put a block's values, shape (columns, rows, instruments), in the rows of their sessions.

    `days` are those of the panel's rows, `session` is the place of each day from `first_day` on among the sessions.
    """
    columns, rows, width = values.shape
    for k in range(rows):
        for column in range(columns):
            for i in range(width):
                day = days[row0 + k, instrument0 + i]
                if day >= first_day:  # NaT is before every day
                    outs[column][session[day - first_day], instrument0 + i] = values[column, k, i]


def numbered(session: Dates, first: np.datetime64) -> tuple[npt.NDArray[np.intp], Dates]:
    """Return the place of each day from `first` on among the sessions, and the sessions, ascending."""
    days = (session - first).astype(np.int64)
    seen = np.zeros(days.max(initial=-1) + 1, np.bool_)
    seen[days] = True
    return np.cumsum(seen) - 1, first + np.flatnonzero(seen).astype("timedelta64[D]")
