"""Who was in an index on a day: the published lists of twenty months, and no answer where nothing says so."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import psycopg
import pytest

from quantmatrix_pipeline.errors import MembersUnknown
from quantmatrix_pipeline.providers.answers import IndexSpells, Spell, SymbolChange
from quantmatrix_pipeline.providers.vendors.files.membership import MembershipEntry, monthly_lists, read_membership
from quantmatrix_pipeline.universe.history import apply_changes, keep_index_spells
from quantmatrix_pipeline.warehouse import instruments, membership, naming, universe
from quantmatrix_pipeline.warehouse.engine import Warehouse
from quantmatrix_pipeline_tests.shared_data import shared_data

ANSWERS = Path(__file__).resolve().parents[1] / "answers"
NOW = datetime(2021, 1, 4, tzinfo=UTC)
# Names that the lists of 2018 to 2020 and the stays write differently: each is one company.
RENAMES = [
    SymbolChange("KORS", date(2019, 1, 2), "CPRI"),  # Michael Kors Holdings -> Capri Holdings
    SymbolChange("HRS", date(2019, 7, 1), "LHX"),  # Harris -> L3Harris Technologies
]
MONTHS = 20


@pytest.fixture
def warehouse(database_url: str) -> Iterator[Warehouse]:
    warehouse = Warehouse(database_url)
    yield warehouse
    warehouse.close()


def told(*spells: tuple[str, str | None, str | None], covered: tuple[str, str]) -> IndexSpells:
    def day(text: str | None) -> date | None:
        return None if text is None else date.fromisoformat(text)

    reach = (date.fromisoformat(covered[0]), date.fromisoformat(covered[1]))
    return IndexSpells("files", "SP500", tuple(Spell(s, day(a), day(b)) for s, a, b in spells), (reach,))


def symbols_on(warehouse: Warehouse, day: str) -> list[str]:
    return list(membership.members_on(warehouse, "SP500", date.fromisoformat(day))["symbol"].to_pylist())


def days_of(month: date, spells: IndexSpells) -> list[date]:
    """Return the days of a month on which its members may differ from those of the day before, the first among them."""
    after = (month + timedelta(days=32)).replace(day=1)
    edges = {day for s in spells.spells for day in (s.start, s.end) if day is not None and month < day < after}
    return [month, *sorted(edges)]


def test_the_stays_give_the_published_lists_of_twenty_months(warehouse: Warehouse) -> None:
    """Once renames are mapped to their instruments, each name left over stands in the answer file with its reason."""
    stays = shared_data("constituents", "sp500_ticker_start_end.csv")
    changes = shared_data("constituents", "sp500_changes_since_2019.csv")
    lists = monthly_lists(shared_data("constituents", "monthly_sp500_ndx_dow_2018_2024-06.parquet"), "sp500")
    published = {month: symbols for month, symbols in lists.items() if month <= date(2020, 12, 1)}
    assert len(published) == MONTHS
    spells = read_membership(MembershipEntry("SP500", spells=stays, changes=changes))
    keep_index_spells(warehouse, [spells], NOW)
    named = {s.symbol for s in spells.spells}.union(*published.values()) - {"CPRI", "LHX"}
    instruments.ensure(warehouse, named)
    assert [a.refused for a in apply_changes(warehouse, RENAMES, NOW.date(), source="files", now=NOW)] == [None, None]
    ids = instruments.ensure(warehouse, named)

    found = []
    for month, symbols in published.items():
        listed = {ids[s]: s for s in symbols if s in ids} | {
            instruments.ensure(warehouse, [s])[s]: s for s in symbols - ids.keys()
        }
        differences = []
        for day in days_of(month, spells):
            rows = membership.members_on(warehouse, "sp500", day).to_pylist()
            held = {row["instrument_id"]: row["symbol"] for row in rows}
            assert None not in held
            left_over = [("list", listed[i]) for i in listed.keys() - held.keys()]
            left_over += [("spells", held[i]) for i in held.keys() - listed.keys()]
            differences.append((len(left_over), day, sorted(left_over)))
        _, day, nearest = min(differences)
        found += [(f"{month:%Y-%m}", str(day), side, symbol) for side, symbol in nearest]
    with (ANSWERS / "sp500_leftovers.csv").open() as file:
        answers = list(csv.DictReader(file))
    assert found == [(a["month"], a["day"], a["side"], a["symbol"]) for a in answers]
    assert all(a["reason"] for a in answers)


def test_a_day_that_the_stays_do_not_reach_has_no_answer(warehouse: Warehouse) -> None:
    keep_index_spells(warehouse, [told(("AAA", None, None), covered=("2019-01-02", "2019-12-31"))], NOW)
    ids = instruments.ensure(warehouse, ["AAA", "TODAY"])
    universe.apply_members(
        warehouse, "SP500", date(2021, 1, 4), list(ids.values()), provider_used="files", fallback_used=False, note=None,
        now=NOW,
    )  # fmt: skip
    assert symbols_on(warehouse, "2019-01-02") == symbols_on(warehouse, "2019-12-31") == ["AAA"]
    assert symbols_on(warehouse, "2021-01-04") == ["AAA", "TODAY"]
    for day in ("2019-01-01", "2020-01-01", "2021-01-03", "2021-01-05"):
        with pytest.raises(
            MembersUnknown, match=rf"SP500 on {day} are not known; known are 2019-01-02..2019-12-31, 2021"
        ):
            symbols_on(warehouse, day)
    with pytest.raises(MembersUnknown, match="nothing is known of it over time, only of SP500"):
        membership.members_on(warehouse, "DOW30", date(2019, 6, 28))
    with (
        psycopg.connect(warehouse.url) as connection,
        pytest.raises(psycopg.errors.NoDataFound, match="the members of SP500 on 2020-06-01 are not known"),
    ):
        connection.execute("SELECT * FROM index_members('sp500', '2020-06-01')")


def test_who_leaves_and_returns_has_two_stays_and_is_no_member_between(warehouse: Warehouse) -> None:
    spells = told(
        ("AMD", "1996-01-02", "2013-09-23"), ("AMD", "2017-03-20", None), ("IBM", "1996-01-02", None),
        covered=("1996-01-02", "2020-12-31"),
    )  # fmt: skip
    keep_index_spells(warehouse, [spells], NOW)
    ids = instruments.ensure(warehouse, ["AMD", "IBM"])
    assert symbols_on(warehouse, "2013-09-22") == symbols_on(warehouse, "2017-03-20") == ["AMD", "IBM"]
    assert symbols_on(warehouse, "2013-09-23") == symbols_on(warehouse, "2017-03-19") == ["IBM"]
    stays = warehouse.rows(
        "SELECT start_on, end_on FROM index_stays WHERE index_code = 'SP500' AND instrument_id = :id ORDER BY 1",
        id=ids["AMD"],
    )
    assert [tuple(s) for s in stays] == [(date(1996, 1, 2), date(2013, 9, 23)), (date(2017, 3, 20), None)]


def test_leavers_who_returned_are_members_on_the_days_that_the_index_announced(warehouse: Warehouse) -> None:
    """answers/sp500_returners.csv: the last and the first session of five stays each, as S&P announced the changes."""
    stays = shared_data("constituents", "sp500_ticker_start_end.csv")
    with (ANSWERS / "sp500_returners.csv").open() as file:
        answers = list(csv.DictReader(file))
    symbols = {answer["symbol"] for answer in answers}
    spells = read_membership(MembershipEntry("SP500", spells=stays))
    keep_index_spells(warehouse, [replace(spells, spells=[s for s in spells.spells if s.symbol in symbols])], NOW)
    instruments.ensure(warehouse, symbols)
    found = [
        (a["symbol"], a["day"], "yes" if a["symbol"] in symbols_on(warehouse, a["day"]) else "no") for a in answers
    ]
    assert found == [(a["symbol"], a["day"], a["member"]) for a in answers]


def test_a_rename_is_no_leaving(warehouse: Warehouse) -> None:
    """The stays name FB until 2022-06-09 and META from then on; it is one stay of one instrument."""
    told_so = told(
        ("FB", "2013-12-23", "2022-06-09"), ("META", "2022-06-09", None), covered=("2013-12-23", "2022-12-30")
    )
    keep_index_spells(warehouse, [told_so], NOW)
    own = instruments.ensure(warehouse, ["FB"])["FB"]
    naming.rename(warehouse, "FB", "META", date(2022, 6, 9), source="operator", now=NOW)
    for day, symbol in (("2022-06-08", "FB"), ("2022-06-09", "META")):
        (row,) = membership.members_on(warehouse, "SP500", date.fromisoformat(day)).to_pylist()
        assert (row["symbol"], row["instrument_id"], row["current_symbol"]) == (symbol, own, "META")
    (stay,) = warehouse.rows("SELECT symbol, start_on, end_on FROM index_stays")
    assert tuple(stay) == ("META", date(2013, 12, 23), None)


def test_the_same_stays_again_change_nothing_and_others_take_their_place(warehouse: Warehouse) -> None:
    first = told(("AAA", None, None), ("BBB", "2019-03-01", None), covered=("2019-01-02", "2019-12-31"))
    assert keep_index_spells(warehouse, [first], NOW) == ["SP500"]
    assert keep_index_spells(warehouse, [first], NOW + timedelta(days=1)) == []
    (reach,) = warehouse.rows("SELECT updated_at FROM index_coverage")
    assert reach.updated_at == NOW
    other = told(("AAA", None, "2019-03-01"), ("BBB", "2019-03-01", None), covered=("2019-01-02", "2019-06-28"))
    assert keep_index_spells(warehouse, [other], NOW) == ["SP500"]
    assert symbols_on(warehouse, "2019-03-01") == ["BBB"]
    with pytest.raises(MembersUnknown):
        symbols_on(warehouse, "2019-07-01")


def test_lists_of_neighbouring_nights_make_one_stretch_and_a_gap_between_them_has_no_answer(
    warehouse: Warehouse,
) -> None:
    a, b = instruments.ensure(warehouse, ["AAA", "BBB"]).values()
    for day, ids, true_then in (
        ("2021-01-04", [a, b], True), ("2021-01-08", [a], True), ("2021-01-29", [a, b], True),
        ("2021-02-01", [b], False),
    ):  # fmt: skip
        universe.apply_members(
            warehouse, "SP500", date.fromisoformat(day), ids, provider_used="wikipedia", fallback_used=False, note=None,
            now=NOW, true_then=true_then,
        )  # fmt: skip
    reaches = [(str(r.covered_from), str(r.covered_to)) for r in membership.reaches(warehouse, "SP500")]
    assert reaches == [("2021-01-04", "2021-01-08"), ("2021-01-29", "2021-01-29")]
    assert symbols_on(warehouse, "2021-01-07") == ["AAA", "BBB"]
    assert symbols_on(warehouse, "2021-01-08") == ["AAA"]
    for day in ("2021-01-09", "2021-01-28", "2021-02-01"):
        with pytest.raises(MembersUnknown):
            symbols_on(warehouse, day)
