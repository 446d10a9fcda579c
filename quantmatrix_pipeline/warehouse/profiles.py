"""What companies are, in dated versions, and when a vendor was last asked: `company_profiles`,
`company_profile_checks`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from datetime import date, datetime

import sqlalchemy as sa

from quantmatrix_pipeline.warehouse.engine import LOCKS, Warehouse


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a company; None where nobody said it. `market_cap` is in units of `currency`, above 0."""

    name: str | None = None
    exchange: str | None = None
    sector: str | None = None
    industry: str | None = None
    sub_industry: str | None = None
    market_cap: float | None = None
    currency: str | None = None
    next_earnings: date | None = None


@dataclass(frozen=True, slots=True)
class Company:
    """One tracked stock or fund.

    Attributes
    ----------
    listed
        What the lists of index members and the source of bars say: no exchange, market cap or earnings.
    current
        The version in force, None before the first.
    checked_at
        When a vendor last had something to say of it; None: never.
    """

    instrument_id: int
    symbol: str
    listed: Facts
    current: Facts | None
    checked_at: datetime | None


@dataclass(frozen=True, slots=True)
class Said:
    """What is to be kept of a company, and whose word it is."""

    instrument_id: int
    vendor: str
    facts: Facts


_NAMES = tuple(field.name for field in fields(Facts))
_TYPES = {"market_cap": "double precision", "next_earnings": "date"}
_GIVEN = (
    "SELECT * FROM jsonb_to_recordset(CAST(:said AS jsonb)) AS f(instrument_id integer, vendor text, "
    + ", ".join(f"{name} {_TYPES.get(name, 'text')}" for name in _NAMES)
    + ")"
)


def companies(warehouse: Warehouse, today: date) -> list[Company]:
    """Return the tracked stocks and funds that were not delisted by `today`, as one would ask for them: who was never
    checked first, then by the age of the check, oldest first.
    """
    rows = warehouse.rows(
        f"""
        SELECT i.instrument_id, s.symbol, i.name, i.sector, i.industry, i.sub_industry, i.currency,
               p.vendor, c.checked_at, {", ".join(f"p.{name} AS current_{name}" for name in _NAMES)}
        FROM symbol_universe u
        JOIN instruments i USING (instrument_id)
        JOIN instrument_symbols s ON s.instrument_id = u.instrument_id AND s.valid_to IS NULL
        LEFT JOIN company_profiles p ON p.instrument_id = u.instrument_id AND p.superseded_at IS NULL
        LEFT JOIN company_profile_checks c ON c.instrument_id = u.instrument_id
        WHERE u.active AND i.kind IN ('stock', 'fund') AND (i.delisted_on IS NULL OR i.delisted_on > :today)
        ORDER BY c.checked_at NULLS FIRST, s.symbol COLLATE "C"
        """,
        today=today,
    )
    return [
        Company(
            row.instrument_id,
            row.symbol,
            Facts(
                name=row.name,
                sector=row.sector,
                industry=row.industry,
                sub_industry=row.sub_industry,
                currency=row.currency,
            ),
            None if row.vendor is None else Facts(**{name: getattr(row, f"current_{name}") for name in _NAMES}),
            row.checked_at,
        )
        for row in rows
    ]


def keep(warehouse: Warehouse, said: Sequence[Said], checked: Sequence[tuple[int, str]], now: datetime) -> int:
    """Store what differs from the versions in force, and note the checks; one transaction.

    Parameters
    ----------
    said
        At most one per instrument. A version that says the same stays as it is.
    checked
        (instrument_id, vendor) of whom a vendor had something to say, at most one per instrument.
    now
        From when the new versions hold, and the ones before no longer do.

    Returns
    -------
    int
        How many new versions there are.
    """
    given = {
        "said": json.dumps(
            [{"instrument_id": s.instrument_id, "vendor": s.vendor, **asdict(s.facts)} for s in said], default=str
        ),
        "now": now,
    }
    compared = [f"({', '.join(f'{of}.{name}' for name in _NAMES)})" for of in ("c", "g")]
    with warehouse.begin() as connection:
        connection.execute(sa.text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCKS["universe"]})
        connection.execute(
            sa.text(f"""
                UPDATE company_profiles c SET superseded_at = :now
                FROM ({_GIVEN}) AS g
                WHERE c.instrument_id = g.instrument_id AND c.superseded_at IS NULL
                  AND {" IS DISTINCT FROM ".join(compared)}
            """),
            given,
        )
        made = connection.execute(
            sa.text(f"""
                INSERT INTO company_profiles (instrument_id, version, {", ".join(_NAMES)}, vendor, as_of)
                SELECT g.instrument_id, coalesce(before.version, 0) + 1, {", ".join(f"g.{name}" for name in _NAMES)},
                       g.vendor, :now
                FROM ({_GIVEN}) AS g
                LEFT JOIN LATERAL (
                    SELECT max(version) AS version FROM company_profiles p WHERE p.instrument_id = g.instrument_id
                ) AS before ON true
                WHERE NOT EXISTS (
                    SELECT FROM company_profiles p WHERE p.instrument_id = g.instrument_id AND p.superseded_at IS NULL
                )
            """),
            given,
        ).rowcount
        connection.execute(
            sa.text("""
                INSERT INTO company_profile_checks (instrument_id, checked_at, vendor)
                SELECT id, :now, vendor FROM unnest(CAST(:ids AS integer[]), CAST(:vendors AS text[])) AS u (id, vendor)
                ON CONFLICT (instrument_id) DO UPDATE SET checked_at = excluded.checked_at, vendor = excluded.vendor
            """),
            {"ids": [i for i, _ in checked], "vendors": [vendor for _, vendor in checked], "now": now},
        )
    return made
