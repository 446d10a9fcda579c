"""Alpha Vantage over a real HTTP server: recorded answers, its texts as its users quote them, and some made up."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from pydantic import SecretStr

from quantmatrix_pipeline.bars.batch import Basis
from quantmatrix_pipeline.errors import (
    AuthFailed,
    MalformedResponse,
    QuotaExhausted,
    RateLimited,
    SymbolNotFound,
    UnsupportedRequest,
    VendorError,
    VendorUnavailable,
)
from quantmatrix_pipeline.providers.answers import Dividend, Profile, Quote, Split
from quantmatrix_pipeline.providers.contract import BarRequest, Capability, IntradayRequest
from quantmatrix_pipeline.providers.transport.answers_kept import KeptAnswers
from quantmatrix_pipeline.providers.transport.calls import Answer
from quantmatrix_pipeline.providers.transport.vendor import Access
from quantmatrix_pipeline.providers.vendors import alpha_vantage, alpha_vantage_answers
from quantmatrix_pipeline.providers.vendors.alpha_vantage import AlphaVantage
from quantmatrix_pipeline_tests.shared_data import shared_data
from quantmatrix_pipeline_tests.unit.providers.vendors.asking import Asking
from quantmatrix_pipeline_tests.unit.providers.vendors.cases import Case, Provenance
from quantmatrix_pipeline_tests.unit.providers.vendors.metering import Recording
from quantmatrix_pipeline_tests.unit.providers.vendors.replay import Call, Reply, in_order
from quantmatrix_pipeline_tests.unit.providers.vendors.spoiling import spoiled

KEY = "AV_K3Y_NEVER_TO_BE_SEEN"
NOW = datetime(2026, 11, 20, 22, 0, tzinfo=UTC)  # a Friday, after the close
ALPHA = Asking(alpha_vantage.connect, KEY)
DAYS = ("2026-11-18", "2026-11-19")
RECORDED_MINUTES = "payloads/alpha_vantage/mock_time_series.json"
RECORDED_QUOTE = "payloads/alpha_vantage/global_quote.json"
RECORDED_OVERVIEW = "payloads/alpha_vantage/mock_company_overview.json"


def reply(body: Any, status: int = 200, **headers: str) -> Reply:
    return Reply(json.dumps(body), status, headers)


def recorded(path: str) -> Reply:
    return Reply(shared_data(*path.split("/")).read_text())


def row(price: float | str = 10.0, **more: Any) -> dict[str, Any]:
    numbers = {"1. open": price, "2. high": 30.0, "3. low": 5.0, "4. close": 12.5, "5. volume": 1000} | more
    return {name: value if value is None else str(value) for name, value in numbers.items()}


def days(rows: dict[str, dict[str, Any]], symbol: str = "AAPL", zone: str = "US/Eastern") -> dict[str, Any]:
    meta = {"1. Information": "Daily Prices (open, high, low, close) and Volumes", "2. Symbol": symbol}
    meta |= {"3. Last Refreshed": "2026-11-20", "4. Output Size": "Compact", "5. Time Zone": zone}
    return {"Meta Data": meta, "Time Series (Daily)": rows}


def minutes(rows: dict[str, dict[str, Any]], interval: str = "5min", **more: str) -> dict[str, Any]:
    meta = {"1. Information": f"Intraday ({interval}) open, high, low, close prices and volume", "2. Symbol": "AAPL"}
    meta |= {"3. Last Refreshed": "2026-11-20 15:55:00", "4. Interval": interval, "5. Output Size": "Full size"}
    return {"Meta Data": meta | {"6. Time Zone": "US/Eastern"} | more, f"Time Series ({interval})": rows}


MISSING_KEY = {
    "Error Message": "the parameter apikey is invalid or missing. Please claim your free API key on "
    "(https://www.alphavantage.co/support/#api-key). It should take less than 20 seconds."
}
INVALID = {
    "Error Message": "Invalid API call. Please retry or visit the documentation (https://www.alphavantage.co/"
    "documentation/) for TIME_SERIES_DAILY."
}
BURST = {
    "Information": "Thank you for using Alpha Vantage! Please consider spreading out your free API requests more "
    "sparingly (1 request per second). You may subscribe to any of the premium plans at https://www.alphavantage.co/"
    "premium/ to lift the free key rate limit (25 requests per day), raise the per-second burst limit, and instantly "
    "unlock all premium endpoints"
}
USED_UP = {
    "Information": f"We have detected your API key as {KEY} and our standard API rate limit is 25 requests per day. "
    "Please subscribe to any of the premium plans at https://www.alphavantage.co/premium/ to instantly remove all "
    "daily rate limits."
}
OLD_LIMIT = {
    "Note": "Thank you for using Alpha Vantage! Our standard API call frequency is 5 calls per minute and 500 calls "
    "per day. Please visit https://www.alphavantage.co/premium/ if you would like to target a higher API call "
    "frequency."
}
PREMIUM = {
    "Information": "Thank you for using Alpha Vantage! This is a premium endpoint. You may subscribe to any of the "
    "premium plans at https://www.alphavantage.co/premium/ to instantly unlock all premium endpoints"
}
OK = days({"2026-11-19": row(20.0), "2026-11-18": row(10.0, **{"5. volume": 2000})})
PAGES = (
    reply(minutes({"2026-10-30 15:55:00": row(2.0), "2026-10-30 09:30:00": row(1.0)})),
    reply(minutes({"2026-11-02 09:35:00": row(4.0), "2026-11-02 09:30:00": row(3.0)})),
)

QUOTED = "as quoted in public issue threads and sources of its users"
CASES = (
    Case("alpha_vantage", "ok", Provenance.RECORDED, RECORDED_MINUTES),
    Case("alpha_vantage", "ok: quote", Provenance.RECORDED, RECORDED_QUOTE),
    Case("alpha_vantage", "ok: company", Provenance.RECORDED, RECORDED_OVERVIEW),
    Case("alpha_vantage", "ok: daily", Provenance.DOCUMENTED, "its documentation", (reply(OK),)),
    Case("alpha_vantage", "paged", Provenance.CONSTRUCTED, "two months of intraday bars, a call for each", PAGES),
    Case("alpha_vantage", "empty", Provenance.CONSTRUCTED, "no bars", (reply(days({})),)),
    Case("alpha_vantage", "unknown symbol", Provenance.DOCUMENTED, QUOTED, (reply(INVALID),)),
    Case("alpha_vantage", "rate limited", Provenance.DOCUMENTED, QUOTED, (reply(BURST), reply(OK))),
    Case("alpha_vantage", "day used up", Provenance.DOCUMENTED, QUOTED, (reply(USED_UP),)),
    Case(
        "alpha_vantage",
        "bad key",
        Provenance.DOCUMENTED,
        f"only a missing one is told, {QUOTED}",
        (reply(MISSING_KEY),),
    ),
    Case("alpha_vantage", "premium only", Provenance.DOCUMENTED, QUOTED, (reply(PREMIUM),)),
    Case("alpha_vantage", "error in a 200", Provenance.DOCUMENTED, f"all of them are, {QUOTED}", (reply(USED_UP),)),
    Case(
        "alpha_vantage", "truncated", Provenance.CONSTRUCTED, "two daily bars, cut off", (Reply(json.dumps(OK)[:-60]),)
    ),
)


@pytest.fixture(autouse=True)
def _now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QM_NOW", NOW.isoformat())


def case(situation: str) -> tuple[Reply, ...]:
    (found,) = [c for c in CASES if c.situation == situation]
    return found.replies


def daily(symbol: str = "AAPL", sessions: Sequence[str] = DAYS) -> Callable[[AlphaVantage], Any]:
    request = BarRequest(symbol, np.array(sessions, "datetime64[D]"))
    return lambda vendor: vendor.daily_bars([request])


def intraday(start: str, end: str, interval: str = "5m", symbol: str = "AAPL") -> Callable[[AlphaVantage], Any]:
    request = IntradayRequest(symbol, interval, datetime.fromisoformat(start), datetime.fromisoformat(end))
    return lambda vendor: vendor.intraday_bars(request)


def quote(symbol: str = "AAPL") -> Callable[[AlphaVantage], Any]:
    return lambda vendor: vendor.quotes([symbol])


# --- daily bars -------------------------------------------------------------------------------------------------------


def test_bars_are_read_as_traded_in_ascending_order() -> None:
    found = ALPHA.ask(in_order(*case("ok: daily")), daily())
    answer = found.value
    assert (answer.vendor, answer.basis, answer.basis_date) == ("alpha_vantage", Basis.RAW, None)
    assert (answer.bars.symbols, answer.bars.session.tolist()) == (
        ("AAPL",),
        [date(2026, 11, 18), date(2026, 11, 19)],
    )
    assert answer.bars.open.tolist() == [10.0, 20.0]
    assert (answer.bars.high.tolist(), answer.bars.low.tolist()) == ([30.0, 30.0], [5.0, 5.0])
    assert (answer.bars.close.tolist(), answer.bars.volume.tolist()) == ([12.5, 12.5], [2000.0, 1000.0])
    assert (answer.silent, dict(answer.failures), answer.learned_at) == ((), {}, NOW)
    assert (found.call.path, found.call.query) == (
        "/query",
        {
            "function": "TIME_SERIES_DAILY",
            "symbol": "AAPL",
            "outputsize": "compact",
            "datatype": "json",
            "apikey": KEY,
        },
    )
    (timed,) = found.meter.attempts
    assert (timed.capability, timed.endpoint, timed.error) == (Capability.DAILY_BARS, "TIME_SERIES_DAILY", None)


def hundred(count: int = 100) -> tuple[dict[str, Any], list[str]]:
    """Return the newest `count` weekdays as the vendor gives them, and the days, ascending."""
    sessions = np.busday_offset("2026-11-20", np.arange(-count + 1, 1), roll="backward").astype(str).tolist()
    return days({day: row(float(n)) for n, day in reversed(list(enumerate(sessions)))}), sessions


def test_a_session_older_than_a_full_answer_is_not_said_to_be_without_trade() -> None:
    body, sessions = hundred()
    older = str(np.busday_offset(sessions[0], -1))
    error = ALPHA.fail(daily(sessions=[older, sessions[0]]), reply(body))
    assert (type(error), error.symbol) == (UnsupportedRequest, "AAPL")
    assert f"reach back to {sessions[0]} only, asked for {older}" in str(error)
    answer = ALPHA.ask(in_order(reply(body)), daily(sessions=sessions)).value
    assert answer.bars.open.tolist() == [float(n) for n in range(100)]


def test_of_a_symbol_listed_lately_there_is_no_older_bar_to_miss() -> None:
    body, sessions = hundred(99)
    older = str(np.busday_offset(sessions[0], -1))
    answer = ALPHA.ask(in_order(reply(body)), daily(sessions=[older, *sessions])).value
    assert (len(answer.bars), answer.silent) == (99, ())


def test_the_bar_of_a_session_still_open_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QM_NOW", "2026-11-19T20:59:59Z")
    assert ALPHA.ask(in_order(reply(OK)), daily()).value.bars.session.tolist() == [date(2026, 11, 18)]


def test_a_known_symbol_without_a_bar_on_those_sessions_is_silent() -> None:
    answer = ALPHA.ask(in_order(reply(days({"2026-11-12": row()}))), daily()).value
    assert (len(answer.bars), answer.silent) == (0, ("AAPL",))


def test_a_share_class_is_asked_for_with_a_dash() -> None:
    found = ALPHA.ask(in_order(reply(days({"2026-11-19": row()}, "BRK-B"))), daily("BRK.B"))
    assert found.call.query["symbol"] == "BRK-B"
    assert found.value.bars.symbols == ("BRK.B",)


@pytest.mark.parametrize("symbol", ["^GSPC", "BTC-USD"])
def test_what_it_has_no_symbol_for_costs_no_call(symbol: str) -> None:
    error = ALPHA.fail(daily(symbol), reply(OK), calls=0)
    assert (type(error), error.symbol) == (UnsupportedRequest, symbol)


def test_a_volume_that_is_not_there_is_nan() -> None:
    one = row()
    del one["5. volume"]
    answer = ALPHA.ask(in_order(reply(days({"2026-11-19": one}))), daily()).value
    assert np.isnan(answer.bars.volume).tolist() == [True]


# --- what goes wrong --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("situation", "error", "says", "symbol"),
    [
        ("empty", SymbolNotFound, "no daily bar at all", "AAPL"),
        ("unknown symbol", SymbolNotFound, "Invalid API call", "AAPL"),
        ("day used up", QuotaExhausted, r"25 requests per day.*ALPHA_VANTAGE_API_KEY that is not one", "AAPL"),
        ("bad key", AuthFailed, "check ALPHA_VANTAGE_API_KEY", None),
        ("premium only", UnsupportedRequest, "premium endpoint.*ALPHA_VANTAGE_API_KEY", None),
        ("error in a 200", QuotaExhausted, "per day", "AAPL"),
        ("truncated", MalformedResponse, "no JSON", "AAPL"),
    ],
)
def test_every_refusal_is_a_typed_error_after_one_call(
    situation: str, error: type[VendorError], says: str, symbol: str | None
) -> None:
    told = ALPHA.fail(daily(), *case(situation))
    assert (type(told), told.symbol) == (error, symbol)
    with pytest.raises(error, match=says):
        raise told


@pytest.mark.parametrize(
    ("said", "error", "pause"),
    [
        (BURST, RateLimited, 1.5),
        (OLD_LIMIT, RateLimited, 60.0),
        (USED_UP, QuotaExhausted, None),
        (PREMIUM, UnsupportedRequest, None),
        (INVALID, SymbolNotFound, None),
        (MISSING_KEY, AuthFailed, None),
        ({"Information": "something new"}, MalformedResponse, None),
        ({"Note": "something new"}, MalformedResponse, None),
    ],
)
@pytest.mark.parametrize("name", ["Information", "Note", "Error Message"])
def test_the_words_tell_which_error_it_is_whatever_name_they_stand_under(
    name: str, said: dict[str, str], error: type[VendorError], pause: float | None
) -> None:
    (text,) = said.values()
    told = alpha_vantage.refusal(
        alpha_vantage.quote_query("AAPL"), Answer(200, {}, json.dumps({name: text}).encode(), NOW)
    )
    assert type(told) is error
    assert getattr(told, "retry_after", None) == pause


def test_a_call_too_soon_is_made_again_a_moment_later() -> None:
    found = ALPHA.ask(in_order(*case("rate limited")), daily())
    assert isinstance(found.meter.attempts[0].error, RateLimited)
    assert (found.meter.weights, len(found.value.bars)) == ([1, 1], 2)


def test_a_server_error_is_asked_again() -> None:
    found = ALPHA.ask(in_order(Reply("bad gateway", 502), reply(OK)), daily())
    assert isinstance(found.meter.attempts[0].error, VendorUnavailable)
    assert len(found.server.calls) == 2


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (Reply("<html><body>maintenance</body></html>", headers={"Content-Type": "text/html"}), "no JSON .text/html"),
        (Reply('{"Time Series (Daily)":{"2026-11-19":{"1. open":NaN}}}'), "no JSON"),
        (reply([]), "Expected `object`"),
        (reply({}), "missing required field `Meta Data`"),
        (reply(days({"2026-11-19": row()}, "MSFT")), "asked for AAPL, answered with MSFT"),
        (reply(days({"2026-11-19": row()}, zone="UTC")), "times of 'UTC'"),
        (reply(days({"2026-11-19": row("nan")})), "row 1: open is nan"),
        (reply(days({"2026-11-19": row("ten")})), "Expected `float`"),
        (reply(days({"2026-11-19": row(), "2026-11-18": row(**{"3. low": None})})), "Expected `float`"),
        (reply(days({"yesterday": row()})), "row 1: 'yesterday' is no date"),
        (Reply("", 404), "HTTP 404"),
    ],
)
def test_what_can_not_be_read_is_malformed_and_names_the_place(body: Reply, says: str) -> None:
    error = ALPHA.fail(daily(), body)
    assert error.symbol == "AAPL"
    with pytest.raises(MalformedResponse, match=says):
        raise error


def test_the_key_is_in_no_message_and_in_no_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    errors = [ALPHA.fail(daily(), r) for r in (reply(USED_UP), Reply(f"<p>{KEY}</p>"), Reply(f"no {KEY}", 418))]
    found = ALPHA.ask(in_order(reply(OK)), daily())
    assert found.call.query["apikey"] == KEY
    shown = [repr(e) + str(e) + repr(e.__cause__) + repr(e.__context__) for e in errors]
    assert all(KEY not in text for text in [*shown, caplog.text])
    assert "detected your API key as ***" in str(errors[0])


# --- intraday bars ----------------------------------------------------------------------------------------------------


def test_the_recorded_minutes_are_read_to_the_last_digit() -> None:
    question = intraday("2017-12-18T18:00:00+00:00", "2017-12-18T20:00:00+00:00", "1m", "MSFT")
    found = ALPHA.ask(in_order(recorded(RECORDED_MINUTES)), question)
    bars = found.value
    assert found.call.query == {
        "function": "TIME_SERIES_INTRADAY",
        "symbol": "MSFT",
        "interval": "1min",
        "adjusted": "false",
        "extended_hours": "false",
        "month": "2017-12",
        "outputsize": "full",
        "datatype": "json",
        "apikey": KEY,
    }
    assert (bars.symbol, bars.interval, bars.basis, bars.basis_date) == ("MSFT", "1m", Basis.RAW, None)
    assert len(bars) == 100
    assert (str(bars.opened_at[0]), str(bars.opened_at[-1])) == ("2017-12-18T18:17:00", "2017-12-18T19:56:00")
    last = [float(c[-1]) for c in (bars.open, bars.high, bars.low, bars.close, bars.volume)]
    assert last == [86.49, 86.5, 86.475, 86.5, 10494.0]
    assert set(np.diff(bars.opened_at).tolist()) == {timedelta(minutes=1)}
    assert found.meter.attempts[0].capability is Capability.BARS_1M


def test_months_of_new_york_are_a_call_each_and_the_open_is_found_on_both_sides_of_summer_time() -> None:
    found = ALPHA.ask(in_order(*case("paged")), intraday("2026-10-30T09:35:00-04:00", "2026-11-02T09:35:00-05:00"))
    assert [c.query["month"] for c in found.server.calls] == ["2026-10", "2026-11"]
    assert {(c.query["adjusted"], c.query["extended_hours"]) for c in found.server.calls} == {("false", "false")}
    assert [str(at) for at in found.value.opened_at] == ["2026-10-30T19:55:00", "2026-11-02T14:30:00"]
    assert found.value.open.tolist() == [2.0, 3.0]


@pytest.mark.parametrize(
    ("start", "end", "months"),
    [
        ("2026-11-01T00:00:00-04:00", "2026-11-01T00:00:01-04:00", ["2026-11"]),
        ("2026-11-01T03:59:59+00:00", "2026-11-01T04:00:00+00:00", ["2026-10"]),
        ("2025-12-31T12:00:00-05:00", "2026-02-01T00:00:01-05:00", ["2025-12", "2026-01", "2026-02"]),
    ],
)
def test_only_the_months_that_are_needed_are_asked_for(start: str, end: str, months: list[str]) -> None:
    request = IntradayRequest("AAPL", "5m", datetime.fromisoformat(start), datetime.fromisoformat(end))
    assert [c.params["month"] for c in alpha_vantage.intraday_queries(request, NOW)] == months


def test_a_month_that_is_not_over_is_not_kept() -> None:
    request = IntradayRequest("AAPL", "5m", datetime(2026, 10, 30, tzinfo=UTC), datetime(2026, 11, 3, tzinfo=UTC))
    october, november = alpha_vantage.intraday_queries(request, NOW)
    assert october.keep_seconds > 0
    assert november.keep_seconds == 0


def test_a_bar_that_had_not_ended_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QM_NOW", "2026-11-19T14:39:59Z")
    body = minutes({"2026-11-19 09:35:00": row(2.0), "2026-11-19 09:30:00": row(1.0)})
    question = intraday("2026-11-19T14:30:00+00:00", "2026-11-19T21:00:00+00:00")
    assert ALPHA.ask(in_order(reply(body)), question).value.open.tolist() == [1.0]


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (minutes({}), SymbolNotFound),
        (PREMIUM, UnsupportedRequest),
        (minutes({"2026-11-19 09:30:00": row()}, "1min"), MalformedResponse),
        (minutes({"2026-11-19 09:30:00": row()}, **{"4. Interval": "1min"}), MalformedResponse),
        (minutes({"2026-11-19 09:30:00": row()}, **{"2. Symbol": "MSFT"}), MalformedResponse),
        (minutes({"2026-11-19 09:30:00": row()}, **{"6. Time Zone": "UTC"}), MalformedResponse),
        (minutes({"2026-11-19 16:00:00": row()}), MalformedResponse),
        (minutes({"2026-11-19 09:25:00": row()}), MalformedResponse),
        (minutes({"noon": row()}), MalformedResponse),
        (minutes({"2026-11-19 09:30:00": row("nan")}), MalformedResponse),
    ],
)
def test_intraday_bars_that_are_none_are_typed_errors(body: dict[str, Any], error: type[VendorError]) -> None:
    question = intraday("2026-11-19T14:30:00+00:00", "2026-11-19T14:40:00+00:00")
    assert type(ALPHA.fail(question, reply(body))) is error


# --- quotes and companies ---------------------------------------------------------------------------------------------


def test_the_recorded_quote_is_read_as_of_the_close_of_its_day() -> None:
    found = ALPHA.ask(in_order(recorded(RECORDED_QUOTE)), quote("MSFT"))
    assert found.call.query == {"function": "GLOBAL_QUOTE", "symbol": "MSFT", "apikey": KEY}
    at = datetime(2018, 10, 5, 20, 0, tzinfo=UTC)
    assert found.value == [
        Quote(
            "alpha_vantage",
            "MSFT",
            112.13,
            at,
            NOW,
            open=112.63,
            high=113.17,
            low=110.64,
            previous_close=112.79,
            volume=29062853.0,
        )
    ]


def quoted(**more: Any) -> dict[str, Any]:
    body = {"01. symbol": "AAPL", "02. open": "266.10", "05. price": "268.55", "07. latest trading day": "2026-11-20"}
    return {"Global Quote": body | {"10. change percent": "0.9776%"} | more}


def test_a_quote_of_a_session_still_open_is_as_of_now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QM_NOW", "2026-11-20T15:00:00Z")
    (found,) = ALPHA.ask(in_order(reply(quoted())), quote()).value
    assert found.at == found.learned_at == datetime(2026, 11, 20, 15, 0, tzinfo=UTC)
    assert (found.high, found.volume) == (None, None)


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ({"Global Quote": {}}, SymbolNotFound),
        (quoted(**{"01. symbol": "MSFT"}), MalformedResponse),
        (quoted(**{"05. price": None}), MalformedResponse),
        (quoted(**{"05. price": "inf"}), MalformedResponse),
        (quoted(**{"07. latest trading day": None}), MalformedResponse),
        (quoted(**{"07. latest trading day": "Friday"}), MalformedResponse),
        ({}, MalformedResponse),
    ],
)
def test_a_quote_that_is_none_is_a_typed_error(body: dict[str, Any], error: type[VendorError]) -> None:
    assert type(ALPHA.fail(quote(), reply(body))) is error


def test_the_recorded_company_is_read() -> None:
    found = ALPHA.ask(in_order(recorded(RECORDED_OVERVIEW)), lambda v: v.profile("IBM"))
    assert found.call.query == {"function": "OVERVIEW", "symbol": "IBM", "apikey": KEY}
    assert found.value == Profile(
        "alpha_vantage",
        "IBM",
        NOW,
        name="International Business Machines Corporation",
        exchange="NYSE",
        sector="Technology",
        industry="Information Technology Services",
        market_cap=114_234_572_800.0,
        currency="USD",
    )


def test_what_is_not_there_is_none_and_capitals_are_written_small() -> None:
    body = {"Symbol": "X", "Name": "-", "Exchange": "None", "Sector": "REAL ESTATE", "MarketCapitalization": "None"}
    found = ALPHA.ask(in_order(reply(body)), lambda v: v.profile("X")).value
    assert found == Profile("alpha_vantage", "X", NOW, sector="Real Estate")


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ({}, SymbolNotFound),
        ({"Symbol": "MSFT"}, MalformedResponse),
        ({"Symbol": "AAPL", "MarketCapitalization": "much"}, MalformedResponse),
    ],
)
def test_a_company_that_is_none_or_another_is_a_typed_error(body: dict[str, Any], error: type[VendorError]) -> None:
    assert type(ALPHA.fail(lambda v: v.profile("AAPL"), reply(body))) is error


# --- splits and dividends ---------------------------------------------------------------------------------------------

FIRST, LAST = date(2020, 6, 1), date(2020, 8, 31)


def splits(*rows: tuple[str, str], symbol: str = "AAPL") -> dict[str, Any]:
    return {"symbol": symbol, "data": [{"effective_date": day, "split_factor": factor} for day, factor in rows]}


def dividends(*rows: tuple[str, str], symbol: str = "AAPL") -> dict[str, Any]:
    none = {"declaration_date": "None", "record_date": "None", "payment_date": "None"}
    return {"symbol": symbol, "data": [{"ex_dividend_date": day, **none, "amount": amount} for day, amount in rows]}


def test_splits_of_the_days_asked_for_are_read() -> None:
    body = splits(("2020-08-31", "4.0000"), ("2014-06-09", "7.0000"))
    found = ALPHA.ask(in_order(reply(body)), lambda v: v.splits("AAPL", FIRST, LAST))
    assert found.call.query == {"function": "SPLITS", "symbol": "AAPL", "apikey": KEY}
    assert found.value.splits == (Split("AAPL", date(2020, 8, 31), Fraction(4)),)
    reverse = ALPHA.ask(in_order(reply(splits(("2020-08-03", "0.1250")))), lambda v: v.splits("AAPL", FIRST, LAST))
    assert reverse.value.splits == (Split("AAPL", date(2020, 8, 3), Fraction(1, 8)),)


def test_dividends_of_the_days_asked_for_are_read() -> None:
    body = dividends(("2020-11-06", "0.205"), ("2020-08-07", "0.82"), ("2020-05-08", "0.82"))
    found = ALPHA.ask(in_order(reply(body)), lambda v: v.dividends("AAPL", FIRST, LAST))
    assert found.call.query == {"function": "DIVIDENDS", "symbol": "AAPL", "apikey": KEY}
    assert found.value.dividends == (Dividend("AAPL", date(2020, 8, 7), 0.82, "USD"),)


@pytest.mark.parametrize(
    ("capability", "body"),
    [
        ("splits", splits(("2020-08-31", "0"))),
        ("splits", splits(("2020-08-31", "nan"))),
        ("splits", splits(("None", "4.0"))),
        ("splits", splits(("2020-08-31", "4.0"), symbol="MSFT")),
        ("dividends", dividends(("2020-08-07", "None"))),
        ("dividends", dividends(("2020-08-07", "-1"))),
        ("dividends", dividends(("2020-08-07", "0.82"), symbol="MSFT")),
    ],
)
def test_an_action_that_is_none_or_another_symbols_is_malformed(capability: str, body: dict[str, Any]) -> None:
    error = ALPHA.fail(lambda v: getattr(v, capability)("AAPL", FIRST, LAST), reply(body))
    assert (type(error), error.symbol) == (MalformedResponse, "AAPL")


def test_actions_of_a_whole_market_are_not_offered() -> None:
    error = ALPHA.fail(lambda v: v.dividends(None, FIRST, LAST), reply({}), calls=0)
    assert (type(error), error.symbol) == (UnsupportedRequest, "the whole market")


# --- anything wrong, anywhere -----------------------------------------------------------------------------------------


def _read_daily(answer: Answer) -> None:
    request = BarRequest("AAPL", np.array(DAYS, "datetime64[D]"))
    bars = alpha_vantage_answers.read_daily(alpha_vantage.daily_query("AAPL", NOW), request, answer).bars
    assert all(np.isfinite(column).all() for column in (bars.open, bars.high, bars.low, bars.close))


def _read_intraday(answer: Answer) -> None:
    request = IntradayRequest("AAPL", "5m", datetime(2026, 11, 2, tzinfo=UTC), datetime(2026, 11, 20, tzinfo=UTC))
    (call,) = alpha_vantage.intraday_queries(request, NOW)
    bars = alpha_vantage_answers.serve_intraday(request, [alpha_vantage_answers.read_intraday(call, answer)])
    assert all(np.isfinite(column).all() for column in (bars.open, bars.high, bars.low, bars.close))


_QUERY = alpha_vantage.quote_query("AAPL")


@pytest.mark.parametrize(
    ("body", "read"),
    [
        (OK, _read_daily),
        (minutes({"2026-11-02 09:35:00": row(4.0), "2026-11-02 09:30:00": row(3.0)}), _read_intraday),
        (quoted(), lambda a: alpha_vantage_answers.read_quote(_QUERY, a)),
        (
            {"Symbol": "AAPL", "Name": "A", "MarketCapitalization": "5"},
            lambda a: alpha_vantage_answers.read_profile(_QUERY, a),
        ),
        (splits(("2020-08-31", "4.0")), lambda a: alpha_vantage_answers.read_splits(_QUERY, FIRST, LAST, a)),
        (dividends(("2020-08-07", "0.82")), lambda a: alpha_vantage_answers.read_dividends(_QUERY, FIRST, LAST, a)),
        (USED_UP, lambda a: alpha_vantage_answers.read_quote(_QUERY, a)),
    ],
    ids=["daily", "intraday", "quote", "company", "splits", "dividends", "refusal"],
)
def test_an_answer_with_anything_wrong_is_read_or_refused_typed(body: Any, read: Callable[[Answer], Any]) -> None:
    outcomes: Counter[str] = Counter()
    for content in spoiled(body):
        answer = Answer(200, {}, content, NOW)
        try:
            alpha_vantage.refusal(_QUERY, answer)
            read(answer)
        except VendorError:
            outcomes["refused"] += 1
        else:
            outcomes["read"] += 1
    assert outcomes["refused"] > 50
    assert outcomes["read"] > 0 or body is USED_UP


# --- what it offers, and what is asked again --------------------------------------------------------------------------


def test_daily_bars_reach_back_a_hundred_sessions_whatever_the_plan() -> None:
    for reach in (None, 3650):
        offers = alpha_vantage.connect(
            Access("http://127.0.0.1:9", SecretStr(KEY), Recording(), reach_days=reach)
        ).offers
        assert (offers[Capability.DAILY_BARS].reach_days, offers[Capability.BARS_1M].reach_days) == (140, reach)
        assert {offer.cost(1) for offer in offers.values()} == {1}
    assert Capability.OPTIONS_CHAIN not in offers


def test_the_same_question_is_asked_once_while_its_answer_keeps() -> None:
    def answer(call: Call) -> Reply:
        return reply(quoted() if call.query["function"] == "GLOBAL_QUOTE" else OK)

    async def twice(vendor: AlphaVantage) -> None:
        for sessions in (DAYS, DAYS[1:]):
            await daily(sessions=sessions)(vendor)
            await quote()(vendor)

    found = ALPHA.ask(answer, twice, kept=KeptAnswers())
    assert [c.query["function"] for c in found.server.calls] == ["TIME_SERIES_DAILY", "GLOBAL_QUOTE"]
