"""Yahoo through the real library against a server on this machine: recorded charts, and constructed ones called so."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from datetime import date
from fractions import Fraction
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
import requests
import yfinance as yf

from quantmatrix_pipeline.bars.batch import Basis
from quantmatrix_pipeline.errors import (
    MalformedResponse,
    RateLimited,
    SymbolNotFound,
    VendorError,
    VendorUnavailable,
)
from quantmatrix_pipeline.providers.vendors.yahoo import YahooProvider
from quantmatrix_pipeline_tests.shared_data import shared_data
from quantmatrix_pipeline_tests.unit.providers.vendors.folders import ask, days
from quantmatrix_pipeline_tests.unit.providers.vendors.replay import Call, Replay, Reply, replay

CHART = "/v8/finance/chart/"
WEEK = days("2021-01-04", "2021-01-08")
NOT_FOUND = json.dumps(
    {"chart": {"result": None, "error": {"code": "Not Found", "description": "No data found, symbol may be delisted"}}}
)
BEFORE_LISTING = json.dumps(
    {"chart": {"result": None, "error": {"code": "Bad Request", "description": "Data doesn't exist for startDate = 1"}}}
)


@pytest.fixture(autouse=True)
def _caches_of_their_own(tmp_path: Path) -> None:
    yf.set_tz_cache_location(str(tmp_path / "yfinance"))


@pytest.fixture(autouse=True)
def _no_answer_remembered() -> Iterator[None]:
    yield
    yf.data.YfData.cache_get.cache_clear()


def chart(symbol: str, dates: np.ndarray, close: list[float], **more: Any) -> dict[str, Any]:
    """Construct a chart as Yahoo answers it: stamps at the session's open, OHLC around the close."""
    stamps = [int(d.astype("datetime64[s]").astype(int)) + 14 * 3600 + 1800 for d in dates]
    quote = {
        "open": close,
        "high": [c + 1 for c in close],
        "low": [c - 1 for c in close],
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
        "regularMarketTime": stamps[-1] if stamps else 0,
        "validRanges": ["1d", "5d", "max"],
        "priceHint": 2,
        "dataGranularity": "1d",
        "range": "",
    }
    events: dict[str, Any] = {}
    for kind, dated in more.items():
        by_stamp = {str(int(np.datetime64(d, "s").astype(int)) + 52200): e for d, e in dated.items()}
        events[kind] = {s: {"date": int(s), **e} for s, e in by_stamp.items()}
    indicators = {"quote": [quote], "adjclose": [{"adjclose": close}]}
    result = {"meta": meta, "timestamp": stamps, "indicators": indicators}
    if events:
        result["events"] = events
    return {"chart": {"result": [result], "error": None}}


def split(numerator: int, denominator: int) -> dict[str, Any]:
    return {"numerator": numerator, "denominator": denominator, "splitRatio": f"{numerator}:{denominator}"}


def yahoo(charts: dict[str, Any]) -> Any:
    """Return how Yahoo's hosts answer: a cookie, a crumb, charts."""

    def answer(call: Call) -> Reply:
        if call.path.startswith(CHART):
            found = charts.get(call.path.removeprefix(CHART), Reply(NOT_FOUND, 404))
            return found if isinstance(found, Reply) else Reply(json.dumps(found))
        return Reply("crumb") if call.path.endswith("getcrumb") else Reply("", 404)

    return answer


def failure(charts: dict[str, Any], symbol: str = "AAPL") -> tuple[VendorError, Replay]:
    with replay(yahoo(charts)) as server:
        (answer,) = ask(YahooProvider(base_url=server.url), [symbol], WEEK)
    assert len(answer.bars) == 0
    return answer.failures[symbol], server


def test_recorded_charts_are_read_to_the_last_value() -> None:
    recorded = json.loads(gzip.decompress(shared_data("payloads/yahoo/v8_chart_1d_1y_2026-05-03.json.gz").read_bytes()))
    symbols = ["SPY", "TLT", "^GSPC", "XLB"]
    with replay(yahoo(recorded["charts"])) as server:
        (answer,) = ask(YahooProvider(base_url=server.url), symbols, days("2025-05-01", "2026-05-01"))
    assert answer.failures == {}
    assert (answer.basis, answer.basis_date) == (Basis.RAW, None)
    assert [(s.symbol, s.ex_date, s.ratio) for s in answer.splits] == [("XLB", date(2025, 12, 5), Fraction(2))]
    for place, symbol in enumerate(answer.bars.symbols):
        result = recorded["charts"][symbol]["chart"]["result"][0]
        own = answer.bars.symbol_index == place
        sessions = np.array(result["timestamp"], "datetime64[s]").astype("datetime64[D]")
        assert answer.bars.session[own].tolist() == sessions.tolist()
        factor = np.where((sessions < np.datetime64("2025-12-05")) & (symbol == "XLB"), 2.0, 1.0)
        given = result["indicators"]["quote"][0]
        for name in ("open", "high", "low", "close"):
            assert getattr(answer.bars, name)[own].tolist() == (np.array(given[name]) * factor).tolist()
        assert answer.bars.volume[own].tolist() == (np.array(given["volume"]) / factor).tolist()
        events = result.get("events", {}).get("dividends", {}).values()
        paid = {np.datetime64(e["date"], "s").astype("datetime64[D]"): e["amount"] for e in events}
        assert [(d.ex_date, d.amount) for d in answer.dividends if d.symbol == symbol] == [
            (d.item(), paid[d] * f) for d, f in zip(sessions, factor, strict=True) if d in paid
        ]


def test_split_adjusted_answers_become_the_prices_and_dividends_that_traded() -> None:
    dates = days("2021-01-04", "2021-01-12")
    constructed = chart(
        "AAPL",
        dates,
        [25.0, 25.0, 25.0, 26.0, 26.0, 27.0, 27.0],  # adjusted for 4:1 on the 7th and for 1:2 on the 12th
        volume=[400, 400, 400, 100, 100, 100, 50],
        splits={"2021-01-07": split(4, 1), "2021-01-12": split(1, 2)},
        dividends={"2021-01-05": {"amount": 0.25}},
    )
    with replay(yahoo({"AAPL": constructed})) as server:
        (answer,) = ask(YahooProvider(base_url=server.url), ["AAPL"], WEEK)
    assert answer.bars.session.tolist() == WEEK.tolist()
    assert answer.bars.close.tolist() == [50.0, 50.0, 50.0, 13.0, 13.0]
    assert answer.bars.volume.tolist() == [200, 200, 200, 200, 200]
    assert [(s.ex_date, s.ratio) for s in answer.splits] == [
        (date(2021, 1, 7), Fraction(4)),
        (date(2021, 1, 12), Fraction(1, 2)),
    ]
    assert [(d.ex_date, d.amount, d.currency) for d in answer.dividends] == [(date(2021, 1, 5), 0.5, "USD")]


def test_recorded_days_of_crypto_are_utc_days_and_none_is_lost() -> None:
    recorded = json.loads(gzip.decompress(shared_data("payloads/yahoo/v8_chart_1d_1y_2026-05-03.json.gz").read_bytes()))
    first, last = np.datetime64("2025-05-03", "D"), np.datetime64("2026-05-02", "D")
    stamps = recorded["charts"]["BTC-USD"]["chart"]["result"][0]["timestamp"]
    with replay(yahoo(recorded["charts"])) as server:
        (answer,) = ask(YahooProvider(base_url=server.url), ["BTC-USD"], np.arange(first, last + 1))
    (call,) = (c for c in server.calls if c.path.startswith(CHART))
    assert int(call.query["period1"]) <= stamps[0]
    assert answer.bars.session.tolist() == np.arange(first, last + 1).tolist()


def test_each_symbol_costs_one_call_that_reaches_to_today() -> None:
    with replay(yahoo({s: chart(s, WEEK, [9.0] * 5) for s in ("AAPL", "BRK-B")})) as server:
        (answer,) = ask(YahooProvider(base_url=server.url), ["AAPL", "BRK.B"], WEEK[:1])
    assert sorted(server.paths(CHART)) == [CHART + "AAPL", CHART + "BRK-B"]
    assert set(answer.bars.symbols) == {"AAPL", "BRK.B"}
    assert answer.bars.session.tolist() == [WEEK[0].item()] * 2
    (call, _) = (c for c in server.calls if c.path.startswith(CHART))
    monday = 1609736400  # 2021-01-04 00:00 in New York
    assert int(call.query["period1"]) == monday - 86400
    assert int(call.query["period2"]) > monday + 5 * 365 * 86400


def test_a_session_can_be_injected() -> None:
    class Local(requests.Session):
        def request(self, method: Any, url: Any, *args: Any, **kwargs: Any) -> Any:
            return super().request(method, server.url + urlsplit(url).path, *args, **kwargs)

    with replay(yahoo({"AAPL": chart("AAPL", WEEK, [9.0] * 5)})) as server:
        (answer,) = ask(YahooProvider(session=Local()), ["AAPL", "NOPE"], WEEK)
    assert len(answer.bars) == 5
    assert isinstance(answer.failures["NOPE"], SymbolNotFound)


def test_an_unknown_symbol_is_asked_for_once() -> None:
    error, server = failure({}, "NOPE")
    assert isinstance(error, SymbolNotFound)
    assert server.paths(CHART) == [CHART + "NOPE"]


@pytest.mark.parametrize(
    "nothing",
    [
        Reply(BEFORE_LISTING, 400),
        {"chart": {"result": [chart("AAPL", WEEK, [])["chart"]["result"][0] | {"indicators": {"quote": [{}]}}]}},
    ],
)
def test_a_known_symbol_without_bars_in_the_window_is_no_failure(nothing: Any) -> None:
    if isinstance(nothing, dict):
        nothing["chart"]["error"] = None
    with replay(yahoo({"AAPL": nothing})) as server:
        (answer,) = ask(YahooProvider(base_url=server.url), ["AAPL"], WEEK)
    assert (len(answer.bars), dict(answer.failures)) == (0, {})


def test_after_a_429_nobody_else_is_asked() -> None:
    refuse = Reply("Too Many Requests", 429, {"Retry-After": "60"})
    names = [f"S{n}" for n in range(200)]
    with replay(yahoo(dict.fromkeys(names, refuse))) as server:
        answers = ask(YahooProvider(base_url=server.url), names, WEEK, concurrency=2)
    failures = {s: e for a in answers for s, e in a.failures.items()}
    assert set(failures) == set(names)
    assert all(isinstance(e, RateLimited) and e.retry_after == 60 for e in failures.values())
    assert len(server.paths(CHART)) <= 2  # as many as were under way at once


@pytest.mark.parametrize(
    "answer",
    [
        Reply("<html>Will you accept cookies?</html>"),
        Reply('{"chart": {"result": [{"meta"'),
        Reply("[]"),
        Reply('{"finance": {"result": null, "error": {"code": "Unauthorized", "description": "Invalid Crumb"}}}'),
        Reply(json.dumps(chart("MSFT", WEEK, [9.0] * 5))),
        Reply(json.dumps(chart("AAPL", WEEK, [9.0] * 5)).replace("9.0", '"nine"')),
    ],
    ids=["page", "truncated", "list", "error", "other symbol", "text for numbers"],
)
def test_an_answer_that_is_no_chart_of_the_symbol_is_malformed(answer: Reply) -> None:
    error, _ = failure({"AAPL": answer})
    assert isinstance(error, MalformedResponse)


def test_a_server_error_is_unavailability_and_the_other_symbols_go_on() -> None:
    with replay(yahoo({"AAPL": Reply("oops", 502), "MSFT": chart("MSFT", WEEK, [9.0] * 5)})) as server:
        (answer,) = ask(YahooProvider(base_url=server.url), ["AAPL", "MSFT"], WEEK)
    assert isinstance(answer.failures["AAPL"], VendorUnavailable)
    assert len(answer.bars) == 5


def test_without_a_connection_the_whole_call_fails_after_a_few_tries() -> None:
    with replay(yahoo({})) as gone:
        pass
    provider = YahooProvider(base_url=gone.url)
    with pytest.raises(VendorUnavailable, match="QM_SOURCE"):
        ask(provider, [f"S{n}" for n in range(100)], WEEK)
    assert not provider.answers(1.0)


def test_reachability_is_one_call() -> None:
    with replay(yahoo({"SPY": chart("SPY", WEEK, [9.0] * 5)})) as server:
        assert YahooProvider(base_url=server.url).answers(5.0)
    assert [c.path for c in server.calls] == [CHART + "SPY"]
    with replay(lambda _: Reply("Too Many Requests", 429)) as busy:
        assert not YahooProvider(base_url=busy.url).answers(5.0)
