"""One number for everything that a warehouse keeps, whatever its surrogate ids and whenever it was written.

Two warehouses that went different ways (killed and run again, one run or two at once) to the same data have the same
fingerprint. `instrument_id` becomes the symbol, `source_id` vendor and basis; columns that only number rows or tell the
wall clock are left out. New tables and columns take part by themselves.
"""

from __future__ import annotations

import hashlib

import psycopg
from psycopg import sql

# Numbers without a meaning, and instants of the wall clock. `expiry_timestamp` is computed and stays in.
SURROGATES = {"action_id", "log_id", "rivals", "verdict_id"}
WALL_CLOCK = {
    "as_of", "applied_at", "added_at", "beat_at", "computed_at", "created_at", "logged_at", "refreshed_at",
    "superseded_at", "updated_at",
}  # fmt: skip
# Who ticked when, what a vendor was asked and how fast it answered, how often something happened: nothing of what a run
# is for.
OF_THE_MACHINE = {
    "backfill_counts", "gaps_found", "heartbeats", "provider_circuits", "provider_days", "provider_errors",
    "provider_health", "provider_latency", "provider_requests", "provider_usage", "run_counts", "runs", "write_batches",
}  # fmt: skip
SYMBOL = "(SELECT min(symbol) FROM instrument_symbols s WHERE s.instrument_id = t.instrument_id AND s.valid_to IS NULL)"
SOURCE = "(SELECT (vendor, basis, basis_date)::text FROM bar_sources b WHERE b.source_id = t.source_id)"
# Their own ids are what is translated elsewhere.
TRANSLATED = {"instrument_id": SYMBOL, "source_id": SOURCE}


def fingerprints(url: str) -> dict[str, str]:
    """Return table -> hash of its rows in an order of their own; equal dictionaries mean equal contents."""
    with psycopg.connect(url) as connection:
        connection.execute("SET timezone = 'UTC'; SET extra_float_digits = 1")
        return {table: _of_table(connection, table) for table in _tables(connection)}


def counts(url: str) -> dict[str, int]:
    """Return table -> number of rows, for a message that says more than two hashes."""
    with psycopg.connect(url) as connection:
        query = sql.SQL("SELECT count(*) FROM {}")
        return {
            t: (connection.execute(query.format(sql.Identifier(t))).fetchone() or (0,))[0] for t in _tables(connection)
        }


def _tables(connection: psycopg.Connection[tuple[object, ...]]) -> list[str]:
    """Return the warehouse's tables; of a partitioned one the whole, not its parts."""
    rows = connection.execute("""
        SELECT relname FROM pg_class
        WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition
        ORDER BY relname COLLATE "C"
    """)
    return [str(name) for (name,) in rows if name not in OF_THE_MACHINE]


def _of_table(connection: psycopg.Connection[tuple[object, ...]], table: str) -> str:
    columns = connection.execute(
        "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped"
        ' ORDER BY attname COLLATE "C"',
        (table,),
    ).fetchall()
    kept = [
        sql.SQL(TRANSLATED[name]) if name in TRANSLATED else sql.SQL("t.{}").format(sql.Identifier(name))
        for (name,) in ((str(c[0]),) for c in columns)
        if name not in SURROGATES | WALL_CLOCK
    ]
    row = sql.SQL('ROW({})::text COLLATE "C"').format(sql.SQL(", ").join(kept))
    digest = hashlib.sha256()
    query = sql.SQL("SELECT {row} FROM {table} t ORDER BY 1").format(row=row, table=sql.Identifier(table))
    with connection.cursor(name="fingerprint") as cursor:
        cursor.itersize = 20_000
        for (text,) in cursor.execute(query):
            digest.update(str(text).encode() + b"\n")
    return digest.hexdigest()
