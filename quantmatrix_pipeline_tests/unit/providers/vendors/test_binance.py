"""Binance over a real HTTP server: recorded candles, a served history of real ones, documented refusals."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest

from quantmatrix_pipeline.bars.batch import Basis
from quantmatrix_pipeline.errors import (
    MalformedResponse,
    RateLimited,
    SymbolNotFound,
    UnsupportedRequest,
    VendorError,
    VendorUnavailable,
)
from quantmatrix_pipeline.providers.answers import IntradayBars, Quote
from quantmatrix_pipeline.providers.contract import BarRequest, Capability, IntradayRequest
from quantmatrix_pipeline.providers.transport.answers_kept import KeptAnswers
from quantmatrix_pipeline.providers.vendors import binance
from quantmatrix_pipeline_tests.shared_data import shared_data
from quantmatrix_pipeline_tests.unit.providers.vendors.asking import Asking
from quantmatrix_pipeline_tests.unit.providers.vendors.cases import Case, Provenance
from quantmatrix_pipeline_tests.unit.providers.vendors.replay import Call, Reply, in_order

NOW = datetime(2026, 11, 21, 10, 0, tzinfo=UTC)
BINANCE = Asking(binance.connect)
RECORDED = "payloads/exchanges/binance_resources_http_responses_http_spot_market_klines.json"
RECORDED_FROM = datetime(2021, 10, 22, 23, 3, tzinfo=UTC)
MINUTE, FIVE, DAY = 60, 300, 86_400


def candle(at: datetime, step: int, price: float = 100.0, **more: Any) -> list[Any]:
    start = int(at.timestamp() * 1000)
    row = {"at": start, "open": price, "high": price + 2, "low": price - 2, "close": price + 1, "volume": 7.5}
    row |= {"last": start + step * 1000 - 1} | more
    texts = [str(v) if isinstance(v, float) else v for v in row.values()]
    return [*texts, "750.0", 12, "3.5", "350.0", "0"]


def candles(*rows: list[Any]) -> Reply:
    return Reply(json.dumps(rows))


def refused(status: int, code: int, text: str, **headers: str) -> Reply:
    return Reply(json.dumps({"code": code, "msg": text}), status, headers)


def ticker(**more: Any) -> Reply:
    body = {
        "symbol": "BTCUSDT",
        "priceChange": "500.00000000",
        "lastPrice": "84500.10000000",
        "prevClosePrice": "84000.00000000",
        "openPrice": "84000.20000000",
        "highPrice": "85000.00000000",
        "lowPrice": "83000.00000000",
        "bidPrice": "84500.00000000",
        "askPrice": "84500.20000000",
        "volume": "12345.50000000",
        "quoteVolume": "1043199750.00000000",
        "openTime": 1795168790000,
        "closeTime": 1795255190123,
        "count": 76,
    } | more
    return Reply(json.dumps(body))


NOV_18, NOV_19, NOV_20, NOV_21 = (datetime(2026, 11, day, tzinfo=UTC) for day in (18, 19, 20, 21))
EMPTY = candles()
UNKNOWN = refused(400, -1121, "Invalid symbol.")
TOO_MUCH = (
    "Too much request weight used; current limit is 6000 request weight per 1 MINUTE. Please use WebSocket Streams for "
    "live updates to avoid polling the API."
)
LIMITED = refused(429, -1003, TOO_MUCH, **{"Retry-After": "3600"})
BANNED = refused(418, -1003, "Way too much request weight used; IP banned until 1795255800000.")
COUNTRY = refused(
    451, 0, "Service unavailable from a restricted location according to 'b. Eligibility' in the terms of use."
)
ERROR_IN_200 = refused(200, -1121, "Invalid symbol.")
TRUNCATED = Reply(candles(candle(NOV_18, DAY), candle(NOV_19, DAY)).body[:-20])
PAGES = (
    candles(*(candle(NOV_18 + timedelta(minutes=n), MINUTE) for n in range(1000))),
    candles(*(candle(NOV_18 + timedelta(minutes=1000 + n), MINUTE, 200.0) for n in range(5))),
)

SHAPE = "rest-api.md of its specification"
CASES = (
    Case("binance", "ok", Provenance.RECORDED, RECORDED),
    Case("binance", "paged", Provenance.CONSTRUCTED, "1,005 minutes in pages of 1,000", PAGES),
    Case("binance", "empty", Provenance.DOCUMENTED, f"no candle in the range, {SHAPE}", (EMPTY,)),
    Case("binance", "unknown symbol", Provenance.DOCUMENTED, f"errors of {SHAPE}", (UNKNOWN,)),
    Case("binance", "rate limited", Provenance.DOCUMENTED, f"errors of {SHAPE}", (LIMITED,)),
    Case("binance", "banned", Provenance.DOCUMENTED, f"errors of {SHAPE}", (BANNED,)),
    Case("binance", "bad key", Provenance.DOCUMENTED, "its market data wants no key"),
    Case("binance", "premium only", Provenance.DOCUMENTED, "its market data has no plans"),
    Case("binance", "not served from here", Provenance.DOCUMENTED, "as quoted in public issue threads", (COUNTRY,)),
    Case("binance", "error in a 200", Provenance.CONSTRUCTED, "the body of a 400 under status 200", (ERROR_IN_200,)),
    Case("binance", "truncated", Provenance.CONSTRUCTED, "two daily candles, cut off", (TRUNCATED,)),
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


def intraday(interval: str, start: datetime, end: datetime, symbol: str = "BTC-USD") -> Callable[..., Any]:
    request = IntradayRequest(symbol, interval, start, end)
    return lambda vendor: vendor.intraday_bars(request)


def quote(symbol: str = "BTC-USD") -> Callable[..., Any]:
    return lambda vendor: vendor.quotes([symbol])


# --- minutes ----------------------------------------------------------------------------------------------------------


def test_the_recorded_minutes_are_read_to_the_last_digit() -> None:
    body = shared_data(*RECORDED.split("/")).read_text()
    end = RECORDED_FROM + timedelta(minutes=10)
    found = BINANCE.ask(in_order(Reply(body)), intraday("1m", RECORDED_FROM, end))
    bars: IntradayBars = found.value
    assert (bars.vendor, bars.symbol, bars.interval, bars.basis) == ("binance", "BTC-USD", "1m", Basis.RAW)
    assert bars.opened_at.tolist() == np.arange("2021-10-22T23:03", "2021-10-22T23:13", dtype="datetime64[m]").tolist()
    first, last = ([float(c[row]) for c in (bars.open, bars.high, bars.low, bars.close, bars.volume)] for row in (0, 9))
    assert first == [60685.22, 60729.84, 60670.9, 60719.27, 21.63272]
    assert last == [60739.85, 60739.85, 60739.85, 60739.85, 0.04734]
    assert bars.learned_at == NOW
    assert found.call.path == "/api/v3/klines"
    assert found.call.query == {
        "symbol": "BTCUSDT",
        "interval": "1m",
        "startTime": "1634943780000",
        "endTime": "1634944379999",
        "limit": "1000",
    }
    assert found.meter.weights == [2]
    (timed,) = found.meter.attempts
    assert (timed.capability, timed.error) == (Capability.CRYPTO_1M, None)


def test_the_candle_that_is_under_way_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QM_NOW", "2021-10-22T23:12:59Z")
    body = shared_data(*RECORDED.split("/")).read_text()
    end = RECORDED_FROM + timedelta(minutes=10)
    bars = BINANCE.ask(in_order(Reply(body)), intraday("1m", RECORDED_FROM, end)).value
    assert bars.opened_at[-1] == np.datetime64("2021-10-22T23:11")
    monkeypatch.setenv("QM_NOW", "2021-10-22T23:13:00Z")
    bars = BINANCE.ask(in_order(Reply(body)), intraday("1m", RECORDED_FROM, end)).value
    assert bars.opened_at[-1] == np.datetime64("2021-10-22T23:12")


def test_a_real_history_of_eleven_days_comes_back_whole_over_its_pages() -> None:
    real = pd.read_parquet(shared_data("crypto", "binance_5m.parquet")).query("symbol == 'BTCUSDT'")
    opened = pd.to_datetime(real["ts"]).dt.tz_convert(None).to_numpy().astype("datetime64[s]")
    columns = real[["open", "high", "low", "close", "volume"]].to_numpy(np.float64)

    def serve(call: Call) -> Reply:
        at = opened.astype(np.int64) * 1000
        inside = (at >= int(call.query["startTime"])) & (at <= int(call.query["endTime"]))
        taken = np.flatnonzero(inside)[: int(call.query["limit"])]
        return Reply(json.dumps([[int(at[k]), *map(str, columns[k]), int(at[k]) + 299_999] for k in taken]))

    start, end = (opened[k].item().replace(tzinfo=UTC) for k in (0, -1))
    found = BINANCE.ask(serve, intraday("5m", start, end))
    assert len(opened) > 3000
    assert np.array_equal(found.value.opened_at, opened[:-1])  # the end is exclusive
    got = np.stack([found.value.open, found.value.high, found.value.low, found.value.close, found.value.volume], axis=1)
    assert np.array_equal(got, columns[:-1])
    assert len(found.server.calls) == -(-(len(opened) - 1) // 1000)
    assert found.meter.weights == [2] * len(found.server.calls)
    assert {call.query["interval"] for call in found.server.calls} == {"5m"}


def test_a_page_that_is_full_is_followed_from_the_minute_after_its_last() -> None:
    found = BINANCE.ask(in_order(*case("paged")), intraday("1m", NOV_18, NOV_18 + timedelta(minutes=2000)))
    assert len(found.value) == 1005
    assert found.value.close[[0, 999, 1000]].tolist() == [101.0, 101.0, 201.0]
    starts = [int(call.query["startTime"]) for call in found.server.calls]
    assert starts == [1794960000000, 1794960000000 + 60_000_000]


def test_a_full_page_that_ends_where_the_question_ends_is_the_last_one() -> None:
    found = BINANCE.ask(in_order(PAGES[0]), intraday("1m", NOV_18, NOV_18 + timedelta(minutes=1000)))
    assert (len(found.value), len(found.server.calls)) == (1000, 1)


def test_pages_that_repeat_are_refused() -> None:
    error = BINANCE.fail(intraday("1m", NOV_18, NOV_18 + timedelta(minutes=2000)), PAGES[0], calls=2)
    assert isinstance(error, MalformedResponse)
    assert "was not asked for" in str(error)


def test_minutes_are_utc_through_the_hours_that_clocks_elsewhere_skip_or_repeat() -> None:
    for night in (datetime(2026, 3, 8, tzinfo=UTC), datetime(2026, 11, 1, tzinfo=UTC)):  # New York turns its clocks
        hours = [night + timedelta(minutes=5 * n) for n in range(12 * 24)]
        found = BINANCE.ask(
            in_order(candles(*(candle(at, FIVE) for at in hours))), intraday("5m", night, night + timedelta(days=1))
        )
        assert found.value.opened_at.tolist() == [at.replace(tzinfo=None) for at in hours]


# --- days -------------------------------------------------------------------------------------------------------------


def test_a_day_of_coins_is_one_of_utc_weekends_included_and_only_once_it_has_ended() -> None:
    sessions = ["2026-11-14", "2026-11-15", "2026-11-20", "2026-11-21"]  # a Saturday, a Sunday, yesterday, today
    rows = [candle(datetime(2026, 11, day, tzinfo=UTC), DAY, 100.0 + day) for day in range(14, 22)]
    found = BINANCE.ask(in_order(candles(*rows)), daily(sessions=sessions))
    answer = found.value
    assert answer.bars.session.tolist() == [date(2026, 11, 14), date(2026, 11, 15), date(2026, 11, 20)]
    assert answer.bars.symbols == ("BTC-USD",)
    assert answer.bars.open.tolist() == [114.0, 115.0, 120.0]
    assert answer.bars.high.tolist() == [116.0, 117.0, 122.0]
    assert answer.bars.low.tolist() == [112.0, 113.0, 118.0]
    assert answer.bars.close.tolist() == [115.0, 116.0, 121.0]
    assert answer.bars.volume.tolist() == [7.5, 7.5, 7.5]
    assert (answer.basis, answer.basis_date, answer.learned_at) == (Basis.RAW, None, NOW)
    assert (answer.silent, dict(answer.failures)) == ((), {})
    assert found.call.query["interval"] == "1d"
    assert (found.call.query["startTime"], found.call.query["endTime"]) == ("1794614400000", "1795219200000")


def test_a_day_without_a_candle_makes_a_known_coin_silent() -> None:
    for reply in (EMPTY, candles(candle(NOV_18, DAY))):
        answer = BINANCE.ask(in_order(reply), daily(sessions=["2026-11-17", "2026-11-19"])).value
        assert (len(answer.bars), answer.silent, answer.bars.symbols) == (0, ("BTC-USD",), ())


def test_dollars_are_quoted_in_usdt_and_euros_in_euros() -> None:
    assert BINANCE.ask(in_order(EMPTY), daily("ETH-USD")).call.query["symbol"] == "ETHUSDT"
    assert BINANCE.ask(in_order(EMPTY), daily("ETH-EUR")).call.query["symbol"] == "ETHEUR"


def test_a_share_is_refused_without_a_call() -> None:
    error = BINANCE.fail(daily("AAPL"), EMPTY, calls=0)
    assert isinstance(error, UnsupportedRequest)
    assert error.symbol == "AAPL"


def test_days_are_kept_until_the_next_one_and_a_range_that_goes_on_is_not() -> None:
    kept = KeptAnswers()
    first = BINANCE.ask(in_order(candles(candle(NOV_18, DAY))), daily(), kept=kept)
    again = BINANCE.ask(in_order(EMPTY), daily(), kept=kept, at=first.server)
    assert (len(first.server.calls), len(again.server.calls)) == (1, 0)
    assert again.value.bars.close.tolist() == [101.0]
    request = binance.daily_query(BarRequest("BTC-USD", np.array(["2026-11-18"], "datetime64[D]")), NOW)
    assert request.keep_seconds == 14 * 3600
    ended = binance.intraday_query(IntradayRequest("BTC-USD", "1m", NOV_20, NOV_21), NOW)
    going_on = binance.intraday_query(IntradayRequest("BTC-USD", "1m", NOV_20, NOV_21 + timedelta(days=1)), NOW)
    assert (ended.keep_seconds, going_on.keep_seconds) == (14 * 3600, 0)


# --- quotes -----------------------------------------------------------------------------------------------------------


def test_a_quote_says_what_the_last_24_hours_were() -> None:
    found = BINANCE.ask(in_order(ticker()), quote())
    assert list(found.value) == [
        Quote(
            "binance",
            "BTC-USD",
            84500.1,
            datetime(2026, 11, 21, 9, 59, 50, 123000, tzinfo=UTC),
            NOW,
            open=84000.2,
            high=85000.0,
            low=83000.0,
            previous_close=84000.0,
            volume=12345.5,
            bid=84500.0,
            ask=84500.2,
            currency="USD",
        )
    ]
    assert (found.call.path, found.call.query) == ("/api/v3/ticker/24hr", {"symbol": "BTCUSDT"})
    assert found.meter.weights == [2]


def test_a_side_of_the_book_that_is_empty_is_not_a_price_of_zero() -> None:
    (found,) = BINANCE.ask(in_order(ticker(bidPrice="0.00000000", askPrice="0.00000000")), quote()).value
    assert (found.bid, found.ask) == (None, None)


def test_a_pair_that_is_not_traded_any_more_has_no_quote() -> None:
    error = BINANCE.fail(quote(), ticker(lastPrice="0.00000000"))
    assert isinstance(error, SymbolNotFound)


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"symbol": "ETHUSDT"}, "asked for BTCUSDT, answered with ETHUSDT"),
        ({"lastPrice": "NaN"}, "lastPrice is nan"),
        ({"lastPrice": None}, "last"),
        ({"closeTime": 99999999999999999}, "closeTime"),
    ],
)
def test_a_quote_that_can_not_be_read_is_malformed(more: dict[str, Any], says: str) -> None:
    error = BINANCE.fail(quote(), ticker(**more))
    assert isinstance(error, MalformedResponse)
    assert says in str(error)


# --- what goes wrong --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("situation", "error", "says"),
    [
        ("unknown symbol", SymbolNotFound, "Invalid symbol"),
        ("rate limited", RateLimited, "Too much request weight"),
        ("banned", RateLimited, "banned until"),
        ("not served from here", UnsupportedRequest, "QM_BINANCE_BASE_URL"),
        ("error in a 200", SymbolNotFound, "Invalid symbol"),
    ],
)
def test_every_refusal_is_a_typed_error_after_one_call(situation: str, error: type[VendorError], says: str) -> None:
    for question in (daily(), quote(), intraday("5m", NOV_18, NOV_19)):
        found = BINANCE.fail(question, *case(situation))
        assert isinstance(found, error)
        assert says in str(found)


def test_a_body_that_breaks_off_is_malformed() -> None:
    for question, reply in ((daily(), TRUNCATED), (quote(), Reply(ticker().body[:-30]))):
        error = BINANCE.fail(question, reply)
        assert isinstance(error, MalformedResponse)
        assert "no JSON" in str(error)


def test_a_country_that_is_not_served_concerns_the_vendor_and_not_the_symbol() -> None:
    assert BINANCE.fail(daily(), COUNTRY).symbol is None
    assert BINANCE.fail(daily(), UNKNOWN).symbol == "BTC-USD"


@pytest.mark.parametrize(
    ("reply", "seconds"),
    [
        (LIMITED, 3600.0),
        (refused(429, -1003, TOO_MUCH), None),
        (refused(200, -1003, TOO_MUCH), None),
        (BANNED, 600.0),  # until 10:10
        (refused(418, -1003, "Way too many requests."), 120.0),
        (Reply("", 418, {"Retry-After": "7200"}), 7200.0),
        (Reply("<html>Request blocked</html>", 403), None),  # the firewall
    ],
)
def test_a_limit_says_how_long_it_lasts_as_far_as_the_vendor_does(reply: Reply, seconds: float | None) -> None:
    error = BINANCE.fail(daily(), reply)
    assert isinstance(error, RateLimited)
    assert error.retry_after == seconds


def test_a_pause_that_the_vendor_names_is_kept_and_then_it_answers() -> None:
    later = refused(429, -1003, TOO_MUCH, **{"Retry-After": "0"})
    found = BINANCE.ask(in_order(later, candles(candle(NOV_18, DAY))), daily())
    assert len(found.value.bars) == 1
    assert found.meter.weights == [2, 2]


def test_trouble_of_theirs_is_asked_again() -> None:
    trouble = refused(400, -1001, "Internal error; unable to process your request. Please try again.")
    found = BINANCE.ask(in_order(trouble, candles(candle(NOV_18, DAY))), daily())
    assert isinstance(found.meter.attempts[0].error, VendorUnavailable)
    assert len(found.value.bars) == 1


@pytest.mark.parametrize(
    ("reply", "says"),
    [
        (Reply("<html><body>maintenance</body></html>", headers={"Content-Type": "text/html"}), "no JSON (text/html"),
        (Reply("[[1794960000000,NaN]]"), "no JSON"),
        (Reply("{}"), "Expected `array`"),
        (Reply("[{}]"), "Expected `array`"),
        (candles(candle(NOV_18, DAY)[:5]), "length"),
        (candles(candle(NOV_18, DAY, open="ten")), "$[0][1]"),
        (candles(candle(NOV_18, DAY, close=None)), "$[0][4]"),
        (candles(candle(NOV_18, DAY), candle(NOV_19, DAY, high="nan")), "row 2: high is nan"),
        (candles(candle(NOV_18, DAY, volume="inf")), "row 1: volume is inf"),
        (candles(candle(NOV_18, DAY), candle(NOV_18, DAY)), "candle 2 does not begin after"),
        (candles(candle(NOV_19, DAY), candle(NOV_18, DAY)), "candle 2 does not begin after"),
        (candles(candle(NOV_20, DAY)), "opens at 2026-11-20 00:00:00+00:00, which was not asked for"),
        (candles(candle(NOV_18 + timedelta(hours=4), DAY)), "within a step"),
        (candles(candle(NOV_18, 7 * DAY)), "no candle of 86400 s"),
        (refused(400, -1100, "Illegal characters found in parameter 'symbol'."), "Illegal characters"),
    ],
)
def test_what_can_not_be_read_is_malformed_and_names_the_place(reply: Reply, says: str) -> None:
    error = BINANCE.fail(daily(), reply)
    assert isinstance(error, MalformedResponse)
    assert error.symbol == "BTC-USD"
    assert says in str(error)


def test_no_address_stands_in_a_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    found = BINANCE.ask(in_order(EMPTY), daily())
    BINANCE.fail(daily(), LIMITED)
    assert found.server.url not in caplog.text
    assert "authorization" not in {name.lower() for name in found.call.headers}
