"""True range and its averages: ATR, and ATR in percent of the price."""

from __future__ import annotations

import numpy as np

from quantmatrix_pipeline.indicators.catalogue import ATR_WINDOWS
from quantmatrix_pipeline.indicators.family import Family
from quantmatrix_pipeline.indicators.panel import Floats
from quantmatrix_pipeline.indicators.recursions import wilder
from quantmatrix_pipeline.indicators.tile import Tile


def true_range(tile: Tile, out: Floats) -> None:
    """Write TR = max(H, C[1]) - min(L, C[1]) (Wilder 1978); bar 0 has no close before it, and nobody counts its TR."""
    np.maximum(tile.high, tile.close_before, out=out)
    out -= np.minimum(tile.low, tile.close_before, out=tile.scratch("a"))


class AverageTrueRange(Family):
    """atr_n and atrp_n = 100 ATR / C."""

    columns = tuple(f"{name}_{n}" for name in ("atr", "atrp") for n in ATR_WINDOWS)
    averages = tuple(wilder(n, first=1) for n in ATR_WINDOWS)
    memory = None

    def feed(self, tile: Tile, inputs: Floats) -> None:
        true_range(tile, inputs[0])
        np.copyto(inputs[1:], inputs[0])

    def write(self, tile: Tile, sums: Floats, second_sums: Floats) -> None:
        for n, own, spec in zip(ATR_WINDOWS, sums, self.averages, strict=True):
            average = np.multiply(own, spec.weight, out=tile.out(f"atr_{n}"))
            if tile.wants(f"atrp_{n}"):
                percent = np.divide(average, tile.close, out=tile.scratch("a"))
                np.multiply(percent, 100.0, out=tile.out(f"atrp_{n}"))
