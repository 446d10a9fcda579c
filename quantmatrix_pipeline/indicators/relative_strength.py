"""Relative strength against a benchmark, by the week."""

from __future__ import annotations

import numpy as np

from quantmatrix_pipeline.indicators.catalogue import RS_BENCHMARK_LABELS
from quantmatrix_pipeline.indicators.family import Family
from quantmatrix_pipeline.indicators.performance import percent_change
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
        self._weeks = CompletedWeeks(width, WEEKS - 1, [(WEEKS - 1, 0)])
        self._last = np.full(width, np.nan)  # R of the bar before the tile

    def feed(self, tile: Tile) -> None:
        ratio = tile.over_benchmark()
        if ratio is None:
            return
        before = tile.scratch("strength before")
        before[0], before[1:] = self._last, ratio[:-1]
        self._weeks.advance(tile.week_starts, before, [tile.out("rs_mansfield_pct")])
        self._last[:] = ratio[-1]

    def write(self, tile: Tile) -> None:
        out, label = tile.out("rs_mansfield_pct"), tile.out("rs_benchmark")
        if tile.benchmark is None:
            out.fill(np.nan)
            label.fill(_UNKNOWN)
            return
        ratio = tile.over_benchmark()
        assert ratio is not None
        out += ratio
        out *= _SHARE
        percent_change(ratio, out, out)
        label.fill(_UNIVERSE if tile.benchmark.universe else _BENCHMARK)
        np.copyto(label, _UNKNOWN, where=np.isnan(out))
