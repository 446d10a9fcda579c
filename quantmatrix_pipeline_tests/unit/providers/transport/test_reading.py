"""A body becomes typed values, or a typed failure that names the place."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantmatrix_pipeline.errors import MalformedResponse
from quantmatrix_pipeline.providers.contract import Capability
from quantmatrix_pipeline.providers.transport import reading
from quantmatrix_pipeline.providers.transport.calls import Answer, Call

CALL = Call(Capability.DAILY_BARS, "bars", "/bars", symbol="A")


class Row(msgspec.Struct):
    day: str
    close: float | None


class Body(msgspec.Struct):
    rows: list[Row]


def answer(body: str | bytes, kind: str = "application/json") -> Answer:
    content = body.encode() if isinstance(body, str) else body
    return Answer(200, {"content-type": kind}, content, datetime(2026, 11, 20, tzinfo=UTC))


def decoded(body: str | bytes, kind: str = "application/json") -> Body:
    return reading.decode("v", CALL, answer(body, kind), Body)


def test_numbers_may_come_as_text() -> None:
    assert decoded('{"rows": [{"day": "2026-11-20", "close": "1.25"}]}').rows[0].close == 1.25


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ('{"rows": [{"day": "2026-11-20", "close": 1}, {"day": "2026', r"no JSON \(application/json, \d+ bytes"),
        ("<html><body>Just a moment...</body></html>", r"'<html><body>Just a moment"),
        ("", "0 bytes"),
        (b"\xff\xfe", "no JSON"),
        ('{"rows": [{"day": "2026-11-20", "close": "high"}]}', r"\$.rows\[0\].close"),
        ('{"rows": [{"close": 1}]}', r"missing required field `day`"),
        ('{"rows": {}}', r"\$.rows"),
        ("[]", "Expected `object`"),
        ("null", "Expected `object`"),
    ],
)
def test_what_is_not_of_the_shape_is_a_typed_failure_that_names_the_place(body: str | bytes, says: str) -> None:
    with pytest.raises(MalformedResponse, match=says) as caught:
        decoded(body)
    assert caught.value.symbol == "A"


@given(st.binary(max_size=80))
def test_no_bytes_whatever_raise_anything_else(body: bytes) -> None:
    try:
        decoded(body)
    except MalformedResponse:
        return
    assert b"rows" in body


def test_another_symbols_answer_is_refused_but_for_its_case() -> None:
    reading.same_symbol("v", CALL, "BRK-B", "brk-b")
    reading.same_symbol("v", CALL, "BRK-B", None)
    with pytest.raises(MalformedResponse, match="asked for BRK-B, answered with BRK-A"):
        reading.same_symbol("v", CALL, "BRK-B", "BRK-A")


@pytest.mark.parametrize("wrong", [None, float("nan"), float("inf"), -float("inf")])
def test_a_column_has_numbers_only(wrong: float | None) -> None:
    assert reading.finite("v", CALL, "close", [1, 2.5]).tolist() == [1.0, 2.5]
    with pytest.raises(MalformedResponse, match=r"row 2: close is .*, no number"):
        reading.finite("v", CALL, "close", [1.0, wrong, None])


def test_dates_and_times_are_read_and_a_wrong_one_is_named() -> None:
    assert reading.sessions("v", CALL, ["2026-11-20", "2026-11-19 00:00:00"]).tolist() == [
        datetime(2026, 11, 20).date(),  # noqa: DTZ001 - a date
        datetime(2026, 11, 19).date(),  # noqa: DTZ001 - a date
    ]
    with pytest.raises(MalformedResponse, match="row 2: '2026-13-01' is no date"):
        reading.sessions("v", CALL, ["2026-11-20", "2026-13-01"])
    new_york = ZoneInfo("America/New_York")
    found = reading.instants("v", CALL, ["2026-07-01 09:30:00", "2026-12-01 09:30:00"], new_york)
    assert found.tolist() == [datetime(2026, 7, 1, 13, 30), datetime(2026, 12, 1, 14, 30)]  # noqa: DTZ001 - UTC, as numpy has it
    with pytest.raises(MalformedResponse, match="row 1: 'noon' is no time"):
        reading.instants("v", CALL, ["noon"], new_york)


@pytest.mark.parametrize(
    ("text", "zone"),
    [
        ("9999-12-31 23:00:00", "America/New_York"),
        ("0001-01-01 00:00:00", "Asia/Tokyo"),
        ("0001-01-01 00:00:00+09:00", "UTC"),
    ],
)
def test_a_time_that_no_calendar_reaches_in_utc_is_named_as_none(text: str, zone: str) -> None:
    with pytest.raises(MalformedResponse, match=f"row 2: '{re.escape(text)}' is no time"):
        reading.instants("v", CALL, ["2026-11-20 09:30:00", text], ZoneInfo(zone))


@given(st.datetimes(), st.sampled_from(["America/New_York", "Asia/Tokyo", "UTC"]))
def test_any_time_of_any_zone_is_an_instant_or_a_typed_failure(at: datetime, zone: str) -> None:
    try:
        (found,) = reading.instants("v", CALL, [at.isoformat(" ", "seconds")], ZoneInfo(zone)).tolist()
    except MalformedResponse:
        assert at.year in (1, 9999)
        return
    assert abs(found - at.replace(microsecond=0)) < timedelta(days=1)


def test_a_value_that_says_nothing_is_none() -> None:
    nothing = [None, float("nan"), float("inf"), -float("inf")]
    assert [reading.positive(value) for value in [*nothing, 0.0, -1.0]] == [None] * 6
    assert [reading.finite_or_none(value) for value in nothing] == [None] * 4
    assert (reading.positive(0.5), reading.finite_or_none(0.0), reading.finite_or_none(-1.0)) == (0.5, 0.0, -1.0)


def test_the_bars_of_one_symbol_are_put_in_order() -> None:
    days = np.array(["2026-11-20", "2026-11-18", "2026-11-19"], "datetime64[D]")
    column = np.array([3.0, 1.0, 2.0])
    bars = reading.one_symbol("A", days, [column] * 5)
    assert bars.close.tolist() == bars.volume.tolist() == [1.0, 2.0, 3.0]
    assert (np.diff(bars.session) > np.timedelta64(0)).all()
    assert bars.symbols == ("A",)
