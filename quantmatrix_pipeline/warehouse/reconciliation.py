"""What second vendors say of stored bars: `bar_comparisons`, `bar_differences`, and the view `reconciliation`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import pyarrow as pa
import sqlalchemy as sa

from quantmatrix_pipeline.warehouse.bars import PRICES
from quantmatrix_pipeline.warehouse.engine import Warehouse

COLUMNS = (
    "session",
    "field",
    "vendor",
    "stored",
    "second_vendor",
    "second",
    "difference",
    "tolerance",
    "cause",
    "verdict",
    "against",
    "asked_because",
    "version",
    "compared_at",
)
_WRITTEN = (
    "instrument_id", "session", "source_id", "version", "second_vendor", "second_basis", "second_basis_date",
    *(f"second_{name}" for name in PRICES), "asked_because", "cause", "verdict", "against", "run_session",
    "differences",
)  # fmt: skip
VERDICTS = ("convention", "stored", "second", "open")  # of bars that differ


@dataclass(frozen=True, slots=True)
class Asked:
    """A stored bar of which a second vendor is to be asked."""

    instrument_id: int
    symbol: str
    session: date


@dataclass(frozen=True, slots=True)
class Difference:
    """A field in which two vendors differ, see the view `reconciliation`."""

    symbol: str
    session: date
    field: str
    vendor: str
    stored: float
    second_vendor: str
    second: float
    difference: float
    tolerance: float
    cause: str
    verdict: str
    against: Sequence[str]
    asked_because: str
    version: int
    compared_at: datetime


_TRACKED = """
    JOIN symbol_universe u ON u.instrument_id = p.instrument_id AND u.active
    JOIN instruments i ON i.instrument_id = p.instrument_id AND i.kind <> 'index'
    JOIN instrument_symbols s ON s.instrument_id = p.instrument_id AND s.valid_to IS NULL
"""
_NOT_COMPARED = """
    NOT EXISTS (
        SELECT FROM bar_comparisons c WHERE c.instrument_id = p.instrument_id AND c.session = p.session
          AND c.interval = '1d' AND c.version = p.version
    )
"""


def sample(warehouse: Warehouse, session: date, size: int) -> list[Asked]:
    """Return bars of a session, the same ones whenever it is asked, but for those that were compared already.

    They are the first by a hash of session and instrument: another draw each night, and no clock in it.
    """
    rows = warehouse.rows(
        f"""
        SELECT instrument_id, symbol, session FROM (
            SELECT p.instrument_id, s.symbol, p.session, p.version FROM price_data_1d p {_TRACKED}
            WHERE p.session = :session AND p.quality_score > 0
            ORDER BY sha256(convert_to(:session || '/' || p.instrument_id, 'UTF8')) LIMIT :size
        ) p WHERE {_NOT_COMPARED} ORDER BY symbol
        """,
        session=session,
        size=size,
    )
    return [Asked(**row._mapping) for row in rows]


def flagged(warehouse: Warehouse, last: date, instruments: int) -> list[Asked]:
    """Return the flagged bars up to a session, inclusive, that nobody was asked about, of so many instruments.

    Those whose newest flagged bar is the newest come first; of these all are returned. What had not closed is left out.
    """
    rows = warehouse.rows(
        f"""
        WITH due AS (
            SELECT p.instrument_id, s.symbol, p.session FROM price_data_1d p {_TRACKED}
            WHERE p.session <= :last AND p.quality_score > 0
              AND (p.gap_detected OR p.volume_anomaly OR NOT p.validated) AND {_NOT_COMPARED}
        ), chosen AS (
            SELECT instrument_id FROM due GROUP BY instrument_id, symbol ORDER BY max(session) DESC, symbol LIMIT :most
        )
        SELECT instrument_id, symbol, session FROM due JOIN chosen USING (instrument_id) ORDER BY symbol, session
        """,
        last=last,
        most=instruments,
    )
    return [Asked(**row._mapping) for row in rows]


def write(warehouse: Warehouse, comparisons: Sequence[Mapping[str, Any]], now: datetime) -> None:
    """Keep comparisons and their differences; of one bar and second vendor at most one per call.

    Each mapping has instrument_id, session, source_id, version, second_vendor, second_basis, second_basis_date,
    second_open .. second_volume (None without a bar), asked_because, cause, verdict, against (vendors), run_session and
    `differences`: mappings of field, stored, second, difference, tolerance.
    """
    if not comparisons:
        return
    rows = [{name: row[name] for name in _WRITTEN} for row in comparisons]
    numbers = ", ".join(f"second_{name}" for name in PRICES)
    typed = ", ".join(f"second_{name} float8" for name in PRICES)
    with warehouse.begin() as connection:
        connection.execute(
            sa.text(f"""
                WITH came AS (
                    SELECT * FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r(
                        instrument_id integer, session date, source_id smallint, version smallint, second_vendor text,
                        second_basis text, second_basis_date date, {typed}, asked_because text, cause text,
                        verdict text, against text[], run_session date, differences jsonb)
                ), written AS (
                    INSERT INTO bar_comparisons (
                        instrument_id, interval, session, source_id, version, second_vendor, second_basis,
                        second_basis_date, {numbers}, asked_because, cause, verdict, against, run_session, compared_at)
                    SELECT instrument_id, '1d', session, source_id, version, second_vendor, second_basis,
                           second_basis_date, {numbers}, asked_because, cause, verdict, against, run_session, :now
                    FROM came ORDER BY instrument_id, session, second_vendor
                    RETURNING comparison_id, instrument_id, session, second_vendor
                )
                INSERT INTO bar_differences (comparison_id, field, stored, second, difference, tolerance)
                SELECT w.comparison_id, d.field, d.stored, d.second, d.difference, d.tolerance
                FROM written w JOIN came USING (instrument_id, session, second_vendor)
                CROSS JOIN LATERAL jsonb_to_recordset(came.differences)
                    AS d(field text, stored float8, second float8, difference float8, tolerance float8)
            """),
            {"rows": json.dumps(rows, default=str, allow_nan=False), "now": now},
        )


def find(
    warehouse: Warehouse,
    *,
    symbol: str | None = None,
    cause: str | None = None,
    verdict: str | None = None,
    limit: int | None = None,
) -> list[Difference]:
    """Return differences, the newest session first; what is None narrows nothing."""
    conditions, given = ["true"], {"limit": limit}
    for name, value in {"symbol": symbol, "cause": cause, "verdict": verdict}.items():
        if value is not None:
            conditions.append(f"{name} = :{name}")
            given[name] = value  # type: ignore[assignment]
    rows = warehouse.rows(
        f"SELECT symbol, {', '.join(COLUMNS)} FROM reconciliation WHERE {' AND '.join(conditions)}"
        " ORDER BY session DESC, symbol, comparison_id, field LIMIT CAST(:limit AS bigint)",
        **given,
    )
    return [Difference(**row._mapping) for row in rows]


def of_instrument(warehouse: Warehouse, instrument_id: int, first: date | None, last: date | None) -> pa.Table:
    """Return an instrument's differences as `COLUMNS`, by session; `first` and `last` are inclusive, and the vendors of
    `against` stand in one text.
    """
    columns = ", ".join("array_to_string(against, ' ') AS against" if name == "against" else name for name in COLUMNS)
    return warehouse.read(
        f"""
        SELECT {columns} FROM reconciliation
        WHERE instrument_id = $1 AND ($2::date IS NULL OR session >= $2) AND ($3::date IS NULL OR session <= $3)
        ORDER BY session, comparison_id, field
        """,
        [instrument_id, first, last],
    )


@dataclass(frozen=True, slots=True)
class Lately:
    """Bars that were compared in the nights since a session, and those of them that somebody contradicts."""

    compared: int
    contradicted: int
    open: int

    @property
    def rate(self) -> float:
        """Contradicted by compared, 0 where none were."""
        return self.contradicted / self.compared if self.compared else 0.0


def lately(warehouse: Warehouse, first: date, last: date) -> Lately:
    """Count the bars compared in the nights of the sessions from `first` to `last`, inclusive.

    Contradicted are those whose verdict counts against a vendor; a bar that is asked about again counts as it was last.
    """
    row = warehouse.rows(
        """
        SELECT count(*) AS compared, count(*) FILTER (WHERE against <> '{}') AS contradicted,
               count(*) FILTER (WHERE verdict = 'open') AS open
        FROM (
            SELECT DISTINCT ON (instrument_id, session) against, verdict FROM bar_comparisons
            WHERE run_session BETWEEN :first AND :last AND verdict <> 'absent' AND asked_because <> 'third_opinion'
            ORDER BY instrument_id, session, comparison_id DESC
        ) c
        """,
        first=first,
        last=last,
    )[0]
    return Lately(row.compared, row.contradicted, row.open)
