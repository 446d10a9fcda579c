"""Who is asked first: against 50 histories worked out from the definition, and what holds for any vendors."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantmatrix_pipeline.errors import AuthFailed, UnsupportedRequest, VendorUnavailable
from quantmatrix_pipeline.providers.contract import Capability
from quantmatrix_pipeline.providers.routing.circuit import Circuit, State
from quantmatrix_pipeline.providers.routing.health import Health
from quantmatrix_pipeline.providers.routing.order import MARGIN, Candidate, Ranking, rank
from quantmatrix_pipeline_tests.unit.providers.routing.test_health import CASES, health_of

NOW = 1_795_000_000.0  # 2026-11-18T11:06:40Z
QUOTES = Capability.QUOTES


def circuit(state: str, now: float = NOW) -> Circuit:
    return Circuit(State(state), retry_at=now + 60 if state == "open" else None, reason="VendorUnavailable")


def at_latency(name: str, milliseconds: float, **rest: Any) -> Candidate:
    return Candidate(name, health=Health(latencies_ms=(milliseconds,)), **rest)


def slow(name: str, **rest: Any) -> Candidate:
    """A vendor of score 0.75."""
    return at_latency(name, 5000.0, **rest)


def asked(*candidates: Candidate, preferred: str | None = None) -> Ranking:
    return rank(QUOTES, candidates, NOW, preferred=preferred)


@pytest.mark.parametrize("case", CASES, ids=[c["name"] for c in CASES])
def test_the_order_is_that_of_the_answer_file(case: dict[str, Any]) -> None:
    candidates = [
        Candidate(told["vendor"], circuit=circuit(told["circuit"]), health=health_of(told)) for told in case["vendors"]
    ]
    ranking = asked(*candidates)
    assert list(ranking.order) == case["order"]
    assert {*ranking.order, *ranking.skipped} == {c.vendor for c in candidates}
    for told in case["vendors"]:
        assert ranking.scores[told["vendor"]].total == pytest.approx(told["score"], rel=0, abs=1e-12)


candidates = st.lists(
    st.tuples(
        st.floats(0, 6000),
        st.floats(0, 1),
        st.sampled_from(["closed", "closed", "half_open", "open"]),
        st.none() | st.floats(NOW - 3600, NOW),
    ),
    max_size=8,
).map(
    lambda drawn: [
        Candidate(
            f"vendor{n}", circuit=circuit(state), health=Health(latencies_ms=(ms,), error_ewma=ewma), heard_at=heard
        )
        for n, (ms, ewma, state, heard) in enumerate(drawn)
    ]
)


@given(candidates)
def test_a_vendor_is_behind_a_later_one_only_for_a_reason_that_its_score_gives(drawn: list[Candidate]) -> None:
    ranking = asked(*drawn)
    policy = [c.vendor for c in drawn]
    score = {vendor: ranking.scores[vendor].total for vendor in policy}
    behind = set()
    for at, vendor in enumerate(ranking.order):
        for later in ranking.order[:at]:
            if policy.index(later) > policy.index(vendor):
                behind.add(vendor)
                passed_over = score[vendor] < 0.55 + 1e-9 and score[later] >= 0.55 - 1e-9
                assert passed_over or score[later] > score[vendor] + MARGIN - 1e-8
    assert behind == set(ranking.moved)
    assert set(ranking.trials) <= behind


@given(candidates)
def test_no_vendor_stands_right_behind_an_earlier_one_that_it_should_have_overtaken(drawn: list[Candidate]) -> None:
    ranking = asked(*drawn)
    policy = [c.vendor for c in drawn]
    score = {vendor: ranking.scores[vendor].total for vendor in policy}
    for ahead, vendor in zip(ranking.order, ranking.order[1:], strict=False):
        assert not (score[ahead] < 0.55 - 1e-9 and score[vendor] >= 0.55 + 1e-9)
        if policy.index(ahead) < policy.index(vendor):
            assert score[vendor] <= score[ahead] + MARGIN + 1e-8


@given(candidates, st.integers(0, 7))
def test_a_preferred_source_goes_first_when_it_can_serve_and_the_rest_stays_as_it_was(
    drawn: list[Candidate], number: int
) -> None:
    preferred = f"vendor{number}"
    plain, ranking = asked(*drawn), asked(*drawn, preferred=preferred)
    rest = [vendor for vendor in plain.order if vendor != preferred]
    assert list(ranking.order) == ([preferred, *rest] if preferred in plain.order else rest)
    assert ranking.skipped == plain.skipped
    assert (ranking.moved.get(preferred) == "asked for by name") == (preferred in plain.order)


def test_each_skipped_vendor_has_its_reason_in_words() -> None:
    closed = Circuit()
    ranking = asked(
        Candidate("fred", offers=False, missing_key="FRED_API_KEY"),
        Candidate("fmp", missing_key="FMP_API_KEY"),
        Candidate("finnhub", circuit=closed.after_fault(AuthFailed("finnhub", "no"), NOW - 2000)),
        Candidate("polygon", circuit=closed.after_fault(UnsupportedRequest("polygon", "no"), NOW)),
        Candidate("yfinance", circuit=circuit("open").probing(NOW + 30)),
        Candidate("twelve_data", used_up_until=1_795_046_400.0),
        Candidate("alpha_vantage", used_up_until=NOW),
    )
    assert ranking.skipped == {
        "fred": "does not offer quotes",
        "fmp": "FMP_API_KEY is not set",
        "finnhub": "circuit open until 11:33:20Z after AuthFailed",
        "polygon": "not in this plan; asked again from 2026-11-19 11:06:40Z",
        "yfinance": "circuit half open, a probe is under way until 11:07:10Z",
        "twelve_data": "day budget used up until 2026-11-19 00:00:00Z",
    }
    assert ranking.order == ("alpha_vantage",)
    assert set(ranking.scores) == {*ranking.skipped, "alpha_vantage"}


def test_each_vendor_that_others_went_past_has_its_reason_in_words() -> None:
    weak = Candidate(
        "fmp", health=Health(latencies_ms=(9000.0,), error_ewma=1.0, received=((date(2026, 11, 17), 0, 1),))
    )
    ranking = asked(weak, slow("polygon"), Candidate("yfinance"))
    assert ranking.order == ("yfinance", "polygon", "fmp")
    assert ranking.moved == {
        "fmp": "passed over: its score 0.450 is below 0.55",
        "polygon": "behind yfinance: its score 0.750 is lower by more than 0.20",
    }


def test_a_circuit_whose_cool_down_is_over_counts_as_half_open() -> None:
    opened = Circuit()
    for _ in range(5):
        opened = opened.after_fault(VendorUnavailable("fmp", "no"), NOW - 60)
    ranking = asked(Candidate("fmp", circuit=opened), slow("polygon"))
    assert ranking.scores["fmp"].breaker == 0.225
    assert ranking.order == ("fmp", "polygon")


def test_one_question_goes_to_a_half_open_vendor_that_stands_behind_and_to_one_not_heard_of_for_ten_minutes() -> None:
    recovering = Candidate("fmp", circuit=circuit("half_open"), heard_at=NOW)
    quiet, fresh = slow("finnhub", heard_at=NOW - 600), slow("polygon", heard_at=NOW - 599)
    ranking = asked(recovering, quiet, fresh, Candidate("yfinance", heard_at=NOW - 9999))
    assert ranking.order == ("yfinance", "fmp", "finnhub", "polygon")
    assert ranking.trials == ("fmp", "finnhub")


def test_nobody_is_tried_before_the_vendor_that_was_asked_for_by_name() -> None:
    recovering = Candidate("fmp", circuit=circuit("half_open"))
    assert asked(recovering, Candidate("yfinance"), preferred="yfinance").trials == ()
    assert asked(recovering, Candidate("yfinance"), preferred="polygon").trials == ("fmp",)


def test_who_stands_at_his_place_of_the_policy_needs_no_trial() -> None:
    ranking = asked(slow("fmp"), at_latency("polygon", 3000.0, circuit=circuit("half_open")))
    assert ranking.order == ("fmp", "polygon")
    assert ranking.trials == ()
    assert ranking.moved == {}
