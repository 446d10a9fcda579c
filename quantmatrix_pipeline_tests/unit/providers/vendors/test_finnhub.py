"""Finnhub over a real HTTP server: shapes of its specification, refusals as its users quote them, and some made up."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from itertools import pairwise
from string import ascii_uppercase
from typing import Any

import numpy as np
import pytest
from pydantic import SecretStr

from quantmatrix_pipeline.bars.batch import Basis
from quantmatrix_pipeline.errors import (
    AuthFailed,
    MalformedResponse,
    RateLimited,
    SymbolNotFound,
    UnsupportedRequest,
    VendorError,
    VendorUnavailable,
)
from quantmatrix_pipeline.providers.answers import Dividend, Member, OptionContract, Profile, Quote, Right, Split
from quantmatrix_pipeline.providers.contract import BarRequest, Capability, IntradayRequest
from quantmatrix_pipeline.providers.transport.answers_kept import KeptAnswers
from quantmatrix_pipeline.providers.transport.calls import Answer
from quantmatrix_pipeline.providers.transport.vendor import Access
from quantmatrix_pipeline.providers.vendors import finnhub, finnhub_answers
from quantmatrix_pipeline.providers.vendors.finnhub import Finnhub
from quantmatrix_pipeline_tests.unit.providers.vendors.asking import Asking
from quantmatrix_pipeline_tests.unit.providers.vendors.cases import Case, Provenance
from quantmatrix_pipeline_tests.unit.providers.vendors.metering import Recording
from quantmatrix_pipeline_tests.unit.providers.vendors.replay import Call, Reply, in_order
from quantmatrix_pipeline_tests.unit.providers.vendors.spoiling import spoiled

KEY = "fH_k3y_never_to_be_seen"
NOW = datetime(2026, 11, 20, 22, 0, tzinfo=UTC)  # a Friday, after the close
FINNHUB = Asking(finnhub.connect, KEY)
DAYS = ("2026-11-18", "2026-11-19")


def seconds(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp())


def reply(body: Any, status: int = 200, **headers: str) -> Reply:
    return Reply(json.dumps(body), status, headers)


def candles(*rows: tuple[str, float], **more: Any) -> dict[str, Any]:
    """Return bars that open at these times and prices, as columns."""
    body: dict[str, Any] = {"c": [12.5] * len(rows), "h": [600.0] * len(rows), "l": [5.0] * len(rows)}
    body |= {"o": [price for _, price in rows], "s": "ok", "t": [seconds(at) for at, _ in rows]}
    return body | {"v": [1000] * len(rows)} | more


def split(on: str, old: float = 1, new: float = 4, symbol: str = "AAPL") -> dict[str, Any]:
    return {"symbol": symbol, "date": on, "fromFactor": old, "toFactor": new}


def dividend(on: str, amount: float, symbol: str = "AAPL") -> dict[str, Any]:
    dates = {"date": on, "payDate": on, "recordDate": on, "declarationDate": on}
    return {"symbol": symbol, **dates, "amount": amount, "adjustedAmount": amount / 4, "currency": "USD", "freq": "4"}


def said(text: str, status: int, **headers: str) -> Reply:
    return reply({"error": text}, status, **headers)


WED, THU = "2026-11-18T05:00:00+00:00", "2026-11-19T05:00:00+00:00"  # midnight in New York
OK = candles((WED, 10.0), (THU, 20.0))
NO_DATA = {"s": "no_data"}
NO_SPLITS: list[Any] = []
NO_ACCESS = said("You don't have access to this resource.", 403)
TOO_MANY = "API limit reached. Please try again later. Remaining Limit: 0"
BAD_KEY = said("Invalid API key", 401)
ZEROS = {"c": 0, "d": None, "dp": None, "h": 0, "l": 0, "o": 0, "pc": 0, "t": 0}
PAGES = (
    reply(candles(("2026-09-01T13:30:00+00:00", 1.0), ("2026-10-01T13:30:00+00:00", 2.0))),
    reply(candles(("2026-10-01T13:30:00+00:00", 2.0), ("2026-10-15T13:30:00+00:00", 3.0))),
    reply(NO_DATA),
)

SHAPE = "shapes of its OpenAPI specification"
QUOTED = "as quoted in public issue threads"
CASES = (
    Case("finnhub", "ok", Provenance.DOCUMENTED, SHAPE, (reply(OK), reply(NO_SPLITS))),
    Case("finnhub", "paged", Provenance.CONSTRUCTED, "two and a half months of intraday bars, a month per call", PAGES),
    Case("finnhub", "empty", Provenance.DOCUMENTED, f"no_data without columns, {SHAPE}", (reply(NO_DATA),)),
    Case("finnhub", "unknown symbol", Provenance.DOCUMENTED, f"a quote of zeros, {QUOTED}", (reply(ZEROS),)),
    Case("finnhub", "rate limited", Provenance.DOCUMENTED, QUOTED, (said(TOO_MANY, 429),)),
    Case("finnhub", "bad key", Provenance.DOCUMENTED, QUOTED, (BAD_KEY,)),
    Case("finnhub", "no key", Provenance.DOCUMENTED, QUOTED, (said("Please use an API key.", 401),)),
    Case("finnhub", "premium only", Provenance.DOCUMENTED, QUOTED, (NO_ACCESS,)),
    Case(
        "finnhub",
        "error in a 200",
        Provenance.CONSTRUCTED,
        "the body of a 429 under status 200",
        (said(TOO_MANY, 200),),
    ),
    Case("finnhub", "truncated", Provenance.CONSTRUCTED, "two daily bars, cut off", (Reply(json.dumps(OK)[:-20]),)),
)


@pytest.fixture(autouse=True)
def _now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QM_NOW", NOW.isoformat())


def case(situation: str) -> tuple[Reply, ...]:
    (found,) = [c for c in CASES if c.situation == situation]
    return found.replies


def daily(symbol: str = "AAPL", sessions: Sequence[str] = DAYS) -> Callable[[Finnhub], Any]:
    request = BarRequest(symbol, np.array(sessions, "datetime64[D]"))
    return lambda vendor: vendor.daily_bars([request])


def intraday(start: str, end: str, interval: str = "1m") -> Callable[[Finnhub], Any]:
    request = IntradayRequest("AAPL", interval, datetime.fromisoformat(start), datetime.fromisoformat(end))
    return lambda vendor: vendor.intraday_bars(request)


def quote(symbol: str = "AAPL") -> Callable[[Finnhub], Any]:
    return lambda vendor: vendor.quotes([symbol])


# --- daily bars -------------------------------------------------------------------------------------------------------


def test_bars_and_splits_are_two_calls_with_the_key_in_the_query() -> None:
    found = FINNHUB.ask(in_order(*case("ok")), daily())
    answer = found.value
    assert (answer.vendor, answer.basis, answer.basis_date) == ("finnhub", Basis.RAW, None)
    assert (answer.bars.symbols, answer.bars.session.tolist()) == (
        ("AAPL",),
        [date(2026, 11, 18), date(2026, 11, 19)],
    )
    assert answer.bars.open.tolist() == [10.0, 20.0]
    assert (answer.bars.high.tolist(), answer.bars.low.tolist()) == ([600.0, 600.0], [5.0, 5.0])
    assert (answer.bars.close.tolist(), answer.bars.volume.tolist()) == ([12.5, 12.5], [1000.0, 1000.0])
    assert (answer.splits, answer.silent, dict(answer.failures), answer.learned_at) == ((), (), {}, NOW)
    bars, splits = found.server.calls
    assert (bars.path, bars.query) == (
        "/stock/candle",
        {
            "symbol": "AAPL",
            "resolution": "D",
            "from": str(seconds("2026-11-08T00:00:00+00:00")),
            "to": str(seconds("2026-11-20T00:00:00+00:00")),
            "token": KEY,
        },
    )
    assert (splits.path, splits.query) == (
        "/stock/split",
        {"symbol": "AAPL", "from": "2026-11-18", "to": "2026-11-20", "token": KEY},
    )
    assert [(t.capability, t.endpoint) for t in found.meter.attempts] == [
        (Capability.DAILY_BARS, "stock/candle/D"),
        (Capability.SPLITS, "stock/split"),
    ]


def test_the_adjustment_is_undone_with_the_vendors_own_splits() -> None:
    bars = candles(
        ("2020-08-28T04:00:00+00:00", 126.0), ("2020-08-31T04:00:00+00:00", 129.0), v=[4000, 1000], c=[124.75, 12.5]
    )
    splits = [split("2020-08-31"), split("2020-08-31"), split("2026-11-23", 1, 2)]
    answer = FINNHUB.ask(in_order(reply(bars), reply(splits)), daily(sessions=["2020-08-28", "2020-08-31"])).value
    assert (answer.basis, answer.basis_date) == (Basis.RAW, None)
    assert answer.bars.open.tolist() == [504.0, 129.0]
    assert (answer.bars.high[0], answer.bars.low[0], answer.bars.close[0]) == (2400.0, 20.0, 499.0)
    assert answer.bars.volume.tolist() == [1000.0, 1000.0]
    assert answer.splits == (Split("AAPL", date(2020, 8, 31), Fraction(4)),)


def test_a_reverse_split_is_undone_too() -> None:
    bars = candles(("2021-07-30T04:00:00+00:00", 104.0), ("2021-08-02T04:00:00+00:00", 100.0), v=[10, 1000])
    replies = (reply(bars), reply([split("2021-08-02", 8, 1)]))
    answer = FINNHUB.ask(in_order(*replies), daily(sessions=["2021-07-30", "2021-08-02"])).value
    assert answer.bars.open.tolist() == [13.0, 100.0]
    assert answer.bars.volume.tolist() == [80.0, 1000.0]


def test_where_the_plan_gives_no_splits_prices_are_said_to_be_adjusted_and_it_is_asked_once() -> None:
    async def twice(vendor: Finnhub) -> Any:
        return [await daily()(vendor) for _ in range(2)]

    found = FINNHUB.ask(lambda call: NO_ACCESS if call.path == "/stock/split" else reply(OK), twice)
    for answer in found.value:
        assert (answer.basis, answer.basis_date) == (Basis.SPLIT, date(2026, 11, 20))
        assert (answer.bars.open.tolist(), answer.splits) == ([10.0, 20.0], ())
    assert [c.path for c in found.server.calls] == ["/stock/candle", "/stock/split", "/stock/candle"]


def test_splits_that_can_not_be_had_for_another_reason_cost_the_bars_too() -> None:
    assert isinstance(FINNHUB.fail(daily(), reply(OK), said(TOO_MANY, 429), calls=2), RateLimited)


def test_the_day_of_new_york_counts_and_its_open_session_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QM_NOW", "2026-11-20T02:00:00Z")  # Thursday evening there
    bars = candles((THU, 1.0), ("2026-11-20T05:00:00+00:00", 2.0))
    question = daily(sessions=["2026-11-19", "2026-11-20"])
    answer = FINNHUB.ask(in_order(reply(bars), NO_ACCESS), question).value
    assert (answer.basis_date, answer.bars.session.tolist()) == (date(2026, 11, 19), [date(2026, 11, 19)])


@pytest.mark.parametrize("hour", ["00:00", "05:00", "14:30", "21:00"])
def test_a_session_is_its_day_wherever_in_the_day_it_is_stamped(hour: str) -> None:
    bars = candles((f"2026-11-19T{hour}:00+00:00", 1.0))
    answer = FINNHUB.ask(in_order(reply(bars), reply(NO_SPLITS)), daily()).value
    assert answer.bars.session.tolist() == [date(2026, 11, 19)]


def test_a_known_symbol_without_a_bar_on_those_sessions_is_silent() -> None:
    bars = candles(("2026-11-12T05:00:00+00:00", 1.0))
    answer = FINNHUB.ask(in_order(reply(bars), reply(NO_SPLITS)), daily()).value
    assert (len(answer.bars), answer.silent) == (0, ("AAPL",))


def test_a_share_class_is_asked_for_with_a_dot() -> None:
    found = FINNHUB.ask(in_order(reply(OK), reply(NO_SPLITS)), daily("BRK.B"))
    assert [c.query["symbol"] for c in found.server.calls] == ["BRK.B", "BRK.B"]
    assert found.value.bars.symbols == ("BRK.B",)


@pytest.mark.parametrize("symbol", ["^GSPC", "BTC-USD"])
def test_what_it_has_no_symbol_for_costs_no_call(symbol: str) -> None:
    error = FINNHUB.fail(quote(symbol), reply(ZEROS), calls=0)
    assert (type(error), error.symbol) == (UnsupportedRequest, symbol)


def test_a_volume_that_is_not_there_is_nan() -> None:
    bars = candles((WED, 1.0), (THU, 2.0), v=[None, 7])
    answer = FINNHUB.ask(in_order(reply(bars), reply(NO_SPLITS)), daily()).value
    assert np.isnan(answer.bars.volume).tolist() == [True, False]


# --- what goes wrong --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("situation", "error", "says", "symbol"),
    [
        ("empty", SymbolNotFound, "no bar from 2026-11-08 .* to 2026-11-20 .*: not known there", "AAPL"),
        ("rate limited", RateLimited, "API limit reached", "AAPL"),
        ("bad key", AuthFailed, "Invalid API key; check FINNHUB_API_KEY", None),
        ("no key", AuthFailed, "check FINNHUB_API_KEY", None),
        ("premium only", UnsupportedRequest, "don't have access.*FINNHUB_API_KEY", None),
        ("error in a 200", RateLimited, "API limit reached", "AAPL"),
        ("truncated", MalformedResponse, "no JSON", "AAPL"),
    ],
)
def test_every_refusal_is_a_typed_error_after_one_call(
    situation: str, error: type[VendorError], says: str, symbol: str | None
) -> None:
    told = FINNHUB.fail(daily(), *case(situation))
    assert (type(told), told.symbol) == (error, symbol)
    with pytest.raises(error, match=says):
        raise told


def test_an_unknown_symbol_has_a_quote_of_zeros() -> None:
    error = FINNHUB.fail(quote("NOPE"), *case("unknown symbol"))
    assert (type(error), error.symbol) == (SymbolNotFound, "NOPE")


@pytest.mark.parametrize("refused", [NO_ACCESS, BAD_KEY])
def test_the_same_refusal_under_status_200_is_the_same_error(refused: Reply) -> None:
    assert type(FINNHUB.fail(daily(), Reply(refused.body))) is type(FINNHUB.fail(daily(), refused))


def test_quotes_and_companies_are_in_every_plan_so_a_refusal_means_the_symbol() -> None:
    assert FINNHUB.fail(quote("SAP.DE"), NO_ACCESS).symbol == "SAP.DE"
    assert FINNHUB.fail(lambda v: v.profile("SAP.DE"), NO_ACCESS).symbol == "SAP.DE"
    for question in (
        intraday("2026-11-19T14:30:00+00:00", "2026-11-19T14:40:00+00:00"),
        lambda v: v.splits("AAPL", date(2020, 1, 1), date(2020, 12, 31)),
        lambda v: v.dividends("AAPL", date(2020, 1, 1), date(2020, 12, 31)),
        lambda v: v.constituents("SP500", date(2026, 11, 20)),
        lambda v: v.options_chain("AAPL"),
    ):
        error = FINNHUB.fail(question, NO_ACCESS)
        assert (type(error), error.symbol) == (UnsupportedRequest, None)


@pytest.mark.parametrize(
    ("headers", "pause"),
    [
        ({"retry-after": "7"}, 7.0),
        ({"x-ratelimit-reset": str(int(NOW.timestamp()) + 42)}, 42.0),
        ({"x-ratelimit-reset": str(int(NOW.timestamp()) - 42)}, None),
        ({"x-ratelimit-reset": "1000000000000"}, None),
        ({}, None),
    ],
)
def test_a_limit_is_over_when_the_vendor_says(headers: dict[str, str], pause: float | None) -> None:
    error = finnhub.refusal(finnhub.quote_query("AAPL"), Answer(429, headers, said(TOO_MANY, 429).body.encode(), NOW))
    assert isinstance(error, RateLimited)
    assert error.retry_after == pause


def test_a_pause_that_ends_soon_is_kept_and_then_it_answers() -> None:
    found = FINNHUB.ask(in_order(said(TOO_MANY, 429, **{"Retry-After": "0"}), reply(OK), reply(NO_SPLITS)), daily())
    assert isinstance(found.meter.attempts[0].error, RateLimited)
    assert found.meter.weights == [1, 1, 1]


def test_a_server_error_is_asked_again() -> None:
    found = FINNHUB.ask(in_order(said("oops", 502), reply(OK), reply(NO_SPLITS)), daily())
    assert isinstance(found.meter.attempts[0].error, VendorUnavailable)
    assert len(found.server.calls) == 3


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (Reply("<html><body>maintenance</body></html>", headers={"Content-Type": "text/html"}), "no JSON .text/html"),
        (Reply('{"s":"ok","t":[1795000000],"o":[NaN]}'), "no JSON"),
        (reply([]), "Expected `object`"),
        (reply({}), "missing required field `s`"),
        (reply(candles((WED, 1.0), s="error")), "status 'error'"),
        (reply(candles((WED, 1.0), s="no_data")), "status no_data, 1 times"),
        (reply(candles((WED, 1.0), h=[1.0, 2.0])), r"1 times and columns of \[1, 2\] values"),
        (reply({"s": "ok", "t": [seconds(WED)]}), "1 times and columns"),
        (reply({"s": "ok"}), "status ok, 0 times"),
        (reply(candles((THU, 1.0), (WED, 1.0))), "bar 2 is not later"),
        (reply(candles((WED, 1.0), (WED, 1.0))), "bar 2 is not later"),
        (reply(candles((WED, 1.0), ("2026-11-18T06:00:00+00:00", 1.0))), "two bars of 2026-11-18"),
        (reply(candles((WED, 1.0), c=[None])), "row 1: c is None"),
        (reply(candles((WED, 1.0), l=["nan"])), "row 1: l is nan"),
        (reply(candles((WED, 1.0), o=["ten"])), r"\.o\[0\]"),
        (reply(candles((WED, 1.0), t=[seconds(WED) * 1000])), r"\.t\[0\]"),
        (said("something new", 422), "something new"),
        (Reply("", 404), "HTTP 404"),
    ],
)
def test_what_can_not_be_read_is_malformed_and_names_the_place(body: Reply, says: str) -> None:
    error = _first_error(daily(), body)
    assert error.symbol == "AAPL"
    with pytest.raises(MalformedResponse, match=says):
        raise error


def _first_error(question: Callable[[Finnhub], Any], body: Reply) -> VendorError:
    """Return the error of a question whose first call is answered so, and whose others find no splits."""
    with pytest.raises(VendorError) as caught:
        FINNHUB.ask(in_order(body, reply(NO_SPLITS)), question)
    return caught.value


def test_the_key_is_in_no_message_and_in_no_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    errors = [
        FINNHUB.fail(quote(), r)
        for r in (said(f"Invalid API key {KEY}", 401), Reply(f"<p>{KEY}</p>"), Reply(f"no {KEY}", 418))
    ]
    FINNHUB.ask(in_order(*case("ok")), daily())
    shown = [repr(e) + str(e) + repr(e.__cause__) + repr(e.__context__) for e in errors]
    assert all(KEY not in text for text in [*shown, caplog.text])
    assert "***" in str(errors[0])


# --- intraday bars ----------------------------------------------------------------------------------------------------


def test_minutes_that_open_in_the_time_asked_for_are_read_as_traded() -> None:
    rows = [(f"2026-11-19T14:{minute}:00+00:00", float(minute)) for minute in (25, 30, 35, 40)]
    found = FINNHUB.ask(
        in_order(reply(candles(*rows))), intraday("2026-11-19T09:30:00-05:00", "2026-11-19T09:40:00-05:00", "5m")
    )
    bars = found.value
    assert (found.call.path, found.call.query) == (
        "/stock/candle",
        {"symbol": "AAPL", "resolution": "5", "from": "1795098600", "to": "1795099200", "token": KEY},
    )
    assert [str(at) for at in bars.opened_at] == ["2026-11-19T14:30:00", "2026-11-19T14:35:00"]
    assert bars.open.tolist() == [30.0, 35.0]
    assert (bars.high.tolist(), bars.low.tolist()) == ([600.0, 600.0], [5.0, 5.0])
    assert (bars.close.tolist(), bars.volume.tolist()) == ([12.5, 12.5], [1000.0, 1000.0])
    assert (bars.symbol, bars.interval, bars.basis, bars.basis_date) == ("AAPL", "5m", Basis.RAW, None)
    assert found.meter.attempts[0].capability is Capability.BARS_5M


def test_the_open_of_new_york_is_found_on_both_sides_of_summer_time() -> None:
    start, end = "2026-10-30T09:30:00-04:00", "2026-11-02T09:31:00-05:00"
    rows = [("2026-10-30T13:30:00+00:00", 1.0), ("2026-11-02T14:30:00+00:00", 2.0)]
    found = FINNHUB.ask(in_order(reply(candles(*rows))), intraday(start, end))
    assert [str(at) for at in found.value.opened_at] == ["2026-10-30T13:30:00", "2026-11-02T14:30:00"]
    assert (found.call.query["from"], found.call.query["to"]) == (str(seconds(start)), str(seconds(end)))


def test_more_than_a_month_is_asked_for_month_by_month_and_a_bar_that_stands_twice_is_one() -> None:
    start, end = "2026-09-01T13:30:00+00:00", "2026-11-10T00:00:00+00:00"
    found = FINNHUB.ask(in_order(*case("paged")), intraday(start, end))
    asked = [(int(c.query["from"]), int(c.query["to"])) for c in found.server.calls]
    assert (asked[0][0], asked[-1][1]) == (seconds(start), seconds(end))
    assert all(until == since for (_, until), (since, _) in pairwise(asked))
    assert all(until - since <= timedelta(days=30).total_seconds() for since, until in asked)
    assert found.value.open.tolist() == [1.0, 2.0, 3.0]


def test_a_minute_that_had_not_ended_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QM_NOW", "2026-11-19T14:31:59Z")
    rows = [("2026-11-19T14:30:00+00:00", 1.0), ("2026-11-19T14:31:00+00:00", 2.0)]
    question = intraday("2026-11-19T14:30:00+00:00", "2026-11-19T21:00:00+00:00")
    assert FINNHUB.ask(in_order(reply(candles(*rows))), question).value.open.tolist() == [1.0]


def test_months_without_any_bar_are_a_symbol_that_is_not_there() -> None:
    question = intraday("2026-09-01T13:30:00+00:00", "2026-11-10T00:00:00+00:00")
    assert isinstance(FINNHUB.fail(question, reply(NO_DATA), calls=3), SymbolNotFound)


# --- quotes and companies ---------------------------------------------------------------------------------------------

QUOTED_APPLE = {"c": 268.55, "d": 2.6, "dp": 0.9776, "h": 269.3, "l": 264.75, "o": 266.1, "pc": 265.95, "t": 1795208400}
APPLE = {
    "country": "US",
    "currency": "USD",
    "exchange": "NASDAQ NMS - GLOBAL MARKET",
    "finnhubIndustry": "Technology",
    "ipo": "1980-12-12",
    "marketCapitalization": 3985000.5,
    "name": "Apple Inc",
    "shareOutstanding": 14840.39,
    "ticker": "AAPL",
    "weburl": "https://www.apple.com/",
}


def reports(*days: str, symbol: str = "AAPL") -> dict[str, Any]:
    rows = [
        {"date": day, "epsActual": None, "hour": "amc", "quarter": 1, "symbol": symbol, "year": 2027} for day in days
    ]
    return {"earningsCalendar": rows}


def test_a_quote_is_read() -> None:
    found = FINNHUB.ask(in_order(reply(QUOTED_APPLE)), quote())
    assert (found.call.path, found.call.query) == ("/quote", {"symbol": "AAPL", "token": KEY})
    at = datetime(2026, 11, 20, 21, 0, tzinfo=UTC)
    expected = Quote("finnhub", "AAPL", 268.55, at, NOW, open=266.1, high=269.3, low=264.75, previous_close=265.95)
    assert found.value == [expected]


@pytest.mark.parametrize(
    "body",
    [
        QUOTED_APPLE | {"c": None},
        QUOTED_APPLE | {"c": "nan"},
        QUOTED_APPLE | {"c": -1},
        QUOTED_APPLE | {"c": 0},
        QUOTED_APPLE | {"t": 0},
        QUOTED_APPLE | {"t": 1795208400000},
        {},
        [],
    ],
)
def test_a_quote_without_price_or_time_is_malformed(body: Any) -> None:
    assert isinstance(FINNHUB.fail(quote(), reply(body)), MalformedResponse)


def test_a_company_is_worth_millions_and_its_next_report_is_looked_up() -> None:
    calendar = reports("2026-11-19", "2027-04-29", "2027-01-28")
    found = FINNHUB.ask(in_order(reply(APPLE), reply(calendar)), lambda v: v.profile("AAPL"))
    profile, earnings = found.server.calls
    assert (profile.path, profile.query) == ("/stock/profile2", {"symbol": "AAPL", "token": KEY})
    assert (earnings.path, earnings.query) == (
        "/calendar/earnings",
        {"symbol": "AAPL", "from": "2026-11-20", "to": "2027-03-20", "token": KEY},
    )
    assert found.value == Profile(
        "finnhub",
        "AAPL",
        NOW,
        name="Apple Inc",
        exchange="NASDAQ NMS - GLOBAL MARKET",
        industry="Technology",
        market_cap=3_985_000_500_000.0,
        currency="USD",
        next_earnings=date(2027, 1, 28),
    )
    assert {t.capability for t in found.meter.attempts} == {Capability.PROFILE}


def test_a_company_without_a_report_ahead_has_none() -> None:
    replies = (reply(APPLE), reply(reports()))
    assert FINNHUB.ask(in_order(*replies), lambda v: v.profile("AAPL")).value.next_earnings is None


def test_a_plan_without_the_calendar_gives_companies_all_the_same_and_is_asked_once() -> None:
    async def twice(vendor: Finnhub) -> Any:
        return [await vendor.profile("AAPL") for _ in range(2)]

    found = FINNHUB.ask(lambda call: NO_ACCESS if "calendar" in call.path else reply(APPLE), twice)
    assert [p.name for p in found.value] == ["Apple Inc", "Apple Inc"]
    assert [p.next_earnings for p in found.value] == [None, None]
    assert [c.path for c in found.server.calls] == ["/stock/profile2", "/calendar/earnings", "/stock/profile2"]


@pytest.mark.parametrize(
    ("replies", "error"),
    [
        ((reply({}),), SymbolNotFound),
        ((reply(APPLE | {"ticker": "MSFT"}),), MalformedResponse),
        ((reply(APPLE | {"marketCapitalization": "much"}),), MalformedResponse),
        ((reply(APPLE), reply(reports("2027-01-28", symbol="MSFT"))), MalformedResponse),
        ((reply(APPLE), reply(reports("soon"))), MalformedResponse),
    ],
)
def test_a_company_that_is_none_or_another_is_a_typed_error(
    replies: tuple[Reply, ...], error: type[VendorError]
) -> None:
    assert type(FINNHUB.fail(lambda v: v.profile("AAPL"), *replies, calls=len(replies))) is error


# --- splits and dividends ---------------------------------------------------------------------------------------------


def test_splits_of_the_days_asked_for_are_read_and_one_listed_twice_counts_once() -> None:
    body = [split("2014-06-09", 1, 7), split("2020-08-31"), split("2020-08-31"), split("2005-02-28", 1, 2)]
    found = FINNHUB.ask(in_order(reply(body)), lambda v: v.splits("AAPL", date(2014, 6, 9), date(2020, 8, 31)))
    assert (found.call.path, found.call.query) == (
        "/stock/split",
        {"symbol": "AAPL", "from": "2014-06-09", "to": "2020-08-31", "token": KEY},
    )
    assert found.value.splits == (
        Split("AAPL", date(2014, 6, 9), Fraction(7)),
        Split("AAPL", date(2020, 8, 31), Fraction(4)),
    )


def test_dividends_are_those_of_their_time() -> None:
    body = [dividend("2020-08-07", 0.82), dividend("2020-05-08", 0.82), dividend("2020-02-07", 0.77)]
    found = FINNHUB.ask(in_order(reply(body)), lambda v: v.dividends("AAPL", date(2020, 5, 8), date(2020, 8, 7)))
    assert found.call.path == "/stock/dividend"
    assert found.value.dividends == (
        Dividend("AAPL", date(2020, 8, 7), 0.82, "USD"),
        Dividend("AAPL", date(2020, 5, 8), 0.82, "USD"),
    )


@pytest.mark.parametrize(
    ("capability", "rows"),
    [
        ("splits", [split("2020-08-31", 0, 4)]),
        ("splits", [split("2020-08-31", 1, float("1e9"))]),
        ("splits", [split("2020-08-31"), split("2020-08-31", 1, 5)]),
        ("splits", [split("2020-08-31", symbol="MSFT")]),
        ("splits", [split("31.8.2020")]),
        ("dividends", [dividend("2020-08-07", 0)]),
        ("dividends", [dividend("2020-08-07", 0.82, "MSFT")]),
    ],
)
def test_an_action_that_is_none_or_another_symbols_is_malformed(capability: str, rows: list[Any]) -> None:
    question: Any = lambda v: getattr(v, capability)("AAPL", date(2020, 1, 1), date(2020, 12, 31))  # noqa: E731
    error = FINNHUB.fail(question, reply(rows))
    assert (type(error), error.symbol) == (MalformedResponse, "AAPL")


def test_actions_of_a_whole_market_are_not_offered() -> None:
    error = FINNHUB.fail(lambda v: v.splits(None, date(2020, 1, 1), date(2020, 12, 31)), reply([]), calls=0)
    assert (type(error), error.symbol) == (UnsupportedRequest, "the whole market")


# --- members ----------------------------------------------------------------------------------------------------------


def members(symbol: str, count: int, *more: str, named: bool = True) -> dict[str, Any]:
    names = [*[a + b for a in ascii_uppercase for b in ascii_uppercase][:count], *more]
    body: dict[str, Any] = {"symbol": symbol, "constituents": names}
    parts = [{"symbol": n, "name": f"{n} Inc", "isin": "US0", "cusip": "0", "weight": 0.2} for n in names]
    return body | ({"constituentsBreakdown": parts} if named else {})


@pytest.mark.parametrize(
    ("index", "symbol", "count"), [("SP500", "^GSPC", 503), ("NASDAQ100", "^NDX", 101), ("DOW30", "^DJI", 30)]
)
def test_members_are_those_of_today_with_their_names(index: str, symbol: str, count: int) -> None:
    body = members(symbol, count - 1, "BRK.B")
    found = FINNHUB.ask(in_order(reply(body)), lambda v: v.constituents(index, date(2020, 1, 2)))
    assert (found.call.path, found.call.query) == ("/index/constituents", {"symbol": symbol, "token": KEY})
    answer = found.value
    assert (answer.vendor, answer.index, answer.as_of_date) == ("finnhub", index, date(2026, 11, 20))
    assert len(answer.members) == count
    assert (answer.members[0], answer.members[-1]) == (Member("AA", "AA Inc"), Member("BRK.B", "BRK.B Inc"))


def test_members_without_a_breakdown_have_no_names() -> None:
    body = members("^DJI", 30, named=False)
    answer = FINNHUB.ask(in_order(reply(body)), lambda v: v.constituents("DOW30", date(2026, 11, 20))).value
    assert answer.members[0] == Member("AA")


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (members("^DJI", 29), "29 members, fewer than 30"),
        (members("^DJI", 30, "AA"), "'AA' stands twice"),
        (members("^DJI", 30, "no symbol!"), "member 31: 'no symbol!' is no symbol"),
        (members("^NDX", 30), r"asked for \^DJI, answered with \^NDX"),
        ({"symbol": "^DJI", "constituents": []}, "0 members"),
    ],
)
def test_members_that_can_not_be_the_index_are_malformed(body: dict[str, Any], says: str) -> None:
    error = FINNHUB.fail(lambda v: v.constituents("DOW30", date(2026, 11, 20)), reply(body))
    with pytest.raises(MalformedResponse, match=says):
        raise error


def test_an_index_that_it_does_not_have_costs_no_call_and_says_nothing_of_the_others() -> None:
    error = FINNHUB.fail(lambda v: v.constituents("R2000", date(2026, 11, 20)), reply({}), calls=0)
    assert (type(error), error.symbol) == (UnsupportedRequest, "R2000")


# --- options ----------------------------------------------------------------------------------------------------------


def option(name: str, strike: float, **more: Any) -> dict[str, Any]:
    body = {"contractName": name, "contractSize": "REGULAR", "currency": "USD", "inTheMoney": "TRUE", "strike": strike}
    body |= {"lastPrice": 18.9, "bid": 18.5, "ask": 19.25, "volume": 120, "openInterest": 4321}
    return body | {"impliedVolatility": 34.5, "delta": 0.8} | more


def chain(*expiries: dict[str, Any], code: str = "AAPL") -> dict[str, Any]:
    return {
        "code": code,
        "exchange": "US",
        "lastTradeDate": "2026-11-20",
        "lastTradePrice": 268.55,
        "data": list(expiries),
    }


DECEMBER = {
    "expirationDate": "2026-12-18",
    "impliedVolatility": 34.0,
    "options": {
        "CALL": [option("AAPL261218C00250000", 250)],
        "PUT": [option("AAPL261218P00250000", 250, lastPrice=0, bid=0, ask=0.05, impliedVolatility=None)],
    },
}
JANUARY = {"expirationDate": "2027-01-15", "options": {"CALL": [option("AAPL270115C00250000", 250)]}}


def test_a_chain_is_read_with_volatilities_as_fractions() -> None:
    found = FINNHUB.ask(in_order(reply(chain(DECEMBER, JANUARY))), lambda v: v.options_chain("AAPL"))
    assert (found.call.path, found.call.query) == ("/stock/option-chain", {"symbol": "AAPL", "token": KEY})
    answer = found.value
    assert (answer.vendor, answer.symbol, answer.learned_at, answer.underlying_price) == (
        "finnhub",
        "AAPL",
        NOW,
        268.55,
    )
    call, put, later = answer.contracts
    assert call == OptionContract(
        "AAPL261218C00250000",
        Right.CALL,
        date(2026, 12, 18),
        250.0,
        bid=18.5,
        ask=19.25,
        last=18.9,
        volume=120.0,
        open_interest=4321.0,
        implied_volatility=0.345,
    )
    assert (put.right, put.bid, put.ask, put.last, put.implied_volatility) == (Right.PUT, 0.0, 0.05, None, None)
    assert (later.contract, later.expiry) == ("AAPL270115C00250000", date(2027, 1, 15))


def test_a_chain_of_one_expiry_holds_no_other() -> None:
    body = reply(chain(DECEMBER, JANUARY))
    answer = FINNHUB.ask(in_order(body), lambda v: v.options_chain("AAPL", date(2027, 1, 15))).value
    assert [c.contract for c in answer.contracts] == ["AAPL270115C00250000"]


def _with(**more: Any) -> dict[str, Any]:
    return {"expirationDate": "2026-12-18", "options": {"CALL": [option("AAPL261218C00250000", 250) | more]}}


@pytest.mark.parametrize(
    ("body", "error", "says"),
    [
        (chain(), SymbolNotFound, "no options"),
        (chain(JANUARY), UnsupportedRequest, "no options expire on 2026-12-18; on these days: 2027-01-15"),
        (chain(DECEMBER, code="MSFT"), MalformedResponse, "answered with MSFT"),
        (chain(_with(impliedVolatility=0.345)), MalformedResponse, "around 0.345 can't be percent"),
        (chain(_with(strike="nan")), MalformedResponse, "strike is nan"),
        (chain(_with(strike=None)), MalformedResponse, "strike"),
        (chain(DECEMBER | {"expirationDate": "soon"}), MalformedResponse, "expirationDate"),
    ],
)
def test_a_chain_that_is_none_is_a_typed_error(body: dict[str, Any], error: type[VendorError], says: str) -> None:
    told = FINNHUB.fail(lambda v: v.options_chain("AAPL", date(2026, 12, 18)), reply(body))
    assert told.symbol == "AAPL"
    with pytest.raises(error, match=says):
        raise told


# --- anything wrong, anywhere -----------------------------------------------------------------------------------------


def _read_daily(answer: Answer) -> None:
    request = BarRequest("AAPL", np.array(DAYS, "datetime64[D]"))
    call = finnhub.daily_query(request, NOW)
    bars = finnhub_answers.serve_daily(call, request, finnhub_answers.read_daily(call, answer), ()).bars
    assert all(np.isfinite(column).all() for column in (bars.open, bars.high, bars.low, bars.close))


def _read_intraday(answer: Answer) -> None:
    request = IntradayRequest("AAPL", "5m", datetime.fromisoformat(WED), datetime.fromisoformat(THU))
    (call,) = finnhub.intraday_queries(request, NOW)
    bars = finnhub_answers.serve_intraday(request, [finnhub_answers.read_intraday(call, answer)])
    assert all(np.isfinite(column).all() for column in (bars.open, bars.high, bars.low, bars.close))


FIRST, LAST = date(2020, 1, 1), date(2020, 12, 31)
_SPLITS = finnhub.actions_query(Capability.SPLITS, "AAPL", FIRST, LAST, NOW)


@pytest.mark.parametrize(
    ("body", "read"),
    [
        (OK, _read_daily),
        (OK, _read_intraday),
        (QUOTED_APPLE, lambda a: finnhub_answers.read_quote(finnhub.quote_query("AAPL"), a)),
        (APPLE, lambda a: finnhub_answers.read_profile(finnhub.profile_query("AAPL"), a)),
        (reports("2027-01-28"), lambda a: finnhub_answers.read_earnings(finnhub.earnings_query("AAPL", NOW), a)),
        ([split("2020-08-31")], lambda a: finnhub_answers.read_splits(_SPLITS, FIRST, LAST, a)),
        ([dividend("2020-08-07", 0.82)], lambda a: finnhub_answers.read_dividends(_SPLITS, FIRST, LAST, a)),
        (chain(DECEMBER), lambda a: finnhub_answers.read_options(finnhub.options_query("AAPL"), None, a)),
    ],
    ids=["daily", "intraday", "quote", "profile", "earnings", "splits", "dividends", "options"],
)
def test_an_answer_with_anything_wrong_is_read_or_refused_typed(body: Any, read: Callable[[Answer], Any]) -> None:
    outcomes: Counter[str] = Counter()
    for content in spoiled(body):
        answer = Answer(200, {}, content, NOW)
        try:
            finnhub.refusal(_SPLITS, answer)
            read(answer)
        except VendorError:
            outcomes["refused"] += 1
        else:
            outcomes["read"] += 1
    assert outcomes["refused"] > 50
    assert outcomes["read"] > 0


# --- what it offers, and what is asked again --------------------------------------------------------------------------


def test_what_it_offers_names_the_calls_of_each_question() -> None:
    offers = finnhub.connect(Access("http://127.0.0.1:9", SecretStr(KEY), Recording(), reach_days=365)).offers
    assert (offers[Capability.DAILY_BARS].cost(1), offers[Capability.PROFILE].cost(1)) == (2, 2)
    assert (offers[Capability.QUOTES].cost(1), offers[Capability.OPTIONS_CHAIN].cost(1)) == (1, 1)
    assert (offers[Capability.DAILY_BARS].reach_days, offers[Capability.BARS_1M].reach_days) == (365, 365)
    assert Capability.GROUPED_BARS not in offers


def test_the_same_question_is_asked_once_while_its_answer_keeps() -> None:
    def answer(call: Call) -> Reply:
        return reply({"/quote": QUOTED_APPLE, "/stock/candle": OK, "/stock/split": NO_SPLITS}[call.path])

    async def twice(vendor: Finnhub) -> None:
        for _ in range(2):
            await quote()(vendor)
            await daily()(vendor)

    found = FINNHUB.ask(answer, twice, kept=KeptAnswers())
    assert [c.path for c in found.server.calls] == ["/quote", "/stock/candle", "/stock/split"]
