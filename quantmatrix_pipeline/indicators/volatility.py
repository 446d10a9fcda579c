"""Averages of the true range: ATR, and ATR in percent of the price."""

from __future__ import annotations

import numpy as np

from quantmatrix_pipeline.indicators.catalogue import ATR_WINDOWS
from quantmatrix_pipeline.indicators.family import Family
from quantmatrix_pipeline.indicators.recursions import RecursiveAverage, wilder
from quantmatrix_pipeline.indicators.tile import Tile


class AverageTrueRange(Family):
    """atr_n and atrp_n = 100 ATR / C."""

    columns = tuple(f"{name}_{n}" for name in ("atr", "atrp") for n in ATR_WINDOWS)
    memory = None

    def __init__(self, width: int) -> None:
        self._averages = [RecursiveAverage(wilder(n, first=1), width) for n in ATR_WINDOWS]

    def feed(self, tile: Tile) -> None:
        for n, average in zip(ATR_WINDOWS, self._averages, strict=True):
            average.advance(tile.row0, tile.true_range, tile.out(f"atr_{n}"))

    def write(self, tile: Tile) -> None:
        for n in ATR_WINDOWS:
            if tile.wants(f"atrp_{n}"):
                percent = np.divide(tile.out(f"atr_{n}"), tile.close, out=tile.out(f"atrp_{n}"))
                percent *= 100.0
