"""Daily bars of many instruments as columns: what a source hands over and what validation works on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int32]
Bools = npt.NDArray[np.bool_]
Dates = npt.NDArray[np.datetime64]  # unit D throughout

FIELDS = ("open", "high", "low", "close", "volume")


class Basis(StrEnum):
    """What a price has been adjusted for."""

    RAW = "raw"
    SPLIT = "split"
    SPLIT_DIVIDEND = "split_dividend"


@dataclass(frozen=True, slots=True)
class BarBatch:
    """n daily bars, in any order.

    Attributes
    ----------
    symbols
        The distinct canonical symbols of the batch.
    symbol_index
        Shape (n,): which of `symbols` a row belongs to.
    session
        Shape (n,), datetime64[D]: the exchange session.
    open, high, low, close
        Shape (n,): prices in the instrument's currency, NaN where the source gave none.
    volume
        Shape (n,): shares, may be fractional; NaN where the source gave none.
    """

    symbols: tuple[str, ...]
    symbol_index: Ints
    session: Dates
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats

    def __len__(self) -> int:
        return len(self.session)

    def take(self, rows: npt.NDArray[np.intp] | Bools) -> BarBatch:
        """Return the rows that an index or mask names; `symbols` stays whole."""
        return BarBatch(
            self.symbols,
            self.symbol_index[rows],
            self.session[rows],
            self.open[rows],
            self.high[rows],
            self.low[rows],
            self.close[rows],
            self.volume[rows],
        )

    @classmethod
    def empty(cls) -> BarBatch:
        none = np.empty(0)
        return cls((), np.empty(0, np.int32), np.empty(0, "datetime64[D]"), none, none, none, none, none)

    @classmethod
    def concat(cls, batches: Sequence[BarBatch]) -> BarBatch:
        """Join batches; a symbol that stands in several keeps one entry in `symbols`."""
        if len(batches) == 1:
            return batches[0]
        if not batches:
            return cls.empty()
        place: dict[str, int] = {}
        index = []
        for batch in batches:
            lookup = np.array([place.setdefault(s, len(place)) for s in batch.symbols] or [0], np.int32)
            index.append(lookup[batch.symbol_index])
        columns = {name: np.concatenate([getattr(b, name) for b in batches]) for name in ("session", *FIELDS)}
        return cls(symbols=tuple(place), symbol_index=np.concatenate(index).astype(np.int32), **columns)
