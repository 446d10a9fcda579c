"""From columns as they are stored (source numbers, split rows) to the share units of `bars.adjustment`."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from fractions import Fraction

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from quantmatrix_pipeline.bars.adjustment import SplitTable, anchor
from quantmatrix_pipeline.bars.batch import Basis, Dates, Floats, Ints

SourceIds = npt.NDArray[np.int16]
# source_id -> (vendor, basis, basis_date)
Sources = Mapping[int, tuple[str, str, date | None]]


def split_table(splits: pa.Table) -> SplitTable:
    """Return stored splits (instrument_id, ex_date, numerator, denominator) as step functions by instrument_id."""
    if splits.num_rows == 0:
        return SplitTable.none()
    ratios = zip(splits["numerator"].to_pylist(), splits["denominator"].to_pylist(), strict=True)
    return SplitTable.build(
        splits["instrument_id"].to_pylist(),
        splits["ex_date"].to_numpy().astype("datetime64[D]"),
        [Fraction(numerator, denominator) for numerator, denominator in ratios],
    )


def quoted_on(session: Dates, source_id: SourceIds, sources: Sources) -> Dates:
    """Return the day in whose shares each stored bar is quoted: its session for raw prices, else the basis date."""
    days = session.copy()
    for number in np.unique(source_id):
        _, basis, basis_date = sources[int(number)]
        rows = source_id == number
        days[rows] = anchor(session[rows], Basis(basis), None if basis_date is None else np.datetime64(basis_date, "D"))
    return days


def stored_units(
    splits: SplitTable, instrument_id: Ints, session: Dates, source_id: SourceIds, sources: Sources
) -> Floats:
    """Return U(anchor) of each stored bar: times its price, the price in shares of the instrument's first day."""
    return splits.unit(instrument_id, quoted_on(session, source_id, sources))


def paid_until(session: Dates, source_id: SourceIds, sources: Sources) -> Dates:
    """Return the day up to which each stored price is lowered by dividends: its session, or a later basis date."""
    days = session.copy()
    for number in np.unique(source_id):
        _, basis, basis_date = sources[int(number)]
        if basis == Basis.SPLIT_DIVIDEND:
            rows = source_id == number
            days[rows] = anchor(session[rows], Basis.SPLIT_DIVIDEND, np.datetime64(basis_date, "D"))
    return days
