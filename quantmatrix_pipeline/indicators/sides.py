"""Both sides of the market at once: prices as they are, and upside down, so that one rule serves falls and rises."""

from __future__ import annotations

import numpy as np

from quantmatrix_pipeline.indicators.averages import TOLERANCE
from quantmatrix_pipeline.indicators.panel import Floats
from quantmatrix_pipeline.indicators.tile import Tile

SIDES = 2


class SidedPrice:
    """A price of the falling side and its counterpart of the rising one, negated, with the rows before the tile.

    The low of the falling side goes with the high of the rising one, and a close with itself: -H is the low of a market
    seen upside down. NaN stands before the first bar.
    """

    def __init__(self, name: str, history: int, width: int) -> None:
        """Keep `history` rows from tile to tile, at most a tile's."""
        self._name = name
        self._kept = np.full((history, SIDES, width), np.nan)

    def advance(self, tile: Tile, falling: Floats, rising: Floats) -> Floats:
        """Take in the tile's prices, shape (rows, width) each; return shape (history + rows, 2, width)."""
        history = len(self._kept)
        every = tile.work.floats(self._name, history + tile.rows, SIDES, tile.width)
        every[:history] = self._kept
        np.copyto(every[history:, 0], falling)
        np.negative(rising, out=every[history:, 1])
        self._kept[...] = every[tile.rows :]
        return every


def just_below(price: Floats) -> Floats:
    """Return what lies a relative 1e-12 below: less than this is less than the price, by more than rounding."""
    return price - TOLERANCE * np.absolute(price)


def just_above(price: Floats) -> Floats:
    """Return what lies a relative 1e-12 above: up to this is up to the price, whatever the rounding."""
    return price + TOLERANCE * np.absolute(price)
