"""Whether a vendor may be asked for one capability at all: a circuit breaker as a pure state machine.

There is one circuit per (vendor, capability). What happens to it, by the state that it is in:

    what happened                        closed                half open             open
    -----------------------------------  --------------------  --------------------  -------------------------
    an answer, of whatever kind (1)      closed, no faults     closed                open (it was asked before)
    a fault (2)                          one fault more; at    open, cool-down       open (it was asked before)
                                         the fifth in a row:   twice as long
                                         open
    AuthFailed                           open for an hour      open for an hour      open for an hour (3)
    RateLimited, QuotaExhausted          closed                half open, the next   open
                                                               may probe
    a probe is let through               -                     half open             half open, once the
                                                                                     cool-down is over
    another key                          closed                half open             after AuthFailed: half
                                                                                     open, else open

(1) Data, or `UnsupportedRequest`, `SymbolNotFound`, `StaleResponse`: the vendor is there and speaks sense.
(2) `VendorUnavailable`, `MalformedResponse`, and any failure that has no type of its own.
(3) One that is open after `AuthFailed` already stays as it is: the calls under way all fail with the same key.

The first cool-down is a minute; each opening out of half open doubles it, up to an hour. `AuthFailed` concerns the
vendor's key, so the caller tells all circuits of the vendor.

Apart from all this, `UnsupportedRequest` without a symbol says that the plan lacks the capability: it is not asked for
again for a day, or until the key is another one. Any data in between says otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from quantmatrix_pipeline.errors import (
    AuthFailed,
    BudgetTooSmall,
    QuotaExhausted,
    RateLimited,
    StaleResponse,
    SymbolNotFound,
    UnsupportedRequest,
    VendorError,
)

FAULTS_TO_OPEN = 5
COOL_DOWN_SECONDS = 60.0
LONGEST_COOL_DOWN_SECONDS = 3600.0  # the one after AuthFailed, too
NOT_IN_PLAN_SECONDS = 24 * 3600.0

_KEY_REFUSED = AuthFailed.__name__
_OUT_OF_BUDGET = (RateLimited, QuotaExhausted, BudgetTooSmall)
_ANSWERS = (UnsupportedRequest, SymbolNotFound, StaleResponse)


class State(StrEnum):
    """The state of a circuit."""

    CLOSED = "closed"
    HALF_OPEN = "half_open"
    OPEN = "open"

    @property
    def level(self) -> float:
        """1 closed, 0.5 half open, 0 open: the form in which scores and metrics take it."""
        return {State.CLOSED: 1.0, State.HALF_OPEN: 0.5, State.OPEN: 0.0}[self]


class Admission(StrEnum):
    """What a circuit says to the next question."""

    ASK = "ask"
    PROBE = "probe"  # one question only, by whoever claims it
    OPEN = "open"
    PROBE_UNDER_WAY = "probe_under_way"
    NOT_IN_PLAN = "not_in_plan"


@dataclass(frozen=True, slots=True)
class Circuit:
    """A circuit at one moment. Times are seconds since the epoch.

    Attributes
    ----------
    state
        As it was left; `state_at` says what it is at a moment.
    failures
        Faults in a row.
    opened_at
        When it opened last; None while closed.
    retry_at
        Open: when the cool-down ends. Half open: until when a probe is waited for; None: nobody probes.
    times_opened
        Openings in a row, without a close in between.
    reason
        The name of the error that opened it; None while closed.
    key_mark
        A mark of the key that was refused, or whose plan lacks the capability, or of the key that took its place;
        None without any.
    not_in_plan_until
        Before that moment the plan lacks the capability.
    """

    state: State = State.CLOSED
    failures: int = 0
    opened_at: float | None = None
    retry_at: float | None = None
    times_opened: int = 0
    reason: str | None = None
    key_mark: str | None = None
    not_in_plan_until: float | None = None

    def admits(self, now: float) -> Admission:
        """Return what may be asked at `now`. A moment that ends a wait is no longer part of it."""
        if self.not_in_plan_until is not None and now < self.not_in_plan_until:
            return Admission.NOT_IN_PLAN
        if self.state is State.CLOSED:
            return Admission.ASK
        if self.retry_at is None or now >= self.retry_at:
            return Admission.PROBE
        return Admission.OPEN if self.state is State.OPEN else Admission.PROBE_UNDER_WAY

    def state_at(self, now: float) -> State:
        """Return the state at `now`: open only as long as the cool-down lasts."""
        over = self.retry_at is None or now >= self.retry_at
        return State.HALF_OPEN if self.state is State.OPEN and over else self.state

    def probing(self, until: float) -> Circuit:
        """Return the circuit with its probe let through; if nothing is heard of it until then, another may follow."""
        return replace(self, state=State.HALF_OPEN, retry_at=until)

    def after_success(self) -> Circuit:
        """Return the circuit after data came."""
        return replace(self, not_in_plan_until=None) if self.state is State.OPEN else Circuit()

    def after_fault(self, error: VendorError, now: float, key_mark: str | None = None) -> Circuit:
        """Return the circuit after a question ended in an error.

        Parameters
        ----------
        error
            What ended it; any kind, also those that change nothing.
        now
            When it did.
        key_mark
            A mark of the key that was sent along, None without one.
        """
        known = self.with_key(key_mark)
        if isinstance(error, AuthFailed):
            return known._refused(now, key_mark)
        if isinstance(error, _OUT_OF_BUDGET):
            return replace(known, retry_at=None) if known.state is State.HALF_OPEN else known
        if isinstance(error, UnsupportedRequest) and error.symbol is None:
            return replace(known._answered(), key_mark=key_mark, not_in_plan_until=now + NOT_IN_PLAN_SECONDS)
        if isinstance(error, _ANSWERS):
            return known._answered()
        return known._failed(type(error).__name__, now)

    def with_key(self, key_mark: str | None) -> Circuit:
        """Return the circuit under the key that is in force now: another one than was refused is tried at once."""
        refused = self.state is State.OPEN and self.reason == _KEY_REFUSED
        if key_mark == self.key_mark or not (refused or self.not_in_plan_until is not None):
            return self
        renewed = replace(self, key_mark=key_mark, not_in_plan_until=None)
        return replace(renewed, state=State.HALF_OPEN, retry_at=None) if refused else renewed

    def _answered(self) -> Circuit:
        if self.state is State.OPEN:
            return self
        mark = self.key_mark if self.not_in_plan_until is not None else None
        return Circuit(key_mark=mark, not_in_plan_until=self.not_in_plan_until)

    def _failed(self, reason: str, now: float) -> Circuit:
        if self.state is State.OPEN:
            return self
        counted = replace(self, failures=self.failures + 1)
        if self.state is State.CLOSED and counted.failures < FAULTS_TO_OPEN:
            return counted
        doublings = min(self.times_opened, 16)  # far past the longest; a vendor may be gone for months
        wait = min(COOL_DOWN_SECONDS * 2**doublings, LONGEST_COOL_DOWN_SECONDS)
        return counted._opened(reason, now, wait)

    def _refused(self, now: float, key_mark: str | None) -> Circuit:
        if self.state is State.OPEN and self.reason == _KEY_REFUSED:
            return self
        counted = replace(self, failures=self.failures + 1, key_mark=key_mark)
        return counted._opened(_KEY_REFUSED, now, LONGEST_COOL_DOWN_SECONDS)

    def _opened(self, reason: str, now: float, wait: float) -> Circuit:
        return replace(
            self,
            state=State.OPEN,
            opened_at=now,
            retry_at=now + wait,
            times_opened=self.times_opened + 1,
            reason=reason,
        )
