"""What a family of indicators is: the three things it does with every tile of bars."""

from __future__ import annotations

from quantmatrix_pipeline.indicators.panel import Bools, Floats
from quantmatrix_pipeline.indicators.recursions import Recursion
from quantmatrix_pipeline.indicators.tile import Tile


class Family:
    """Indicators computed together; `Family(width)` begins at bar 0 of `width` instruments.

    For each tile the engine calls `feed` of every family, runs all their `averages` in one recursion, calls
    `feed_again`, runs all their `second_averages` in another, and calls `write`. A time step is thus two operations
    for all families together: a call of NumPy costs more than the arithmetic of a single one.

    Attributes
    ----------
    columns
        The names of the columns that it writes.
    reads
        Columns of earlier families whose values, or what these families leave beside them, it builds on.
    averages, second_averages
        The recursive averages of bars, and those of the first averages' results.
    memory
        How many bars before a row its values need; None for families that must be fed every bar from the first.
    """

    columns: tuple[str, ...]
    reads: tuple[str, ...] = ()
    averages: tuple[Recursion, ...] = ()
    second_averages: tuple[Recursion, ...] = ()
    memory: int | None = 0

    def __init__(self, width: int) -> None:
        pass

    def feed(self, tile: Tile, inputs: Floats) -> None:
        """Take in the tile's bars and write the `averages`' inputs, shape (averages, rows, width)."""

    def feed_again(self, tile: Tile, sums: Floats, inputs: Floats) -> Bools | None:
        """Take in the sums that the `averages` have come to, and write the inputs of the `second_averages`.

        Returns flags of shape (rows, width) where a bar has no input and the second averages stay as they were, or
        None where every bar has one.
        """
        return None

    def write(self, tile: Tile, sums: Floats, second_sums: Floats) -> None:
        """Write the family's columns, for tiles that somebody sees; rows within the look-back may hold anything.

        Parameters
        ----------
        sums, second_sums
            Shape (k, rows, width), of `averages` and `second_averages`: times a recursion's weight they are its
            average. The family may overwrite them.
        """
