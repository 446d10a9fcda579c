"""Relative strength against a benchmark, by the week."""

from __future__ import annotations

import numpy as np

from quantmatrix_pipeline.indicators.catalogue import RS_BENCHMARK_LABELS
from quantmatrix_pipeline.indicators.family import Family
from quantmatrix_pipeline.indicators.panel import Floats
from quantmatrix_pipeline.indicators.tile import Tile
from quantmatrix_pipeline.indicators.weeks import CompletedWeeks

WEEKS = 52

_SHARE = 1.0 / WEEKS
_UNKNOWN, _BENCHMARK, _UNIVERSE = (
    float(RS_BENCHMARK_LABELS.index(name)) for name in ("UNKNOWN", "BENCHMARK", "UNIVERSE")
)


class MansfieldRelativeStrength(Family):
    """rs_mansfield_pct = 100 (R / mean of the last 52 weekly R - 1), R = C / the benchmark's close of the same session.

    The last week is the one to date. Its parts are those of Stan Weinstein, Secrets for Profiting in Bull and Bear
    Markets (1988), as worked out in How to create the Mansfield Relative Strength Indicator (stageanalysis.net) and in
    Mansfield RS (tradingview.com). A panel without a benchmark, and an instrument whose prices include dividends where
    the benchmark's don't or the reverse, has none.
    """

    columns = ("rs_mansfield_pct", "rs_benchmark")
    memory = None

    def __init__(self, width: int) -> None:
        self._weeks = CompletedWeeks(width, WEEKS - 1)
        self._earlier = np.full((1, width), np.nan)
        self._ratio = np.full((1, width), np.nan)

    def feed(self, tile: Tile) -> None:
        ratio = tile.over_benchmark()
        if ratio is None:
            return
        rows = self._rows(tile)
        rows[0], rows[1:, 0] = (self._ratio[0], self._earlier[0]), ratio
        for k, columns in enumerate(tile.week_starts):
            rows[k + 1, 1] = rows[k, 1]
            if len(columns):
                self._weeks.push(columns, rows[k, 0, columns])
                total = self._weeks.total(columns, WEEKS - 1)
                total[self._weeks.count[columns] < WEEKS - 1] = np.nan
                rows[k + 1, 1, columns] = total
        self._ratio[0], self._earlier[0] = rows[-1]

    def _rows(self, tile: Tile) -> Floats:
        """Shape (1 + rows, 2, width): of the row before the tile and its rows, R and the sum of 51 completed weeks."""
        return tile.work.floats("relative strength", 1 + tile.rows, 2, tile.width)

    def write(self, tile: Tile) -> None:
        out, label = tile.out("rs_mansfield_pct"), tile.out("rs_benchmark")
        if tile.benchmark is None:
            out.fill(np.nan)
            label.fill(_UNKNOWN)
            return
        rows = self._rows(tile)[1:]
        ratio = rows[:, 0]
        mean = np.add(rows[:, 1], ratio, out=tile.scratch("a"))
        np.multiply(mean, _SHARE, out=mean)
        np.divide(ratio, mean, out=out)
        np.subtract(out, 1.0, out=out)
        np.multiply(out, 100.0, out=out)
        label.fill(_UNIVERSE if tile.benchmark.universe else _BENCHMARK)
        np.copyto(label, _UNKNOWN, where=np.isnan(out))
