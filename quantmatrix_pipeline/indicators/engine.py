"""From a panel to every indicator of the catalogue, or to some of them, in one pass over its bars.

The panel is worked through in strips of instruments, a strip in tiles of bar rows; the recursive families carry their
state from tile to tile. The output of a tile is a reused buffer in which a column is one piece of memory. A value
depends on its own instrument's bars up to its own row and on nothing else, to the bit.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from queue import SimpleQueue

import numpy as np
import numpy.typing as npt

from quantmatrix_pipeline.indicators.panel import Floats, Panel
from quantmatrix_pipeline.indicators.plan import Plan, plan_for
from quantmatrix_pipeline.indicators.tile import TILE_ROWS, Columns, Tile, Workspace

TILE_WIDTH = 1000
"""Instruments per tile at most: enough that arithmetic outweighs the calls."""

NARROWEST = 100
"""Instruments per tile that are worth a thread of their own."""

THREADS = min(2, os.cpu_count() or 1)
"""What two cores need; more have not been measured."""

_AHEAD = 2  # tiles that a thread may have computed before they are asked for


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
        Shape (row1 - row0, columns, instruments): a view of a buffer in which each column is one piece, and which a
        later block overwrites; copy what you keep. Rows at or beyond an instrument's `length` are NaN.
    """

    row0: int
    row1: int
    instruments: slice
    values: Floats


class _Strip:
    """Up to `TILE_WIDTH` instruments and the state of their families."""

    def __init__(self, panel: Panel, columns: Columns, plan: Plan) -> None:
        length = panel.length[columns]
        width = len(length)
        self._panel = panel
        self._columns = columns
        self._plan = plan
        self._families = [family(width) for family in plan.families]
        self.width = width
        self.shortest, self.longest = int(length.min()), int(length.max())

    def advance(self, row0: int, row1: int, first_row: int, out: Floats, work: Workspace) -> None:
        """Go on through the rows row0..row1 and write `out`, of shape (columns, row1 - row0, width).

        `row0` lies within the longest life. What nobody will see before `first_row` is left out.
        """
        tile = Tile(self._panel, row0, row1, self._columns, self._plan.places, out, work)
        for family in self._families:
            if family.memory is None or row1 > first_row - family.memory:
                family.feed(tile)
        if row1 > first_row:
            for family in self._families:
                family.write(tile)
            self._finish(tile, out)

    def _finish(self, tile: Tile, out: Floats) -> None:
        """Tell prices and shares in the session's own unit, hide too short histories and what follows the last bar."""
        tile.in_own_unit([out[place] for place in self._plan.levels], [out[place] for place in self._plan.shares])
        for place, lookback in self._plan.lookbacks:
            if tile.row0 < lookback:
                out[place, : tile.since(lookback).start] = np.nan
        if tile.row1 > self.shortest and self._plan.whole:
            ended = np.isnan(tile.close, out=tile.flags("ended"))
            for place in self._plan.whole:
                np.copyto(out[place], np.nan, where=ended)


class _Output:
    """What a thread writes tiles to, one after the other: touching fresh memory costs more than the arithmetic."""

    def __init__(self, columns: int, width: int) -> None:
        self._columns = columns
        self._flat = np.empty(columns * TILE_ROWS * width)

    def of(self, rows: int, width: int) -> Floats:
        """Return a contiguous array of shape (columns, rows, width), over the last one."""
        return self._flat[: self._columns * rows * width].reshape(self._columns, rows, width)


class _Lane:
    """One thread that goes through strip after strip, and two buffers that go to and fro between it and the reader."""

    def __init__(self, panel: Panel, strips: list[slice], plan: Plan, first_row: int) -> None:
        self._panel, self._strips, self._plan, self._first_row = panel, strips, plan, first_row
        self._free: SimpleQueue[_Output | None] = SimpleQueue()
        self._ready: SimpleQueue[tuple[Block, _Output] | BaseException | None] = SimpleQueue()
        for _ in range(_AHEAD):
            self._free.put(_Output(len(plan.places), _widest(strips)))

    def run(self) -> None:
        """Compute until all is done or `stop` was called; an error is handed to the reader."""
        try:
            work = Workspace()
            for own in self._strips:
                strip = _Strip(self._panel, own, self._plan)
                for row0, row1 in _tiles(strip.longest):
                    if (output := self._free.get()) is None:
                        return
                    if row1 <= self._first_row:
                        _compute(strip, row0, row1, self._first_row, output, work)
                        self._free.put(output)
                    else:
                        self._ready.put((_block(strip, own, row0, row1, self._first_row, output, work), output))
            self._ready.put(None)
        except BaseException as error:
            self._ready.put(error)

    def take(self) -> tuple[Block, _Output] | None:
        """Wait for the next block, None after the last."""
        item = self._ready.get()
        if isinstance(item, BaseException):
            raise item
        return item

    def give_back(self, output: _Output) -> None:
        self._free.put(output)

    def stop(self) -> None:
        """Let the thread end with the tile that it is at."""
        self._free.put(None)


def blocks(
    panel: Panel,
    *,
    columns: Iterable[str] | None = None,
    first_row: int | None = None,
    threads: int | None = None,
) -> Iterator[Block]:
    """Compute columns of the catalogue, strip by strip of instruments, block by block of bar rows.

    A strip goes through all its bars before the next begins, so that its state and its output stay in the cache. Each
    thread has strips of its own and waits for no other; it is a tile or two ahead of what was asked for.

    Parameters
    ----------
    columns
        Names of the engine's columns, in the order in which they are wanted; by default all of `ENGINE_COLUMNS`. Only
        the families that they need are run. The bits of a column do not depend on what else is asked for.
    first_row
        The first bar row to hand out. Recursions begin at bar 0 all the same, so the bits are those of the whole
        history.
    threads
        How many strips are computed at once, by default `THREADS`; the bits do not depend on it.

    Yields
    ------
    Block
        Up to `TILE_ROWS` rows of up to `TILE_WIDTH` instruments, a strip's in ascending order and none beyond its
        longest life; its values are overwritten once the next is asked for. The order is the same every time.

    Raises
    ------
    QuantMatrixError
        The engine has no such column.
    """
    plan = plan_for(columns)
    begin = first_row or 0
    together = THREADS if threads is None else threads
    strips = _strips(panel.width, together)
    if together == 1 or len(strips) == 1:
        yield from _in_turn(panel, strips, plan, begin)
        return
    lanes = [_Lane(panel, strips[k::together], plan, begin) for k in range(together)]
    with ThreadPoolExecutor(together) as pool:
        try:
            for lane in lanes:
                pool.submit(lane.run)
            alive = list(lanes)
            while alive:
                for lane in tuple(alive):
                    if (taken := lane.take()) is None:
                        alive.remove(lane)
                    else:
                        yield taken[0]
                        lane.give_back(taken[1])
        finally:
            for lane in lanes:
                lane.stop()


def _in_turn(panel: Panel, strips: list[slice], plan: Plan, first_row: int) -> Iterator[Block]:
    output, work = _Output(len(plan.places), _widest(strips)), Workspace()
    for own in strips:
        strip = _Strip(panel, own, plan)
        for row0, row1 in _tiles(strip.longest):
            if row1 <= first_row:
                _compute(strip, row0, row1, first_row, output, work)
            else:
                yield _block(strip, own, row0, row1, first_row, output, work)


def _strips(width: int, together: int) -> list[slice]:
    """Cut the instruments into strips of about one width, a number that the threads can share evenly."""
    if not width:
        return []
    fewest = -(-width // TILE_WIDTH)
    count = -(-fewest // together) * together if width >= together * NARROWEST else fewest
    size = -(-width // count)
    return [slice(first, min(first + size, width)) for first in range(0, width, size)]


def _widest(strips: list[slice]) -> int:
    return max((strip.stop - strip.start for strip in strips), default=0)


def _tiles(bars: int) -> Iterator[tuple[int, int]]:
    return ((row0, min(row0 + TILE_ROWS, bars)) for row0 in range(0, bars, TILE_ROWS))


def _compute(strip: _Strip, row0: int, row1: int, first_row: int, output: _Output, work: Workspace) -> Floats:
    out = output.of(row1 - row0, strip.width)
    with np.errstate(all="ignore"):  # the NaN tail, and divisions whose result is replaced
        strip.advance(row0, row1, first_row, out, work)
    return out


def _block(strip: _Strip, own: slice, row0: int, row1: int, first_row: int, output: _Output, work: Workspace) -> Block:
    out = _compute(strip, row0, row1, first_row, output, work)
    shown = max(row0, first_row)
    return Block(shown, row1, own, out.transpose(1, 0, 2)[shown - row0 :])


def compute(panel: Panel, columns: Iterable[str] | None = None) -> Floats:
    """Return shape (bars, columns, n): the whole history at once, for panels whose output fits in memory."""
    plan = plan_for(columns)
    values = np.full((panel.bars, len(plan.places), panel.width), np.nan)
    for block in blocks(panel, columns=plan.places):
        values[block.row0 : block.row1, :, block.instruments] = block.values
    return values


def last_rows(panel: Panel, *, columns: Iterable[str] | None = None, threads: int | None = None) -> Floats:
    """Return shape (columns, n): each instrument's row of its last bar, with the bits that `blocks` has there.

    `columns` and `threads` as there. Instruments of like length share a strip, so that only the recursions need to see
    more than the last bars.
    """
    plan = plan_for(columns)
    values = np.empty((len(plan.places), panel.width))
    order = np.argsort(panel.length, kind="stable")
    together = THREADS if threads is None else threads
    strips = [order[own] for own in _strips(panel.width, together)]

    def work_on(share: list[npt.NDArray[np.intp]]) -> None:
        work = Workspace()
        for own in share:
            values[:, own] = _last_rows_of(panel, own, plan, work)

    with ThreadPoolExecutor(together) as pool:
        for done in [pool.submit(work_on, strips[k::together]) for k in range(together)]:
            done.result()
    return values


def _last_rows_of(panel: Panel, own: npt.NDArray[np.intp], plan: Plan, work: Workspace) -> Floats:
    strip = _Strip(panel, own, plan)
    last = panel.length[own] - 1
    values = np.empty((len(plan.places), len(own)))
    output = _Output(len(plan.places), len(own))
    for row0, row1 in _tiles(strip.longest):
        out = _compute(strip, row0, row1, strip.shortest - 1, output, work)
        ends = np.flatnonzero((last >= row0) & (last < row1))
        values[:, ends] = out[:, last[ends] - row0, ends]
    return values
