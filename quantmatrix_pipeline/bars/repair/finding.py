"""What a rule of repair found about one bar, and the sequence of bars in which it looks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from quantmatrix_pipeline.bars.adjustment import forward_price
from quantmatrix_pipeline.bars.batch import Bools, Floats
from quantmatrix_pipeline.bars.repair.catalogue import RepairRule
from quantmatrix_pipeline.bars.rules import BarRows

PRICES = ("open", "high", "low", "close")
Places = npt.NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Finding:
    """A fault of one bar.

    Attributes
    ----------
    row
        Which of the rows it is.
    rule, confidence
        What was found, and how sure it is: 0 to 1.
    repaired
        Open, high, low, close, volume as they should be, in the share unit of the row; None where nothing can take
        their place and the bar is to be withheld.
    evidence
        What it rests on, for people and as JSON.
    """

    row: int
    rule: RepairRule
    confidence: float
    repaired: tuple[float, float, float, float, float] | None
    evidence: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Series:
    """The bars with four positive prices, one per (instrument, session), in one share unit per instrument.

    Attributes
    ----------
    at
        Shape (k,), ascending: which rows they are. Where a key stands in several rows it is the last one, which takes
        the place of the others.
    instrument
        Shape (k,).
    logs
        Shape (4, k): logarithms of open, high, low, close in shares of the instrument's first day.
    """

    at: Places
    instrument: npt.NDArray[np.int32]
    logs: Floats

    @classmethod
    def of(cls, rows: BarRows, usable: Bools) -> Series:
        """Build it from those rows that are `usable` (their prices are positive and finite)."""
        at = np.flatnonzero(usable)
        same = (rows.instrument_index[at][1:] == rows.instrument_index[at][:-1]) & (
            rows.session[at][1:] == rows.session[at][:-1]
        )
        last = np.ones(len(at), np.bool_)
        last[:-1] = ~same
        at = at[last]
        unit = rows.unit[at]
        logs = np.log(np.stack([forward_price(getattr(rows, name)[at], unit) for name in PRICES]))
        return cls(at, rows.instrument_index[at], logs)

    def __len__(self) -> int:
        return len(self.at)

    def mended(self, rows: BarRows, found: Sequence[Finding]) -> Series:
        """Return the series with the repaired prices of some findings in their places."""
        logs = self.logs.copy()
        for finding in found:
            place = int(np.searchsorted(self.at, finding.row))
            prices = np.array(finding.repaired)[: len(PRICES)] * rows.unit[finding.row]
            logs[:, place] = np.log(prices)
        return Series(self.at, self.instrument, logs)

    def follows(self) -> Bools:
        """Tell which bars have a predecessor of the same instrument, shape (k,)."""
        result = np.zeros(len(self), np.bool_)
        result[1:] = self.instrument[1:] == self.instrument[:-1]
        return result


def positive(rows: BarRows) -> Bools:
    """Tell which rows have four prices that are finite and above zero."""
    result = np.ones(len(rows), np.bool_)
    for name in PRICES:
        values = getattr(rows, name)
        result &= np.isfinite(values) & (values > 0)
    return result


def in_order(prices: tuple[float, ...]) -> bool:
    """Tell whether open, high, low, close are positive and lie as they must."""
    open_, high, low, close = prices[:4]
    return 0 < low <= min(open_, close) and max(open_, close) <= high < np.inf
