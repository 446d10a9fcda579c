"""What is one cause, what one message, what works again; and how it reads."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from quantmatrix_pipeline.alerts import wording
from quantmatrix_pipeline.alerts.events import FailedCheck, Run, Wishes
from quantmatrix_pipeline.alerts.fingerprint import fingerprint
from quantmatrix_pipeline.alerts.message import Tone
from quantmatrix_pipeline.alerts.troubles import Group, failing, judge, slow, stale
from quantmatrix_pipeline.alerts.wording import Closed, Links

LINKS = Links("http://ui:3000/", "https://wiki/operations.md")
OVER_48H = FailedCheck("coverage_report.nothing_over_48h", "ERROR", "over_48h=500, e.g. symbol S001", ("S001", "S002"))
HOLES = FailedCheck("daily_bars.no_session_missing_inside_a_life", "WARN", "instruments=3")


def run(number: int = 1, outcome: str = "failure", **facts: object) -> Run:
    body = {"job": "restore_daily_coverage", "what": "session 2021-12-31", "seconds": 12.5} | facts
    return Run(run_id=f"{number:08d}-0000", outcome=outcome, **body)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("fmp: AAPL: the answer ends on 2021-12-30", "fmp: BRK.B: the answer ends on 2022-01-03"),
        ("nobody can serve daily bars of A, B, C, ...", "nobody can serve daily bars of MSFT"),
        ("run 0b0e8d9c-6f1d-4d3c-8a4e-111111111111 died", "run 9c1f7e55-0d9a-4e0b-b8a8-222222222222 died"),
        ("waited 12.5 s for row 3", "waited 600.0 s for row 4711"),
    ],
)
def test_symbols_days_numbers_and_ids_make_no_other_cause(one: str, other: str) -> None:
    assert fingerprint(one) == fingerprint(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("FMP_API_KEY is not set", "FINNHUB_API_KEY is not set"),
        ("fmp: answered 401", "finnhub: answered 401"),
        ("bars.parquet: no column close", "bars.parquet: no column open"),
        ("AAPL: no answer", "AAPL: no answer within the deadline"),
    ],
)
def test_what_differs_otherwise_is_another_cause(one: str, other: str) -> None:
    assert fingerprint(one) != fingerprint(other)


def test_a_symbol_that_a_run_names_is_none_of_its_cause_however_it_is_written() -> None:
    assert fingerprint("no bars of btc-usd", ["btc-usd"]) == fingerprint("no bars of eth-usd", ["eth-usd"])


def test_five_hundred_runs_that_failed_for_one_cause_are_one_group() -> None:
    runs = [run(n, cause=f"fmp: S{n:03}: no key", symbols=(f"S{n:03}",)) for n in range(500)]
    (group,) = judge(runs).groups
    assert (len(group.troubles), len(group.runs)) == (500, 500)
    assert len({t.key for t in group.troubles}) == 1
    message = wording.trouble(group, LINKS)
    assert message.title.startswith("FAILED restore_daily_coverage, session 2021-12-31 (and 499 more runs): fmp: S000")
    assert message.facts["run"] == f"{', '.join(f'{n:08d}' for n in range(10))}, …", "short, as the UI shows them"
    assert message.facts["symbols"] == f"500: {', '.join(f'S{n:03}' for n in range(10))}, …"


def test_all_that_failed_in_a_run_is_one_message_and_its_cause_comes_first() -> None:
    failed = run(
        cause="fmp: no key",
        failed=(HOLES, OVER_48H),
        stale=500,
        expected=501,
        counters={"daily_bars rows": 3, "daily_bars revised": 0},
    )
    (group,) = judge([failed]).groups
    message = wording.trouble(group, LINKS, occurrences=4)
    assert message.title == "FAILED restore_daily_coverage, session 2021-12-31: fmp: no key"
    assert (message.event, message.tone) == ("failure", Tone.ERROR)
    assert message.link == "http://ui:3000/runs/00000001-0000"
    assert message.facts == {
        "for": "session 2021-12-31",
        "symbols": "500 of 501 without the session's bar, e.g. S001, S002",
        "job": "restore_daily_coverage",
        "run": "00000001-0000",
        "duration": "12.5 s",
        "pool": "default",
        "counters": "daily_bars rows 3",
        "cause": "fmp: no key",
        "failed checks": f"{HOLES.name}, {OVER_48H.name}",
        "seen": "4 times",
        "press": "restore_daily_coverage again when it is mended",
    }


def test_of_checks_alone_the_graver_leads_and_a_blocking_ones_run_is_told_by_the_check() -> None:
    for failed in (
        run(outcome="success", failed=(HOLES, OVER_48H)),
        run(stopped_by_check=True, failed=(HOLES, OVER_48H)),
    ):
        (group,) = judge([failed]).groups
        message = wording.trouble(group, LINKS)
        assert message.title.startswith(
            f"CHECK ERROR {OVER_48H.name} failed (and 1 more check), session 2021-12-31: over"
        )
        assert message.runbook == "https://wiki/operations.md#bars-are-older-than-48-hours"


def test_of_several_runs_the_last_to_end_says_what_works() -> None:
    bad, good = run(1, cause="x"), run(2, "success", passed=(HOLES.name,))
    assert judge([bad, good]).well == ("job:restore_daily_coverage", f"check:{HOLES.name}")
    assert judge([good, bad]).well == (f"check:{HOLES.name}",)
    assert judge([good, run(3, "success", failed=(HOLES,))]).well == ("job:restore_daily_coverage",)


def test_a_canceled_run_and_one_whose_tags_want_silence_on_failures_are_no_trouble() -> None:
    quiet = Wishes(on=frozenset({"success"}))
    verdict = judge([run(1, "canceled"), run(2, cause="x", wishes=quiet), run(3, "canceled", failed=())])
    assert verdict.groups == ()


def test_a_slow_run_is_told_while_it_runs_or_else_when_it_ended_and_is_over_then() -> None:
    limit = Wishes(slow_after_s=60)
    (group,) = slow([run(1, "running", seconds=61, wishes=limit), run(2, "running", seconds=59, wishes=limit)])
    message = wording.trouble(group, LINKS)
    assert message.title == (
        "SLOW restore_daily_coverage, session 2021-12-31: still running after 61 s, expected to take 60 s at most"
    )
    assert "press" not in message.facts
    ended = run(1, "success", seconds=80, wishes=limit)
    told = judge([ended], broken=[group.troubles[0].subject])
    assert (told.groups, told.over) == ((), ())
    assert group.troubles[0].subject in told.well
    unnoticed = judge([ended])
    assert [t.cause for t in unnoticed.groups[0].troubles] == ["took 80 s, expected to take 60 s at most"]
    assert unnoticed.over == (group.troubles[0].subject,), "and nobody need hear that it is over"
    assert slow([run(1, "running", seconds=61, wishes=Wishes(on=frozenset({"failure"}), slow_after_s=60))]) == ()


def test_a_run_that_dagster_ended_at_its_timeout_says_so_and_two_jobs_that_hang_are_two_troubles() -> None:
    said = "Exceeded maximum runtime of 60 seconds."
    first, again = run(1, cause=said, timed_out=True), run(2, cause=said.replace("60", "90"), timed_out=True)
    other = run(3, cause=said, timed_out=True, job="backup")
    both, alone = judge([first, again, other]).groups
    message = wording.trouble(both, LINKS)
    assert message.title == (
        f"ENDED AT ITS TIMEOUT restore_daily_coverage, session 2021-12-31 (and 1 more runs): {said}"
    )
    assert message.runbook == "https://wiki/operations.md#a-run-was-ended-at-its-timeout"
    assert [each.job for each in alone.runs] == ["backup"]
    # What merely says so is no timeout.
    (group,) = judge([run(cause=said)]).groups
    assert wording.trouble(group, LINKS).title.startswith("FAILED restore_daily_coverage")


def test_ticks_that_fail_for_one_cause_are_one_message_and_each_sensor_recovers_by_itself() -> None:
    why = "FilesUnreadable: /data/files: permission denied; see row {}"
    groups = failing({"backfill_queue": why.format(1), "alert_on_runs": "gone", "backfill_stale": why.format(2)})
    assert [[t.subject for t in group.troubles] for group in groups] == [
        ["tick:backfill_queue", "tick:backfill_stale"],
        ["tick:alert_on_runs"],
    ]
    assert len({t.key for group in groups for t in group.troubles}) == 3
    message = wording.trouble(groups[0], LINKS)
    assert message.title == f"TICKS FAIL of backfill_queue, backfill_stale: {why.format(1)}"
    assert (message.facts["ticks of"], message.tone) == ("backfill_queue, backfill_stale", Tone.ERROR)
    assert message.runbook == "https://wiki/operations.md#the-ticks-of-a-schedule-or-sensor-fail"
    closed = Closed("failing_tick", why, ("tick:backfill_queue",), 4, datetime(2021, 12, 31, 22, tzinfo=UTC))
    assert wording.recovery([closed], datetime(2021, 12, 31, 23, tzinfo=UTC)).title == "RECOVERED: backfill_queue"


def test_stale_assets_and_a_recovery_read_well() -> None:
    message = wording.trouble(stale(["daily_bars", "coverage_report"], "FAIL"), LINKS)
    assert message.title == "STALE 2 assets: not materialized within the failing window of its freshness policy"
    assert (message.facts["assets"], message.tone) == ("daily_bars, coverage_report", Tone.ERROR)
    opened = datetime(2021, 12, 31, 22, tzinfo=UTC)
    closed = [
        Closed("failed_run", "fmp: no key", ("job:restate",), 3, opened),
        Closed("failed_check", "over_48h=500", (f"check:{OVER_48H.name}",), 1, opened + timedelta(hours=1)),
    ]
    told = wording.recovery(closed, opened + timedelta(hours=26, minutes=5))
    assert told.title == f"RECOVERED: restate, {OVER_48H.name}"
    assert told.facts == {
        "since": "2021-12-31 22:00Z",
        "lasted": "1 d 2 h",
        "occurrences": "3",
        "was": "fmp: no key; over_48h=500",
    }


def test_a_message_survives_the_outbox() -> None:
    message = wording.trouble(Group(judge([run(cause="x")]).groups[0].troubles, (run(cause="x"),)), LINKS)
    assert type(message).from_json(message.as_json()) == message
