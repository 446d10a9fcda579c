"""Bars held in memory, handed out by request: what every source has after it read a file or an answer."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

import numpy as np

from quantmatrix_pipeline.bars.batch import BarBatch, Dates, Ints
from quantmatrix_pipeline.providers.contract import BarRequest

_WEEK_OF_THE_EPOCH = 3  # 1970-01-01 was a Thursday, the fourth day of a week that starts on Monday
_FRIDAY = 4


def weekday(sessions: Dates) -> Ints:
    """Return 0 (Monday) to 6 (Sunday) for each date."""
    return ((sessions.astype(np.int64) + _WEEK_OF_THE_EPOCH) % 7).astype(np.int32)


class HeldBars:
    """A batch in symbol order, so that the rows of one symbol are a slice.

    Parameters
    ----------
    batch
        Bars in any order; rows of one symbol keep their order, duplicates included.
    """

    def __init__(self, batch: BarBatch) -> None:
        if len(batch) and np.any(batch.symbol_index[1:] < batch.symbol_index[:-1]):
            batch = batch.take(np.argsort(batch.symbol_index, kind="stable"))
        self.batch = batch
        counts = np.bincount(batch.symbol_index, minlength=len(batch.symbols))
        self._ends = np.cumsum(counts)
        self._starts = self._ends - counts
        self._place = {s: i for i, s in enumerate(batch.symbols) if counts[i]}

    def __contains__(self, symbol: object) -> bool:
        return symbol in self._place

    @property
    def symbols(self) -> tuple[str, ...]:
        """The symbols that have at least one bar."""
        return tuple(self._place)

    def spans(self) -> dict[str, tuple[date, date]]:
        """Return the first and the last date of each symbol that has bars."""
        if not self._place:
            return {}
        starts = self._starts[list(self._place.values())]
        first: list[date] = np.minimum.reduceat(self.batch.session, starts).tolist()
        last: list[date] = np.maximum.reduceat(self.batch.session, starts).tolist()
        return dict(zip(self._place, zip(first, last, strict=True), strict=True))

    def serve(self, requests: Sequence[BarRequest], *, weekends: bool = True) -> BarBatch:
        """Return the bars of the requested symbols on exactly the requested sessions.

        Parameters
        ----------
        requests
            At most one per symbol; symbols that are not held are passed over.
        weekends
            Also hand out bars dated on a Saturday or Sunday between the first session asked for and the weekend right
            after the last one. No exchange session asks for them, so nobody would ever learn that the source has them.
        """
        held = [r for r in requests if r.symbol in self._place and len(r.sessions)]
        if not held:
            return BarBatch.empty()
        places = np.array([self._place[r.symbol] for r in held])
        counts = self._ends[places] - self._starts[places]
        local = np.repeat(np.arange(len(held), dtype=np.int32), counts)
        rows = np.arange(len(local)) + np.repeat(self._starts[places] - np.cumsum(counts) + counts, counts)

        day = self.batch.session[rows].astype(np.int64)
        asked = [r.sessions.astype("datetime64[D]").astype(np.int64) for r in held]
        first = min(int(a[0]) for a in asked)
        last = max(int(a[-1]) for a in asked) + 2
        wanted = np.zeros((len(held), last - first + 1), np.bool_)
        for i, sessions in enumerate(asked):
            wanted[i, sessions - first] = True
            if weekends:
                end = int(sessions[-1])
                span = np.arange(int(sessions[0]), end + 1 + 2 * ((end + _WEEK_OF_THE_EPOCH) % 7 == _FRIDAY))
                wanted[i, span[(span + _WEEK_OF_THE_EPOCH) % 7 > _FRIDAY] - first] = True

        inside = np.flatnonzero((day >= first) & (day <= last))
        keep = inside[wanted[local[inside], day[inside] - first]]
        batch = self.batch.take(rows[keep])
        return BarBatch(
            tuple(r.symbol for r in held),
            local[keep],
            batch.session,
            batch.open,
            batch.high,
            batch.low,
            batch.close,
            batch.volume,
        )
