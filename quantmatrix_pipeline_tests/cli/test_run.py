"""`qm run` as a user gives it: sessions, ranges, JSON, and refusals that say what would be right."""

from __future__ import annotations

import json
from datetime import date

import psycopg
import pytest

from quantmatrix_pipeline_tests.cli.conftest import Installation


def test_a_holiday_is_refused_with_the_nearest_sessions_and_writes_nothing(migrated: Installation) -> None:
    done = migrated.qm("run", "--session", "2021-12-24")
    assert done.code == 2
    assert "2021-12-23" in done.error
    assert "2021-12-27" in done.error
    with psycopg.connect(migrated.url) as connection:
        assert connection.execute("SELECT count(*) FROM price_data").fetchone() == (0,)
        assert connection.execute("SELECT count(*) FROM symbol_universe").fetchone() == (0,)


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["--session", "2022-01-10"], "2022-01-10 can't be run yet"),
        (["--session", "2019-12-31"], "QM_START_SESSION"),
        (["--since", "2021-12-25", "--until", "2021-12-26"], "no session"),
        (["--until", "2021-12-31"], "--since"),
        (["--session", "2021-12-31", "--since", "2021-12-01"], "not both"),
    ],
)
def test_what_cannot_be_run_is_refused_in_one_line(migrated: Installation, arguments: list[str], why: str) -> None:
    done = migrated.qm("run", *arguments)
    assert done.code == 2
    assert why in done.error


def test_a_range_runs_from_its_first_to_its_last_session_and_json_tells_what_it_did(migrated: Installation) -> None:
    done = migrated.qm("run", "--since", "2021-12-24", "--until", "2021-12-29", "--json")
    assert done.code == 0, done.stderr
    report = json.loads(done.stdout)
    assert (report["first"], report["last"], report["succeeded"]) == ("2021-12-27", "2021-12-29", True)
    with psycopg.connect(migrated.url) as connection:
        stored = connection.execute("SELECT count(*), max(session) FROM price_data").fetchone()
        recorded = connection.execute("SELECT count(*), min(session), max(session) FROM market_analysis_history")
        history = recorded.fetchone()
    assert stored == (report["facts"]["daily_bars"]["inserted"], date(2021, 12, 29))
    assert history == (report["facts"]["indicator_history"]["recorded"], date(2021, 12, 27), date(2021, 12, 29))


def test_the_newest_session_is_run_unless_one_is_named_and_a_second_run_writes_nothing(filled: Installation) -> None:
    done = filled.qm("run", "--json")
    assert done.code == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["first"] == report["last"] == str(filled.folder.sessions[-1])
    assert report["facts"]["daily_bars"]["inserted"] == report["facts"]["daily_bars"]["revised"] == 0
    assert report["facts"]["indicator_history"]["recorded"] == report["facts"]["indicator_history"]["restated"] == 0


def test_the_report_for_people_says_what_was_written_and_where_to_look_next(migrated: Installation) -> None:
    done = migrated.qm("run")
    assert done.code == 0, done.stderr
    with psycopg.connect(migrated.url) as connection:
        (bars,) = connection.execute("SELECT count(*) FROM price_data").fetchone() or (None,)
        (refused,) = connection.execute("SELECT count(*) FROM validation_log").fetchone() or (None,)
    assert f"{bars:,} written" in done.stdout
    assert f"{refused:,} rejected" in done.stdout
    assert "next: `qm status`" in done.stdout
    # No terminal is there: a line per fact, however long.
    (steps,) = [line for line in done.stdout.splitlines() if line.startswith("steps")]
    assert len(steps) > 80
    assert {"index_constituents", "indicator_history", "coverage_report"} <= set(steps.split())
    assert "Traceback" not in done.stderr
