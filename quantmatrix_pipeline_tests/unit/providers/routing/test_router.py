"""The router's single questions, what it says when nobody answers, and what outlives it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta

import pytest

from quantmatrix_pipeline.errors import (
    AuthFailed,
    CircuitOpen,
    ConfigurationError,
    MalformedResponse,
    NobodyServes,
    QuotaExhausted,
    RateLimited,
    SymbolNotFound,
    VendorError,
    VendorUnavailable,
)
from quantmatrix_pipeline.providers.answers import DailyAnswer, Quote
from quantmatrix_pipeline.providers.contract import BarRequest, Capability, Offer, Vendor
from quantmatrix_pipeline.providers.routing.router import Routed
from quantmatrix_pipeline.providers.transport.calls import Timed
from quantmatrix_pipeline_tests.unit.providers.routing.scripted import DAILY, QUOTES, TODAY, Scripted, Stage

OFFERS = {QUOTES: Offer()}


def failing(*errors: Exception) -> object:
    """Raise these in turn, then answer."""
    left = list(errors)

    def daily(_: Sequence[BarRequest]) -> DailyAnswer | None:
        if left:
            raise left.pop(0)
        return None

    return daily


def vendor(name: str, *errors: Exception) -> Scripted:
    return Scripted(name, OFFERS, failing(*errors))  # type: ignore[arg-type]


async def quote(vendor: Vendor) -> Sequence[Quote]:
    return await vendor.quotes(["A"])


async def ask(stage: Stage, prefer: str | None = None) -> Routed[Sequence[Quote]]:
    async with stage.router:
        return await stage.router.first_answer(QUOTES, quote, "a quote of A", prefer=prefer)


def asked(stage: Stage, prefer: str | None = None) -> Routed[Sequence[Quote]]:
    return stage.time.run(ask(stage, prefer))


def test_the_first_that_answers_serves_and_it_is_said_why_the_others_did_not() -> None:
    stage = Stage(
        Scripted("nothing", {DAILY: Offer()}),
        vendor("keyless"),
        vendor("down", VendorUnavailable("down", "HTTP 503")),
        vendor("good"),
        vendor("never"),
    )
    routed = asked(stage)
    assert routed.vendor == "good"
    assert routed.value[0].vendor == "good"
    assert routed.passed_over == {
        "nothing": "does not offer quotes",
        "keyless": "KEYLESS_API_KEY is not set",
        "down": "HTTP 503",
    }


def test_when_nobody_can_serve_the_error_names_everybody_with_the_reason() -> None:
    stage = Stage(
        vendor("keyless"), vendor("a", RateLimited("a", "HTTP 429")), vendor("b", AuthFailed("b", "HTTP 401"))
    )
    with pytest.raises(NobodyServes) as caught:
        asked(stage)
    assert str(caught.value) == (
        "nobody can serve a quote of A: keyless: KEYLESS_API_KEY is not set; a: HTTP 429; b: HTTP 401"
    )


def test_a_preferred_source_goes_first_and_an_unknown_or_forbidden_one_is_a_mistake() -> None:
    stage = Stage(vendor("a"), vendor("b"))
    assert asked(stage, "b").vendor == "b"
    with pytest.raises(ConfigurationError, match="'zzz' is no vendor; known are a, b"):
        asked(stage, "zzz")
    stage.router._allow_override = False
    with pytest.raises(ConfigurationError, match="ALLOW_SOURCE_OVERRIDE is off"):
        asked(stage, "b")


def test_five_faults_open_the_circuit_and_then_no_call_is_made_until_a_probe() -> None:
    first = vendor("first", *[VendorUnavailable("first", "HTTP 500")] * 5)
    stage = Stage(first, vendor("second"))
    for _ in range(5):
        assert asked(stage).vendor == "second"
    assert len(first.asked) == 5
    assert "circuit open until" in asked(stage).passed_over["first"]

    async def directly() -> None:
        async with stage.router:
            await stage.router.ask("first", QUOTES, quote)

    with pytest.raises(CircuitOpen):
        stage.time.run(directly())
    assert len(first.asked) == 5
    stage.time.advance(61)
    assert asked(stage).vendor == "first"
    assert len(first.asked) == 6


def test_of_several_questions_at_once_one_probes_a_half_open_circuit() -> None:
    first = vendor("first", *[VendorUnavailable("first", "HTTP 500")] * 5)
    stage = Stage(first, vendor("second"))
    for _ in range(5):
        asked(stage)
    stage.time.advance(61)

    async def many() -> list[str]:
        return [routed.vendor for routed in await asyncio.gather(*(ask(stage) for _ in range(10)))]

    assert sorted(stage.time.run(many())) == ["first"] + ["second"] * 9
    assert len(first.asked) == 6


def test_a_refused_key_concerns_all_that_a_vendor_offers_and_another_key_is_tried_at_once() -> None:
    first = Scripted("first", {QUOTES: Offer(), DAILY: Offer()}, failing(AuthFailed("first", "HTTP 401")))  # type: ignore[arg-type]
    stage = Stage(first, vendor("second"))
    stage.marks["first"] = "old"
    assert asked(stage).vendor == "second"
    assert stage.router.refuses("first", DAILY)
    assert asked(stage).vendor == "second"
    stage.marks["first"] = "new"
    assert asked(stage).vendor == "first"
    assert len(first.asked) == 2


@pytest.mark.parametrize(
    "error", [ZeroDivisionError("x"), TimeoutError(), KeyError("close"), MalformedResponse("a", "-")]
)
def test_whatever_a_vendor_does_only_its_typed_failure_comes_out(error: Exception) -> None:
    stage = Stage(vendor("a", error))

    async def directly() -> None:
        async with stage.router:
            await stage.router.ask("a", QUOTES, quote)

    with pytest.raises(MalformedResponse):
        stage.time.run(directly())


def test_a_vendor_that_can_not_even_be_opened_is_passed_over() -> None:
    class Broken(Scripted):
        async def open(self) -> None:
            raise RuntimeError("no library")

    stage = Stage(Broken("broken", OFFERS), vendor("second"))
    assert asked(stage).vendor == "second"


def test_a_days_budget_that_is_used_up_skips_a_vendor_without_a_call_until_midnight() -> None:
    first = vendor("first", QuotaExhausted("first", "the day's allowance is used up"))
    stage = Stage(first, vendor("second"))
    assert asked(stage).vendor == "second"
    stage.time.advance(10)
    assert "day budget used up until 2027-01-05 00:00:00Z" in asked(stage).passed_over["first"]
    assert len(first.asked) == 1
    stage.time.advance(12 * 3600)
    assert asked(stage).vendor == "first"


def test_a_single_question_waits_for_a_budget_of_seconds_but_not_of_a_minute() -> None:
    first, second = vendor("first"), vendor("second")
    stage = Stage(first, second, limits={"first": "1/s"})
    for _ in range(3):
        assert asked(stage).vendor == "first"
    first, second = vendor("first"), vendor("second")
    stage = Stage(first, second, limits={"first": "2/min"})
    assert [asked(stage).vendor for _ in range(3)] == ["first", "first", "second"]


def test_who_slept_through_the_pause_of_a_429_does_not_wait_for_it_twice() -> None:
    stage = Stage(vendor("a"))

    async def main() -> float:
        async with stage.router:
            stage.meter.note(Timed("a", QUOTES, "x", 1.0, RateLimited("a", "HTTP 429", retry_after=20.0)))
            await stage.time.sleep(20.0)
            before = stage.time.monotonic()
            await stage.meter.admit("a", 1)
            return stage.time.monotonic() - before

    assert stage.time.run(main()) == 0


def test_of_several_429s_at_once_the_longest_pause_holds() -> None:
    stage = Stage(vendor("a"))

    async def main() -> None:
        async with stage.router:
            for pause in (2.0, 900.0, 2.0, None):
                stage.meter.note(Timed("a", QUOTES, "x", 1.0, RateLimited("a", "HTTP 429", retry_after=pause)))
            await stage.meter.admit("a", 1)

    with pytest.raises(RateLimited) as caught:
        stage.time.run(main())
    assert caught.value.retry_after == pytest.approx(900.0)


def test_what_was_learned_is_written_when_the_last_user_leaves_and_read_by_the_next_router() -> None:
    stage = Stage(vendor("a"))

    async def nested() -> None:
        async with stage.router:
            await ask(stage)
            assert stage.store.read_health() == {}

    stage.time.run(nested())
    assert stage.store.read_health()["a"].calls == 1
    other = Stage(vendor("a"))
    other.states._store = stage.store
    other.time.run(other.router.refresh())
    assert other.states.health("a").calls == 1


def test_two_users_who_enter_at_once_share_one_record_and_leave_it_open_for_each_other() -> None:
    first = vendor("a")
    stage = Stage(first)

    async def main() -> None:
        await asyncio.gather(*(ask(stage) for _ in range(5)))

    stage.time.run(main())
    ((row,),) = [stage.router.record.rows()]
    assert (row.vendor, row.calls, row.symbols) == ("a", 5, 5)


def test_how_far_a_vendor_reaches_is_counted_from_the_routers_own_clock() -> None:
    stage = Stage(Scripted("a", {DAILY: Offer(reach_days=30), QUOTES: Offer()}))
    assert stage.router.reach("a", DAILY) == TODAY - timedelta(days=30)
    assert stage.router.reach("a", QUOTES) is None
    stage.time.advance(86_400)
    assert stage.router.reach("a", DAILY) == TODAY - timedelta(days=29)


def test_members_are_asked_of_one_vendor_within_its_circuit() -> None:
    stage = Stage(Scripted("a", {Capability.CONSTITUENTS: Offer()}), Scripted("keyless", {}))
    (source,) = stage.router.member_sources()
    assert source.name == "a"
    with pytest.raises(VendorError, match="does not offer constituents"):
        stage.time.run(source.constituents("SP500", TODAY))
    with pytest.raises(CircuitOpen):
        stage.time.run(source.constituents("SP500", TODAY))


def test_who_was_asked_and_why_others_were_stands_in_the_record() -> None:
    stage = Stage(vendor("a", SymbolNotFound("a", "unknown", symbol="A")), vendor("b"))
    asked(stage)
    rows = {row.vendor: row for row in stage.router.record.rows()}
    assert rows["a"].errors == {"SymbolNotFound": 1}
    assert rows["a"].fallbacks == {"SymbolNotFound": 1}
    assert (rows["a"].symbols, rows["b"].symbols) == (0, 1)
    assert stage.router.record.counters().selected == {(QUOTES, "b"): 1}
