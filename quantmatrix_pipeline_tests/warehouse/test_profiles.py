"""Versions of what companies are: dated without a gap, only where something changed, whatever is said by whom."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quantmatrix_pipeline.warehouse import instruments, profiles, universe
from quantmatrix_pipeline.warehouse.engine import Warehouse
from quantmatrix_pipeline.warehouse.profiles import Facts, Said

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
TODAY = NOW.date()
APPLE = Facts("Apple Inc.", "NASDAQ", "Information Technology", None, None, 3.1e12, "USD", date(2027, 1, 28))

_texts = st.none() | st.text(
    st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), min_size=1, max_size=8
)
_facts = st.builds(
    Facts,
    name=_texts,
    sector=st.sampled_from([None, "Energy", "Energie"]),
    market_cap=st.none() | st.floats(1e-300, 1e300),
    next_earnings=st.none() | st.dates(date(2026, 1, 1), date(2027, 1, 1)),
)


@pytest.fixture
def warehouse(database_url: str) -> Iterator[Warehouse]:
    warehouse = Warehouse(database_url)
    yield warehouse
    warehouse.close()


def track(warehouse: Warehouse, *symbols: str) -> dict[str, int]:
    ids = instruments.ensure(warehouse, symbols)
    universe.track(warehouse, TODAY, {i: ["watch_list"] for i in ids.values()})
    return ids


def versions(warehouse: Warehouse, instrument_id: int) -> Sequence[Any]:
    return warehouse.rows("SELECT * FROM company_profiles WHERE instrument_id = :id ORDER BY version", id=instrument_id)


def test_a_change_is_a_new_version_and_the_one_before_keeps_its_dates(warehouse: Warehouse) -> None:
    apple = track(warehouse, "AAPL")["AAPL"]
    later, latest = NOW + timedelta(days=7), NOW + timedelta(days=14)
    assert profiles.keep(warehouse, [Said(apple, "fmp", APPLE)], [(apple, "fmp")], NOW) == 1
    assert profiles.keep(warehouse, [Said(apple, "yfinance", APPLE)], [(apple, "yfinance")], later) == 0
    dearer = replace(APPLE, market_cap=3.2e12)
    assert profiles.keep(warehouse, [Said(apple, "finnhub", dearer)], [(apple, "finnhub")], latest) == 1
    first, second = versions(warehouse, apple)
    assert (first.version, first.vendor, first.market_cap, first.as_of) == (1, "fmp", 3.1e12, NOW)
    assert first.superseded_at == second.as_of == latest
    assert (second.version, second.vendor, second.market_cap, second.superseded_at) == (2, "finnhub", 3.2e12, None)
    assert (second.name, second.next_earnings) == ("Apple Inc.", date(2027, 1, 28))


def test_a_check_is_noted_also_where_nothing_changed_or_nobody_knew_anything(warehouse: Warehouse) -> None:
    ids = track(warehouse, "AAPL", "NOPE")
    profiles.keep(warehouse, [Said(ids["AAPL"], "fmp", APPLE)], [(ids["AAPL"], "fmp")], NOW)
    later = NOW + timedelta(days=7)
    profiles.keep(warehouse, [Said(ids["AAPL"], "fmp", APPLE)], [(ids["AAPL"], "fmp"), (ids["NOPE"], "finnhub")], later)
    known = {c.symbol: c for c in profiles.companies(warehouse, TODAY)}
    assert (known["AAPL"].checked_at, known["AAPL"].current) == (later, APPLE)
    assert (known["NOPE"].checked_at, known["NOPE"].current) == (later, None)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(said=st.lists(st.lists(st.tuples(st.sampled_from(["A", "B"]), _facts), max_size=2), min_size=1, max_size=5))
def test_versions_follow_each_other_without_a_gap_and_the_last_is_what_was_said_last(
    warehouse: Warehouse, said: list[list[tuple[str, Facts]]]
) -> None:
    ids = track(warehouse, "A", "B")
    warehouse.execute("TRUNCATE company_profiles, company_profile_checks")
    newest: dict[str, Facts] = {}
    for day, answers in enumerate(said):
        told = dict(answers)
        changed = profiles.keep(
            warehouse, [Said(ids[s], "fmp", facts) for s, facts in told.items()], [], NOW + timedelta(days=day)
        )
        assert changed == sum(s not in newest or newest[s] != facts for s, facts in told.items())
        newest |= told
    for instrument_id in ids.values():
        rows = versions(warehouse, instrument_id)
        assert [row.version for row in rows] == list(range(1, len(rows) + 1))
        for one, following in pairwise(rows):
            assert one.superseded_at == following.as_of > one.as_of
        assert [row.superseded_at is None for row in rows] == [False] * (len(rows) - 1) + [True] * bool(rows)
    current = {c.symbol: c.current for c in profiles.companies(warehouse, TODAY)}
    assert current == {symbol: newest.get(symbol) for symbol in ids}


def test_two_at_once_leave_one_version_in_force(warehouse: Warehouse) -> None:
    ids = track(warehouse, *(f"S{n}" for n in range(40)))

    def say(vendor: int) -> int:
        return sum(
            profiles.keep(
                warehouse,
                [Said(i, f"v{vendor}", replace(APPLE, market_cap=float(vendor + 1))) for i in order(ids, vendor)],
                [(i, f"v{vendor}") for i in order(ids, vendor)],
                NOW + timedelta(seconds=turn),
            )
            for turn in range(5)
        )

    with ThreadPoolExecutor(4) as threads:
        made = sum(threads.map(say, range(4)))
    assert warehouse.scalar("SELECT count(*) FROM company_profiles") == made
    assert warehouse.scalar("SELECT count(*) FROM company_profiles WHERE superseded_at IS NULL") == len(ids)
    assert warehouse.scalar("SELECT count(*) FROM company_profile_checks") == len(ids)


def order(ids: dict[str, int], vendor: int) -> list[int]:
    return sorted(ids.values(), reverse=vendor % 2 == 1)


def test_asked_first_is_who_was_never_checked_then_who_was_longest_ago(warehouse: Warehouse) -> None:
    ids = track(warehouse, "A", "B", "C", "D", "E")
    for days, symbol in enumerate("EBD"):
        profiles.keep(warehouse, [], [(ids[symbol], "fmp")], NOW - timedelta(days=days))
    assert [c.symbol for c in profiles.companies(warehouse, TODAY)] == ["A", "C", "D", "B", "E"]


def test_only_tracked_stocks_and_funds_that_are_listed_are_companies(warehouse: Warehouse) -> None:
    track(warehouse, "STOCK", "SPY", "GONE", "GOES", "BTC-USD", "SPX")
    instruments.ensure(warehouse, ["IDLE"])
    instruments.describe(
        warehouse,
        [
            {"symbol": "SPY", "kind": "fund"},
            {"symbol": "BTC-USD", "kind": "crypto"},
            {"symbol": "SPX", "kind": "index"},
            {"symbol": "GONE", "delisted_on": TODAY},
            {"symbol": "GOES", "delisted_on": TODAY + timedelta(days=1)},
        ],
    )
    assert [c.symbol for c in profiles.companies(warehouse, TODAY)] == ["GOES", "SPY", "STOCK"]


def test_people_find_companies_by_symbol_with_the_lists_word_before_the_vendors(warehouse: Warehouse) -> None:
    ids = track(warehouse, "AAPL", "NOPE")
    instruments.describe(warehouse, [{"symbol": "AAPL", "sector": "Technology", "sub_industry": "Hardware"}])
    profiles.keep(warehouse, [Said(ids["AAPL"], "fmp", APPLE)], [(ids["AAPL"], "fmp")], NOW)
    apple, nobody = warehouse.rows("SELECT * FROM companies ORDER BY symbol")
    assert (apple.symbol, apple.name, apple.sector, apple.sub_industry) == (
        "AAPL",
        "Apple Inc.",
        "Technology",
        "Hardware",
    )
    assert (apple.market_cap, apple.market_cap_currency, apple.vendor, apple.checked_at) == (3.1e12, "USD", "fmp", NOW)
    assert (nobody.symbol, nobody.sector, nobody.market_cap, nobody.checked_at) == ("NOPE", None, None, None)
