"""Sessions that are missing inside an instrument's life."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import date

import numpy as np

from quantmatrix_pipeline.bars.sessions import TradingCalendar
from quantmatrix_pipeline.warehouse import audit
from quantmatrix_pipeline.warehouse.engine import Warehouse


@dataclass(frozen=True, slots=True)
class Holes:
    """How many sessions an instrument lacks between its first and its last bar.

    `rejected` of the `missing` came and were refused: the validation log says why. The others were never served.
    """

    symbol: str
    missing: int
    rejected: int
    first: date
    last: date


def holes(warehouse: Warehouse, calendar: TradingCalendar, last: date) -> list[Holes]:
    """Return the tracked instruments that lack sessions inside their life up to `last`, the worst first."""
    spans = audit.lives(warehouse, last)
    if not spans:
        return []
    first_at = calendar.index_of(np.array([s.first for s in spans], dtype="datetime64[D]"))
    last_at = calendar.index_of(np.array([s.last for s in spans], dtype="datetime64[D]"))
    missing = last_at - first_at + 1 - np.array([s.bars for s in spans])
    life = {s.instrument_id: (s.first, s.last) for s in spans}
    refused = Counter(
        i
        for i, day in audit.rejected_days(warehouse, last)
        if i in life and life[i][0] <= day <= life[i][1] and calendar.is_session(day)
    )
    found = [
        Holes(s.symbol, int(m), refused[s.instrument_id], s.first, s.last)
        for s, m in zip(spans, missing, strict=True)
        if m > 0
    ]
    return sorted(found, key=lambda h: (-h.missing, h.symbol))
