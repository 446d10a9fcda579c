"""Financial Modeling Prep over a real HTTP server: its one recorded answer, documented ones, and some made up."""

from __future__ import annotations

import asyncio
import json
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, date, datetime
from fractions import Fraction
from string import ascii_uppercase
from typing import Any, TypeVar

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
from quantmatrix_pipeline.providers.answers import Dividend, Member, Profile, Quote, Split
from quantmatrix_pipeline.providers.contract import BarRequest, Capability, IntradayRequest
from quantmatrix_pipeline.providers.transport.calls import Answer
from quantmatrix_pipeline.providers.transport.vendor import Access
from quantmatrix_pipeline.providers.vendors import fmp, fmp_answers
from quantmatrix_pipeline.providers.vendors.fmp import Fmp
from quantmatrix_pipeline.providers.vendors.shared.corporate_actions import as_traded
from quantmatrix_pipeline_tests.shared_data import shared_data
from quantmatrix_pipeline_tests.unit.providers.vendors.asking import Asked, Asking
from quantmatrix_pipeline_tests.unit.providers.vendors.cases import Case, Provenance
from quantmatrix_pipeline_tests.unit.providers.vendors.metering import Recording
from quantmatrix_pipeline_tests.unit.providers.vendors.replay import Call, Reply, in_order, replay
from quantmatrix_pipeline_tests.unit.providers.vendors.spoiling import spoiled

T = TypeVar("T")
KEY = "fMp_k3y_never_to_be_seen"
NOW = datetime(2026, 11, 20, 22, 0, tzinfo=UTC)
JANUARY = ("2023-01-03", "2023-01-04", "2023-01-05", "2023-01-06", "2023-01-09", "2023-01-10")
RECORDED = "payloads/fmp/historical-price-eod_full_AAPL.json"


def listed(*rows: dict[str, Any]) -> Reply:
    return Reply(json.dumps(rows))


def day(on: str, price: float | None = 10.0, symbol: str = "AAPL", **more: Any) -> dict[str, Any]:
    row = {"symbol": symbol, "date": on, "open": price, "high": 30.0, "low": 5.0, "close": 12.0, "volume": 1000}
    return row | {"change": 2.0, "changePercent": 20.0, "vwap": 14.25} | more


def candle(at: str, price: float | None = 10.0) -> dict[str, Any]:
    return {"date": at, "open": price, "low": 5.0, "high": 30.0, "close": 12.0, "volume": 1000}


def split(on: str, numerator: float = 4, denominator: float = 1, symbol: str = "AAPL") -> dict[str, Any]:
    return {"symbol": symbol, "date": on, "numerator": numerator, "denominator": denominator}


def dividend(on: str, amount: float, symbol: str = "AAPL") -> dict[str, Any]:
    dates = {"date": on, "recordDate": on, "paymentDate": on, "declarationDate": on}
    return {
        "symbol": symbol,
        **dates,
        "adjDividend": amount / 4,
        "dividend": amount,
        "yield": 0.5,
        "frequency": "Quarterly",
    }


NONE = listed()
BAD_KEY = Reply(
    json.dumps(
        {
            "Error Message": "Invalid API KEY. Feel free to create a Free API Key or visit https://site."
            "financialmodelingprep.com/faqs?search=why-is-my-api-key-invalid for more information."
        }
    ),
    401,
)
SYMBOL_NOT_IN_PLAN = Reply(
    "Premium Query Parameter: 'Special Endpoint : This value set for 'symbol' is not available under your current "
    "subscription please visit our subscription page to upgrade your plan'",
    402,
)
NOT_IN_PLAN = Reply(
    "Restricted Endpoint: This endpoint is not available under your current subscription please visit our "
    "subscription page to upgrade your plan",
    402,
)
LEGACY = Reply(
    json.dumps(
        {
            "Error Message": "Legacy Endpoint : Due to Legacy endpoints being no longer supported - This endpoint is "
            "only available for legacy users who have valid subscriptions prior August 31, 2025."
        }
    ),
    403,
)
LIMIT = json.dumps(
    {
        "Error Message": "Limit Reach . Please upgrade your plan or visit our documentation for more details at "
        "https://site.financialmodelingprep.com/"
    }
)
BANDWIDTH = Reply(json.dumps({"Error Message": "Bandwidth Limit Reach . Please upgrade your plan"}), 429)
PAGES = (
    listed(candle("2026-11-19 09:35:00", 21.0), candle("2026-11-19 09:30:00", 20.0)),
    listed(
        candle("2026-11-19 09:30:00", 20.0), candle("2026-11-17 15:55:00", 19.0), candle("2026-11-17 09:30:00", 18.0)
    ),
)

QUOTED = "as quoted in public issue threads of its users"
CASES = (
    Case("fmp", "ok", Provenance.RECORDED, RECORDED),
    Case("fmp", "paged", Provenance.CONSTRUCTED, "a long intraday stretch that comes cut off at its old end", PAGES),
    Case("fmp", "empty", Provenance.DOCUMENTED, "an empty list", (NONE,)),
    Case("fmp", "unknown symbol", Provenance.DOCUMENTED, "an empty list with status 200, " + QUOTED, (NONE,)),
    Case("fmp", "rate limited", Provenance.DOCUMENTED, QUOTED, (Reply(LIMIT, 429),)),
    Case("fmp", "bandwidth used up", Provenance.DOCUMENTED, QUOTED, (BANDWIDTH,)),
    Case("fmp", "bad key", Provenance.DOCUMENTED, QUOTED, (BAD_KEY,)),
    Case("fmp", "premium only", Provenance.DOCUMENTED, QUOTED, (NOT_IN_PLAN,)),
    Case("fmp", "symbol not in the plan", Provenance.DOCUMENTED, QUOTED, (SYMBOL_NOT_IN_PLAN,)),
    Case("fmp", "legacy path", Provenance.DOCUMENTED, QUOTED, (LEGACY,)),
    Case("fmp", "error in a 200", Provenance.DOCUMENTED, QUOTED, (Reply(LIMIT),)),
    Case(
        "fmp",
        "truncated",
        Provenance.CONSTRUCTED,
        "a daily bar, cut off",
        (Reply(listed(day("2023-01-03")).body[:-40]),),
    ),
)


@pytest.fixture(autouse=True)
def _now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QM_NOW", NOW.isoformat())


def ask(answer: Callable[[Call], Reply], question: Callable[[Fmp], Awaitable[T]]) -> Asked[T]:
    return Asking(fmp.connect, KEY).ask(answer, question)


def fail(reply: Reply, question: Callable[[Fmp], Awaitable[Any]] | None = None) -> VendorError:
    with pytest.raises(VendorError) as caught:
        ask(in_order(reply), question or daily())
    return caught.value


def case(situation: str) -> tuple[Reply, ...]:
    (found,) = [c for c in CASES if c.situation == situation]
    return found.replies


def daily(symbol: str = "AAPL", sessions: Sequence[str] = ("2023-01-03", "2023-01-04")) -> Callable[[Fmp], Any]:
    request = BarRequest(symbol, np.array(sessions, "datetime64[D]"))
    return lambda vendor: vendor.daily_bars([request])


def intraday(start: str, end: str, interval: str = "5m") -> Callable[[Fmp], Any]:
    request = IntradayRequest("AAPL", interval, datetime.fromisoformat(start), datetime.fromisoformat(end))
    return lambda vendor: vendor.intraday_bars(request)


# --- daily bars -------------------------------------------------------------------------------------------------------


def test_the_recorded_bars_are_read_to_the_last_digit_and_come_in_order() -> None:
    body = json.dumps(json.loads(shared_data(*RECORDED.split("/")).read_text())["body"])
    asked = ask(in_order(Reply(body), listed(split("2020-08-31"))), daily(sessions=JANUARY))
    answer = asked.value
    assert (answer.vendor, answer.basis, answer.basis_date) == ("fmp", Basis.RAW, None)
    assert answer.bars.symbols == ("AAPL",)
    assert [str(s) for s in answer.bars.session] == list(JANUARY)
    assert answer.bars.open.tolist() == [130.28, 126.89, 127.13, 126.01, 130.47, 130.26]
    assert answer.bars.high.tolist() == [130.9, 128.66, 127.77, 130.29, 133.41, 131.26]
    assert answer.bars.low.tolist() == [124.17, 125.08, 124.76, 124.89, 129.89, 128.12]
    assert answer.bars.close.tolist() == [125.07, 126.36, 125.02, 129.62, 130.15, 130.73]
    assert answer.bars.volume.tolist() == [112117500, 89113633, 80962708, 87754715, 70790813, 63896200]
    assert (answer.splits, answer.silent, dict(answer.failures), answer.learned_at) == ((), (), {}, NOW)


def test_bars_and_splits_are_two_calls_with_the_key_in_the_query() -> None:
    asked = ask(in_order(listed(day("2023-01-03")), NONE), daily())
    first, second = asked.server.calls
    assert first.path == "/historical-price-eod/full"
    assert first.query == {"symbol": "AAPL", "from": "2022-12-24", "to": "2023-01-04", "apikey": KEY}
    assert (second.path, second.query) == ("/splits", {"symbol": "AAPL", "limit": "5", "apikey": KEY})
    assert [(t.capability, t.endpoint) for t in asked.meter.attempts] == [
        (Capability.DAILY_BARS, "historical-price-eod/full"),
        (Capability.SPLITS, "splits"),
    ]


def test_the_adjustment_is_undone_with_the_vendors_own_splits() -> None:
    bars = listed(day("2020-08-31", 129.0), day("2020-08-28", 126.0, high=126.5, low=124.5, close=124.75, volume=4000))
    splits = listed(split("2027-01-04", 2), split("2020-08-31", 4), split("2014-06-09", 7))
    answer = ask(in_order(bars, splits), daily(sessions=["2020-08-28", "2020-08-31"])).value
    assert (answer.basis, answer.basis_date) == (Basis.RAW, None)
    assert answer.bars.open.tolist() == [504.0, 129.0]
    assert (answer.bars.high[0], answer.bars.low[0], answer.bars.close[0]) == (506.0, 498.0, 499.0)
    assert answer.bars.volume.tolist() == [1000.0, 1000.0]
    assert answer.splits == (Split("AAPL", date(2020, 8, 31), Fraction(4)),)


def test_a_reverse_split_is_undone_too() -> None:
    bars = listed(day("2021-08-02", 100.0), day("2021-07-30", 104.0, volume=10))
    answer = ask(in_order(bars, listed(split("2021-08-02", 1, 8))), daily(sessions=["2021-07-30", "2021-08-02"])).value
    assert answer.bars.open.tolist() == [13.0, 100.0]
    assert answer.bars.volume.tolist() == [80.0, 1000.0]


@pytest.mark.parametrize("refused", [SYMBOL_NOT_IN_PLAN, NOT_IN_PLAN])
def test_where_the_plan_gives_no_splits_the_prices_are_said_to_be_adjusted(refused: Reply) -> None:
    answer = ask(in_order(listed(day("2023-01-03")), refused), daily()).value
    assert (answer.basis, answer.basis_date) == (Basis.SPLIT, date(2026, 11, 20))
    assert (answer.bars.open.tolist(), answer.splits) == ([10.0], ())


def test_a_plan_without_splits_is_asked_for_them_once() -> None:
    async def twice(vendor: Fmp) -> None:
        for _ in range(2):
            await daily()(vendor)

    asked = ask(lambda call: NOT_IN_PLAN if call.path == "/splits" else listed(day("2023-01-03")), twice)
    assert [c.path for c in asked.server.calls] == [
        "/historical-price-eod/full",
        "/splits",
        "/historical-price-eod/full",
    ]


def test_splits_that_do_not_reach_back_far_enough_are_asked_for_in_full() -> None:
    five = [split(f"202{year}-06-01", 2) for year in (6, 5, 4, 3, 2)]
    asked = ask(
        in_order(listed(day("2020-01-02", 1.0)), listed(*five), listed(*five, split("2021-06-01", 3))),
        daily(sessions=["2020-01-02"]),
    )
    assert [c.query.get("limit") for c in asked.server.calls] == [None, "5", "1000"]
    assert asked.value.bars.open.tolist() == [96.0]  # 3 * 2**5 shares for one


def test_the_day_of_new_york_counts_and_its_open_session_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QM_NOW", "2026-11-20T02:00:00Z")  # Thursday evening there
    bars = listed(day("2026-11-20"), day("2026-11-19"))
    answer = ask(in_order(bars, NOT_IN_PLAN), daily(sessions=["2026-11-19", "2026-11-20"])).value
    assert (answer.basis_date, answer.bars.session.tolist()) == (date(2026, 11, 19), [date(2026, 11, 19)])


def test_a_known_symbol_without_a_bar_on_those_sessions_is_silent() -> None:
    answer = ask(in_order(listed(day("2022-12-30")), NONE), daily()).value
    assert (len(answer.bars), answer.silent) == (0, ("AAPL",))


def test_a_share_class_is_asked_for_with_a_dash() -> None:
    asked = ask(in_order(listed(day("2023-01-03", symbol="BRK-B")), NONE), daily("BRK.B"))
    assert [c.query["symbol"] for c in asked.server.calls] == ["BRK-B", "BRK-B"]
    assert asked.value.bars.symbols == ("BRK.B",)


def test_a_volume_that_is_not_there_is_nan() -> None:
    assert np.isnan(ask(in_order(listed(day("2023-01-03", volume=None)), NONE), daily()).value.bars.volume[0])


# --- what goes wrong --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("situation", "error", "says", "symbol"),
    [
        ("empty", SymbolNotFound, "no bar from 2022-12-24 to 2023-01-04", "AAPL"),
        ("unknown symbol", SymbolNotFound, "not known there, or not traded", "AAPL"),
        ("rate limited", RateLimited, "Limit Reach", "AAPL"),
        ("bandwidth used up", QuotaExhausted, "Bandwidth", "AAPL"),
        ("bad key", AuthFailed, "check FMP_API_KEY", None),
        ("premium only", UnsupportedRequest, "Restricted Endpoint.*FMP_API_KEY", None),
        ("symbol not in the plan", UnsupportedRequest, "Special Endpoint", "AAPL"),
        ("legacy path", UnsupportedRequest, "Legacy Endpoint", None),
        ("error in a 200", RateLimited, "Limit Reach", "AAPL"),
        ("truncated", MalformedResponse, "no JSON", "AAPL"),
    ],
)
def test_every_refusal_is_a_typed_error_after_one_call(
    situation: str, error: type[VendorError], says: str, symbol: str | None
) -> None:
    served: list[Call] = []
    replies = in_order(*case(situation))

    def answer(call: Call) -> Reply:
        served.append(call)
        return replies(call)

    with pytest.raises(error, match=says) as caught:
        ask(answer, daily())
    assert caught.value.symbol == symbol
    assert len(served) == 1


@pytest.mark.parametrize("refused", [BAD_KEY, NOT_IN_PLAN, SYMBOL_NOT_IN_PLAN, LEGACY, BANDWIDTH])
def test_the_same_refusal_under_status_200_is_the_same_error(refused: Reply) -> None:
    assert type(fail(Reply(refused.body))) is type(fail(refused))


def test_a_pause_that_the_vendor_names_is_kept_and_then_it_answers() -> None:
    asked = ask(in_order(Reply(LIMIT, 429, {"Retry-After": "0"}), listed(day("2023-01-03")), NONE), daily())
    assert len(asked.server.calls) == 3
    assert isinstance(asked.meter.attempts[0].error, RateLimited)


def test_a_server_error_is_asked_again() -> None:
    asked = ask(in_order(Reply("bad gateway", 502), listed(day("2023-01-03")), NONE), daily())
    assert isinstance(asked.meter.attempts[0].error, VendorUnavailable)
    assert asked.meter.weights == [1, 1, 1]


@pytest.mark.parametrize(
    ("reply", "says"),
    [
        (Reply("<html><body>maintenance</body></html>", headers={"Content-Type": "text/html"}), "no JSON .text/html"),
        (Reply('[{"symbol":"AAPL","date":"2023-01-03","open":NaN}]'), "no JSON"),
        (Reply("{}"), "Expected `array`"),
        (Reply('{"Error Message": "something new"}'), "something new"),
        (Reply('{"historical": []}'), "Expected `array`"),
        (listed({"symbol": "AAPL", "date": "2023-01-03"}), "open"),
        (listed(day("2023-01-03", close="a lot")), r"\[0\]\.close"),
        (listed(day("2023-01-03", None)), "row 1: open is None"),
        (listed(day("2023-01-03", high="NaN")), "row 1: high is nan"),
        (listed(day("03/01/2023")), "'03/01/2023' is no date"),
        (listed(day("2023-01-03"), day("2023-01-04", symbol="MSFT")), "asked for AAPL, answered with MSFT"),
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
    echo = Reply(json.dumps({"Error Message": f"Invalid API KEY {KEY}"}), 401)
    errors = [fail(echo), fail(Reply(f"<p>{KEY}</p>")), fail(Reply(f"no {KEY}", 418)), fail(Reply(LIMIT, 429))]
    ask(in_order(listed(day("2023-01-03")), NONE), daily())
    shown = [repr(e) + str(e) + repr(e.__cause__) + repr(e.__context__) for e in errors]
    assert all(KEY not in text for text in [*shown, caplog.text])
    assert "***" in str(errors[0])


# --- the whole market -------------------------------------------------------------------------------------------------

HEADER = '"symbol","date","open","low","high","close","adjClose","volume"'


def bulk(*lines: str, header: str = HEADER) -> Reply:
    return Reply("\r\n".join([header, *lines]) + "\r\n", headers={"Content-Type": "text/csv"})


def grouped(reply: Reply, on: date = date(2026, 11, 19)) -> Any:
    asked = ask(in_order(reply), lambda vendor: vendor.grouped_bars(on))
    (call,) = asked.server.calls
    assert (call.path, call.query) == ("/eod-bulk", {"date": on.isoformat(), "apikey": KEY})
    return asked.value


def test_the_market_is_read_by_the_names_of_its_columns_and_without_foreign_listings() -> None:
    answer = grouped(
        bulk(
            '"AAPL","2026-11-19","10","8","12","11","11","1000"',
            '"BRK-B","2026-11-19","20.5","18","22","21","21",""',
            '"EGS745W1C011.CA","2026-11-19","2.67","2.7","2.67","2.7","2.7","5"',
            '"NOPE","2026-11-19","","8","12","11","11","1000"',
            '"OLD","2026-11-18","10","8","12","11","11","1000"',
            '"SHORT","2026-11-19"',
            '"MSFT","2026-11-19","30","28","32","31","31","3000"',
        )
    )
    assert (answer.basis, answer.basis_date, answer.learned_at) == (Basis.SPLIT, date(2026, 11, 20), NOW)
    bars = answer.bars
    assert bars.symbols == ("AAPL", "BRK.B", "MSFT")
    assert bars.session.tolist() == [date(2026, 11, 19)] * 3
    assert (bars.open.tolist(), bars.high.tolist()) == ([10.0, 20.5, 30.0], [12.0, 22.0, 32.0])
    assert (bars.low.tolist(), bars.close.tolist()) == ([8.0, 18.0, 28.0], [11.0, 21.0, 31.0])
    assert (bars.volume[0], np.isnan(bars.volume[1])) == (1000.0, True)
    assert [(r.symbol, r.reason) for r in answer.unreadable] == [
        ("NOPE", "wrong_type"),
        ("OLD", "bad_date"),
        (None, "unreadable_row"),
    ]
    assert answer.unreadable[0].payload["close"] == "11"


@pytest.mark.parametrize("reply", [bulk(), Reply("[]"), Reply("")])
def test_a_day_without_trade_is_an_empty_market(reply: Reply) -> None:
    assert len(grouped(reply).bars) == 0


def test_a_session_that_has_not_closed_has_no_market_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QM_NOW", "2026-11-19T20:00:00Z")
    assert len(grouped(bulk('"AAPL","2026-11-19","10","8","12","11","11","1000"')).bars) == 0


@pytest.mark.parametrize(
    ("reply", "says"),
    [
        (bulk('"AAPL","2026-11-18","10","8","12","11","11","1000"'), "answered with other days' bars"),
        (bulk('"AAPL","2026-11-19","10","8","12","11","11","1000"', '"MSFT","2026-11-1'), "cut off in row 2"),
        (bulk(header='"symbol","date","close"'), "no CSV with open, high, low, volume"),
        (Reply("<html><body>maintenance</body></html>"), "no CSV with symbol"),
        (Reply("x" * 200_000), "no CSV"),
    ],
)
def test_a_market_that_can_not_be_read_is_malformed(reply: Reply, says: str) -> None:
    error = fail(reply, lambda vendor: vendor.grouped_bars(date(2026, 11, 19)))
    assert isinstance(error, MalformedResponse)
    assert says in str(error)


# --- intraday ---------------------------------------------------------------------------------------------------------


def test_intraday_bars_open_at_instants_and_end_before_the_end() -> None:
    rows = [candle(f"2026-11-19 09:{minute}:00", float(minute)) for minute in (40, 35, 30, 25)]
    asked = ask(in_order(listed(*rows)), intraday("2026-11-19T14:30:00+00:00", "2026-11-19T14:40:00+00:00"))
    (call,) = asked.server.calls
    assert call.path == "/historical-chart/5min"
    assert call.query == {"symbol": "AAPL", "from": "2026-11-19", "to": "2026-11-19", "apikey": KEY}
    answer = asked.value
    assert answer.opened_at.tolist() == [datetime(2026, 11, 19, 14, 30), datetime(2026, 11, 19, 14, 35)]  # noqa: DTZ001
    assert answer.open.tolist() == [30.0, 35.0]
    assert (answer.high.tolist(), answer.low.tolist()) == ([30.0, 30.0], [5.0, 5.0])
    assert (answer.close.tolist(), answer.volume.tolist()) == ([12.0, 12.0], [1000.0, 1000.0])
    assert (answer.symbol, answer.interval, answer.basis, answer.basis_date) == (
        "AAPL",
        "5m",
        Basis.SPLIT,
        date(2026, 11, 20),
    )


def test_wall_times_are_right_on_both_sides_of_summer_time() -> None:
    rows = listed(candle("2026-03-09 09:30:00"), candle("2026-03-06 09:30:00"))
    answer = ask(in_order(rows), intraday("2026-03-06T09:30:00-05:00", "2026-03-09T09:31:00-04:00", "1m")).value
    assert answer.opened_at.tolist() == [datetime(2026, 3, 6, 14, 30), datetime(2026, 3, 9, 13, 30)]  # noqa: DTZ001


def test_a_bar_that_had_not_closed_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QM_NOW", "2026-11-19T14:39:59Z")
    rows = [candle("2026-11-19 09:35:00"), candle("2026-11-19 09:30:00")]
    asked = ask(in_order(listed(*rows)), intraday("2026-11-19T14:30:00+00:00", "2026-11-19T21:00:00+00:00"))
    assert asked.value.opened_at.tolist() == [datetime(2026, 11, 19, 14, 30)]  # noqa: DTZ001


def test_a_long_stretch_that_comes_cut_off_is_asked_for_on_to_its_beginning() -> None:
    asked = ask(in_order(*case("paged")), intraday("2026-11-16T14:30:00+00:00", "2026-11-19T21:00:00+00:00"))
    assert [(c.query["from"], c.query["to"]) for c in asked.server.calls] == [
        ("2026-11-16", "2026-11-19"),
        ("2026-11-16", "2026-11-19"),
        ("2026-11-16", "2026-11-17"),
    ]
    assert asked.value.open.tolist() == [18.0, 19.0, 20.0, 21.0]
    assert np.all(np.diff(asked.value.opened_at) > np.timedelta64(0, "s"))


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (NONE, SymbolNotFound),
        (listed(candle("2026-11-19 09:30:00", None)), MalformedResponse),
        (listed(candle("yesterday")), MalformedResponse),
        (Reply("<html></html>"), MalformedResponse),
        (NOT_IN_PLAN, UnsupportedRequest),
    ],
)
def test_intraday_bars_that_are_none_are_typed_errors(reply: Reply, error: type[VendorError]) -> None:
    assert type(fail(reply, intraday("2026-11-19T14:30:00+00:00", "2026-11-19T14:40:00+00:00"))) is error


# --- splits and dividends ---------------------------------------------------------------------------------------------


def test_splits_of_the_days_asked_for_are_read_and_one_listed_twice_counts_once() -> None:
    body = listed(split("2020-08-31"), split("2020-08-31"), split("2014-06-09", 7), split("2005-02-28", 2))
    asked = ask(in_order(body), lambda v: v.splits("AAPL", date(2014, 1, 1), date(2020, 12, 31)))
    assert [c.query["limit"] for c in asked.server.calls] == ["5"]
    assert asked.value.splits == (
        Split("AAPL", date(2020, 8, 31), Fraction(4)),
        Split("AAPL", date(2014, 6, 9), Fraction(7)),
    )


def test_dividends_are_those_of_their_time() -> None:
    body = listed(dividend("2020-08-07", 0.82), dividend("2020-05-08", 0.82), dividend("2020-02-07", 0.77))
    asked = ask(in_order(body), lambda v: v.dividends("AAPL", date(2020, 3, 1), date(2020, 8, 7)))
    (call,) = asked.server.calls
    assert (call.path, call.query) == ("/dividends", {"symbol": "AAPL", "limit": "5", "apikey": KEY})
    assert asked.value.dividends == (
        Dividend("AAPL", date(2020, 8, 7), 0.82, "USD"),
        Dividend("AAPL", date(2020, 5, 8), 0.82, "USD"),
    )


def test_older_dividends_than_the_newest_few_need_the_whole_list() -> None:
    few = [dividend(f"2020-0{month}-07", 0.1) for month in (5, 4, 3, 2, 1)]
    asked = ask(
        in_order(listed(*few), listed(*few, dividend("2019-12-06", 0.2))),
        lambda v: v.dividends("AAPL", date(2019, 12, 1), date(2019, 12, 31)),
    )
    assert [c.query["limit"] for c in asked.server.calls] == ["5", "1000"]
    assert [d.amount for d in asked.value.dividends] == [0.2]


@pytest.mark.parametrize(
    ("days", "first", "surely"),
    [
        ([], "2020-01-01", True),
        (["2020-02-01"], "2010-01-01", True),
        (["2020-05-01", "2020-04-01", "2020-03-01", "2020-02-01", "2020-01-01"], "2020-01-02", True),
        (["2020-05-01", "2020-04-01", "2020-03-01", "2020-02-01", "2020-01-01"], "2020-01-01", False),
        (["2020-01-01", "2020-02-01", "2020-03-01", "2020-04-01", "2020-05-01"], "2020-06-01", False),
    ],
)
def test_the_newest_few_are_all_only_where_that_is_certain(days: list[str], first: str, surely: bool) -> None:
    assert fmp.reaches_back([date.fromisoformat(d) for d in days], date.fromisoformat(first)) is surely


@pytest.mark.parametrize(
    ("capability", "row"),
    [
        ("splits", split("2020-08-31", 0)),
        ("splits", split("2020-08-31", symbol="MSFT")),
        ("splits", split("31.8.2020")),
        ("dividends", dividend("2020-08-07", -0.82)),
        ("dividends", dividend("2020-08-07", 0.82, "MSFT")),
    ],
)
def test_an_action_that_is_none_or_another_symbols_is_malformed(capability: str, row: dict[str, Any]) -> None:
    question: Any = lambda v: getattr(v, capability)("AAPL", date(2020, 1, 1), date(2020, 12, 31))  # noqa: E731
    error = fail(listed(row), question)
    assert isinstance(error, MalformedResponse)
    assert error.symbol == "AAPL"


def test_splits_of_a_whole_market_are_not_offered() -> None:
    with pytest.raises(UnsupportedRequest, match="whole market"):
        ask(in_order(NONE), lambda v: v.splits(None, date(2020, 1, 1), date(2020, 12, 31)))


# --- quotes, profiles, members ----------------------------------------------------------------------------------------


def test_a_quote_is_read_with_what_the_company_is_worth() -> None:
    row = {"symbol": "AAPL", "name": "Apple Inc.", "price": 232.8, "changePercentage": 2.1, "volume": 44489128}
    row |= {"dayLow": 226.65, "dayHigh": 233.13, "open": 227.2, "previousClose": 228.01, "timestamp": 1738702801}
    asked = ask(in_order(listed(row | {"marketCap": 3500823120000})), lambda v: v.quotes(["AAPL"]))
    (call,) = asked.server.calls
    assert (call.path, call.query) == ("/quote", {"symbol": "AAPL", "apikey": KEY})
    assert asked.value == [
        Quote(
            "fmp",
            "AAPL",
            232.8,
            datetime(2025, 2, 4, 21, 0, 1, tzinfo=UTC),
            NOW,
            open=227.2,
            high=233.13,
            low=226.65,
            previous_close=228.01,
            volume=44489128.0,
            market_cap=3500823120000.0,
        )
    ]


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (NONE, SymbolNotFound),
        (listed({"symbol": "MSFT", "price": 1.0, "timestamp": 1738702801}), MalformedResponse),
        (listed({"symbol": "AAPL", "price": None, "timestamp": 1738702801}), MalformedResponse),
        (listed({"symbol": "AAPL", "price": 1.0, "timestamp": 1738702801000}), MalformedResponse),
        (listed({"symbol": "AAPL", "price": 1.0}), MalformedResponse),
        (SYMBOL_NOT_IN_PLAN, UnsupportedRequest),
    ],
)
def test_a_quote_that_is_none_is_a_typed_error(reply: Reply, error: type[VendorError]) -> None:
    assert type(fail(reply, lambda v: v.quotes(["AAPL"]))) is error


def test_a_profile_is_read() -> None:
    row = {"symbol": "AAPL", "companyName": "Apple Inc.", "exchangeFullName": "NASDAQ Global Select", "currency": "USD"}
    row |= {"exchange": "NASDAQ", "industry": "Consumer Electronics", "sector": "Technology"}
    asked = ask(in_order(listed(row | {"marketCap": 3500823120000, "isEtf": False})), lambda v: v.profile("AAPL"))
    assert asked.server.calls[0].path == "/profile"
    assert asked.value == Profile(
        "fmp",
        "AAPL",
        NOW,
        name="Apple Inc.",
        exchange="NASDAQ",
        sector="Technology",
        industry="Consumer Electronics",
        market_cap=3500823120000.0,
        currency="USD",
    )


def test_a_profile_of_nobody_is_not_found_and_of_another_refused() -> None:
    assert isinstance(fail(NONE, lambda v: v.profile("AAPL")), SymbolNotFound)
    assert isinstance(fail(listed({"symbol": "MSFT"}), lambda v: v.profile("AAPL")), MalformedResponse)


def members(count: int, *more: dict[str, Any]) -> Reply:
    names = [a + b for a in ascii_uppercase for b in ascii_uppercase][:count]
    row = {"sector": "Industrials", "subSector": "Building Products", "headQuarter": "", "dateFirstAdded": None}
    return listed(*({"symbol": n, "name": f"{n} Inc.", **row, "cik": "1", "founded": "1900"} for n in names), *more)


@pytest.mark.parametrize(
    ("index", "path", "count"),
    [
        ("SP500", "/sp500-constituent", 503),
        ("NASDAQ100", "/nasdaq-constituent", 101),
        ("DOW30", "/dowjones-constituent", 30),
    ],
)
def test_members_are_those_of_today(index: str, path: str, count: int) -> None:
    reply = members(count - 1, {"symbol": "BRK-B", "name": "Berkshire Hathaway"})
    asked = ask(in_order(reply), lambda v: v.constituents(index, date(2020, 1, 2)))
    assert [c.path for c in asked.server.calls] == [path]
    answer = asked.value
    assert (answer.vendor, answer.index, answer.as_of_date) == ("fmp", index, date(2026, 11, 20))
    assert len(answer.members) == count
    assert answer.members[0] == Member("AA", "AA Inc.", "Industrials", None, "Building Products")
    assert answer.members[-1] == Member("BRK.B", "Berkshire Hathaway")


@pytest.mark.parametrize(
    ("reply", "says"),
    [
        (members(29), "29 members, fewer than 30"),
        (members(30, {"symbol": "AA"}), "'AA' stands twice"),
        (members(30, {"symbol": ""}), "row 31: '' is no symbol"),
        (NONE, "0 members"),
    ],
)
def test_members_that_can_not_be_the_index_are_malformed(reply: Reply, says: str) -> None:
    error = fail(reply, lambda v: v.constituents("DOW30", date(2026, 11, 20)))
    assert isinstance(error, MalformedResponse)
    assert says in str(error)


def test_an_index_that_it_does_not_have_costs_no_call_and_says_nothing_of_the_others() -> None:
    with replay(in_order(NONE)) as server:
        vendor = fmp.connect(Access(server.url, SecretStr(KEY), Recording()))
        with pytest.raises(UnsupportedRequest, match="SP500, NASDAQ100, DOW30") as caught:
            asyncio.run(vendor.constituents("R2000", date(2026, 11, 20)))
    assert caught.value.symbol == "R2000"
    assert server.calls == []


# --- anything wrong anywhere ------------------------------------------------------------------------------------------

_DAYS = BarRequest("AAPL", np.array(["2023-01-03"], "datetime64[D]"))
_HOUR = IntradayRequest("AAPL", "5m", datetime(2026, 11, 19, 14, tzinfo=UTC), datetime(2026, 11, 19, 15, tzinfo=UTC))
_DAILY = fmp.daily_query(_DAYS, NOW)
_INTRADAY = fmp.intraday_query(_HOUR, date(2026, 11, 19), date(2026, 11, 19), NOW)


def _read_daily(answer: Answer) -> None:
    read = fmp_answers.read_daily(_DAILY, answer)
    found = as_traded("fmp", _DAYS, read.batch, (), read.learned_at).bars
    assert all(np.isfinite(column).all() for column in (found.open, found.high, found.low, found.close))


def _read_intraday(answer: Answer) -> None:
    found = fmp_answers.serve_intraday(_HOUR, [fmp_answers.read_intraday(_INTRADAY, answer)])
    assert all(np.isfinite(column).all() for column in (found.open, found.high, found.low, found.close))


_QUOTE = {"symbol": "AAPL", "price": 232.8, "timestamp": 1738702801, "marketCap": 5, "volume": 4}


@pytest.mark.parametrize(
    ("body", "read"),
    [
        ([day("2023-01-03"), day("2022-12-30")], _read_daily),
        ([candle("2026-11-19 09:35:00"), candle("2026-11-19 09:30:00")], _read_intraday),
        ([split("2020-08-31")], lambda a: fmp_answers.read_splits(_DAILY, a)),
        ([dividend("2020-08-07", 0.82)], lambda a: fmp_answers.read_dividends(_DAILY, a)),
        ([_QUOTE], lambda a: fmp_answers.read_quote(fmp.quote_query("AAPL"), a)),
        (
            [{"symbol": "AAPL", "companyName": "Apple"}],
            lambda a: fmp_answers.read_profile(fmp.profile_query("AAPL"), a),
        ),
    ],
)
def test_an_answer_with_anything_wrong_is_read_or_refused_typed(body: Any, read: Callable[[Answer], Any]) -> None:
    outcomes: Counter[str] = Counter()
    for content in spoiled(body):
        try:
            read(Answer(200, {}, content, NOW))
        except VendorError:
            outcomes["refused"] += 1
        else:
            outcomes["read"] += 1
    assert outcomes["refused"] > 50
    assert outcomes["read"] > 0


# --- what it offers ---------------------------------------------------------------------------------------------------


def test_a_plan_with_fewer_days_limits_bars_and_whole_markets_are_of_the_last_days_only() -> None:
    offers = fmp.connect(Access("http://127.0.0.1:9", SecretStr(KEY), Recording(), reach_days=1825)).offers
    assert (offers[Capability.DAILY_BARS].reach_days, offers[Capability.BARS_1M].reach_days) == (1825, 1825)
    assert offers[Capability.GROUPED_BARS].reach_days == 7
    assert offers[Capability.DAILY_BARS].cost(1) == 2
    assert Capability.OPTIONS_CHAIN not in offers
