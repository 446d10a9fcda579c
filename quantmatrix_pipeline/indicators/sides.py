"""Both sides of the market: prices as they are, and upside down, so that one rule serves falls and rises."""

from __future__ import annotations

import numpy as np

from quantmatrix_pipeline.indicators.averages import TOLERANCE
from quantmatrix_pipeline.indicators.panel import Floats
from quantmatrix_pipeline.indicators.tile import Tile


class SidedPrice:
    """A price times the sign of a side, with the rows before the tile.

    The low of the falling side goes with the high of the rising one, and a close with itself: -H is the low of a market
    seen upside down. NaN stands before the first bar.
    """

    def __init__(self, name: str, sign: float, history: int, width: int) -> None:
        """Keep `history` rows from tile to tile, at most a tile's."""
        self._name = f"{name} {sign:+}"
        self._sign = sign
        self._kept = np.full((history, width), np.nan)

    def advance(self, tile: Tile, price: Floats) -> Floats:
        """Take in the tile's prices, shape (rows, width); return shape (history + rows, width)."""
        history = len(self._kept)
        every = tile.work.floats(self._name, history + tile.rows, tile.width)
        every[:history] = self._kept
        np.multiply(price, self._sign, out=every[history:])
        self._kept[...] = every[tile.rows :]
        return every


def just_below(price: Floats) -> Floats:
    """Return what lies a relative 1e-12 below: less than this is less than the price, by more than rounding."""
    return price - TOLERANCE * np.absolute(price)


def just_above(price: Floats) -> Floats:
    """Return what lies a relative 1e-12 above: up to this is up to the price, whatever the rounding."""
    return price + TOLERANCE * np.absolute(price)
