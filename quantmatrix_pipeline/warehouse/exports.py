"""Whole tables for files, with symbols in place of ids."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime

import pyarrow as pa

from quantmatrix_pipeline.warehouse.engine import Warehouse

TABLES = {"bars": "price_data", "snapshots": "market_analysis_cache", "history": "market_analysis_history"}
KNOWN_AT = {"bars": "price_data_known_at", "snapshots": "snapshots_known_at", "history": "history_known_at"}


def read(
    warehouse: Warehouse,
    what: str,
    symbols: Sequence[str] | None,
    start: date | None,
    end: date | None,
    as_of: datetime | None = None,
) -> pa.Table:
    """Return `bars`, `snapshots` or `history` sorted by symbol and session; `start` and `end` are inclusive.

    Bars keep instrument_id and source_id, by which they can be adjusted. As known at the instant `as_of` they come with
    their status and the reason of their version, and each row of the history in the revision that was the newest then.
    """
    conditions: list[str] = ["true"]
    parameters: list[object] = []
    if symbols is not None:
        parameters.append(",".join(symbols))
        conditions.append(f"s.symbol = ANY (string_to_array(${len(parameters)}, ','))")
    if start is not None:
        conditions.append(f"t.session >= '{start:%Y-%m-%d}'")
    if end is not None:
        conditions.append(f"t.session <= '{end:%Y-%m-%d}'")
    table, source, join = TABLES[what], "", ""
    if as_of is not None:
        parameters.append(as_of)
        table = f"{KNOWN_AT[what]}(${len(parameters)})"
    elif what == "bars":
        source, join = "b.vendor, b.basis, b.basis_date, ", "JOIN bar_sources b USING (source_id)"
    with warehouse.arrow() as transaction:
        found = transaction.query(
            f"""
            SELECT s.symbol, {source}t.* FROM {table} t {join}
            JOIN instrument_symbols s ON s.instrument_id = t.instrument_id AND s.valid_to IS NULL
            WHERE {" AND ".join(conditions)}
            ORDER BY s.symbol COLLATE "C", t.session
            """,
            parameters or None,
        )
    unwanted = ("raw_analysis", "superseded_at") if what == "bars" else ("instrument_id", "raw_analysis")
    return found.drop_columns([c for c in unwanted if c in found.column_names])
