"""Names that pass on: an instrument takes another name, or another instrument takes a name; `symbol_changes`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import sqlalchemy as sa

from quantmatrix_pipeline.errors import SymbolConflict, UnknownSymbol
from quantmatrix_pipeline.warehouse.engine import LOCKS, Warehouse


@dataclass(frozen=True, slots=True)
class Named:
    """What a declaration did.

    Attributes
    ----------
    instrument_id
        Who bears the new, or the reused, name.
    changed
        False where it had been declared before.
    left_behind
        Bars stored under another instrument on or after the day, which stay there: of one that was made for the new
        name before the rename was known, or of the earlier bearer of a reused name.
    """

    instrument_id: int
    changed: bool
    left_behind: int = 0


def rename(
    warehouse: Warehouse, old: str, new: str, on: date, *, source: str, now: datetime, absorb: bool = False
) -> Named:
    """Let the bearer of `old` be called `new` from `on` on; its bars, history and stays stay with it.

    Where only `new` is known, because nobody knew the instrument under its earlier name, it gets that as its former
    one. With `absorb`, another instrument that bears `new` on that day gives the name up, and its places in indexes, on
    the watch list and in the tracked set with it; its bars stay where they are and are read by nobody.

    Raises
    ------
    UnknownSymbol
        Nobody bears either name.
    SymbolConflict
        `new` is another instrument's on that day or a later one, or `old` was given up on another day.
    """
    with warehouse.begin() as connection:
        connection.execute(sa.text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCKS["universe"]})
        told = _told(connection, old, on)
        if told is not None and told.new_symbol == new:
            return Named(told.instrument_id, False)
        if told is not None:
            raise SymbolConflict(
                f"{old} is declared to have become {told.new_symbol or 'another company'} on {on} already"
            )
        former = _bearer(connection, old, on, before=True)
        present = _bearer(connection, new, on)
        if former is None and present is None:
            raise UnknownSymbol(f"no instrument bore {old} before {on} or bears {new} since; nothing to rename")
        left_behind = 0
        if former is None:
            owner = _add_former(connection, present, old, new, on)
        elif present is not None and present.instrument_id == former.instrument_id:
            owner = former.instrument_id
        else:
            if former.valid_to is not None and former.valid_to != on:
                raise SymbolConflict(f"{old} passed on on {former.valid_to} already, so it can't become {new} on {on}")
            owner = former.instrument_id
            later = _first_borne_after(connection, new, on)
            if later is not None:
                raise SymbolConflict(f"{new} is borne from {later} on, so {old} can't have become it on {on} already")
            if present is not None:
                left_behind = _make_way(connection, present, owner, old, new, on, absorb)
            given = {"symbol": old, "from": former.valid_from, "new": new, "on": on, "id": owner}
            connection.execute(
                sa.text("UPDATE instrument_symbols SET valid_to = :on WHERE symbol = :symbol AND valid_from = :from"),
                given,
            )
            connection.execute(
                sa.text("INSERT INTO instrument_symbols (symbol, valid_from, instrument_id) VALUES (:new, :on, :id)"),
                given,
            )
        _tell(connection, old, on, "rename", new, owner, source, now)
        return Named(owner, True, left_behind)


def reuse(warehouse: Warehouse, symbol: str, on: date, *, source: str, now: datetime, name: str | None = None) -> Named:
    """Let another company bear `symbol` from `on` on: a new instrument, which has no bars before that day.

    The earlier bearer, where it still had the name, loses it on the day of its delisting, or on `on` where none is
    known, and is no longer tracked; what is stored of it is found by its name on a day before.

    Raises
    ------
    UnknownSymbol
        Nobody ever bore the name, so that its first bearer needs no declaration.
    SymbolConflict
        `symbol` was given up later than `on`, or was declared to have been on that day.
    """
    with warehouse.begin() as connection:
        connection.execute(sa.text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCKS["universe"]})
        told = _told(connection, symbol, on)
        if told is not None and told.kind == "reuse":
            return Named(told.instrument_id, False)
        newest = connection.execute(
            sa.text("""
                SELECT s.*, i.delisted_on FROM instrument_symbols s JOIN instruments i USING (instrument_id)
                WHERE symbol = :symbol ORDER BY valid_from DESC LIMIT 1
            """),
            {"symbol": symbol},
        ).one_or_none()
        if newest is None:
            raise UnknownSymbol(f"nobody ever bore {symbol}; its first bearer needs no declaration")
        if newest.valid_from >= on or (newest.valid_to is not None and newest.valid_to > on):
            raise SymbolConflict(
                f"{symbol} was borne by one instrument until {newest.valid_to or 'now'}; {on} lies before"
            )
        left_behind = 0
        if newest.valid_to is None:
            gone = newest.delisted_on
            ended = gone if gone is not None and newest.valid_from < gone <= on else on
            given = {"symbol": symbol, "from": newest.valid_from, "ended": ended, "id": newest.instrument_id, "on": on}
            connection.execute(
                sa.text(
                    "UPDATE instrument_symbols SET valid_to = :ended WHERE symbol = :symbol AND valid_from = :from"
                ),
                given,
            )
            connection.execute(sa.text("UPDATE symbol_universe SET active = false WHERE instrument_id = :id"), given)
            left_behind = _bars_since(connection, newest.instrument_id, on)
        owner = connection.execute(
            sa.text(
                "INSERT INTO instruments (kind, name, listed_on) VALUES ('stock', :name, :on) RETURNING instrument_id"
            ),
            {"name": name, "on": on},
        ).scalar_one()
        connection.execute(
            sa.text("INSERT INTO instrument_symbols (symbol, valid_from, instrument_id) VALUES (:symbol, :on, :id)"),
            {"symbol": symbol, "on": on, "id": owner},
        )
        if told is None:  # where the earlier bearer was renamed on that very day, that row says why it passed on
            _tell(connection, symbol, on, "reuse", None, owner, source, now)
        return Named(owner, True, left_behind)


def told(warehouse: Warehouse) -> set[tuple[str, date, str | None]]:
    """Return all changes of names that are declared: symbol, the day, and the new symbol, None of a reuse."""
    rows = warehouse.rows("SELECT symbol, effective_on, new_symbol FROM symbol_changes")
    return {(row.symbol, row.effective_on, row.new_symbol) for row in rows}


def every_name(warehouse: Warehouse) -> set[str]:
    """Return every symbol that is or was ever borne."""
    return {row.symbol for row in warehouse.rows("SELECT DISTINCT symbol FROM instrument_symbols")}


def _told(connection: sa.Connection, symbol: str, on: date) -> Any:
    return connection.execute(
        sa.text("SELECT * FROM symbol_changes WHERE symbol = :symbol AND effective_on = :on"),
        {"symbol": symbol, "on": on},
    ).one_or_none()


def _bearer(connection: sa.Connection, symbol: str, on: date, *, before: bool = False) -> Any:
    """Return the row of who bears a name on a day, or with `before` of who did until then."""
    held = (
        "valid_from < :on AND (valid_to IS NULL OR valid_to >= :on)"
        if before
        else ("valid_from <= :on AND (valid_to IS NULL OR valid_to > :on)")
    )
    return connection.execute(
        sa.text(f"SELECT * FROM instrument_symbols WHERE symbol = :symbol AND {held}"), {"symbol": symbol, "on": on}
    ).one_or_none()


def _first_borne_after(connection: sa.Connection, symbol: str, on: date) -> date | None:
    """Return the first day after `on` from which somebody bears a name, None where it is never taken again."""
    found: date | None = connection.execute(
        sa.text("SELECT min(valid_from) FROM instrument_symbols WHERE symbol = :symbol AND valid_from > :on"),
        {"symbol": symbol, "on": on},
    ).scalar_one()
    return found


def _add_former(connection: sa.Connection, present: Any, old: str, new: str, on: date) -> int:
    """Give an instrument that is only known by its new name the earlier one up to `on`."""
    given = {"new": new, "from": present.valid_from, "old": old, "on": on, "id": present.instrument_id}
    # As far back as the new name was taken to reach, and as nobody else bore the earlier one.
    since = connection.execute(
        sa.text("""
            SELECT greatest(CAST(:from AS date), max(valid_to)) FROM instrument_symbols
            WHERE symbol = :old AND valid_from < :on
        """),
        given,
    ).scalar_one()
    if since < on:
        for statement in (
            "UPDATE instrument_symbols SET valid_from = :on WHERE symbol = :new AND valid_from = :from",
            "INSERT INTO instrument_symbols (symbol, valid_from, valid_to, instrument_id)"
            " VALUES (:old, :since, :on, :id)",
        ):
            connection.execute(sa.text(statement), given | {"since": since})
    return int(present.instrument_id)


def _make_way(connection: sa.Connection, present: Any, owner: int, old: str, new: str, on: date, absorb: bool) -> int:
    """Take `new` from who bears it on `on`: it was delisted by then, or was made before the rename was known."""
    given = {"id": present.instrument_id, "owner": owner, "symbol": new, "from": present.valid_from, "on": on}
    gone = connection.execute(
        sa.text("SELECT delisted_on FROM instruments WHERE instrument_id = :id"), given
    ).scalar_one()
    if gone is not None and present.valid_from < gone <= on:
        connection.execute(
            sa.text("UPDATE instrument_symbols SET valid_to = :gone WHERE symbol = :symbol AND valid_from = :from"),
            given | {"gone": gone},
        )
        connection.execute(sa.text("UPDATE symbol_universe SET active = false WHERE instrument_id = :id"), given)
        return 0
    if not absorb:
        raise SymbolConflict(
            f"{new} is another instrument's name on {on}. If that is {old} itself, known under its new name before this"
            f" was said: `qm symbols rename {old} {new} --on {on} --absorb`. If another company bore {new} before: give"
            f" its delisted_on in the instruments file"
        )
    connection.execute(sa.text("DELETE FROM instrument_symbols WHERE symbol = :symbol AND valid_from = :from"), given)
    _absorb_stays(connection, given)
    for statement in (
        "INSERT INTO watch_list SELECT :owner, added_at FROM watch_list WHERE instrument_id = :id"
        " ON CONFLICT DO NOTHING",
        "DELETE FROM watch_list WHERE instrument_id = :id",
        "INSERT INTO symbol_universe (instrument_id, active, first_tracked, reasons)"
        " SELECT :owner, active, first_tracked, reasons FROM symbol_universe WHERE instrument_id = :id"
        " ON CONFLICT (instrument_id) DO UPDATE SET active = symbol_universe.active OR excluded.active",
        "UPDATE symbol_universe SET active = false WHERE instrument_id = :id",
    ):
        connection.execute(sa.text(statement), given)
    return _bars_since(connection, present.instrument_id, date.min)


def _absorb_stays(connection: sa.Connection, given: dict[str, Any]) -> None:
    """Hand the stays over; one that begins on the day on which the owner's ended goes on with that: nobody left."""
    for statement in (
        """
        UPDATE index_constituents kept SET last_seen = greatest(kept.last_seen, more.last_seen),
               is_active = more.is_active, became_inactive_at = more.became_inactive_at
        FROM index_constituents more
        WHERE kept.instrument_id = :owner AND more.instrument_id = :id AND more.index_code = kept.index_code
          AND kept.became_inactive_at = more.first_seen
        """,
        """
        DELETE FROM index_constituents more USING index_constituents kept
        WHERE more.instrument_id = :id AND kept.instrument_id = :owner AND kept.index_code = more.index_code
          AND (kept.is_active AND more.is_active OR kept.first_seen <= more.first_seen
               AND (kept.is_active OR kept.became_inactive_at > more.first_seen))
        """,
        "UPDATE index_constituents SET instrument_id = :owner WHERE instrument_id = :id",
    ):
        connection.execute(sa.text(statement), given)


def _bars_since(connection: sa.Connection, instrument_id: int, on: date) -> int:
    return int(
        connection.execute(
            sa.text("SELECT count(*) FROM price_data WHERE instrument_id = :id AND session >= :on"),
            {"id": instrument_id, "on": on},
        ).scalar_one()
    )


def _tell(
    connection: sa.Connection,
    symbol: str,
    on: date,
    kind: str,
    new_symbol: str | None,
    instrument_id: int,
    source: str,
    now: datetime,
) -> None:
    connection.execute(
        sa.text("INSERT INTO symbol_changes VALUES (:symbol, :on, :kind, :new, :id, :source, :now)"),
        {
            "symbol": symbol,
            "on": on,
            "kind": kind,
            "new": new_symbol,
            "id": instrument_id,
            "source": source,
            "now": now,
        },
    )
