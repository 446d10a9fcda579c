"""Open gaps: zones that price jumped over and has not traded through since."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from quantmatrix_pipeline.indicators.averages import TOLERANCE
from quantmatrix_pipeline.indicators.catalogue import GAP_PERCENT
from quantmatrix_pipeline.indicators.compiled import compiled
from quantmatrix_pipeline.indicators.family import Family
from quantmatrix_pipeline.indicators.panel import Floats
from quantmatrix_pipeline.indicators.tile import TILE_ROWS, Tile

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
        self._zones = [_Zones(width) for _ in self.columns]

    def feed(self, tile: Tile) -> None:
        up, down = self._zones
        up.advance(1.0, tile.low, tile.high_before, tile.out("gaps_unfilled_up"))
        down.advance(-1.0, tile.high, tile.low_before, tile.out("gaps_unfilled_down"))


class _Zones:
    """The open zones of one side."""

    def __init__(self, width: int) -> None:
        self._open = np.zeros(width, np.int64)
        self._nearest = np.full(width, -np.inf)  # far edge of the newest open zone
        self._edges = np.empty((2 * TILE_ROWS, width))  # far edge of each open zone, the newest last

    def advance(self, sign: float, near: Floats, far: Floats, out: Floats) -> None:
        """Write how many zones are open; `near` are the bars' own prices, `far` those of the bars before."""
        if self._open.max() + len(out) > len(self._edges):  # a bar leaves a zone at most
            self._edges = np.concatenate((self._edges, np.empty_like(self._edges)))
        _count_open(sign, _SHARE, TOLERANCE, near, far, self._open, self._nearest, self._edges, out)


@compiled
def _count_open(
    sign: float,
    share: float,
    tolerance: float,
    near: Floats,
    far: Floats,
    opened: npt.NDArray[np.int64],
    nearest: Floats,
    edges: Floats,
    out: Floats,
) -> None:
    rows, width = near.shape
    for k in range(rows):
        for i in range(width):
            low, edge = sign * near[k, i], sign * far[k, i]
            while low <= nearest[i]:
                opened[i] -= 1
                nearest[i] = edges[opened[i] - 1, i] if opened[i] > 0 else -np.inf
            if low >= edge + share * abs(edge):
                nearest[i] = edge + tolerance * abs(edge)
                edges[opened[i], i] = nearest[i]
                opened[i] += 1
            out[k, i] = opened[i]
