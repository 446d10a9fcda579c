"""What a family of indicators is: the two things it does with every tile of bars."""

from __future__ import annotations

from quantmatrix_pipeline.indicators.tile import Tile


class Family:
    """Indicators computed together; `Family(width)` begins at bar 0 of `width` instruments.

    For each tile the engine calls `feed` of every family, in order, and then `write` of every family, in order.

    Attributes
    ----------
    columns
        The names of the columns that it writes.
    reads
        Columns of earlier families whose values, or what these families leave beside them, it builds on.
    memory
        How many bars before a row its values need; None for families that must be fed every bar from the first.
    """

    columns: tuple[str, ...]
    reads: tuple[str, ...] = ()
    memory: int | None = 0

    def __init__(self, width: int) -> None:
        pass

    def feed(self, tile: Tile) -> None:
        """Take in the tile's bars; columns that fall out on the way may be written at once.

        Rows of a column within the look-back, and beyond an instrument's last bar those of flags, counts and labels,
        may hold anything.
        """

    def write(self, tile: Tile) -> None:
        """Write what is not yet written of the columns, for tiles that somebody sees."""
