"""Yahoo through the real library over a real HTTP server: recorded charts and options, and what we made up after."""

from __future__ import annotations

import asyncio
import gzip
import json
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, date, datetime
from fractions import Fraction
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest
import yfinance as yf
from hypothesis import given
from hypothesis import strategies as st

from quantmatrix_pipeline.bars.batch import Basis, Dates
from quantmatrix_pipeline.bars.schema import check_batch
from quantmatrix_pipeline.errors import (
    MalformedResponse,
    QuotaExhausted,
    RateLimited,
    SymbolNotFound,
    UnsupportedRequest,
    VendorError,
    VendorUnavailable,
)
from quantmatrix_pipeline.providers.answers import (
    DailyAnswer,
    Dividend,
    IntradayBars,
    OptionContract,
    Profile,
    Quote,
    Right,
    Split,
)
from quantmatrix_pipeline.providers.contract import BarRequest, Capability, IntradayRequest
from quantmatrix_pipeline.providers.transport.answers_kept import KeptAnswers
from quantmatrix_pipeline.providers.transport.calls import Answer
from quantmatrix_pipeline.providers.transport.vendor import Access
from quantmatrix_pipeline.providers.vendors import yahoo
from quantmatrix_pipeline.providers.vendors.yahoo import Yahoo, refusal
from quantmatrix_pipeline.providers.vendors.yahoo_charts import read_daily
from quantmatrix_pipeline_tests.shared_data import shared_data
from quantmatrix_pipeline_tests.unit.providers.vendors.asking import Asked, Asking
from quantmatrix_pipeline_tests.unit.providers.vendors.cases import Case, Provenance
from quantmatrix_pipeline_tests.unit.providers.vendors.folders import days
from quantmatrix_pipeline_tests.unit.providers.vendors.metering import Recording
from quantmatrix_pipeline_tests.unit.providers.vendors.replay import Call, Replay, Reply, in_order, replay

T = TypeVar("T")
CHART = "/v8/finance/chart/"
QUOTE = "/v7/finance/quote"
SUMMARY = "/v10/finance/quoteSummary/"
OPTIONS = "/v7/finance/options/"
CHARTS = "payloads/yahoo/v8_chart_1d_1y_2026-05-03.json.gz"
CHAIN = "payloads/yahoo/v7_options_AAPL_2016.json.gz"
WEEK = days("2021-01-04", "2021-01-08")
NOW = datetime(2026, 11, 20, 22, 0, tzinfo=UTC)


def chart(symbol: str, dates: Dates, close: list[float], **more: Any) -> dict[str, Any]:
    """Construct a chart of days as Yahoo answers it: stamps at the session's open, OHLC around the close."""
    stamps = [int(d.astype("datetime64[s]").astype(int)) + 14 * 3600 + 1800 for d in dates]
    return bars(symbol, stamps, close, **more)


def bars(symbol: str, stamps: list[int], close: list[Any], **more: Any) -> dict[str, Any]:
    quote = {
        "open": close,
        "high": [c and c + 1 for c in close],
        "low": [c and c - 1 for c in close],
        "close": close,
        "volume": more.pop("volume", [1000] * len(close)),
    }
    meta = {
        "symbol": symbol,
        "currency": "USD",
        "instrumentType": "EQUITY",
        "exchangeTimezoneName": "America/New_York",
        "timezone": "EST",
        "gmtoffset": -18000,
        "dataGranularity": "1d",
        "range": "",
    } | more.pop("meta", {})
    events: dict[str, Any] = {}
    for kind, dated in more.items():
        by_stamp = {str(int(np.datetime64(d, "s").astype(int)) + 52200): e for d, e in dated.items()}
        events[kind] = {s: {"date": int(s), **e} for s, e in by_stamp.items()}
    indicators = {"quote": [quote], "adjclose": [{"adjclose": close}]}
    result = {"meta": meta, "timestamp": stamps, "indicators": indicators}
    if events:
        result["events"] = events
    return {"chart": {"result": [result], "error": None}}


def without_rows(symbol: str) -> dict[str, Any]:
    made = chart(symbol, WEEK, [])
    made["chart"]["result"][0].pop("timestamp")
    made["chart"]["result"][0]["indicators"] = {"quote": [{}], "adjclose": [{}]}
    return made


def split(numerator: float, denominator: float) -> dict[str, Any]:
    return {"numerator": numerator, "denominator": denominator, "splitRatio": f"{numerator}:{denominator}"}


def said(envelope: str, code: str, description: str, status: int) -> Reply:
    error = {"code": code, "description": description}
    return Reply(json.dumps({envelope: {"result": None, "error": error}}), status)


NOT_FOUND = said("chart", "Not Found", "No data found, symbol may be delisted", 404)
BEFORE_LISTING = said("chart", "Bad Request", "Data doesn't exist for startDate = 1, endDate = 2", 400)
INVALID_CRUMB = said("finance", "Unauthorized", "Invalid Crumb", 401)
TOO_MANY = Reply("Too Many Requests\r\n", 429, {"Content-Type": "text/plain"})
LIMIT_5M = said(
    "chart",
    "Unprocessable Entity",
    "5m data not available for startTime=1 and endTime=2. The requested range must be within the last 60 days.",
    422,
)
TRUNCATED = Reply(json.dumps(chart("AAPL", WEEK, [9.0] * 5))[:-90])
ERROR_IN_200 = Reply(INVALID_CRUMB.body)
PAGE = Reply("<html>Will you accept cookies?</html>", 200, {"Content-Type": "text/html"})

QUOTED = "as quoted in public issue threads of the library"
CASES = (
    Case("yfinance", "ok", Provenance.RECORDED, CHARTS),
    Case("yfinance", "ok", Provenance.RECORDED, CHAIN),
    Case("yfinance", "paged", Provenance.DOCUMENTED, "no answer of Yahoo's has pages; minutes are asked for in pieces"),
    Case(
        "yfinance",
        "empty",
        Provenance.DOCUMENTED,
        "a chart of meta alone, " + QUOTED,
        (Reply(json.dumps(without_rows("AAPL"))),),
    ),
    Case("yfinance", "unknown symbol", Provenance.DOCUMENTED, QUOTED, (NOT_FOUND,)),
    Case("yfinance", "rate limited", Provenance.DOCUMENTED, QUOTED, (TOO_MANY,)),
    Case("yfinance", "bad key", Provenance.DOCUMENTED, "there is none; a refused crumb, " + QUOTED, (INVALID_CRUMB,)),
    Case("yfinance", "premium only", Provenance.DOCUMENTED, "there are no plans, only ranges; " + QUOTED, (LIMIT_5M,)),
    Case("yfinance", "error in a 200", Provenance.CONSTRUCTED, "the body of a 401 under 200", (ERROR_IN_200,)),
    Case("yfinance", "truncated", Provenance.CONSTRUCTED, "a week of daily bars, cut off", (TRUNCATED,)),
)


@pytest.fixture(autouse=True)
def _caches_of_their_own(tmp_path: Path) -> None:
    yf.set_tz_cache_location(str(tmp_path / "yfinance"))


@pytest.fixture(autouse=True)
def _now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QM_NOW", NOW.isoformat())


def hosts(found: Mapping[str, Any], crumb: Callable[[Call], Reply] = lambda _: Reply("c7Umb")) -> Any:
    """Return how Yahoo's hosts answer: a cookie, a crumb, and by path what is in `found`."""

    def answer(call: Call) -> Reply:
        if call.path.endswith("getcrumb"):
            return crumb(call)
        reply = found.get(call.path, Reply("", 404))
        reply = reply(call) if callable(reply) else reply
        return reply if isinstance(reply, Reply) else Reply(json.dumps(reply))

    return answer


def ask(found: Mapping[str, Any], question: Callable[[Yahoo], Awaitable[T]], **more: Any) -> Asked[T]:
    return Asking(yahoo.connect).ask(hosts(found, **more), question)


def refused(found: Mapping[str, Any], question: Callable[[Yahoo], Awaitable[Any]], **more: Any) -> VendorError:
    with pytest.raises(VendorError) as caught:
        ask(found, question, **more)
    return caught.value


def daily(symbol: str = "AAPL", sessions: Dates = WEEK) -> Callable[[Yahoo], Awaitable[DailyAnswer]]:
    return lambda vendor: vendor.daily_bars([BarRequest(symbol, sessions)])


def intraday(start: str, end: str, interval: str = "5m", symbol: str = "AAPL") -> Callable[[Yahoo], Any]:
    request = IntradayRequest(symbol, interval, datetime.fromisoformat(start), datetime.fromisoformat(end))
    return lambda vendor: vendor.intraday_bars(request)


def case(situation: str) -> tuple[Reply, ...]:
    return next(c.replies for c in CASES if c.situation == situation)


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp())


def opened(answer: IntradayBars) -> list[str]:
    return [str(instant) for instant in answer.opened_at]


def recorded_charts() -> dict[str, Any]:
    charts: dict[str, Any] = json.loads(gzip.decompress(shared_data(CHARTS).read_bytes()))["charts"]
    return charts


# --- daily bars -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("symbol", ["SPY", "TLT", "^GSPC", "XLB", "^VIX", "GC=F"])
def test_recorded_charts_are_read_to_the_last_value(symbol: str) -> None:
    charts = recorded_charts()
    span = np.arange(np.datetime64("2025-05-01"), np.datetime64("2026-05-02"))
    answer = ask({CHART + symbol: charts[symbol]}, daily(symbol, span)).value
    check_batch(answer.bars, answer.vendor)
    assert (answer.basis, answer.basis_date, answer.learned_at, answer.silent) == (Basis.RAW, None, NOW, ())
    result = charts[symbol]["chart"]["result"][0]
    given = result["indicators"]["quote"][0]
    with_prices = [row for row, price in enumerate(given["close"]) if price is not None]
    # All of these zones are behind UTC by less than their stamps are past midnight there.
    sessions = np.array(result["timestamp"], "datetime64[s]").astype("datetime64[D]")[with_prices]
    inside = sessions <= span[-1]
    assert answer.bars.session.tolist() == sessions[inside].tolist()
    factor = np.where((sessions < np.datetime64("2025-12-05")) & (symbol == "XLB"), 2.0, 1.0)
    for name in ("open", "high", "low", "close"):
        column = np.array(given[name], np.float64)[with_prices] * factor
        assert getattr(answer.bars, name).tolist() == column[inside].tolist()
    volume = np.array(given["volume"], np.float64)[with_prices] / factor
    assert answer.bars.volume.tolist() == volume[inside].tolist()
    assert answer.splits == ((Split("XLB", date(2025, 12, 5), Fraction(2)),) if symbol == "XLB" else ())
    paid = sorted(result.get("events", {}).get("dividends", {}).values(), key=lambda e: e["date"])
    on = np.array([e["date"] for e in paid], "datetime64[s]").astype("datetime64[D]")
    doubled = np.where((on < np.datetime64("2025-12-05")) & (symbol == "XLB"), 2.0, 1.0)
    assert [(d.ex_date, d.amount) for d in answer.dividends] == [
        (day, e["amount"] * f) for day, e, f in zip(on.tolist(), paid, doubled, strict=True)
    ]


def test_split_adjusted_answers_become_the_prices_and_dividends_that_traded() -> None:
    constructed = chart(
        "AAPL",
        days("2021-01-04", "2021-01-12"),
        [25.0, 25.0, 25.0, 26.0, 26.0, 27.0, 27.0],  # adjusted for 4:1 on the 7th and for 1:2 on the 12th
        volume=[400, 400, 400, 100, 100, 100, 50],
        splits={"2021-01-07": split(4, 1), "2021-01-12": split(1, 2)},
        dividends={"2021-01-05": {"amount": 0.25}, "2021-01-11": {"amount": 0.5, "currency": "EUR"}},
    )
    answer = ask({CHART + "AAPL": constructed}, daily()).value
    assert answer.bars.session.tolist() == WEEK.tolist()
    assert answer.bars.close.tolist() == [50.0, 50.0, 50.0, 13.0, 13.0]
    assert answer.bars.volume.tolist() == [200, 200, 200, 200, 200]
    assert answer.splits == (
        Split("AAPL", date(2021, 1, 7), Fraction(4)),
        Split("AAPL", date(2021, 1, 12), Fraction(1, 2)),
    )
    assert answer.dividends == (
        Dividend("AAPL", date(2021, 1, 5), 0.5, "USD"),
        Dividend("AAPL", date(2021, 1, 11), 0.25, "EUR"),
    )


def test_a_ratio_is_read_as_it_was_announced() -> None:
    spun_off = chart("T", WEEK, [9.0] * 5, splits={"2021-01-06": split(1324, 1000), "2021-01-07": split(10000, 9607)})
    answer = ask({CHART + "T": spun_off}, daily("T")).value
    assert [s.ratio for s in answer.splits] == [Fraction(331, 250), Fraction(10000, 9607)]
    odd = chart("T", WEEK, [9.0] * 5, splits={"2021-01-06": split(4, 0)})
    assert isinstance(refused({CHART + "T": odd}, daily("T")), MalformedResponse)


def test_recorded_days_of_crypto_are_utc_days_and_the_one_under_way_is_none_yet(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    charts = recorded_charts()
    wanted = np.arange(np.datetime64("2025-05-03"), np.datetime64("2026-05-04"))
    monkeypatch.setenv("QM_NOW", "2026-05-03T18:06:27Z")  # when it was recorded
    asked = ask({CHART + "BTC-USD": charts["BTC-USD"]}, daily("BTC-USD", wanted))
    assert asked.value.bars.session.tolist() == wanted[:-1].tolist()
    assert {t.capability for t in asked.meter.attempts} == {Capability.CRYPTO_DAILY}
    monkeypatch.setenv("QM_NOW", "2026-05-04T00:00:00Z")
    later = ask({CHART + "BTC-USD": charts["BTC-USD"]}, daily("BTC-USD", wanted))
    assert later.value.bars.session.tolist() == wanted.tolist()
    (call,) = (c for c in later.server.calls if c.path.startswith(CHART))
    first = charts["BTC-USD"]["chart"]["result"][0]["timestamp"][0]
    assert int(call.query["period1"]) <= first


def test_the_last_day_may_come_twice_and_the_later_row_counts() -> None:
    stamps = [at("2021-01-07T14:30:00Z"), at("2021-01-08T14:30:00Z"), at("2021-01-08T21:00:02Z")]
    twice = bars("AAPL", stamps, [9.0, 9.0, 9.5], volume=[10, 20, 21])
    answer = ask({CHART + "AAPL": twice}, daily()).value
    assert answer.bars.session.tolist() == [date(2021, 1, 7), date(2021, 1, 8)]
    assert (answer.bars.close.tolist(), answer.bars.volume.tolist()) == ([9.0, 9.5], [10.0, 21.0])


def test_days_that_are_stamped_before_midnight_after_a_clock_change_are_the_days_that_follow() -> None:
    stamps = [at("2021-01-05T23:00:00Z"), at("2021-01-07T00:00:00Z")]
    shifted = bars("RACE.MI", stamps, [9.0, 9.5], meta={"exchangeTimezoneName": "Europe/London"})
    answer = ask({CHART + "RACE.MI": shifted}, daily("RACE.MI")).value
    assert answer.bars.session.tolist() == [date(2021, 1, 6), date(2021, 1, 7)]


def test_a_row_of_nulls_is_no_bar_and_a_single_null_stays_missing() -> None:
    holed = chart("AAPL", WEEK, [9.0, None, 9.0, 9.0, 9.0], volume=[1, None, None, 1, 1])
    holed["chart"]["result"][0]["indicators"]["quote"][0]["low"][3] = None
    answer = ask({CHART + "AAPL": holed}, daily()).value
    assert answer.bars.session.tolist() == [day for day in WEEK.tolist() if day != date(2021, 1, 5)]
    assert np.isnan(answer.bars.volume[1])
    assert np.isnan(answer.bars.low[2])
    assert not np.isnan(answer.bars.close).any()


def test_a_chart_reaches_to_today_whatever_night_is_played_and_names_shares_as_yahoo_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("QM_NOW", "2021-01-04T22:00:00Z")
    asked = ask({CHART + "BRK-B": chart("BRK-B", WEEK, [9.0] * 5)}, daily("BRK.B", WEEK[:1]))
    assert asked.value.bars.symbols == ("BRK.B",)
    assert asked.value.bars.session.tolist() == [WEEK[0].item()]
    (call,) = (c for c in asked.server.calls if c.path.startswith(CHART))
    assert int(call.query["period1"]) == at("2021-01-03T00:00:00Z")
    assert time.time() < int(call.query["period2"]) <= time.time() + 86400
    assert (call.query["interval"], call.query["events"]) == ("1d", "div,splits")


@pytest.mark.parametrize("nothing", [BEFORE_LISTING, *case("empty")], ids=["before its listing", "no rows"])
def test_a_known_symbol_without_bars_in_the_window_is_silent(nothing: Reply) -> None:
    answer = ask({CHART + "AAPL": nothing}, daily()).value
    assert (len(answer.bars), answer.silent, dict(answer.failures)) == (0, ("AAPL",), {})


# --- refusals ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (*case("unknown symbol"), SymbolNotFound),
        (*case("rate limited"), RateLimited),
        (*case("bad key"), MalformedResponse),
        (*case("premium only"), UnsupportedRequest),
        (*case("error in a 200"), MalformedResponse),
        (*case("truncated"), MalformedResponse),
        (Reply("Not here", 404), MalformedResponse),
        (PAGE, MalformedResponse),
        (Reply("[]"), MalformedResponse),
        (Reply('{"chart": {"result": null, "error": null}}'), MalformedResponse),
        (Reply(json.dumps(chart("MSFT", WEEK, [9.0] * 5))), MalformedResponse),
        (Reply(json.dumps(chart("AAPL", WEEK, [9.0] * 5)).replace("9.0", '"nine"')), MalformedResponse),
        (Reply(json.dumps(chart("AAPL", WEEK, [9.0] * 5)).replace("9.0", "NaN")), MalformedResponse),
        (Reply(json.dumps(chart("AAPL", WEEK, [9.0] * 4))), MalformedResponse),
        (Reply(json.dumps(chart("AAPL", WEEK, [9.0] * 5)).replace("America/New_York", "Mars")), MalformedResponse),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else value.body[:24],
)
def test_a_refusal_or_what_is_no_chart_of_the_symbol_is_a_typed_failure(reply: Reply, kind: type[VendorError]) -> None:
    error = refused({CHART + "AAPL": reply}, daily())
    assert type(error) is kind
    assert error.symbol == "AAPL"


@pytest.mark.parametrize("reply", [*case("unknown symbol"), *case("rate limited")], ids=["404", "429"])
def test_a_refused_symbol_is_asked_for_once(reply: Reply) -> None:
    served: list[Replay] = []
    with pytest.raises(VendorError):
        Asking(yahoo.connect).ask(hosts({CHART + "NOPE": reply}), daily("NOPE"), served=served)
    assert served[0].paths(CHART) == [CHART + "NOPE"]


def test_how_long_to_wait_is_handed_on() -> None:
    error = refused({CHART + "AAPL": Reply(TOO_MANY.body, 429, {"Retry-After": "3600"})}, daily())
    assert isinstance(error, RateLimited)
    assert error.retry_after == 3600


def test_a_server_error_is_asked_again() -> None:
    replies = in_order(Reply("oops", 502), Reply(json.dumps(chart("AAPL", WEEK, [9.0] * 5))))
    asked = ask({CHART + "AAPL": replies}, daily())
    assert len(asked.value.bars) == 5
    of_data = [t.error for t in asked.meter.attempts if t.endpoint == "v8/chart"]
    assert [type(error) for error in of_data] == [VendorUnavailable, type(None)]


def test_no_connection_and_a_late_answer_are_unavailability_within_the_deadline() -> None:
    async def question(url: str, meter: Recording, deadline: float) -> None:
        vendor = yahoo.connect(Access(url, None, meter, timeout=0.2, deadline=deadline))
        await vendor.open()
        try:
            await vendor.daily_bars([BarRequest("AAPL", WEEK)])
        finally:
            await vendor.close()

    def late(call: Call) -> Reply:
        time.sleep(0.5 if call.path.startswith(CHART) else 0.0)
        return Reply("c7Umb")

    with replay(late) as slow:
        meter = Recording()
        with pytest.raises(VendorUnavailable, match="AAPL"):
            asyncio.run(question(slow.url, meter, 0.6))
        assert not any(t.lost for t in meter.attempts)
    meter = Recording()
    with pytest.raises(VendorUnavailable, match="AAPL"):
        asyncio.run(question(slow.url, meter, 10.0))
    assert {t.endpoint: t.lost for t in meter.attempts} == {"cookie": True, "v8/chart": True}
    # What can't be reached is not asked for a cookie again at once, though the library would.
    assert [t.endpoint for t in meter.attempts].count("cookie") == 1


def test_whether_yahoo_answers_is_one_call() -> None:
    with replay(hosts({CHART + "SPY": chart("SPY", WEEK, [9.0] * 5)})) as server:
        assert yahoo.answers(server.url, 5.0)
    assert [c.path for c in server.calls] == [CHART + "SPY"]
    assert not yahoo.answers(server.url, 1.0)
    with replay(lambda _: TOO_MANY) as busy:
        assert not yahoo.answers(busy.url, 5.0)


@given(st.data())
def test_a_chart_with_a_piece_missing_anywhere_is_a_typed_failure_or_bars_of_what_was_asked(
    data: st.DataObject,
) -> None:
    whole = json.dumps(chart("AAPL", WEEK, [9.0] * 5, splits={"2021-01-06": split(2, 1)})).encode()
    start = data.draw(st.integers(0, len(whole) - 1), "start")
    end = data.draw(st.integers(start + 1, len(whole)), "end")
    answer = Answer(200, {}, whole[:start] + whole[end:], NOW)
    request = BarRequest("AAPL", WEEK)
    call = yahoo.daily_query(Capability.DAILY_BARS, "AAPL", request.first, NOW)
    assert refusal(call, answer) is None
    try:
        found = read_daily(call, request, answer)
    except MalformedResponse:
        return
    assert end < len(whole)  # what is cut off is no chart
    check_batch(found.bars, found.vendor)
    assert set(found.bars.session.tolist()) <= set(WEEK.tolist())


# --- what the library asks on its own ---------------------------------------------------------------------------------


def test_every_call_of_the_library_is_admitted_and_noted_and_the_cookies_are_fetched_once() -> None:
    async def three(vendor: Yahoo) -> None:
        for symbol in ("AAPL", "MSFT", "NVDA"):
            await daily(symbol)(vendor)

    asked = ask({CHART + s: chart(s, WEEK, [9.0] * 5) for s in ("AAPL", "MSFT", "NVDA")}, three)
    # A cookie that it can't keep on disk, as here, it fetches a second time before the crumb.
    cookie, crumb, chart_of = "/", "/v1/test/getcrumb", [CHART + s for s in ("AAPL", "MSFT", "NVDA")]
    assert [c.path for c in asked.server.calls] == [cookie, cookie, crumb, *chart_of]
    assert asked.meter.weights == [1] * 6
    assert [t.endpoint for t in asked.meter.attempts] == ["cookie", "cookie", "crumb", *["v8/chart"] * 3]
    assert all(t.error is None for t in asked.meter.attempts)


def test_a_refused_crumb_is_fetched_anew_and_the_question_asked_a_second_time() -> None:
    replies = in_order(INVALID_CRUMB, Reply(json.dumps(chart("AAPL", WEEK, [9.0] * 5))))
    asked = ask({CHART + "AAPL": replies}, daily())
    assert len(asked.value.bars) == 5
    assert len(asked.server.paths(CHART)) == 2
    assert asked.meter.weights == [1] * len(asked.server.calls)
    assert len(asked.meter.attempts) == len(asked.server.calls)
    assert [t.endpoint for t in asked.meter.attempts if t.error is not None] == ["v8/chart"]


@pytest.mark.parametrize("limited", [TOO_MANY, Reply(TOO_MANY.body)], ids=["429", "in a 200"])
def test_without_a_crumb_charts_are_served_and_quotes_are_not_asked_for(limited: Reply) -> None:
    async def both(vendor: Yahoo) -> VendorError:
        assert len((await daily()(vendor)).bars) == 5
        with pytest.raises(RateLimited) as caught:
            await vendor.quotes(["AAPL"])
        return caught.value

    asked = ask({CHART + "AAPL": chart("AAPL", WEEK, [9.0] * 5)}, both, crumb=lambda _: limited)
    assert isinstance(asked.value, RateLimited)
    assert asked.server.paths(QUOTE) == []
    assert len(asked.server.paths("/v1/test/getcrumb")) == 1
    errors = [(t.endpoint, type(t.error)) for t in asked.meter.attempts if t.error is not None]
    assert errors == [("crumb", RateLimited)]


def test_what_our_own_budget_refuses_in_the_middle_is_no_call_and_no_fault_of_yahoos() -> None:
    class One(Recording):
        async def admit(self, vendor: str, weight: int) -> None:
            if self.weights:
                raise QuotaExhausted(vendor, "our own budget is used up")
            await super().admit(vendor, weight)

    async def question(url: str, meter: Recording) -> None:
        vendor = yahoo.connect(Access(url, None, meter))
        await vendor.open()
        try:
            await vendor.daily_bars([BarRequest("AAPL", WEEK)])
        finally:
            await vendor.close()

    meter = One()
    with replay(hosts({})) as server, pytest.raises(QuotaExhausted, match="our own"):
        asyncio.run(question(server.url, meter))
    assert server.calls == []
    assert meter.attempts == []


def test_an_answer_is_kept_until_the_next_close() -> None:
    async def twice(vendor: Yahoo) -> list[list[date]]:
        return [(await daily(sessions=sessions)(vendor)).bars.session.tolist() for sessions in (WEEK, WEEK[:2])]

    found = hosts({CHART + "AAPL": chart("AAPL", WEEK, [9.0] * 5)})
    asked = Asking(yahoo.connect).ask(found, twice, kept=KeptAnswers())
    assert asked.value == [WEEK.tolist(), WEEK[:2].tolist()]
    assert len(asked.server.paths(CHART)) == 1


def test_two_clients_in_one_process_keep_to_their_own_addresses() -> None:
    async def both(here: str, there: str) -> list[float]:
        vendors = [yahoo.connect(Access(url, None, Recording())) for url in (here, there)]
        for vendor in vendors:
            await vendor.open()
        found = await asyncio.gather(*(daily()(vendor) for vendor in vendors))
        for vendor in vendors:
            await vendor.close()
        return [float(answer.bars.close[0]) for answer in found]

    ours, theirs = ({CHART + "AAPL": chart("AAPL", WEEK, [price] * 5)} for price in (9.0, 8.0))
    with replay(hosts(ours)) as here, replay(hosts(theirs)) as there:
        assert asyncio.run(both(here.url, there.url)) == [9.0, 8.0]


def test_many_symbols_are_asked_for_at_once() -> None:
    symbols = [f"S{n}" for n in range(32)]

    def slowly(symbol: str) -> Callable[[Call], Reply]:
        def answer(_: Call) -> Reply:
            time.sleep(0.1)
            return Reply(json.dumps(chart(symbol, WEEK, [9.0] * 5)))

        return answer

    async def all_of_them(vendor: Yahoo) -> float:
        await daily("S0")(vendor)
        started = time.perf_counter()
        await asyncio.gather(*(daily(symbol)(vendor) for symbol in symbols))
        return time.perf_counter() - started

    asked = ask({CHART + s: slowly(s) for s in symbols}, all_of_them)
    assert asked.value < 32 * 0.1 / 2


# --- intraday ---------------------------------------------------------------------------------------------------------

FRIDAY, MONDAY = "2026-10-30", "2026-11-02"  # before and after the clock change of 2026-11-01
HOURS = {
    "tradingPeriods": [
        [
            {
                "timezone": "EDT",
                "start": at(f"{FRIDAY}T13:30:00Z"),
                "end": at(f"{FRIDAY}T20:00:00Z"),
                "gmtoffset": -14400,
            }
        ],
        [
            {
                "timezone": "EST",
                "start": at(f"{MONDAY}T14:30:00Z"),
                "end": at(f"{MONDAY}T21:00:00Z"),
                "gmtoffset": -18000,
            }
        ],
    ]
}


def minutes(*bars_at: tuple[str, float | None], symbol: str = "AAPL", **meta: Any) -> dict[str, Any]:
    return bars(symbol, [at(text) for text, _ in bars_at], [close for _, close in bars_at], meta=meta)


def test_intraday_bars_are_instants_of_their_open_on_both_sides_of_a_clock_change() -> None:
    found = minutes(
        (f"{FRIDAY}T13:25:00Z", 1.0),  # before the open
        (f"{FRIDAY}T13:30:00Z", 2.0),
        (f"{FRIDAY}T13:35:00Z", None),  # nobody traded
        (f"{FRIDAY}T19:55:00Z", 3.0),
        (f"{FRIDAY}T20:00:00Z", 4.0),  # the closing auction as a bar of its own
        (f"{MONDAY}T14:25:00Z", 5.0),
        (f"{MONDAY}T14:30:00Z", 6.0),
        (f"{MONDAY}T14:35:00Z", 7.0),  # at the end that was asked for
        **HOURS,
    )
    asked = ask({CHART + "AAPL": found}, intraday(f"{FRIDAY}T13:30:00Z", f"{MONDAY}T14:35:00Z"))
    answer = asked.value
    assert opened(answer) == ["2026-10-30T13:30:00", "2026-10-30T19:55:00", "2026-11-02T14:30:00"]
    assert answer.close.tolist() == [2.0, 3.0, 6.0]
    assert (answer.open.tolist(), answer.high.tolist(), answer.low.tolist()) == (
        [2.0, 3.0, 6.0],
        [3.0, 4.0, 7.0],
        [1.0, 2.0, 5.0],
    )
    assert answer.volume.tolist() == [1000.0] * 3
    assert (answer.symbol, answer.interval, answer.learned_at) == ("AAPL", "5m", NOW)
    assert (answer.basis, answer.basis_date) == (Basis.SPLIT, date(2026, 11, 20))
    (call,) = (c for c in asked.server.calls if c.path.startswith(CHART))
    assert (call.query["period1"], call.query["period2"], call.query["interval"], call.query["includePrePost"]) == (
        str(at(f"{FRIDAY}T13:30:00Z")),
        str(at(f"{MONDAY}T14:35:00Z")),
        "5m",
        "false",
    )


def test_a_bar_that_has_not_closed_and_the_live_price_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QM_NOW", f"{MONDAY}T14:37:10Z")
    found = minutes((f"{MONDAY}T14:30:00Z", 6.0), (f"{MONDAY}T14:35:00Z", 7.0), (f"{MONDAY}T14:37:08Z", 8.0), **HOURS)
    answer = ask({CHART + "AAPL": found}, intraday(f"{MONDAY}T14:30:00Z", f"{MONDAY}T21:00:00Z")).value
    assert answer.close.tolist() == [6.0]


def test_minutes_of_ten_days_are_asked_for_in_pieces() -> None:
    def piece(call: Call) -> Reply:
        return Reply(json.dumps(bars("AAPL", [int(call.query["period1"])], [float(call.query["period2"]) / 1e9])))

    asked = ask({CHART + "AAPL": piece}, intraday("2026-11-02T14:30:00Z", "2026-11-12T21:00:00Z", "1m"))
    windows = [
        (c.query["period1"], c.query["period2"], c.query["interval"])
        for c in asked.server.calls
        if c.path.startswith(CHART)
    ]
    assert windows == [
        (str(at("2026-11-02T14:30:00Z")), str(at("2026-11-09T14:30:00Z")), "1m"),
        (str(at("2026-11-09T14:30:00Z")), str(at("2026-11-12T21:00:00Z")), "1m"),
    ]
    assert opened(asked.value) == ["2026-11-02T14:30:00", "2026-11-09T14:30:00"]
    assert {t.capability for t in asked.meter.attempts} == {Capability.BARS_1M}


def test_coins_trade_in_the_last_minute_of_their_day_too() -> None:
    hours = {"tradingPeriods": [[{"start": at("2026-11-19T00:00:00Z"), "end": at("2026-11-19T23:59:00Z")}]]}
    found = minutes(
        ("2026-11-19T23:58:00Z", 1.0),
        ("2026-11-19T23:59:00Z", 2.0),
        symbol="BTC-USD",
        instrumentType="CRYPTOCURRENCY",
        exchangeTimezoneName="UTC",
        **hours,
    )
    question = intraday("2026-11-19T23:00:00Z", "2026-11-20T00:00:00Z", "1m", "BTC-USD")
    asked = ask({CHART + "BTC-USD": found}, question)
    assert asked.value.close.tolist() == [1.0, 2.0]
    assert {t.capability for t in asked.meter.attempts} == {Capability.CRYPTO_1M}


def test_two_bars_of_the_same_time_are_malformed_and_too_old_ones_are_not_served() -> None:
    question = intraday(f"{FRIDAY}T13:30:00Z", f"{FRIDAY}T20:00:00Z")
    twice = minutes((f"{FRIDAY}T13:30:00Z", 2.0), (f"{FRIDAY}T13:30:00Z", 2.0))
    assert isinstance(refused({CHART + "AAPL": twice}, question), MalformedResponse)
    error = refused({CHART + "AAPL": LIMIT_5M}, question)
    assert isinstance(error, UnsupportedRequest)
    assert error.symbol == "AAPL"  # of this question; others may still be served


# --- quotes, companies, actions, options ------------------------------------------------------------------------------


def recorded_chain() -> dict[str, Any]:
    chain: dict[str, Any] = json.loads(gzip.decompress(shared_data(CHAIN).read_bytes()))
    return chain


def quoted(*quotes: dict[str, Any]) -> dict[str, Any]:
    return {"quoteResponse": {"result": quotes, "error": None}}


def test_a_recorded_quote_is_read_and_symbols_without_one_are_missing() -> None:
    apple = recorded_chain()["optionChain"]["result"][0]["quote"]  # the same object as in answers about quotes
    berkshire = apple | {"symbol": "BRK-B", "bid": 0, "ask": 0, "regularMarketPrice": 500}
    halted = {"symbol": "HALT", "regularMarketTime": 1473192000}
    asked = ask(
        {QUOTE: quoted(apple, berkshire, halted)}, lambda vendor: vendor.quotes(["AAPL", "BRK.B", "HALT", "NOPE"])
    )
    apple_quote, berkshire_quote = asked.value
    assert apple_quote == Quote(
        "yfinance",
        "AAPL",
        107.68,
        datetime(2016, 9, 6, 20, 0, tzinfo=UTC),
        NOW,
        open=107.82,
        high=108.3,
        low=107.51,
        previous_close=107.73,
        volume=20744505.0,
        bid=107.82,
        ask=107.86,
        market_cap=580227235840.0,
        currency="USD",
    )
    assert (berkshire_quote.symbol, berkshire_quote.price) == ("BRK.B", 500.0)
    assert (berkshire_quote.bid, berkshire_quote.ask) == (None, None)
    (call,) = (c for c in asked.server.calls if c.path == QUOTE)
    assert call.query["symbols"] == "AAPL,BRK-B,HALT,NOPE"
    assert call.query["crumb"] == "c7Umb"


def test_coins_are_quoted_as_coins_and_nobody_else_is_taken_for_them() -> None:
    coin = {"symbol": "BTC-USD", "regularMarketPrice": 90000.5, "regularMarketTime": 1795000000, "currency": "USD"}
    asked = ask({QUOTE: quoted(coin)}, lambda vendor: vendor.quotes(["BTC-USD"]))
    assert [(q.symbol, q.price) for q in asked.value] == [("BTC-USD", 90000.5)]
    assert {t.capability for t in asked.meter.attempts} == {Capability.CRYPTO_QUOTES}
    error = refused({QUOTE: quoted(coin)}, lambda vendor: vendor.quotes(["ETH-USD"]))
    assert isinstance(error, MalformedResponse)


def summary(**more: Any) -> dict[str, Any]:
    """Construct a company's modules, by the names that the library reads."""
    modules = {
        "assetProfile": {"sector": "Technology", "industry": "Consumer Electronics", "fullTimeEmployees": 150000},
        "price": {
            "symbol": "AAPL",
            "longName": "Apple Inc.",
            "shortName": "Apple",
            "exchangeName": "NasdaqGS",
            "currency": "USD",
            "marketCap": 4000000000000,
        },
        "calendarEvents": {"earnings": {"earningsDate": [at("2026-10-29T20:00:00Z"), at("2027-01-28T21:00:00Z")]}},
    }
    return {"quoteSummary": {"result": [modules | more], "error": None}}


def test_a_company_is_described_with_its_next_earnings() -> None:
    asked = ask({SUMMARY + "AAPL": summary()}, lambda vendor: vendor.profile("AAPL"))
    assert asked.value == Profile(
        "yfinance",
        "AAPL",
        NOW,
        name="Apple Inc.",
        exchange="NasdaqGS",
        sector="Technology",
        industry="Consumer Electronics",
        market_cap=4e12,
        currency="USD",
        next_earnings=date(2027, 1, 28),
    )
    assert len(asked.server.paths(SUMMARY)) == 1


def test_a_fund_without_sector_or_earnings_is_described_by_what_there_is() -> None:
    fund = summary(assetProfile={}, calendarEvents={"earnings": {"earningsDate": []}})
    profile = ask({SUMMARY + "AAPL": fund}, lambda vendor: vendor.profile("AAPL")).value
    assert (profile.name, profile.sector, profile.next_earnings) == ("Apple Inc.", None, None)


def test_an_unknown_company_is_not_found_and_another_one_is_malformed() -> None:
    unknown = said("quoteSummary", "Not Found", "Quote not found for symbol: NOPE", 404)
    assert isinstance(refused({SUMMARY + "NOPE": unknown}, lambda v: v.profile("NOPE")), SymbolNotFound)
    assert isinstance(refused({SUMMARY + "MSFT": summary()}, lambda v: v.profile("MSFT")), MalformedResponse)


def test_splits_and_dividends_of_a_stretch_are_undone_by_the_splits_after_it() -> None:
    constructed = chart(
        "AAPL",
        WEEK,
        [9.0] * 5,
        splits={"2021-01-05": split(2, 1), "2021-01-08": split(4, 1)},
        dividends={"2021-01-04": {"amount": 0.125}, "2021-01-06": {"amount": 0.25}, "2021-01-08": {"amount": 0.25}},
    )
    first, last = date(2021, 1, 5), date(2021, 1, 7)
    splits = ask({CHART + "AAPL": constructed}, lambda vendor: vendor.splits("AAPL", first, last))
    assert splits.value.splits == (Split("AAPL", date(2021, 1, 5), Fraction(2)),)
    assert splits.value.dividends == ()
    dividends = ask({CHART + "AAPL": constructed}, lambda vendor: vendor.dividends("AAPL", first, last))
    assert dividends.value.dividends == (Dividend("AAPL", date(2021, 1, 6), 1.0),)
    assert len(dividends.server.paths(CHART)) == 1
    error = refused({}, lambda vendor: vendor.splits(None, first, last))
    assert (type(error), error.symbol) == (UnsupportedRequest, "the whole market")


def test_the_recorded_options_are_read_to_the_last_contract() -> None:
    recorded = recorded_chain()
    asked = ask({OPTIONS + "AAPL": recorded}, lambda vendor: vendor.options_chain("AAPL"))
    chain = asked.value
    listed = recorded["optionChain"]["result"][0]["options"][0]
    assert [c.contract for c in chain.contracts] == [
        o["contractSymbol"] for side in (listed["calls"], listed["puts"]) for o in side
    ]
    assert (chain.symbol, chain.underlying_price, chain.learned_at) == ("AAPL", 107.68, NOW)
    assert chain.contracts[0] == OptionContract(
        "AAPL160909C00080000",
        Right.CALL,
        date(2016, 9, 9),
        80.0,
        bid=25.55,
        ask=28.4,
        last=29.19,
        volume=2.0,
        open_interest=0.0,
        implied_volatility=2.3418010205078117,
    )
    assert chain.contracts[-1] == OptionContract(
        "AAPL160909P00120000",
        Right.PUT,
        date(2016, 9, 9),
        120.0,
        bid=12.15,
        ask=12.45,
        last=12.48,
        volume=1.0,
        open_interest=11.0,
        implied_volatility=0.70117486328125,
    )


def test_options_of_a_day_are_those_of_that_day() -> None:
    recorded = recorded_chain()
    asked = ask({OPTIONS + "AAPL": recorded}, lambda vendor: vendor.options_chain("AAPL", date(2016, 9, 9)))
    assert {c.expiry for c in asked.value.contracts} == {date(2016, 9, 9)}
    (call,) = (c for c in asked.server.calls if c.path.startswith(OPTIONS))
    assert call.query["date"] == "1473379200"
    error = refused({OPTIONS + "AAPL": recorded}, lambda vendor: vendor.options_chain("AAPL", date(2016, 9, 10)))
    assert isinstance(error, UnsupportedRequest)
    assert error.symbol == "AAPL"
    assert "2016-09-16" in str(error)
    error = refused({OPTIONS + "AAPL": recorded}, lambda vendor: vendor.options_chain("AAPL", date(2016, 9, 16)))
    assert isinstance(error, MalformedResponse)


def test_an_unknown_underlying_is_not_found_and_one_without_options_has_none() -> None:
    unknown = {"optionChain": {"result": [], "error": None}}
    assert isinstance(refused({OPTIONS + "NOPE": unknown}, lambda v: v.options_chain("NOPE")), SymbolNotFound)
    bare = {"underlyingSymbol": "BRK-A", "expirationDates": [], "strikes": [], "quote": {}, "options": []}
    none = {"optionChain": {"result": [bare], "error": None}}
    assert ask({OPTIONS + "BRK-A": none}, lambda v: v.options_chain("BRK.A")).value.contracts == ()
