"""Scores and their parts, against 50 histories worked out in exact fractions, and what must hold for any history."""

from __future__ import annotations

import json
from datetime import date
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

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
from quantmatrix_pipeline.providers.routing.circuit import State
from quantmatrix_pipeline.providers.routing.health import Health, Outcome
from quantmatrix_pipeline_tests.unit.providers.routing import literal_health

CASES: list[dict[str, Any]] = json.loads(literal_health.ANSWERS.read_text())
ERRORS: dict[str, type[VendorError]] = {
    "rate_limited": RateLimited,
    "quota_exhausted": QuotaExhausted,
    "unsupported": UnsupportedRequest,
    "unknown_symbol": SymbolNotFound,
    "unavailable": VendorUnavailable,
    "malformed": MalformedResponse,
    "stale": StaleResponse,
    "bad_key": AuthFailed,
}


def outcome(milliseconds: float | None, name: str) -> Outcome:
    return Outcome(milliseconds, None if name == "ok" else ERRORS[name]("fmp", "for the test"))


def health_of(told: dict[str, Any]) -> Health:
    health = Health()
    for count, first, step, name in told["calls"]:
        health = health.after(outcome(None if first is None else first + n * step, name) for n in range(count))
    for session, received, expected in told["bars"]:
        health = health.with_bars(date.fromisoformat(session), received, expected)
    return health


def test_the_answer_file_holds_fifty_histories_as_the_definition_gives_them() -> None:
    assert len(CASES) == 50
    assert literal_health.ANSWERS.read_text() == literal_health.text()


@pytest.mark.parametrize("case", CASES, ids=[c["name"] for c in CASES])
def test_scores_and_their_parts_are_those_of_the_answer_file(case: dict[str, Any]) -> None:
    for told in case["vendors"]:
        score = health_of(told).score(State(told["circuit"]))
        shown = {part: getattr(score, part) for part in told["parts"]}
        assert shown == pytest.approx(told["parts"], rel=0, abs=1e-12), told["vendor"]
        assert score.total == pytest.approx(told["score"], rel=0, abs=1e-12), told["vendor"]


calls = st.lists(
    st.tuples(st.none() | st.floats(0, 60_000), st.sampled_from(["ok", *ERRORS])).map(lambda drawn: outcome(*drawn)),
    max_size=150,
)


@given(calls, st.sampled_from(State))
def test_a_score_lies_between_0_and_1_and_is_the_sum_of_its_parts(made: list[Outcome], state: State) -> None:
    score = Health().after(made).score(state)
    parts = (score.breaker, score.latency, score.errors, score.completeness)
    for part, weight in zip(parts, (0.45, 0.25, 0.20, 0.10), strict=True):
        assert 0 <= part <= weight
    assert score.total == pytest.approx(sum(parts), rel=0, abs=1e-12)
    assert 0 <= score.total <= 1


@given(calls, st.integers(0, 150))
def test_it_does_not_matter_in_how_many_portions_calls_are_told(made: list[Outcome], cut: int) -> None:
    assert Health().after(made[:cut]).after(made[cut:]) == Health().after(made)


@given(st.lists(st.floats(0, 60_000), min_size=1, max_size=150))
def test_the_percentile_is_numpys_linear_one_of_the_last_hundred(milliseconds: list[float]) -> None:
    p95 = Health().after(Outcome(ms) for ms in milliseconds).p95_ms
    assert p95 == pytest.approx(float(np.percentile(milliseconds[-100:], 95)), rel=1e-12, abs=1e-9)


@given(calls)
def test_a_429_changes_nothing_but_the_number_of_calls(made: list[Outcome]) -> None:
    storm = [outcome(9000.0, name) for name in ("rate_limited", "quota_exhausted") for _ in range(50)]
    before = Health().after(made)
    after = before.after(storm)
    assert after.calls == before.calls + 100
    assert (after.latencies_ms, after.error_ewma) == (before.latencies_ms, before.error_ewma)


@pytest.mark.parametrize(
    ("name", "ewma"),
    [("ok", 0.09), ("unsupported", 0.09), ("unknown_symbol", 0.09), ("stale", 0.19), ("bad_key", 0.19)],
)
def test_what_the_vendor_answers_properly_is_no_error_and_what_it_fails_is(name: str, ewma: float) -> None:
    once_failed = Health().after([outcome(100.0, "malformed")])
    assert once_failed.after([outcome(100.0, name)]).error_ewma == pytest.approx(ewma)


def test_what_another_vendor_contradicts_lowers_completeness_for_twenty_nights() -> None:
    health = Health().with_bars(date(2026, 1, 5), 9, 10).with_comparisons(date(2026, 1, 5), 3, 4)
    assert health.agreement == 0.75
    assert health.completeness == pytest.approx(0.9 * 0.75)
    assert health.with_comparisons(date(2026, 1, 5), 1, 1).agreement == 0.8
    assert health.score(State.CLOSED).completeness == pytest.approx(0.0675)
    for day in range(6, 26):
        health = health.with_comparisons(date(2026, 1, day), 1, 1)
    assert health.agreement == 1
    with pytest.raises(ValueError, match="2026-01-05: 2 bars confirmed of 1 compared"):
        Health().with_comparisons(date(2026, 1, 5), 2, 1)


@pytest.mark.parametrize("received", [-1, 3])
def test_bars_that_cannot_have_been_received_are_a_fault_of_the_caller(received: int) -> None:
    with pytest.raises(ValueError, match=f"2026-01-05: {received} bars received of 2 expected"):
        Health().with_bars(date(2026, 1, 5), received, 2)
