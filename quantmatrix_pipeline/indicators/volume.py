"""Volume: its averages, on-balance volume, and the average price weighted by it."""

from __future__ import annotations

import numpy as np

from quantmatrix_pipeline.indicators.averages import TOLERANCE
from quantmatrix_pipeline.indicators.catalogue import VOLUME_WINDOWS
from quantmatrix_pipeline.indicators.compiled import compiled
from quantmatrix_pipeline.indicators.family import Family
from quantmatrix_pipeline.indicators.panel import Floats
from quantmatrix_pipeline.indicators.tile import Tile, where_zero
from quantmatrix_pipeline.indicators.windows import Reduction, RollingReduction, sum_step

_TO_20 = [sum_step(*pair) for pair in ((1, 1), (2, 2), (1, 4), (5, 5), (10, 10))]
_TO_50 = [*_TO_20, *(sum_step(*pair) for pair in ((20, 20), (10, 40)))]


class VolumeAverages(Family):
    """volume_avg_nd, relative_volume_20d and dollar_volume_20d.

    Shares of different sessions are made comparable by the splits between them; money needs no such thing. Where
    nothing was traded in twenty bars the relative volume is 0.
    """

    columns = (*(f"volume_avg_{n}d" for n in VOLUME_WINDOWS), "relative_volume_20d", "dollar_volume_20d")
    memory = max(VOLUME_WINDOWS) - 1

    def __init__(self, width: int) -> None:
        self._shares = RollingReduction(Reduction.SUM, _TO_50, VOLUME_WINDOWS, width)
        self._money = RollingReduction(Reduction.SUM, _TO_20, (20,), width)

    def feed(self, tile: Tile) -> None:
        averages = [tile.out(f"volume_avg_{n}d") for n in VOLUME_WINDOWS]
        self._shares.advance(tile.row0, tile.volume, [1.0 / n for n in VOLUME_WINDOWS], averages)
        money = np.multiply(tile.close, tile.volume, out=tile.scratch("money"))
        self._money.advance(tile.row0, money, [1.0 / 20], [tile.out("dollar_volume_20d")])

    def write(self, tile: Tile) -> None:
        usual = tile.out("volume_avg_20d")
        still = where_zero(usual, tile)
        relative = np.divide(tile.volume, usual, out=tile.out("relative_volume_20d"))
        if still is not None:
            np.copyto(relative, 0.0, where=still)


class OnBalanceVolume(Family):
    """obv: the volumes of all bars, those of a lower close counted off, from the instrument's first bar on, as TA-Lib.

    Closes within a relative 1e-12 are equal: a price carried over a split may miss itself by an ulp.
    """

    columns = ("obv",)
    memory = None

    def __init__(self, width: int) -> None:
        self._total = np.zeros(width)

    def feed(self, tile: Tile) -> None:
        _on_balance(
            tile.row0, 1.0 + TOLERANCE, tile.close, tile.close_before, tile.volume, self._total, tile.out("obv")
        )


@compiled
def _on_balance(
    row0: int, above: float, close: Floats, before: Floats, volume: Floats, total: Floats, out: Floats
) -> None:
    rows, width = close.shape
    for k in range(rows):
        first = 1.0 if row0 + k == 0 else 0.0  # the first bar has no close before it, and counts
        for i in range(width):
            rises = 1.0 if close[k, i] > before[k, i] * above else first
            falls = 1.0 if close[k, i] * above < before[k, i] else 0.0
            total[i] += volume[k, i] * (rises - falls)
            out[k, i] = total[i]


class YearToDateVwap(Family):
    """vwap_ytd: the typical prices (H + L + C)/3 since the year began, weighted by volume; reads where years begin.

    Daily bars stand for the trades in them. Where no bar lies before the year its beginning may not be among the bars:
    NaN, as for perf_ytd. While nothing has been traded in the year it is the close.
    """

    columns = ("vwap_ytd",)
    reads = ("perf_ytd",)
    memory = None

    def __init__(self, width: int) -> None:
        self._sums = np.full((2, width), np.nan)

    def feed(self, tile: Tile) -> None:
        sums = self._tile_sums(tile)
        money, shares = sums[:, 0], sums[:, 1]
        np.copyto(shares, tile.volume)
        np.add(tile.high, tile.low, out=money)
        money += tile.close
        money *= 1.0 / 3.0
        money *= shares
        begins = tile.flags("year begins")
        last = self._sums
        for now, begun in zip(sums, begins, strict=True):
            if begun.any():
                last = np.where(begun, 0.0, last)
            now += last
            last = now
        np.copyto(self._sums, last)

    def write(self, tile: Tile) -> None:
        own = self._tile_sums(tile)
        money, shares = own[:, 0], own[:, 1]
        still = where_zero(shares, tile)
        average = np.divide(money, shares, out=tile.out("vwap_ytd"))
        if still is not None:
            np.copyto(average, tile.close, where=still)

    @staticmethod
    def _tile_sums(tile: Tile) -> Floats:
        """Shape (rows, 2, width): money and shares traded since the year began."""
        return tile.work.floats("since the year began", tile.rows, 2, tile.width)
