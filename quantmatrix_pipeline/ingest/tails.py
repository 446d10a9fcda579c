"""The last stored bars of each instrument, kept in memory from one part of an answer to the next.

Where a source answers by date, each part goes on where the one before ended, for thousands of instruments at once: what
validation needs as context was judged a moment ago and is not read back.
"""

from __future__ import annotations

import numpy as np

from quantmatrix_pipeline.bars import rules
from quantmatrix_pipeline.bars.batch import FIELDS, Bools, Dates, Ints
from quantmatrix_pipeline.warehouse import bars as tables
from quantmatrix_pipeline.warehouse.bars import Columns

COLUMNS = (*tables.KEY, *FIELDS, "source_id")
_NOTHING_STORED = np.datetime64("0001-01-01", "D")


class Tails:
    """Of some instruments the last `rules.CONTEXT_BARS` bars, or all where there are fewer.

    True as long as nobody else writes bars: it lives while the writers' exclusive lock is held, and is emptied when a
    transaction fails.
    """

    def __init__(self) -> None:
        self.empty()

    def empty(self) -> None:
        """Forget everything."""
        self._ids: Ints = np.empty(0, np.int32)
        self._last: Dates = np.empty(0, "datetime64[D]")  # of each of the ids: its last stored session
        self._bars: Columns = {name: np.empty(0, tables.TYPES[name]) for name in COLUMNS}

    def precede(self, instrument_ids: Ints, first: Dates) -> Bools:
        """Tell of which instruments the tail is known and ends before `first`, shape (n,) as the arguments."""
        if not len(self._ids):
            return np.zeros(len(instrument_ids), np.bool_)
        place = np.minimum(np.searchsorted(self._ids, instrument_ids), len(self._ids) - 1)
        return np.asarray((self._ids[place] == instrument_ids) & (self._last[place] < first), np.bool_)

    def without(self, instrument_ids: Ints) -> Columns:
        """Return the tails, sorted by instrument and session, but for those of some instruments."""
        concerned = instrument_ids[np.isin(instrument_ids, self._ids)]
        if not len(concerned):
            return self._bars
        others = ~np.isin(self._bars["instrument_id"], concerned)
        return {name: column[others] for name, column in self._bars.items()}

    def keep(self, bars: Columns, judged: Ints, not_last: Ints) -> None:
        """Take over what is stored now.

        Parameters
        ----------
        bars
            Sorted by instrument and session: of every instrument of `judged` its bars up to the last that was written
            and at least as many as a tail has; what `without` returned stands among them.
        judged
            The instruments concerned, sorted; some may have no bar.
        not_last
            Those among them of which later bars are stored, or whose bars are not wholly in `bars`.
        """
        ids = np.setdiff1d(np.union1d(self._ids, judged), not_last)
        ends = np.searchsorted(bars["instrument_id"], ids, side="right")
        starts = np.maximum(np.searchsorted(bars["instrument_id"], ids, side="left"), ends - rules.CONTEXT_BARS)
        # All rows between start and end of each instrument, as one mask: a step up at each start, down at each end.
        steps = np.zeros(len(bars["instrument_id"]) + 1, np.int8)
        filled = ends > starts
        np.add.at(steps, starts[filled], 1)
        np.add.at(steps, ends[filled], -1)
        rows = np.flatnonzero(np.cumsum(steps[:-1], dtype=np.int8))
        last = np.full(len(ids), _NOTHING_STORED)
        last[filled] = bars["session"][ends[filled] - 1]
        self._ids, self._last = ids, last
        self._bars = {name: bars[name][rows] for name in COLUMNS}
