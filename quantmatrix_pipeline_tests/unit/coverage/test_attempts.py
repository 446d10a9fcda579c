"""A backfill is tried once per set, again when its run failed, and given up when it does not help."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest

from quantmatrix_pipeline.coverage.attempts import MISSED, NEW, Attempts, Outcome, Step, fingerprint

SESSION, NEXT = date(2021, 12, 30), date(2021, 12, 31)
NOW = datetime(2021, 12, 30, 23, tzinfo=UTC)
HOUR = timedelta(hours=1)
TRIED = Attempts().launched(SESSION, "a", NOW)


def step(attempts: Attempts, what: str, later: timedelta, outcome: Outcome, session: date = SESSION) -> Step:
    found, why = attempts.next_step(session, what, NOW + later, outcome, cooldown=HOUR, most=3)
    assert (found is Step.LAUNCH) == (why == "")
    return found


@pytest.mark.parametrize(
    ("what", "later", "outcome", "expected"),
    [
        ("a", timedelta(minutes=1), Outcome.UNDER_WAY, Step.WAIT),
        ("b", 2 * HOUR, Outcome.UNDER_WAY, Step.WAIT),
        ("a", timedelta(minutes=1), Outcome.SUCCESS, Step.WAIT),
        ("a", HOUR, Outcome.SUCCESS, Step.GIVE_UP),
        ("a", 9 * HOUR, Outcome.UNKNOWN, Step.WAIT),
        ("a", timedelta(minutes=59), Outcome.FAILURE, Step.WAIT),
        ("a", HOUR, Outcome.FAILURE, Step.LAUNCH),
        ("b", timedelta(minutes=59), Outcome.SUCCESS, Step.WAIT),
        ("b", HOUR, Outcome.SUCCESS, Step.LAUNCH),
    ],
)
def test_after_a_launch(what: str, later: timedelta, outcome: Outcome, expected: Step) -> None:
    assert step(TRIED, what, later, outcome) is expected


def test_the_first_is_launched_at_once_and_the_fourth_of_a_session_is_given_up_until_the_next_session() -> None:
    assert step(Attempts(), "a", timedelta(0), Outcome.UNKNOWN) is Step.LAUNCH
    attempts = TRIED
    for n, what in enumerate("bc", 1):
        assert step(attempts, what, n * HOUR, Outcome.FAILURE) is Step.LAUNCH
        attempts = attempts.launched(SESSION, what, NOW + n * HOUR)
    assert attempts.tries == 3
    assert step(attempts, "d", 3 * HOUR, Outcome.FAILURE) is Step.GIVE_UP
    attempts = attempts.given_up("3 backfills did not help")
    assert step(attempts, "e", 9 * HOUR, Outcome.FAILURE) is Step.WAIT
    assert step(attempts, "e", 24 * HOUR, Outcome.FAILURE, NEXT) is Step.LAUNCH
    anew = attempts.launched(NEXT, "e", NOW + 24 * HOUR)
    assert (anew.tries, anew.gave_up) == (1, None)


def test_two_sensors_that_tried_the_same_set_have_two_runs() -> None:
    assert TRIED.run_key(MISSED) != TRIED.run_key(NEW)
    assert TRIED.run_key(MISSED) == Attempts.parse(str(TRIED)).run_key(MISSED)


def test_what_a_cursor_holds_survives_and_one_of_another_release_does_no_harm() -> None:
    assert Attempts.parse(str(TRIED)) == TRIED
    assert Attempts.parse('{"set": "x", "at": "2021-12-30T23:00:00+00:00"}') == Attempts(at=NOW.isoformat())
    for cursor in (None, "", "{", "[1]", '"x"', "null"):
        assert Attempts.parse(cursor) == Attempts()


def test_the_same_set_has_the_same_fingerprint_in_its_session_only() -> None:
    assert fingerprint(SESSION, ["A", "B"]) == fingerprint(SESSION, ["A", "B"])
    assert len({fingerprint(SESSION, ["A", "B"]), fingerprint(SESSION, ["A"]), fingerprint(NEXT, ["A", "B"])}) == 3
