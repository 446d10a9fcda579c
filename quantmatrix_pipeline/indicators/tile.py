"""The unit of work: some bars of some hundred instruments, small enough that every step on it stays in the cache."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from quantmatrix_pipeline.indicators.benchmark import Benchmark
from quantmatrix_pipeline.indicators.compiled import compiled
from quantmatrix_pipeline.indicators.panel import Bools, Dates, Floats, Panel
from quantmatrix_pipeline.indicators.stage_rules import StageRules
from quantmatrix_pipeline.indicators.weeks import week_number

TILE_ROWS = 64

Ints = npt.NDArray[np.int64]
Number = TypeVar("Number", bound=np.generic)

Columns = slice | npt.NDArray[np.intp]
"""Which instruments of a panel a tile holds: neighbours, or any in the order of their positions given."""


class Workspace:
    """Scratch arrays that one thread uses for tile after tile: touching fresh memory costs more than the arithmetic."""

    def __init__(self) -> None:
        self._arrays: dict[tuple[str, tuple[int, ...], type], npt.NDArray[np.generic]] = {}

    def floats(self, name: str, rows: int, *rest: int) -> Floats:
        """Return an uninitialised array of shape (rows, *rest); the same memory for the same name and `rest`.

        `rows` is at most twice `TILE_ROWS`: a tile and what stands before it.
        """
        return self._array(name, np.float64, (2 * TILE_ROWS, *rest))[:rows]  # type: ignore[return-value]

    def ints(self, name: str, rows: int, *rest: int) -> Ints:
        """Return an uninitialised array of whole numbers, by the same rule."""
        return self._array(name, np.int64, (2 * TILE_ROWS, *rest))[:rows]  # type: ignore[return-value]

    def bools(self, name: str, rows: int, *rest: int) -> Bools:
        """Return an uninitialised array of flags, by the same rule."""
        return self._array(name, np.bool_, (2 * TILE_ROWS, *rest))[:rows]  # type: ignore[return-value]

    def _array(self, name: str, dtype: type, shape: tuple[int, ...]) -> npt.NDArray[np.generic]:
        key = (name, shape, dtype)
        if key not in self._arrays:
            self._arrays[key] = np.empty(shape, dtype)
        return self._arrays[key]


class Tile:
    """Bar rows `row0` (inclusive) to `row1` (exclusive) of some instruments of a panel.

    `row0` is a multiple of `TILE_ROWS`; tiles of the same instruments come in ascending order without a gap. High, low
    and close are copied together with the row before once somebody asks for them: a panel's row is so long that each of
    its pieces lies in another page of memory, which is worth visiting once.
    """

    __slots__ = (
        "_columns",
        "_days",
        "_fields",
        "_out",
        "_over_benchmark",
        "_panel",
        "_places",
        "_true_range",
        "_volume",
        "_week_starts",
        "row0",
        "row1",
        "rows",
        "width",
        "work",
    )

    def __init__(
        self,
        panel: Panel,
        row0: int,
        row1: int,
        columns: Columns,
        places: Mapping[str, int],
        out: Floats,
        work: Workspace,
    ) -> None:
        """`out` has the shape (columns asked for, rows, width); `places` tells by name which they are."""
        self._panel = panel
        self._places = places
        self._out = out
        self._columns = columns
        self.row0, self.row1, self.rows = row0, row1, row1 - row0
        self.width = out.shape[2]
        self.work = work
        self._fields: dict[str, Floats] = {}
        self._true_range: Floats | None = None
        self._volume: Floats | None = None
        self._over_benchmark: Floats | None = None
        self._days: Ints | None = None
        self._week_starts: Bools | None = None

    def _with_the_row_before(self, name: str) -> Floats:
        rows = self._fields.get(name)
        if rows is None:
            rows = self._fields[name] = self.work.floats(name, self.rows + 1, self.width)
            self._gather_with_the_row_before(getattr(self._panel, name), rows)
        return rows

    def _gather_with_the_row_before(self, field: npt.NDArray[Number], rows: npt.NDArray[Number]) -> None:
        if self.row0:
            _gather(field[self.row0 - 1 : self.row1], self._columns, rows)
        else:  # before bar 0 stands bar 0 itself: no change, which no indicator counts
            _gather(field[: self.row1], self._columns, rows[1:])
            rows[0] = rows[1]

    @property
    def close(self) -> Floats:
        """Shape (rows, width): the closes, contiguous."""
        return self._with_the_row_before("close")[1:]

    @property
    def high(self) -> Floats:
        return self._with_the_row_before("high")[1:]

    @property
    def low(self) -> Floats:
        return self._with_the_row_before("low")[1:]

    @property
    def close_before(self) -> Floats:
        """Shape (rows, width): each bar's previous close (bar 0: its own)."""
        return self._with_the_row_before("close")[:-1]

    @property
    def high_before(self) -> Floats:
        return self._with_the_row_before("high")[:-1]

    @property
    def low_before(self) -> Floats:
        return self._with_the_row_before("low")[:-1]

    @property
    def true_range(self) -> Floats:
        """Shape (rows, width): TR = max(H, C[1]) - min(L, C[1]) (Wilder 1978); bar 0, without a close before it, H - L.

        Computed for the first family that asks, and not to be written to.
        """
        if self._true_range is None:
            span = self.scratch("true range")
            _true_range(self.high, self.low, self.close_before, span)
            self._true_range = span
        return self._true_range

    def earlier_close(self, lag: int) -> Floats:
        """Return the closes `lag` bars before the rows `since(lag)` of the tile, until the next are asked for."""
        rows = slice(max(self.row0 - lag, 0), max(self.row1 - lag, 0))
        earlier = self.work.floats("earlier close", rows.stop - rows.start, self.width)
        _gather(self._panel.close[rows], self._columns, earlier)
        return earlier

    @property
    def days(self) -> Ints:
        """Shape (1 + rows, width): the sessions of the row before the tile (bar 0: its own) and of its rows, as days
        since 1970, contiguous. NaT is the least of all numbers.
        """
        if self._days is None:
            self._days = self.work.ints("days", self.rows + 1, self.width)
            self._gather_with_the_row_before(self._panel.session.view(np.int64), self._days)
        return self._days

    @property
    def session(self) -> Dates:
        """Shape (rows, width): the sessions of the tile."""
        return self.days[1:].view("datetime64[D]")

    @property
    def week_starts(self) -> Bools:
        """Shape (rows, width): whether a bar is the first of a calendar week, Monday to Sunday, and not the first."""
        if self._week_starts is None:
            self._week_starts = self.flags("week starts")
            week = week_number(self.days.view("datetime64[D]"))
            np.not_equal(week[1:], week[:-1], out=self._week_starts)
        return self._week_starts

    @property
    def benchmark(self) -> Benchmark | None:
        return self._panel.benchmark

    def over_benchmark(self) -> Floats | None:
        """Return shape (rows, width): the closes in units of the benchmark's, NaN where they can't be compared."""
        benchmark, dividends_in = self._panel.benchmark, self._panel.dividends_in
        if benchmark is None:
            return None
        if self._over_benchmark is None:
            ratio = np.divide(self.close, benchmark.at(self.session), out=self.scratch("over benchmark"))
            included = np.zeros(self.width, np.bool_) if dividends_in is None else dividends_in[self._columns]
            ratio[:, included != benchmark.dividends_in] = np.nan
            self._over_benchmark = ratio
        return self._over_benchmark

    @property
    def volume(self) -> Floats:
        """Shape (rows, width): the volumes of the tile, contiguous; not to be written to."""
        if self._volume is None:
            self._volume = self.scratch("volume")
            _gather(self._panel.volume[self.row0 : self.row1], self._columns, self._volume)
        return self._volume

    @property
    def stage_rules(self) -> StageRules:
        return self._panel.stage_rules

    def in_own_unit(self, prices: Sequence[Floats], shares: Sequence[Floats]) -> None:
        """Turn columns of prices and of numbers of shares, in place, into the unit of each bar's own session."""
        unit = self._panel.unit[self.row0 : self.row1, self._columns]
        split = np.not_equal(unit, 1.0, out=self.flags("split"))
        if not split.any():
            return
        there = np.flatnonzero(split.any(axis=0))  # few: most instruments never had a split
        own = np.take(unit, there, axis=1)
        for columns, factor in ((prices, 1.0 / own), (shares, own)):
            for column in columns:
                _multiply_some(column, there, factor)

    def since(self, bar: int) -> slice:
        """Return the rows of the tile, counted from its own first, that stand at `bar` or later."""
        return slice(min(max(bar - self.row0, 0), self.rows), self.rows)

    def wants(self, name: str) -> bool:
        """Tell whether somebody asked for the column of this name."""
        return name in self._places

    def out(self, name: str) -> Floats:
        """Return shape (rows, width): where the column of this name is written, and read by those that build on it.

        Prices and numbers of shares are forward-adjusted there until all families are through. A column that nobody
        asked for stands in scratch memory.
        """
        place = self._places.get(name)
        return self.scratch(name) if place is None else self._out[place]

    def scratch(self, name: str) -> Floats:
        """Return an uninitialised array of shape (rows, width)."""
        return self.work.floats(name, self.rows, self.width)

    def flags(self, name: str) -> Bools:
        """Return an uninitialised array of flags of shape (rows, width)."""
        return self.work.bools(name, self.rows, self.width)


@compiled
def _true_range(high: Floats, low: Floats, before: Floats, out: Floats) -> None:
    rows, width = high.shape
    for k in range(rows):
        for i in range(width):
            highest = before[k, i] if before[k, i] > high[k, i] else high[k, i]
            lowest = before[k, i] if before[k, i] < low[k, i] else low[k, i]
            out[k, i] = highest - lowest


@compiled
def _multiply_some(column: Floats, there: npt.NDArray[np.intp], factor: Floats) -> None:
    for k in range(len(factor)):
        for j in range(len(there)):
            column[k, there[j]] *= factor[k, j]


def _gather(field: npt.NDArray[Number], columns: Columns, out: npt.NDArray[Number]) -> None:
    if isinstance(columns, slice):
        np.copyto(out, field[:, columns])
    else:
        np.take(field, columns, axis=1, out=out, mode="clip")  # "raise" would go through a buffer
