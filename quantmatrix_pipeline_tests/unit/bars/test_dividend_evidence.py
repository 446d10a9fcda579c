"""Which of contradicting dividends counts, by the prices around them."""

from __future__ import annotations

from datetime import date, timedelta

from quantmatrix_pipeline.bars.dividend_evidence import Word, decide
from quantmatrix_pipeline.bars.split_evidence import (
    AGREED,
    EXPLAINS,
    OUTDONE,
    OUTVOTED,
    UNDISPUTED,
    UNTESTED,
    Move,
    moves_of,
)

DAY = date(2021, 12, 15)
NEXT = DAY + timedelta(days=1)
DAYS = [DAY + timedelta(days=n) for n in range(-10, 11)]


def word(number: int, vendor: str, amount: float, day: date = DAY, **rest: object) -> Word:
    return Word(vendor, day, amount, "USD", (number,), **rest)  # type: ignore[arg-type]


def prices(paid: float, own: float = 0.002) -> tuple[list[Move], dict[date, float]]:
    """A price of 100 that falls by what is paid on DAY, and goes up and down by a fifth of a percent at every open."""
    opened, closed, price = [], [], 100.0
    for n, day in enumerate(DAYS):
        price = (price - (paid if day == DAY else 0.0)) * (1 + own * (-1) ** n)
        opened.append(price)
        closed.append(price)
    return moves_of(DAYS, DAYS, opened, closed), dict(zip(DAYS[1:], closed, strict=False))


def outcome(words: list[Word], paid: float) -> list[tuple[bool, str]]:
    judged = decide(words, *prices(paid))
    assert [j.word for j in judged] == words
    return [(j.in_force, j.reason) for j in judged]


def test_what_one_alone_names_or_all_name_alike_needs_no_prices() -> None:
    assert outcome([word(1, "a", 0.5)], 0) == [(True, UNDISPUTED)]
    assert outcome([word(1, "a", 0.2055), word(2, "b", 0.206)], 0) == [(True, AGREED)] * 2


def test_prices_decide_between_amounts_and_days_that_are_far_apart() -> None:
    ten_times, right = word(1, "a", 30.0), word(2, "b", 3.0)
    assert outcome([ten_times, right], 3.0) == [(False, OUTDONE), (True, EXPLAINS)]
    assert outcome([right, word(3, "c", 30.0)], 30.0) == [(False, OUTDONE), (True, EXPLAINS)]
    assert outcome([right, word(3, "c", 3.0, NEXT)], 3.0) == [(True, EXPLAINS), (False, OUTDONE)]
    judged = decide([ten_times, right], *prices(3.0))
    assert judged[1].evidence["left_over"] < 0.01 < judged[0].evidence["left_over"]  # type: ignore[operator]


def test_where_prices_do_not_tell_most_vendors_win_and_else_the_last_word() -> None:
    small = [word(1, "a", 0.20), word(2, "b", 0.21)]
    assert outcome(small, 0.20) == [(False, OUTVOTED), (True, UNTESTED)]
    assert outcome([*small, word(3, "c", 0.20)], 0.20) == [(True, UNTESTED), (False, OUTVOTED), (True, UNTESTED)]
    foreign = [word(1, "a", 3.0), word(2, "b", 30.0, tested=False)]
    assert outcome(foreign, 3.0) == [(False, OUTVOTED), (True, UNTESTED)]
    # More than the price itself explains nothing.
    assert outcome([word(1, "a", 3.0), word(2, "b", 300.0)], 3.0) == [(True, EXPLAINS), (False, OUTDONE)]
