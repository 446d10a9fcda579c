"""From a panel to every indicator of the catalogue, in one pass over its bars.

The panel is worked through in tiles, row block by row block; the recursive families carry their state from tile to
tile. The output of a row block is one reused buffer, laid out bars x columns x instruments, so that one row is
written out as one block. A value depends on its own instrument's bars up to its own row and on nothing else, to the
bit.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import numpy as np

from quantmatrix_pipeline.indicators.averages import AverageOrder, ExponentialAverages, SimpleAverages
from quantmatrix_pipeline.indicators.catalogue import COLUMNS, LOOKBACK, MA_BUCKET_LABELS
from quantmatrix_pipeline.indicators.momentum import MovingAverageConvergenceDivergence, RelativeStrengthIndex
from quantmatrix_pipeline.indicators.panel import Floats, Panel
from quantmatrix_pipeline.indicators.performance import BarPerformance, CalendarPerformance
from quantmatrix_pipeline.indicators.ranges import RangePosition
from quantmatrix_pipeline.indicators.tile import TILE_ROWS, Tile, Workspace
from quantmatrix_pipeline.indicators.trend import DirectionalMovement
from quantmatrix_pipeline.indicators.volatility import AverageTrueRange, TrueRange

TILE_WIDTH = 4096
"""Instruments per tile: long rows stream well, and a NumPy call has enough to do to be worth its overhead."""


class Family(Protocol):
    """Indicators computed together; `Family(width)` begins at bar 0 of `width` instruments.

    Attributes
    ----------
    memory
        How many bars before a row its values need; None for families that must see every bar from the first.
    """

    memory: int | None

    def __init__(self, width: int) -> None: ...

    def advance(self, tile: Tile) -> None:
        """Take in the tile's bars and write the family's columns; rows within the look-back may hold anything."""


FAMILIES: tuple[type[Family], ...] = (  # in this order: a later family may read an earlier one's columns
    TrueRange,
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
)

_LEVELS = [index for index, column in enumerate(COLUMNS) if column.level]
_NOT_FLOAT = [index for index, column in enumerate(COLUMNS) if column.kind != "float"]
_HAS_UNKNOWN = {index for index, column in enumerate(COLUMNS) if column.labels[:1] == MA_BUCKET_LABELS[:1]}


def _runs(indices: Sequence[int]) -> list[slice]:
    """Join neighbouring indices to slices."""
    edges = [i for i, index in enumerate(indices) if i == 0 or index != indices[i - 1] + 1] + [len(indices)]
    return [slice(indices[a], indices[b - 1] + 1) for a, b in pairwise(edges)]


_LEVEL_RUNS = _runs(_LEVELS)


@dataclass(frozen=True, slots=True)
class Block:
    """The indicators of some bar rows of a whole panel.

    Attributes
    ----------
    row0, row1
        The bar rows, `row0` inclusive, `row1` exclusive.
    values
        Shape (row1 - row0, columns, n): a view of a buffer that the next block overwrites; copy what you keep. Rows
        at or beyond an instrument's `length` are NaN.
    """

    row0: int
    row1: int
    values: Floats


class _Strip:
    """Up to `TILE_WIDTH` instruments and the state of their families."""

    def __init__(self, panel: Panel, first: int, last: int) -> None:
        self._panel = panel
        self._columns = slice(first, last)
        self._families = [family(last - first) for family in FAMILIES]
        self._shortest = int(panel.length[first:last].min())
        self._longest = int(panel.length[first:last].max())

    def advance(self, row0: int, row1: int, first_row: int, values: Floats, work: Workspace) -> None:
        """Go on through the rows row0..row1; what nobody will see before `first_row` is left out."""
        out = values[:, :, self._columns]
        if row0 >= self._longest:
            out.fill(np.nan)
            return
        tile = Tile(self._panel, row0, row1, self._columns, out, work)
        for family in self._families:
            if family.memory is None or row1 > first_row - family.memory:
                family.advance(tile)
        if row1 > first_row:
            self._finish(tile, out)

    def _finish(self, tile: Tile, out: Floats) -> None:
        """Hide rows with too little history, bring levels into the session's unit, blank what follows the last bar."""
        if tile.row0 < max(LOOKBACK):
            for index, lookback in enumerate(LOOKBACK):
                if index not in _HAS_UNKNOWN:
                    out[: tile.since(lookback).start, index] = np.nan
        unit = tile.unit
        if (unit != 1.0).any():
            per_unit = np.divide(1.0, unit, out=tile.scratch("a"))[:, None]
            for run in _LEVEL_RUNS:
                out[:, run] *= per_unit
        if tile.row1 > self._shortest:
            ended = np.isnan(tile.close(), out=tile.flags("ended"))
            for index in _NOT_FLOAT:
                np.copyto(out[:, index], np.nan, where=ended)


def blocks(panel: Panel, *, first_row: int | None = None, threads: int = 1) -> Iterator[Block]:
    """Compute every column of the catalogue, block by block of bar rows in ascending order.

    Parameters
    ----------
    first_row
        The first bar row to hand out. Recursions begin at bar 0 all the same, so the bits are those of the whole
        history.
    threads
        How many threads share the instruments; the bits do not depend on it.

    Yields
    ------
    Block
        Up to `TILE_ROWS` rows; its values are overwritten when the next is asked for.
    """
    begin = first_row or 0
    buffer = np.empty((TILE_ROWS, len(COLUMNS), panel.width))
    strips = _strips(panel)
    shares = [(strips[k::threads], Workspace()) for k in range(threads)]

    def work_on(share: tuple[list[_Strip], Workspace], row0: int, row1: int) -> None:
        with np.errstate(all="ignore"):  # the NaN tail, and divisions whose result is replaced
            for strip in share[0]:
                strip.advance(row0, row1, begin, buffer[: row1 - row0], share[1])

    with ThreadPoolExecutor(threads) as pool:
        for row0 in range(0, panel.bars, TILE_ROWS):
            row1 = min(row0 + TILE_ROWS, panel.bars)
            if threads == 1:
                work_on(shares[0], row0, row1)
            else:
                for done in [pool.submit(work_on, share, row0, row1) for share in shares]:
                    done.result()
            if row1 > begin:
                shown = max(row0, begin)
                yield Block(shown, row1, buffer[shown - row0 : row1 - row0])


def compute(panel: Panel) -> Floats:
    """Return shape (bars, columns, n): the whole history at once, for panels whose output fits in memory."""
    values = np.empty((panel.bars, len(COLUMNS), panel.width))
    for block in blocks(panel):
        values[block.row0 : block.row1] = block.values
    return values


def last_rows(panel: Panel, *, threads: int = 1) -> Floats:
    """Return shape (columns, n): each instrument's row of its last bar, with the bits that `blocks` has there."""
    values = np.empty((len(COLUMNS), panel.width))
    last = panel.length - 1
    for block in blocks(panel, first_row=int(last.min(initial=0)), threads=threads):
        ends = np.flatnonzero((last >= block.row0) & (last < block.row1))
        values[:, ends] = block.values[last[ends] - block.row0, :, ends].T
    return values


def _strips(panel: Panel) -> list[_Strip]:
    return [_Strip(panel, first, min(first + TILE_WIDTH, panel.width)) for first in range(0, panel.width, TILE_WIDTH)]
