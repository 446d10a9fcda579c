"""Yahoo through yfinance: split-adjusted as of today, so fetched through today and put back into raw prices.

The library's `download` is one chart call per symbol in threads, and it turns every failure into a log line. Here the
same calls (`Ticker.history`) run in threads of our own, so that each failure keeps its type.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date, timedelta
from fractions import Fraction
from http import HTTPStatus
from typing import Any

import numpy as np
import pandas as pd
import requests as plain_requests
from curl_cffi import requests as curl_requests

from quantmatrix_pipeline.bars.adjustment import SplitTable, to_raw
from quantmatrix_pipeline.bars.batch import BarBatch, Basis
from quantmatrix_pipeline.errors import (
    MalformedResponse,
    RateLimited,
    SymbolNotFound,
    UnsupportedRequest,
    VendorError,
    VendorUnavailable,
)
from quantmatrix_pipeline.providers.answers import ConstituentsAnswer, DailyAnswer, Dividend, Listing, Split
from quantmatrix_pipeline.providers.contract import BarRequest, Capability
from quantmatrix_pipeline.providers.symbols import to_vendor
from quantmatrix_pipeline.providers.vendors.held import HeldBars
from quantmatrix_pipeline.providers.vendors.yahoo_session import CHART, ChartRefused, ChartSession

VENDOR = "yfinance"
PART = 64  # symbols per part of an answer
TIMEOUT = 15.0  # seconds per call
_LOST = 3  # calls in a row without a connection after which nobody else is asked
_EXCHANGE_TZ = "America/New_York"
_MARGIN = timedelta(days=1)  # a session of Tokyo, or a UTC day of crypto, opens before New York's midnight
_PRICES = ["Open", "High", "Low", "Close"]
_NETWORK = (curl_requests.exceptions.RequestException, plain_requests.exceptions.RequestException, OSError)
_BEFORE_LISTING = "Data doesn't exist for startDate"


@dataclass(frozen=True, slots=True)
class _Chart:
    """One symbol's history as yfinance gives it."""

    frame: pd.DataFrame
    currency: str


@dataclass(frozen=True, slots=True)
class _Fetched:
    bars: BarBatch
    splits: tuple[Split, ...]
    dividends: tuple[Dividend, ...]


class YahooProvider:
    """Serves daily bars of whatever Yahoo knows, raw, with the splits and dividends since the first session asked for.

    Parameters
    ----------
    session
        A `curl_cffi` or `requests` session to use instead of our own. yfinance keeps one session per process: the last
        one wins.
    base_url
        Where Yahoo's hosts are reached instead, for a proxy or a recording.
    """

    name = VENDOR
    capabilities = frozenset({Capability.DAILY_BARS})

    def __init__(self, *, session: Any = None, base_url: str | None = None) -> None:
        self._session = session if session is not None else ChartSession(base_url)

    def answers(self, timeout: float) -> bool:
        """Say whether Yahoo serves a chart within `timeout` seconds; one small call, no exception."""
        url = f"https://query2.finance.yahoo.com{CHART}SPY"
        try:
            answer = self._session.get(url, params={"range": "1d", "interval": "1d"}, timeout=timeout)
        except (ChartRefused, *_NETWORK):
            return False
        return bool(answer.status_code == HTTPStatus.OK and '"chart"' in answer.text)

    def newest_session(self, closed: date) -> date:
        """Return `closed`: Yahoo has a session's bar minutes after its close."""
        return closed

    def listings(self) -> Sequence[Listing]:
        return []

    async def constituents(self, index: str, session: date) -> ConstituentsAnswer:
        raise UnsupportedRequest(VENDOR, f"has no members of {index}")

    async def daily_bars(self, requests: Sequence[BarRequest], *, concurrency: int) -> AsyncIterator[DailyAnswer]:
        """Yield parts of at most 64 symbols, one call per symbol.

        After a 429, or three calls in a row without a connection, no further symbol is asked; the rest fails alike.

        Raises
        ------
        VendorUnavailable
            If Yahoo could not be reached before it gave a single answer.
        """
        stop = _Stop()
        loop = asyncio.get_running_loop()
        with ThreadPoolExecutor(max_workers=concurrency, thread_name_prefix=VENDOR) as pool:
            for start in range(0, len(requests), PART):
                part = requests[start : start + PART]
                found = await asyncio.gather(*(loop.run_in_executor(pool, self._ask, r, stop) for r in part))
                if isinstance(stop.cause, VendorUnavailable) and not stop.answered:
                    raise VendorUnavailable(
                        VENDOR, f"Yahoo can't be reached; go online, or set QM_SOURCE to files or sample ({stop.cause})"
                    )
                yield _answer(part, found)

    def _ask(self, request: BarRequest, stop: _Stop) -> _Fetched | VendorError:
        if stop.cause is not None:
            return _again(stop.cause, request.symbol)
        try:
            found = _transform(request, self._extract(request))
        except VendorError as error:
            stop.failed(error)
            return error
        except (ArithmeticError, LookupError, TypeError, ValueError) as error:
            # One symbol's nonsense must not cost the others their night.
            return MalformedResponse(VENDOR, f"the answer can't be read ({error})", symbol=request.symbol)
        stop.succeeded()
        return found

    def _extract(self, request: BarRequest) -> _Chart | None:
        """Make the one call for a symbol; None where Yahoo knows it but has nothing on these days.

        The call reaches from the first wanted session to today, because the prices are adjusted for every split until
        today and each of them must be in the answer.
        """
        import yfinance as yf  # costs a second and opens caches on disk

        yf.config.debug.hide_exceptions = False
        logging.getLogger("yfinance").setLevel(logging.CRITICAL)  # each failure is handed on with its type instead
        theirs, symbol = to_vendor(VENDOR, request.symbol), request.symbol
        ticker = yf.Ticker(theirs, session=self._session)
        ticker._tz = _EXCHANGE_TZ  # else a second call per symbol, only to learn where the window's midnight lies
        try:
            frame = ticker.history(
                start=request.first - _MARGIN,
                interval="1d",
                auto_adjust=False,
                actions=True,
                repair=False,
                timeout=TIMEOUT,
            )
        except ChartRefused as refused:
            if _BEFORE_LISTING in refused.text:
                return None
            raise _typed(refused, symbol) from refused
        except yf.exceptions.YFRateLimitError as error:
            raise RateLimited(VENDOR, "429, too many requests; go on later", symbol=symbol) from error
        except yf.exceptions.YFPricesMissingError as error:
            meta = getattr(getattr(ticker, "_price_history", None), "_history_metadata", None) or {}
            if error.yahoo_reason is None and meta.get("symbol") == theirs:
                return None
            if error.yahoo_reason is None:
                raise MalformedResponse(VENDOR, f"no chart in the answer: {error}", symbol=symbol) from error
            raise SymbolNotFound(VENDOR, error.yahoo_reason, symbol=symbol) from error
        except yf.exceptions.YFTickerMissingError as error:
            raise SymbolNotFound(VENDOR, str(error), symbol=symbol) from error
        except (*_NETWORK, yf.exceptions.YFDataException) as error:
            if isinstance(error, ValueError):  # a JSON error of requests is both
                raise MalformedResponse(VENDOR, f"the answer is no JSON: {error}", symbol=symbol) from error
            raise VendorUnavailable(VENDOR, f"{type(error).__name__}: {error}", symbol=symbol) from error
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            what = f"the answer is no chart: {type(error).__name__}: {error}"
            raise MalformedResponse(VENDOR, what[:300], symbol=symbol) from error
        meta = ticker.history_metadata
        if meta.get("symbol") != theirs:
            raise MalformedResponse(VENDOR, f"asked for {theirs}, answered with {meta.get('symbol')}", symbol=symbol)
        return _Chart(frame, str(meta.get("currency") or "USD"))


class _Stop:
    """Shared by the calls of one fetch: whether it makes sense to ask any further."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lost = 0
        self.cause: RateLimited | VendorUnavailable | None = None
        self.answered = False

    def succeeded(self) -> None:
        with self._lock:
            self.answered, self._lost = True, 0

    def failed(self, error: VendorError) -> None:
        with self._lock:
            if isinstance(error, RateLimited):
                self.cause = error
            elif isinstance(error, VendorUnavailable):
                self._lost += 1
                if self._lost >= _LOST:
                    self.cause = error
            else:  # a refusal is an answer too
                self.answered, self._lost = True, 0


def _again(cause: RateLimited | VendorUnavailable, symbol: str) -> VendorError:
    if isinstance(cause, RateLimited):
        return RateLimited(VENDOR, "not asked: rate-limited before", symbol=symbol, retry_after=cause.retry_after)
    return VendorUnavailable(VENDOR, "not asked: the connection was lost before", symbol=symbol)


def _typed(refused: ChartRefused, symbol: str) -> VendorError:
    if refused.status == HTTPStatus.TOO_MANY_REQUESTS:
        return RateLimited(VENDOR, "429, too many requests", symbol=symbol, retry_after=refused.retry_after)
    if refused.status == HTTPStatus.NOT_FOUND:
        return SymbolNotFound(VENDOR, "not known there, or delisted", symbol=symbol)
    if refused.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return VendorUnavailable(VENDOR, str(refused), symbol=symbol)
    return MalformedResponse(VENDOR, str(refused), symbol=symbol)


def _transform(request: BarRequest, chart: _Chart | None) -> _Fetched:
    """Turn a chart into raw bars on the requested sessions, with splits and dividends as they happened."""
    if chart is None or chart.frame.empty:
        return _Fetched(BarBatch.empty(), (), ())
    symbol, frame = request.symbol, chart.frame
    missing = {*_PRICES, "Volume", "Dividends", "Stock Splits"} - set(frame.columns)
    if missing:
        raise MalformedResponse(VENDOR, f"the answer lacks {', '.join(sorted(missing))}", symbol=symbol)
    session = pd.DatetimeIndex(frame.index).tz_localize(None).to_numpy().astype("datetime64[D]")
    ratio = frame["Stock Splits"].to_numpy(np.float64)
    cash = frame["Dividends"].to_numpy(np.float64)
    on = np.flatnonzero(ratio > 0)
    splits = tuple(Split(symbol, session[k].item(), _ratio(ratio[k])) for k in on)

    index = np.zeros(len(session), np.int32)
    table = SplitTable.build(np.zeros(len(on), np.int32).tolist(), session[on], [s.ratio for s in splits])
    amounts = np.stack([*(frame[name].to_numpy(np.float64) for name in _PRICES), cash])  # dividends are adjusted alike
    raw, volume = to_raw(amounts, frame["Volume"].to_numpy(np.float64), index, session, session.max(), table)
    paid = np.flatnonzero(cash > 0)
    dividends = tuple(Dividend(symbol, session[k].item(), float(raw[4, k]), chart.currency) for k in paid)
    bars = BarBatch((symbol,), index, session, raw[0], raw[1], raw[2], raw[3], volume)
    return _Fetched(HeldBars(bars).serve([request], weekends=False), splits, dividends)


def _ratio(shares: float) -> Fraction:
    """Return a split's ratio as the rational it was announced as; a reverse split is one over a small whole number."""
    if shares >= 1:
        return Fraction(shares).limit_denominator(1000)
    return 1 / Fraction(1 / shares).limit_denominator(1000)


def _answer(part: Sequence[BarRequest], found: Sequence[_Fetched | VendorError]) -> DailyAnswer:
    fetched = [f for f in found if isinstance(f, _Fetched)]
    return DailyAnswer(
        vendor=VENDOR,
        basis=Basis.RAW,
        basis_date=None,
        bars=BarBatch.concat([f.bars for f in fetched if len(f.bars)]),
        splits=tuple(s for f in fetched for s in f.splits),
        dividends=tuple(d for f in fetched for d in f.dividends),
        failures={r.symbol: f for r, f in zip(part, found, strict=True) if isinstance(f, VendorError)},
    )
