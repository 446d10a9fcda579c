"""Who was in an index on a day: `index_spells`, and how far they reach, `index_coverage`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime

import pyarrow as pa
import sqlalchemy as sa

from quantmatrix_pipeline.errors import MembersUnknown
from quantmatrix_pipeline.warehouse.engine import LOCKS, Warehouse

SINCE_EVER = date(1900, 1, 1)  # stands for "since before the source looked", as in instrument_symbols
SpellRow = tuple[str, date | None, date | None]
"""Symbol, first day in the index, first day out of it; None is unbounded."""

# Lists that lie this far apart at most are taken for one stretch: whoever left or came in between is dated by the first
# list that says so.
MAX_DAYS_BETWEEN_LISTS = 7


@dataclass(frozen=True, slots=True)
class Reach:
    """Days, both ends inclusive, on which the members of an index are known, by `spells` or by `lists`."""

    index: str
    kind: str
    covered_from: date
    covered_to: date
    source: str


def keep_spells(
    warehouse: Warehouse,
    index: str,
    spells: Sequence[SpellRow],
    covered: Sequence[tuple[date, date]],
    *,
    source: str,
    now: datetime,
) -> bool:
    """Let the spells of an index, and their reach, be those given; return whether anything was different."""
    given = [{"index": index, "symbol": s, "start": a or SINCE_EVER, "end": b, "source": source} for s, a, b in spells]
    reaches = [{"index": index, "first": a, "last": b, "source": source, "now": now} for a, b in covered]
    with warehouse.begin() as connection:
        run = connection.execute
        run(sa.text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCKS["universe"]})
        of = {"index": index}
        known = run(
            sa.text("SELECT symbol, start_on, end_on, source FROM index_spells WHERE index_code = :index"), of
        ).all()
        reached = run(
            sa.text(
                "SELECT covered_from, covered_to, source FROM index_coverage"
                " WHERE index_code = :index AND kind = 'spells'"
            ),
            of,
        ).all()
        if {tuple(r) for r in known} == {(g["symbol"], g["start"], g["end"], source) for g in given} and {
            tuple(r) for r in reached
        } == {(a, b, source) for a, b in covered}:
            return False
        run(sa.text("DELETE FROM index_spells WHERE index_code = :index"), of)
        run(sa.text("DELETE FROM index_coverage WHERE index_code = :index AND kind = 'spells'"), of)
        if given:
            run(sa.text("INSERT INTO index_spells VALUES (:index, :symbol, :start, :end, :source)"), given)
        if reaches:
            run(sa.text("INSERT INTO index_coverage VALUES (:index, 'spells', :first, :last, :source, :now)"), reaches)
    return True


def extend_by_list(connection: sa.Connection, index: str, seen_on: date, source: str, now: datetime) -> None:
    """Note that a list of an index's members was true on `seen_on`, the newest so far; within a transaction."""
    given = {"index": index, "on": seen_on, "source": source, "now": now, "days": MAX_DAYS_BETWEEN_LISTS}
    extended = connection.execute(
        sa.text("""
            UPDATE index_coverage SET covered_to = greatest(covered_to, :on), source = :source, updated_at = :now
            WHERE index_code = :index AND kind = 'lists' AND covered_from <= :on AND covered_to + :days >= :on
        """),
        given,
    )
    if not extended.rowcount:
        connection.execute(
            sa.text("INSERT INTO index_coverage VALUES (:index, 'lists', :on, :on, :source, :now)"), given
        )


def reaches(warehouse: Warehouse, index: str | None = None) -> list[Reach]:
    """Return the stretches on which members are known, of one index or of all, sorted."""
    of, values = ("", []) if index is None else (" WHERE index_code = $1", [index])
    rows = warehouse.read(
        f"SELECT index_code, kind, covered_from, covered_to, source FROM index_coverage{of} ORDER BY 1, 3, 2", values
    ).to_pylist()
    return [Reach(**{"index": r.pop("index_code"), **r}) for r in rows]


def members_on(warehouse: Warehouse, index: str, day: date) -> pa.Table:
    """Return who was in `index` on `day`, sorted by the names of that day.

    Columns: symbol (as the source writes it), instrument_id and current_symbol (null where none bears it), name,
    start_on, end_on (exclusive; null while the stay lasts), source.

    Raises
    ------
    MembersUnknown
        Nothing stored says who the members were on that day; today's list is no answer. Names the days that are known.
    """
    code = index.strip().upper()
    known = reaches(warehouse, code)
    if not any(r.covered_from <= day <= r.covered_to for r in known):
        raise MembersUnknown(f"the members of {code} on {day} are not known; {_where(warehouse, code, known)}")
    return warehouse.read("SELECT * FROM index_members($1, $2)", [code, day])


def _where(warehouse: Warehouse, code: str, known: Sequence[Reach]) -> str:
    if known:
        days = ", ".join(f"{r.covered_from}..{r.covered_to}" for r in known)
        return f"known are {days}; docs/universe.md says how to add others"
    others = sorted({r.index for r in reaches(warehouse)})
    return (
        f"nothing is known of it over time, only of {', '.join(others) or 'no index at all'};"
        " a [membership] table in source.toml adds some (docs/files-source.md)"
    )
