"""How well a vendor has served lately, as one number between 0 and 1 and the four parts that it is the sum of.

    score = 0.45 breaker + 0.25 latency + 0.20 errors + 0.10 completeness

    breaker       1 closed, 0.5 half open, 0 open
    latency       1 at a p95 of 250 ms or less, falling linearly to 0 at 5,000 ms or more
    errors        1 - EWMA of (1 for an error, 0 for none), alpha 0.1, beginning at 0
    completeness  bars received / bars expected over the last 20 sessions, times the share of its bars that another
                  vendor confirmed among those compared over the last 20 nights

A part of which nothing is known is 1. The p95 is that of the last 100 calls which were answered or timed out, linearly
interpolated between neighbours: of n sorted latencies, the one at position 0.95 (n - 1), counted from 0.

What counts as what: `RateLimited` and `QuotaExhausted` say something of the budget and are left out of latency and
errors. `UnsupportedRequest` and `SymbolNotFound` are proper answers: no errors. All other errors are the vendor's.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import date
from functools import lru_cache

from quantmatrix_pipeline.errors import (
    BudgetTooSmall,
    QuotaExhausted,
    RateLimited,
    SymbolNotFound,
    UnsupportedRequest,
    VendorError,
)
from quantmatrix_pipeline.providers.routing.circuit import State

WEIGHT_BREAKER = 0.45
WEIGHT_LATENCY = 0.25
WEIGHT_ERRORS = 0.20
WEIGHT_COMPLETENESS = 0.10
LATENCY_BEST_MS = 250.0
LATENCY_WORST_MS = 5000.0
LATENCIES_KEPT = 100
ERROR_ALPHA = 0.1
SESSIONS_KEPT = 20
PASSED_OVER_BELOW = 0.55  # a vendor with a lower score is passed over while another can serve

_OUT_OF_BUDGET = (RateLimited, QuotaExhausted, BudgetTooSmall)
_PROPER_ANSWERS = (UnsupportedRequest, SymbolNotFound)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one call ended.

    `milliseconds` is None where there was neither an answer nor a time-out, as when a connection is refused: how fast
    that went says nothing. `error` is None where the vendor answered what was asked.
    """

    milliseconds: float | None
    error: VendorError | None = None


@dataclass(frozen=True, slots=True)
class Score:
    """A health score as its weighted parts, each from 0 to its weight; their sum is the score."""

    breaker: float
    latency: float
    errors: float
    completeness: float

    @property
    def total(self) -> float:
        """The score, from 0 to 1."""
        # Rounded once: a vendor without any fault has 1, not 0.9999999999999999.
        return math.fsum((self.breaker, self.latency, self.errors, self.completeness))


@dataclass(frozen=True, slots=True)
class Health:
    """What is remembered of a vendor's calls, over all capabilities.

    Attributes
    ----------
    latencies_ms
        Milliseconds of the last calls that were answered or timed out, oldest first, at most 100.
    error_ewma
        From 0, no error lately, to 1.
    received
        (session, bars received, bars expected) of the last 20 sessions, ascending.
    compared
        (session, bars confirmed, bars compared) of the last 20 nights, ascending; see `ingest.reconcile`.
    calls
        All calls ever, 429s among them.
    """

    latencies_ms: tuple[float, ...] = ()
    error_ewma: float = 0.0
    received: tuple[tuple[date, int, int], ...] = ()
    calls: int = 0
    compared: tuple[tuple[date, int, int], ...] = ()

    def after(self, outcomes: Iterable[Outcome]) -> Health:
        """Return the health after more calls, given in the order in which they ended."""
        latencies, ewma, calls = list(self.latencies_ms), self.error_ewma, self.calls
        for outcome in outcomes:
            calls += 1
            if isinstance(outcome.error, _OUT_OF_BUDGET):
                continue
            if outcome.milliseconds is not None:
                latencies.append(outcome.milliseconds)
            at_fault = outcome.error is not None and not isinstance(outcome.error, _PROPER_ANSWERS)
            ewma += ERROR_ALPHA * (at_fault - ewma)
        return replace(self, latencies_ms=tuple(latencies[-LATENCIES_KEPT:]), error_ewma=ewma, calls=calls)

    def with_bars(self, session: date, received: int, expected: int) -> Health:
        """Return the health after bars of a session were asked for; several times for one session add up.

        Raises
        ------
        ValueError
            If not 0 <= received <= expected.
        """
        if not 0 <= received <= expected:
            raise ValueError(f"{session}: {received} bars received of {expected} expected")
        return replace(self, received=_added(self.received, session, received, expected))

    def with_comparisons(self, session: date, confirmed: int, compared: int) -> Health:
        """Return the health after a night's bars were compared with another vendor's; several times add up.

        Raises
        ------
        ValueError
            If not 0 <= confirmed <= compared.
        """
        if not 0 <= confirmed <= compared:
            raise ValueError(f"{session}: {confirmed} bars confirmed of {compared} compared")
        return replace(self, compared=_added(self.compared, session, confirmed, compared))

    @property
    def p95_ms(self) -> float | None:
        """The 95th percentile of the latencies, None where there are none."""
        if not self.latencies_ms:
            return None
        ordered = sorted(self.latencies_ms)
        position = 0.95 * (len(ordered) - 1)
        below = int(position)
        above = min(below + 1, len(ordered) - 1)
        return ordered[below] + (position - below) * (ordered[above] - ordered[below])

    @property
    def completeness(self) -> float:
        """Bars received over bars expected, times `agreement`; 1 where none were expected or compared."""
        return _share(self.received) * self.agreement

    @property
    def agreement(self) -> float:
        """Bars that another vendor confirmed over bars compared, 1 where none were."""
        return _share(self.compared)

    def score(self, state: State) -> Score:
        """Return the score of a vendor whose circuit is in `state`."""
        return _score(self, state)  # asked for at each choice, while few vendors were called since the last one


_Counts = tuple[tuple[date, int, int], ...]


def _added(counts: _Counts, session: date, part: int, whole: int) -> _Counts:
    """Return the counts of the newest 20 sessions, with these added to those of theirs."""
    by_day = {day: (some, of) for day, some, of in counts}
    some, of = by_day.get(session, (0, 0))
    by_day[session] = (some + part, of + whole)
    return tuple((day, *by_day[day]) for day in sorted(by_day)[-SESSIONS_KEPT:])


def _share(counts: _Counts) -> float:
    whole = sum(of for _, _, of in counts)
    return sum(some for _, some, _ in counts) / whole if whole else 1.0


@lru_cache(maxsize=256)
def _score(health: Health, state: State) -> Score:
    p95 = health.p95_ms
    slow = 0.0 if p95 is None else (p95 - LATENCY_BEST_MS) / (LATENCY_WORST_MS - LATENCY_BEST_MS)
    return Score(
        breaker=WEIGHT_BREAKER * state.level,
        latency=WEIGHT_LATENCY * (1 - min(max(slow, 0.0), 1.0)),
        errors=WEIGHT_ERRORS * (1 - health.error_ewma),
        completeness=WEIGHT_COMPLETENESS * health.completeness,
    )
