"""Whom a refresh of profiles asks and in which order, where it stops, and what it makes of the answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quantmatrix_pipeline.errors import (
    AuthFailed,
    MalformedResponse,
    QuotaExhausted,
    RateLimited,
    SymbolNotFound,
    UnsupportedRequest,
    VendorUnavailable,
)
from quantmatrix_pipeline.providers.answers import Profile
from quantmatrix_pipeline.providers.contract import Capability, Offer
from quantmatrix_pipeline.universe.exchanges import exchange_name
from quantmatrix_pipeline.universe.profiles import CONCURRENCY, LISTED, ProfileRefresh, merged, refresh_profiles
from quantmatrix_pipeline.warehouse import instruments, profiles, universe
from quantmatrix_pipeline.warehouse.engine import Warehouse
from quantmatrix_pipeline.warehouse.profiles import Company, Facts
from quantmatrix_pipeline_tests.unit.providers.routing.scripted import Scripted, Stage

NOW = datetime(2026, 11, 21, 12, 0, 30, tzinfo=UTC)
TODAY = NOW.date()
WEEK = timedelta(days=7)
PROFILE = Capability.PROFILE

Says = Callable[[str], dict[str, Any] | Exception]


def well_known(symbol: str) -> dict[str, Any]:
    return {"name": f"{symbol} Inc", "exchange": "XNAS", "sector": "Tech", "market_cap": 1e9, "currency": "usd"}


class Describing(Scripted):
    """A vendor of profiles that says what a test wants it to say."""

    def __init__(self, name: str, says: Says = well_known, *, calls: int = 1) -> None:
        super().__init__(name, {PROFILE: Offer(calls=calls)})
        self.says = says

    async def profile(self, symbol: str) -> Profile:
        self.asked.append((self.time.monotonic(), [symbol]))
        found: dict[str, Any] = {}

        def answer() -> None:
            said = self.says(symbol)
            if isinstance(said, Exception):
                raise said
            found.update(said)

        await self._call(PROFILE, self.offers[PROFILE].calls, answer)
        return Profile(self.name, symbol, NOW, **found)


def always(error: Exception) -> Says:
    return lambda _: error


def only(*symbols: str, vendor: str) -> Says:
    return lambda s: well_known(s) if s in symbols else SymbolNotFound(vendor, "not known there", symbol=s)


@pytest.fixture
def warehouse(database_url: str) -> Iterator[Warehouse]:
    warehouse = Warehouse(database_url)
    yield warehouse
    warehouse.close()


def track(warehouse: Warehouse, *symbols: str) -> dict[str, int]:
    ids = instruments.ensure(warehouse, symbols)
    universe.track(warehouse, TODAY, {i: ["watch_list"] for i in ids.values()})
    return ids


def refresh(
    warehouse: Warehouse, stage: Stage, now: datetime = NOW, *, most_calls: int = 200, wait: float = 0.0
) -> ProfileRefresh:
    return stage.time.run(
        refresh_profiles(warehouse, stage.router, now, max_age_days=7, most_calls=most_calls, wait_seconds=wait)
    )


def current(warehouse: Warehouse) -> dict[str, Facts | None]:
    return {c.symbol: c.current for c in profiles.companies(warehouse, TODAY)}


# --- whom ----------------------------------------------------------------------------------------------------------


def test_what_was_described_is_asked_for_again_a_week_later_even_if_the_week_is_a_minute_short(
    warehouse: Warehouse,
) -> None:
    track(warehouse, "A", "B")
    vendor = Describing("a")
    stage = Stage(vendor)
    first = refresh(warehouse, stage)
    assert (first.due, first.served, first.changed, first.undone) == (2, {"a": 2}, 2, {})
    for later in (timedelta(), timedelta(days=6)):
        again = refresh(warehouse, stage, NOW + later)
        assert (again.due, again.calls, again.changed, again.unchanged) == (0, 0, 0, 2)
    week = refresh(warehouse, stage, NOW + WEEK - timedelta(minutes=1))
    assert (week.due, week.changed, week.unchanged) == (2, 0, 2)
    assert vendor.symbols == ["A", "B", "A", "B"]


def test_calls_that_are_used_up_leave_the_rest_for_the_next_refresh_which_begins_with_it(warehouse: Warehouse) -> None:
    track(warehouse, *"ABCDEFGH")
    vendor = Describing("a")
    stage = Stage(vendor)
    first = refresh(warehouse, stage, most_calls=3)
    assert vendor.symbols == ["A", "B", "C"]
    assert first.undone == dict.fromkeys("DEFGH", "the 3 calls of one refresh (QM_PROFILE_CALLS) are used up")
    vendor.asked.clear()
    refresh(warehouse, stage, NOW + timedelta(days=8), most_calls=6)
    assert vendor.symbols == ["D", "E", "F", "G", "H", "A"]


def test_no_calls_at_all_are_no_questions(warehouse: Warehouse) -> None:
    track(warehouse, "A")
    vendor = Describing("a")
    done = refresh(warehouse, Stage(vendor), most_calls=0)
    assert (vendor.symbols, list(done.undone), done.calls) == ([], ["A"], 0)


_says = st.sampled_from(["good", "unknown", "down", "garbage", "limited"])


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    behaviour=st.dictionaries(st.tuples(st.sampled_from("abc"), st.integers(0, 19)), _says),
    costs=st.tuples(*[st.integers(1, 3)] * 3),
    most_calls=st.integers(0, 30),
)
def test_calls_never_exceed_their_number_and_every_company_is_served_unknown_or_undone(
    warehouse: Warehouse, behaviour: dict[tuple[str, int], str], costs: tuple[int, int, int], most_calls: int
) -> None:
    symbols = [f"S{n:02}" for n in range(20)]
    track(warehouse, *symbols)
    warehouse.execute("TRUNCATE company_profiles, company_profile_checks")
    answered = 0

    def says(vendor: str, cost: int) -> Says:
        def answer(symbol: str) -> dict[str, Any] | Exception:
            nonlocal answered
            kind = behaviour.get((vendor, int(symbol[1:])), "good")
            if kind == "limited":
                return RateLimited(vendor, "HTTP 429")
            answered += cost
            return {
                "good": well_known(symbol),
                "unknown": SymbolNotFound(vendor, "no", symbol=symbol),
                "down": VendorUnavailable(vendor, "HTTP 500", symbol=symbol),
                "garbage": MalformedResponse(vendor, "a page", symbol=symbol),
            }[kind]

        return answer

    vendors = [Describing(name, says(name, cost), calls=cost) for name, cost in zip("abc", costs, strict=True)]
    done = refresh(warehouse, Stage(*vendors), most_calls=most_calls)
    assert answered == done.calls <= most_calls
    assert sum(done.served.values()) + len(done.unknown) + len(done.undone) == len(symbols)
    known = {c.symbol: c for c in profiles.companies(warehouse, TODAY)}
    assert {s for s, c in known.items() if c.checked_at is None} == set(done.undone)
    assert {s for s, c in known.items() if c.current is None} == {*done.unknown, *done.undone}


def test_the_first_question_goes_alone_and_then_few_at_once(warehouse: Warehouse) -> None:
    track(warehouse, *(f"S{n:02}" for n in range(40)))
    vendor = Describing("a")
    refresh(warehouse, Stage(vendor))
    began = [at for at, _ in vendor.asked]
    assert vendor.most == CONCURRENCY
    assert began[1] == pytest.approx(began[0] + vendor.seconds)
    assert began[1] == began[CONCURRENCY] < began[CONCURRENCY + 1]


# --- who fails -----------------------------------------------------------------------------------------------------


def test_a_company_that_one_vendor_does_not_know_is_had_of_the_next(warehouse: Warehouse) -> None:
    track(warehouse, "A", "B")
    done = refresh(warehouse, Stage(Describing("a", only("A", vendor="a")), Describing("b")))
    assert (done.served, done.unknown, done.undone) == ({"a": 1, "b": 1}, {}, {})


def test_whom_nobody_knows_is_not_asked_for_again_until_that_has_aged_and_keeps_what_was_known(
    warehouse: Warehouse,
) -> None:
    track(warehouse, "A", "NOPE")
    vendor = Describing("a", only("A", vendor="a"))
    stage = Stage(vendor)
    done = refresh(warehouse, stage)
    assert done.unknown == {"NOPE": "a: NOPE: not known there"}
    assert refresh(warehouse, stage, NOW + timedelta(days=1)).due == 0
    vendor.says = only("NOPE", vendor="a")
    week = refresh(warehouse, stage, NOW + WEEK)
    assert (week.served, list(week.unknown)) == ({"a": 1}, ["A"])
    known = current(warehouse)
    assert known["A"] is not None
    assert (known["A"].market_cap, known["A"].sector) == (1e9, "Tech")


@pytest.mark.parametrize(
    ("error", "asked"),
    [
        (AuthFailed("a", "HTTP 401"), 1),
        (QuotaExhausted("a", "the allowance is used up"), 1),
        (RateLimited("a", "HTTP 429"), 1),
        (UnsupportedRequest("a", "not in your plan"), 1),
        (
            VendorUnavailable("a", "HTTP 500"),
            5 + CONCURRENCY - 1,
        ),  # five faults open the circuit; others were under way
    ],
    ids=lambda value: type(value).__name__,
)
def test_nobody_is_asked_once_everybody_is_out_and_the_reason_is_told(
    warehouse: Warehouse, error: Exception, asked: int
) -> None:
    symbols = [f"S{n:02}" for n in range(40)]
    track(warehouse, *symbols)
    vendor = Describing("a", always(error))
    done = refresh(warehouse, Stage(vendor))
    assert len(vendor.asked) <= asked
    assert list(done.undone) == symbols
    assert all(why.startswith("a: ") for why in done.undone.values())
    assert (done.served, done.unknown, done.changed) == ({}, {}, 0)
    assert [c.symbol for c in profiles.companies(warehouse, TODAY) if c.checked_at] == []


def test_without_any_vendor_that_could_be_asked_all_is_undone(warehouse: Warehouse) -> None:
    track(warehouse, "A")
    done = refresh(warehouse, Stage(Describing("keyless")))
    assert done.undone == {"A": "keyless: KEYLESS_API_KEY is not set"}


def test_a_circuit_that_waits_for_its_probe_lets_the_rest_through_after_it(warehouse: Warehouse) -> None:
    track(warehouse, *"ABCDEFGHIJKL")
    vendor = Describing("a", always(VendorUnavailable("a", "HTTP 500")))
    stage = Stage(vendor)
    refresh(warehouse, stage)
    stage.time.advance(7200)
    vendor.says = well_known
    assert refresh(warehouse, stage).served == {"a": 12}


def test_a_budget_per_minute_is_waited_for_as_long_as_one_may(warehouse: Warehouse) -> None:
    symbols = [f"S{n:02}" for n in range(12)]
    track(warehouse, *symbols)
    impatient = refresh(warehouse, Stage(Describing("a"), limits={"a": "5/min"}))
    assert list(impatient.undone) == symbols[5:]
    assert all("no room for 1 call" in why for why in impatient.undone.values())

    warehouse.execute("TRUNCATE company_profiles, company_profile_checks")
    patient = Stage(Describing("a"), limits={"a": "5/min"})
    done = refresh(warehouse, patient, wait=300)
    assert (done.served, done.calls, done.undone) == ({"a": 12}, 12, {})
    assert 120 < patient.time.monotonic() < 200


def test_a_vendor_that_asks_for_no_pause_at_all_is_not_asked_without_one(warehouse: Warehouse) -> None:
    track(warehouse, "A")
    vendor = Describing("a", always(RateLimited("a", "HTTP 429", retry_after=0)))
    done = refresh(warehouse, Stage(vendor), wait=30)
    assert list(done.undone) == ["A"]
    assert len(vendor.asked) <= 31


# --- what becomes of it --------------------------------------------------------------------------------------------


def test_what_is_kept_is_dated_and_says_whose_word_it_was(warehouse: Warehouse) -> None:
    ids = track(warehouse, "A")
    vendor = Describing("a")
    stage = Stage(vendor)
    refresh(warehouse, stage)
    vendor.says = lambda s: well_known(s) | {"market_cap": 2e9}
    refresh(warehouse, stage, NOW + WEEK)
    instruments.describe(warehouse, [{"symbol": "A", "sector": "Utilities"}])
    listed = refresh(warehouse, stage, NOW + WEEK + timedelta(days=1))
    assert (listed.due, listed.changed) == (0, 1)
    rows = warehouse.rows("SELECT * FROM company_profiles WHERE instrument_id = :id ORDER BY version", id=ids["A"])
    assert [(r.vendor, r.sector, r.market_cap, r.as_of, r.superseded_at) for r in rows] == [
        ("a", "Tech", 1e9, NOW, NOW + WEEK),
        ("a", "Tech", 2e9, NOW + WEEK, NOW + WEEK + timedelta(days=1)),
        (LISTED, "Utilities", 2e9, NOW + WEEK + timedelta(days=1), None),
    ]
    assert {r.exchange for r in rows} == {"NASDAQ"}


def test_without_vendors_only_the_lists_word_is_taken_and_nothing_counts_as_checked(warehouse: Warehouse) -> None:
    track(warehouse, "A", "BARE")
    instruments.describe(warehouse, [{"symbol": "A", "name": "A Inc", "sector": "Energy"}])
    stage = Stage()
    for changed in (1, 0):
        done = stage.time.run(refresh_profiles(warehouse, None, NOW, max_age_days=7, most_calls=200))
        assert (done.due, done.changed, done.unchanged, done.calls, done.undone) == (2, changed, 2 - changed, 0, {})
    assert current(warehouse) == {"A": Facts(name="A Inc", sector="Energy", currency="USD"), "BARE": None}
    assert warehouse.scalar("SELECT count(*) FROM company_profile_checks") == 0


def company(listed: Facts, before: Facts | None) -> Company:
    return Company(1, "A", listed, before, None)


def said(**facts: Any) -> Profile:
    return Profile("fmp", "A", NOW, **facts)


BEFORE = Facts("Old", "NYSE", "Tech", "Chips", "Memory", 5e9, "EUR", date(2026, 12, 1))


def test_the_lists_win_and_vendors_fill_in_what_they_leave_out() -> None:
    listed = Facts(sector="Information Technology", sub_industry="Semiconductors", currency="USD")
    answer = said(name="New", sector="Technology", industry="Chip Makers", sub_industry="x", market_cap=6e9)
    assert merged(company(listed, None), answer, TODAY) == Facts(
        "New", None, "Information Technology", "Chip Makers", "Semiconductors", 6e9, "USD", None
    )


def test_a_vendor_that_is_silent_takes_nothing_away_but_its_own_market_cap() -> None:
    listed = Facts(currency="USD")
    assert merged(company(listed, BEFORE), None, TODAY) == BEFORE
    assert merged(company(listed, BEFORE), said(), TODAY) == replace(BEFORE, market_cap=None, currency="USD")
    answer = said(market_cap=7e9, currency="gbp", next_earnings=date(2027, 2, 1))
    assert merged(company(listed, BEFORE), answer, TODAY) == replace(
        BEFORE, market_cap=7e9, currency="GBP", next_earnings=date(2027, 2, 1)
    )


def test_earnings_that_have_passed_are_no_next_ones() -> None:
    for day, kept in ((TODAY, TODAY), (TODAY - timedelta(days=1), None)):
        assert merged(company(Facts(), replace(BEFORE, next_earnings=day)), None, TODAY).next_earnings == kept
        assert merged(company(Facts(), None), said(next_earnings=day), TODAY).next_earnings == kept


_text = st.none() | st.text(max_size=12)
_answers = st.builds(
    Profile,
    vendor=st.just("a"),
    symbol=st.just("A"),
    learned_at=st.just(NOW),
    name=_text,
    exchange=_text,
    sector=_text,
    market_cap=st.none() | st.floats(),
    currency=_text,
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(answers=st.lists(_answers | st.just(said(name="half \ud800 a\x00pair", market_cap=1.0)), min_size=1, max_size=4))
def test_whatever_a_vendor_says_can_be_stored_and_said_twice_it_changes_nothing(
    warehouse: Warehouse, answers: Sequence[Profile]
) -> None:
    instrument_id = track(warehouse, "A")["A"]
    for answer in answers:
        for _ in range(2):
            (before,) = profiles.companies(warehouse, TODAY)
            facts = merged(before, answer, TODAY)
            changed = profiles.keep(warehouse, [profiles.Said(instrument_id, "a", facts)], [], NOW)
            assert changed == (before.current != facts)
        (after,) = profiles.companies(warehouse, TODAY)
        assert after.current == facts
        assert after.current.market_cap is None or 0 < after.current.market_cap < float("inf")
        assert changed == 0


@pytest.mark.parametrize(
    ("spelling", "name"),
    [
        ("XNAS", "NASDAQ"),
        ("NasdaqGS", "NASDAQ"),
        ("NASDAQ NMS - GLOBAL MARKET", "NASDAQ"),
        ("New York Stock Exchange, Inc.", "NYSE"),
        ("ARCX", "NYSE Arca"),
        ("AMEX", "AMEX"),
        ("TSX", "TSX"),
    ],
)
def test_an_exchange_has_one_name_whoever_names_it(spelling: str, name: str) -> None:
    assert exchange_name(spelling) == name
