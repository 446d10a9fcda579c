from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantmatrix_pipeline.providers.transport.kept_for import NEW_YORK, keep_until_close, keep_until_midnight

INSTANTS = st.datetimes(datetime(2015, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001


@pytest.mark.parametrize(
    ("now", "settled"),
    [
        ("2026-11-20T15:00:00Z", "2026-11-20T21:30:00Z"),  # Friday morning in New York: the same day
        ("2026-11-20T21:30:00Z", "2026-11-23T21:30:00Z"),  # Friday, settled just now: Monday
        ("2026-11-21T10:00:00Z", "2026-11-23T21:30:00Z"),  # Saturday
        ("2026-03-06T22:00:00Z", "2026-03-09T20:30:00Z"),  # over the weekend on which summer time begins
    ],
)
def test_a_daily_bar_keeps_until_the_next_weekday_has_settled(now: str, settled: str) -> None:
    asked = datetime.fromisoformat(now)
    assert asked + timedelta(seconds=keep_until_close(asked)) == datetime.fromisoformat(settled)


@pytest.mark.parametrize(
    ("now", "seconds"),
    [("2026-11-20T23:59:30Z", 30), ("2026-11-21T00:00:00Z", 86_400), ("2026-11-20T12:00:00Z", 43_200)],
)
def test_a_day_of_crypto_ends_at_midnight_utc(now: str, seconds: float) -> None:
    assert keep_until_midnight(datetime.fromisoformat(now)) == seconds


def test_a_day_in_new_york_may_have_23_hours() -> None:
    begun = datetime(2026, 3, 8, tzinfo=NEW_YORK)
    assert keep_until_midnight(begun, NEW_YORK) == 23 * 3600


@given(INSTANTS)
def test_the_end_lies_ahead_and_within_a_long_weekend(now: datetime) -> None:
    assert 0 < keep_until_close(now) <= (3 * 24 + 1) * 3600
    assert 0 < keep_until_midnight(now, NEW_YORK) <= 25 * 3600
