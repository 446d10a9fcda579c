"""What prices say of a cash dividend that vendors tell differently: on which day it was, and of which amount.

A dividend of d lowers the price by ln(1 - d / C(t-1)) over its ex-date, on top of the night's own move. What a claim
leaves over of the moves on all days that the vendors name is its rest; the least rest is the best explanation. Most
dividends are no larger than a night's own move, so a rest counts as less only by several of those: else prices do not
tell, and what most vendors name wins, or what was learned last. What a person says wins whatever the prices say.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from statistics import median

from quantmatrix_pipeline.bars.split_evidence import (
    AGREED,
    EXPLAINS,
    OPERATOR,
    OUTDONE,
    OUTVOTED,
    OVERRULED,
    SAID_BY_HAND,
    UNDISPUTED,
    UNTESTED,
    Move,
)

SAME = 0.005  # up to this share two amounts are one, rounded otherwise
CLEARLY = 4.0  # nights' own moves by which one rest is less than another
LEAST_NIGHTS = 5  # to know how far the price moves by itself


@dataclass(frozen=True, slots=True)
class Word:
    """All that one vendor names for one ex-date: cash per share held at the close before, and the actions it is of.

    `tested` is False of cash in another currency than the prices.
    """

    vendor: str
    ex_date: date
    amount: float
    currency: str
    action_ids: tuple[int, ...]
    tested: bool = True

    @property
    def action_id(self) -> int:
        """The action that was learned last."""
        return max(self.action_ids)

    def says_the_same(self, other: Word) -> bool:
        return (self.ex_date, self.currency) == (other.ex_date, other.currency) and math.isclose(
            self.amount, other.amount, rel_tol=SAME
        )


@dataclass(frozen=True, slots=True)
class Judgement:
    """Whether a word counts, why, and what the prices said."""

    word: Word
    in_force: bool
    reason: str
    evidence: dict[str, object]


def decide(words: Sequence[Word], moves: Sequence[Move], close_before: dict[date, float]) -> list[Judgement]:
    """Judge the words of one event.

    Parameters
    ----------
    words
        What the vendors name, one or more each.
    moves
        Those of the days around, in prices as traded, across none of which a split lies.
    close_before
        Session of a move -> the close that it starts from.
    """
    first = words[0]
    if all(first.says_the_same(word) for word in words):
        reason = AGREED if len({word.vendor for word in words}) > 1 else UNDISPUTED
        return [Judgement(word, True, reason, {}) for word in words]
    if by_hand := [word for word in words if word.vendor == OPERATOR]:
        winner = max(by_hand, key=lambda w: w.action_id)
        return _won_by(winner, words, SAID_BY_HAND, OVERRULED, {word: {} for word in words})
    rests = _rests(words, moves, close_before)
    evidence: dict[Word, dict[str, object]] = {word: {} for word in words}
    if rests is not None:
        left, own = rests
        evidence = {w: {"left_over": round(left[w], 6), "usual_move": round(own, 6)} for w in words}
        best = min(words, key=lambda w: (left[w], -w.action_id))
        others = [w for w in words if not w.says_the_same(best)]
        if min(left[w] for w in others) - left[best] > CLEARLY * own:
            return _won_by(best, words, EXPLAINS, OUTDONE, evidence)
    votes = Counter({w: sum(w.says_the_same(other) for other in words) for w in words})
    winner = max(words, key=lambda w: (votes[w], w.action_id))
    return _won_by(winner, words, UNTESTED, OUTVOTED, evidence)


def _rests(
    words: Sequence[Word], moves: Sequence[Move], close_before: dict[date, float]
) -> tuple[dict[Word, float], float] | None:
    """Return what each word leaves over of the moves on all named days, and how far the price moves by itself."""
    days = sorted({word.ex_date for word in words})
    over = {day: next((m for m in moves if m.spans(day)), None) for day in days}
    named = {move.session for move in over.values() if move is not None}
    usual = [abs(move.size) for move in moves if move.session not in named]
    if not all(word.tested for word in words) or None in over.values() or len(usual) < LEAST_NIGHTS:
        return None
    left = {}
    for word in words:
        rest = 0.0
        for day, move in over.items():
            assert move is not None
            share = word.amount / close_before[move.session] if day == word.ex_date else 0.0
            rest += abs(move.size - math.log1p(-share)) if share < 1 else math.inf
        left[word] = rest
    return left, median(usual)


def _won_by(
    winner: Word, words: Sequence[Word], won: str, lost: str, evidence: dict[Word, dict[str, object]]
) -> list[Judgement]:
    return [
        Judgement(word, same := word.says_the_same(winner), won if same else lost, evidence[word]) for word in words
    ]
