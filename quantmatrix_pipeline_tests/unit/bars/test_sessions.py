"""The calendar of sessions, against dates that the exchange published."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantmatrix_pipeline.bars.sessions import NO_BAR, trading_calendar
from quantmatrix_pipeline.errors import ConfigurationError, NotASession

XNYS = trading_calendar()
GRACE = timedelta(minutes=30)
days = st.dates(date(1991, 1, 1), date(2048, 12, 31))


def array(*dates: str) -> np.ndarray:
    return np.array(dates, "datetime64[D]")


def test_a_year_has_the_sessions_that_the_exchange_held() -> None:
    assert len(XNYS.sessions_in(date(2021, 1, 1), date(2021, 12, 31))) == 252
    assert len(XNYS.sessions_in(date(2016, 12, 30), date(2021, 12, 31))) == 1260


def test_sessions_in_includes_both_ends() -> None:
    got = XNYS.sessions_in(date(2021, 12, 23), date(2021, 12, 28))
    assert got.tolist() == [date(2021, 12, 23), date(2021, 12, 27), date(2021, 12, 28)]


@pytest.mark.parametrize(
    ("day", "why", "before", "after"),
    [
        (date(2021, 12, 25), "a Saturday", "2021-12-23", "2021-12-27"),
        (date(2021, 7, 5), "July 4th", "2021-07-02", "2021-07-06"),
        (date(2012, 10, 29), "the exchange was closed that day", "2012-10-26", "2012-10-31"),
    ],
)
def test_a_day_without_trading_is_refused_with_its_reason_and_its_neighbours(
    day: date, why: str, before: str, after: str
) -> None:
    with pytest.raises(NotASession) as caught:
        XNYS.require_session(day)
    message = str(caught.value)
    for part in (str(day), "XNYS", why, before, after):
        assert part in message


@pytest.mark.parametrize("day", [date(1962, 1, 2), date(2077, 1, 4)])
def test_a_day_outside_the_calendar_is_refused_with_the_calendar_s_span(day: date) -> None:
    with pytest.raises(NotASession, match=r"spans 1990-01-02 to 2049-12-31"):
        XNYS.require_session(day)


def test_an_unknown_exchange_is_a_configuration_error() -> None:
    with pytest.raises(ConfigurationError, match="QM_CALENDAR"):
        trading_calendar("NOWHERE")


def test_a_calendar_with_fewer_known_holidays_is_taken_as_far_as_they_go() -> None:
    assert trading_calendar("XTKS").sessions[0] >= np.datetime64("1997-01-01")


@given(days)
def test_previous_and_next_are_each_other_s_inverse_on_sessions(day: date) -> None:
    session = XNYS.next(day)
    assert XNYS.is_session(session)
    assert XNYS.previous(day) <= day <= session
    assert XNYS.next(XNYS.previous(session)) == session
    assert XNYS.next(day, 3) == XNYS.next(XNYS.next(XNYS.next(day)))
    assert XNYS.previous(day, 2) == XNYS.previous(XNYS.previous(day))


@given(days, st.integers(1, 80))
def test_a_window_holds_that_many_sessions_and_ends_at_its_last(day: date, count: int) -> None:
    last = XNYS.next(day)
    window = XNYS.window(last, count)
    assert len(window) == count
    assert window[-1] == np.datetime64(last)
    assert (XNYS.sessions_in(window[0].item(), last) == window).all()


def test_a_window_that_reaches_before_the_calendar_is_refused() -> None:
    with pytest.raises(NotASession, match="2 sessions up to 1990-01-03"):
        XNYS.window(date(1990, 1, 3), 3)
    with pytest.raises(NotASession):
        XNYS.previous(date(1990, 1, 2))


@given(st.lists(st.dates(date(1980, 1, 1), date(2060, 1, 1)), max_size=30))
def test_index_of_is_the_position_among_the_sessions(dates: list[date]) -> None:
    position = {day: i for i, day in enumerate(XNYS.sessions.tolist())}
    assert XNYS.index_of(np.array(dates, "datetime64[D]")).tolist() == [position.get(day, -1) for day in dates]


def test_no_date_has_no_position() -> None:
    assert XNYS.index_of(array("NaT", "1990-01-02")).tolist() == [-1, 0]


@pytest.mark.parametrize(
    ("session", "close"),
    [
        (date(2025, 7, 3), datetime(2025, 7, 3, 17, 0, tzinfo=UTC)),  # half day, daylight saving time
        (date(2021, 11, 26), datetime(2021, 11, 26, 18, 0, tzinfo=UTC)),  # half day, standard time
        (date(2021, 3, 12), datetime(2021, 3, 12, 21, 0, tzinfo=UTC)),  # the last session before the clocks change
        (date(2021, 3, 15), datetime(2021, 3, 15, 20, 0, tzinfo=UTC)),
    ],
)
def test_a_session_closes_at_the_exchange_s_own_hour(session: date, close: datetime) -> None:
    assert XNYS.close(session) == close


def test_a_session_counts_as_closed_only_after_its_grace() -> None:
    end = datetime(2025, 7, 3, 17, 30, tzinfo=UTC)
    assert XNYS.newest_closed(end, GRACE) == date(2025, 7, 3)
    assert XNYS.newest_closed(end - timedelta(microseconds=1), GRACE) == date(2025, 7, 2)
    assert XNYS.newest_closed(datetime(2025, 7, 6, 12, tzinfo=UTC), GRACE) == date(2025, 7, 3)


def test_the_newest_closed_session_does_not_depend_on_the_zone_the_instant_is_told_in() -> None:
    instant = datetime(2021, 12, 30, 22, 0, tzinfo=UTC)
    assert XNYS.newest_closed(instant.astimezone(XNYS.timezone), GRACE) == XNYS.newest_closed(instant, GRACE)


def test_an_instant_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="aware"):
        XNYS.newest_closed(datetime(2021, 12, 30, 22, 0), GRACE)  # noqa: DTZ001


def test_results_expire_when_the_next_session_is_final() -> None:
    assert XNYS.expiry(date(2025, 7, 2), GRACE) == datetime(2025, 7, 3, 17, 30, tzinfo=UTC)
    assert XNYS.expiry(date(2025, 7, 3), GRACE) == datetime(2025, 7, 7, 20, 30, tzinfo=UTC)


def test_age_counts_sessions_so_that_a_weekend_is_no_staleness() -> None:
    last = array("2021-12-27", "2021-12-23", "2021-12-22", "NaT", "2021-12-30", "2021-12-25")
    assert XNYS.age(last, date(2021, 12, 27)).tolist() == [0, 1, 2, NO_BAR, 0, 1]


@given(days, st.integers(0, 400))
def test_age_is_the_distance_of_positions(day: date, back: int) -> None:
    as_of = XNYS.next(day)
    last = XNYS.previous(as_of, back) if back and as_of > date(1993, 1, 1) else as_of
    expected = XNYS.index_of(array(str(as_of)))[0] - XNYS.index_of(array(str(last)))[0]
    assert XNYS.age(array(str(last)), as_of).tolist() == [expected]


def test_around_the_clock_every_day_is_a_session() -> None:
    always = trading_calendar("24/7")
    assert always.is_session(date(2021, 12, 25))
    assert len(always.sessions_in(date(2020, 2, 1), date(2020, 3, 1))) == 30


def test_the_sessions_cannot_be_written_to() -> None:
    with pytest.raises(ValueError, match="read-only"):
        XNYS.sessions[0] = np.datetime64("2000-01-01")
