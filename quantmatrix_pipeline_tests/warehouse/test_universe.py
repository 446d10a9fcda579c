"""Spells, the watch list and the tracked set, in any order of events."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quantmatrix_pipeline.warehouse import instruments, reads, universe
from quantmatrix_pipeline.warehouse.engine import Warehouse

NOW = datetime(2021, 12, 1, tzinfo=UTC)
START = date(2021, 12, 1)
SYMBOLS = ["AAA", "BBB", "CCC", "DDD"]


@pytest.fixture
def warehouse(database_url: str) -> Iterator[Warehouse]:
    warehouse = Warehouse(database_url)
    yield warehouse
    warehouse.close()


def apply(warehouse: Warehouse, day: date, ids: list[int]) -> universe.MembershipChange:
    return universe.apply_members(
        warehouse, "DOW30", day, ids, provider_used="files", fallback_used=False, note=None, now=NOW
    )


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(0, 2), st.sets(st.integers(1, 4))), min_size=1, max_size=7))
def test_spells_never_overlap_and_who_was_in_on_the_last_day_is_active(
    warehouse: Warehouse, refreshes: list[tuple[int, set[int]]]
) -> None:
    instruments.ensure(warehouse, SYMBOLS)
    warehouse.execute("TRUNCATE index_constituents, index_refreshes")
    day, before = START, set[int]()
    for step, members in refreshes:
        day += timedelta(days=step)  # a step of zero is a second look on the same day
        change = apply(warehouse, day, sorted(members))
        assert change.fetched == len(members)
        assert change.inserted + change.reactivated == len(members - before)
        assert change.inactivated == len(before - members)
        assert universe.active_members(warehouse, "DOW30") == members
        before = members
    spells = warehouse.rows("SELECT * FROM index_constituents ORDER BY instrument_id, first_seen")
    for spell in spells:
        assert spell.first_seen <= spell.last_seen <= (spell.became_inactive_at or day)
    for one, following in pairwise(spells):
        if one.instrument_id == following.instrument_id:
            assert one.became_inactive_at is not None
            assert one.became_inactive_at <= following.first_seen
    assert universe.newest_refresh(warehouse, "DOW30") == day


def test_the_same_symbols_make_the_same_ids_whatever_their_order(warehouse: Warehouse) -> None:
    first = instruments.ensure(warehouse, ["CCC", "AAA", "BBB", "AAA"])
    assert [symbol for symbol, _ in sorted(first.items(), key=lambda item: item[1])] == ["AAA", "BBB", "CCC"]
    assert instruments.ensure(warehouse, ["BBB", "DDD"]) == {"BBB": first["BBB"], "DDD": max(first.values()) + 1}
    assert warehouse.scalar("SELECT count(*) FROM instruments") == 4


def test_what_is_not_known_leaves_what_is_stored(warehouse: Warehouse) -> None:
    instruments.ensure(warehouse, ["AAA"])
    assert instruments.describe(warehouse, [{"symbol": "AAA", "name": "A Inc.", "sector": "Energy"}]) == 1
    assert instruments.describe(warehouse, [{"symbol": "AAA", "name": None, "delisted_on": date(2021, 12, 3)}]) == 1
    assert instruments.describe(warehouse, [{"symbol": "AAA", "name": "A Inc."}, {"symbol": "ZZZ", "name": "Z"}]) == 0
    stored = reads.find_instrument(warehouse, "aaa")
    assert (stored.name, stored.sector, stored.delisted_on) == ("A Inc.", "Energy", date(2021, 12, 3))


def test_tracking_names_who_was_not_tracked_before_and_drops_nobody(warehouse: Warehouse) -> None:
    a, b, c, _ = sorted(instruments.ensure(warehouse, SYMBOLS).values())
    assert universe.track(warehouse, START, {a: ["benchmark"], b: ["watch_list"]}) == {a, b}
    later = START + timedelta(days=1)
    assert universe.track(warehouse, later, {b: ["watch_list", "index:DOW30"], c: ["source"]}) == {c}
    found = {t.instrument_id: (t.first_tracked, t.reasons) for t in universe.tracked(warehouse)}
    assert found == {
        a: (START, ("benchmark",)),
        b: (START, ("index:DOW30", "watch_list")),
        c: (later, ("source",)),
    }


def test_taken_off_the_watch_list_only_what_nothing_else_holds_leaves(warehouse: Warehouse) -> None:
    a, b, c, d = sorted(instruments.ensure(warehouse, SYMBOLS).values())
    assert universe.watch(warehouse, [a, b, c], NOW) == 3
    universe.track(warehouse, START, {a: ["watch_list"], b: ["index:SP500", "watch_list"], d: ["benchmark"]})
    assert universe.unwatch(warehouse, [a, b, d]) == 2
    assert universe.watched_ids(warehouse) == {c}
    assert [t.instrument_id for t in universe.tracked(warehouse)] == [b, d]
    assert universe.track(warehouse, START + timedelta(days=9), {a: ["watch_list"]}) == {a}
