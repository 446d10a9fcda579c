"""What a second source says of a bar, and how far it can be believed: as far as both agree on what is sound."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from quantmatrix_pipeline.bars.batch import FIELDS, Bools, Dates, Floats, Ints
from quantmatrix_pipeline.bars.repair.finding import PRICES, Places, Series, in_order
from quantmatrix_pipeline.bars.rules import BarRows

PERCENT_COSTS = 0.1  # of confidence, for each percent by which the sources differ
Keys = npt.NDArray[np.int64]
_REACH = 3
_SPAN = 1 << 32


@dataclass(frozen=True)
class SecondSource:
    """Bars of another source, shape (m,) each, ascending by (instrument, session), one per key.

    Attributes
    ----------
    instrument_index, session
        As in the rows beside which they stand.
    values
        Shape (5, m): open, high, low, close, volume.
    unit
        Shape (m,): U(anchor) of each, as of the rows.
    vendor
        Who says so.
    """

    instrument_index: Ints
    session: Dates
    values: Floats
    unit: Floats
    vendor: str

    @cached_property
    def keys(self) -> Keys:
        """The keys of its bars, packed."""
        return packed(self.instrument_index, self.session)

    def find(self, instrument_index: Ints, session: Dates) -> Places:
        """Return where each key stands, -1 where it doesn't."""
        keys = self.keys
        wanted = packed(instrument_index, session)
        if not len(keys):
            return np.full(len(wanted), -1, np.intp)
        place = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
        return np.where(keys[place] == wanted, place, -1)


def packed(instrument_index: Ints, session: Dates) -> Keys:
    """Return one sortable number per (instrument, session)."""
    return instrument_index.astype(np.int64) * _SPAN + session.astype("datetime64[D]").astype(np.int64)


@dataclass(frozen=True, slots=True)
class Replacement:
    """Numbers of a second source for one bar, in the share unit of its row; `fields` are those that were taken."""

    values: tuple[float, float, float, float, float]
    confidence: float
    fields: tuple[str, ...]
    difference: float
    neighbours: int


def replacement(
    rows: BarRows, series: Series, faulty: Bools, row: int, sound: tuple[str, ...], second: SecondSource
) -> Replacement | None:
    """Return what a second source says of a bar, or None where it says nothing or can't be compared.

    Parameters
    ----------
    series, faulty
        The sequence of bars with prices, and which of the rows are in doubt, (n,): they are no neighbours.
    row
        The bar.
    sound
        Those of its prices that stand; they are kept as far as they fit together with the others.
    """
    there = int(second.find(rows.instrument_index[row : row + 1], rows.session[row : row + 1])[0])
    if there < 0:
        return None
    factor = second.unit[there] / rows.unit[row]
    theirs = second.values[:4, there] * factor
    if not in_order(tuple(theirs.tolist())):
        return None
    differences = [abs(theirs[PRICES.index(name)] / getattr(rows, name)[row] - 1) for name in sound]
    near = _neighbours(rows, series, faulty, row)
    at = second.find(rows.instrument_index[near], rows.session[near])
    near, at = near[at >= 0], at[at >= 0]
    if not len(near):
        return None
    closes = second.values[3, at] * second.unit[at] / (rows.close[near] * rows.unit[near])
    differences += np.abs(closes - 1).tolist()
    difference = float(np.max(differences))
    own = {name: float(getattr(rows, name)[row]) for name in FIELDS}
    mixed = tuple(own[name] if name in sound else float(theirs[k]) for k, name in enumerate(PRICES))
    prices = mixed if in_order(mixed) else tuple(theirs.tolist())
    fields = tuple(name for k, name in enumerate(PRICES) if prices[k] != own[name])
    volume = own["volume"]
    if not volume > 0 or len(fields) == len(PRICES):
        volume = float(second.values[4, there] / factor)
        fields += ("volume",) * (volume != own["volume"])
    if not (np.isfinite(volume) and volume >= 0):
        return None
    open_, high, low, close = prices
    confidence = max(0.0, 1 - PERCENT_COSTS * 100 * difference)
    return Replacement((open_, high, low, close, volume), confidence, fields, difference, len(near))


def _neighbours(rows: BarRows, series: Series, faulty: Bools, row: int) -> Places:
    """Return up to three bars on either side that are not in doubt."""
    place = int(np.searchsorted(series.at, row))
    around = series.at[max(0, place - 2 * _REACH) : place + 2 * _REACH + 1]
    own = around[(rows.instrument_index[around] == rows.instrument_index[row]) & ~faulty[around] & (around != row)]
    before, after = own[own < row], own[own > row]
    return np.concatenate([before[-_REACH:], after[:_REACH]])
