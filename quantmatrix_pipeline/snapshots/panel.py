"""Read stored bars as a panel: from each instrument's first bar on, in one share unit, the unusable left out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date, datetime

import numpy as np

from quantmatrix_pipeline.bars.batch import Basis, Bools, Ints
from quantmatrix_pipeline.bars.rules import USABLE_QUALITY
from quantmatrix_pipeline.bars.stored import SourceIds, Sources, split_table, stored_units
from quantmatrix_pipeline.indicators.panel import Panel
from quantmatrix_pipeline.warehouse import actions
from quantmatrix_pipeline.warehouse import bars as tables
from quantmatrix_pipeline.warehouse.engine import Warehouse


def read_panel(
    warehouse: Warehouse,
    last: date,
    instrument_ids: Sequence[int] | None = None,
    *,
    as_of: datetime | None = None,
) -> Panel:
    """Return the usable daily bars of sessions up to `last`, inclusive, as the indicators take them.

    With `as_of`, bars and splits are those known at that instant.

    Whatever the route (a nightly run, a range, a re-run), recursions start at the first stored bar, so all of them are
    read. Prices are forward-adjusted, in the share unit of each instrument's first day: a later split changes nothing
    before it. All known splits are taken, since prices that a source adjusted stand in the unit of a later day.
    """
    with warehouse.arrow() as transaction:
        bars = tables.read_daily(
            transaction,
            instrument_ids=instrument_ids,
            last=last,
            min_quality=USABLE_QUALITY,
            columns=("instrument_id", "session", *tables.PRICES, "source_id"),
            as_of=as_of,
        )
        splits = split_table(actions.read_splits(transaction, as_of))
    instrument = bars["instrument_id"].to_numpy()
    session = bars["session"].to_numpy().astype("datetime64[D]", copy=False)
    columns = {name: bars[name].to_numpy() for name in tables.PRICES}
    sources, source = tables.sources(warehouse), bars["source_id"].to_numpy()
    if not len(splits.keys):  # every unit is exactly 1: nothing to work out, nothing to multiply
        panel = Panel.from_rows(instrument, session, **columns)
    else:
        quoted = stored_units(splits, instrument, session, source, sources)
        volume = columns.pop("volume") / quoted
        panel = Panel.from_rows(
            instrument,
            session,
            **{name: price * quoted for name, price in columns.items()},
            volume=volume,
            unit=splits.unit(instrument, session),
        )
    return replace(panel, dividends_in=_dividends_in(panel, instrument, source, sources))


def _dividends_in(panel: Panel, instrument: Ints, source: SourceIds, sources: Sources) -> Bools | None:
    """Return whose prices include dividends in any bar, None where nobody's do."""
    lowered = [number for number, (_, basis, _) in sources.items() if basis == Basis.SPLIT_DIVIDEND]
    if not lowered:
        return None
    found = np.isin(panel.instrument_ids, instrument[np.isin(source, lowered)])
    return found if found.any() else None
