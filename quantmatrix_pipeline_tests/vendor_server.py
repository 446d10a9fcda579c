"""Several vendors on this machine: one HTTP server that speaks the documented dialects of each over one small market.

Keys are checked as each vendor checks its own, every vendor lacks what its free plan lacks, and a test puts any of them
into trouble while it runs.
"""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, datetime
from datetime import time as time_of_day
from types import MappingProxyType
from typing import Any
from zoneinfo import ZoneInfo

import pandas as pd
import pytest

from quantmatrix_pipeline.settings.loading import KNOWN
from quantmatrix_pipeline_tests.unit.providers.vendors.replay import Call, Replay, Reply, replay

NEW_YORK = ZoneInfo("America/New_York")
JSON: Mapping[str, str] = MappingProxyType({"Content-Type": "application/json"})
KEYS: Mapping[str, str] = MappingProxyType(
    {
        "finnhub": "finnhubKEYgood00001",
        "twelve_data": "twelvedataKEYgood02",
        "polygon": "polygonKEYgood00003",
        "fmp": "fmpKEYgood000000004",
        "fred": "abcdef0123456789abcdef0123456789",
    }
)
_KEY_VARIABLES = {name: f"{name.upper()}_API_KEY" for name in KEYS}
_BASE_VARIABLES = {
    name: f"QM_{'YAHOO' if name == 'yfinance' else name.upper()}_BASE_URL" for name in (*KEYS, "yfinance", "wikipedia")
}
_PLAIN = ("open", "high", "low", "close", "volume")

Trouble = Callable[[str, Call], Reply | None]


@dataclass(frozen=True)
class SplitOf:
    """`new` shares for `old` ones from `ex_date` on."""

    symbol: str
    ex_date: date
    new: int
    old: int


@dataclass
class Market:
    """What there is to know: bars as traded (`symbol`, `date`, open .. volume), splits, members of the Dow.

    `lacking` names for each vendor the symbols that it does not know; `ends` the last day that a vendor has of a
    symbol, where that is not the market's.
    """

    bars: pd.DataFrame
    splits: Sequence[SplitOf] = ()
    members: Sequence[str] = ()
    lacking: Mapping[str, Collection[str]] = field(default_factory=dict)
    ends: Mapping[tuple[str, str], date] = field(default_factory=dict)

    def of(self, vendor: str, symbol: str) -> pd.DataFrame:
        """Return a symbol's bars, ascending, as far as a vendor has them."""
        bars = self.bars[self.bars["symbol"] == symbol]
        if symbol in self.lacking.get(vendor, ()):
            return bars.iloc[:0]
        end = self.ends.get((vendor, symbol))
        return bars if end is None else bars[bars["date"] <= end]

    def on(self, vendor: str, day: date) -> pd.DataFrame:
        """Return the bars of a day that a vendor has."""
        bars = self.bars[self.bars["date"] == day]
        gone = {s for (v, s), end in self.ends.items() if v == vendor and end < day}
        return bars[~bars["symbol"].isin({*self.lacking.get(vendor, ()), *gone})]

    def adjusted(self, vendor: str, symbol: str) -> pd.DataFrame:
        """Return a symbol's bars in today's shares."""
        bars = self.of(vendor, symbol).astype(dict.fromkeys(_PLAIN, float))
        for split in self.splits:
            if split.symbol == symbol:
                before = bars["date"] < split.ex_date
                bars.loc[before, list(_PLAIN[:4])] *= split.old / split.new
                bars.loc[before, "volume"] *= split.new / split.old
        return bars


@dataclass
class Vendors:
    """The running server.

    Attributes
    ----------
    keys
        Vendor -> the key that it takes at the moment.
    trouble
        Vendor -> what it does instead of answering; see the functions below.
    """

    market: Market
    served: Replay
    keys: dict[str, str] = field(default_factory=lambda: dict(KEYS))
    trouble: dict[str, Trouble] = field(default_factory=dict)

    @property
    def addresses(self) -> dict[str, str]:
        """Base-URL variable -> this server's part that plays the vendor."""
        return {variable: f"{self.served.url}/{name}" for name, variable in _BASE_VARIABLES.items()}

    def settings(self, *with_key: str) -> dict[str, str]:
        """Return the variables of a user who has the keys of these vendors, all of whose vendors are here."""
        return self.addresses | {_KEY_VARIABLES[name]: KEYS[name] for name in with_key}

    def enter(self, patch: pytest.MonkeyPatch, *with_key: str) -> None:
        """Make the environment such a user's; nothing that this machine sets besides is left of it."""
        for name in KNOWN:
            patch.delenv(name, raising=False)
        for name, value in self.settings(*with_key).items():
            patch.setenv(name, value)
        for name in ("QM_RECONCILE_SAMPLE", "QM_RECONCILE_FLAGGED"):
            patch.setenv(name, "0")  # what a night needs is counted call by call; a second vendor's word is beside it

    def calls(self, vendor: str, path: str = "/") -> list[Call]:
        """Return the calls that a vendor got, in their order, whose path begins with `path`."""
        prefix = f"/{vendor}{path}"
        return [call for call in self.served.calls if call.path.startswith(prefix)]

    def count(self) -> dict[str, int]:
        """Return vendor -> how many calls it got."""
        found: dict[str, int] = defaultdict(int)
        for call in self.served.calls:
            found[call.path.split("/")[1]] += 1
        return dict(found)

    def forget(self) -> None:
        """Forget the calls so far."""
        self.served.calls.clear()


@contextmanager
def vendors(market: Market) -> Iterator[Vendors]:
    """Serve a market until the block ends."""
    running: list[Vendors] = []

    def answer(call: Call) -> Reply:
        here = running[0]
        name, _, rest = call.path.lstrip("/").partition("/")
        own = Call(f"/{rest}", call.query, {k.lower(): v for k, v in call.headers.items()})
        dialect = _DIALECTS.get(name)
        if dialect is None:
            return Reply("no such vendor", 404)
        trouble = here.trouble.get(name)
        if trouble is not None and (reply := trouble(name, own)) is not None:
            return reply
        if name in here.keys and _key_in(name, own) != here.keys[name]:
            return _BAD_KEY[name]
        return dialect(here.market, own)

    with replay(answer) as served:
        running.append(Vendors(market, served))
        yield running[0]


# --- trouble ----------------------------------------------------------------------------------------------------------


def limited(seconds: float | None = None) -> Trouble:
    """Say "too many", with `Retry-After` where `seconds` are given."""
    more = {} if seconds is None else {"Retry-After": f"{seconds:g}"}

    def trouble(vendor: str, call: Call) -> Reply:
        return Reply(_LIMITED[vendor], 429, {**JSON, **more})

    return trouble


def broken(vendor: str, call: Call) -> Reply:
    """Fail as a server does."""
    return Reply("Internal Server Error", 500)


def premium(vendor: str, call: Call) -> Reply:
    """Say that the plan lacks whatever is asked for."""
    return _PREMIUM[vendor]


def garbage(vendor: str, call: Call) -> Reply:
    """Answer with a page for people."""
    return Reply("<!doctype html><html><body>We'll be back soon</body></html>", 200, {"Content-Type": "text/html"})


def slow(seconds: float) -> Trouble:
    """Answer late."""

    def trouble(vendor: str, call: Call) -> None:
        time.sleep(seconds)

    return trouble


def at(path: str, trouble: Trouble) -> Trouble:
    """Return a trouble that only what begins with `path` is in."""
    return lambda vendor, call: trouble(vendor, call) if call.path.startswith(path) else None


# --- what each vendor says when it says no ----------------------------------------------------------------------------


def _json(body: Any, status: int = 200) -> Reply:
    return Reply(json.dumps(body), status, JSON)


_FMP_PLAN = "Restricted Endpoint: This endpoint is not available under your current subscription please visit our page"
_BAD_KEY = {
    "finnhub": _json({"error": "Invalid API key"}, 401),
    "twelve_data": _json(
        {"code": 401, "message": "**apikey** parameter is incorrect or not specified.", "status": "error"}, 401
    ),
    "polygon": _json({"status": "ERROR", "request_id": "r", "error": "Unknown API Key"}, 401),
    "fmp": _json({"Error Message": "Invalid API KEY. Feel free to create a Free API Key."}, 401),
    "fred": _json({"error_code": 400, "error_message": "Bad Request.  The value for variable api_key is wrong."}, 400),
}
_PREMIUM = {
    "finnhub": _json({"error": "You don't have access to this resource."}, 403),
    "twelve_data": _json(
        {"code": 403, "message": "/x is available exclusively with grow or pro plans.", "status": "error"}, 403
    ),
    "polygon": _json(
        {"status": "NOT_AUTHORIZED", "request_id": "r", "message": "You are not entitled to this data."}, 403
    ),
    "fmp": Reply(_FMP_PLAN, 402, {"Content-Type": "text/plain"}),
}
_LIMITED = {
    "finnhub": json.dumps({"error": "API limit reached. Please try again later. Remaining Limit: 0"}),
    "twelve_data": json.dumps(
        {"code": 429, "message": "You have run out of API credits for the current minute.", "status": "error"}
    ),
    "polygon": json.dumps({"status": "ERROR", "error": "You've exceeded the maximum requests per minute, please wait"}),
    "fmp": json.dumps({"Error Message": "Limit Reach . Please upgrade your plan"}),
    "yfinance": "Too Many Requests",
    "wikipedia": "Too many requests",
    "fred": json.dumps({"error_code": 429, "error_message": "Too Many Requests.  Exceeded Rate Limit"}),
}


def _key_in(vendor: str, call: Call) -> str | None:
    if vendor == "polygon":
        return call.headers.get("authorization", "").removeprefix("Bearer ")
    return call.query.get({"finnhub": "token", "fred": "api_key"}.get(vendor, "apikey"))


# --- dialects ---------------------------------------------------------------------------------------------------------


def _finnhub(market: Market, call: Call) -> Reply:
    symbol = call.query.get("symbol", "")
    bars = market.of("finnhub", symbol)
    match call.path:
        case "/quote" if len(bars):
            last, before = bars.iloc[-1], bars.iloc[max(len(bars) - 2, 0)]
            stamp = _seconds(last["date"], 16)
            prices = {"c": last["close"], "h": last["high"], "l": last["low"], "o": last["open"], "pc": before["close"]}
            return _json({**{k: float(v) for k, v in prices.items()}, "d": 0.0, "dp": 0.0, "t": stamp})
        case "/quote":
            return _json({"c": 0, "d": None, "dp": None, "h": 0, "l": 0, "o": 0, "pc": 0, "t": 0})
        case "/stock/profile2" if len(bars):
            company = {"ticker": symbol, "name": f"{symbol} Inc", "exchange": "NASDAQ", "currency": "USD"}
            return _json({**company, "finnhubIndustry": "Technology", "marketCapitalization": 1500.5})
        case "/stock/profile2":
            return _json({})
        case "/calendar/earnings":
            return _json({"earningsCalendar": []})
    return _PREMIUM["finnhub"]


def _twelve_data(market: Market, call: Call) -> Reply:
    symbols = call.query.get("symbol", "").split(",")
    if call.path not in ("/time_series", "/quote"):
        return _PREMIUM["twelve_data"]
    one = _twelve_series if call.path == "/time_series" else _twelve_quote
    if len(symbols) > 1:
        return _json({symbol: one(market, symbol, call) for symbol in symbols})
    body = one(market, symbols[0], call)
    return _json(body, body.get("code", 200))


def _twelve_unknown(symbol: str) -> dict[str, Any]:
    message = f"**symbol** {symbol} not found: is missing or invalid. Please provide a valid symbol."
    return {"code": 404, "message": message, "status": "error"}


def _twelve_series(market: Market, symbol: str, call: Call) -> dict[str, Any]:
    bars = market.of("twelve_data", symbol)
    if not len(bars):
        return _twelve_unknown(symbol)
    interval = call.query["interval"]
    meta = {"symbol": symbol, "interval": interval, "currency": "USD", "exchange": "NASDAQ", "type": "Common Stock"}
    first, last = call.query["start_date"], call.query["end_date"]
    if interval == "1day":
        rows = [(str(row["date"]), row) for row in _rows(bars) if first <= str(row["date"]) <= last]
    else:
        opened = [(datetime.fromtimestamp(_seconds(row["date"], 10), ZoneInfo("UTC")), row) for row in _rows(bars)]
        rows = [(f"{instant:%Y-%m-%d %H:%M:%S}", row) for instant, row in opened]
        rows = [(text, row) for text, row in rows if first <= text <= last]
    if not rows:
        text = "No data is available on the specified dates. Try setting different start/end dates."
        return {"code": 400, "message": text, "status": "error"}
    values = [{"datetime": text, **{name: str(row[name]) for name in _PLAIN}} for text, row in reversed(rows)]
    return {"meta": meta, "values": values, "status": "ok"}


def _twelve_quote(market: Market, symbol: str, call: Call) -> dict[str, Any]:
    bars = market.of("twelve_data", symbol)
    if not len(bars):
        return _twelve_unknown(symbol)
    last = bars.iloc[-1]
    stamp = _seconds(last["date"], 9)
    prices = {name: str(last[name]) for name in _PLAIN}
    return {"symbol": symbol, "currency": "USD", "timestamp": stamp, "last_quote_at": stamp, **prices}


def _polygon(market: Market, call: Call) -> Reply:
    parts = call.path.strip("/").split("/")
    match parts:
        case ["v2", "aggs", "grouped", "locale", "us", "market", "stocks", day]:
            bars = market.on("polygon", date.fromisoformat(day))
            rows = [{"T": row["symbol"], **_polygon_bar(row, 16)} for row in _rows(bars)]
            return _polygon_bars(rows, None)
        case ["v2", "aggs", "ticker", symbol, "range", "1", "day", first, last]:
            bars = market.of("polygon", symbol)
            rows = [_polygon_bar(row, 0) for row in _rows(bars) if first <= str(row["date"]) <= last]
            return _polygon_bars(rows, symbol)
        case ["v2", "aggs", "ticker", symbol, "range", _, "minute", first, last]:
            bars = [_polygon_bar(row, 10) for row in _rows(market.of("polygon", symbol))]
            return _polygon_bars([bar for bar in bars if int(first) <= bar["t"] <= int(last)], symbol)
        case ["v2", "aggs", "ticker", symbol, "prev"]:
            rows = [_polygon_bar(row, 16) for row in _rows(market.of("polygon", symbol).tail(1))]
            return _polygon_bars(rows, symbol)
        case ["v3", "reference", "splits"]:
            first, last = call.query["execution_date.gte"], call.query["execution_date.lte"]
            only = call.query.get("ticker")
            found = [
                {
                    "ticker": s.symbol,
                    "execution_date": str(s.ex_date),
                    "split_from": s.old,
                    "split_to": s.new,
                    "id": "E",
                }
                for s in market.splits
                if first <= str(s.ex_date) <= last and only in (None, s.symbol)
            ]
            return _json({"status": "OK", "request_id": "r", "results": found})
        case ["v3", "reference", "dividends"]:
            return _json({"status": "OK", "request_id": "r", "results": []})
        case ["v3", "reference", "tickers", symbol] if len(market.of("polygon", symbol)):
            company = {"ticker": symbol, "name": f"{symbol} Inc", "primary_exchange": "XNAS", "currency_name": "usd"}
            return _json({"status": "OK", "request_id": "r", "results": {**company, "market_cap": 1.5e9}})
        case ["v3", "reference", "tickers", _]:
            return _json({"status": "NOT_FOUND", "request_id": "r", "message": "Ticker not found."}, 404)
    return _PREMIUM["polygon"]


def _polygon_bar(row: Mapping[str, Any], hour: int) -> dict[str, Any]:
    prices = {"o": row["open"], "h": row["high"], "l": row["low"], "c": row["close"], "v": row["volume"]}
    return {**{k: float(v) for k, v in prices.items()}, "t": _seconds(row["date"], hour) * 1000, "n": 1}


def _polygon_bars(rows: list[dict[str, Any]], symbol: str | None) -> Reply:
    head = {"status": "OK", "request_id": "r", "adjusted": False, "queryCount": len(rows), "resultsCount": len(rows)}
    ticker = {} if symbol is None else {"ticker": symbol}
    return _json(head | ticker | ({"results": rows} if rows else {}))


def _fmp(market: Market, call: Call) -> Reply:
    symbol = call.query.get("symbol", "")
    bars = market.of("fmp", symbol)
    match call.path:
        case "/historical-price-eod/full":
            first, last = call.query["from"], call.query["to"]
            adjusted = market.adjusted("fmp", symbol)
            rows = [row for row in _rows(adjusted) if first <= str(row["date"]) <= last]
            return _json([{**row, "date": str(row["date"])} for row in reversed(rows)])
        case "/quote":
            rows = [{"symbol": symbol, "price": float(row["close"]), "timestamp": 1} for row in _rows(bars.tail(1))]
            return _json([{**row, "timestamp": _seconds(bars["date"].iloc[-1], 16)} for row in rows])
        case "/profile":
            company = {"symbol": symbol, "companyName": f"{symbol} Inc", "exchange": "NASDAQ", "currency": "USD"}
            described = {**company, "sector": "Technology", "industry": "Software", "marketCap": 1.5e9}
            return _json([described] if len(bars) else [])
        case "/splits":
            ours = [s for s in market.splits if s.symbol == symbol]
            return _json(
                [{"symbol": symbol, "date": str(s.ex_date), "numerator": s.new, "denominator": s.old} for s in ours]
            )
        case "/dividends":
            return _json([])
    return _PREMIUM["fmp"]


def _yahoo(market: Market, call: Call) -> Reply:
    parts = call.path.strip("/").split("/")
    match parts:
        case ["v8", "finance", "chart", symbol]:
            return _chart(market, symbol, call)
        case ["v7", "finance", "quote"]:
            known = [bars.iloc[-1] for s in call.query["symbols"].split(",") if len(bars := market.of("yfinance", s))]
            lasts = [
                {
                    "symbol": row["symbol"],
                    "regularMarketPrice": float(row["close"]),
                    "regularMarketTime": _seconds(row["date"], 16),
                }
                for row in known
            ]
            return _json({"quoteResponse": {"result": lasts, "error": None}})
        case ["v1", "test", "getcrumb"]:
            return Reply("crumb", headers={"Content-Type": "text/plain"})
        case ["v7", "finance", "options", symbol]:
            return _options(market, symbol)
    return Reply("", 404, {"Set-Cookie": "A3=cookie; Domain=127.0.0.1"})


def _chart(market: Market, symbol: str, call: Call) -> Reply:
    bars = market.adjusted("yfinance", symbol)
    if not len(bars):
        error = {"code": "Not Found", "description": "No data found, symbol may be delisted"}
        return _json({"chart": {"result": None, "error": error}}, 404)
    first, last = int(call.query.get("period1", 0)), int(call.query.get("period2", 1 << 40))
    rows = [(stamp, row) for row in _rows(bars) if first <= (stamp := _seconds(row["date"], 9, 30)) < last]
    meta = {
        "symbol": symbol,
        "currency": "USD",
        "instrumentType": "EQUITY",
        "exchangeTimezoneName": "America/New_York",
        "dataGranularity": call.query.get("interval", "1d"),
    }
    quotes = {name: [float(row[name]) for _, row in rows] for name in _PLAIN} if rows else {}
    divided = {
        str(stamp): {"date": stamp, "numerator": s.new, "denominator": s.old, "splitRatio": f"{s.new}:{s.old}"}
        for s in market.splits
        if s.symbol == symbol and first <= (stamp := _seconds(s.ex_date, 9, 30)) < last
    }
    chart: dict[str, Any] = {"meta": meta, "indicators": {"quote": [quotes]}}
    if rows:
        chart["timestamp"] = [stamp for stamp, _ in rows]
    if divided:
        chart["events"] = {"splits": divided}
    return _json({"chart": {"result": [chart], "error": None}})


def _options(market: Market, symbol: str) -> Reply:
    bars = market.of("yfinance", symbol)
    if not len(bars):
        return _json({"optionChain": {"result": [], "error": None}})
    price = float(bars["close"].iloc[-1])
    expiry = 2_000_000_000 // 86_400 * 86_400

    def contract(kind: str, strike: float) -> dict[str, Any]:
        name = f"{symbol}{datetime.fromtimestamp(expiry, ZoneInfo('UTC')):%y%m%d}{kind}{round(strike * 1000):08d}"
        known = {"contractSymbol": name, "strike": strike, "expiration": expiry, "currency": "USD"}
        return {**known, "lastPrice": 1.5, "bid": 1.4, "ask": 1.6, "volume": 10, "openInterest": 100}

    strikes = [round(price) - 5.0, round(price) + 5.0]
    chain = {
        "underlyingSymbol": symbol,
        "expirationDates": [expiry],
        "strikes": strikes,
        "quote": {"symbol": symbol, "regularMarketPrice": price},
        "options": [
            {
                "expirationDate": expiry,
                "calls": [contract("C", s) for s in strikes],
                "puts": [contract("P", s) for s in strikes],
            }
        ],
    }
    return _json({"optionChain": {"result": [chain], "error": None}})


def _wikipedia(market: Market, call: Call) -> Reply:
    if call.path != "/wiki/Dow_Jones_Industrial_Average" or not market.members:
        return Reply("<html><body>no such page</body></html>", 404, {"Content-Type": "text/html"})
    rows = "".join(f"<tr><td>{s} Inc</td><td>NYSE</td><td>{s}</td><td>Retail</td></tr>" for s in market.members)
    head = "<tr><th>Company</th><th>Exchange</th><th>Symbol</th><th>Industry</th></tr>"
    return Reply(f"<html><body><table>{head}{rows}</table></body></html>", 200, {"Content-Type": "text/html"})


def _fred(market: Market, call: Call) -> Reply:
    if call.query.get("series_id") != "DGS10":
        text = "Bad Request.  The series does not exist."
        return _json({"error_code": 400, "error_message": text}, 400)
    first, last = call.query["observation_start"], call.query["observation_end"]
    days = sorted({str(day) for day in market.bars["date"] if first <= str(day) <= last})
    rows = [{"realtime_start": day, "realtime_end": day, "date": day, "value": "4.25"} for day in days]
    return _json({"count": len(rows), "observations": rows})


def _rows(bars: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(name): value for name, value in row.items()} for row in bars.to_dict("records")]


def _seconds(day: date, hour: int, minute: int = 0) -> int:
    """Return the time of day in New York as seconds since 1970."""
    return int(datetime.combine(day, time_of_day(hour, minute), NEW_YORK).timestamp())


_DIALECTS: Mapping[str, Callable[[Market, Call], Reply]] = MappingProxyType(
    {
        "finnhub": _finnhub,
        "twelve_data": _twelve_data,
        "polygon": _polygon,
        "fmp": _fmp,
        "yfinance": _yahoo,
        "wikipedia": _wikipedia,
        "fred": _fred,
    }
)
