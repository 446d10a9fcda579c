"""What prices say of a split that somebody named: whether it happened, on which day, and which of several it was.

A split of ratio r moves the price from one bar to the next by 1 / r, on top of the day's own move. So it leaves, of the
move m = ln(open / close before) over its ex-date, the rest m + ln r; what it takes off, |m| - |m + ln r|, is its gain.
The true one has the greatest gain; one that never happened has a loss of ln r.

Only moves between prices of different share units can tell: where a source adjusted both sides already, nothing shows.
Moves are taken in prices as stored, since it is those that the splits in force must make comparable.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from fractions import Fraction
from itertools import pairwise
from typing import Protocol, TypeVar

SMALLEST = math.log(1.2)  # a 5-for-4 split moves the price by more; smaller ones are lost among other moves
SAME_EVENT = timedelta(days=7)  # ex-dates of one split as several vendors tell it lie no further apart
MATCH = 0.25  # of ln r: what may be left over where a day without any claim is taken for the ex-date
STILL = 0.2  # of ln r: a price that moved by less did not split

COMMON = tuple(
    Fraction(new, old)
    for new, old in [
        *((n, 1) for n in (*range(2, 11), 12, 15, 20, 25, 30, 40, 50, 100)),
        (3, 2),
        (4, 3),
        (5, 4),
        (5, 2),
    ]
)
LOOKS_LIKE = 0.05  # how near ln(open / close before) lies to a common ratio's for the move to look like a split

AGREED, UNDISPUTED, EXPLAINS = "agreed", "undisputed", "explains_prices"
REFUTED, OUTDONE, OTHER_DAY = "refuted_by_prices", "another_explains_prices", "prices_split_on_another_day"
UNTESTED, OUTVOTED = "prices_do_not_tell", "outvoted"
OPERATOR = "operator"  # the vendor of what a person says, who has read it somewhere
SAID_BY_HAND, OVERRULED = "said_by_operator", "overruled_by_operator"
WITHDRAWN_BY_HAND, RESTORED_BY_HAND = "withdrawn_by_operator", "restored_by_operator"


@dataclass(frozen=True, slots=True)
class Claim:
    """A split as a vendor names it; `action_id` grows with the moment at which it was learned."""

    action_id: int
    vendor: str
    ex_date: date
    ratio: Fraction

    @property
    def size(self) -> float:
        """ln r."""
        return math.log(self.ratio)


class Told(Protocol):
    """Anything that a vendor names for a day."""

    @property
    def action_id(self) -> int: ...
    @property
    def vendor(self) -> str: ...
    @property
    def ex_date(self) -> date: ...


T = TypeVar("T", bound=Told)


@dataclass(frozen=True, slots=True)
class Move:
    """From one stored bar to the next: the days in whose share units they are quoted, the later bar's session, and
    ln(open / close before).
    """

    quoted_before: date
    quoted: date
    session: date
    size: float

    def spans(self, ex_date: date) -> bool:
        """Say whether a split of this day lies between the two prices."""
        return self.quoted_before < ex_date <= self.quoted


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a claim counts, why, and what the prices said; `rivals` are the other claims of the same event."""

    claim: Claim
    in_force: bool
    reason: str
    rivals: tuple[int, ...] = ()
    evidence: dict[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Decision:
    """What was decided of one event; `moved` is the ex-date and ratio that prices show where nobody names that day."""

    verdicts: tuple[Verdict, ...]
    moved: tuple[date, Fraction] | None = None


def events(claims: Iterable[T]) -> list[list[T]]:
    """Return the claims of one instrument by event: what lies near each other is one split as several tell it.

    Two ex-dates that one vendor names are two splits, however near they lie; what others say of them is then judged
    day by day.
    """
    found: list[list[T]] = []
    for claim in sorted(claims, key=lambda c: (c.ex_date, c.action_id)):
        if found and claim.ex_date - found[-1][-1].ex_date <= SAME_EVENT:
            found[-1].append(claim)
        else:
            found.append([claim])
    result: list[list[T]] = []
    for group in found:
        days: Counter[str] = Counter(vendor for vendor, _ in {(c.vendor, c.ex_date) for c in group})
        if max(days.values()) > 1:
            result += [[c for c in group if c.ex_date == day] for day in sorted({c.ex_date for c in group})]
        else:
            result.append(group)
    return result


def decide(claims: Sequence[Claim], moves: Sequence[Move]) -> Decision:
    """Judge the claims of one event by the moves around it.

    In this order: what a person says wins; the claim with the greatest gain wins; where none has any, a day that nobody
    names wins if the price moved on it as one of the ratios says; a split of 6-for-5 or more over which the price stood
    still is refuted; and where prices do not tell, what most vendors name wins, or else what was learned last.
    """
    tested = {c: next((m for m in moves if m.spans(c.ex_date)), None) for c in claims}
    if by_hand := [c for c in claims if c.vendor == OPERATOR]:
        winner = max(by_hand, key=lambda c: c.action_id)
        return Decision(_verdicts(claims, tested, _won_by(winner, claims, SAID_BY_HAND, OVERRULED)))
    gains = {c: _gain(m.size, c.size) for c, m in tested.items() if m is not None}
    best = max(gains, key=lambda c: (gains[c], c.action_id), default=None)
    elsewhere = _elsewhere(claims, moves)
    reached = gains[best] if best is not None else -math.inf
    if best is not None and elsewhere is not None and reached < elsewhere[2] - abs(best.size) / 2:
        session, ratio, _ = elsewhere
        reasons = dict.fromkeys(claims, (False, OTHER_DAY))
        return Decision(_verdicts(claims, tested, reasons), (session, ratio))
    if best is not None and reached > 0:
        return Decision(_verdicts(claims, tested, _won_by(best, claims, EXPLAINS, OUTDONE)))
    refuted = [c for c, m in tested.items() if m and abs(c.size) >= SMALLEST and abs(m.size) <= STILL * abs(c.size)]
    open_ = [c for c in claims if c not in refuted]
    reasons = dict.fromkeys(refuted, (False, REFUTED))
    if open_:
        votes = Counter((c.ex_date, c.ratio) for c in open_)
        winner = max(open_, key=lambda c: (votes[c.ex_date, c.ratio], c.action_id))
        reasons |= _won_by(winner, open_, UNTESTED, OUTVOTED)
    return Decision(_verdicts(claims, tested, reasons))


def looks_like_a_split(size: float) -> bool:
    """Say whether a move ln(open / close before) is as large as that of a common split, either way."""
    return abs(size) >= SMALLEST and any(abs(abs(size) - math.log(r)) <= LOOKS_LIKE for r in COMMON)


def _gain(move: float, size: float) -> float:
    return abs(move) - abs(move + size)


def _elsewhere(claims: Sequence[Claim], moves: Sequence[Move]) -> tuple[date, Fraction, float] | None:
    """Return session, ratio and gain of the move that matches one of the ratios best, on a day that nobody names."""
    found = [
        (_gain(move.size, claim.size), move.session, claim.ratio)
        for claim in claims
        for move in moves
        if abs(claim.size) >= SMALLEST
        and abs(move.size + claim.size) <= MATCH * abs(claim.size)
        and not any(move.spans(other.ex_date) for other in claims)
    ]
    if not found:
        return None
    gain, session, ratio = max(found)
    return session, ratio, gain


def _won_by(winner: Claim, claims: Sequence[Claim], won: str, lost: str) -> dict[Claim, tuple[bool, str]]:
    """Return (in force, reason) of each claim where those that say what `winner` says count."""
    same = [c for c in claims if (c.ex_date, c.ratio) == (winner.ex_date, winner.ratio)]
    if len(same) == len(claims):
        won = AGREED if len({c.vendor for c in claims}) > 1 else UNDISPUTED
    return {c: (True, won) if c in same else (False, lost) for c in claims}


def _verdicts(
    claims: Sequence[Claim], tested: dict[Claim, Move | None], reasons: dict[Claim, tuple[bool, str]]
) -> tuple[Verdict, ...]:
    found = []
    for claim in claims:
        move = tested[claim]
        evidence: dict[str, object] = {}
        if move is not None:
            evidence = {
                "session": str(move.session),
                "open_by_close_before": round(math.exp(move.size), 6),
                "left_over": round(math.expm1(move.size + claim.size), 6),
            }
        rivals = tuple(sorted(c.action_id for c in claims if c is not claim))
        found.append(Verdict(claim, *reasons[claim], rivals, evidence))
    return tuple(found)


def moves_of(
    session: Sequence[date], quoted: Sequence[date], open_: Sequence[float], close: Sequence[float]
) -> list[Move]:
    """Return the moves between the bars of one instrument, ascending by session, in prices as stored."""
    return [
        Move(quoted[i], quoted[k], session[k], math.log(open_[k] / close[i])) for i, k in pairwise(range(len(session)))
    ]
