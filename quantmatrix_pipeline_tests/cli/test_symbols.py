"""`qm symbols`: the watch list as a user keeps it."""

from __future__ import annotations

import json

import psycopg

from quantmatrix_pipeline_tests.cli.conftest import Installation


def watched(installation: Installation) -> list[str]:
    with psycopg.connect(installation.url) as connection:
        rows = connection.execute("SELECT symbol FROM watch_list JOIN symbols USING (instrument_id) ORDER BY symbol")
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
