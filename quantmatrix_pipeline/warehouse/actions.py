"""Splits and dividends, append-only: `corporate_actions`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date

import pyarrow as pa

from quantmatrix_pipeline.warehouse.engine import ArrowTransaction

# A ratio may be one of decimals, such as 1.5 for 1: written as whole numbers, which are exact in any number of digits.
SPLITS = """
    SELECT instrument_id, ex_date, CAST(numerator * scale AS bigint) AS numerator,
           CAST(denominator * scale AS bigint) AS denominator
    FROM splits_in_force CROSS JOIN LATERAL (
        SELECT power(10::numeric, greatest(scale(trim_scale(numerator)), scale(trim_scale(denominator)))) AS scale
    ) AS whole"""
DIVIDENDS = """
    SELECT d.instrument_id, d.ex_date, CAST(d.amount AS double precision) AS amount
    FROM dividends_in_force d JOIN instruments i USING (instrument_id) WHERE d.currency = i.currency"""


def write_actions(transaction: ArrowTransaction, actions: Iterable[Mapping[str, object]]) -> dict[int, date]:
    """Append corporate actions that are not known yet; return instrument_id -> earliest ex-date of its new splits.

    Each mapping has instrument_id, kind, ex_date, numerator, denominator, amount, currency, vendor, as_of.
    """
    rows = list(actions)
    if not rows:
        return {}
    schema = pa.schema(
        [
            ("instrument_id", pa.int32()),
            ("kind", pa.string()),
            ("ex_date", pa.date32()),
            ("numerator", pa.int64()),
            ("denominator", pa.int64()),
            ("amount", pa.string()),  # as text, so that a decimal amount stays what it was
            ("currency", pa.string()),
            ("vendor", pa.string()),
            ("as_of", pa.timestamp("us", "UTC")),
        ]
    )
    transaction.stage("new_actions", pa.Table.from_pylist(rows, schema=schema))
    names = ", ".join(schema.names)
    learned = transaction.query(f"""
        WITH added AS (
            INSERT INTO corporate_actions ({names})
            SELECT {names.replace("amount", "CAST(amount AS numeric)")} FROM new_actions n
            WHERE NOT EXISTS (
                SELECT FROM corporate_actions a
                WHERE (a.instrument_id, a.kind, a.ex_date, a.vendor) = (n.instrument_id, n.kind, n.ex_date, n.vendor)
                  AND (a.numerator, a.denominator, a.amount, a.currency)
                      IS NOT DISTINCT FROM (n.numerator, n.denominator, CAST(n.amount AS numeric), n.currency)
                  -- A split that was replaced meanwhile is news again when the vendor returns to it.
                  AND (a.kind <> 'split' OR a.action_id = (
                      SELECT max(b.action_id) FROM corporate_actions b
                      WHERE (b.instrument_id, b.kind, b.ex_date, b.vendor)
                          = (a.instrument_id, a.kind, a.ex_date, a.vendor)))
            )
            ORDER BY instrument_id, ex_date, kind ON CONFLICT DO NOTHING
            RETURNING instrument_id, kind, ex_date
        )
        SELECT instrument_id, min(ex_date) AS ex_date FROM added WHERE kind = 'split' GROUP BY instrument_id
    """)
    transaction.execute("DROP TABLE new_actions")
    return dict(zip(learned["instrument_id"].to_pylist(), learned["ex_date"].to_pylist(), strict=True))


def read_splits(transaction: ArrowTransaction) -> pa.Table:
    """Return the splits in force (instrument_id, ex_date, numerator, denominator), sorted by instrument and ex-date."""
    return transaction.query(f"{SPLITS} ORDER BY instrument_id, ex_date")


def read_dividends(transaction: ArrowTransaction) -> pa.Table:
    """Return the cash dividends in force that are in the currency of their instrument's prices.

    The columns are instrument_id, ex_date and amount (float64), sorted by instrument and ex-date.
    """
    return transaction.query(f"{DIVIDENDS} ORDER BY d.instrument_id, d.ex_date")
