"""Averages of the true range: ATR, and ATR in percent of the price."""

from __future__ import annotations

import numpy as np

from quantmatrix_pipeline.indicators.catalogue import ATR_WINDOWS
from quantmatrix_pipeline.indicators.family import Family
from quantmatrix_pipeline.indicators.panel import Floats
from quantmatrix_pipeline.indicators.recursions import wilder
from quantmatrix_pipeline.indicators.tile import Tile


class AverageTrueRange(Family):
    """atr_n and atrp_n = 100 ATR / C."""

    columns = tuple(f"{name}_{n}" for name in ("atr", "atrp") for n in ATR_WINDOWS)
    averages = tuple(wilder(n, first=1) for n in ATR_WINDOWS)
    memory = None

    def feed(self, tile: Tile, inputs: Floats) -> None:
        np.copyto(inputs, tile.true_range)

    def write(self, tile: Tile, sums: Floats, second_sums: Floats) -> None:
        for n, own, spec in zip(ATR_WINDOWS, sums, self.averages, strict=True):
            average = np.multiply(own, spec.weight, out=tile.out(f"atr_{n}"))
            if tile.wants(f"atrp_{n}"):
                percent = np.divide(average, tile.close, out=tile.scratch("a"))
                np.multiply(percent, 100.0, out=tile.out(f"atrp_{n}"))
