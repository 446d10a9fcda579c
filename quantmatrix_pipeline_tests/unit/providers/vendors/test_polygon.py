"""Polygon over a real HTTP server: its one recorded answer, documented ones, and what we made up after them."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, date, datetime
from fractions import Fraction
from typing import Any, TypeVar

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
from quantmatrix_pipeline.providers.answers import Dividend, Profile, Quote, Split
from quantmatrix_pipeline.providers.contract import BarRequest, Capability, IntradayRequest
from quantmatrix_pipeline.providers.transport.answers_kept import KeptAnswers
from quantmatrix_pipeline.providers.transport.calls import Answer
from quantmatrix_pipeline.providers.transport.vendor import Access
from quantmatrix_pipeline.providers.vendors import polygon, polygon_answers, polygon_bars
from quantmatrix_pipeline.providers.vendors.polygon import Polygon
from quantmatrix_pipeline_tests.shared_data import shared_data
from quantmatrix_pipeline_tests.unit.providers.vendors.asking import Asked, Asking
from quantmatrix_pipeline_tests.unit.providers.vendors.cases import Case, Provenance
from quantmatrix_pipeline_tests.unit.providers.vendors.metering import Recording
from quantmatrix_pipeline_tests.unit.providers.vendors.replay import Call, Reply, in_order
from quantmatrix_pipeline_tests.unit.providers.vendors.spoiling import spoiled

T = TypeVar("T")
KEY = "pK3y_never_to_be_seen"
NOW = datetime(2026, 11, 20, 22, 0, tzinfo=UTC)
JANUARY = np.array(
    ["2023-01-03", "2023-01-04", "2023-01-05", "2023-01-06", "2023-01-09", "2023-01-10"], "datetime64[D]"
)
RECORDED = "payloads/polygon/v2_aggs_AAPL_1day.json"


def bar(at: datetime, price: float = 10.0, **more: Any) -> dict[str, Any]:
    return {
        "v": 1000,
        "vw": price,
        "o": price,
        "c": price + 1,
        "h": price + 2,
        "l": price - 1,
        "t": int(at.timestamp() * 1000),
        "n": 5,
    } | more


def bars(*rows: dict[str, Any], ticker: str | None = "AAPL", **more: Any) -> Reply:
    body = {"queryCount": len(rows), "resultsCount": len(rows), "adjusted": False, "status": "OK", "request_id": "a1"}
    body |= {"count": len(rows)} | ({"ticker": ticker} if ticker else {}) | ({"results": rows} if rows else {}) | more
    return Reply(json.dumps(body))


def said(code: int, **body: str) -> Reply:
    return Reply(json.dumps({"request_id": "a1"} | body), code)


JAN_3, JAN_4 = datetime(2023, 1, 3, 5, tzinfo=UTC), datetime(2023, 1, 4, 5, tzinfo=UTC)  # midnight in New York
OPENED = datetime(2026, 11, 19, 14, 30, tzinfo=UTC)  # 09:30 in New York
NEXT = "https://api.massive.com/v2/aggs/ticker/AAPL/range/5/minute/1795098900000/1795100400000?apiKey=other&cursor=bGltaXQ9NTAwMDA"
EMPTY = bars()
NOT_FOUND = said(404, status="NOT_FOUND", message="Ticker not found.")
TOO_MANY = said(
    429,
    status="ERROR",
    error="You've exceeded the maximum requests per minute, please wait or upgrade your subscription to continue.",
)
UNKNOWN_KEY = said(401, status="ERROR", error="Unknown API Key")
NOT_ENTITLED = said(
    403,
    status="NOT_AUTHORIZED",
    message="You are not entitled to this data. Please upgrade your plan at https://polygon.io/pricing",
)
TIMEFRAME = said(
    403,
    status="NOT_AUTHORIZED",
    message="Your plan doesn't include this data timeframe. Please upgrade your plan at https://polygon.io/pricing",
)
ERROR_IN_200 = said(200, status="ERROR", error="the parameter 'from' can't be read")
TRUNCATED = Reply(bars(bar(JAN_3), bar(JAN_4)).body[:-90])
PAGES = (
    bars(bar(OPENED), next_url=NEXT),
    bars(bar(OPENED.replace(minute=35), 20.0)),
)

QUOTED = "as quoted in public issue threads of the vendor's clients"
CASES = (
    Case("polygon", "ok", Provenance.RECORDED, RECORDED),
    Case("polygon", "paged", Provenance.CONSTRUCTED, "bars in two pages, with next_url as in its documentation", PAGES),
    Case("polygon", "empty", Provenance.DOCUMENTED, "resultsCount 0 and no results, as its clients expect", (EMPTY,)),
    Case("polygon", "unknown symbol", Provenance.DOCUMENTED, QUOTED, (NOT_FOUND,)),
    Case("polygon", "rate limited", Provenance.DOCUMENTED, QUOTED, (TOO_MANY,)),
    Case("polygon", "bad key", Provenance.DOCUMENTED, QUOTED, (UNKNOWN_KEY,)),
    Case("polygon", "premium only", Provenance.DOCUMENTED, QUOTED, (NOT_ENTITLED,)),
    Case("polygon", "outside the plan's years", Provenance.DOCUMENTED, QUOTED, (TIMEFRAME,)),
    Case("polygon", "error in a 200", Provenance.CONSTRUCTED, "the body of a 4xx under status 200", (ERROR_IN_200,)),
    Case("polygon", "truncated", Provenance.CONSTRUCTED, "two daily bars, cut off", (TRUNCATED,)),
)


@pytest.fixture(autouse=True)
def _now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QM_NOW", NOW.isoformat())


def ask(
    answer: Callable[[Call], Reply], question: Callable[[Polygon], Awaitable[T]], *, reach_days: int | None = 730
) -> Asked[T]:
    return Asking(polygon.connect, KEY, reach_days).ask(answer, question)


def fail(*replies: Reply, question: Callable[[Polygon], Awaitable[Any]] | None = None) -> VendorError:
    with pytest.raises(VendorError) as caught:
        ask(in_order(*replies), question or daily())
    return caught.value


def case(situation: str) -> tuple[Reply, ...]:
    (found,) = [c for c in CASES if c.situation == situation]
    return found.replies


def daily(symbol: str = "AAPL", sessions: Sequence[str] = ("2023-01-03", "2023-01-04")) -> Callable[[Polygon], Any]:
    request = BarRequest(symbol, np.array(sessions, "datetime64[D]"))
    return lambda vendor: vendor.daily_bars([request])


def intraday(interval: str, start: str, end: str) -> Callable[[Polygon], Any]:
    request = IntradayRequest("AAPL", interval, datetime.fromisoformat(start), datetime.fromisoformat(end))
    return lambda vendor: vendor.intraday_bars(request)


# --- daily bars -------------------------------------------------------------------------------------------------------


def test_the_recorded_bars_are_read_to_the_last_digit_on_the_basis_that_they_name() -> None:
    body = json.dumps(json.loads(shared_data(*RECORDED.split("/")).read_text())["body"])
    request = BarRequest("AAPL", JANUARY)
    answer = ask(in_order(Reply(body)), lambda vendor: vendor.daily_bars([request])).value
    assert (answer.vendor, answer.basis, answer.basis_date) == ("polygon", Basis.SPLIT, date(2026, 11, 20))
    assert answer.bars.symbols == ("AAPL",)
    assert answer.bars.session.tolist() == JANUARY.tolist()
    assert answer.bars.open.tolist() == [130.28, 126.89, 127.13, 126.01, 130.465, 130.26]
    assert answer.bars.high.tolist() == [130.9, 128.6557, 127.77, 130.29, 133.41, 131.2636]
    assert answer.bars.low.tolist() == [124.17, 125.08, 124.76, 124.89, 129.89, 128.12]
    assert answer.bars.close.tolist() == [125.07, 126.36, 125.02, 129.62, 130.15, 130.73]
    assert answer.bars.volume.tolist() == [112117471.0, 89100633.0, 80716808.0, 87754715.0, 70790813.0, 63896155.0]
    assert (answer.silent, dict(answer.failures), answer.learned_at) == ((), {}, NOW)


def test_daily_bars_are_asked_for_as_traded_once_with_the_key_in_the_header() -> None:
    found = ask(in_order(bars(bar(JAN_3), bar(JAN_4, 20.0))), daily())
    assert found.call.path == "/v2/aggs/ticker/AAPL/range/1/day/2022-12-24/2023-01-04"
    assert found.call.query == {"adjusted": "false", "sort": "asc", "limit": "50000"}
    assert found.call.headers["Authorization"] == f"Bearer {KEY}"
    assert (found.value.basis, found.value.basis_date) == (Basis.RAW, None)
    assert found.value.bars.close.tolist() == [11.0, 21.0]
    assert found.meter.weights == [1]
    (timed,) = found.meter.attempts
    assert (timed.capability, timed.endpoint, timed.error) == (Capability.DAILY_BARS, "v2/aggs/day", None)


def test_only_the_sessions_asked_for_are_handed_out() -> None:
    friday = datetime(2022, 12, 30, 5, tzinfo=UTC)
    answer = ask(in_order(bars(bar(friday), bar(JAN_3), bar(JAN_4))), daily(sessions=["2023-01-03"])).value
    assert answer.bars.session.tolist() == [date(2023, 1, 3)]


def test_a_known_symbol_without_a_bar_on_those_sessions_is_silent() -> None:
    answer = ask(in_order(bars(bar(JAN_3))), daily(sessions=["2023-01-04"])).value
    assert (len(answer.bars), answer.silent) == (0, ("AAPL",))


def test_the_day_begins_at_midnight_in_new_york_in_summer_and_in_winter() -> None:
    summer = datetime(2026, 10, 30, 4, tzinfo=UTC)
    winter = datetime(2026, 11, 2, 5, tzinfo=UTC)
    answer = ask(in_order(bars(bar(summer), bar(winter))), daily(sessions=["2026-10-30", "2026-11-02"])).value
    assert answer.bars.session.tolist() == [date(2026, 10, 30), date(2026, 11, 2)]


def test_the_bar_of_a_session_still_open_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QM_NOW", "2026-11-20T20:59:00Z")
    thursday, friday = (datetime(2026, 11, day, 5, tzinfo=UTC) for day in (19, 20))
    answer = ask(in_order(bars(bar(thursday), bar(friday))), daily(sessions=["2026-11-19", "2026-11-20"])).value
    assert answer.bars.session.tolist() == [date(2026, 11, 19)]


def test_a_share_class_is_asked_for_with_a_dot() -> None:
    found = ask(in_order(bars(bar(JAN_3), ticker="BRK.B")), daily("BRK.B"))
    assert "/ticker/BRK.B/" in found.call.path
    assert found.value.bars.symbols == ("BRK.B",)


def test_a_volume_that_is_not_there_is_nan_and_a_fraction_stays_one() -> None:
    first = bar(JAN_3)
    del first["v"]
    answer = ask(in_order(bars(first, bar(JAN_4, v=12.5))), daily()).value
    assert np.isnan(answer.bars.volume[0])
    assert answer.bars.volume[1] == 12.5


# --- what goes wrong --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("situation", "error", "says"),
    [
        ("empty", SymbolNotFound, "not known there, or not traded"),
        ("unknown symbol", SymbolNotFound, "Ticker not found"),
        ("rate limited", RateLimited, "maximum requests per minute"),
        ("bad key", AuthFailed, "POLYGON_API_KEY"),
        ("premium only", UnsupportedRequest, "not entitled"),
        ("outside the plan's years", UnsupportedRequest, "timeframe"),
        ("error in a 200", MalformedResponse, "the parameter 'from'"),
        ("truncated", MalformedResponse, "no JSON"),
    ],
)
def test_every_refusal_is_a_typed_error_after_one_call(situation: str, error: type[VendorError], says: str) -> None:
    served: list[Call] = []
    replies = in_order(*case(situation))

    def answer(call: Call) -> Reply:
        served.append(call)
        return replies(call)

    with pytest.raises(error, match=says):
        ask(answer, daily())
    assert len(served) == 1


def test_a_plan_that_lacks_the_capability_is_told_from_one_that_lacks_the_years() -> None:
    assert fail(NOT_ENTITLED).symbol is None
    assert fail(TIMEFRAME).symbol == "AAPL"
    # A free plan has no whole market of today; that says nothing of yesterday's.
    assert fail(TIMEFRAME, question=lambda v: v.grouped_bars(date(2026, 11, 20))).symbol == "2026-11-20"


def test_a_pause_that_the_vendor_names_is_kept_and_then_it_answers() -> None:
    later = Reply(TOO_MANY.body, 429, {"Retry-After": "0"})
    found = ask(in_order(later, bars(bar(JAN_3))), daily())
    assert len(found.server.calls) == 2
    assert isinstance(found.meter.attempts[0].error, RateLimited)
    assert found.meter.weights == [1, 1]


def test_a_429_without_a_body_is_a_limit_too() -> None:
    assert isinstance(fail(Reply("", 429)), RateLimited)


def test_a_server_error_is_asked_again() -> None:
    found = ask(in_order(Reply("bad gateway", 502), bars(bar(JAN_3))), daily())
    assert len(found.server.calls) == 2
    assert isinstance(found.meter.attempts[0].error, VendorUnavailable)


@pytest.mark.parametrize(
    ("reply", "says"),
    [
        (Reply("<html><body>maintenance</body></html>", headers={"Content-Type": "text/html"}), "no JSON .text/html"),
        (Reply('{"status":"OK","resultsCount":1,"results":[{"t":1672722000000,"o":NaN}]}'), "no JSON"),
        (Reply("[]"), "Expected `object`"),
        (Reply("{}"), "status"),
        (Reply('{"status":"OK","resultsCount":1,"results":{"t":1}}'), r"results"),
        (bars(bar(JAN_3, o="ten")), r"results\[0\]"),
        (bars(bar(JAN_3, o=None)), "row 1: o is None"),
        (bars(bar(JAN_3, c="nan")), "row 1: c is nan"),
        (bars(bar(JAN_3), ticker="MSFT"), "asked for AAPL, answered with MSFT"),
        (bars(bar(JAN_3), resultsCount=2), "1 bars came of 2"),
        (bars(bar(JAN_3, t=10**15)), r"results\[0\]\.t"),
        (bars(bar(JAN_3.replace(hour=14))), "no midnight in New York"),
        (bars(bar(JAN_4), bar(JAN_3)), "bar 2 of 1 pages is not later"),
        (bars(bar(JAN_3), bar(JAN_3)), "not later"),
        (bars(bar(JAN_3), next_url="https://elsewhere.example/other"), "no such page"),
    ],
)
def test_what_can_not_be_read_is_malformed_and_names_the_place(reply: Reply, says: str) -> None:
    error = fail(reply)
    assert isinstance(error, MalformedResponse)
    assert error.symbol == "AAPL"
    with pytest.raises(MalformedResponse, match=says):
        raise error


def test_the_key_is_in_no_message_and_in_no_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    echo = said(401, status="ERROR", error=f"Unknown API Key {KEY}")
    errors = [fail(echo), fail(Reply(f"<p>{KEY}</p>")), fail(Reply(f"no {KEY}", 418)), fail(TOO_MANY)]
    ask(in_order(bars(bar(JAN_3))), daily())
    shown = [repr(e) + str(e) + repr(e.__cause__) + repr(e.__context__) for e in errors]
    assert all(KEY not in text for text in [*shown, caplog.text])
    assert "***" in str(errors[0])


def _body(reply: Reply) -> Any:
    return json.loads(reply.body)


@pytest.mark.parametrize(
    ("body", "read"),
    [
        (_body(bars(bar(JAN_3), bar(JAN_4))), lambda a: _read_daily(a)),
        (_body(bars(bar(OPENED), bar(OPENED.replace(minute=35)))), lambda a: _read_intraday(a)),
        (_body(bars(bar(JAN_3, T="AAPL"), bar(JAN_3, T="MSFT"))), lambda a: _read_grouped(a)),
    ],
)
def test_bars_with_anything_wrong_are_left_out_or_refused_typed(body: Any, read: Callable[[Answer], int]) -> None:
    outcomes = Counter(_outcome(read, content) for content in spoiled(body))
    assert outcomes["refused"] > 100
    assert outcomes["read"] > 10


def _read_daily(answer: Answer) -> int:
    request = BarRequest("AAPL", np.array(["2023-01-03", "2023-01-04"], "datetime64[D]"))
    call = polygon.daily_query(request, NOW)
    return _sound(polygon_bars.serve_daily(call, request, [polygon_bars.read_bars(call, answer)]).bars)


def _read_intraday(answer: Answer) -> int:
    request = IntradayRequest("AAPL", "5m", datetime.fromisoformat(START), datetime.fromisoformat(END))
    call = polygon.intraday_query(request, NOW)
    return _sound(polygon_bars.serve_intraday(call, request, [polygon_bars.read_bars(call, answer)]))


def _read_grouped(answer: Answer) -> int:
    found = polygon_bars.read_grouped(polygon.grouped_query(JAN_3.date()), JAN_3.date(), answer).bars
    assert set(found.session.tolist()) <= {JAN_3.date()}
    return _sound(found)


def _sound(found: Any) -> int:
    assert all(np.isfinite(column).all() for column in (found.open, found.high, found.low, found.close))
    return len(found.open)


def _outcome(read: Callable[[Answer], Any], content: bytes) -> str:
    try:
        read(Answer(200, {}, content, NOW))
    except VendorError:
        return "refused"
    return "read"


# --- the whole market -------------------------------------------------------------------------------------------------

CLOSED = datetime(2026, 11, 19, 21, tzinfo=UTC)  # 16:00 in New York


def grouped(answer: Callable[[Call], Reply], day: date = date(2026, 11, 19)) -> Asked[Any]:
    return ask(answer, lambda vendor: vendor.grouped_bars(day))


def test_the_documented_whole_market_is_read() -> None:
    name = "v2_aggs_grouped_locale_us_market_stocks_2005-04-04_adjusted_true.json"
    body = shared_data("payloads", "polygon_massive", name).read_text()
    found = grouped(in_order(Reply(body)), date(2020, 10, 14))
    bars = found.value.bars
    assert found.call.path == "/v2/aggs/grouped/locale/us/market/stocks/2020-10-14"
    assert found.call.query == {"adjusted": "false", "include_otc": "false"}
    assert (bars.symbols, bars.session.tolist()) == (("GIK",), [date(2020, 10, 14)])
    assert (bars.open[0], bars.high[0], bars.low[0], bars.close[0], bars.volume[0]) == (9.99, 10.02, 9.9, 10.02, 895345)
    assert found.value.basis is Basis.SPLIT  # the example says that it is adjusted


def test_a_market_is_read_without_what_has_no_symbol_here_and_names_what_can_not_be_read() -> None:
    rows = (
        bar(CLOSED, 10, T="AAPL"),
        bar(CLOSED, 20, T="BRK.B"),
        bar(CLOSED, 30, T="BACpL"),
        bar(CLOSED, 40, T="NOPE", l=None),
        bar(datetime(2026, 11, 18, 21, tzinfo=UTC), 50, T="OLD"),
    )
    answer = grouped(in_order(bars(*rows, ticker=None))).value
    assert (answer.basis, answer.basis_date, answer.learned_at) == (Basis.RAW, None, NOW)
    kept = [answer.bars.symbols[i] for i in answer.bars.symbol_index]
    assert kept == ["AAPL", "BRK.B"]
    assert answer.bars.session.tolist() == [date(2026, 11, 19)] * 2
    assert answer.bars.close.tolist() == [11.0, 21.0]
    assert [(r.symbol, r.session, r.reason) for r in answer.unreadable] == [
        ("NOPE", date(2026, 11, 19), "wrong_type"),
        ("OLD", date(2026, 11, 19), "bad_date"),
    ]
    assert answer.unreadable[0].payload["o"] == 40


def test_a_symbol_that_stands_twice_keeps_both_rows_for_the_validation_to_refuse() -> None:
    rows = bars(bar(CLOSED, 10, T="AAPL"), bar(CLOSED, 20, T="AAPL"), bar(CLOSED, 30, T="MSFT"), ticker=None)
    found = grouped(in_order(rows)).value.bars
    assert found.symbols == ("AAPL", "MSFT")
    assert found.symbol_index.tolist() == [0, 0, 1]


def test_a_day_without_trade_is_an_empty_market() -> None:
    answer = grouped(in_order(bars(ticker=None))).value
    assert (len(answer.bars), answer.unreadable) == (0, ())


@pytest.mark.parametrize(("status", "rows"), [("OK", 1), ("DELAYED", 0)])
def test_a_session_that_has_not_closed_for_the_plan_has_no_market_yet(
    status: str, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QM_NOW", "2026-11-19T21:10:00Z")
    assert len(grouped(in_order(bars(bar(CLOSED, T="AAPL"), ticker=None, status=status))).value.bars) == rows


def test_a_market_with_one_wrong_type_is_malformed_and_names_the_row() -> None:
    wrong = bars(bar(CLOSED, T="AAPL"), bar(CLOSED, T="MSFT", c=[1]), ticker=None)
    error = fail(wrong, question=lambda v: v.grouped_bars(date(2026, 11, 19)))
    assert isinstance(error, MalformedResponse)
    assert "results[1].c" in str(error)


def test_a_market_of_another_day_is_refused() -> None:
    other = bars(bar(datetime(2026, 11, 18, 21, tzinfo=UTC), T="AAPL"), ticker=None)
    error = fail(other, question=lambda v: v.grouped_bars(date(2026, 11, 19)))
    assert isinstance(error, MalformedResponse)
    assert "asked for 2026-11-19, answered with 2026-11-18" in str(error)


# --- intraday ---------------------------------------------------------------------------------------------------------

START, END = "2026-11-19T14:30:00+00:00", "2026-11-19T14:40:00+00:00"


def test_pages_are_followed_on_our_own_address_with_the_key() -> None:
    found = ask(in_order(*case("paged")), intraday("5m", START, END))
    answer, (first, second) = found.value, found.server.calls
    assert first.path == "/v2/aggs/ticker/AAPL/range/5/minute/1795098600000/1795099199999"
    assert first.query == {"adjusted": "false", "sort": "asc", "limit": "50000"}
    assert second.path == "/v2/aggs/ticker/AAPL/range/5/minute/1795098900000/1795100400000"
    assert second.query == {"cursor": "bGltaXQ9NTAwMDA"}
    assert second.headers["Authorization"] == f"Bearer {KEY}"
    assert found.meter.weights == [1, 1]
    assert answer.opened_at.tolist() == [datetime(2026, 11, 19, 14, 30), datetime(2026, 11, 19, 14, 35)]  # noqa: DTZ001
    assert (answer.open.tolist(), answer.high.tolist()) == ([10.0, 20.0], [12.0, 22.0])
    assert (answer.low.tolist(), answer.close.tolist()) == ([9.0, 19.0], [11.0, 21.0])
    assert (answer.interval, answer.basis, answer.volume.tolist()) == ("5m", Basis.RAW, [1000.0, 1000.0])


def test_minutes_are_asked_for_as_such_and_end_before_the_end() -> None:
    rows = [bar(OPENED.replace(minute=m)) for m in (29, 30, 31, 32)]
    found = ask(in_order(bars(*rows)), intraday("1m", START, "2026-11-19T14:32:00+00:00"))
    assert "/range/1/minute/" in found.call.path
    assert [at.minute for at in found.value.opened_at.tolist()] == [30, 31]
    assert found.meter.attempts[0].capability is Capability.BARS_1M


def test_instants_are_right_on_both_sides_of_summer_time() -> None:
    winter, summer = datetime(2026, 3, 6, 14, 30, tzinfo=UTC), datetime(2026, 3, 9, 13, 30, tzinfo=UTC)
    asked = intraday("5m", "2026-03-06T09:30:00-05:00", "2026-03-09T09:35:00-04:00")
    answer = ask(in_order(bars(bar(winter), bar(summer))), asked).value
    assert [at.replace(tzinfo=UTC) for at in answer.opened_at.tolist()] == [winter, summer]


@pytest.mark.parametrize(("status", "minutes"), [("OK", [30, 35, 40]), ("DELAYED", [30])])
def test_a_bar_that_had_not_closed_for_the_plan_is_left_out(
    status: str, minutes: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QM_NOW", "2026-11-19T14:50:00Z")  # delayed data end at 14:35
    rows = [bar(OPENED.replace(minute=m)) for m in (30, 35, 40, 50)]
    answer = ask(in_order(bars(*rows, status=status)), intraday("5m", START, "2026-11-19T15:00:00+00:00")).value
    assert [at.minute for at in answer.opened_at.tolist()] == minutes


def test_no_bars_in_a_stretch_are_no_bars() -> None:
    assert len(ask(in_order(EMPTY), intraday("5m", START, END)).value) == 0


@pytest.mark.parametrize(
    ("second", "says"),
    [
        (bars(bar(OPENED)), "bar 2 of 2 pages is not later"),
        (bars(bar(OPENED.replace(minute=35)), next_url=NEXT), "in a circle"),
    ],
)
def test_a_page_that_repeats_is_malformed(second: Reply, says: str) -> None:
    error = fail(bars(bar(OPENED), next_url=NEXT), second, question=intraday("5m", START, END))
    assert isinstance(error, MalformedResponse)
    assert says in str(error)


def test_pages_without_an_end_are_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(polygon, "MOST_PAGES", 3)
    served: list[str] = []

    def endless(call: Call) -> Reply:
        served.append(call.path)
        return bars(bar(OPENED.replace(second=len(served))), next_url=f"{NEXT}{len(served)}")

    with pytest.raises(MalformedResponse, match="no end after 3 pages"):
        ask(endless, intraday("5m", START, END))
    assert len(served) == 3


# --- splits and dividends ---------------------------------------------------------------------------------------------


def rows(*results: dict[str, Any], **more: Any) -> Reply:
    return Reply(json.dumps({"results": results, "status": "OK", "request_id": "a1"} | more))


def test_the_documented_splits_of_a_market_are_read_and_one_listed_twice_counts_once() -> None:
    body = shared_data("payloads", "polygon_massive", "v3_reference_splits.json").read_text()
    asked = ask(in_order(Reply(body)), lambda v: v.splits(None, date(2022, 5, 1), date(2022, 7, 31)))
    assert asked.call.path == "/v3/reference/splits"
    assert asked.call.query == {
        "execution_date.gte": "2022-05-01",
        "execution_date.lte": "2022-08-14",
        "sort": "execution_date",
        "order": "asc",
        "limit": "1000",
    }
    found = {s.symbol: s for s in asked.value.splits}
    assert len(asked.value.splits) == len(found) == 9
    assert found["AMZN"] == Split("AMZN", date(2022, 6, 6), Fraction(20))
    assert found["BRW"].ratio == Fraction(1, 2)
    assert found["CIG.C"].ratio == Fraction(4, 3)
    assert found["SHOP"].ex_date == date(2022, 6, 29)


def test_a_split_announced_again_for_a_later_day_is_not_true_on_the_earlier_one() -> None:
    twice = [
        {"ticker": "SHOP", "execution_date": day, "split_from": 1, "split_to": 10}
        for day in ("2022-06-22", "2022-06-29")
    ]
    answer = ask(in_order(rows(*twice)), lambda v: v.splits("SHOP", date(2022, 6, 20), date(2022, 6, 24))).value
    assert answer.splits == ()


def test_splits_of_one_symbol_come_in_pages() -> None:
    first = {"ticker": "BRK.B", "execution_date": "2010-01-21", "split_from": 1, "split_to": 50, "id": "E1"}
    second = {"ticker": "BRK.B", "execution_date": "2020-01-21", "split_from": 1, "split_to": 1.05, "id": "E2"}
    pages = (rows(first, next_url="https://api.massive.com/v3/reference/splits?cursor=abc"), rows(second))
    asked = ask(in_order(*pages), lambda v: v.splits("BRK.B", date(2010, 1, 1), date(2020, 12, 31)))
    assert [c.query.get("ticker") for c in asked.server.calls] == ["BRK.B", None]
    assert [s.ratio for s in asked.value.splits] == [Fraction(50), Fraction(21, 20)]


def test_the_documented_dividends_are_read() -> None:
    body = shared_data("payloads", "polygon_massive", "v3_reference_dividends.json").read_text()
    asked = ask(in_order(Reply(body)), lambda v: v.dividends(None, date(2023, 8, 1), date(2025, 6, 30)))
    assert asked.call.path == "/v3/reference/dividends"
    assert asked.call.query["ex_dividend_date.gte"] == "2023-08-01"
    assert asked.call.query["ex_dividend_date.lte"] == "2025-06-30"
    assert len(asked.value.dividends) == 10
    assert asked.value.dividends[0] == Dividend("CSSEN", date(2025, 6, 12), 0.59375, "USD")
    assert asked.value.dividends[-1] == Dividend("AIRTP", date(2023, 8, 11), 0.5, "USD")


@pytest.mark.parametrize(
    ("capability", "row"),
    [
        ("splits", {"ticker": "AAPL", "execution_date": "2020-08-31", "split_from": 0, "split_to": 4}),
        ("dividends", {"ticker": "AAPL", "ex_dividend_date": "2020-08-31", "cash_amount": -1}),
        ("splits", {"ticker": "MSFT", "execution_date": "2020-08-31", "split_from": 1, "split_to": 4}),
        ("dividends", {"ticker": "MSFT", "ex_dividend_date": "2020-08-31", "cash_amount": 1}),
        ("splits", {"ticker": "AAPL", "execution_date": "soon", "split_from": 1, "split_to": 4}),
        ("dividends", {"ticker": "AAPL", "ex_dividend_date": "2020-08-31"}),
    ],
)
def test_an_action_that_is_none_or_another_symbols_is_malformed(capability: str, row: dict[str, Any]) -> None:
    first, last = date(2020, 1, 1), date(2020, 12, 31)
    error = fail(rows(row), question=lambda v: getattr(v, capability)("AAPL", first, last))
    assert isinstance(error, MalformedResponse)
    assert error.symbol == "AAPL"


def test_in_a_market_an_action_that_is_none_costs_only_itself(caplog: pytest.LogCaptureFixture) -> None:
    good = {"ticker": "MSFT", "ex_dividend_date": "2020-08-31", "cash_amount": 1, "currency": "usd"}
    asked = rows({"ticker": "AAPL", "ex_dividend_date": "2020-08-31", "cash_amount": 0}, good)
    answer = ask(in_order(asked), lambda v: v.dividends(None, date(2020, 1, 1), date(2020, 12, 31))).value
    assert answer.dividends == (Dividend("MSFT", date(2020, 8, 31), 1.0, "USD"),)
    assert "AAPL: a dividend of 2020-08-31 over 0.0: left out" in caplog.text


# --- quotes and profiles ----------------------------------------------------------------------------------------------


def test_a_free_plan_quotes_the_previous_session() -> None:
    body = shared_data("payloads", "polygon_massive", "v2_aggs_ticker_AAPL_prev.json").read_text()
    asked = ask(in_order(Reply(body)), lambda v: v.quotes(["AAPL"]))
    assert asked.call.path == "/v2/aggs/ticker/AAPL/prev"
    assert asked.call.query == {"adjusted": "false"}
    at = datetime(2022, 4, 26, 20, tzinfo=UTC)
    assert asked.value == [
        Quote("polygon", "AAPL", 156.8, at, NOW, open=162.25, high=162.34, low=156.72, volume=95595226.0)
    ]


@pytest.mark.parametrize("reach_days", [None, 1825])
def test_a_plan_with_a_longer_history_quotes_the_snapshot(reach_days: int | None) -> None:
    name = "v2_snapshot_locale_us_markets_stocks_tickers_AAPL.json"
    body = shared_data("payloads", "polygon_massive", name).read_text()
    asked = ask(in_order(Reply(body)), lambda v: v.quotes(["AAPL"]), reach_days=reach_days)
    assert asked.call.path == "/v2/snapshot/locale/us/markets/stocks/tickers/AAPL"
    (quote,) = asked.value
    assert (quote.price, quote.bid, quote.ask) == (159.99, 159.98, 159.99)
    assert quote.at == datetime(2022, 4, 29, 17, 5, 48, tzinfo=UTC)
    assert (quote.open, quote.high, quote.low, quote.previous_close) == (161.84, 166.2, 159.8, 163.64)
    assert quote.volume == 68840127


def test_a_snapshot_before_the_first_trade_is_no_quote() -> None:
    nothing = {"o": 0, "h": 0, "l": 0, "c": 0, "v": 0}
    body = json.dumps({"status": "OK", "ticker": {"ticker": "AAPL", "updated": 0, "day": nothing}})
    with pytest.raises(SymbolNotFound, match="no price of today"):
        ask(in_order(Reply(body)), lambda v: v.quotes(["AAPL"]), reach_days=None)


def test_a_quote_of_a_symbol_without_bars_is_not_found() -> None:
    assert isinstance(fail(EMPTY, question=lambda v: v.quotes(["AAPL"])), SymbolNotFound)


def test_the_documented_company_is_read() -> None:
    body = shared_data("payloads", "polygon_massive", "v3_reference_tickers_AAPL.json").read_text()
    asked = ask(in_order(Reply(body)), lambda v: v.profile("AAPL"))
    assert asked.call.path == "/v3/reference/tickers/AAPL"
    assert asked.value == Profile(
        "polygon",
        "AAPL",
        NOW,
        name="Apple Inc.",
        exchange="XNAS",
        industry="ELECTRONIC COMPUTERS",
        market_cap=2488795282370.0,
        currency="USD",
    )


def test_another_company_is_refused_and_an_unknown_one_not_found() -> None:
    other = Reply(json.dumps({"status": "OK", "results": {"ticker": "MSFT"}}))
    assert isinstance(fail(other, question=lambda v: v.profile("AAPL")), MalformedResponse)
    assert isinstance(fail(NOT_FOUND, question=lambda v: v.profile("AAPL")), SymbolNotFound)


@pytest.mark.parametrize(
    ("body", "call", "read"),
    [
        (
            {
                "status": "OK",
                "results": [{"ticker": "A", "execution_date": "2020-08-31", "split_from": 1, "split_to": 4}],
            },
            polygon.actions_query(Capability.SPLITS, None, date(2020, 1, 1), date(2020, 12, 31), NOW),
            polygon_answers.read_splits,
        ),
        (
            {"status": "OK", "results": [{"ticker": "A", "ex_dividend_date": "2020-08-07", "cash_amount": 0.82}]},
            polygon.actions_query(Capability.DIVIDENDS, None, date(2020, 1, 1), date(2020, 12, 31), NOW),
            polygon_answers.read_dividends,
        ),
        (
            {"status": "OK", "results": {"ticker": "A", "name": "Agilent", "market_cap": 1, "currency_name": "usd"}},
            polygon.profile_query("A"),
            polygon_answers.read_profile,
        ),
        (
            {
                "status": "OK",
                "ticker": {"ticker": "A", "updated": 10**18, "day": {"c": 1}, "lastTrade": {"p": 1, "t": 1}},
            },
            polygon.snapshot_query("A"),
            polygon_answers.read_snapshot,
        ),
        (_body(bars(bar(JAN_3, T="A"), ticker="A")), polygon.previous_query("A"), polygon_answers.read_previous),
    ],
)
def test_anything_else_with_anything_wrong_is_read_or_refused_typed(body: Any, call: Any, read: Any) -> None:
    outcomes = Counter(_outcome(lambda answer: read(call, answer), content) for content in spoiled(body))
    assert outcomes["refused"] > 50
    assert outcomes["read"] > 0


# --- what is asked again ----------------------------------------------------------------------------------------------


def test_daily_bars_are_kept_and_a_market_is_not() -> None:
    async def twice(vendor: Polygon) -> None:
        for _ in range(2):
            await daily()(vendor)
            await vendor.grouped_bars(date(2023, 1, 2))

    def answer(call: Call) -> Reply:
        return bars(ticker=None) if "grouped" in call.path else bars(bar(JAN_3))

    asked = Asking(polygon.connect, KEY).ask(answer, twice, kept=KeptAnswers())
    assert ["grouped" in call.path for call in asked.server.calls] == [False, True, True]


# --- what it offers ---------------------------------------------------------------------------------------------------


def test_bars_reach_as_far_back_as_the_plan_and_actions_come_for_the_whole_market() -> None:
    offers = polygon.connect(Access("http://127.0.0.1:9", SecretStr(KEY), Recording(), reach_days=730)).offers
    assert {c for c, offer in offers.items() if offer.reach_days == 730} == {
        Capability.DAILY_BARS,
        Capability.GROUPED_BARS,
        Capability.BARS_5M,
        Capability.BARS_1M,
    }
    assert {c for c, offer in offers.items() if offer.whole_market} == {Capability.SPLITS, Capability.DIVIDENDS}
    assert all(offer.cost(1) == 1 for offer in offers.values())


def test_what_is_not_offered_is_refused() -> None:
    error = fail(Reply("[]"), question=lambda v: v.constituents("SP500", date(2026, 11, 20)))
    assert isinstance(error, UnsupportedRequest)
