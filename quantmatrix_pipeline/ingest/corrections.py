"""When a bar that is asked for again says something else than the stored one, and when only the same in other digits.

Two prices are the same within a relative tolerance, in one share unit: a vendor that undoes an adjustment rounds, and
another one quotes in the shares of another day. Volumes have a tolerance of their own. A stored bar is corrected by its
own vendor only; what another vendor says of it otherwise is a dispute between two, which a fetch does not settle.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from quantmatrix_pipeline.bars.adjustment import SplitTable
from quantmatrix_pipeline.bars.batch import FIELDS, Basis, Bools, Dates, Floats, Ints
from quantmatrix_pipeline.bars.stored import SourceIds, Sources, stored_units


@dataclass(frozen=True, slots=True)
class Tolerance:
    """Up to which relative difference from the stored number a later one is the same."""

    price: float = 1e-6
    volume: float = 1e-4


DEFAULT_TOLERANCE = Tolerance()


def same_bars(
    instrument_id: Ints,
    session: Dates,
    said: Mapping[str, Floats],
    stored: Mapping[str, Floats],
    source_id: int,
    stored_source: SourceIds,
    *,
    splits: SplitTable,
    sources: Sources,
    tolerance: Tolerance,
) -> Bools:
    """Tell which of n bars say what the stored ones of the same keys say, shape (n,).

    Parameters
    ----------
    said, stored
        open .. volume, shape (n,) each: what came from the source `source_id`, and what is stored from `stored_source`.
        A missing number is never the same.
    splits, sources
        The splits in force and what the source numbers mean, to compare in one share unit.
    """
    factor: Floats | float = 1.0
    other = np.flatnonzero(stored_source != source_id)
    if len(other):
        own = np.full(len(other), source_id, np.int16)
        at = instrument_id[other], session[other]
        factor = np.ones(len(session))
        factor[other] = stored_units(splits, *at, own, sources) / stored_units(
            splits, *at, stored_source[other], sources
        )
    same = np.ones(len(session), np.bool_)
    for name in FIELDS:
        limit = tolerance.volume if name == "volume" else tolerance.price
        now = said[name] / factor if name == "volume" else said[name] * factor
        same &= np.abs(now - stored[name]) <= limit * np.abs(stored[name])
    if len(other):  # a price less dividends and one that is not are never compared
        lowered = [number for number, (_, basis, _) in sources.items() if basis == Basis.SPLIT_DIVIDEND]
        same &= np.isin(stored_source, lowered) == (source_id in lowered)
    return same


def same_vendor(source_id: int, stored_source: SourceIds, sources: Sources) -> Bools:
    """Tell which stored bars came from the vendor of a source, shape of `stored_source`."""
    vendor = sources[source_id][0]
    return np.isin(stored_source, [number for number, (name, _, _) in sources.items() if name == vendor])
