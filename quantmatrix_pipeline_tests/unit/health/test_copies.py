"""What is told of the newest backup: its age first, then whether it was proved."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from quantmatrix_pipeline.health.copies import backup
from quantmatrix_pipeline.health.finding import Verdict

NOW = datetime(2021, 12, 31, 22, tzinfo=UTC)
A_WEEK, FIVE_WEEKS = timedelta(days=8), timedelta(days=35)
MOMENT = timedelta(seconds=1)


@pytest.mark.parametrize(
    ("age", "state"),
    [
        (timedelta(hours=3), Verdict.OK),
        (A_WEEK, Verdict.OK),
        (A_WEEK + MOMENT, Verdict.NOTE),
        (FIVE_WEEKS, Verdict.NOTE),
        (FIVE_WEEKS + MOMENT, Verdict.BAD),
    ],
)
def test_a_backup_that_was_proved_grows_old_all_the_same(age: timedelta, state: Verdict) -> None:
    found = backup("20211101T030000Z", NOW - age, NOW - age, (), NOW)
    assert found.state is state
    assert f"{age.days} days old" in found.detail
    assert ("weekly_backup" in found.detail) is (state is not Verdict.OK)


def test_one_that_was_never_proved_is_a_note_and_one_that_does_not_restore_is_bad_whatever_its_age() -> None:
    never = backup("20211231T030000Z", NOW - timedelta(hours=3), None, (), NOW)
    assert (never.state, "never proved" in never.detail) == (Verdict.NOTE, True)
    for age in (timedelta(hours=3), 2 * A_WEEK, 2 * FIVE_WEEKS):
        spoilt = backup("20211231T030000Z", NOW - age, NOW, ("bars: 1 row instead of 2",), NOW)
        assert spoilt.state is Verdict.BAD
        assert "does not restore: bars: 1 row" in spoilt.detail
