"""Limits as a setting writes them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantmatrix_pipeline.providers.routing.limits import LARGEST_LEASE, Limits

LIMIT = st.none() | st.integers(1, 10**9)
LIMITS = st.builds(Limits, LIMIT, LIMIT, LIMIT)


@pytest.mark.parametrize(
    ("text", "limits"),
    [
        ("8/min 800/day", Limits(per_minute=8, per_day=800)),
        ("8/min,800/day", Limits(per_minute=8, per_day=800)),
        ("30/s, 60/minute", Limits(per_second=30, per_minute=60)),
        ("1/sec 25/DAY", Limits(per_second=1, per_day=25)),
        (" 5 / min ", Limits(per_minute=5)),
        ("2/second", Limits(per_second=2)),
        ("Unlimited", Limits()),
    ],
)
def test_limits_are_read_in_any_of_their_spellings(text: str, limits: Limits) -> None:
    assert Limits.parse(text) == limits


@given(LIMITS)
def test_what_limits_are_written_as_reads_as_the_same_limits(limits: Limits) -> None:
    assert Limits.parse(str(limits)) == limits


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "no limits are named"),
        (",", "no limits are named"),
        ("8", "'8' in '8' is no limit"),
        ("8/min 8x/day", "'8x/day' in '8/min 8x/day' is no limit"),
        ("-8/min", "'-8/min' in '-8/min' is no limit"),
        ("8.5/min", "is no limit"),
        ("8/hour", "'hour' in '8/hour' is no unit of a limit; known are s, sec, second, min, minute, day"),
        ("8/min 9/minute", "names two limits per minute"),
        ("0/day", "a limit of 0 calls allows none"),
    ],
)
def test_what_is_no_limit_is_refused_with_the_part_that_is_wrong(text: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint.replace(".", r"\.")):
        Limits.parse(text)


@pytest.mark.parametrize(
    ("text", "calls"),
    [
        ("5/min", 1),
        ("25/day", 1),
        ("8/min 800/day", 1),
        ("60/min", 3),
        ("300/min", 18),
        ("6000/min", LARGEST_LEASE),
        ("30/s 6000/min", 3),
        ("unlimited", LARGEST_LEASE),
    ],
)
def test_a_lease_grows_with_the_limits(text: str, calls: int) -> None:
    assert Limits.parse(text).lease == calls


@given(LIMITS)
def test_no_lease_is_larger_than_a_limit_or_smaller_than_a_call(limits: Limits) -> None:
    assert 1 <= limits.lease <= min(LARGEST_LEASE, limits.tightest or LARGEST_LEASE)
