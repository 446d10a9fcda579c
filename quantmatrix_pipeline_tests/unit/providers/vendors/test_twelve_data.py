"""Twelve Data over a real HTTP server: shapes of its specification, refusals as its users quote them, some made up."""

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
from quantmatrix_pipeline.providers.answers import Dividend, Quote, Split
from quantmatrix_pipeline.providers.contract import BarRequest, Capability, IntradayRequest
from quantmatrix_pipeline.providers.transport.answers_kept import KeptAnswers
from quantmatrix_pipeline.providers.transport.calls import Answer
from quantmatrix_pipeline.providers.transport.vendor import Access
from quantmatrix_pipeline.providers.vendors import twelve_data, twelve_data_answers
from quantmatrix_pipeline.providers.vendors.twelve_data import TwelveData
from quantmatrix_pipeline_tests.unit.providers.vendors.asking import Asking
from quantmatrix_pipeline_tests.unit.providers.vendors.cases import Case, Provenance
from quantmatrix_pipeline_tests.unit.providers.vendors.metering import Recording
from quantmatrix_pipeline_tests.unit.providers.vendors.replay import Call, Reply, in_order
from quantmatrix_pipeline_tests.unit.providers.vendors.spoiling import spoiled

KEY = "tD_k3y_never_to_be_seen"
NOW = datetime(2026, 11, 20, 22, 0, tzinfo=UTC)  # a Friday, after the close
TWELVE = Asking(twelve_data.connect, KEY)
DAYS = ("2026-11-18", "2026-11-19")


def row(at: str, price: float | str = 10.0, **more: Any) -> dict[str, Any]:
    numbers = {"open": price, "high": 30.0, "low": 5.0, "close": 12.5, "volume": 1000} | more
    texts = {name: None if value is None else str(value) for name, value in numbers.items()}
    return {"datetime": at} | texts


def series(*rows: dict[str, Any], symbol: str = "AAPL", interval: str = "1day", **more: Any) -> dict[str, Any]:
    meta = {"symbol": symbol, "interval": interval, "currency": "USD", "exchange_timezone": "America/New_York"}
    meta |= {"exchange": "NASDAQ", "mic_code": "XNGS", "type": "Common Stock"}
    return {"meta": meta, "values": list(rows), "status": "ok"} | more


def refused(code: int, message: str) -> dict[str, Any]:
    return {"code": code, "message": message, "status": "error"}


def reply(body: Any, status: int = 200, **headers: str) -> Reply:
    return Reply(json.dumps(body), status, headers)


def quoted(symbol: str = "AAPL", **more: Any) -> dict[str, Any]:
    body = {"symbol": symbol, "name": "Apple Inc.", "exchange": "NASDAQ", "mic_code": "XNGS", "currency": "USD"}
    body |= {"datetime": "2026-11-20", "timestamp": 1795185000, "last_quote_at": 1795208340, "open": "266.10"}
    body |= {"high": "269.30", "low": "264.75", "close": "268.55", "volume": "41234567", "previous_close": "265.95"}
    body |= {"change": "2.60", "percent_change": "0.97763", "average_volume": "50000000", "is_market_open": False}
    return body | {"fifty_two_week": {"low": "180.1", "high": "280.0"}} | more


THE_DAY = refused(
    429,
    "You have run out of API credits for the day. 801 API credits were used, with the current limit being 800. Wait "
    "for the next day or consider switching to a paid plan",
)
THE_MINUTE = refused(
    429,
    "You have run out of API credits for the current minute. 9 API credits were used, with the current limit being 8. "
    "Wait for the next minute or consider upgrading",
)
BAD_KEY = refused(
    401,
    "**apikey** parameter is incorrect or not specified. You can get your free API key instantly following this link: "
    "https://twelvedata.com/pricing. If you believe that everything is correct, you can contact us",
)
UNKNOWN = refused(
    404,
    "**symbol** or **figi** parameter is missing or invalid. Please provide a valid symbol according to API "
    "documentation: https://twelvedata.com/docs#reference-data",
)
NOTHING = refused(400, "No data is available on the specified dates. Try setting different start/end dates.")
EXCLUSIVE = refused(
    403,
    "/splits is available exclusively with grow or pro or ultra or enterprise plans. Consider upgrading your API Key "
    "now at https://twelvedata.com/pricing",
)
GROW = refused(404, "This symbol is available starting with the Grow plan. Consider upgrading now")
LAST_MINUTE = datetime(2026, 11, 19, 20, 59, tzinfo=UTC)


def minutes(newest: datetime, count: int, price: float) -> dict[str, Any]:
    """Return so many minutes, one after the other, newest first, each a dollar above the one before it."""
    each = ((newest - timedelta(minutes=n), price - n) for n in range(count))
    return series(*(row(f"{at:%Y-%m-%d %H:%M:%S}", value) for at, value in each), interval="1min")


PAGES = (
    reply(minutes(LAST_MINUTE, 5000, 20_000.0)),
    reply(minutes(LAST_MINUTE - timedelta(minutes=4999), 3, 15_001.0)),
)
OK = series(row("2026-11-19", 20.0), row("2026-11-18", 10.0, volume=2000))

QUOTED = "as quoted in public issue threads and sources of its users"
CASES = (
    Case("twelve_data", "ok", Provenance.DOCUMENTED, "shapes of its OpenAPI specification", (reply(OK),)),
    Case("twelve_data", "paged", Provenance.CONSTRUCTED, "full pages whose older rest is asked for again", PAGES),
    Case("twelve_data", "empty", Provenance.DOCUMENTED, QUOTED, (reply(NOTHING, 400),)),
    Case("twelve_data", "unknown symbol", Provenance.DOCUMENTED, QUOTED, (reply(UNKNOWN, 404),)),
    Case("twelve_data", "rate limited", Provenance.DOCUMENTED, QUOTED, (reply(THE_MINUTE, 429),)),
    Case("twelve_data", "day used up", Provenance.DOCUMENTED, QUOTED, (reply(THE_DAY, 429),)),
    Case("twelve_data", "bad key", Provenance.DOCUMENTED, QUOTED, (reply(BAD_KEY, 401),)),
    Case("twelve_data", "premium only", Provenance.DOCUMENTED, QUOTED, (reply(EXCLUSIVE, 403),)),
    Case("twelve_data", "symbol not in the plan", Provenance.DOCUMENTED, QUOTED, (reply(GROW, 404),)),
    Case("twelve_data", "error in a 200", Provenance.DOCUMENTED, QUOTED, (reply(THE_DAY),)),
    Case("twelve_data", "truncated", Provenance.CONSTRUCTED, "two daily bars, cut off", (Reply(json.dumps(OK)[:-60]),)),
)


@pytest.fixture(autouse=True)
def _now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QM_NOW", NOW.isoformat())


def case(situation: str) -> tuple[Reply, ...]:
    (found,) = [c for c in CASES if c.situation == situation]
    return found.replies


def daily(*symbols: str, sessions: Sequence[str] = DAYS) -> Callable[[TwelveData], Any]:
    requests = [BarRequest(s, np.array(sessions, "datetime64[D]")) for s in symbols or ("AAPL",)]
    return lambda vendor: vendor.daily_bars(requests)


def intraday(start: str, end: str, interval: str = "1m") -> Callable[[TwelveData], Any]:
    request = IntradayRequest("AAPL", interval, datetime.fromisoformat(start), datetime.fromisoformat(end))
    return lambda vendor: vendor.intraday_bars(request)


def minutes_of(**starts: str) -> Callable[[TwelveData], Any]:
    """Ask for minutes of several symbols, each from a time of 2026-11-19 on until 21:00 UTC."""
    end = datetime(2026, 11, 19, 21, tzinfo=UTC)
    requests = [
        IntradayRequest(symbol, "1m", datetime.fromisoformat(f"2026-11-19T{start}+00:00"), end)
        for symbol, start in starts.items()
    ]
    return lambda vendor: vendor.intraday_batch(requests)


def quotes(*symbols: str) -> Callable[[TwelveData], Any]:
    return lambda vendor: vendor.quotes(symbols or ("AAPL",))


# --- daily bars -------------------------------------------------------------------------------------------------------


def test_one_symbols_bars_are_read_as_traded_in_ascending_order() -> None:
    found = TWELVE.ask(in_order(*case("ok")), daily())
    answer = found.value
    assert (answer.vendor, answer.basis, answer.basis_date) == ("twelve_data", Basis.RAW, None)
    assert (answer.bars.symbols, answer.bars.session.tolist()) == (
        ("AAPL",),
        [date(2026, 11, 18), date(2026, 11, 19)],
    )
    assert answer.bars.open.tolist() == [10.0, 20.0]
    assert (answer.bars.high.tolist(), answer.bars.low.tolist()) == ([30.0, 30.0], [5.0, 5.0])
    assert (answer.bars.close.tolist(), answer.bars.volume.tolist()) == ([12.5, 12.5], [2000.0, 1000.0])
    assert (answer.silent, dict(answer.failures), answer.learned_at) == ((), {}, NOW)
    assert (found.call.path, found.call.query) == (
        "/time_series",
        {
            "symbol": "AAPL",
            "interval": "1day",
            "start_date": "2026-11-08",
            "end_date": "2026-11-20",
            "outputsize": "5000",
            "order": "desc",
            "adjust": "none",
            "apikey": KEY,
        },
    )
    (timed,) = found.meter.attempts
    assert (timed.capability, timed.endpoint) == (Capability.DAILY_BARS, "time_series/1day")
    assert found.meter.weights == [1]


def test_eight_symbols_are_one_call_that_is_charged_eight_times() -> None:
    names = ["AAPL", "MSFT", "BRK.B", "SPY", "QQQ", "IBM", "GE", "T"]
    body = {name: series(row("2026-11-19", 10.0 + n), symbol=name) for n, name in enumerate(names)}
    found = TWELVE.ask(in_order(reply(body)), daily(*names))
    assert found.call.query["symbol"] == "AAPL,MSFT,BRK.B,SPY,QQQ,IBM,GE,T"
    assert found.meter.weights == [8]
    bars = found.value.bars
    opened = {bars.symbols[i]: float(price) for i, price in zip(bars.symbol_index, bars.open, strict=True)}
    assert opened == {name: 10.0 + n for n, name in enumerate(names)}


def test_a_batch_asks_for_the_days_of_all_and_hands_out_those_of_each() -> None:
    requests = [
        BarRequest("AAPL", np.array(["2026-11-19"], "datetime64[D]")),
        BarRequest("MSFT", np.array(["2026-10-15"], "datetime64[D]")),
    ]
    rows = [row("2026-11-19", 2.0), row("2026-10-15", 1.0)]
    body = {"AAPL": series(*rows), "MSFT": series(*rows, symbol="MSFT")}
    found = TWELVE.ask(in_order(reply(body)), lambda v: v.daily_bars(requests))
    assert (found.call.query["start_date"], found.call.query["end_date"]) == ("2026-10-05", "2026-11-20")
    bars = found.value.bars
    held = [(bars.symbols[i], str(d)) for i, d in zip(bars.symbol_index, bars.session, strict=True)]
    assert held == [("AAPL", "2026-11-19"), ("MSFT", "2026-10-15")]


def test_one_symbol_that_fails_does_not_cost_the_others_theirs() -> None:
    body = {
        "AAPL": series(row("2026-11-19")),
        "NOPE": UNKNOWN,
        "FOREIGN": GROW,
        "NEW": NOTHING,
        "ODD": series(row("2026-11-19", "n/a"), symbol="ODD"),
        "SWAP": series(row("2026-11-19"), symbol="MSFT"),
        "OLD": series(row("2026-11-12"), symbol="OLD"),
        "EXTRA": series(row("2026-11-19"), symbol="EXTRA"),
    }
    asked = ("AAPL", "NOPE", "FOREIGN", "NEW", "ODD", "SWAP", "OLD", "GONE", "^GSPC", "BTC-USD")
    found = TWELVE.ask(in_order(reply(body)), daily(*asked))
    assert found.call.query["symbol"] == "AAPL,NOPE,FOREIGN,NEW,ODD,SWAP,OLD,GONE"
    answer = found.value
    assert [answer.bars.symbols[i] for i in answer.bars.symbol_index] == ["AAPL"]
    assert answer.silent == ("OLD",)
    assert {symbol: type(error) for symbol, error in answer.failures.items()} == {
        "NOPE": SymbolNotFound,
        "FOREIGN": UnsupportedRequest,
        "NEW": SymbolNotFound,
        "ODD": MalformedResponse,
        "SWAP": MalformedResponse,
        "GONE": MalformedResponse,
        "^GSPC": UnsupportedRequest,
        "BTC-USD": UnsupportedRequest,
    }
    assert all(error.symbol == symbol for symbol, error in answer.failures.items())


@pytest.mark.parametrize(
    ("said", "error"), [(THE_MINUTE, RateLimited), (THE_DAY, QuotaExhausted), (BAD_KEY, AuthFailed)]
)
def test_what_is_said_of_every_symbol_of_a_batch_is_said_of_the_key(
    said: dict[str, Any], error: type[VendorError]
) -> None:
    assert type(TWELVE.fail(daily("AAPL", "MSFT"), reply({"AAPL": said, "MSFT": said}))) is error


def test_a_batch_refused_as_a_whole_is_that_error_and_says_of_whom() -> None:
    error = TWELVE.fail(daily("AAPL", "MSFT"), reply(UNKNOWN, 404))
    assert isinstance(error, SymbolNotFound)
    assert "AAPL, MSFT" in str(error)


def test_symbols_that_can_not_be_asked_for_cost_no_call() -> None:
    found = TWELVE.ask(in_order(reply(OK)), daily("^GSPC", "BTC-USD"))
    assert (found.server.calls, set(found.value.failures)) == ([], {"^GSPC", "BTC-USD"})
    assert isinstance(TWELVE.fail(daily("^GSPC"), reply(OK), calls=0), UnsupportedRequest)
    assert isinstance(TWELVE.fail(quotes("BTC-USD"), reply(OK), calls=0), UnsupportedRequest)


def test_a_known_symbol_without_a_bar_on_those_sessions_is_silent() -> None:
    answer = TWELVE.ask(in_order(reply(series(row("2026-11-12")))), daily()).value
    assert (len(answer.bars), answer.silent) == (0, ("AAPL",))


def test_a_session_that_has_not_closed_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QM_NOW", "2026-11-19T20:59:59Z")
    assert TWELVE.ask(in_order(*case("ok")), daily()).value.bars.session.tolist() == [date(2026, 11, 18)]


def test_a_volume_that_is_not_there_is_nan() -> None:
    one = row("2026-11-18")
    del one["volume"]
    answer = TWELVE.ask(in_order(reply(series(row("2026-11-19", volume=None), one))), daily()).value
    assert np.isnan(answer.bars.volume).tolist() == [True, True]


def test_a_bar_that_stands_twice_in_a_page_is_handed_on_twice_for_the_validation_to_refuse() -> None:
    body = series(row("2026-11-19", 20.0), row("2026-11-19", 21.0), row("2026-11-18", 10.0))
    assert TWELVE.ask(in_order(reply(body)), daily()).value.bars.open.tolist() == [10.0, 20.0, 21.0]


# --- more than one page -----------------------------------------------------------------------------------------------


def history(symbol: str, first: date, last: date, *, inclusive: bool, call: Call) -> Reply:
    """Answer with one row per day of a symbol's life, as the vendor pages them: newest first, 5,000 at most."""
    days = np.arange(max(np.datetime64(first), np.datetime64(call.query["start_date"])), np.datetime64(last) + 1)
    end = np.datetime64(call.query["end_date"])
    days = days[days <= end if inclusive else days < end][::-1][:5000]
    return reply(series(*(row(str(d), float(d.astype(int))) for d in days), symbol=symbol) if len(days) else NOTHING)


@pytest.mark.parametrize("inclusive", [True, False])
@pytest.mark.parametrize("life", [4999, 5000, 5001, 9999, 10_000, 10_001])
def test_days_of_any_number_of_pages_are_all_there_once(life: int, inclusive: bool) -> None:
    last = date(2026, 11, 19)
    first = last - timedelta(days=life - 1)
    every = np.arange(np.datetime64(first), np.datetime64(last) + 1)
    weekdays = every[np.is_busday(every)]
    sessions = [str(first - timedelta(days=30)), *map(str, weekdays)]
    found = TWELVE.ask(
        lambda call: history("AAPL", first, last, inclusive=inclusive, call=call), daily(sessions=sessions)
    )
    assert found.value.bars.session.tolist() == weekdays.tolist()
    assert found.value.bars.open.tolist() == weekdays.astype(int).astype(float).tolist()
    assert len(found.server.calls) == 1 + (life >= 5000) + (life >= 9999 + (not inclusive))


def test_of_a_batch_only_who_has_more_is_asked_again_and_fails_alone() -> None:
    sessions = ["2006-01-03", "2026-11-19"]
    aapl = json.loads(
        history(
            "AAPL",
            date(2000, 1, 3),
            date(2026, 11, 19),
            inclusive=True,
            call=Call("", {"start_date": "2005-12-24", "end_date": "2026-11-20"}, {}),
        ).body
    )
    msft = series(row("2026-11-19"), symbol="MSFT")
    batch = reply({"AAPL": aapl, "MSFT": msft})
    found = TWELVE.ask(in_order(batch, Reply("<html>")), daily("AAPL", "MSFT", sessions=sessions))
    assert [c.query["symbol"] for c in found.server.calls] == ["AAPL,MSFT", "AAPL"]
    assert found.meter.weights == [2, 1]
    assert {s: type(e) for s, e in found.value.failures.items()} == {"AAPL": MalformedResponse}
    assert found.value.bars.symbols == ("MSFT",)


def test_pages_that_repeat_are_malformed() -> None:
    question = intraday("2026-10-19T14:30:00+00:00", "2026-11-19T21:00:00+00:00")
    assert "brought nothing older" in str(TWELVE.fail(question, PAGES[0], calls=2))


def test_pages_that_never_end_are_malformed() -> None:
    question = intraday("2020-01-02T14:30:00+00:00", "2026-11-19T21:00:00+00:00")
    pages = [
        Reply(json.dumps(minutes(LAST_MINUTE - timedelta(minutes=4999 * n), 5000, 9e5)))
        for n in range(twelve_data.MOST_PAGES + 1)
    ]
    assert "no end after 20 pages" in str(TWELVE.fail(question, *pages, calls=twelve_data.MOST_PAGES))


def test_a_long_intraday_stretch_is_put_together_from_its_pages() -> None:
    found = TWELVE.ask(in_order(*case("paged")), intraday("2026-11-01T00:00:00+00:00", "2026-11-19T21:00:00+00:00"))
    assert [c.query["end_date"] for c in found.server.calls] == ["2026-11-19 21:00:00", "2026-11-16 09:40:00"]
    assert found.value.open.tolist() == [14_999.0 + n for n in range(5002)]
    assert set(np.diff(found.value.opened_at).tolist()) == {timedelta(minutes=1)}


# --- what goes wrong --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("situation", "error", "says", "symbol"),
    [
        ("empty", SymbolNotFound, "No data is available.*not traded in that time", "AAPL"),
        ("unknown symbol", SymbolNotFound, "missing or invalid", "AAPL"),
        ("rate limited", RateLimited, "for the current minute", "AAPL"),
        ("day used up", QuotaExhausted, "for the day", "AAPL"),
        ("bad key", AuthFailed, "check TWELVE_DATA_API_KEY", None),
        ("premium only", UnsupportedRequest, "exclusively.*TWELVE_DATA_API_KEY", None),
        ("symbol not in the plan", UnsupportedRequest, "Grow plan", "AAPL"),
        ("error in a 200", QuotaExhausted, "for the day", "AAPL"),
        ("truncated", MalformedResponse, "no JSON", "AAPL"),
    ],
)
def test_every_refusal_is_a_typed_error_after_one_call(
    situation: str, error: type[VendorError], says: str, symbol: str | None
) -> None:
    told = TWELVE.fail(daily(), *case(situation))
    assert (type(told), told.symbol) == (error, symbol)
    with pytest.raises(error, match=says):
        raise told


@pytest.mark.parametrize("said", [THE_DAY, THE_MINUTE, BAD_KEY, UNKNOWN, NOTHING, EXCLUSIVE, GROW])
def test_a_refusal_under_status_200_is_the_same_error(said: dict[str, Any]) -> None:
    assert type(TWELVE.fail(daily(), reply(said))) is type(TWELVE.fail(daily(), reply(said, said["code"])))


def test_an_unknown_symbol_may_come_with_another_code() -> None:
    assert isinstance(TWELVE.fail(quotes(), reply(UNKNOWN | {"code": 400}, 400)), SymbolNotFound)


@pytest.mark.parametrize(
    ("at", "headers", "seconds"),
    [
        ("2026-11-20T14:30:48.500000+00:00", {}, 11.5),
        ("2026-11-20T14:30:00+00:00", {}, 60.0),
        ("2026-11-20T14:30:48+00:00", {"retry-after": "3"}, 3.0),
    ],
)
def test_a_minutes_credits_come_back_with_the_minute_of_the_clock(
    at: str, headers: dict[str, str], seconds: float
) -> None:
    call = twelve_data.quotes_query(["AAPL"])
    answer = Answer(429, headers, json.dumps(THE_MINUTE).encode(), datetime.fromisoformat(at))
    error = twelve_data.refusal(call, answer)
    assert isinstance(error, RateLimited)
    assert error.retry_after == pytest.approx(seconds, abs=1e-6)


def test_a_pause_that_ends_soon_is_kept_and_then_it_answers() -> None:
    later = reply(THE_MINUTE, 429, **{"Retry-After": "0"})
    found = TWELVE.ask(in_order(later, reply(OK)), daily())
    assert isinstance(found.meter.attempts[0].error, RateLimited)
    assert found.meter.weights == [1, 1]


def test_a_server_error_is_asked_again() -> None:
    found = TWELVE.ask(in_order(reply(refused(500, "Internal error")), reply(OK)), daily())
    assert isinstance(found.meter.attempts[0].error, VendorUnavailable)
    assert len(found.server.calls) == 2


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (Reply("<html><body>maintenance</body></html>", headers={"Content-Type": "text/html"}), "no JSON .text/html"),
        (Reply('{"meta":{"symbol":"AAPL","interval":"1day"},"values":[{"datetime":NaN}]}'), "no JSON"),
        (reply([]), "Expected `object`"),
        (reply({"status": "ok"}), "missing required field"),
        (reply(series(row("2026-11-19"), status="error")), "status 'error'"),
        (reply(series(row("2026-11-19"), symbol="MSFT")), "asked for AAPL, answered with MSFT"),
        (reply(series(row("2026-11-19"), interval="1week")), "asked for 1day, answered with '1week'"),
        (reply(series(row("2026-11-19", "nan"))), "row 1: open is nan"),
        (reply(series(row("2026-11-19", "ten"))), r"values\[0\]\.open"),
        (reply(series(row("2026-11-19"), row("2026-11-18", low=None))), "row 2: low is None"),
        (reply(series(row("19.11.2026"))), "row 1: '19.11.2026' is no date"),
        (reply(series() | {"values": {"2026-11-19": {}}}), "values"),
        (reply(refused(414, "Request is too long")), "too long .414."),
        (Reply("", 404), "HTTP 404"),
    ],
)
def test_what_can_not_be_read_is_malformed_and_names_the_place(body: Reply, says: str) -> None:
    error = TWELVE.fail(daily(), body)
    assert error.symbol == "AAPL"
    with pytest.raises(MalformedResponse, match=says):
        raise error


def test_no_rows_are_a_symbol_that_is_not_there() -> None:
    assert isinstance(TWELVE.fail(daily(), reply(series())), SymbolNotFound)


def _read_daily(answer: Answer) -> None:
    request = BarRequest("AAPL", np.array(DAYS, "datetime64[D]"))
    call = twelve_data.daily_query(["AAPL"], request.first, request.last, NOW)
    rows = twelve_data_answers.read_bars("1day", call, answer)
    bars = twelve_data_answers.serve_daily([request], {"AAPL": [rows]}, {}).bars
    assert all(np.isfinite(column).all() for column in (bars.open, bars.high, bars.low, bars.close))


def _read_batch(answer: Answer) -> None:
    call = twelve_data.quotes_query(["AAPL", "MSFT"])
    found = twelve_data.read_each(call, ["AAPL", "MSFT"], answer, twelve_data_answers.read_quote)
    if all(isinstance(each, VendorError) for each in found.values()):
        raise MalformedResponse("twelve_data", "none of them")


def _read_intraday(answer: Answer) -> None:
    request = IntradayRequest("AAPL", "1m", datetime(2026, 11, 19, 14, tzinfo=UTC), datetime(2026, 11, 20, tzinfo=UTC))
    call = twelve_data.intraday_query([request], NOW)
    found = twelve_data_answers.serve_intraday(call, request, [twelve_data_answers.read_bars("1min", call, answer)])
    assert all(np.isfinite(column).all() for column in (found.open, found.high, found.low, found.close))


SPLITS = {
    "meta": {"symbol": "AAPL", "name": "Apple Inc", "currency": "USD", "exchange_timezone": "America/New_York"},
    "splits": [
        {"date": "2020-08-31", "description": "4-for-1 split", "ratio": 0.25, "from_factor": 4, "to_factor": 1},
        {"date": "2014-06-09", "description": "7-for-1 split", "ratio": 0.14286, "from_factor": 7, "to_factor": 1},
    ],
}
DIVIDENDS = {
    "meta": {"symbol": "AAPL", "currency": "USD"},
    "dividends": [{"ex_date": "2020-08-07", "amount": 0.82}, {"ex_date": "2020-05-08", "amount": 0.82}],
}
FIRST, LAST = date(2015, 1, 1), date(2020, 12, 31)


@pytest.mark.parametrize(
    ("body", "read"),
    [
        (OK, _read_daily),
        (series(row("2026-11-19 14:31:00"), row("2026-11-19 14:30:00"), interval="1min"), _read_intraday),
        ({"AAPL": quoted(), "MSFT": quoted("MSFT")}, _read_batch),
        (
            SPLITS,
            lambda a: twelve_data_answers.read_splits(
                twelve_data.actions_query(Capability.SPLITS, "AAPL", FIRST, LAST), FIRST, LAST, a
            ),
        ),
        (
            DIVIDENDS,
            lambda a: twelve_data_answers.read_dividends(
                twelve_data.actions_query(Capability.DIVIDENDS, "AAPL", FIRST, LAST), FIRST, LAST, a
            ),
        ),
    ],
    ids=["daily", "intraday", "quotes", "splits", "dividends"],
)
def test_an_answer_with_anything_wrong_is_read_or_refused_typed(body: Any, read: Callable[[Answer], Any]) -> None:
    outcomes: Counter[str] = Counter()
    for content in spoiled(body):
        answer = Answer(200, {}, content, NOW)
        try:
            twelve_data.refusal(twelve_data.quotes_query(["AAPL"]), answer)
            read(answer)
        except VendorError:
            outcomes["refused"] += 1
        else:
            outcomes["read"] += 1
    assert outcomes["refused"] > 50
    assert outcomes["read"] > 0


def test_the_key_is_in_no_message_and_in_no_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    echo = reply(refused(401, f"**apikey** {KEY} is incorrect"), 401)
    errors = [TWELVE.fail(daily(), r) for r in (echo, Reply(f"<p>{KEY}</p>"), Reply(f"no {KEY}", 418))]
    found = TWELVE.ask(in_order(reply(OK)), daily())
    assert found.call.query["apikey"] == KEY
    shown = [repr(e) + str(e) + repr(e.__cause__) + repr(e.__context__) for e in errors]
    assert all(KEY not in text for text in [*shown, caplog.text])
    assert "***" in str(errors[0])


# --- intraday bars ----------------------------------------------------------------------------------------------------


def test_minutes_are_asked_for_and_read_in_utc_as_traded() -> None:
    rows = [row("2026-11-19 14:40:00", 4.0), row("2026-11-19 14:35:00", 3.0), row("2026-11-19 14:30:00", 2.0)]
    body = series(*rows, row("2026-11-19 14:25:00", 1.0), interval="5min")
    found = TWELVE.ask(in_order(reply(body)), intraday("2026-11-19T09:30:00-05:00", "2026-11-19T09:40:00-05:00", "5m"))
    bars = found.value
    assert found.call.query == {
        "symbol": "AAPL",
        "interval": "5min",
        "start_date": "2026-11-19 14:30:00",
        "end_date": "2026-11-19 14:40:00",
        "outputsize": "5000",
        "order": "desc",
        "adjust": "none",
        "timezone": "UTC",
        "apikey": KEY,
    }
    assert [str(at) for at in bars.opened_at] == ["2026-11-19T14:30:00", "2026-11-19T14:35:00"]
    assert bars.open.tolist() == [2.0, 3.0]
    assert (bars.high.tolist(), bars.low.tolist()) == ([30.0, 30.0], [5.0, 5.0])
    assert (bars.close.tolist(), bars.volume.tolist()) == ([12.5, 12.5], [1000.0, 1000.0])
    assert (bars.symbol, bars.interval, bars.basis, bars.basis_date) == ("AAPL", "5m", Basis.RAW, None)
    assert found.meter.attempts[0].capability is Capability.BARS_5M


def test_the_open_of_new_york_is_found_on_both_sides_of_summer_time() -> None:
    rows = [row("2026-11-02 14:30:00", 2.0), row("2026-10-30 13:30:00", 1.0)]
    start, end = "2026-10-30T09:30:00-04:00", "2026-11-02T09:31:00-05:00"
    found = TWELVE.ask(in_order(reply(series(*rows, interval="1min"))), intraday(start, end))
    assert (found.call.query["start_date"], found.call.query["end_date"]) == (
        "2026-10-30 13:30:00",
        "2026-11-02 14:31:00",
    )
    assert [str(at) for at in found.value.opened_at] == ["2026-10-30T13:30:00", "2026-11-02T14:30:00"]


def test_a_minute_that_had_not_ended_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QM_NOW", "2026-11-19T14:31:59Z")
    rows = [row("2026-11-19 14:31:00", 2.0), row("2026-11-19 14:30:00", 1.0)]
    question = intraday("2026-11-19T14:30:00+00:00", "2026-11-19T21:00:00+00:00")
    assert TWELVE.ask(in_order(reply(series(*rows, interval="1min"))), question).value.open.tolist() == [1.0]


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (NOTHING, SymbolNotFound),
        (series(interval="1min"), SymbolNotFound),
        (series(row("noon"), interval="1min"), MalformedResponse),
        (series(row("2026-11-19 14:30:00"), interval="5min"), MalformedResponse),
        (series(row("2026-11-19 14:30:00"), row("2026-11-19 14:30:00"), interval="1min"), MalformedResponse),
        (EXCLUSIVE, UnsupportedRequest),
    ],
)
def test_intraday_bars_that_are_none_are_typed_errors(body: dict[str, Any], error: type[VendorError]) -> None:
    question = intraday("2026-11-19T14:30:00+00:00", "2026-11-19T14:40:00+00:00")
    assert type(TWELVE.fail(question, reply(body))) is error


def test_the_minutes_of_several_symbols_are_one_call_charged_by_symbol() -> None:
    both = {
        "AAPL": series(row("2026-11-19 14:31:00", 20.0), row("2026-11-19 14:30:00"), interval="1min"),
        "MSFT": series(row("2026-11-19 15:01:00", 7.0), row("2026-11-19 14:59:00"), symbol="MSFT", interval="1min"),
    }
    found = TWELVE.ask(in_order(reply(both)), minutes_of(AAPL="14:30:00", MSFT="15:00:00"))
    assert found.call.query["symbol"] == "AAPL,MSFT"
    assert (found.call.query["start_date"], found.call.query["end_date"]) == (
        "2026-11-19 14:30:00",
        "2026-11-19 21:00:00",
    )
    assert found.meter.weights == [2]
    assert {b.symbol: b.open.tolist() for b in found.value.bars} == {"AAPL": [10.0, 20.0], "MSFT": [7.0]}, (
        "each its own"
    )
    assert dict(found.value.failures) == {}


def test_of_several_symbols_each_has_its_own_failure_and_its_own_further_pages() -> None:
    each = {
        "AAPL": minutes(LAST_MINUTE, 5000, 20_000.0),
        "MSFT": refused(404, UNKNOWN["message"]),
        "IBM": series(row("2026-11-19 14:30:00", "nan"), symbol="IBM", interval="1min"),
    }
    rest = reply(minutes(LAST_MINUTE - timedelta(minutes=4999), 3, 15_001.0))
    requests = [
        IntradayRequest(s, "1m", datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 11, 19, 21, tzinfo=UTC))
        for s in (*each, "BTC-USD")
    ]
    found = TWELVE.ask(in_order(reply(each), rest), lambda vendor: vendor.intraday_batch(requests))
    assert [call.query["symbol"] for call in found.server.calls] == ["AAPL,MSFT,IBM", "AAPL"]
    assert found.meter.weights == [3, 1]
    (apple,) = found.value.bars
    assert (apple.symbol, len(apple)) == ("AAPL", 5002)
    assert {symbol: type(error) for symbol, error in found.value.failures.items()} == {
        "MSFT": SymbolNotFound,
        "IBM": MalformedResponse,
        "BTC-USD": UnsupportedRequest,
    }


def test_what_holds_for_the_key_ends_a_question_for_the_minutes_of_several_symbols() -> None:
    error = TWELVE.fail(minutes_of(AAPL="14:30:00", MSFT="14:30:00"), reply(THE_MINUTE, 429, **{"Retry-After": "30"}))
    assert isinstance(error, RateLimited)


# --- quotes -----------------------------------------------------------------------------------------------------------


def test_quotes_of_several_are_one_call_and_one_that_is_not_known_is_missing() -> None:
    body = {"AAPL": quoted(), "NOPE": UNKNOWN, "BRK.B": quoted("BRK.B", close="500.25", last_quote_at=None)}
    found = TWELVE.ask(in_order(reply(body)), quotes("AAPL", "NOPE", "BRK.B"))
    assert (found.call.path, found.call.query) == ("/quote", {"symbol": "AAPL,NOPE,BRK.B", "apikey": KEY})
    assert found.meter.weights == [3]
    apple, berkshire = found.value
    assert apple == Quote(
        "twelve_data",
        "AAPL",
        268.55,
        datetime(2026, 11, 20, 20, 59, tzinfo=UTC),
        NOW,
        open=266.1,
        high=269.3,
        low=264.75,
        previous_close=265.95,
        volume=41234567.0,
        currency="USD",
    )
    assert (berkshire.symbol, berkshire.price) == ("BRK.B", 500.25)
    assert berkshire.at == datetime(2026, 11, 20, 14, 30, tzinfo=UTC)


def test_one_quote_is_not_wrapped() -> None:
    (quote,) = TWELVE.ask(in_order(reply(quoted())), quotes()).value
    assert quote.price == 268.55


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (quoted("MSFT"), MalformedResponse),
        (quoted(close="nan"), MalformedResponse),
        (quoted(close=None), MalformedResponse),
        (quoted(timestamp=1795185000000), MalformedResponse),
        (quoted(timestamp=None), MalformedResponse),
        (UNKNOWN, SymbolNotFound),
        (GROW, UnsupportedRequest),
    ],
)
def test_a_quote_that_is_none_is_a_typed_error(body: dict[str, Any], error: type[VendorError]) -> None:
    assert type(TWELVE.fail(quotes(), reply(body))) is error


def test_quotes_of_none_that_is_known_are_an_error() -> None:
    error = TWELVE.fail(quotes("NOPE", "NADA"), reply({"NOPE": UNKNOWN, "NADA": UNKNOWN}))
    assert isinstance(error, SymbolNotFound)


# --- splits and dividends ---------------------------------------------------------------------------------------------


def test_splits_are_read_the_right_way_round() -> None:
    found = TWELVE.ask(in_order(reply(SPLITS)), lambda v: v.splits("AAPL", FIRST, LAST))
    assert found.value.splits == (Split("AAPL", date(2020, 8, 31), Fraction(4)),)
    assert (found.call.path, found.call.query) == (
        "/splits",
        {"symbol": "AAPL", "start_date": "2015-01-01", "end_date": "2021-01-01", "apikey": KEY},
    )
    assert found.meter.weights == [20]
    reverse = {"date": "2021-08-02", "ratio": 8, "from_factor": 1, "to_factor": 8}
    body = SPLITS | {"splits": [reverse]}
    answer = TWELVE.ask(in_order(reply(body)), lambda v: v.splits("AAPL", FIRST, date(2021, 8, 2))).value
    assert answer.splits == (Split("AAPL", date(2021, 8, 2), Fraction(1, 8)),)


@pytest.mark.parametrize(
    "wrong",
    [
        {"from_factor": 1, "to_factor": 4},
        {"from_factor": 0, "to_factor": 1},
        {"from_factor": 4, "to_factor": 1, "ratio": "inf"},
        {"date": "31.8.2020"},
    ],
    ids=["the other way round than its ratio", "none", "no ratio", "no date"],
)
def test_a_split_that_is_none_is_malformed(wrong: dict[str, Any]) -> None:
    body = SPLITS | {"splits": [SPLITS["splits"][0] | wrong]}  # type: ignore[operator, index]
    error = TWELVE.fail(lambda v: v.splits("AAPL", FIRST, LAST), reply(body))
    assert (type(error), error.symbol) == (MalformedResponse, "AAPL")


def test_dividends_are_asked_for_in_shares_of_their_time() -> None:
    found = TWELVE.ask(in_order(reply(DIVIDENDS)), lambda v: v.dividends("AAPL", date(2020, 6, 1), LAST))
    assert (found.call.path, found.call.query["adjust"]) == ("/dividends", "false")
    assert found.meter.weights == [20]
    assert found.value.dividends == (Dividend("AAPL", date(2020, 8, 7), 0.82, "USD"),)


def test_actions_of_another_symbol_or_of_the_whole_market_are_refused() -> None:
    other = {"meta": {"symbol": "MSFT"}, "splits": [], "dividends": []}
    for name in ("splits", "dividends"):
        error = TWELVE.fail(lambda v, n=name: getattr(v, n)("AAPL", FIRST, LAST), reply(other))
        assert isinstance(error, MalformedResponse)
    error = TWELVE.fail(lambda v: v.splits(None, FIRST, LAST), reply(other), calls=0)
    assert (type(error), error.symbol) == (UnsupportedRequest, "the whole market")


# --- what it offers, and what is asked again --------------------------------------------------------------------------


def test_what_it_offers_costs_a_credit_per_symbol_and_reaches_as_far_as_the_plan() -> None:
    offers = twelve_data.connect(Access("http://127.0.0.1:9", SecretStr(KEY), Recording(), reach_days=3650)).offers
    assert (offers[Capability.DAILY_BARS].symbols_per_call, offers[Capability.DAILY_BARS].cost(8)) == (8, 8)
    assert (offers[Capability.QUOTES].symbols_per_call, offers[Capability.QUOTES].cost(3)) == (8, 3)
    assert (offers[Capability.DAILY_BARS].reach_days, offers[Capability.BARS_1M].reach_days) == (3650, 3650)
    assert (offers[Capability.SPLITS].cost(1), offers[Capability.DIVIDENDS].cost(1)) == (20, 20)
    assert not {Capability.PROFILE, Capability.OPTIONS_CHAIN, Capability.CONSTITUENTS} & set(offers)


def test_the_same_question_is_asked_once_while_its_answer_keeps() -> None:
    async def twice(vendor: TwelveData) -> None:
        for _ in range(2):
            await daily()(vendor)
            await quotes()(vendor)

    found = TWELVE.ask(lambda call: reply(quoted()) if call.path == "/quote" else reply(OK), twice, kept=KeptAnswers())
    assert [call.path for call in found.server.calls] == ["/time_series", "/quote"]
