"""Instruments and the symbols they bear: `instruments`, `instrument_symbols`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date

import sqlalchemy as sa

from quantmatrix_pipeline.warehouse.engine import LOCKS, Warehouse


@dataclass(frozen=True, slots=True)
class Instrument:
    """One instrument under its current symbol."""

    instrument_id: int
    symbol: str
    kind: str
    name: str | None
    currency: str
    calendar: str
    sector: str | None
    listed_on: date | None
    delisted_on: date | None


def ids(warehouse: Warehouse, symbols: Iterable[str] | None = None) -> dict[str, int]:
    """Return symbol -> instrument_id for the current bearers of these symbols; unknown ones are left out."""
    if symbols is None:
        rows = warehouse.rows("SELECT symbol, instrument_id FROM instrument_symbols WHERE valid_to IS NULL")
    else:
        rows = warehouse.rows(
            "SELECT symbol, instrument_id FROM instrument_symbols WHERE valid_to IS NULL AND symbol = ANY(:symbols)",
            symbols=list(symbols),
        )
    return {row.symbol: row.instrument_id for row in rows}


def sectors(warehouse: Warehouse) -> dict[int, str]:
    """Return instrument_id -> sector of those whose sector is known."""
    rows = warehouse.rows("SELECT instrument_id, sector FROM instruments WHERE sector IS NOT NULL")
    return {row.instrument_id: row.sector for row in rows}


def stock_ids(warehouse: Warehouse) -> set[int]:
    """Return the ids of the stocks: no funds, indexes or coins."""
    return {row.instrument_id for row in warehouse.rows("SELECT instrument_id FROM instruments WHERE kind = 'stock'")}


def ensure(warehouse: Warehouse, symbols: Iterable[str], on: date | None = None) -> dict[str, int]:
    """Return symbol -> instrument_id, making an instrument for each symbol that nobody ever bore.

    Who bore a name on `on` comes first, else its newest bearer. A name that was given up still means who gave it up:
    that another company took it over is never assumed, it has to be declared (`naming.reuse`). New ids are given in
    the order of the symbols' names, so that the same input makes the same ids.
    """
    wanted = sorted(set(symbols))
    with warehouse.begin() as connection:
        connection.execute(sa.text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCKS["universe"]})
        connection.execute(
            sa.text("""
                WITH missing AS (
                    SELECT symbol, row_number() OVER (ORDER BY symbol COLLATE "C") AS place
                    FROM unnest(CAST(:symbols AS text[])) AS symbol
                    WHERE NOT EXISTS (SELECT FROM instrument_symbols s WHERE s.symbol = symbol.symbol)
                ), made AS (
                    INSERT INTO instruments (kind) SELECT 'stock' FROM missing RETURNING instrument_id
                ), numbered AS (
                    SELECT instrument_id, row_number() OVER (ORDER BY instrument_id) AS place FROM made
                )
                INSERT INTO instrument_symbols (symbol, instrument_id)
                SELECT symbol, instrument_id FROM missing JOIN numbered USING (place)
            """),
            {"symbols": wanted},
        )
        rows = connection.execute(
            sa.text("""
                SELECT DISTINCT ON (symbol) symbol, instrument_id FROM instrument_symbols
                WHERE symbol = ANY (CAST(:symbols AS text[]))
                ORDER BY symbol, (valid_from <= :on AND (valid_to IS NULL OR :on < valid_to)) DESC, valid_from DESC
            """),
            {"symbols": wanted, "on": on or date.max},
        ).all()
    return {row.symbol: row.instrument_id for row in rows}


def describe(warehouse: Warehouse, facts: Iterable[Mapping[str, object]]) -> int:
    """Fill in what a source knows of instruments; return how many rows changed.

    Each mapping has `symbol` and any of kind, name, currency, sector, industry, sub_industry, listed_on, delisted_on.
    None means "not known" and leaves what is stored.
    """
    columns = ("kind", "name", "currency", "sector", "industry", "sub_industry", "listed_on", "delisted_on")
    known = [{"symbol": f["symbol"], **{c: f.get(c) for c in columns}} for f in facts]
    record = ", ".join(f"{c} {'date' if c.endswith('_on') else 'text'}" for c in ("symbol", *columns))
    assignments = ", ".join(f"{c} = COALESCE(f.{c}, i.{c})" for c in columns)
    differs = " OR ".join(f"(f.{c} IS NOT NULL AND i.{c} IS DISTINCT FROM f.{c})" for c in columns)
    return warehouse.execute(
        f"""
        UPDATE instruments i SET {assignments}
        FROM jsonb_to_recordset(CAST(:known AS jsonb)) AS f({record})
        JOIN instrument_symbols s ON s.symbol = f.symbol AND s.valid_to IS NULL
        WHERE s.instrument_id = i.instrument_id AND ({differs})
        """,
        {"known": json.dumps(known, default=str)},
    )
