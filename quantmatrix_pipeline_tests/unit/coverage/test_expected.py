"""Why a bar is missing: one reason per session, and the stretches that they make."""

from __future__ import annotations

from datetime import date

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantmatrix_pipeline.bars.sessions import trading_calendar
from quantmatrix_pipeline.coverage.expected import ACCEPTED, ORDER, Accepted, Known, Reason, reasons, stretches

CALENDAR = trading_calendar("XNYS")
WINDOW = CALENDAR.window(date(2021, 12, 10), 8)
DAYS = WINDOW.tolist()
NOTHING = Known(listed_on={}, delisted_on={}, empty=[], answered={}, rejected=[], accepted=[])


def words(stored: str, **known: object) -> list[str]:
    """Return the reason of each session of instrument 1; `stored` has an x where there is a bar."""
    mask = np.array([[c == "x" for c in stored]])
    fields = {name: known.get(name, getattr(NOTHING, name)) for name in Known.__slots__}
    codes = reasons(WINDOW, [1], mask, Known(**fields))[0]
    return [("" if not c else ("*" if c & ACCEPTED else "") + ORDER[(c & ~ACCEPTED) - 1]) for c in codes.tolist()]


def test_what_nobody_answered_about_is_not_fetched_and_what_was_answered_is_a_hole() -> None:
    answered = {1: (DAYS[0], DAYS[5])}
    assert words("x.x...x.", answered=answered) == [
        "", "vendor_hole", "", "vendor_hole", "vendor_hole", "vendor_hole", "", "not_fetched",
    ]  # fmt: skip


def test_before_the_first_bar_that_anybody_had_it_was_not_listed_unless_the_listing_says_otherwise() -> None:
    answered = {1: (DAYS[0], DAYS[7])}
    assert words("...xxxxx", answered=answered)[:3] == ["not_listed"] * 3
    assert words("...xxxxx", empty=[{1: (DAYS[1], DAYS[3])}])[:3] == ["not_fetched", "not_listed", "not_listed"]
    listed = {1: DAYS[1]}
    assert words("...xxxxx", answered=answered, listed_on=listed)[:3] == ["not_listed", "vendor_hole", "vendor_hole"]
    assert words("...xxxxx", listed_on=listed)[:3] == ["not_listed", "not_fetched", "not_fetched"]


def test_the_life_comes_before_what_was_accepted_and_that_before_what_was_refused() -> None:
    found = words(
        "xx......",
        answered={1: (DAYS[0], DAYS[7])},
        rejected=[(1, DAYS[2]), (1, DAYS[3]), (1, date(2021, 12, 5)), (2, DAYS[4])],
        accepted=[Accepted(1, DAYS[3], DAYS[4], Reason.HALTED), Accepted(None, DAYS[6], DAYS[7], Reason.OUTAGE)],
        delisted_on={1: DAYS[7]},
    )
    assert found == ["", "", "rejected", "*halted", "*halted", "vendor_hole", "*outage", "delisted"]


@given(st.lists(st.lists(st.integers(0, 3), min_size=6, max_size=6), max_size=4))
def test_stretches_say_the_same_as_the_mask(rows: list[list[int]]) -> None:
    codes = np.array(rows, np.uint8).reshape(len(rows), 6)
    found = stretches(codes)
    again = np.zeros_like(codes)
    for row, first, last, code in zip(found.row, found.first, found.last, found.code, strict=True):
        assert code != 0
        assert (again[row, first : last + 1] == 0).all()
        again[row, first : last + 1] = code
    assert (again == codes).all()
    runs = sum(sum(1 for at in range(6) if row[at] and (at == 0 or row[at] != row[at - 1])) for row in rows)
    assert len(found.row) == runs


def test_half_days_and_holidays_of_the_calendar() -> None:
    assert CALENDAR.special_days(date(2021, 11, 22), date(2021, 12, 31)) == {
        date(2021, 11, 25): 0,
        date(2021, 11, 26): 210,
        date(2021, 12, 24): 0,
    }
    five_minute_bars = CALENDAR.minutes(np.array(["2021-11-24", "2021-11-26"], "datetime64[D]")) // 5
    assert five_minute_bars.tolist() == [78, 42]
    with pytest.raises(Exception, match="Thanksgiving"):
        CALENDAR.minutes(np.array(["2021-11-25"], "datetime64[D]"))
