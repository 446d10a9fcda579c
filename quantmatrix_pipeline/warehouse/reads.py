"""What the read API asks of the warehouse: small statements on kept connections, answered in columns.

Dates are inclusive at both ends; a bound that is None is open. Rows come in ascending order of session unless said.
With `as_of`, an instant, the answer is made of what was known then; without, of what is known now.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any

import pyarrow as pa

from quantmatrix_pipeline import clock
from quantmatrix_pipeline.errors import UnknownSymbol
from quantmatrix_pipeline.warehouse import actions
from quantmatrix_pipeline.warehouse.engine import Warehouse
from quantmatrix_pipeline.warehouse.history import ANALYSIS_TYPE
from quantmatrix_pipeline.warehouse.instruments import Instrument

BAR_COLUMNS = (
    "open", "high", "low", "close", "volume", "quality_score", "validated", "gap_detected", "volume_anomaly",
)  # fmt: skip

VERSION_COLUMNS = frozenset({"status", "reason"})
"""What only `price_data_versions` says of a bar."""

COMPANY_TEXTS = ("exchange", "sector", "industry", "market_cap_currency")
COMPANY_COLUMNS = (*COMPANY_TEXTS, "market_cap", "next_earnings")
"""What is known now of the company behind a snapshot; see the view `companies`."""


class _Conditions:
    """Collects `column operator $n` and the values behind the numbers."""

    def __init__(self, *fixed: tuple[str, object]) -> None:
        self.values: list[object] = []
        self._terms: list[str] = []
        for term, value in fixed:
            self.add(term, value)

    def add(self, term: str, value: object | None) -> None:
        """Add `term`, which ends where its value belongs; None adds nothing."""
        if value is not None:
            self.values.append(value)
            self._terms.append(f"{term} ${len(self.values)}")

    def numbered(self, value: object) -> str:
        """Return the number of a further value, such as `$3`, for use outside of the conditions."""
        self.values.append(value)
        return f"${len(self.values)}"

    @property
    def where(self) -> str:
        return f" WHERE {' AND '.join(self._terms)}" if self._terms else ""


def find_instrument(warehouse: Warehouse, symbol: str, asof: date | None = None) -> Instrument:
    """Return who bears a symbol now, or bore it on `asof`, under its newest symbol; in whatever case it is written.

    Raises
    ------
    UnknownSymbol
        No instrument bears it now, or bore it then; names who did on other days, where there are any.
    """
    wanted = symbol.strip().upper()
    values: list[object] = [wanted]
    held = "s.valid_to IS NULL"
    if asof is not None:
        held = "s.valid_from <= $2 AND (s.valid_to IS NULL OR $2 < s.valid_to)"
        values.append(asof)
    found = warehouse.read(
        f"""
        SELECT i.instrument_id, newest.symbol, i.kind, i.name, i.currency, i.calendar, i.sector, i.listed_on,
               i.delisted_on
        FROM instrument_symbols s JOIN instruments i USING (instrument_id)
        JOIN LATERAL (
            SELECT n.symbol FROM instrument_symbols n WHERE n.instrument_id = i.instrument_id
            ORDER BY n.valid_from DESC LIMIT 1
        ) newest ON true
        WHERE s.symbol = $1 AND {held}
        """,
        values,
    ).to_pylist()
    if found:
        return Instrument(**found[0])
    if asof is not None:
        raise UnknownSymbol(f"no instrument bore the symbol {wanted!r} on {asof}{_bearers(warehouse, wanted)}")
    former = warehouse.read(
        """
        SELECT present.symbol, past.valid_to FROM instrument_symbols past
        JOIN instrument_symbols present ON present.instrument_id = past.instrument_id AND present.valid_to IS NULL
        WHERE past.symbol = $1 ORDER BY past.valid_to DESC LIMIT 1
        """,
        [wanted],
    ).to_pylist()
    if former:
        raise UnknownSymbol(
            f"no instrument bears the symbol {wanted!r} now; the one that bore it until {former[0]['valid_to']} is"
            f" {former[0]['symbol']!r}"
        )
    raise UnknownSymbol(
        f"no instrument bears the symbol {wanted!r}; /api/v1/symbols and `qm symbols list` show those that are known"
    )


def _bearers(warehouse: Warehouse, symbol: str) -> str:
    rows = warehouse.read(
        "SELECT valid_from, valid_to FROM instrument_symbols WHERE symbol = $1 ORDER BY valid_from", [symbol]
    ).to_pylist()
    spans = ", ".join(f"{row['valid_from']}..{row['valid_to'] or 'now'}" for row in rows)
    return f"; it was borne in {spans} (ends exclusive)" if spans else ", nor on any other day"


def names(warehouse: Warehouse, symbol: str) -> pa.Table:
    """Return all names of every instrument that ever bore `symbol`, by instrument and day.

    Columns: instrument_id, symbol, valid_from (1900-01-01: since before anybody looked), valid_to (exclusive; null
    while borne), name, listed_on, delisted_on, source (of the declaration that ended the name).

    Raises
    ------
    UnknownSymbol
        Nobody ever bore it.
    """
    wanted = symbol.strip().upper()
    found = warehouse.read(
        """
        SELECT s.instrument_id, s.symbol, s.valid_from, s.valid_to, i.name, i.listed_on, i.delisted_on, c.source
        FROM instrument_symbols s JOIN instruments i USING (instrument_id)
        LEFT JOIN symbol_changes c ON c.symbol = s.symbol AND c.effective_on = s.valid_to
        WHERE s.instrument_id IN (SELECT instrument_id FROM instrument_symbols WHERE symbol = $1)
        ORDER BY s.instrument_id, s.valid_from
        """,
        [wanted],
    )
    if not found.num_rows:
        raise UnknownSymbol(f"no instrument ever bore the symbol {wanted!r}; `qm symbols list` shows those tracked")
    return found


def symbols(warehouse: Warehouse) -> pa.Table:
    """Return every instrument under its current symbol, with the span of its daily bars, sorted by symbol."""
    return warehouse.read(f"""
        SELECT k.symbol, k.name, i.kind, i.currency, i.calendar, k.exchange, k.sector, k.industry, k.sub_industry,
               k.market_cap, k.market_cap_currency, {_company("next_earnings")} AS next_earnings,
               i.listed_on, i.delisted_on,
               coalesce(u.active, false) AS tracked, u.first_tracked,
               first.session AS first_session, last.session AS last_session
        FROM companies k
        JOIN instruments i USING (instrument_id)
        LEFT JOIN symbol_universe u USING (instrument_id)
        LEFT JOIN LATERAL ({_edge("k", "ASC")}) AS first ON true
        LEFT JOIN LATERAL ({_edge("k", "DESC")}) AS last ON true
        ORDER BY k.symbol COLLATE "C"
    """)


def _edge(of: str, order: str) -> str:
    # One descent of the key per instrument; grouping would read every bar.
    own = f"instrument_id = {of}.instrument_id"
    return f"SELECT session FROM price_data_1d p WHERE p.{own} AND quality_score > 0 ORDER BY session {order} LIMIT 1"


def _company(column: str, as_of: datetime | None = None) -> str:
    """Return what a column of `companies` is to a reader: a date of earnings that has passed is no next one."""
    if column == "next_earnings":
        today = (as_of or clock.now()).date()
        return f"CASE WHEN k.next_earnings >= DATE '{today}' THEN k.next_earnings END"
    return f"k.{column}"


# --- bars -------------------------------------------------------------------------------------------------------------


def daily_bars(
    warehouse: Warehouse,
    instrument_id: int,
    *,
    columns: Sequence[str],
    start: date | None = None,
    end: date | None = None,
    min_quality: float | None = None,
    newest: int | None = None,
    as_of: datetime | None = None,
) -> pa.Table:
    """Return an instrument's daily bars as `session` and `columns`; `newest` keeps only the last that many.

    Beside the columns of `price_data`, those of `price_data_versions` can be had.
    """
    conditions = _Conditions(("instrument_id =", instrument_id))
    table = "price_data_1d"
    if as_of is not None:
        table = f"price_data_known_at({conditions.numbered(as_of)})"
    elif not VERSION_COLUMNS.isdisjoint(columns):
        table = "(SELECT * FROM price_data_versions WHERE superseded_at IS NULL) AS current_bars"
    if table != "price_data_1d":
        conditions.add("interval =", "1d")
    conditions.add("session >=", start)
    conditions.add("session <=", end)
    conditions.add("quality_score >=", min_quality)
    selected = f"SELECT {', '.join(('session', *columns))} FROM {table}{conditions.where}"
    if newest is not None:
        selected = f"SELECT * FROM ({selected} ORDER BY session DESC LIMIT {int(newest)}) AS kept"
    return warehouse.read(f"{selected} ORDER BY session", conditions.values)


def splits(warehouse: Warehouse, instrument_id: int, as_of: datetime | None = None) -> pa.Table:
    """Return an instrument's splits in force (instrument_id, ex_date, numerator, denominator), sorted by ex-date."""
    wanted = _Conditions(("instrument_id =", instrument_id))
    known_at = None if as_of is None else wanted.numbered(as_of)
    return warehouse.read(f"{actions.split_query(known_at)}{wanted.where} ORDER BY ex_date", wanted.values)


def dividends(warehouse: Warehouse, instrument_id: int, as_of: datetime | None = None) -> pa.Table:
    """Return an instrument's cash dividends in force (instrument_id, ex_date, amount), sorted by ex-date.

    Only those in the currency of its prices: another currency's would have to be converted first.
    """
    values: list[object] = [instrument_id] if as_of is None else [instrument_id, as_of]
    query = actions.dividend_query(None if as_of is None else "$2")
    return warehouse.read(f"{query} AND d.instrument_id = $1 ORDER BY d.ex_date", values)


# --- snapshots and history --------------------------------------------------------------------------------------------

Condition = tuple[str, str, float | bool | str | date]
"""Column, SQL comparison, value. The column and the comparison come from declared lists, never from a request."""

_SNAPSHOTS = """
    FROM market_analysis_cache c
    JOIN companies k ON k.instrument_id = c.instrument_id
"""
# What the lists of members and sources say of a company bears no date; what a vendor said does.
_SNAPSHOTS_KNOWN_AT = """
    FROM snapshots_known_at({moment}) c
    JOIN (
        SELECT n.instrument_id, n.symbol, p.exchange, coalesce(i.sector, p.sector) AS sector,
               coalesce(i.industry, p.industry) AS industry, p.currency AS market_cap_currency, p.market_cap,
               p.next_earnings
        FROM instruments i
        JOIN instrument_symbols n ON n.instrument_id = i.instrument_id AND n.valid_to IS NULL
        LEFT JOIN company_profiles p ON p.instrument_id = i.instrument_id AND p.as_of <= {moment}
             AND (p.superseded_at IS NULL OR p.superseded_at > {moment})
    ) k ON k.instrument_id = c.instrument_id
"""


def snapshots(
    warehouse: Warehouse,
    columns: Sequence[str],
    *,
    conditions: Sequence[Condition] = (),
    sort: str = "symbol",
    descending: bool = False,
    limit: int | None = None,
    as_of: datetime | None = None,
) -> pa.Table:
    """Return the latest snapshots that meet all conditions; a missing value meets none and sorts last.

    Between `close` and `columns` stand `COMPANY_COLUMNS`. Their texts are compared without regard to case. As of an
    instant the newest row of the history then takes the snapshot's place; it has no `expiry_timestamp`.
    """
    wanted = _Conditions(("c.analysis_type =", ANALYSIS_TYPE))
    source = _SNAPSHOTS if as_of is None else _SNAPSHOTS_KNOWN_AT.format(moment=wanted.numbered(as_of))
    for column, comparison, value in conditions:
        if column in COMPANY_TEXTS:
            wanted.add(f"lower({_column(column, as_of)}) {comparison}", str(value).lower())
        else:
            wanted.add(f"{_column(column, as_of)} {comparison}", value)
    direction = "DESC" if descending else "ASC"
    by_letters = ' COLLATE "C"' if sort in ("symbol", *COMPANY_TEXTS) else ""
    limited = "" if limit is None else f" LIMIT {int(limit)}"
    return warehouse.read(
        f"SELECT k.symbol, {_analysis_columns(columns, as_of)}{source}{wanted.where}"
        f' ORDER BY {_column(sort, as_of)}{by_letters} {direction} NULLS LAST, k.symbol COLLATE "C"{limited}',
        wanted.values,
    )


def snapshot(
    warehouse: Warehouse, instrument_id: int, columns: Sequence[str], as_of: datetime | None = None
) -> pa.Table:
    """Return an instrument's latest snapshot as `snapshots` does; no row where there is none yet."""
    wanted = _Conditions(("c.instrument_id =", instrument_id), ("c.analysis_type =", ANALYSIS_TYPE))
    source = _SNAPSHOTS if as_of is None else _SNAPSHOTS_KNOWN_AT.format(moment=wanted.numbered(as_of))
    return warehouse.read(f"SELECT k.symbol, {_analysis_columns(columns, as_of)}{source}{wanted.where}", wanted.values)


def raw_analysis(warehouse: Warehouse, instrument_id: int) -> tuple[date, str | None] | None:
    """Return the session of an instrument's latest snapshot and its `raw_analysis` as the text of JSON, which is None
    where a release before wrote it; None without a snapshot.
    """
    rows = warehouse.read(
        "SELECT session, CAST(raw_analysis AS text) AS raw_analysis FROM market_analysis_cache"
        " WHERE instrument_id = $1 AND analysis_type = $2",
        [instrument_id, ANALYSIS_TYPE],
    ).to_pylist()
    return (rows[0]["session"], rows[0]["raw_analysis"]) if rows else None


def _analysis_columns(columns: Sequence[str], as_of: datetime | None) -> str:
    head = ("session", "as_of", *(() if as_of is not None else ("expiry_timestamp",)), "close")
    computed = [f"c.{name}" for name in head]
    company = [f"{_company(name, as_of)} AS {name}" for name in COMPANY_COLUMNS]
    return ", ".join([*computed, *company, f"{_INPUTS}", *(f"c.{name}" for name in columns)])


_INPUTS = "lpad(to_hex(inputs_hash), 16, '0') AS inputs_hash"  # as text: JSON's numbers have 53 bits


def _column(name: str, as_of: datetime | None) -> str:
    """Return the expression behind a column of a snapshot."""
    if name == "symbol":
        return "k.symbol"
    return _company(name, as_of) if name in COMPANY_COLUMNS else f"c.{name}"


def history(
    warehouse: Warehouse,
    instrument_id: int,
    columns: Sequence[str],
    *,
    start: date | None = None,
    end: date | None = None,
    newest: int | None = None,
    as_of: datetime | None = None,
) -> pa.Table:
    """Return the newest revision of an instrument's recorded rows; `newest` keeps only the last that many sessions."""
    conditions = _Conditions(("instrument_id =", instrument_id), ("analysis_type =", ANALYSIS_TYPE))
    conditions.add("as_of <=", as_of)
    conditions.add("session >=", start)
    conditions.add("session <=", end)
    newest_revision = f"""
        SELECT DISTINCT ON (session) session, revision, as_of, {", ".join(("close", _INPUTS, *columns))}
        FROM market_analysis_history{conditions.where}
    """
    # A year's rows are wide: they are sorted once, and a second time only where the last ones have to be found first.
    if newest is None:
        return warehouse.read(f"{newest_revision} ORDER BY session, revision DESC", conditions.values)
    return warehouse.read(
        f"SELECT * FROM ({newest_revision} ORDER BY session DESC, revision DESC LIMIT {int(newest)}) AS kept"
        " ORDER BY session",
        conditions.values,
    )


def breadth(
    warehouse: Warehouse,
    columns: Sequence[str],
    *,
    start: date | None = None,
    end: date | None = None,
    newest: int | None = None,
    as_of: datetime | None = None,
) -> pa.Table:
    """Return the newest revision of recorded sessions' breadth, `columns` and then the advance-decline line; `newest`
    keeps only the last that many sessions.
    """
    conditions = _Conditions()
    source = "market_breadth_current"
    if as_of is not None:
        source = f"""(
            SELECT b.*, sum(advances - declines) OVER (ORDER BY session) AS advance_decline_line
            FROM (SELECT DISTINCT ON (session) * FROM market_breadth WHERE as_of <= {conditions.numbered(as_of)}
                  ORDER BY session, revision DESC) AS b
        ) AS known"""
    conditions.add("session >=", start)
    conditions.add("session <=", end)
    limited = "" if newest is None else f" LIMIT {int(newest)}"
    return warehouse.read(
        f"""
        SELECT * FROM (
            SELECT session, revision, as_of, {", ".join(columns)}, advance_decline_line
            FROM {source}{conditions.where}
            ORDER BY session DESC{limited}
        ) AS kept ORDER BY session
        """,
        conditions.values,
    )


# --- coverage ---------------------------------------------------------------------------------------------------------


def last_bars(warehouse: Warehouse) -> pa.Table:
    """Return each tracked symbol and the session of its newest daily bar, null where it has none, sorted by symbol."""
    return warehouse.read(f"""
        SELECT s.symbol, last.session
        FROM symbol_universe u
        JOIN instrument_symbols s ON s.instrument_id = u.instrument_id AND s.valid_to IS NULL
        LEFT JOIN LATERAL ({_edge("u", "DESC")}) AS last ON true
        WHERE u.active
        ORDER BY s.symbol COLLATE "C"
    """)


def symbol_count(warehouse: Warehouse) -> int:
    """Return how many instruments bear a symbol now."""
    found = warehouse.read("SELECT count(*) AS known FROM instrument_symbols WHERE valid_to IS NULL")
    return int(found["known"][0].as_py())


def symbol_coverage(warehouse: Warehouse, instrument_id: int) -> dict[str, Any]:
    """Return what is stored of an instrument.

    Keys: tracked, reasons, indices (lists of names); first_session, last_session, bars, flagged (not validated) and
    updated_at of its daily bars; snapshot_session and expiry_timestamp, None without a snapshot.
    """
    rows = warehouse.read(
        """
        SELECT coalesce(u.active, false) AS tracked, u.reasons,
               ARRAY(SELECT index_code FROM index_constituents c
                     WHERE c.instrument_id = i.instrument_id AND is_active ORDER BY 1) AS indices,
               p.*, x.expiry_timestamp, x.session AS snapshot_session
        FROM instruments i
        LEFT JOIN symbol_universe u USING (instrument_id)
        LEFT JOIN market_analysis_cache x ON x.instrument_id = i.instrument_id AND x.analysis_type = $2
        CROSS JOIN LATERAL (
            SELECT min(session) AS first_session, max(session) AS last_session, count(*) AS bars,
                   count(*) FILTER (WHERE NOT validated) AS flagged, max(as_of) AS updated_at
            FROM price_data_1d b WHERE b.instrument_id = i.instrument_id AND b.quality_score > 0
        ) AS p
        WHERE i.instrument_id = $1
        """,
        [instrument_id, ANALYSIS_TYPE],
    ).to_pylist()
    return dict(rows[0])
