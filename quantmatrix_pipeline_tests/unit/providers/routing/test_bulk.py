"""A night's bars are shared out: by date, in batches, one by one; and what one does not serve goes on to the next."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import date, timedelta
from itertools import chain

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantmatrix_pipeline.errors import (
    AuthFailed,
    MalformedResponse,
    NotServed,
    RateLimited,
    SymbolNotFound,
    UnsupportedRequest,
    VendorError,
    VendorUnavailable,
)
from quantmatrix_pipeline.providers.answers import DailyAnswer
from quantmatrix_pipeline.providers.contract import BarRequest, Capability, Offer
from quantmatrix_pipeline.providers.routing.bulk import PART, SESSIONS_PER_PART, worth_grouping
from quantmatrix_pipeline.providers.routing.health import Outcome
from quantmatrix_pipeline_tests.unit.providers.routing.scripted import (
    DAILY,
    GROUPED,
    SESSIONS,
    TODAY,
    Scripted,
    Stage,
    bars,
    request,
)

ONE = Offer()
BY_DATE = {GROUPED: ONE}
YESTERDAY = SESSIONS[-2]


def symbols(number: int) -> list[str]:
    return [f"S{n:03}" for n in range(number)]


def raising(error: VendorError, *whom: str) -> object:
    def daily(requests: Sequence[BarRequest]) -> DailyAnswer | None:
        if not whom or any(r.symbol in whom for r in requests):
            raise error
        return None

    return daily


# --- what is worth asking for by date ------------------------------------------------------------------------------


@given(st.lists(st.sets(st.integers(0, 12), min_size=0), max_size=25))
def test_by_date_never_costs_more_calls_than_it_saves(wanted: list[set[int]]) -> None:
    requests = [BarRequest(f"S{n}", np.array(sorted(days), "datetime64[D]")) for n, days in enumerate(wanted)]
    taken = worth_grouping(requests)
    assert (np.diff(taken.astype(int)) > 0).all()
    asked = set(chain.from_iterable(wanted))
    assert set(taken.astype(int).tolist()) <= asked
    complete = [days for days in wanted if days and days <= set(taken.astype(int).tolist())]
    assert len(taken) < len(complete) or not len(taken)


def test_newcomers_do_not_keep_the_others_from_being_served_by_one_call() -> None:
    requests = [*(request(s) for s in symbols(500)), *(request(f"NEW{n}", 1260) for n in range(3))]
    assert worth_grouping(requests).tolist() == [TODAY]


def test_a_single_symbol_is_asked_for_by_name() -> None:
    assert len(worth_grouping([request("A")])) == 0


# --- by date ---------------------------------------------------------------------------------------------------------


def test_one_call_a_session_serves_the_market_in_parts_of_few_ascending_sessions() -> None:
    market = Scripted("market", BY_DATE, market=[*symbols(30), "STRANGER"])
    other = Scripted("other", ONE)
    stage = Stage(market, other)
    stage.fetch([request(s, 20) for s in symbols(30)])
    assert market.symbols == [str(day) for day in SESSIONS[-20:]]
    assert other.asked == []
    assert [len(np.unique(part.bars.session)) for part in stage.parts] == [SESSIONS_PER_PART, 20 - SESSIONS_PER_PART]
    days = [day for part in stage.parts for day in part.bars.session.tolist()]
    assert days == sorted(days)
    assert {part.asked_from for part in stage.parts} == {SESSIONS[-20]}
    assert stage.failures == {}


def test_the_first_question_by_date_goes_alone_and_then_a_few_are_ahead() -> None:
    market = Scripted("market", BY_DATE, market=symbols(30))
    Stage(market).fetch([request(s, 20) for s in symbols(30)])
    assert [at for at, _ in market.asked[:8]] == pytest.approx([0, *[0.1] * 6, 0.2])
    assert market.most == 6


def test_what_hinders_a_vendor_by_date_does_not_keep_it_from_single_symbols() -> None:
    def refuse(_: date) -> None:
        raise UnsupportedRequest("fmp", "HTTP 402: not in your plan")

    fmp = Scripted("fmp", {GROUPED: ONE, DAILY: ONE}, grouped=refuse)
    stage = Stage(fmp)
    stage.fetch([request(s) for s in symbols(10)])
    assert fmp.symbols == [str(TODAY), *symbols(10)]
    assert stage.failures == {}


def test_when_it_fails_half_way_the_rest_goes_to_others_with_the_days_that_are_left() -> None:
    def fail(day: date) -> None:
        if day >= SESSIONS[-3]:
            raise VendorUnavailable("market", "HTTP 500")

    market = Scripted("market", BY_DATE, grouped=fail, market=symbols(30))
    other = Scripted("other", ONE)
    stage = Stage(market, other)
    stage.fetch([request(s, 10) for s in symbols(30)])
    came = stage.came()
    for symbol in symbols(30):
        assert [came[symbol, day] for day in SESSIONS[-10:]] == ["market"] * 7 + ["other"] * 3
    assert sorted(other.symbols) == symbols(30)
    # Their silence about earlier days must not be taken for knowledge.
    assert {part.asked_from for part in stage.parts if part.vendor == "other"} == {SESSIONS[-3]}
    assert market.symbols[-1] == str(SESSIONS[-1])  # it was under way, and was called off


def test_a_symbol_that_is_not_in_the_markets_bars_is_asked_of_others_and_a_hole_is_not() -> None:
    def hole(day: date) -> DailyAnswer | None:
        there = symbols(29) if day != YESTERDAY else symbols(28)
        return bars("market", {s: [day] for s in there})

    market, other = Scripted("market", {GROUPED: ONE, DAILY: ONE}, grouped=hole), Scripted("other", ONE)
    stage = Stage(market, other)
    stage.fetch([request(s, 3) for s in symbols(30)])
    assert other.symbols == ["S029"]
    assert len(other.requests[0].sessions) == 3
    assert not [s for s in market.symbols if s in symbols(30)]


def test_a_flood_of_429s_by_date_is_waited_for_where_the_pause_is_bearable() -> None:
    left = [RateLimited("market", "HTTP 429", retry_after=20.0), RateLimited("market", "HTTP 429", retry_after=20.0)]

    def flood(_: date) -> None:
        if left:
            raise left.pop()

    market = Scripted("market", BY_DATE, grouped=flood, market=symbols(30))
    stage = Stage(market)
    stage.fetch([request(s, 2) for s in symbols(30)])
    assert stage.failures == {}
    assert [at for at, _ in market.asked] == pytest.approx([0, 0.1, 20.2, 40.3])
    assert stage.router.record.rows()[0].errors == {"RateLimited": 2}


def test_while_its_circuit_is_probed_the_market_is_asked_one_session_at_a_time() -> None:
    market = Scripted("market", BY_DATE, market=symbols(30))
    stage = Stage(market)

    async def open_it() -> None:
        for _ in range(5):
            await stage.states.failed("market", GROUPED, VendorUnavailable("market", "HTTP 500"))
        await stage.time.sleep(61)

    stage.run(open_it)
    stage.fetch([request(s, 5) for s in symbols(30)])
    assert stage.failures == {}
    assert len(market.asked) == 5


def test_the_markets_splits_come_before_its_bars_and_dividends_after() -> None:
    offers = {GROUPED: ONE, Capability.SPLITS: Offer(whole_market=True), Capability.DIVIDENDS: Offer(whole_market=True)}
    market = Scripted("market", offers, market=symbols(200))
    single = Scripted("single", {Capability.SPLITS: ONE, Capability.DIVIDENDS: ONE})
    stage = Stage(single, market)
    stage.fetch([request(s, 130) for s in symbols(200)])
    # Two weeks more than the bars: what was listed late, or not had on its night, comes with a later one.
    first = SESSIONS[-130] - timedelta(days=14)
    days = [first + timedelta(days=92 * n) for n in range(3)]
    stretches = [(days[0], days[1] - timedelta(days=1)), (days[1], days[2] - timedelta(days=1)), (days[2], TODAY)]
    assert market.actions == [
        *((Capability.SPLITS, *s) for s in stretches),
        *((Capability.DIVIDENDS, *s) for s in stretches),
    ]
    assert single.actions == []
    assert [len(part.bars) > 0 for part in stage.parts][:4] == [False, False, False, True]


def test_crypto_is_never_looked_for_in_the_markets_bars() -> None:
    market = Scripted("market", {GROUPED: ONE, Capability.CRYPTO_DAILY: ONE}, market=symbols(30))
    stage = Stage(market)
    saturday = BarRequest("BTC-USD", np.array([TODAY - timedelta(days=2)], "datetime64[D]"))
    stage.fetch([*(request(s) for s in symbols(30)), saturday])
    assert market.symbols == [str(TODAY), "BTC-USD"]
    assert stage.failures == {}
    assert stage.store.read_health()["market"].received == ((TODAY - timedelta(days=2), 1, 1), (TODAY, 30, 30))


# --- one by one ------------------------------------------------------------------------------------------------------


def test_one_unknown_symbol_does_not_give_up_the_vendor_for_the_rest() -> None:
    first = Scripted("first", ONE, raising(SymbolNotFound("first", "unknown", symbol="S003"), "S003"))  # type: ignore[arg-type]
    second = Scripted("second", ONE)
    stage = Stage(first, second)
    stage.fetch([request(s) for s in symbols(10)])
    assert first.symbols == symbols(10)
    assert second.symbols == ["S003"]
    assert stage.came()["S003", TODAY] == "second"
    assert stage.failures == {}


def test_a_symbol_that_nobody_knows_is_unknown_and_one_that_could_not_be_asked_for_is_not_served() -> None:
    unknown = raising(SymbolNotFound("first", "unknown", symbol="A"))
    stage = Stage(Scripted("first", ONE, unknown), Scripted("second", ONE, unknown))  # type: ignore[arg-type]
    stage.fetch([request("A")])
    assert isinstance(stage.failures["A"], SymbolNotFound)
    stage = Stage(Scripted("first", ONE, unknown), Scripted("keyless", ONE))  # type: ignore[arg-type]
    stage.fetch([request("A")])
    assert str(stage.failures["A"]).endswith("first: A: unknown; keyless: KEYLESS_API_KEY is not set")
    down = raising(VendorUnavailable("second", "HTTP 500", symbol="A"))
    stage = Stage(Scripted("first", ONE, unknown), Scripted("second", ONE, down))  # type: ignore[arg-type]
    stage.fetch([request("A")])
    assert isinstance(stage.failures["A"], NotServed)


def test_a_stale_answer_is_kept_and_the_next_vendor_is_asked_for_the_late_sessions_alone() -> None:
    first = Scripted("first", ONE, lambda rs: bars("first", {r.symbol: r.sessions.tolist()[:-2] for r in rs}))
    second = Scripted("second", ONE)
    stage = Stage(first, second)
    stage.fetch([request("A", 5)])
    assert [stage.came()["A", day] for day in SESSIONS[-5:]] == ["first"] * 3 + ["second"] * 2
    assert second.requests[0].sessions.tolist() == SESSIONS[-2:]
    assert [(part.vendor, part.asked_from) for part in stage.parts] == [("first", None), ("second", SESSIONS[-2])]
    assert stage.store.read_health()["first"].received == ((TODAY, 0, 1),)


def test_a_late_beginning_of_a_long_stretch_is_asked_of_the_next_vendor() -> None:
    first = Scripted("first", ONE, lambda rs: bars("first", {r.symbol: r.sessions.tolist()[30:] for r in rs}))
    second = Scripted("second", ONE)
    stage = Stage(first, second)
    stage.fetch([request("A", 50)])
    assert [stage.came()["A", day] for day in SESSIONS[-50:]] == ["second"] * 30 + ["first"] * 20
    assert stage.failures == {}


def test_a_beginning_that_nobody_has_is_no_failure_of_the_run() -> None:
    first = Scripted("first", ONE, lambda rs: bars("first", {r.symbol: r.sessions.tolist()[30:] for r in rs}))
    second = Scripted("second", ONE, lambda rs: replace(bars("second", {}), silent=tuple(r.symbol for r in rs)))
    stage = Stage(first, second)
    stage.fetch([request("A", 50)])
    assert second.requests[0].sessions.tolist() == SESSIONS[-50:-20]
    assert stage.failures == {}


def test_yesterdays_gap_goes_on_to_the_next_vendor_and_an_old_one_does_not() -> None:
    def gappy(requests: Sequence[BarRequest]) -> DailyAnswer:
        return bars("first", {r.symbol: [d for d in r.sessions.tolist() if d not in gaps] for r in requests})

    gaps = {SESSIONS[-2], SESSIONS[-9]}
    first, second = Scripted("first", ONE, gappy), Scripted("second", ONE)
    stage = Stage(first, second)
    stage.fetch([request("A", 10)])
    assert second.requests[0].sessions.tolist() == [SESSIONS[-2]]
    assert stage.failures == {}


def test_an_old_hole_of_two_symbols_is_not_worth_a_markets_call() -> None:
    tonight = [request(s) for s in symbols(200)]
    hole = np.array([SESSIONS[-30], TODAY], "datetime64[D]")
    assert worth_grouping([*tonight, BarRequest("X", hole), BarRequest("Y", hole)]).tolist() == [TODAY]


def test_a_bar_of_a_later_day_than_was_asked_for_does_not_make_an_answer_stale() -> None:
    first = Scripted("first", ONE, lambda rs: bars("first", {"A": [YESTERDAY, TODAY]}))
    second = Scripted("second", ONE)
    stage = Stage(first, second)
    stage.fetch([request("A", until=YESTERDAY)])
    assert second.asked == []


def test_who_reaches_the_whole_stretch_goes_first_and_older_sessions_go_to_others() -> None:
    near, far = Scripted("near", Offer(reach_days=30)), Scripted("far", ONE)
    stage = Stage(near, far)
    stage.fetch([request("NEW", 100), request("A")])
    assert near.symbols == ["A"]
    assert far.symbols == ["NEW"]

    def only_new(requests: Sequence[BarRequest]) -> DailyAnswer:
        return bars("far", {r.symbol: r.sessions.tolist()[:50] for r in requests})

    near, far = Scripted("near", Offer(reach_days=30)), Scripted("far", ONE, only_new)
    stage = Stage(near, far)
    stage.fetch([request("NEW", 100)])
    reach = TODAY - timedelta(days=30)
    assert [r.sessions[0].item() for r in near.requests] == [min(d for d in SESSIONS if d >= reach)]
    assert [part.asked_from for part in stage.parts if part.vendor == "near"] == [reach]
    assert far.symbols == ["NEW"]
    # What lies between what one had and what the other reaches is left undone.
    assert str(stage.failures["NEW"]).count("near: NEW: reaches back to 2026-12-05 only") == 1


def test_who_reaches_a_part_brings_that_part_and_the_rest_is_undone_with_the_reason() -> None:
    near = Scripted("near", Offer(reach_days=30))
    far = Scripted("far", ONE, raising(SymbolNotFound("far", "unknown", symbol="NEW")))  # type: ignore[arg-type]
    stage = Stage(near, far)
    stage.fetch([request("NEW", 100)])
    assert set(stage.came()) == {("NEW", day) for day in SESSIONS if day >= TODAY - timedelta(days=30)}
    assert str(stage.failures["NEW"]) == ("vendors: NEW: far: NEW: unknown; near: NEW: reaches back to 2026-12-05 only")


def test_batches_are_as_large_as_the_offer_and_the_whole_budget_allow() -> None:
    batches = Scripted("batches", Offer(symbols_per_call=50, per_symbol=True))
    Stage(batches, limits={"batches": "8/min"}, wait=3600).fetch([request(s) for s in symbols(30)])
    assert [len(asked) for _, asked in batches.asked] == [8, 8, 8, 6]
    assert [round(at) for at, _ in batches.asked[:1]] == [0]
    batches = Scripted("batches", Offer(symbols_per_call=50))
    Stage(batches, limits={"batches": "8/min"}).fetch([request(s) for s in symbols(120)])
    assert [len(asked) for _, asked in batches.asked] == [50, 50, 20]


def test_when_the_budget_ends_the_rest_is_undone_with_the_reason_and_the_next_run_goes_on() -> None:
    vendor = Scripted("few", ONE)
    stage = Stage(vendor, limits={"few": "25/day"})
    wanted = {s: request(s) for s in symbols(60)}
    asked = []
    for _ in range(3):
        stage.fetch(list(wanted.values()))
        asked.append(len(vendor.asked))
        for symbol, _ in stage.came():
            del wanted[symbol]
        assert set(stage.failures) == set(wanted)
        assert all("few: " in str(e) and "budget" in str(e) for e in stage.failures.values())
        stage.time.advance(86_400)
    assert asked == [25, 50, 60]
    assert wanted == {}


def test_a_budget_per_minute_is_waited_for_only_as_long_as_a_fetch_may_wait() -> None:
    slow, rest = Scripted("slow", ONE), Scripted("rest", ONE)
    stage = Stage(slow, rest, limits={"slow": "10/min"}, wait=130)
    stage.fetch([request(s) for s in symbols(60)])
    assert len(slow.asked) == 30
    assert len(rest.asked) == 30
    assert stage.time.monotonic() < 135
    assert stage.failures == {}


def test_a_429_with_a_bearable_pause_is_waited_for_and_with_an_unbearable_one_the_next_is_asked() -> None:
    left = [RateLimited("first", "HTTP 429", retry_after=30.0)]

    def once(_: Sequence[BarRequest]) -> None:
        if left:
            raise left.pop()

    first, second = Scripted("first", ONE, once), Scripted("second", ONE)  # type: ignore[arg-type]
    Stage(first, second).fetch([request(s) for s in symbols(4)])
    assert second.asked == []
    assert first.symbols == ["S000", *symbols(4)]
    first = Scripted("first", ONE, raising(RateLimited("first", "HTTP 429", retry_after=1000.0)))  # type: ignore[arg-type]
    second = Scripted("second", ONE)
    Stage(first, second).fetch([request(s) for s in symbols(4)])
    assert first.symbols == ["S000"]
    assert sorted(second.symbols) == symbols(4)


def test_who_says_too_many_again_and_again_is_asked_three_times() -> None:
    first = Scripted("first", ONE, raising(RateLimited("first", "HTTP 429", retry_after=1.0)))  # type: ignore[arg-type]
    second = Scripted("second", ONE)
    Stage(first, second).fetch([request("A")])
    assert first.symbols == ["A"] * 3
    assert second.symbols == ["A"]


@pytest.mark.parametrize(
    "error", [AuthFailed("first", "HTTP 401"), UnsupportedRequest("first", "HTTP 402"), VendorUnavailable("first", "-")]
)
def test_the_first_question_goes_alone_so_that_a_refusal_of_all_costs_one_call(error: VendorError) -> None:
    first, second = Scripted("first", ONE, raising(error)), Scripted("second", ONE)  # type: ignore[arg-type]
    stage = Stage(first, second)
    stage.fetch([request(s) for s in symbols(40)])
    assert first.asked[0][0] == 0
    assert len(first.asked) == 1 or isinstance(error, VendorUnavailable)
    assert len(first.asked) <= 1 + 8 + 4
    assert sorted(second.symbols) == symbols(40)
    assert stage.failures == {}


def test_no_more_questions_are_under_way_than_the_concurrency_allows() -> None:
    vendor = Scripted("v", ONE)
    Stage(vendor).fetch([request(s) for s in symbols(50)], concurrency=5)
    assert vendor.most == 5
    assert vendor.asked[1][0] == pytest.approx(0.1)


def test_a_vendor_that_fell_behind_gets_one_short_question_and_the_rest_goes_to_the_others() -> None:
    first, second = Scripted("first", ONE), Scripted("second", ONE)
    stage = Stage(first, second)

    async def spoil() -> None:
        row = stage.states.health("first").after([Outcome(9000.0)] * 50)
        stage.store.merge_health("first", lambda r: type(r)(row.latencies_ms, 0.9, (), 50), 0.0)

    stage.run(spoil)
    stage.fetch([request("NEW", 500), *(request(s) for s in symbols(20))])
    assert first.symbols == ["S019"]
    assert len(second.asked) == 20
    assert stage.failures == {}


def test_a_fault_in_reading_is_that_vendors_failure_and_stops_nobody_else() -> None:
    def unforeseen(_: Sequence[BarRequest]) -> None:
        raise ZeroDivisionError

    first, second = Scripted("first", ONE, unforeseen), Scripted("second", ONE)  # type: ignore[arg-type]
    stage = Stage(first, second)
    stage.fetch([request(s) for s in symbols(30)])
    assert stage.failures == {}
    assert len(second.symbols) == 30
    assert stage.states.circuit("first", DAILY).reason == MalformedResponse.__name__


def test_another_symbols_answer_is_a_failure_and_never_a_bar() -> None:
    first = Scripted("first", ONE, lambda rs: bars("first", {"OTHER": [TODAY]}))
    second = Scripted("second", ONE)
    stage = Stage(first, second)
    stage.fetch([request("A"), request("OTHER")])
    assert stage.came() == {("A", TODAY): "second", ("OTHER", TODAY): "first"}
    stage = Stage(Scripted("first", ONE, lambda rs: bars("first", {"OTHER": [TODAY]})))
    stage.fetch([request("A")])
    assert "asked for A, answered with OTHER" in str(stage.failures["A"])


def test_parts_of_single_symbols_hold_about_64_of_them() -> None:
    stage = Stage(Scripted("v", ONE))
    stage.fetch([request(s) for s in symbols(200)])
    assert [len(part.bars.symbols) for part in stage.parts] == [PART, PART, PART, 200 - 3 * PART]


def test_a_reader_who_leaves_early_leaves_no_question_under_way() -> None:
    vendor = Scripted("v", ONE, seconds=1.0)
    stage = Stage(vendor)

    async def main() -> None:
        before = asyncio.all_tasks()
        answers = stage.router.daily_bars([request(s) for s in symbols(500)], concurrency=8)
        await anext(answers)
        await stage.time.sleep(0.5)
        assert vendor.open_
        await answers.aclose()  # type: ignore[attr-defined]
        assert vendor.open_ == 0
        assert asyncio.all_tasks() == before

    stage.run(main)
    asked = len(vendor.asked)
    assert asked < 500


def test_a_fault_of_our_own_reaches_the_reader() -> None:
    stage = Stage(Scripted("v", ONE))
    stage.router.offer = None  # type: ignore[assignment,method-assign]
    with pytest.raises(TypeError):
        stage.fetch([request("A")])


def test_nothing_wanted_asks_nobody() -> None:
    vendor = Scripted("v", ONE)
    stage = Stage(vendor)
    stage.fetch([BarRequest("A", np.empty(0, "datetime64[D]"))])
    assert stage.parts == []
    assert vendor.asked == []
