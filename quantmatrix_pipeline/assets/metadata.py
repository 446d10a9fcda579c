"""How results become metadata in the Dagster UI: what an operator asks first, never a line per symbol."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from datetime import date
from enum import Enum
from typing import Any

from dagster import MetadataValue, TableColumn, TableMetadataValue, TableRecord, TableSchema, TextMetadataValue

from quantmatrix_pipeline.ingest.plan import Lacking
from quantmatrix_pipeline.providers.routing.router import Router

SHOWN_ROWS = 20
SHOWN_NAMES = 50
LONGEST_TEXT = 500  # characters; whatever a vendor or a driver says, a page shows a line or two of it


def table(rows: Iterable[Mapping[str, Any]]) -> TableMetadataValue | TextMetadataValue:
    """A small table of plain values, the first rows only; the word "none" where there are no rows."""
    records = [TableRecord({k: _plain(v) for k, v in row.items()}) for row in list(rows)[:SHOWN_ROWS]]
    if not records:
        return MetadataValue.text("none")
    return MetadataValue.table(records, schema=TableSchema([TableColumn(name) for name in records[0].data]))


def partition_rows(first: date, last: date, rows: int) -> dict[str, int]:
    """Return how many rows a session's partition holds, in Dagster's word for it; nothing of a range, whose partitions
    all bear the same metadata.
    """
    return {"dagster/partition_row_count": rows} if first == last else {}


def listed(names: Sequence[str]) -> str:
    """Return the first names, with their number where there are more; the word "none" where there are none."""
    more = f", ... ({len(names)})" if len(names) > SHOWN_NAMES else ""
    return ", ".join(names[:SHOWN_NAMES]) + more or "none"


def short(text: str) -> str:
    """Return a text, cut off where it is long."""
    return text if len(text) <= LONGEST_TEXT else f"{text[: LONGEST_TEXT - 4]} ..."


def column_schema(columns: Sequence[tuple[str, str, str]]) -> TableSchema:
    """Return (name, type, description) triples as a Dagster column schema."""
    return TableSchema([TableColumn(name, kind, description) for name, kind, description in columns])


def would_fetch(lacking: Lacking) -> dict[str, Any]:
    """Return what a dry run found that a fetch would ask for."""
    return {
        "would_ask": f"{lacking.symbols} symbols, {lacking.sessions} sessions; nothing was fetched",
        "most": table(
            {"symbol": r.symbol, "sessions": len(r.sessions), "first": r.first, "last": r.last} for r in lacking.most
        ),
    }


def vendor_rows(router: Router | None, capabilities: Container[str]) -> list[dict[str, Any]]:
    """Return what this run asked the vendors for of these capabilities, a row per vendor; none without vendors."""
    return [
        {
            "vendor": row.vendor,
            "capability": row.capability,
            "calls": row.calls,
            "symbols": row.symbols,
            "errors": _counted(row.errors),
            "p50_ms": None if row.p50_ms is None else round(row.p50_ms, 1),
            "p95_ms": None if row.p95_ms is None else round(row.p95_ms, 1),
            "passed_over": _counted(row.fallbacks),
            "undone": row.undone,
        }
        for row in (router.asked if router is not None else ())
        if row.capability in capabilities
    ]


def _counted(times: Mapping[str, int]) -> str:
    return ", ".join(f"{what} {n}" for what, n in times.items())


def _plain(value: Any) -> str | int | float | bool | None:
    if isinstance(value, Enum):
        value = value.value  # an enumeration of texts is a text to Python, and nothing that Dagster stores
    if isinstance(value, float):
        value = float(f"{value:.6g}")  # for people; who computes with it asks the warehouse
    return value if isinstance(value, str | int | float | bool) or value is None else str(value)
