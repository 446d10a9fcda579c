"""Index members over time out of files: stays, changes to a list, a file per year, a list per month."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantmatrix_pipeline.errors import ConfigurationError
from quantmatrix_pipeline.providers.answers import IndexSpells
from quantmatrix_pipeline.providers.vendors.files import FilesProvider
from quantmatrix_pipeline.providers.vendors.files.membership import (
    Change,
    MembershipEntry,
    from_changes,
    read_membership,
)
from quantmatrix_pipeline_tests.shared_data import shared_data
from quantmatrix_pipeline_tests.unit.providers.vendors.folders import HEADER, RAW, folder

BARS = {"bars.csv": f"{HEADER}\nA,2021-01-04,1,2,0.5,1.5,1\n"}


def read(tmp_path: Path, declaration: str, files: dict[str, str]) -> IndexSpells:
    """Read the one [membership] table of a folder."""
    folder(tmp_path, RAW + declaration, BARS | files)
    (spells,) = FilesProvider(tmp_path).index_spells()
    return spells


def members(spells: IndexSpells, day: str) -> str | None:
    found = spells.members_on(date.fromisoformat(day))
    return None if found is None else " ".join(sorted(found))


def test_stays_reach_from_their_first_start_to_their_last_change(tmp_path: Path) -> None:
    spells = read(
        tmp_path,
        "[membership.SP500]\nspells = 'stays.csv'\n",
        {"stays.csv": "ticker,start_date,end_date\nA,2019-01-02,\nBRK-B,2019-01-02,2019-06-03\nC,2019-06-03,\n"},
    )
    assert spells.covered == ((date(2019, 1, 2), date(2019, 6, 3)),)
    assert [members(spells, d) for d in ("2019-01-02", "2019-06-02", "2019-06-03")] == ["A BRK.B", "A BRK.B", "A C"]
    assert members(spells, "2019-01-01") is members(spells, "2019-06-04") is None


def test_later_changes_go_on_from_the_stays_and_the_reach_may_be_declared(tmp_path: Path) -> None:
    spells = read(
        tmp_path,
        "[membership.SP500]\nspells = 'stays.csv'\nchanges = 'changes.csv'\nfrom = 2019-03-01\nto = 2020-12-31\n",
        {
            "stays.csv": "symbol,start,end\nA,,\nB,2019-01-02,2019-06-03\nC,2019-06-03,\n",
            "changes.csv": 'date,add,remove\n2019-06-03,"C","B"\n2020-02-03,"D,E",""\n2020-03-02,"","C,D"\n',
        },
    )
    assert spells.covered == ((date(2019, 3, 1), date(2020, 12, 31)),)
    days = ("2019-03-01", "2019-06-03", "2020-02-03", "2020-03-02", "2020-12-31")
    assert [members(spells, d) for d in days] == ["A B", "A C", "A C D E", "A E", "A E"]
    assert [(s.symbol, s.start, s.end) for s in spells.spells if s.symbol in "AC"] == [
        ("A", None, None), ("C", date(2019, 6, 3), date(2020, 3, 2))
    ]  # fmt: skip


def test_a_list_of_a_day_is_walked_back_and_on_through_the_changes(tmp_path: Path) -> None:
    spells = read(
        tmp_path,
        "[membership.DOW30]\nmembers = 'now.csv'\non = 2020-09-30\nchanges = 'changes.csv'\n",
        {
            "now.csv": "symbol\nA\nB\n",
            "changes.csv": "date,add,remove\n2021-02-01,C,A\n2020-08-31,B,X\n2019-04-02,X,Y\n",
        },
    )
    assert spells.covered == ((date(2019, 4, 2), date(2021, 2, 1)),)
    assert [members(spells, d) for d in ("2019-04-02", "2020-08-31", "2021-02-01")] == ["A X", "A B", "B C"]


YEAR = """---
year: {year}
tickers_on_Jan_1:
  - {first}
  - ON
changes:
  '{year}-06-01':
    difference:
      - {first}
    union:
      - {second}
"""


def test_years_are_read_with_the_ticker_on_and_each_begins_as_the_one_before_ended(tmp_path: Path) -> None:
    (tmp_path / "years").mkdir()
    files = {
        "years/2019.yaml": YEAR.format(year=2019, first="A", second="B"),
        "years/2020.yaml": YEAR.format(year=2020, first="B", second="C"),
    }
    spells = read(tmp_path, "[membership.NASDAQ100]\nyears = 'years/*.yaml'\n", files)
    assert spells.covered == ((date(2019, 1, 1), date(2020, 6, 1)),)
    assert [members(spells, d) for d in ("2019-01-01", "2019-06-01", "2020-06-01")] == ["A ON", "B ON", "C ON"]


@pytest.mark.parametrize(
    ("kind", "file", "says"),
    [
        ("spells", "symbol,start,end\nA,2019-01-02,\nA,2020-01-02,\n", "A is in from 2019-01-02 to now and again from"),
        ("spells", "symbol\nA\n", "has no start and no end"),
        ("changes", "date,add,remove\n2020-02-03,,Z\n", "changes.csv: row 2: Z can't be a member and not be one"),
        ("changes", "date,add,remove\n2020-02-03,A,\n", "changes.csv: row 2: A is a member already"),
        ("changes", "date,add,remove\n2020-02-30,B,\n", "row 2, column 'date': '2020-02-30' is no ISO date"),
        ("changes", "date,add,remove\n2020-02-03,<b>,\n", "row 2, column 'add': '<b>' is no symbol"),
        ("changes", "date,add\n2020-02-03,B\n", "column 'remove': missing"),
        ("years", "year: 2020\n", "is no year of an index"),
        ("years", YEAR.format(year=2020, first="A", second="ON"), "is a member already"),
        ("years", YEAR.format(year=2020, first="<A>", second="B"), "tickers_on_Jan_1: '<A>' is no symbol"),
        ("years", "- [unclosed", "no valid YAML"),
        ("lists", "month,index,symbol\n2020-13,DOW30,A\n", "row 2, column 'month': '2020-13' is no month"),
        ("lists", "month,index,symbol\n2020-01,sp500,A\n", "has no list of 'DOW30'"),
        ("lists", "month,index,symbol\n2020-01,DOW30,A\n2020-02,DOW30,B\n", "no two lists of DOW30 in a row are equal"),
    ],
)
def test_a_file_that_is_not_as_declared_or_contradicts_itself_is_named(
    tmp_path: Path, kind: str, file: str, says: str
) -> None:
    table = f"[membership.DOW30]\n{kind} = '{kind}.csv'\n"
    files = {f"{kind}.csv": file}
    if kind == "changes":
        table = "[membership.DOW30]\nspells = 'stays.csv'\nchanges = 'changes.csv'\n"
        files["stays.csv"] = "symbol,start,end\nA,2019-01-02,\n"
    with pytest.raises(ConfigurationError) as error:
        read(tmp_path, table, files)
    assert says in str(error.value)


def test_a_year_that_begins_otherwise_or_is_missing_is_refused(tmp_path: Path) -> None:
    (tmp_path / "y").mkdir()
    declared = "[membership.NASDAQ100]\nyears = 'y/*.yaml'\n"
    first = {"y/2019.yaml": YEAR.format(year=2019, first="A", second="B")}
    with pytest.raises(ConfigurationError, match=r"2020\.yaml: begins with other members .* B, C"):
        read(tmp_path, declared, first | {"y/2020.yaml": YEAR.format(year=2020, first="C", second="D")})
    (tmp_path / "y" / "2020.yaml").unlink()
    with pytest.raises(ConfigurationError, match="there is no file of 2020"):
        read(tmp_path, declared, first | {"y/2021.yaml": YEAR.format(year=2021, first="B", second="C")})


def test_monthly_lists_say_nothing_of_the_days_around_a_change(tmp_path: Path) -> None:
    months = {
        "2020-01": "AB", "2020-02": "AB", "2020-03": "AB", "2020-04": "AC", "2020-05": "AC",
        "2020-07": "AC", "2020-08": "AC",
    }  # fmt: skip
    lines = [(m, s) for m, listed in months.items() for s in listed]
    path = tmp_path / "lists.parquet"
    pq.write_table(
        pa.table({"month": [m for m, _ in lines], "index": ["dow"] * len(lines), "symbol": [s for _, s in lines]}), path
    )
    spells = read_membership(MembershipEntry("DOW30", lists=path, name="dow"))
    assert [(str(a), str(b)) for a, b in spells.covered] == [
        ("2020-01-31", "2020-03-01"), ("2020-04-30", "2020-05-01"), ("2020-07-31", "2020-08-01")
    ]  # fmt: skip
    assert [members(spells, d) for d in ("2020-03-01", "2020-03-02", "2020-05-01", "2020-06-15")] == [
        "A B", None, "A C", None
    ]  # fmt: skip


def test_a_month_with_a_row_without_a_symbol_is_no_list(tmp_path: Path) -> None:
    path = tmp_path / "lists.csv"
    path.write_text("month,index,symbol\n2020-01,dow,A\n2020-01,dow,\n2020-02,dow,A\n2020-03,dow,A\n")
    spells = read_membership(MembershipEntry("DOW30", lists=path, name="dow"))
    assert spells.covered == ((date(2020, 2, 29), date(2020, 3, 1)),)


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    folder(tmp_path, RAW + "[membership.DOW30]\nspells = 's.csv'\n", BARS | {"s.csv": "symbol,start\nA,2019-01-02\n"})
    provider = FilesProvider(tmp_path)
    (before,) = provider.index_spells()
    assert provider.index_spells()[0] is before
    (tmp_path / "s.csv").write_text("symbol,start\nA,2019-01-02\nB,2019-01-03\n")
    assert len(provider.index_spells()[0].spells) == 2


@given(
    st.sets(st.sampled_from("ABCDEF")),
    st.lists(st.tuples(st.sets(st.sampled_from("ABCDEF")), st.integers(0, 3)), max_size=8),
    st.integers(0, 8),
)
def test_from_whatever_day_the_walk_begins_it_finds_the_same_stays(
    start: set[str], steps: list[tuple[set[str], int]], anchor: int
) -> None:
    day, state, changes, states = date(2020, 1, 1), set(start), [], [(date(2020, 1, 1), frozenset(start))]
    for toggled, wait in steps:
        day = date.fromordinal(day.toordinal() + wait + 1)
        changes.append(Change(day, frozenset(toggled - state), frozenset(toggled & state), "a row"))
        state ^= toggled
        states.append((day, frozenset(state)))
    on, known = states[min(anchor, len(steps))]
    spells = IndexSpells("files", "DOW30", from_changes(known, on, changes), ((date(2020, 1, 1), day),))
    for then, expected in states:
        assert spells.members_on(then) == expected


def test_the_published_years_of_the_nasdaq_100_hold_together() -> None:
    years = tuple(sorted(shared_data("constituents", "n100_changes").glob("*.yaml")))
    spells = read_membership(MembershipEntry("NASDAQ100", years=years))
    assert spells.covered == ((date(2015, 1, 1), date(2026, 6, 22)),)
    assert {"META", "ON"} <= (spells.members_on(date(2024, 1, 2)) or frozenset())
    counts = {len(spells.members_on(date(year, 7, 1)) or ()) for year in range(2015, 2026)}
    assert min(counts) >= 100
    assert max(counts) <= 109


def test_the_published_stays_of_the_sp_500_go_on_with_its_changes() -> None:
    folder_of = shared_data("constituents")
    entry = MembershipEntry(
        "SP500", spells=folder_of / "sp500_ticker_start_end.csv", changes=folder_of / "sp500_changes_since_2019.csv"
    )
    spells = read_membership(entry)
    assert spells.covered == ((date(1996, 1, 2), date(2025, 11, 11)),)
    assert len(spells.members_on(date(2019, 6, 28)) or ()) == 505
    last = spells.members_on(date(2025, 11, 11)) or frozenset()
    assert {"XYZ", "IBKR", "APP", "Q", "FISV"} <= last
    assert not {"WBA", "PARA", "FI", "KMX"} & last


def test_the_published_lists_of_the_dow_hold_between_its_changes() -> None:
    path = shared_data("constituents", "monthly_sp500_ndx_dow_2018_2024-06.parquet")
    spells = read_membership(MembershipEntry("DOW30", lists=path, name="dowjones"))
    assert spells.covered == ((date(2023, 7, 31), date(2024, 2, 1)), (date(2024, 3, 31), date(2024, 6, 1)))
    before, after = (spells.members_on(day) or frozenset() for day in (date(2024, 2, 1), date(2024, 3, 31)))
    assert (after - before, before - after) == ({"AMZN"}, {"WBA"})
