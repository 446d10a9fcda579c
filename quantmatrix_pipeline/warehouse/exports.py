"""Whole tables for files, with symbols in place of ids."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

import pyarrow as pa

from quantmatrix_pipeline.warehouse.engine import Warehouse

TABLES = {"bars": "price_data", "snapshots": "market_analysis_cache", "history": "market_analysis_history"}


def read(
    warehouse: Warehouse, what: str, symbols: Sequence[str] | None, start: date | None, end: date | None
) -> pa.Table:
    """Return `bars`, `snapshots` or `history` sorted by symbol and session; `start` and `end` are inclusive.

    Bars keep instrument_id and source_id, by which they can be adjusted.
    """
    conditions, parameters = ["true"], []
    if symbols is not None:
        parameters.append(",".join(symbols))
        conditions.append(f"s.symbol = ANY (string_to_array(${len(parameters)}, ','))")
    if start is not None:
        conditions.append(f"t.session >= '{start:%Y-%m-%d}'")
    if end is not None:
        conditions.append(f"t.session <= '{end:%Y-%m-%d}'")
    source = "b.vendor, b.basis, b.basis_date, " if what == "bars" else ""
    join = "JOIN bar_sources b USING (source_id)" if what == "bars" else ""
    with warehouse.arrow() as transaction:
        table = transaction.query(
            f"""
            SELECT s.symbol, {source}t.* FROM {TABLES[what]} t {join}
            JOIN instrument_symbols s ON s.instrument_id = t.instrument_id AND s.valid_to IS NULL
            WHERE {" AND ".join(conditions)}
            ORDER BY s.symbol COLLATE "C", t.session
            """,
            parameters or None,
        )
    unwanted = ("raw_analysis",) if what == "bars" else ("instrument_id", "raw_analysis")
    return table.drop_columns([c for c in unwanted if c in table.column_names])
