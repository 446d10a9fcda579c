"""Tiers by liquidity in `symbol_universe`, and the tracked set of each night, `universe_versions`."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime

import sqlalchemy as sa

from quantmatrix_pipeline.errors import UnknownNight
from quantmatrix_pipeline.warehouse.engine import LOCKS, Warehouse

SESSIONS = 20  # over which dollar volume is averaged


def rank(warehouse: Warehouse, window: tuple[date, date], maxima: Mapping[str, int]) -> None:
    """Rank the tracked instruments by dollar volume and put them in tiers.

    Parameters
    ----------
    warehouse
        Where bars and the tracked set lie.
    window
        The first and the last of `SESSIONS` sessions, both inclusive: bars outside count nothing. Dollar volume is the
        sum of close times volume of the validated bars, divided by `SESSIONS`; a split changes nothing in it.
    maxima
        How many there may be in T0, and how many in T1; the others are in T2. Equal ones are ranked by symbol, those
        without a bar last.
    """
    with warehouse.begin() as connection:
        connection.execute(sa.text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCKS["universe"]})
        connection.execute(
            sa.text("""
                WITH traded AS (
                    SELECT u.instrument_id, s.symbol, d.dollar_volume
                    FROM symbol_universe u
                    JOIN instrument_symbols s ON s.instrument_id = u.instrument_id AND s.valid_to IS NULL
                    CROSS JOIN LATERAL (
                        -- In the order of the sessions, so that the sum has the same bits every time.
                        SELECT coalesce(sum(p.close * p.volume ORDER BY p.session), 0) / :sessions AS dollar_volume
                        FROM price_data_1d p
                        WHERE p.instrument_id = u.instrument_id AND p.session BETWEEN :first AND :last AND p.validated
                    ) d
                    WHERE u.active
                ), ranked AS (
                    SELECT instrument_id, dollar_volume,
                           row_number() OVER (ORDER BY dollar_volume DESC, symbol COLLATE "C") AS place
                    FROM traded
                )
                UPDATE symbol_universe u
                SET dollar_volume = r.dollar_volume, liquidity_rank = r.place, ranked_on = :last,
                    tier = CASE WHEN r.place <= :t0 THEN 'T0' WHEN r.place <= :t0 + :t1 THEN 'T1' ELSE 'T2' END
                FROM ranked r WHERE r.instrument_id = u.instrument_id
            """),
            {
                "sessions": SESSIONS,
                "first": window[0],
                "last": window[1],
                "t0": maxima["T0"],
                "t1": maxima["T1"],
            },
        )


def counts(warehouse: Warehouse) -> dict[str, int]:
    """Return tier -> how many tracked instruments are in it."""
    rows = warehouse.rows("SELECT tier, count(*) AS n FROM symbol_universe WHERE active GROUP BY tier ORDER BY tier")
    return {row.tier: row.n for row in rows}


def of_tracked(warehouse: Warehouse) -> dict[int, str]:
    """Return instrument_id -> tier of the tracked instruments."""
    rows = warehouse.rows("SELECT instrument_id, tier FROM symbol_universe WHERE active")
    return {row.instrument_id: row.tier for row in rows}


@dataclass(frozen=True, slots=True)
class Night:
    """The tracked set of one night: symbol -> tier, and the SHA-256 of the symbols, one per line."""

    session: date
    hash: str
    tiers: Mapping[str, str]


def set_hash(symbols: Iterable[str]) -> str:
    """Return the SHA-256 of symbols in their order, each with a line break behind it."""
    return hashlib.sha256("".join(f"{symbol}\n" for symbol in symbols).encode()).hexdigest()


def newest_night(warehouse: Warehouse) -> date | None:
    """Return the newest night whose tracked set is recorded, None where there is none."""
    newest: date | None = warehouse.scalar("SELECT max(session) FROM universe_versions")
    return newest


def record_night(warehouse: Warehouse, session: date, now: datetime) -> str:
    """Record the tracked set as it is now as that of `session`; return its hash."""
    with warehouse.begin() as connection:
        connection.execute(sa.text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCKS["universe"]})
        rows = connection.execute(
            sa.text("""
                SELECT s.symbol, u.tier FROM symbol_universe u
                JOIN instrument_symbols s ON s.instrument_id = u.instrument_id AND s.valid_to IS NULL
                WHERE u.active ORDER BY s.symbol COLLATE "C"
            """)
        ).all()
        symbols = [row.symbol for row in rows]
        digest = set_hash(symbols)
        given = {
            "session": session,
            "hash": digest,
            "symbols": symbols,
            "tiers": [row.tier for row in rows],
            "now": now,
        }
        connection.execute(
            sa.text("""
                INSERT INTO universe_versions VALUES (:session, :hash, :symbols, :tiers, :now)
                ON CONFLICT (session) DO UPDATE SET hash = excluded.hash, symbols = excluded.symbols,
                    tiers = excluded.tiers, computed_at = excluded.computed_at
                WHERE (universe_versions.symbols, universe_versions.tiers)
                    IS DISTINCT FROM (excluded.symbols, excluded.tiers)
            """),
            given,
        )
    return digest


def night(warehouse: Warehouse, session: date) -> Night:
    """Return the tracked set that was recorded for a night.

    Raises
    ------
    UnknownNight
        None was; names the nearest ones that were.
    """
    rows = warehouse.rows("SELECT * FROM universe_versions WHERE session = :session", session=session)
    if rows:
        return Night(session, rows[0].hash, dict(zip(rows[0].symbols, rows[0].tiers, strict=True)))
    near = warehouse.rows(
        """
        (SELECT session FROM universe_versions WHERE session < :session ORDER BY session DESC LIMIT 1)
        UNION ALL
        (SELECT session FROM universe_versions WHERE session > :session ORDER BY session LIMIT 1)
        """,
        session=session,
    )
    known = " and ".join(str(row.session) for row in near)
    raise UnknownNight(
        f"no tracked set was recorded for {session}; "
        + (f"the nearest ones are of {known}" if known else "none was recorded at all: `qm run` does it each night")
    )


def renamed_between(warehouse: Warehouse, first: date, last: date) -> dict[str, str]:
    """Return old -> new of the renames after `first`, up to `last`; who was renamed twice is one entry."""
    rows = warehouse.rows(
        """
        SELECT symbol, new_symbol FROM symbol_changes
        WHERE kind = 'rename' AND effective_on > :first AND effective_on <= :last ORDER BY effective_on, symbol
        """,
        first=first,
        last=last,
    )
    found: dict[str, str] = {}
    for row in rows:
        origin = next((old for old, new in found.items() if new == row.symbol), row.symbol)
        found[origin] = row.new_symbol
    return found
