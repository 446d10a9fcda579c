"""Open gaps: zones that price jumped over and has not traded through since."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from quantmatrix_pipeline.indicators.averages import TOLERANCE
from quantmatrix_pipeline.indicators.catalogue import GAP_PERCENT
from quantmatrix_pipeline.indicators.family import Family
from quantmatrix_pipeline.indicators.panel import Floats
from quantmatrix_pipeline.indicators.sides import SIDES, SidedPrice, just_above
from quantmatrix_pipeline.indicators.tile import Tile

_SHARE = GAP_PERCENT / 100.0 - TOLERANCE


class OpenGaps(Family):
    """gaps_unfilled_up and gaps_unfilled_down: how many full gaps of at least 0.5 % are open.

    A bar whose low lies above the high of the bar before leaves a zone between the two, as wide as 0.5 % of that high
    or more. It is filled by the first later bar that trades through it, down to that high; until then it counts. Gaps
    down are the same upside down. On an edge, to a relative 1e-12, counts as filled, and as wide enough.

    Rules: full gaps in John J. Murphy, Technical Analysis of the Financial Markets (1999); their closing in Thomas N.
    Bulkowski, Encyclopedia of Chart Patterns (2005). The least width is this project's.

    The zones of an instrument are a stack: a new one begins where price stands, above all that are still open, so that
    price meets the newest first. Each zone is put down once and taken off once, whatever the number of bars.
    """

    columns = ("gaps_unfilled_up", "gaps_unfilled_down")
    memory = None

    def __init__(self, width: int) -> None:
        self._low = SidedPrice("gap low", 0, width)
        self._high = SidedPrice("gap high", 1, width)
        self._open = np.zeros(SIDES * width, np.int64)
        self._edges = np.empty((8, SIDES * width))  # far edge of each open zone, the newest last
        self._nearest = np.full(SIDES * width, -np.inf)  # that of the newest

    def feed(self, tile: Tile) -> None:
        flat = (-1, SIDES * tile.width)
        low = self._low.advance(tile, tile.low, tile.high).reshape(flat)
        edge = self._high.advance(tile, tile.high, tile.low).reshape(flat)[:-1]
        row, place = np.nonzero(low >= edge + _SHARE * np.absolute(edge))
        first = np.searchsorted(row, np.arange(tile.rows + 1)).tolist()
        far = just_above(edge[row, place])
        counts = self._counts(tile).reshape(flat)
        for k in range(tile.rows):
            self._fill(low[k])
            here = slice(first[k], first[k + 1])
            if here.start < here.stop:
                self._leave(place[here], far[here])
            np.copyto(counts[k], self._open)

    def _fill(self, low: Floats) -> None:
        at = np.flatnonzero(low <= self._nearest)
        while len(at):
            self._open[at] -= 1
            left = self._open[at]
            self._nearest[at] = np.where(left > 0, self._edges[left - 1, at], -np.inf)
            at = at[low[at] <= self._nearest[at]]

    def _leave(self, place: npt.NDArray[np.intp], far: Floats) -> None:
        depth = self._open[place]
        if depth.max() == len(self._edges):
            self._edges = np.concatenate((self._edges, np.empty_like(self._edges)))
        self._edges[depth, place] = far
        self._open[place] += 1
        self._nearest[place] = far

    def write(self, tile: Tile) -> None:
        counts = self._counts(tile)
        np.copyto(tile.out("gaps_unfilled_up"), counts[:, 0])
        np.copyto(tile.out("gaps_unfilled_down"), counts[:, 1])

    @staticmethod
    def _counts(tile: Tile) -> Floats:
        """Shape (rows, 2, width): gaps up, gaps down."""
        return tile.work.floats("open gaps", tile.rows, SIDES, tile.width)
