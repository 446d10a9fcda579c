"""From a panel to every indicator of the catalogue, in one pass over its bars.

The panel is worked through in strips of instruments, a strip in tiles of bar rows; the recursive families carry their
state from tile to tile. The output of a tile is a reused buffer, laid out bars x columns x instruments. A value depends
on its own instrument's bars up to its own row and on nothing else, to the bit.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import accumulate, pairwise

import numpy as np
import numpy.typing as npt

from quantmatrix_pipeline.indicators.averages import AverageOrder, ExponentialAverages, SimpleAverages
from quantmatrix_pipeline.indicators.catalogue import ENGINE_COLUMNS, LOOKBACK, MA_BUCKET_LABELS
from quantmatrix_pipeline.indicators.family import Family
from quantmatrix_pipeline.indicators.gaps import OpenGaps
from quantmatrix_pipeline.indicators.matrix import AtrMatrix
from quantmatrix_pipeline.indicators.momentum import MovingAverageConvergenceDivergence, RelativeStrengthIndex
from quantmatrix_pipeline.indicators.panel import Bools, Floats, Panel
from quantmatrix_pipeline.indicators.performance import BarPerformance, CalendarPerformance
from quantmatrix_pipeline.indicators.ranges import RangePosition
from quantmatrix_pipeline.indicators.recursions import Recursion, Recursions
from quantmatrix_pipeline.indicators.relative_strength import MansfieldRelativeStrength
from quantmatrix_pipeline.indicators.stage import WeeklyStage
from quantmatrix_pipeline.indicators.td_sequential import TdSequential
from quantmatrix_pipeline.indicators.tile import TILE_ROWS, Columns, Tile, Workspace
from quantmatrix_pipeline.indicators.trend import DirectionalMovement
from quantmatrix_pipeline.indicators.trend_lines import TrendLines
from quantmatrix_pipeline.indicators.volatility import AverageTrueRange
from quantmatrix_pipeline.indicators.volume import OnBalanceVolume, VolumeAverages, YearToDateVwap

TILE_WIDTH = 1000
"""Instruments per tile: enough that arithmetic outweighs the calls; no power of two, or rows share cache sets."""

THREADS = min(2, os.cpu_count() or 1)
"""More than two wait for the interpreter rather than for memory."""

FAMILIES: tuple[type[Family], ...] = (  # in this order: a later family may read what an earlier one left
    SimpleAverages,
    ExponentialAverages,
    RelativeStrengthIndex,
    MovingAverageConvergenceDivergence,
    AverageTrueRange,
    DirectionalMovement,
    BarPerformance,
    CalendarPerformance,
    RangePosition,
    AverageOrder,
    WeeklyStage,
    MansfieldRelativeStrength,
    AtrMatrix,
    VolumeAverages,
    OnBalanceVolume,
    YearToDateVwap,
    TdSequential,
    OpenGaps,
    TrendLines,
)

_NOT_FLOAT = [index for index, column in enumerate(ENGINE_COLUMNS) if column.kind != "float"]
_HAS_UNKNOWN = {index for index, column in enumerate(ENGINE_COLUMNS) if column.labels[:1] == MA_BUCKET_LABELS[:1]}


def _slots(averages: Sequence[tuple[Recursion, ...]]) -> list[slice]:
    """Lay the families' averages side by side: the place of each family's own."""
    ends = list(accumulate((len(own) for own in averages), initial=0))
    return [slice(a, b) for a, b in pairwise(ends)]


_SLOTS = _slots([family.averages for family in FAMILIES])
_SECOND_SLOTS = _slots([family.second_averages for family in FAMILIES])


@dataclass(frozen=True, slots=True)
class Block:
    """The indicators of some bar rows of some neighbouring instruments of a panel.

    Attributes
    ----------
    row0, row1
        The bar rows, `row0` inclusive, `row1` exclusive.
    instruments
        The instruments, as a slice of the panel's.
    values
        Shape (row1 - row0, columns, instruments): a view of a buffer that a later block overwrites; copy what you
        keep. Rows at or beyond an instrument's `length` are NaN.
    """

    row0: int
    row1: int
    instruments: slice
    values: Floats


class _Strip:
    """Up to `TILE_WIDTH` instruments and the state of their families."""

    def __init__(self, panel: Panel, columns: Columns) -> None:
        length = panel.length[columns]
        width = len(length)
        self._panel = panel
        self._columns = columns
        self._families = [family(width) for family in FAMILIES]
        self._averages = Recursions([own for family in FAMILIES for own in family.averages], width)
        self._second = Recursions([own for family in FAMILIES for own in family.second_averages], width)
        self.width = width
        self.shortest, self.longest = int(length.min()), int(length.max())

    def advance(self, row0: int, row1: int, first_row: int, out: Floats, work: Workspace) -> None:
        """Go on through the rows row0..row1 and write `out`, of shape (row1 - row0, columns, width).

        `row0` lies within the longest life. What nobody will see before `first_row` is left out.
        """
        tile = Tile(self._panel, row0, row1, self._columns, out, work)
        sums = work.floats("sums", tile.rows, self._averages.count, tile.width)
        second_sums = work.floats("second sums", tile.rows, self._second.count, tile.width)
        members = list(zip(self._families, _SLOTS, _SECOND_SLOTS, strict=True))
        hold: dict[int, Bools] = {}
        for family, slot, _ in members:
            if family.memory is None or row1 > first_row - family.memory:
                family.feed(tile, sums[:, slot])
        self._averages.advance(row0, sums, work)
        for family, slot, second in members:
            still = family.feed_again(tile, sums[:, slot], second_sums[:, second])
            hold |= {} if still is None else dict.fromkeys(range(second.start, second.stop), still)
        self._second.advance(row0, second_sums, work, hold)
        if row1 > first_row:
            for family, slot, second in members:
                family.write(tile, sums[:, slot], second_sums[:, second])
            self._finish(tile, out)

    def _finish(self, tile: Tile, out: Floats) -> None:
        """Hide rows with too little history and blank what follows the last bar."""
        if tile.row0 < max(LOOKBACK):
            for index, lookback in enumerate(LOOKBACK):
                if index not in _HAS_UNKNOWN:
                    out[: tile.since(lookback).start, index] = np.nan
        if tile.row1 > self.shortest:
            ended = np.isnan(tile.close, out=tile.flags("ended"))
            for index in _NOT_FLOAT:
                np.copyto(out[:, index], np.nan, where=ended)


def blocks(panel: Panel, *, first_row: int | None = None, threads: int | None = None) -> Iterator[Block]:
    """Compute every column of the catalogue, strip by strip of instruments, block by block of bar rows.

    A strip goes through all its bars before the next begins, so that its state and its output stay in the cache.

    Parameters
    ----------
    first_row
        The first bar row to hand out. Recursions begin at bar 0 all the same, so the bits are those of the whole
        history.
    threads
        How many strips are computed at once, by default `THREADS`; the bits do not depend on it.

    Yields
    ------
    Block
        Up to `TILE_ROWS` rows of up to `TILE_WIDTH` instruments, a strip's in ascending order and none beyond its
        longest life; its values are overwritten when the next but `threads` is asked for.
    """
    begin = first_row or 0
    together = THREADS if threads is None else threads
    every = [slice(first, min(first + TILE_WIDTH, panel.width)) for first in range(0, panel.width, TILE_WIDTH)]
    outputs = [_Output() for _ in every[:together]]

    def advance(strip: _Strip, output: _Output, row0: int, row1: int) -> Floats:
        out = output.of(row1 - row0, strip.width)
        with np.errstate(all="ignore"):  # the NaN tail, and divisions whose result is replaced
            strip.advance(row0, row1, begin, out, output.work)
        return out

    with ThreadPoolExecutor(together) as pool:
        for first in range(0, len(every), together):
            group = [(own, _Strip(panel, own), output) for own, output in zip(every[first:], outputs, strict=False)]
            for row0 in range(0, max(strip.longest for _, strip, _ in group), TILE_ROWS):
                row1 = min(row0 + TILE_ROWS, panel.bars)
                alive = [member for member in group if row0 < member[1].longest]
                if len(alive) == 1:
                    computed = [advance(alive[0][1], alive[0][2], row0, row1)]
                else:
                    tasks = [pool.submit(advance, strip, output, row0, row1) for _, strip, output in alive]
                    computed = [task.result() for task in tasks]
                if row1 > begin:
                    shown = max(row0, begin)
                    for (own, _, _), out in zip(alive, computed, strict=True):
                        yield Block(shown, row1, own, out[shown - row0 :])


class _Output:
    """What one thread writes to, strip after strip: touching fresh memory costs more than the arithmetic."""

    def __init__(self) -> None:
        self.work = Workspace()
        self._flat = np.empty(TILE_ROWS * len(ENGINE_COLUMNS) * TILE_WIDTH)

    def of(self, rows: int, width: int) -> Floats:
        """Return a contiguous array of shape (rows, columns, width), over the last one."""
        return self._flat[: rows * len(ENGINE_COLUMNS) * width].reshape(rows, len(ENGINE_COLUMNS), width)


def compute(panel: Panel) -> Floats:
    """Return shape (bars, columns, n): the whole history at once, for panels whose output fits in memory."""
    values = np.full((panel.bars, len(ENGINE_COLUMNS), panel.width), np.nan)
    for block in blocks(panel):
        values[block.row0 : block.row1, :, block.instruments] = block.values
    return values


def last_rows(panel: Panel, *, threads: int | None = None) -> Floats:
    """Return shape (columns, n): each instrument's row of its last bar, with the bits that `blocks` has there.

    Instruments of like length share a strip, so that only the recursions need to see more than the last bars.
    """
    values = np.empty((len(ENGINE_COLUMNS), panel.width))
    order = np.argsort(panel.length, kind="stable")
    strips = [order[first : first + TILE_WIDTH] for first in range(0, panel.width, TILE_WIDTH)]

    def work_on(share: list[npt.NDArray[np.intp]]) -> None:
        work = Workspace()
        with np.errstate(all="ignore"):
            for columns in share:
                values[:, columns] = _last_rows_of(panel, columns, work)

    together = THREADS if threads is None else threads
    with ThreadPoolExecutor(together) as pool:
        for done in [pool.submit(work_on, strips[k::together]) for k in range(together)]:
            done.result()
    return values


def _last_rows_of(panel: Panel, columns: npt.NDArray[np.intp], work: Workspace) -> Floats:
    strip = _Strip(panel, columns)
    last = panel.length[columns] - 1
    values = np.empty((len(ENGINE_COLUMNS), len(columns)))
    for row0 in range(0, strip.longest, TILE_ROWS):
        row1 = min(row0 + TILE_ROWS, panel.bars)
        out = work.floats("out", row1 - row0, len(ENGINE_COLUMNS), len(columns))
        strip.advance(row0, row1, strip.shortest - 1, out, work)
        ends = np.flatnonzero((last >= row0) & (last < row1))
        values[:, ends] = out[last[ends] - row0, :, ends].T
    return values
