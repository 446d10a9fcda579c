"""Index members over time, the watch list and the tracked set: `index_constituents`, `watch_list`,
`symbol_universe`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime

import sqlalchemy as sa

from quantmatrix_pipeline.warehouse import membership
from quantmatrix_pipeline.warehouse.engine import LOCKS, Warehouse


@dataclass(frozen=True, slots=True)
class MembershipChange:
    """What one refresh of an index did."""

    fetched: int
    inserted: int
    reactivated: int
    inactivated: int


def active_members(warehouse: Warehouse, index_code: str) -> set[int]:
    """Return the ids of today's members of an index."""
    rows = warehouse.rows(
        "SELECT instrument_id FROM index_constituents WHERE index_code = :index AND is_active", index=index_code
    )
    return {row.instrument_id for row in rows}


def newest_refresh(warehouse: Warehouse, index_code: str) -> date | None:
    """Return the day on which the newest applied list of an index was true, None before the first."""
    value: date | None = warehouse.scalar(
        "SELECT max(seen_on) FROM index_refreshes WHERE index_code = :index", index=index_code
    )
    return value


def keep_refusal(
    warehouse: Warehouse,
    index_code: str,
    session: date,
    reasons: Sequence[str],
    *,
    served_by: str | None,
    now: datetime,
) -> None:
    """Keep that lists of an index's members were not believed: since when, why, and whose was taken instead, if any.

    No reasons: all were believed, and what was kept before is past.
    """
    if not reasons:
        warehouse.execute("DELETE FROM index_refusals WHERE index_code = :index", {"index": index_code})
        return
    warehouse.execute(
        """
        INSERT INTO index_refusals (index_code, session, reason, served_by, refused_at)
        VALUES (:index, :session, :reason, :served_by, :now)
        ON CONFLICT (index_code) DO UPDATE
        SET session = excluded.session, reason = excluded.reason, served_by = excluded.served_by
        """,
        {
            "index": index_code,
            "session": session,
            "reason": "; ".join(reasons),
            "served_by": served_by,
            "now": now,
        },
    )


def apply_members(
    warehouse: Warehouse,
    index_code: str,
    seen_on: date,
    member_ids: Sequence[int],
    *,
    provider_used: str,
    fallback_used: bool,
    note: str | None,
    now: datetime,
    true_then: bool = True,
) -> MembershipChange:
    """Make the members of an index those given, as seen on `seen_on`, and note the refresh; one transaction.

    A newcomer opens a spell, a returner opens a new one beside the old, a leaver's spell ends on that day. Where the
    list is known to have been true on that day (`true_then`), `index_coverage` says that the members are known there.
    """
    with warehouse.begin() as connection:
        run = connection.execute
        run(sa.text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCKS["universe"]})
        given = {"index": index_code, "seen_on": seen_on, "ids": sorted(set(member_ids))}
        inactivated = run(
            sa.text("""
                UPDATE index_constituents SET is_active = false, became_inactive_at = :seen_on
                WHERE index_code = :index AND is_active AND instrument_id <> ALL (:ids)
            """),
            given,
        ).rowcount
        run(
            sa.text("""
                UPDATE index_constituents SET last_seen = greatest(last_seen, :seen_on)
                WHERE index_code = :index AND is_active
            """),
            given,
        )
        opened = run(
            sa.text("""
                INSERT INTO index_constituents (index_code, instrument_id, first_seen, last_seen)
                SELECT :index, id, :seen_on, :seen_on FROM unnest(CAST(:ids AS integer[])) AS id
                WHERE NOT EXISTS (
                    SELECT FROM index_constituents c
                    WHERE c.index_code = :index AND c.instrument_id = id AND c.is_active
                )
                -- Who left and returned on one session, as when two sources disagree, never really left.
                ON CONFLICT (index_code, instrument_id, first_seen) DO UPDATE
                SET is_active = true, became_inactive_at = NULL
                RETURNING EXISTS (
                    SELECT FROM index_constituents c
                    WHERE c.index_code = :index AND c.instrument_id = index_constituents.instrument_id
                ) AS returned
            """),
            given,
        ).all()
        reactivated = sum(row.returned for row in opened)
        change = MembershipChange(len(set(member_ids)), len(opened) - reactivated, reactivated, inactivated)
        run(
            sa.text("""
                INSERT INTO index_refreshes (index_code, seen_on, fetched, inserted, reactivated, inactivated,
                                             provider_used, fallback_used, note, refreshed_at)
                VALUES (:index, :seen_on, :fetched, :inserted, :reactivated, :inactivated,
                        :provider, :fallback, :note, :now)
                ON CONFLICT (index_code, seen_on) DO UPDATE SET
                    fetched = excluded.fetched,
                    inserted = index_refreshes.inserted + excluded.inserted,
                    reactivated = index_refreshes.reactivated + excluded.reactivated,
                    inactivated = index_refreshes.inactivated + excluded.inactivated,
                    provider_used = excluded.provider_used, fallback_used = excluded.fallback_used,
                    note = excluded.note, refreshed_at = excluded.refreshed_at
            """),
            {
                "index": index_code,
                "seen_on": seen_on,
                "fetched": change.fetched,
                "inserted": change.inserted,
                "reactivated": change.reactivated,
                "inactivated": change.inactivated,
                "provider": provider_used,
                "fallback": fallback_used,
                "note": note,
                "now": now,
            },
        )
        if true_then:
            membership.extend_by_list(connection, index_code, seen_on, provider_used, now)
    return change


def index_counts(warehouse: Warehouse) -> dict[str, int]:
    """Return index -> number of active members."""
    rows = warehouse.rows(
        "SELECT index_code, count(*) AS members FROM index_constituents WHERE is_active GROUP BY index_code ORDER BY 1"
    )
    return {row.index_code: row.members for row in rows}


def indexes_ever(warehouse: Warehouse) -> set[str]:
    """Return the indexes that have members, or had some once."""
    return {row.index_code for row in warehouse.rows("SELECT DISTINCT index_code FROM index_constituents")}


# --- watch list -------------------------------------------------------------------------------------------------------


def watch(warehouse: Warehouse, instrument_ids: Sequence[int], now: datetime) -> int:
    """Put instruments on the watch list; return how many were not on it."""
    return warehouse.execute(
        "INSERT INTO watch_list (instrument_id, added_at) SELECT id, :now FROM unnest(CAST(:ids AS integer[])) AS id"
        " ON CONFLICT DO NOTHING",
        {"ids": list(instrument_ids), "now": now},
    )


def unwatch(warehouse: Warehouse, instrument_ids: Sequence[int]) -> int:
    """Take instruments off the watch list, and out of the tracked set where nothing else holds them there."""
    with warehouse.begin() as connection:
        given = {"ids": list(instrument_ids)}
        removed = connection.execute(sa.text("DELETE FROM watch_list WHERE instrument_id = ANY (:ids)"), given).rowcount
        connection.execute(
            sa.text("""
                UPDATE symbol_universe SET reasons = array_remove(reasons, 'watch_list'),
                       active = array_remove(reasons, 'watch_list') <> '{}'
                WHERE instrument_id = ANY (:ids)
            """),
            given,
        )
    return removed


# --- the tracked set --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Tracked:
    """One tracked instrument; `named_since` is the day on which its life begins where its name was another's before."""

    instrument_id: int
    symbol: str
    kind: str
    calendar: str
    first_tracked: date
    reasons: tuple[str, ...]
    delisted_on: date | None
    named_since: date | None = None


def tracked(warehouse: Warehouse) -> list[Tracked]:
    """Return the tracked set, sorted by symbol."""
    rows = warehouse.rows("""
        SELECT u.instrument_id, s.symbol, i.kind, i.calendar, u.first_tracked, u.reasons, i.delisted_on,
               c.effective_on AS named_since
        FROM symbol_universe u
        JOIN instruments i USING (instrument_id)
        JOIN instrument_symbols s ON s.instrument_id = u.instrument_id AND s.valid_to IS NULL
        LEFT JOIN symbol_changes c ON c.instrument_id = u.instrument_id AND c.kind = 'reuse'
        WHERE u.active
        ORDER BY s.symbol COLLATE "C"
    """)
    return [Tracked(**{**row._mapping, "reasons": tuple(row.reasons)}) for row in rows]


def never_asked(warehouse: Warehouse) -> list[str]:
    """Return the tracked symbols that have no daily bar, and about which no source has answered yet, sorted."""
    rows = warehouse.rows("""
        SELECT s.symbol
        FROM symbol_universe u
        JOIN instruments i USING (instrument_id)
        JOIN instrument_symbols s ON s.instrument_id = u.instrument_id AND s.valid_to IS NULL
        WHERE u.active AND i.delisted_on IS NULL
          AND NOT EXISTS (SELECT FROM answered_sessions a WHERE a.instrument_id = u.instrument_id AND a.interval = '1d')
          AND NOT EXISTS (SELECT FROM price_data p WHERE p.instrument_id = u.instrument_id AND p.interval = '1d')
        ORDER BY s.symbol COLLATE "C"
    """)
    return [row.symbol for row in rows]


def waiting(warehouse: Warehouse) -> list[str]:
    """Return the symbols on the watch list that are not tracked yet, sorted."""
    rows = warehouse.rows("""
        SELECT s.symbol FROM watch_list w
        JOIN instrument_symbols s ON s.instrument_id = w.instrument_id AND s.valid_to IS NULL
        WHERE NOT EXISTS (SELECT FROM symbol_universe u WHERE u.instrument_id = w.instrument_id AND u.active)
        ORDER BY s.symbol COLLATE "C"
    """)
    return [row.symbol for row in rows]


def track(warehouse: Warehouse, session: date, reasons: Mapping[int, Sequence[str]]) -> set[int]:
    """Add to the tracked set; return the ids that were not in it, who was in it once among them.

    Who is tracked and no longer named keeps being tracked: a leaver of an index still has history to complete.
    """
    rows = sorted((int(i), sorted(r)) for i, r in reasons.items())
    with warehouse.begin() as connection:
        connection.execute(sa.text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCKS["universe"]})
        before = connection.execute(sa.text("SELECT instrument_id FROM symbol_universe WHERE active")).scalars().all()
        connection.execute(
            sa.text("""
                INSERT INTO symbol_universe AS u (instrument_id, first_tracked, reasons)
                SELECT id, :session, string_to_array(reason, ',')
                FROM unnest(CAST(:ids AS integer[]), CAST(:reasons AS text[])) AS given(id, reason)
                ON CONFLICT (instrument_id) DO UPDATE SET active = true, reasons = excluded.reasons,
                    first_tracked = CASE WHEN u.active THEN u.first_tracked ELSE excluded.first_tracked END
                WHERE NOT u.active OR u.reasons IS DISTINCT FROM excluded.reasons
            """),
            {"session": session, "ids": [i for i, _ in rows], "reasons": [",".join(r) for _, r in rows]},
        )
    return {i for i, _ in rows}.difference(before)


def watched_ids(warehouse: Warehouse) -> set[int]:
    """Return the ids on the watch list."""
    return {row.instrument_id for row in warehouse.rows("SELECT instrument_id FROM watch_list")}


def member_ids(warehouse: Warehouse) -> dict[int, list[str]]:
    """Return instrument_id -> the indexes that it is an active member of."""
    rows = warehouse.rows("""
        SELECT instrument_id, array_agg(index_code ORDER BY index_code) AS indexes
        FROM index_constituents WHERE is_active GROUP BY instrument_id
    """)
    return {row.instrument_id: list(row.indexes) for row in rows}


def named(warehouse: Warehouse, instrument_ids: Sequence[int]) -> list[Tracked]:
    """Return these instruments under their current symbols, whether they are tracked or not."""
    rows = warehouse.rows(
        """
        SELECT i.instrument_id, s.symbol, i.kind, i.calendar, coalesce(u.first_tracked, s.valid_from) AS first_tracked,
               coalesce(u.reasons, ARRAY[]::text[]) AS reasons, i.delisted_on
        FROM instruments i
        JOIN instrument_symbols s ON s.instrument_id = i.instrument_id AND s.valid_to IS NULL
        LEFT JOIN symbol_universe u ON u.instrument_id = i.instrument_id
        WHERE i.instrument_id = ANY (CAST(:ids AS integer[]))
        ORDER BY s.symbol COLLATE "C"
        """,
        ids=list(instrument_ids),
    )
    return [Tracked(**{**row._mapping, "reasons": tuple(row.reasons)}) for row in rows]
