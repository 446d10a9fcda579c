"""CoinGecko over a real HTTP server: answers in the shapes of its specification, days put together from candles."""

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
from quantmatrix_pipeline.providers.answers import DailyAnswer, Quote
from quantmatrix_pipeline.providers.contract import BarRequest, Capability
from quantmatrix_pipeline.providers.transport.answers_kept import KeptAnswers
from quantmatrix_pipeline.providers.transport.vendor import Access
from quantmatrix_pipeline.providers.vendors import coingecko
from quantmatrix_pipeline_tests.shared_data import shared_data
from quantmatrix_pipeline_tests.unit.providers.vendors.asking import Asking
from quantmatrix_pipeline_tests.unit.providers.vendors.cases import Case, Provenance
from quantmatrix_pipeline_tests.unit.providers.vendors.metering import Recording
from quantmatrix_pipeline_tests.unit.providers.vendors.replay import Reply, in_order

NOW = datetime(2026, 11, 21, 10, 0, tzinfo=UTC)
KEY = "CG-k3y-never-to-be-seen"
COINGECKO = Asking(coingecko.connect, KEY)
HOUR = 3600


def stamp(at: datetime) -> int:
    return int(at.timestamp() * 1000)


def ends(first: datetime, last: datetime, hours: float = 4) -> list[datetime]:
    """The instants at which candles end, both ends inclusive."""
    count = int((last - first) / timedelta(hours=hours)) + 1
    return [first + timedelta(hours=hours * n) for n in range(count)]


def candle(end: datetime, price: float = 100.0, **more: Any) -> list[Any]:
    row = {"end": stamp(end), "open": price, "high": price + 2, "low": price - 2, "close": price + 1} | more
    return list(row.values())


def candles(*rows: list[Any]) -> Reply:
    return Reply(json.dumps(rows))


def inner(status: int, code: int, text: str, **headers: str) -> Reply:
    body = {"error": {"status": {"timestamp": "2026-11-21T10:00:00.000+00:00", "error_code": code}}}
    body["error"]["status"]["error_message"] = text
    return Reply(json.dumps(body), status, headers)


def outer(status: int, code: int, text: str, **headers: str) -> Reply:
    return Reply(json.dumps({"status": {"error_code": code, "error_message": text}}), status, headers)


def prices(**coins: dict[str, Any]) -> Reply:
    return Reply(json.dumps({name.replace("_", "-"): price for name, price in coins.items()}))


def price(usd: Any = 84500.5, **more: Any) -> dict[str, Any]:
    return {"usd": usd, "usd_market_cap": 1.6e12, "last_updated_at": 1795255190} | more


NOV_17, NOV_18, NOV_19, NOV_20, NOV_21 = (datetime(2026, 11, day, tzinfo=UTC) for day in range(17, 22))
# The 18th, six candles with a peak in the third and a trough in the fourth, and the 19th.
SIX = (
    candle(NOV_18 + timedelta(hours=4), 100.0),
    candle(NOV_18 + timedelta(hours=8), 101.0),
    candle(NOV_18 + timedelta(hours=12), 102.0, high=130.0),
    candle(NOV_18 + timedelta(hours=16), 103.0, low=70.0),
    candle(NOV_18 + timedelta(hours=20), 104.0),
    candle(NOV_19, 105.0),
)
NEXT_SIX = tuple(candle(end, 200.0) for end in ends(NOV_19 + timedelta(hours=4), NOV_20))
EMPTY = candles()
UNKNOWN = Reply('{"error":"coin not found"}', 404)
LIMIT_TEXT = (
    "You've exceeded the Rate Limit. Please visit https://www.coingecko.com/en/api/pricing to subscribe to our API "
    "plans for higher rate limits."
)
LIMITED = outer(429, 429, LIMIT_TEXT, **{"retry-after": "3600"})
BAD_KEY = inner(401, 10002, "API Key Missing. Please make sure you're using the right authentication method.")
WRONG_HOST = inner(401, 10011, "If you are using Demo API key, please change your root URL to api.coingecko.com")
PLAN = inner(401, 10005, "This request is limited to PRO API subscribers. Please visit the pricing page to subscribe.")
TOO_FAR = inner(
    401,
    10012,
    "Your request exceeds the allowed time range. Public API users are limited to querying historical data within the "
    "past 365 days.",
)
ERROR_IN_200 = outer(200, 429, LIMIT_TEXT)
TRUNCATED = Reply(candles(*SIX, *NEXT_SIX).body[:-30])

SHAPE = "its specification"
QUOTED = "as quoted in public issue threads"
CASES = (
    Case("coingecko", "ok", Provenance.DOCUMENTED, f"shapes of {SHAPE}", (candles(*SIX, *NEXT_SIX),)),
    Case("coingecko", "paged", Provenance.DOCUMENTED, f"neither of these endpoints has pages, {SHAPE}"),
    Case("coingecko", "empty", Provenance.CONSTRUCTED, "no candles", (EMPTY,)),
    Case("coingecko", "unknown symbol", Provenance.DOCUMENTED, QUOTED, (UNKNOWN,)),
    Case("coingecko", "rate limited", Provenance.DOCUMENTED, QUOTED, (LIMITED,)),
    Case("coingecko", "bad key", Provenance.DOCUMENTED, f"error 10002 of {SHAPE}", (BAD_KEY,)),
    Case("coingecko", "key of another plan", Provenance.DOCUMENTED, f"error 10011 of {SHAPE}", (WRONG_HOST,)),
    Case("coingecko", "premium only", Provenance.DOCUMENTED, f"error 10005 of {SHAPE}", (PLAN,)),
    Case("coingecko", "too far back", Provenance.DOCUMENTED, QUOTED, (TOO_FAR,)),
    Case("coingecko", "error in a 200", Provenance.CONSTRUCTED, "the body of a 429 under status 200", (ERROR_IN_200,)),
    Case("coingecko", "truncated", Provenance.CONSTRUCTED, "two days of candles, cut off", (TRUNCATED,)),
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


def quotes(*symbols: str) -> Callable[..., Any]:
    return lambda vendor: vendor.quotes(symbols or ("BTC-USD",))


# --- days -------------------------------------------------------------------------------------------------------------


def test_a_day_is_its_six_candles() -> None:
    found = COINGECKO.ask(in_order(*case("ok")), daily())
    answer: DailyAnswer = found.value
    assert answer.bars.symbols == ("BTC-USD",)
    assert answer.bars.session.tolist() == [date(2026, 11, 18), date(2026, 11, 19)]
    assert answer.bars.open.tolist() == [100.0, 200.0]
    assert answer.bars.high.tolist() == [130.0, 202.0]
    assert answer.bars.low.tolist() == [70.0, 198.0]
    assert answer.bars.close.tolist() == [106.0, 201.0]
    assert np.isnan(answer.bars.volume).all()
    assert (answer.vendor, answer.basis, answer.basis_date) == ("coingecko", Basis.RAW, None)
    assert (answer.learned_at, answer.asked_from, answer.silent) == (NOW, None, ())
    assert found.call.path == "/coins/bitcoin/ohlc"
    assert found.call.query == {"vs_currency": "usd", "days": "30"}
    assert found.call.headers["x-cg-demo-api-key"] == KEY
    (timed,) = found.meter.attempts
    assert (timed.capability, timed.endpoint) == (Capability.CRYPTO_DAILY, "coins/ohlc")


def test_real_candles_make_the_days_that_their_own_five_minutes_make() -> None:
    real = pd.read_parquet(shared_data("crypto", "binance_5m.parquet")).query(
        "symbol == 'ETHUSDT' and ts >= '2024-12-20'"
    )
    real.index = pd.DatetimeIndex(pd.to_datetime(real["ts"])) + pd.Timedelta(days=690)  # into the last 30 days
    how = {"open": "first", "high": "max", "low": "min", "close": "last"}
    fours = real.resample("4h").agg(how)
    until = (pd.DatetimeIndex(fours.index) + pd.Timedelta(hours=4)).to_pydatetime()
    rows = [[stamp(at), *row] for at, row in zip(until, fours.to_numpy(np.float64).tolist(), strict=True)]
    expected = real.resample("1D").agg(how).iloc[:-1]  # of the last day there are five minutes only
    sessions = [str(day.date()) for day in expected.index]
    answer = COINGECKO.ask(in_order(candles(*rows[:-1])), daily("ETH-USD", sessions)).value
    assert len(sessions) == 11
    assert [str(day) for day in answer.bars.session.tolist()] == sessions
    got = np.stack([answer.bars.open, answer.bars.high, answer.bars.low, answer.bars.close], axis=1)
    assert np.array_equal(got, expected.to_numpy(np.float64))


def test_a_day_that_lacks_a_candle_is_left_out() -> None:
    rows = [*SIX[:2], *SIX[3:], *NEXT_SIX]
    answer = COINGECKO.ask(in_order(candles(*rows)), daily()).value
    assert answer.bars.session.tolist() == [date(2026, 11, 19)]


def test_the_first_day_of_the_thirty_is_not_whole_and_left_out() -> None:
    rows = [candle(end) for end in ends(NOV_18 + timedelta(hours=12), NOV_20)]
    answer = COINGECKO.ask(in_order(candles(*rows)), daily()).value
    assert answer.bars.session.tolist() == [date(2026, 11, 19)]


def test_today_is_left_out_with_the_candle_under_way_however_that_is_stamped() -> None:
    rows = [candle(end) for end in ends(NOV_20 + timedelta(hours=4), NOV_21 + timedelta(hours=8))]
    for under_way in (candle(NOW, 999.0), candle(NOV_21 + timedelta(hours=12), 999.0)):
        answer = COINGECKO.ask(in_order(candles(*rows, under_way)), daily(sessions=["2026-11-20", "2026-11-21"])).value
        assert answer.bars.session.tolist() == [date(2026, 11, 20)]
        assert answer.bars.high.tolist() == [102.0]


def test_a_day_is_handed_out_once_the_vendor_says_that_it_is_complete(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [candle(end) for end in ends(NOV_20 + timedelta(hours=4), NOV_21)]
    for minute, count in ((34, 0), (35, 1)):
        monkeypatch.setenv("QM_NOW", f"2026-11-21T00:{minute}:00Z")
        answer = COINGECKO.ask(in_order(candles(*rows)), daily(sessions=["2026-11-20"])).value
        assert (len(answer.bars), answer.silent) == (count, () if count else ("BTC-USD",))


def test_one_answer_serves_a_coin_until_the_next_day_is_complete() -> None:
    kept = KeptAnswers()
    first = COINGECKO.ask(in_order(*case("ok")), daily(), kept=kept)
    again = COINGECKO.ask(in_order(EMPTY), daily(sessions=["2026-11-19"]), kept=kept, at=first.server)
    assert again.server.calls == []
    assert again.value.bars.close.tolist() == [201.0]
    request = BarRequest("BTC-USD", np.array(["2026-11-20"], "datetime64[D]"))
    assert coingecko.daily_query(request, NOW).keep_seconds == 14 * HOUR + 35 * 60
    assert coingecko.daily_query(request, NOV_21 + timedelta(minutes=20)).keep_seconds == 15 * 60


def test_a_coin_without_candles_is_silent() -> None:
    answer = COINGECKO.ask(in_order(*case("empty")), daily()).value
    assert (len(answer.bars), answer.silent) == (0, ("BTC-USD",))


def test_what_lies_before_the_thirty_days_is_refused_without_a_call() -> None:
    error = COINGECKO.fail(daily(sessions=["2025-11-18", "2026-10-22"]), EMPTY, calls=0)
    assert isinstance(error, UnsupportedRequest)
    assert error.symbol == "BTC-USD"
    assert "last 29 days" in str(error)


def test_of_a_longer_stretch_the_answer_says_from_which_day_on_it_is() -> None:
    answer = COINGECKO.ask(in_order(*case("ok")), daily(sessions=["2025-01-01", "2026-11-18"])).value
    assert answer.asked_from == date(2026, 10, 23)
    assert answer.bars.session.tolist() == [date(2026, 11, 18)]


def test_it_offers_no_more_days_than_its_candles_make_nor_than_the_plan_has() -> None:
    for plan, days in ((None, 29), (365, 29), (7, 7)):
        vendor = coingecko.connect(Access("http://127.0.0.1:9", SecretStr(KEY), Recording(), reach_days=plan))
        assert vendor.offers[Capability.CRYPTO_DAILY].reach_days == days


# --- prices -----------------------------------------------------------------------------------------------------------


def test_prices_of_many_coins_come_in_one_call_with_their_market_caps() -> None:
    body = prices(
        bitcoin=price(),
        shiba_inu=price(0.0000123, usd_market_cap=0),  # not known there
        solana=price(150, usd_market_cap=7.1e10, last_updated_at=1795255000),
    )
    found = COINGECKO.ask(in_order(body), quotes("BTC-USD", "SHIB-USD", "SOL-USD", "ETH-USD", "NOSUCH-USD"))
    at = datetime(2026, 11, 21, 9, 59, 50, tzinfo=UTC)
    assert found.value == [
        Quote("coingecko", "BTC-USD", 84500.5, at, NOW, market_cap=1.6e12),
        Quote("coingecko", "SHIB-USD", 0.0000123, at, NOW),
        Quote("coingecko", "SOL-USD", 150.0, datetime(2026, 11, 21, 9, 56, 40, tzinfo=UTC), NOW, market_cap=7.1e10),
    ]
    assert found.call.path == "/simple/price"
    assert found.call.query == {
        "ids": "bitcoin,shiba-inu,solana,ethereum",
        "vs_currencies": "usd",
        "include_market_cap": "true",
        "include_last_updated_at": "true",
    }
    assert found.meter.weights == [1]


@pytest.mark.parametrize("body", [prices(), prices(bitcoin={}), prices(bitcoin=price(None))])
def test_a_coin_without_a_price_is_not_known(body: Reply) -> None:
    error = COINGECKO.fail(quotes("BTC-USD"), body)
    assert isinstance(error, SymbolNotFound)
    assert error.symbol == "BTC-USD"
    assert COINGECKO.ask(in_order(body), quotes("BTC-USD", "ETH-USD")).value == []


def test_a_coin_without_an_id_is_refused_without_a_call() -> None:
    for question in (quotes("NOSUCH-USD"), daily("NOSUCH-USD"), quotes("AAPL", "BTC-EUR")):
        assert isinstance(COINGECKO.fail(question, EMPTY, calls=0), UnsupportedRequest)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (prices(ethereum=price()), "asked for bitcoin, answered with ethereum"),
        (prices(bitcoin=price("NaN")), "the price of bitcoin is nan"),
        (prices(bitcoin=price(0)), "the price of bitcoin is 0.0"),
        (prices(bitcoin=price(-1)), "the price of bitcoin is -1.0"),
        (prices(bitcoin=price(last_updated_at=None)), "at None"),
        (prices(bitcoin=price([])), "usd"),
        (prices(bitcoin=price(last_updated_at=1795255190000)), "last_updated_at"),
        (Reply('{"bitcoin":{"usd":NaN}}'), "no JSON"),
        (Reply("[]"), "Expected `object`"),
    ],
)
def test_a_price_that_can_not_be_read_is_malformed(body: Reply, says: str) -> None:
    error = COINGECKO.fail(quotes("BTC-USD"), body)
    assert isinstance(error, MalformedResponse)
    assert says in str(error)


# --- what goes wrong --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("situation", "error", "says"),
    [
        ("unknown symbol", SymbolNotFound, "coin not found"),
        ("rate limited", RateLimited, "exceeded the Rate Limit"),
        ("bad key", AuthFailed, "COINGECKO_API_KEY"),
        ("key of another plan", AuthFailed, "QM_COINGECKO_BASE_URL"),
        ("premium only", UnsupportedRequest, "PRO API"),
        ("too far back", UnsupportedRequest, "365 days"),
        ("error in a 200", RateLimited, "exceeded the Rate Limit"),
        ("truncated", MalformedResponse, "coingecko"),
    ],
)
def test_every_refusal_is_a_typed_error_after_one_call(situation: str, error: type[VendorError], says: str) -> None:
    for question in (daily(), quotes("BTC-USD")):
        found = COINGECKO.fail(question, *case(situation))
        assert isinstance(found, error)
        assert says in str(found)


def test_a_plan_that_lacks_the_capability_is_told_from_one_that_lacks_the_years() -> None:
    assert COINGECKO.fail(daily(), PLAN).symbol is None
    assert COINGECKO.fail(daily(), TOO_FAR).symbol == "BTC-USD"


def test_a_limit_is_over_after_a_pause_and_a_month_is_not() -> None:
    limited = COINGECKO.fail(daily(), LIMITED)
    assert isinstance(limited, RateLimited)
    assert limited.retry_after == 3600
    month = outer(429, 429, "You've reached the monthly call limit of your plan.")
    assert isinstance(COINGECKO.fail(daily(), month), QuotaExhausted)


def test_a_pause_that_the_vendor_names_is_kept_and_then_it_answers() -> None:
    later = outer(429, 429, LIMIT_TEXT, **{"retry-after": "0"})
    found = COINGECKO.ask(in_order(later, *case("ok")), daily())
    assert len(found.value.bars) == 2
    assert found.meter.weights == [1, 1]


def test_a_server_error_is_asked_again_whatever_its_body_says() -> None:
    found = COINGECKO.ask(in_order(Reply('{"error":"Internal Server Error"}', 500), *case("ok")), daily())
    assert isinstance(found.meter.attempts[0].error, VendorUnavailable)
    assert len(found.value.bars) == 2


FOUR_DAYS = candles(*(candle(end) for end in ends(NOV_17 - timedelta(days=12), NOV_21, 96)))
HALF_HOURS = candles(*(candle(end) for end in ends(NOV_18, NOV_20, 0.5)))


@pytest.mark.parametrize(
    ("reply", "says"),
    [
        (Reply("<html><body>maintenance</body></html>", headers={"Content-Type": "text/html"}), "no JSON (text/html"),
        (Reply("[[1795046400000,NaN]]"), "no JSON"),
        (Reply("{}"), "Expected `array`"),
        (candles(candle(NOV_19)[:4]), "length"),
        (candles(candle(NOV_19, open="ten")), "$[0][1]"),
        (candles(candle(NOV_19, high=None)), "$[0][2]"),
        (candles(candle(NOV_19, low="nan")), "row 1: low is nan"),
        (candles(*SIX, SIX[-1]), "no candles of four hours"),
        (candles(*reversed(SIX)), "no candles of four hours"),
        (FOUR_DAYS, "no candles of four hours"),
        (HALF_HOURS, "no candles of four hours"),
        (Reply('{"error":"Invalid days value"}', 422), "Invalid days value"),
    ],
)
def test_what_can_not_be_read_is_malformed_and_names_the_place(reply: Reply, says: str) -> None:
    error = COINGECKO.fail(daily(), reply)
    assert isinstance(error, MalformedResponse)
    assert error.symbol == "BTC-USD"
    assert says in str(error)


# --- the key ----------------------------------------------------------------------------------------------------------


def test_without_a_key_it_is_asked_all_the_same() -> None:
    found = Asking(coingecko.connect).ask(in_order(*case("ok")), daily())
    assert not [name for name in found.call.headers if name.lower().startswith("x-cg")]


def test_the_key_of_a_paid_plan_goes_to_its_own_host_in_its_own_header() -> None:
    assert coingecko.key_header("https://api.coingecko.com/api/v3") == "x-cg-demo-api-key"
    assert coingecko.key_header("https://pro-api.coingecko.com/api/v3") == "x-cg-pro-api-key"


def test_the_key_is_in_no_message_and_in_no_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    replies = [inner(401, 10002, f"wrong key {KEY}"), Reply(f"<p>{KEY}</p>"), Reply(f"no {KEY}", 418), LIMITED]
    errors = [COINGECKO.fail(daily(), reply) for reply in replies]
    COINGECKO.ask(in_order(*case("ok")), daily())
    shown = [repr(e) + str(e) + repr(e.__cause__) + repr(e.__context__) for e in errors]
    assert all(KEY not in text for text in [*shown, caplog.text])
    assert "***" in str(errors[0])
