"""The circuit breaker against a literal one that keeps a log of what happened and works everything out from it."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from quantmatrix_pipeline.errors import (
    AuthFailed,
    MalformedResponse,
    QuotaExhausted,
    RateLimited,
    StaleResponse,
    SymbolNotFound,
    UnsupportedRequest,
    VendorError,
    VendorUnavailable,
)
from quantmatrix_pipeline.providers.routing.circuit import Admission, Circuit, State

MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0
T0 = 1_795_000_000.0

UNAVAILABLE = VendorUnavailable("fmp", "no connection")
MALFORMED = MalformedResponse("fmp", "a page")
BAD_KEY = AuthFailed("fmp", "401")
NO_PLAN = UnsupportedRequest("fmp", "402")
ANSWERS: list[VendorError] = [
    SymbolNotFound("fmp", "unknown", symbol="A"),
    UnsupportedRequest("fmp", "402", symbol="A"),
    StaleResponse("fmp", "old", symbol="A"),
]
LIMITS: list[VendorError] = [RateLimited("fmp", "429"), QuotaExhausted("fmp", "429")]


class Literal:
    """The breaker as it is told in words: mutable, one `if` per sentence."""

    def __init__(self) -> None:
        self.phase = "closed"
        self.faults_in_a_row = 0
        self.openings_in_a_row = 0
        self.why = ""
        self.wait_ends = 0.0
        self.probe_ends: float | None = None
        self.plan_lacks_it_until: float | None = None
        self.key_of_refusal: str | None = None

    def open(self, why: str, now: float, wait: float) -> None:
        self.phase, self.why, self.wait_ends = "open", why, now + wait
        self.openings_in_a_row += 1

    def fault(self, now: float) -> None:
        if self.phase == "open":
            return
        self.faults_in_a_row += 1
        if self.phase == "half_open" or self.faults_in_a_row == 5:
            cool_downs = [60, 120, 240, 480, 960, 1920, 3600]
            self.open("fault", now, cool_downs[min(self.openings_in_a_row, 6)])

    def bad_key(self, now: float, key: str) -> None:
        if self.phase == "open" and self.why == "bad key":
            return
        self.open("bad key", now, 3600)
        self.key_of_refusal = key

    def answered(self) -> None:
        if self.phase != "open":
            self.phase, self.faults_in_a_row, self.openings_in_a_row = "closed", 0, 0

    def plan_lacks_it(self, now: float, key: str) -> None:
        self.answered()
        self.plan_lacks_it_until = now + 24 * 60 * 60
        self.key_of_refusal = key

    def limited(self) -> None:
        if self.phase == "half_open":
            self.probe_ends = None

    def key_is(self, key: str) -> None:
        if key == self.key_of_refusal:
            return
        if self.phase == "open" and self.why == "bad key":
            self.phase, self.probe_ends = "half_open", None
            self.key_of_refusal, self.plan_lacks_it_until = key, None
        elif self.plan_lacks_it_until is not None:
            self.key_of_refusal, self.plan_lacks_it_until = key, None

    def says(self, now: float) -> str:
        if self.plan_lacks_it_until is not None and now < self.plan_lacks_it_until:
            return "not_in_plan"
        if self.phase == "closed":
            return "ask"
        if self.phase == "open":
            return "open" if now < self.wait_ends else "probe"
        return "probe_under_way" if self.probe_ends is not None and now < self.probe_ends else "probe"


class TwoBreakers(RuleBasedStateMachine):
    """Anything may happen at any time, also what a caller should not do, such as hearing of calls while open."""

    def __init__(self) -> None:
        super().__init__()
        self.now = T0
        self.key = "first key"
        self.circuit = Circuit()
        self.literal = Literal()

    @rule(seconds=st.sampled_from([0.5, 29.5, 30.0, 60.0, 119.0, 600.0, 3600.0, DAY]) | st.floats(0, 4000))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule(error=st.sampled_from([UNAVAILABLE, MALFORMED]), times=st.integers(1, 6))
    def faults(self, error: VendorError, times: int) -> None:
        for _ in range(times):
            self.circuit = self.circuit.after_fault(error, self.now, self.key)
            self.literal.key_is(self.key)
            self.literal.fault(self.now)

    @rule()
    def the_key_is_refused(self) -> None:
        self.circuit = self.circuit.after_fault(BAD_KEY, self.now, self.key)
        self.literal.key_is(self.key)
        self.literal.bad_key(self.now, self.key)

    @rule()
    def data_comes(self) -> None:
        self.circuit = self.circuit.after_success()
        self.literal.answered()
        self.literal.plan_lacks_it_until = None

    @rule(error=st.sampled_from(ANSWERS))
    def an_answer_without_data_comes(self, error: VendorError) -> None:
        self.circuit = self.circuit.after_fault(error, self.now, self.key)
        self.literal.key_is(self.key)
        self.literal.answered()

    @rule()
    def the_plan_lacks_it(self) -> None:
        self.circuit = self.circuit.after_fault(NO_PLAN, self.now, self.key)
        self.literal.key_is(self.key)
        self.literal.plan_lacks_it(self.now, self.key)

    @rule(error=st.sampled_from(LIMITS))
    def too_many_calls(self, error: VendorError) -> None:
        self.circuit = self.circuit.after_fault(error, self.now, self.key)
        self.literal.key_is(self.key)
        self.literal.limited()

    @rule(seconds=st.sampled_from([30.0, 120.0]))
    def a_probe_is_let_through(self, seconds: float) -> None:
        if self.circuit.admits(self.now) is Admission.PROBE:
            self.circuit = self.circuit.probing(self.now + seconds)
            self.literal.phase, self.literal.probe_ends = "half_open", self.now + seconds

    @rule(key=st.sampled_from(["first key", "second key"]), told=st.booleans())
    def the_key_in_force_is(self, key: str, told: bool) -> None:
        self.key = key
        if told:  # else the circuit hears of it with what happens next
            self.circuit = self.circuit.with_key(key)
            self.literal.key_is(key)

    @invariant()
    def both_say_the_same(self) -> None:
        for later in (0.0, 1.0, 60.0, 3600.0):
            at = self.now + later
            assert self.circuit.admits(at).value == self.literal.says(at)
            cooling = self.literal.phase == "open" and at >= self.literal.wait_ends
            assert self.circuit.state_at(at) == ("half_open" if cooling else self.literal.phase)
        assert self.circuit.failures == 0 or self.circuit.state is not State.CLOSED or self.circuit.failures < 5
        assert (self.circuit.reason is None) == (self.circuit.state is State.CLOSED)
        assert (self.circuit.opened_at is None) == (self.circuit.state is State.CLOSED)


TestTwoBreakers = TwoBreakers.TestCase
TestTwoBreakers.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)


def after(*errors: VendorError, circuit: Circuit | None = None, now: float = T0, key: str | None = None) -> Circuit:
    circuit = circuit or Circuit()
    for error in errors:
        circuit = circuit.after_fault(error, now, key)
    return circuit


def test_it_opens_at_the_fifth_fault_in_a_row_and_not_before() -> None:
    assert after(*[UNAVAILABLE, MALFORMED] * 2).admits(T0) is Admission.ASK
    assert after(*[UNAVAILABLE, MALFORMED] * 2, UNAVAILABLE).admits(T0) is Admission.OPEN


@pytest.mark.parametrize("answer", ANSWERS, ids=lambda e: type(e).__name__)
def test_an_answer_in_between_begins_the_count_again(answer: VendorError) -> None:
    assert after(*[UNAVAILABLE] * 4, answer, *[UNAVAILABLE] * 4).state is State.CLOSED


@pytest.mark.parametrize("error", [*ANSWERS, *LIMITS], ids=lambda e: type(e).__name__)
def test_what_is_no_fault_never_opens_it(error: VendorError) -> None:
    assert after(*[error] * 100).admits(T0) is Admission.ASK


def test_the_cool_down_doubles_with_each_failed_probe_up_to_an_hour() -> None:
    circuit, now, waits = after(*[UNAVAILABLE] * 5), T0, []
    for _ in range(1200):
        assert circuit.retry_at is not None
        waits.append(circuit.retry_at - now)
        assert circuit.admits(circuit.retry_at - 0.001) is Admission.OPEN
        now = circuit.retry_at
        assert circuit.admits(now) is Admission.PROBE
        circuit = circuit.probing(now + 30).after_fault(UNAVAILABLE, now)
    assert waits[:8] == [60, 120, 240, 480, 960, 1920, 3600, 3600]
    assert set(waits[8:]) == {3600}


def test_after_a_close_the_cool_down_begins_at_a_minute_again() -> None:
    opened_twice = after(*[UNAVAILABLE] * 5).probing(T0 + 90).after_fault(UNAVAILABLE, T0 + 60)
    closed = opened_twice.probing(T0 + 300).after_success()
    assert closed == Circuit()
    assert after(*[UNAVAILABLE] * 5, circuit=closed).retry_at == T0 + MINUTE


def test_one_probe_goes_through_and_another_only_when_nothing_was_heard_of_the_first() -> None:
    probing = after(*[UNAVAILABLE] * 5).probing(T0 + 90)
    assert probing.admits(T0 + 89) is Admission.PROBE_UNDER_WAY
    assert probing.admits(T0 + 90) is Admission.PROBE


def test_a_refused_key_waits_an_hour_and_another_key_is_tried_at_once() -> None:
    circuit = after(BAD_KEY, key="a")
    assert circuit.admits(T0 + HOUR - 1) is Admission.OPEN
    assert circuit.admits(T0 + HOUR) is Admission.PROBE
    assert circuit.with_key("a") == circuit
    renewed = circuit.with_key("b")
    assert (renewed.state, renewed.admits(T0 + 1)) == (State.HALF_OPEN, Admission.PROBE)
    assert renewed.after_success() == Circuit()
    assert renewed.after_fault(BAD_KEY, T0 + 1, "b").admits(T0 + 2) is Admission.OPEN


def test_another_key_does_not_mend_a_vendor_that_is_down() -> None:
    circuit = after(*[UNAVAILABLE] * 5, key="a")
    assert circuit.with_key("b") == circuit


def test_a_key_set_where_there_was_none_is_another_key() -> None:
    assert after(BAD_KEY).with_key("a").admits(T0) is Admission.PROBE


def test_what_the_plan_lacks_is_not_asked_for_a_day_or_until_the_key_changes() -> None:
    circuit = after(NO_PLAN, key="a")
    assert circuit.state is State.CLOSED
    assert circuit.admits(T0 + DAY - 1) is Admission.NOT_IN_PLAN
    assert circuit.admits(T0 + DAY) is Admission.ASK
    assert circuit.with_key("a").admits(T0) is Admission.NOT_IN_PLAN
    assert circuit.with_key("b").admits(T0) is Admission.ASK
    assert circuit.after_success() == Circuit()


def test_the_level_of_a_state_is_what_scores_and_metrics_show() -> None:
    assert {state.value: state.level for state in State} == {"closed": 1.0, "half_open": 0.5, "open": 0.0}
