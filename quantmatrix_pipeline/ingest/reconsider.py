"""Look anew at bars that were put into other shares, once other splits count than when that was done.

A bar between the day that a vendor names and the day on which the price moved looks as if it were in other shares. When
it turns out that the split was on the other day, the bar was right as it came: else which of two vendors answers first
would decide what is stored.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import date, datetime, timedelta

from quantmatrix_pipeline.bars.repair.catalogue import SPLIT_UNIT
from quantmatrix_pipeline.bars.sessions import TradingCalendar
from quantmatrix_pipeline.bars.thresholds import DEFAULT_THRESHOLDS, Thresholds
from quantmatrix_pipeline.ingest.decide import one_bar_each, store_again
from quantmatrix_pipeline.warehouse import repairs
from quantmatrix_pipeline.warehouse.engine import Warehouse

WITHIN = timedelta(days=90)  # as many sessions as the longest stretch that is repaired


def reconsider(
    warehouse: Warehouse,
    calendar: TradingCalendar,
    changed: Mapping[int, Collection[date]],
    now: datetime,
    *,
    repair_at: float,
    thresholds: Thresholds = DEFAULT_THRESHOLDS,
) -> int:
    """Store bars as they came whose repair rested on splits that changed; what is a fault still is repaired again.

    The caller holds the exclusive lock `bars_1d`. What a person decided stays.

    Parameters
    ----------
    changed
        instrument_id -> ex-dates on which another split counts than before, or none.
    repair_at
        The confidence from which a faulty bar is repaired, `mend.OFF` for none.

    Returns
    -------
    How many repairs were set aside.
    """
    if not changed:
        return 0
    mended = repairs.find(warehouse, rule=SPLIT_UNIT.name, state="applied", instrument_ids=sorted(changed))
    near = [
        r for r in mended if not r.by_hand and any(abs(r.session - day) <= WITHIN for day in changed[r.instrument_id])
    ]
    for part in one_bar_each(near):
        originals = [repair.original for repair in part]
        store_again(warehouse, calendar, part, originals, "reconsidered", now, thresholds, repair_at)
    gone = [r.repair_id for r in near if repairs.stored_close(warehouse, r) != r.repaired[3]]
    if gone:
        repairs.decide(warehouse, gone, "set_aside", now)
    return len(gone)
