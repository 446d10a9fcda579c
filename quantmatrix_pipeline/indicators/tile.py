"""The unit of work: some 64 bars of some hundred instruments, small enough that every step on it stays in the cache."""

from __future__ import annotations

import numpy as np

from quantmatrix_pipeline.indicators.catalogue import COLUMN_INDEX
from quantmatrix_pipeline.indicators.panel import Dates, Floats, Panel

TILE_ROWS = 32


class Workspace:
    """Scratch arrays that one thread uses for tile after tile: touching fresh memory costs more than the arithmetic."""

    def __init__(self) -> None:
        self._arrays: dict[tuple[str, tuple[int, ...], type], np.ndarray[tuple[int, ...], np.dtype[np.generic]]] = {}

    def floats(self, name: str, rows: int, *rest: int) -> Floats:
        """Return an uninitialised array of shape (rows, *rest); the same memory for the same name and `rest`."""
        return self._array(name, np.float64, rows, rest)  # type: ignore[return-value]

    def bools(self, name: str, rows: int, *rest: int) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
        """Return an uninitialised array of flags, by the same rule."""
        return self._array(name, np.bool_, rows, rest)  # type: ignore[return-value]

    def _array(
        self, name: str, dtype: type, rows: int, rest: tuple[int, ...]
    ) -> np.ndarray[tuple[int, ...], np.dtype[np.generic]]:
        key = (name, rest, dtype)
        if key not in self._arrays:
            self._arrays[key] = np.empty((TILE_ROWS, *rest), dtype)
        return self._arrays[key][:rows]


class Tile:
    """Bar rows `row0` (inclusive) to `row1` (exclusive) of the instruments `first` to `last` of a panel.

    `row0` is a multiple of `TILE_ROWS`; tiles of the same instruments come in ascending order without a gap.
    """

    __slots__ = ("_out", "_panel", "columns", "row0", "row1", "rows", "true_range", "width", "work")

    def __init__(self, panel: Panel, row0: int, row1: int, columns: slice, out: Floats, work: Workspace) -> None:
        self._panel = panel
        self._out = out
        self.row0, self.row1, self.rows = row0, row1, row1 - row0
        self.columns = columns
        self.width = columns.stop - columns.start
        self.work = work
        self.true_range = work.floats("true range", self.rows, self.width)

    def _view(self, field: Floats, lag: int) -> Floats:
        return field[max(self.row0 - lag, 0) : max(self.row1 - lag, 0), self.columns]

    def close(self, lag: int = 0) -> Floats:
        """Return the closes `lag` bars before the rows `since(lag)` of the tile."""
        return self._view(self._panel.close, lag)

    def high(self, lag: int = 0) -> Floats:
        """Return the highs, by the same rule."""
        return self._view(self._panel.high, lag)

    def low(self, lag: int = 0) -> Floats:
        """Return the lows, by the same rule."""
        return self._view(self._panel.low, lag)

    @property
    def session(self) -> Dates:
        """Shape (rows, width): the sessions of the tile."""
        return self._panel.session[self.row0 : self.row1, self.columns]

    @property
    def unit(self) -> Floats:
        """Shape (rows, width): the split multiplier of each bar."""
        return self._view(self._panel.unit, 0)

    def since(self, bar: int) -> slice:
        """Return the rows of the tile, counted from its own first, that stand at `bar` or later."""
        return slice(min(max(bar - self.row0, 0), self.rows), self.rows)

    def out(self, name: str) -> Floats:
        """Return shape (rows, width): where the column of this name is written, and read by those that build on it."""
        return self._out[:, COLUMN_INDEX[name]]

    def scratch(self, name: str) -> Floats:
        """Return an uninitialised array of shape (rows, width)."""
        return self.work.floats(name, self.rows, self.width)

    def flags(self, name: str) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
        """Return an uninitialised array of flags of shape (rows, width)."""
        return self.work.bools(name, self.rows, self.width)
