"""Names that pass on: renames, reuses, delistings; who bore a symbol on a day."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from quantmatrix_pipeline.errors import SymbolConflict, UnknownSymbol
from quantmatrix_pipeline.providers.answers import SymbolChange
from quantmatrix_pipeline.universe.history import apply_changes
from quantmatrix_pipeline.warehouse import bars, instruments, naming, reads, universe
from quantmatrix_pipeline.warehouse.engine import Warehouse

NOW = datetime(2023, 1, 3, tzinfo=UTC)
ON = date(2022, 6, 9)
BEFORE = date(2022, 6, 8)


@pytest.fixture
def warehouse(database_url: str) -> Iterator[Warehouse]:
    warehouse = Warehouse(database_url)
    yield warehouse
    warehouse.close()


def rename(warehouse: Warehouse, old: str = "FB", new: str = "META", on: date = ON, **more: bool) -> naming.Named:
    return naming.rename(warehouse, old, new, on, source="operator", now=NOW, **more)


def reuse(warehouse: Warehouse, symbol: str, on: date) -> naming.Named:
    return naming.reuse(warehouse, symbol, on, source="operator", now=NOW, name="The other one")


def make(warehouse: Warehouse, *symbols: str) -> list[int]:
    ids = instruments.ensure(warehouse, symbols)
    return [ids[s] for s in symbols]


def bearer(warehouse: Warehouse, symbol: str, asof: date | None = None) -> int | None:
    """Return who bears a symbol, after the read of the API and the function of SQL said the same."""
    found: int | None = warehouse.scalar("SELECT symbol_bearer(:symbol, :asof)", symbol=symbol, asof=asof)
    try:
        assert reads.find_instrument(warehouse, symbol, asof).instrument_id == found
    except UnknownSymbol:
        assert found is None
    return found


def store_bar(warehouse: Warehouse, instrument_id: int, session: date) -> None:
    source = bars.source_id(warehouse, "files", "raw", None)
    row = {
        "instrument_id": pa.array([instrument_id], pa.int32()),
        "session": pa.array([session], pa.date32()),
        **{name: pa.array([10.0]) for name in ("open", "high", "low", "close", "volume", "quality_score")},
        "validated": pa.array([True]),
        "gap_detected": pa.array([False]),
        "volume_anomaly": pa.array([False]),
        "source_id": pa.array([source], pa.int16()),
    }
    with warehouse.arrow() as transaction:
        bars.write_daily(transaction, pa.table(row), NOW)


def test_a_rename_makes_no_instrument_and_each_name_leads_to_it_on_its_days(warehouse: Warehouse) -> None:
    (own,) = make(warehouse, "FB")
    assert rename(warehouse) == naming.Named(own, True)
    assert rename(warehouse) == naming.Named(own, False), "said again"
    assert warehouse.scalar("SELECT count(*) FROM instruments") == 1
    assert bearer(warehouse, "META") == bearer(warehouse, "META", ON) == bearer(warehouse, "fb", BEFORE) == own
    assert bearer(warehouse, "FB") is bearer(warehouse, "FB", ON) is bearer(warehouse, "META", BEFORE) is None
    assert reads.find_instrument(warehouse, "FB", BEFORE).symbol == "META"
    with pytest.raises(
        UnknownSymbol, match=r"no instrument bore the symbol 'FB' on 2022-06-09; .* 1900-01-01..2022-06-09"
    ):
        reads.find_instrument(warehouse, "FB", ON)


def test_a_name_that_was_given_up_makes_no_other_instrument_unless_that_is_declared(warehouse: Warehouse) -> None:
    (own,) = make(warehouse, "FB")
    rename(warehouse)
    assert instruments.ensure(warehouse, ["FB", "META"]) == {"FB": own, "META": own}
    other = reuse(warehouse, "FB", date(2022, 9, 1))
    assert other.instrument_id != own
    assert not reuse(warehouse, "FB", date(2022, 9, 1)).changed
    assert bearer(warehouse, "FB", BEFORE) == own
    assert bearer(warehouse, "FB", date(2022, 8, 31)) is None
    assert bearer(warehouse, "FB") == bearer(warehouse, "FB", date(2022, 9, 1)) == other.instrument_id
    assert instruments.ensure(warehouse, ["FB"]) == {"FB": other.instrument_id}
    assert instruments.ensure(warehouse, ["FB"], BEFORE) == {"FB": own}, "a list of that day means who bore it then"
    listed = warehouse.rows("SELECT name, listed_on FROM instruments WHERE instrument_id = :id", id=other.instrument_id)
    assert [tuple(r) for r in listed] == [("The other one", date(2022, 9, 1))]


def test_a_reused_ticker_ends_with_the_delisting_of_its_earlier_bearer(warehouse: Warehouse) -> None:
    (qwest,) = make(warehouse, "Q")
    instruments.describe(warehouse, [{"symbol": "Q", "delisted_on": date(2011, 4, 1)}])
    universe.track(warehouse, date(2011, 1, 3), {qwest: ["watch_list"]})
    store_bar(warehouse, qwest, date(2013, 5, 10))  # of the later company, stored before anybody said so
    later = reuse(warehouse, "Q", date(2013, 5, 9))
    assert later.left_behind == 1
    assert bearer(warehouse, "Q", date(2011, 3, 31)) == qwest
    assert bearer(warehouse, "Q", date(2011, 4, 1)) is bearer(warehouse, "Q", date(2013, 5, 8)) is None
    assert bearer(warehouse, "Q") == later.instrument_id
    assert universe.tracked(warehouse) == [], "the earlier one is no longer followed, the later one not yet"
    universe.track(warehouse, date(2013, 5, 9), {later.instrument_id: ["watch_list"]})
    (tracked,) = universe.tracked(warehouse)
    assert (tracked.instrument_id, tracked.named_since) == (later.instrument_id, date(2013, 5, 9))


def test_an_instrument_known_by_its_new_name_alone_gets_the_earlier_one(warehouse: Warehouse) -> None:
    (own,) = make(warehouse, "META")
    assert rename(warehouse) == naming.Named(own, True)
    assert bearer(warehouse, "FB", BEFORE) == bearer(warehouse, "META", ON) == own
    assert bearer(warehouse, "META", BEFORE) is None


def test_a_new_name_that_another_bears_is_refused_unless_it_was_delisted_or_is_absorbed(warehouse: Warehouse) -> None:
    own, stray = make(warehouse, "FB", "META")
    with pytest.raises(SymbolConflict, match=r"META is another instrument's name on 2022-06-09.*--absorb.*delisted_on"):
        rename(warehouse)
    assert bearer(warehouse, "FB") == own, "nothing was done"
    instruments.describe(warehouse, [{"symbol": "META", "delisted_on": date(2022, 1, 31)}])
    rename(warehouse)
    assert bearer(warehouse, "META", date(2022, 1, 28)) == stray
    assert bearer(warehouse, "META", date(2022, 1, 31)) is None
    assert bearer(warehouse, "META") == own


def test_what_was_made_for_the_new_name_meanwhile_is_absorbed_and_its_stay_goes_on(warehouse: Warehouse) -> None:
    """The list of the night names META before anybody said that FB is called so."""
    (own,) = make(warehouse, "FB")

    def listed(day: date, *ids: int) -> None:
        universe.apply_members(
            warehouse, "SP500", day, ids, provider_used="wikipedia", fallback_used=False, note=None, now=NOW
        )

    listed(BEFORE, own)
    universe.track(warehouse, BEFORE, {own: ["index:SP500"]})
    (stray,) = make(warehouse, "META")
    listed(ON, stray)
    universe.watch(warehouse, [stray], NOW)
    universe.track(warehouse, ON, {stray: ["index:SP500"]})
    for day in (ON, date(2022, 6, 10)):
        store_bar(warehouse, stray, day)
    done = rename(warehouse, absorb=True)
    assert done == naming.Named(own, True, left_behind=2)
    (stay,) = warehouse.rows("SELECT instrument_id, first_seen, last_seen, is_active FROM index_constituents")
    assert tuple(stay) == (own, BEFORE, ON, True)
    assert universe.watched_ids(warehouse) == {own}
    assert [t.instrument_id for t in universe.tracked(warehouse)] == [own]
    assert warehouse.scalar("SELECT count(*) FROM price_data WHERE instrument_id = :id", id=stray) == 2, "nothing moves"
    assert bearer(warehouse, "META") == own


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda w: rename(w, "NOPE", "NADA"), UnknownSymbol, "no instrument bore NOPE before 2022-06-09"),
        (lambda w: rename(w, "FB", "MVRS"), SymbolConflict, "FB is declared to have become META on 2022-06-09 already"),
        (lambda w: rename(w, "FB", "MVRS", date(2021, 10, 28)), SymbolConflict, "FB passed on on 2022-06-09 already"),
        (lambda w: reuse(w, "NEVER", ON), UnknownSymbol, "its first bearer needs no declaration"),
        (lambda w: reuse(w, "FB", date(2021, 1, 4)), SymbolConflict, "borne by one instrument until 2022-06-09"),
    ],
)
def test_what_can_not_be_is_refused(warehouse: Warehouse, change: object, error: type[Exception], message: str) -> None:
    make(warehouse, "FB")
    rename(warehouse)
    before = warehouse.rows("SELECT * FROM instrument_symbols ORDER BY 1, 2")
    with pytest.raises(error, match=message):
        change(warehouse)  # type: ignore[operator]
    assert warehouse.rows("SELECT * FROM instrument_symbols ORDER BY 1, 2") == before


def test_changes_of_a_folder_are_applied_up_to_the_session_and_wait_for_whom_nobody_knows(warehouse: Warehouse) -> None:
    changes = [
        SymbolChange("FB", ON, "META"),
        SymbolChange("META", date(2022, 12, 1), "MVRS"),
        SymbolChange("ANTM", date(2022, 6, 28), "ELV"),
    ]

    def applied(session: date) -> list[tuple[str, str | None]]:
        done = apply_changes(warehouse, changes, session, source="files", now=NOW)
        return [(a.symbol, a.new_symbol) for a in done if a.refused is None]

    (own,) = make(warehouse, "FB")
    assert applied(BEFORE) == []
    assert applied(ON) == [("FB", "META")]
    assert applied(date(2022, 12, 30)) == [("META", "MVRS")]
    assert [bearer(warehouse, s, d) for s, d in (("FB", BEFORE), ("META", ON), ("MVRS", None))] == [own] * 3
    (other,) = make(warehouse, "ELV")
    assert applied(date(2022, 12, 30)) == [("ANTM", "ELV")]
    assert bearer(warehouse, "ANTM", BEFORE) == other
    assert applied(date(2022, 12, 30)) == []


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(st.booleans(), st.sampled_from("ABCDE"), st.sampled_from("ABCDE"), st.integers(0, 6), st.booleans()),
        max_size=8,
    )
)
@example(declared=[(False, "A", "A", 0, False), (True, "C", "B", 2, False), (True, "A", "B", 1, False)])
def test_a_name_is_never_two_instruments_on_a_day_whatever_is_declared(
    warehouse: Warehouse, declared: list[tuple[bool, str, str, int, bool]]
) -> None:
    warehouse.execute("TRUNCATE instruments, instrument_symbols, symbol_changes CASCADE")
    make(warehouse, "A", "B")
    for is_rename, old, new, days, absorb in declared:
        day = ON + timedelta(days=days)
        try:
            if is_rename and old != new:
                rename(warehouse, old, new, day, absorb=absorb)
            else:
                reuse(warehouse, old, day)
        except (SymbolConflict, UnknownSymbol):
            pass
        overlapping = warehouse.rows("""
            SELECT a.symbol FROM instrument_symbols a JOIN instrument_symbols b
              ON (a.symbol = b.symbol AND a.valid_from < b.valid_from
                  OR a.instrument_id = b.instrument_id AND (a.symbol, a.valid_from) < (b.symbol, b.valid_from))
             AND daterange(a.valid_from, a.valid_to) && daterange(b.valid_from, b.valid_to)
        """)
        assert overlapping == [], "no name has two bearers, and no bearer two names, on one day"
