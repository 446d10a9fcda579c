"""What became of what was fetched: `validation_log`, the refused rows, and `ingestion_cursor`, where lives begin
and up to where they are whole.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime

import pyarrow as pa

from quantmatrix_pipeline.warehouse.engine import ArrowTransaction, Warehouse


def write_log(transaction: ArrowTransaction, rows: Sequence[Mapping[str, object]]) -> None:
    """Log refused rows; the same row refused for the same reasons stands there once.

    Each mapping has vendor, symbol, instrument_id, interval, session, reason_codes (list), detail, payload (JSON text),
    logged_at.
    """
    if not rows:
        return
    schema = pa.schema(
        [
            ("vendor", pa.string()),
            ("symbol", pa.string()),
            ("instrument_id", pa.int32()),
            ("interval", pa.string()),
            ("session", pa.date32()),
            ("reason_codes", pa.string()),
            ("detail", pa.string()),
            ("payload", pa.string()),
            ("logged_at", pa.timestamp("us", "UTC")),
        ]
    )
    flat = [{**row, "reason_codes": ",".join(row["reason_codes"])} for row in rows]  # type: ignore[arg-type]
    transaction.stage("refused", pa.Table.from_pylist(flat, schema=schema))
    transaction.execute("""
        INSERT INTO validation_log (vendor, symbol, instrument_id, interval, session, reason_codes, detail, payload,
                                    fingerprint, logged_at)
        SELECT vendor, symbol, instrument_id, interval, session, string_to_array(reason_codes, ','), detail,
               CAST(payload AS jsonb),
               sha256(convert_to(
                   concat_ws('|', vendor, symbol, interval, session, reason_codes, detail, payload), 'UTF8')),
               logged_at
        FROM refused
        ORDER BY symbol, session, detail
        ON CONFLICT (fingerprint) DO NOTHING
    """)
    transaction.execute("DROP TABLE refused")


def move_cursors(
    transaction: ArrowTransaction, vendor: str, asked: Sequence[tuple[int, date, date | None]], now: datetime
) -> None:
    """Note where instruments' lives begin: (instrument_id, asked from, first bar that came or None where none did).

    An empty answer proves nothing about an instrument of which this vendor never had a bar: it is asked again.
    """
    if not asked:
        return
    known: dict[int, date] = {}
    if any(first_bar is None for _, _, first_bar in asked):
        found = transaction.query(
            "SELECT instrument_id, first_bar FROM ingestion_cursor WHERE vendor = $1 AND interval = '1d'", [vendor]
        )
        known = dict(zip(found["instrument_id"].to_pylist(), found["first_bar"].to_pylist(), strict=True))
    first_bars = [known.get(i) if first_bar is None else first_bar for i, _, first_bar in asked]
    table = pa.table(
        {
            "instrument_id": pa.array([a[0] for a in asked], pa.int32()),
            "asked_from": pa.array([a[1] for a in asked], pa.date32()),
            "first_bar": pa.array(first_bars, pa.date32()),
        }
    )
    transaction.stage("asked", table.filter(table["first_bar"].is_valid()))
    # The sessions between the old asked_from and the new one were asked for, as they are missing; so the proven stretch
    # grows. A bar that lies before the known first one begins another stretch.
    transaction.execute(
        """
        INSERT INTO ingestion_cursor AS c (instrument_id, interval, vendor, asked_from, first_bar, updated_at)
        SELECT instrument_id, '1d', $1, asked_from, first_bar, $2 FROM asked
        ON CONFLICT (instrument_id, interval, vendor) DO UPDATE SET
            asked_from = CASE WHEN excluded.first_bar < c.first_bar THEN excluded.asked_from
                              ELSE least(c.asked_from, excluded.asked_from) END,
            first_bar = least(c.first_bar, excluded.first_bar),
            updated_at = excluded.updated_at
        WHERE excluded.first_bar < c.first_bar OR excluded.asked_from < c.asked_from
        """,
        [vendor, now],
    )
    transaction.execute("DROP TABLE asked")


def cursors(warehouse: Warehouse, vendor: str) -> dict[int, tuple[date, date]]:
    """Return instrument_id -> (asked from, first bar) as far as a vendor knows its daily bars."""
    rows = warehouse.rows(
        "SELECT instrument_id, asked_from, first_bar FROM ingestion_cursor WHERE vendor = :vendor AND interval = '1d'",
        vendor=vendor,
    )
    return {row.instrument_id: (row.asked_from, row.first_bar) for row in rows}


@dataclass(frozen=True, slots=True)
class Cursor:
    """How far the bars of an instrument reach with a vendor.

    It was asked from the session `asked_from` on; `first_bar` is that of the first bar it had; from there on none is
    missing up to `contiguous_to`, inclusive, None before the first scan.
    """

    asked_from: date
    first_bar: date
    contiguous_to: date | None
    updated_at: datetime


def cursor(warehouse: Warehouse, instrument_id: int, interval: str, vendor: str) -> Cursor | None:
    """Return a vendor's cursor, None where it was not asked or never had a bar."""
    rows = warehouse.rows(
        """
        SELECT asked_from, first_bar, contiguous_to, updated_at FROM ingestion_cursor
        WHERE instrument_id = :id AND interval = :interval AND vendor = :vendor
        """,
        id=instrument_id,
        interval=interval,
        vendor=vendor,
    )
    return Cursor(**rows[0]._mapping) if rows else None
