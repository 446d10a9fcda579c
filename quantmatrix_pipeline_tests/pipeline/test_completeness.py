"""Every missing bar has its reason, what is accepted is left alone, and a cursor stands before the first hole.

A constructed universe: a listing that a source names and one that only its first bar shows, a delisting, a halt, a
refused bar, a hole, a half day (2021-11-26) and two holidays. The answer file was written by hand from the calendar.
"""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from quantmatrix_pipeline.cli.main import app
from quantmatrix_pipeline.coverage.gaps import scan
from quantmatrix_pipeline.coverage.report import coverage_as_of
from quantmatrix_pipeline.warehouse import fetches, instruments
from quantmatrix_pipeline.warehouse.engine import Warehouse
from quantmatrix_pipeline_tests.pipeline.running import CALENDAR, Chain, Folder, sessions, walk

DAYS = sessions("2021-12-31", 30)
TONIGHT = DAYS[-1]
SYMBOLS = ["GONE", "HALT", "HOLE", "LATE", "NEWER", "SPY", "WRONG"]
ANSWER = Path(__file__).parents[1] / "answers" / "missing_bars.csv"
NOW = datetime(2022, 1, 1, tzinfo=UTC)


def day(text: str) -> date:
    return date.fromisoformat(text)


def universe() -> pd.DataFrame:
    bars = walk(SYMBOLS, DAYS)
    without = {
        "GONE": lambda d: d >= day("2021-12-28"),
        "HALT": lambda d: day("2021-12-06") <= d <= day("2021-12-08"),
        "HOLE": lambda d: day("2021-12-14") <= d <= day("2021-12-15"),
        "LATE": lambda d: d <= day("2021-12-02"),
        "NEWER": lambda d: d <= day("2021-12-09"),
    }
    kept = [not (s in without and without[s](d)) for s, d in zip(bars["symbol"], bars["date"], strict=True)]
    wrong = (bars["symbol"] == "WRONG") & (bars["date"] == day("2021-12-20"))
    bars.loc[wrong, "high"] = bars.loc[wrong, "low"] / 2
    return bars[kept]


@pytest.fixture
def told(chain: Chain, folder: Folder) -> Chain:
    """A night over the universe, and the halt accepted."""
    folder.write(universe(), instruments="symbol,listed_on,delisted_on\nLATE,2021-12-02,\nGONE,,2021-12-28\n")
    assert chain.run(TONIGHT).success
    accepted = ["gaps", "accept", "2021-12-06", "2021-12-08", "--symbol", "HALT", "--reason", "halted"]
    done = CliRunner().invoke(app, [*accepted, "--note", "news pending", "--by", "ann"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return chain


def missing(warehouse: Warehouse) -> pd.DataFrame:
    rows = warehouse.rows("SELECT * FROM missing_bars ORDER BY symbol, first_session")
    columns = ("symbol", "first_session", "last_session", "sessions", "reason", "accepted")
    return pd.DataFrame([{name: getattr(row, name) for name in columns} for row in rows])


def test_every_missing_bar_has_the_reason_of_the_answer_file(told: Chain, warehouse: Warehouse) -> None:
    answer = pd.read_csv(ANSWER, parse_dates=["first_session", "last_session"])
    for name in ("first_session", "last_session"):
        answer[name] = answer[name].dt.date
    pd.testing.assert_frame_equal(missing(warehouse), answer)
    why = {
        ("SPY", "2021-11-25"): "holiday",
        ("SPY", "2021-11-26"): "stored",
        ("SPY", "2021-11-27"): "weekend",
        ("HALT", "2021-12-07"): "halted",
        ("WRONG", "2021-12-20"): "rejected",
        ("late", "2021-11-30"): "not_listed",
        ("GONE", "2021-12-31"): "delisted",
        ("SPY", "2019-01-02"): "not scanned",
        ("NOBODY", "2021-12-20"): None,
    }
    for (symbol, on), reason in why.items():
        assert warehouse.scalar("SELECT why_no_bar(:s, :d)", s=symbol, d=day(on)) == reason, (symbol, on)
    half = warehouse.rows("SELECT day, minutes FROM exchange_days WHERE kind = 'half_day'")
    assert [(row.day, row.minutes) for row in half] == [(day("2021-11-26"), 210)]


def test_a_scan_that_finds_the_same_writes_nothing(told: Chain, warehouse: Warehouse) -> None:
    again = scan(warehouse, CALENDAR, TONIGHT, depth=30, now=NOW)
    assert (again.came, again.gone, again.cursors) == (0, 0, 0)
    assert again.by_reason["accepted:halted"] == (1, 3)


def test_what_is_accepted_is_not_asked_for_fails_no_check_and_can_be_taken_back(
    told: Chain, warehouse: Warehouse
) -> None:
    done = told.run(TONIGHT)
    # The hole and the refused bar; not the halt, nor the day of LATE before the first bar that the source has.
    assert done.facts["daily_bars"]["asked"].startswith("2 symbols, 3 sessions")
    worst = [r.data for r in done.checks["no_session_missing_inside_a_life"].metadata["worst"].value.records]
    assert [(w["symbol"], w["missing"], w["rejected"]) for w in worst] == [("HOLE", 2, 0), ("WRONG", 1, 1)]
    cli = CliRunner()
    exceptions = json.loads(cli.invoke(app, ["gaps", "exceptions", "--json"]).output)
    assert [(e["symbol"], e["reason"], e["note"], e["accepted_by"]) for e in exceptions] == [
        ("HALT", "halted", "news pending", "ann")
    ]
    assert cli.invoke(app, ["gaps", "withdraw", str(exceptions[0]["exception_id"])]).exit_code == 0
    assert warehouse.scalar("SELECT reason FROM missing_bars WHERE symbol = 'HALT'") == "vendor_hole"
    assert warehouse.scalar("SELECT withdrawn_by IS NOT NULL FROM bar_exceptions")
    assert told.run(TONIGHT).facts["daily_bars"]["asked"].startswith("3 symbols, 6 sessions")


def test_an_outage_accepted_for_all_ages_nobody(told: Chain, warehouse: Warehouse) -> None:
    monday = CALENDAR.next(TONIGHT)
    before = coverage_as_of(warehouse, CALENDAR, monday, target=0.9)
    assert before.fresh == 0
    done = CliRunner().invoke(app, ["gaps", "accept", str(monday), "--all", "--reason", "outage", "--note", "no feed"])
    assert done.exit_code == 0, done.output
    after = coverage_as_of(warehouse, CALENDAR, monday, target=0.9)
    assert (after.fresh, after.status) == (6, "degraded")  # nothing is computed for it, and that is told
    assert not after.stale[">48h"]
    assert not after.stale["24-48h"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["2021-12-06", "--note", "x"], "--all"),
        (["2021-12-06", "--all"], "--note is empty"),
        (["2021-12-25", "--all", "--note", "x"], "no session"),
        (["2021-12-06", "--all", "--note", "x", "--reason", "tired"], "one of halted, outage, vendor_hole"),
        (["2021-12-06", "--symbol", "NOBODY", "--note", "x"], "no instrument bears NOBODY"),
    ],
)
def test_what_cannot_be_accepted_is_refused_with_the_way_out(
    environment: None, arguments: list[str], said: str
) -> None:
    done = CliRunner().invoke(app, ["gaps", "accept", *arguments])
    assert said in str(done.exception)


def test_a_source_that_fails_leaves_what_it_was_asked_for_not_fetched(
    told: Chain, folder: Folder, warehouse: Warehouse
) -> None:
    warehouse.execute("DELETE FROM price_data WHERE session = :d", {"d": day("2021-12-17")})
    warehouse.execute("UPDATE answered_sessions SET answered_to = :d", {"d": day("2021-12-16")})
    scan(warehouse, CALENDAR, TONIGHT, depth=30, now=NOW)
    found = missing(warehouse)
    lost = found[found["first_session"] == day("2021-12-17")]
    assert set(lost["reason"]) == {"not_fetched"}
    assert len(lost) == len(SYMBOLS)


def test_a_cursor_stands_before_the_first_hole_and_passes_what_was_accepted(told: Chain, warehouse: Warehouse) -> None:
    ids = instruments.ids(warehouse)
    rows = warehouse.rows("SELECT instrument_id, vendor, first_bar, contiguous_to FROM ingestion_cursor")
    reach = {row.instrument_id: row.contiguous_to for row in rows}
    assert {s: str(reach[ids[s]]) for s in SYMBOLS} == {
        "GONE": "2021-12-27",  # its last bar
        "HALT": "2021-12-31",
        "HOLE": "2021-12-13",
        "LATE": "2021-12-31",
        "NEWER": "2021-12-31",
        "SPY": "2021-12-31",
        "WRONG": "2021-12-17",  # the refused one is missing, too
    }
    assert len(fetches.cursors(warehouse, "files")) == len(SYMBOLS)
