"""Which of contradicting splits counts, by the prices around them."""

from __future__ import annotations

import math
from datetime import date, timedelta
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantmatrix_pipeline.bars.split_evidence import (
    AGREED,
    EXPLAINS,
    OTHER_DAY,
    OUTDONE,
    OUTVOTED,
    REFUTED,
    UNDISPUTED,
    UNTESTED,
    Claim,
    Move,
    decide,
    events,
    looks_like_a_split,
    moves_of,
)

DAY = date(2020, 8, 31)
DAYS = [DAY + timedelta(days=n) for n in range(-5, 6)]


def moves(ratio: float = 1.0, on: date = DAY, own: float = 1.01) -> list[Move]:
    """Prices that split on a day, with a move of their own of 1 % at every open."""
    opened, close, price = [], [], 100.0
    for day in DAYS:
        price = price * own / (ratio if day == on else 1.0)
        opened.append(price)
        close.append(price)
    return moves_of(DAYS, DAYS, opened, close)


def claim(number: int, vendor: str, ratio: Fraction | int = 4, ex_date: date = DAY) -> Claim:
    return Claim(number, vendor, ex_date, Fraction(ratio))


def outcome(claims: list[Claim], around: list[Move]) -> list[tuple[bool, str]]:
    decision = decide(claims, around)
    assert [v.claim for v in decision.verdicts] == claims
    return [(v.in_force, v.reason) for v in decision.verdicts]


def test_one_that_the_prices_bear_out_is_in_force() -> None:
    assert outcome([claim(1, "a")], moves(4)) == [(True, UNDISPUTED)]
    assert outcome([claim(1, "a"), claim(2, "b")], moves(4)) == [(True, AGREED)] * 2


def test_one_over_which_the_price_stood_still_is_refuted_whoever_names_it() -> None:
    assert outcome([claim(1, "a")], moves()) == [(False, REFUTED)]
    assert outcome([claim(1, "a"), claim(2, "b")], moves()) == [(False, REFUTED)] * 2
    assert outcome([claim(1, "a", Fraction(1, 10))], moves()) == [(False, REFUTED)]


def test_a_stock_dividend_is_too_small_for_prices_to_tell() -> None:
    assert outcome([claim(1, "a", Fraction(21, 20))], moves()) == [(True, UNDISPUTED)]


@pytest.mark.parametrize("later", [0, 1])
def test_of_two_ratios_the_one_that_explains_the_price_wins_and_keeps_its_evidence(later: int) -> None:
    right, wrong = claim(1 + later, "a", 4), claim(2 - later, "b", 2)
    decision = decide([right, wrong], moves(4))
    assert [(v.in_force, v.reason) for v in decision.verdicts] == [(True, EXPLAINS), (False, OUTDONE)]
    won, lost = decision.verdicts
    assert (won.rivals, lost.rivals) == ((wrong.action_id,), (right.action_id,))
    assert won.evidence == {"session": str(DAY), "open_by_close_before": pytest.approx(1.01 / 4), "left_over": 0.01}
    assert lost.evidence["left_over"] == pytest.approx(1.01 / 4 * 2 - 1)


@pytest.mark.parametrize("shift", [-3, -1, 1, 3])
def test_of_two_days_the_one_on_which_the_price_split_wins_and_it_is_applied_once(shift: int) -> None:
    right, wrong = claim(1, "a"), claim(2, "b", ex_date=DAY + timedelta(days=shift))
    assert [[right.action_id, wrong.action_id]] == [sorted(c.action_id for c in e) for e in events([right, wrong])]
    assert outcome([right, wrong], moves(4)) == [(True, EXPLAINS), (False, OUTDONE)]


@pytest.mark.parametrize("shift", [-3, -1, 1, 3])
def test_a_day_that_nobody_names_is_taken_from_the_prices(shift: int) -> None:
    decision = decide([claim(1, "a", ex_date=DAY + timedelta(days=shift))], moves(4))
    assert decision.moved == (DAY, 4)
    assert [(v.in_force, v.reason) for v in decision.verdicts] == [(False, OTHER_DAY)]
    assert decide([claim(1, "a")], moves(4)).moved is None


def test_where_prices_can_not_tell_most_vendors_or_the_last_word_count() -> None:
    adjusted = [Move(DAYS[-1], DAYS[-1], day, 0.01) for day in DAYS]  # both sides in the shares of a later day
    assert outcome([claim(1, "a")], adjusted) == [(True, UNDISPUTED)]
    two = [claim(1, "a", 2), claim(2, "b", 3)]
    assert outcome(two, adjusted) == [(False, OUTVOTED), (True, UNTESTED)]
    assert outcome([*two, claim(3, "c", 2)], adjusted) == [(True, UNTESTED), (False, OUTVOTED), (True, UNTESTED)]
    assert outcome([claim(1, "a")], []) == [(True, UNDISPUTED)]


def test_two_days_that_one_vendor_names_are_two_splits() -> None:
    near = [claim(1, "a"), claim(2, "a", 2, DAY + timedelta(days=2)), claim(3, "b")]
    assert [[c.action_id for c in event] for event in events(near)] == [[1, 3], [2]]


def test_a_reverse_split_on_a_bad_day_is_still_one() -> None:
    fell = [Move(DAYS[4], DAYS[5], DAY, math.log(8 * 0.5))]
    assert outcome([claim(1, "a", Fraction(1, 8))], fell) == [(True, UNDISPUTED)]


@given(
    st.sampled_from([Fraction(r) for r in (2, 3, 4, 7, 10, 20)] + [Fraction(3, 2), Fraction(1, 10), Fraction(1, 5)]),
    st.floats(-0.07, 0.07),
    st.integers(-4, 4),
)
def test_whatever_one_or_two_vendors_say_the_day_and_ratio_of_the_prices_count_once(
    ratio: Fraction, own: float, shift: int
) -> None:
    around = moves(float(ratio), own=math.exp(own))
    named = claim(1, "a", ratio, DAY + timedelta(days=shift))
    decision = decide([named], around)
    counted = [(v.claim.ex_date, v.claim.ratio) for v in decision.verdicts if v.in_force]
    assert [*counted, *([decision.moved] if decision.moved else [])] == [(DAY, ratio)]
    both = decide([named, claim(2, "b", ratio)], around)
    assert {(v.claim.ex_date, v.claim.ratio) for v in both.verdicts if v.in_force} == {(DAY, ratio)}


@pytest.mark.parametrize("ratio", [2, 4, 0.1, 1.5, 20, 2 * 1.04, 1 / 1.25])
def test_moves_as_large_as_a_common_split_look_like_one(ratio: float) -> None:
    assert looks_like_a_split(-math.log(ratio))


@pytest.mark.parametrize("ratio", [1.0, 1.15, 1 / 1.15, 1.7, 0.55, 13.5])
def test_other_moves_do_not(ratio: float) -> None:
    assert not looks_like_a_split(-math.log(ratio))
