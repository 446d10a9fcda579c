"""CryptoCompare over a real HTTP server: bars in its documented shape, refusals as others have met them."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
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
from quantmatrix_pipeline.providers.answers import DailyAnswer, IntradayBars
from quantmatrix_pipeline.providers.contract import BarRequest, Capability, IntradayRequest
from quantmatrix_pipeline.providers.transport.answers_kept import KeptAnswers
from quantmatrix_pipeline.providers.transport.vendor import Access
from quantmatrix_pipeline.providers.vendors import cryptocompare
from quantmatrix_pipeline_tests.shared_data import shared_data
from quantmatrix_pipeline_tests.unit.providers.vendors.asking import Asking
from quantmatrix_pipeline_tests.unit.providers.vendors.cases import Case, Provenance
from quantmatrix_pipeline_tests.unit.providers.vendors.metering import Recording
from quantmatrix_pipeline_tests.unit.providers.vendors.replay import Call, Reply, in_order

NOW = datetime(2026, 11, 21, 10, 0, tzinfo=UTC)
KEY = "cc0k3y0never0to0be0seen"
CRYPTOCOMPARE = Asking(cryptocompare.connect, KEY)
DAY = 86_400


def row(at: datetime, price: float = 100.0, **more: Any) -> dict[str, Any]:
    return {
        "time": int(at.timestamp()),
        "high": price + 2,
        "low": price - 2,
        "open": price,
        "volumefrom": 7.5,
        "volumeto": 750.0,
        "close": price + 1,
        "conversionType": "direct",
        "conversionSymbol": "",
    } | more


def unlisted(at: datetime) -> dict[str, Any]:
    return row(at, open=0, high=0, low=0, close=0, volumefrom=0, volumeto=0)


def bars(*rows: dict[str, Any]) -> Reply:
    data = {"Aggregated": False, "Data": rows}
    if rows:
        data |= {"TimeFrom": rows[0]["time"], "TimeTo": rows[-1]["time"]}
    body = {"Response": "Success", "Message": "", "HasWarning": False, "Type": 100, "RateLimit": {}, "Data": data}
    return Reply(json.dumps(body))


def refused(text: str, kind: int = 1, status: int = 200, **more: Any) -> Reply:
    body = {"Response": "Error", "Message": text, "HasWarning": False, "Type": kind, "RateLimit": {}, "Data": {}} | more
    return Reply(json.dumps(body), status)


def over(made: dict[str, int], most: dict[str, int]) -> Reply:
    return refused(OVER, 99, RateLimit={"calls_made": made, "max_calls": most})


NOV_18, NOV_19, NOV_20, NOV_21 = (datetime(2026, 11, day, tzinfo=UTC) for day in (18, 19, 20, 21))
OVER = "You are over your rate limit please upgrade your account!"
MOST = {"second": 20, "minute": 300, "hour": 3000, "day": 10000, "month": 75000}
EMPTY = bars()
BEFORE = bars(unlisted(NOV_18), unlisted(NOV_19))
UNKNOWN = refused("There is no data for the symbol NOSUCH .", 2, ParamWithError="fsym")
NO_PAIR = refused("CCCAGG market does not exist for this coin pair (NOSUCH-USD)", 2)
LIMITED = over({"second": 5, "minute": 301, "hour": 955, "day": 1004, "month": 15146}, MOST)
COOLING = refused(OVER, 99, Cooldown=406)
USED_UP = over({"second": 5, "minute": 5, "hour": 955, "day": 10004, "month": 15146}, MOST)
MONTH_USED_UP = over({"second": 5, "minute": 5, "hour": 955, "day": 104, "month": 75001}, MOST)
BAD_KEY = refused("You need a valid auth key or api key to access this endpoint")
NO_KEY = Reply('{"message":"This API has moved, an API key of CoinDesk Data is required."}', 401)
PLAN = refused("This endpoint is not part of your subscription.")
FIVES = [row(NOV_18 + timedelta(minutes=5 * n), 100.0 + n) for n in range(500)]
PAGES = (bars(*FIVES[99:]), bars(*FIVES[:99]))
TRUNCATED = Reply(bars(row(NOV_18), row(NOV_19)).body[:-40])

DOCUMENTATION = "its documentation"
QUOTED = "as quoted in public repositories and issue threads"
CASES = (
    Case("cryptocompare", "ok", Provenance.DOCUMENTED, f"shape of {DOCUMENTATION}", (bars(row(NOV_18), row(NOV_19)),)),
    Case("cryptocompare", "paged", Provenance.CONSTRUCTED, "500 bars of five minutes in pages of 401", PAGES),
    Case("cryptocompare", "empty", Provenance.CONSTRUCTED, "no bars", (EMPTY,)),
    Case("cryptocompare", "before the listing", Provenance.DOCUMENTED, f"zeros, {DOCUMENTATION}", (BEFORE,)),
    Case("cryptocompare", "unknown symbol", Provenance.DOCUMENTED, QUOTED, (UNKNOWN,)),
    Case("cryptocompare", "unknown pair", Provenance.DOCUMENTED, QUOTED, (NO_PAIR,)),
    Case("cryptocompare", "rate limited", Provenance.DOCUMENTED, QUOTED, (LIMITED,)),
    Case("cryptocompare", "cooling down", Provenance.DOCUMENTED, QUOTED, (COOLING,)),
    Case("cryptocompare", "day used up", Provenance.DOCUMENTED, QUOTED, (USED_UP,)),
    Case("cryptocompare", "bad key", Provenance.DOCUMENTED, QUOTED, (BAD_KEY,)),
    Case(
        "cryptocompare", "no key", Provenance.CONSTRUCTED, "401 is documented in threads, its text is ours", (NO_KEY,)
    ),
    Case("cryptocompare", "premium only", Provenance.CONSTRUCTED, "no text is known", (PLAN,)),
    Case("cryptocompare", "error in a 200", Provenance.DOCUMENTED, "each of its refusals is one", (BAD_KEY,)),
    Case("cryptocompare", "truncated", Provenance.CONSTRUCTED, "two days, cut off", (TRUNCATED,)),
)


@pytest.fixture(autouse=True)
def _now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QM_NOW", NOW.isoformat())


def case(situation: str) -> tuple[Reply, ...]:
    (found,) = [c for c in CASES if c.situation == situation]
    return found.replies


def daily(symbol: str = "BTC-USD", sessions: Sequence[str] = ("2026-11-18", "2026-11-19")) -> Callable[..., Any]:
    request = BarRequest(symbol, np.array(sessions, "datetime64[D]"))
    return lambda vendor: vendor.daily_bars([request])


def intraday(interval: str, start: datetime, end: datetime) -> Callable[..., Any]:
    request = IntradayRequest("BTC-USD", interval, start, end)
    return lambda vendor: vendor.intraday_bars(request)


def history(at: np.ndarray[Any, Any], step: int, since: int = 0) -> Callable[[Call], Reply]:
    """Serve a history as the vendor does: `limit` bars and one more, up to `toTs`, zeros before `since`."""
    known = set(at.tolist())

    def serve(call: Call) -> Reply:
        last, count = int(call.query["toTs"]), int(call.query["limit"]) + 1
        asked = [last - step * n for n in range(count - 1, -1, -1)]
        times = [datetime.fromtimestamp(t, UTC) for t in asked if t in known or t < since]
        return bars(*(unlisted(t) if t.timestamp() < since else row(t, t.timestamp() / 1e6) for t in times))

    return serve


# --- days -------------------------------------------------------------------------------------------------------------


def test_a_day_of_coins_is_one_of_utc_weekends_included_and_only_once_it_has_ended() -> None:
    rows = [row(datetime(2026, 11, day, tzinfo=UTC), 100.0 + day) for day in range(14, 22)]
    sessions = ["2026-11-14", "2026-11-15", "2026-11-20", "2026-11-21"]  # a Saturday, a Sunday, yesterday, today
    found = CRYPTOCOMPARE.ask(in_order(bars(*rows)), daily(sessions=sessions))
    answer: DailyAnswer = found.value
    assert answer.bars.symbols == ("BTC-USD",)
    assert answer.bars.session.tolist() == [date(2026, 11, 14), date(2026, 11, 15), date(2026, 11, 20)]
    assert answer.bars.open.tolist() == [114.0, 115.0, 120.0]
    assert answer.bars.high.tolist() == [116.0, 117.0, 122.0]
    assert answer.bars.low.tolist() == [112.0, 113.0, 118.0]
    assert answer.bars.close.tolist() == [115.0, 116.0, 121.0]
    assert answer.bars.volume.tolist() == [7.5, 7.5, 7.5]  # in coins, not in dollars
    assert (answer.vendor, answer.basis, answer.basis_date) == ("cryptocompare", Basis.RAW, None)
    assert (answer.learned_at, answer.silent) == (NOW, ())
    assert found.call.path == "/data/v2/histoday"
    assert found.call.query == {
        "fsym": "BTC",
        "tsym": "USD",
        "tryConversion": "false",
        "limit": "7",
        "toTs": "1795219200",
    }
    assert found.call.headers["authorization"] == f"Apikey {KEY}"
    (timed,) = found.meter.attempts
    assert (timed.capability, timed.endpoint) == (Capability.CRYPTO_DAILY, "data/v2/histoday")


def test_one_day_is_asked_for_with_the_least_limit_and_the_one_before_dropped() -> None:
    found = CRYPTOCOMPARE.ask(in_order(bars(row(NOV_18), row(NOV_19, 200.0))), daily(sessions=["2026-11-19"]))
    assert found.call.query["limit"] == "1"
    assert found.value.bars.open.tolist() == [200.0]


def test_zeros_before_the_first_trade_are_no_prices() -> None:
    answer = CRYPTOCOMPARE.ask(in_order(bars(unlisted(NOV_18), row(NOV_19))), daily()).value
    assert answer.bars.session.tolist() == [date(2026, 11, 19)]
    for nothing in (*case("before the listing"), *case("empty")):
        answer = CRYPTOCOMPARE.ask(in_order(nothing), daily()).value
        assert (len(answer.bars), answer.silent) == (0, ("BTC-USD",))


def test_a_long_history_is_asked_for_from_its_end_until_the_first_trade() -> None:
    days = np.arange("2010-01-01", "2026-11-20", dtype="datetime64[D]")
    at = days.astype("datetime64[s]").astype(np.int64)
    listed = int(np.flatnonzero(days == np.datetime64("2019-07-01"))[0])
    sessions = [str(day) for day in days]
    found = CRYPTOCOMPARE.ask(history(at, DAY, int(at[listed])), daily(sessions=sessions))
    assert found.value.bars.session.tolist() == days[listed:].tolist()
    assert np.array_equal(found.value.bars.open, at[listed:] / 1e6)
    assert [call.query["limit"] for call in found.server.calls] == ["2000", "2000"]  # of four that it would be
    assert [int(call.query["toTs"]) for call in found.server.calls] == [int(at[-1]), int(at[-1]) - 2001 * DAY]


@pytest.mark.parametrize(("days", "limits"), [(2001, ["2000"]), (2002, ["2000", "1"]), (2003, ["2000", "1"])])
def test_the_last_page_brings_what_is_left_even_if_that_is_one_day(days: int, limits: list[str]) -> None:
    wanted = np.arange(np.datetime64("2026-11-20") - days, np.datetime64("2026-11-20"))
    at = np.arange("2015-01-01", "2026-11-21", dtype="datetime64[D]").astype("datetime64[s]").astype(np.int64)
    found = CRYPTOCOMPARE.ask(history(at, DAY), daily(sessions=[str(day) for day in wanted]))
    assert [call.query["limit"] for call in found.server.calls] == limits
    assert found.value.bars.session.tolist() == wanted.tolist()


def test_days_are_kept_until_the_next_one_and_a_range_that_goes_on_is_not() -> None:
    kept = KeptAnswers()
    first = CRYPTOCOMPARE.ask(in_order(*case("ok")), daily(), kept=kept)
    again = CRYPTOCOMPARE.ask(in_order(EMPTY), daily(), kept=kept, at=first.server)
    assert (again.server.calls, len(again.value.bars)) == ([], 2)
    for end, keep in ((NOV_21, 14 * 3600.0), (NOV_21 + timedelta(days=1), 0.0)):
        calls = cryptocompare.intraday_queries(IntradayRequest("BTC-USD", "1m", NOV_20, end), NOW)
        assert {call.keep_seconds for call in calls} == {keep}


def test_it_is_asked_for_pairs_only() -> None:
    assert CRYPTOCOMPARE.ask(in_order(EMPTY), daily("ETH-EUR")).call.query["tsym"] == "EUR"
    error = CRYPTOCOMPARE.fail(daily("AAPL"), EMPTY, calls=0)
    assert isinstance(error, UnsupportedRequest)
    assert error.symbol == "AAPL"


# --- minutes ----------------------------------------------------------------------------------------------------------


def test_real_minutes_come_back_whole_over_their_pages() -> None:
    real = pd.read_parquet(shared_data("crypto", "binance_5m.parquet")).query("symbol == 'BTCUSDT'")
    opened = pd.to_datetime(real["ts"]).dt.tz_convert(None).to_numpy().astype("datetime64[s]")[:1500]
    at = opened.astype(np.int64)
    columns = real[["open", "high", "low", "close", "volume"]].to_numpy(np.float64)[:1500]

    def serve(call: Call) -> Reply:
        assert call.query["aggregate"] == "5"
        last, count = int(call.query["toTs"]), int(call.query["limit"]) + 1
        taken = np.flatnonzero((at <= last) & (at > last - 300 * count))
        names = ("open", "high", "low", "close", "volumefrom")
        return bars(*({"time": int(at[k])} | dict(zip(names, columns[k].tolist(), strict=True)) for k in taken))

    start, end = opened[0].item().replace(tzinfo=UTC), opened[-1].item().replace(tzinfo=UTC) + timedelta(minutes=5)
    found = CRYPTOCOMPARE.ask(serve, intraday("5m", start, end))
    bars_: IntradayBars = found.value
    assert np.array_equal(bars_.opened_at, opened)
    got = np.stack([bars_.open, bars_.high, bars_.low, bars_.close, bars_.volume], axis=1)
    assert np.array_equal(got, columns)
    assert [call.query["limit"] for call in found.server.calls] == ["400", "400", "400", "296"]
    assert (bars_.vendor, bars_.interval, bars_.basis) == ("cryptocompare", "5m", Basis.RAW)


def test_pages_are_put_together_in_the_order_of_time() -> None:
    found = CRYPTOCOMPARE.ask(in_order(*case("paged")), intraday("5m", NOV_18, NOV_18 + timedelta(minutes=2500)))
    assert found.value.open.tolist() == [100.0 + n for n in range(500)]
    first, second = found.server.calls
    assert (first.query["limit"], second.query["limit"]) == ("400", "98")
    assert int(second.query["toTs"]) == int(first.query["toTs"]) - 401 * 300
    assert found.meter.weights == [1, 1]


def test_single_minutes_begin_at_the_start_and_end_before_the_end_and_before_now() -> None:
    start = NOW - timedelta(minutes=4)
    rows = [row(NOW + timedelta(minutes=n), 100.0 + n) for n in range(-5, 1)]
    found = CRYPTOCOMPARE.ask(in_order(bars(*rows)), intraday("1m", start, NOW + timedelta(minutes=1)))
    assert found.value.opened_at.tolist() == [
        at.replace(tzinfo=None) for at in (start + timedelta(minutes=n) for n in range(4))
    ]
    assert found.value.open.tolist() == [96.0, 97.0, 98.0, 99.0]
    assert found.call.path == "/data/v2/histominute"
    assert found.call.query == {
        "fsym": "BTC",
        "tsym": "USD",
        "tryConversion": "false",
        "limit": "4",
        "toTs": str(int(NOW.timestamp())),
    }


def test_minutes_are_utc_through_the_hours_that_clocks_elsewhere_skip_or_repeat() -> None:
    for night in (
        datetime(2026, 3, 8, 4, tzinfo=UTC),
        datetime(2026, 11, 1, 4, tzinfo=UTC),
    ):  # New York turns its clocks
        hours = [night + timedelta(minutes=5 * n) for n in range(48)]
        found = CRYPTOCOMPARE.ask(in_order(bars(*map(row, hours))), intraday("5m", night, night + timedelta(hours=4)))
        assert found.value.opened_at.tolist() == [at.replace(tzinfo=None) for at in hours]


def test_minutes_reach_back_a_week_or_as_far_as_the_plan() -> None:
    for plan, days in ((None, 7), (365, 7), (2, 2)):
        vendor = cryptocompare.connect(Access("http://127.0.0.1:9", SecretStr(KEY), Recording(), reach_days=plan))
        assert vendor.offers[Capability.CRYPTO_1M].reach_days == days
        assert vendor.offers[Capability.CRYPTO_5M].reach_days == days
        assert vendor.offers[Capability.CRYPTO_DAILY].reach_days == plan


# --- what goes wrong --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("situation", "error", "says"),
    [
        ("unknown symbol", SymbolNotFound, "no data for the symbol"),
        ("unknown pair", SymbolNotFound, "does not exist for this coin pair"),
        ("rate limited", RateLimited, "over your rate limit"),
        ("cooling down", RateLimited, "over your rate limit"),
        ("day used up", QuotaExhausted, "over your rate limit"),
        ("bad key", AuthFailed, "CRYPTOCOMPARE_API_KEY"),
        ("no key", AuthFailed, "CRYPTOCOMPARE_API_KEY"),
        ("premium only", UnsupportedRequest, "subscription"),
        ("error in a 200", AuthFailed, "valid auth key"),
        ("truncated", MalformedResponse, "no JSON"),
    ],
)
def test_every_refusal_is_a_typed_error_after_one_call(situation: str, error: type[VendorError], says: str) -> None:
    for question in (daily(), intraday("1m", NOV_20, NOV_21)):
        found = CRYPTOCOMPARE.fail(question, *case(situation))
        assert isinstance(found, error)
        assert says in str(found)


def test_a_month_that_is_used_up_is_no_matter_of_minutes() -> None:
    assert isinstance(CRYPTOCOMPARE.fail(daily(), MONTH_USED_UP), QuotaExhausted)


@pytest.mark.parametrize(
    ("reply", "seconds"),
    [
        (COOLING, 406.0),
        (LIMITED, None),
        (Reply(refused(OVER, 99).body, 429, {"Retry-After": "3600"}), 3600.0),
        (Reply("", 429), None),
    ],
)
def test_a_limit_says_how_long_it_lasts_as_far_as_the_vendor_does(reply: Reply, seconds: float | None) -> None:
    error = CRYPTOCOMPARE.fail(daily(), reply)
    assert isinstance(error, RateLimited)
    assert error.retry_after == seconds


def test_a_pause_that_the_vendor_names_is_kept_and_then_it_answers() -> None:
    found = CRYPTOCOMPARE.ask(in_order(refused(OVER, 99, Cooldown=0), *case("ok")), daily())
    assert len(found.value.bars) == 2
    assert found.meter.weights == [1, 1]


def test_a_server_error_is_asked_again() -> None:
    found = CRYPTOCOMPARE.ask(in_order(refused("internal error", 500, 500), *case("ok")), daily())
    assert isinstance(found.meter.attempts[0].error, VendorUnavailable)
    assert len(found.value.bars) == 2


@pytest.mark.parametrize(
    ("reply", "says"),
    [
        (Reply("<html><body>maintenance</body></html>", headers={"Content-Type": "text/html"}), "no JSON (text/html"),
        (Reply('{"Response":"Success","Data":{"Data":[{"time":1794960000,"open":NaN}]}}'), "no JSON"),
        (Reply("[]"), "Expected `object`"),
        (Reply('{"Response":"Success","Data":{}}'), "missing required field `Data`"),
        (Reply('{"Response":"Success","Data":[]}'), "Expected `object`"),
        (bars(row(NOV_18, open="ten")), "open"),
        (bars(row(NOV_18, close=None)), "close"),
        (bars(row(NOV_18), row(NOV_19, high="nan")), "row 2: high is nan"),
        (bars(row(NOV_18, volumefrom="inf")), "row 1: volumefrom is inf"),
        (bars(row(NOV_18, time=1794960000000)), "time"),
        (bars(row(NOV_18), row(NOV_18)), "candle 2 does not begin after"),
        (bars(row(NOV_19), row(NOV_18)), "candle 2 does not begin after"),
        (bars(row(NOV_20)), "up to which was asked"),
        (bars(row(NOV_18 + timedelta(hours=1))), "within a step"),
        (refused("limit is larger than max value.", 2, ParamWithError="limit"), "limit is larger"),
    ],
)
def test_what_can_not_be_read_is_malformed_and_names_the_place(reply: Reply, says: str) -> None:
    error = CRYPTOCOMPARE.fail(daily(), reply)
    assert isinstance(error, MalformedResponse)
    assert error.symbol == "BTC-USD"
    assert says in str(error)


def test_pages_that_repeat_are_refused() -> None:
    repeated = CRYPTOCOMPARE.fail(intraday("5m", NOV_18, NOV_18 + timedelta(minutes=2500)), PAGES[0], calls=2)
    assert isinstance(repeated, MalformedResponse)
    sessions = [str(day) for day in np.arange("2012-01-01", "2026-11-20", dtype="datetime64[D]")]
    same = bars(*(row(datetime(2017, 1, 1, tzinfo=UTC) + timedelta(days=n)) for n in range(10)))
    error = CRYPTOCOMPARE.fail(daily(sessions=sessions), same, calls=3)
    assert isinstance(error, MalformedResponse)


def test_the_key_is_in_no_message_and_in_no_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    replies = [refused(f"your api key {KEY} is wrong"), Reply(f"<p>{KEY}</p>"), Reply(f"no {KEY}", 418), LIMITED]
    errors = [CRYPTOCOMPARE.fail(daily(), reply) for reply in replies]
    CRYPTOCOMPARE.ask(in_order(*case("ok")), daily())
    shown = [repr(e) + str(e) + repr(e.__cause__) + repr(e.__context__) for e in errors]
    assert all(KEY not in text for text in [*shown, caplog.text])
    assert "***" in str(errors[0])
