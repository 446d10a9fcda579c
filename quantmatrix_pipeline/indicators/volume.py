"""Volume: its averages, on-balance volume, and the average price weighted by it."""

from __future__ import annotations

import numpy as np

from quantmatrix_pipeline.indicators.averages import TOLERANCE
from quantmatrix_pipeline.indicators.catalogue import VOLUME_WINDOWS
from quantmatrix_pipeline.indicators.compiled import compiled
from quantmatrix_pipeline.indicators.family import Family
from quantmatrix_pipeline.indicators.panel import Bools, Floats
from quantmatrix_pipeline.indicators.tile import Tile
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
        _ratio(tile.volume, tile.out("volume_avg_20d"), tile.out("relative_volume_20d"))


@compiled
def _ratio(volume: Floats, usual: Floats, out: Floats) -> None:
    rows, width = volume.shape
    for k in range(rows):
        for i in range(width):
            relative = volume[k, i] / usual[k, i]
            out[k, i] = 0.0 if usual[k, i] == 0.0 else relative


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
        money, shares = self._sums
        bars = (tile.high, tile.low, tile.close, tile.volume)
        _since_the_year_began(tile.flags("year begins"), *bars, money, shares, tile.out("vwap_ytd"))


@compiled
def _since_the_year_began(
    begins: Bools, high: Floats, low: Floats, close: Floats, volume: Floats, money: Floats, shares: Floats, out: Floats
) -> None:
    rows, width = close.shape
    for k in range(rows):
        for i in range(width):
            if begins[k, i]:
                money[i] = shares[i] = 0.0
        for i in range(width):
            money[i] += (high[k, i] + low[k, i] + close[k, i]) * (1.0 / 3.0) * volume[k, i]
        for i in range(width):
            shares[i] += volume[k, i]
        for i in range(width):
            average = money[i] / shares[i]
            out[k, i] = close[k, i] if shares[i] == 0.0 else average
