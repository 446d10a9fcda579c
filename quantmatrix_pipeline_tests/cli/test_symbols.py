"""`qm symbols`: the watch list as a user keeps it."""

from __future__ import annotations

import json
from dataclasses import replace

import psycopg
import pytest

from quantmatrix_pipeline_tests.cli.conftest import Installation


def watched(installation: Installation) -> list[str]:
    with psycopg.connect(installation.url) as connection:
        rows = connection.execute(
            "SELECT symbol FROM watch_list JOIN symbols USING (instrument_id) WHERE valid_to IS NULL ORDER BY 1"
        )
        return [symbol for (symbol,) in rows]


def test_symbols_are_added_in_canonical_form_once_and_removed_again(migrated: Installation) -> None:
    assert "2 added" in migrated.qm("symbols", "add", "aapl", "BRK-B").stdout
    assert watched(migrated) == ["AAPL", "BRK.B"]
    again = migrated.qm("symbols", "add", "AAPL", "msft").stdout
    assert "1 added, 1 were" in again
    assert "1 removed" in migrated.qm("symbols", "remove", "BRK.B").stdout
    assert watched(migrated) == ["AAPL", "MSFT"]


def test_a_watched_symbol_is_fetched_by_the_next_run_and_listed_with_its_reason(migrated: Installation) -> None:
    migrated.qm("symbols", "add", "S003")
    assert migrated.qm("run").code == 0
    listed = {row["symbol"]: row["reasons"] for row in json.loads(migrated.qm("symbols", "list", "--json").stdout)}
    assert "watch_list" in listed["S003"]
    assert "index:DOW30" in listed["S003"]
    assert f"{len(listed)} tracked" in migrated.qm("symbols", "list").stdout


def test_what_can_be_no_symbol_is_refused_and_nothing_of_the_command_is_done(migrated: Installation) -> None:
    done = migrated.qm("symbols", "add", "AAPL", "not a symbol!")
    assert done.code == 2
    assert "not a symbol!" in done.error
    assert watched(migrated) == []


def test_a_symbol_that_nobody_bears_cannot_be_removed(migrated: Installation) -> None:
    done = migrated.qm("symbols", "remove", "NOBODY")
    assert done.code == 2
    assert "NOBODY" in done.error


@pytest.fixture
def later(migrated: Installation) -> Installation:
    """An installation at a time after all that is declared in these tests."""
    return replace(migrated, more={"QM_NOW": "2023-01-03T12:00:00Z"})


def test_a_rename_a_reuse_and_whom_a_name_meant_on_a_day(later: Installation) -> None:
    later.qm("symbols", "add", "FB")
    said = later.qm("symbols", "rename", "FB", "META", "--on", "2022-06-09")
    assert "FB is META from 2022-06-09 on; nothing else moved" in said.stdout
    assert "as was known" in later.qm("symbols", "rename", "FB", "META", "--on", "2022-06-09").stdout
    assert watched(later) == ["META"]
    assert "another company" in later.qm("symbols", "reuse", "FB", "--on", "2022-09-01", "--name", "Other").stdout
    names = json.loads(later.qm("symbols", "names", "FB", "--json").stdout)
    assert [(n["symbol"], n["valid_to"], n["name"], n["source"]) for n in names] == [
        ("FB", "2022-06-09", None, "operator"), ("META", None, None, None), ("FB", None, "Other", None)
    ]  # fmt: skip
    assert "2022-06-09" in later.qm("symbols", "names", "META").stdout


def test_a_change_of_names_that_can_not_be_is_one_line_and_does_nothing(later: Installation) -> None:
    assert "no instrument bore FB" in later.qm("symbols", "rename", "FB", "META", "--on", "2022-06-09").error
    later.qm("symbols", "add", "FB", "META")
    taken = later.qm("symbols", "rename", "FB", "META", "--on", "2022-06-09")
    assert taken.code == 2
    assert "qm symbols rename FB META --on 2022-06-09 --absorb" in taken.error
    future = later.qm("symbols", "rename", "FB", "MVRS", "--on", "2022-06-09", QM_NOW="2022-06-08T23:00:00Z")
    assert "2022-06-09 has not come yet (today is 2022-06-08)" in future.error
    assert watched(later) == ["FB", "META"]


def test_members_on_a_day_and_no_other_days_list_where_it_is_not_known(later: Installation) -> None:
    unknown = later.qm("symbols", "members", "sp500", "--on", "2019-06-28")
    assert unknown.code == 2
    assert "the members of SP500 on 2019-06-28 are not known" in unknown.error
    assert unknown.stdout == ""
    with psycopg.connect(later.url) as connection:
        connection.execute("INSERT INTO index_spells VALUES ('SP500', 'AAPL', '1996-01-02', NULL, 'files')")
        connection.execute(
            "INSERT INTO index_coverage VALUES ('SP500', 'spells', '2019-01-02', '2019-12-31', 'files', now())"
        )
    shown = later.qm("symbols", "members", "sp500", "--on", "2019-06-28").stdout
    assert "1 members of SP500 on 2019-06-28, from files" in shown
    (row,) = json.loads(later.qm("symbols", "members", "SP500", "--on", "2019-06-28", "--json").stdout)
    assert (row["symbol"], row["start_on"]) == ("AAPL", "1996-01-02")


def test_the_difference_of_two_nights_is_shown(later: Installation) -> None:
    with psycopg.connect(later.url) as connection:
        connection.execute("""
            INSERT INTO universe_versions VALUES
                ('2022-06-08', repeat('a', 64), '{AAPL,FB,GONE}', '{T0,T1,T2}', now()),
                ('2022-06-09', repeat('b', 64), '{AAPL,ENPH,FB}', '{T1,T2,T1}', now())
        """)
    shown = later.qm("symbols", "diff", "2022-06-08", "2022-06-09").stdout.splitlines()
    assert shown == [
        "2022-06-08       3 tracked  aaaaaaaaaaaa", "2022-06-09       3 tracked  bbbbbbbbbbbb",
        "+ ENPH", "- GONE", "~ AAPL T0 -> T1",
    ]  # fmt: skip
    found = json.loads(later.qm("symbols", "diff", "2022-06-09", "2022-06-08", "--json").stdout)
    assert (found["from"], found["joined"], found["left"]) == ("2022-06-08", ["ENPH"], ["GONE"])
    missing = later.qm("symbols", "diff", "2022-06-07", "2022-06-09")
    assert missing.code == 2
    assert "no tracked set was recorded for 2022-06-07; the nearest ones are of 2022-06-08" in missing.error
