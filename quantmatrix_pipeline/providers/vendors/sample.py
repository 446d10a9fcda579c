"""The sample: public-domain daily bars of AAPL, FB, GOOG, IBM and MSFT, 2000-2013, out of `bokeh_sampledata`.

Prices are as traded. The package names no splits, but its adjusted close contains them: on an ex-date the factor
`adj_close / close` jumps by exactly the split's ratio, while a dividend moves it by an odd number.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import date
from fractions import Fraction
from importlib import import_module

import numpy as np

from quantmatrix_pipeline.bars.batch import BarBatch, Basis, Dates, Floats
from quantmatrix_pipeline.errors import ConfigurationError, SymbolNotFound, UnsupportedRequest
from quantmatrix_pipeline.providers.answers import ConstituentsAnswer, DailyAnswer, Listing, Split
from quantmatrix_pipeline.providers.contract import BarRequest, Capability
from quantmatrix_pipeline.providers.vendors.shared.held_bars import HeldBars

VENDOR = "sample"
SYMBOLS = ("AAPL", "FB", "GOOG", "IBM", "MSFT")
_NAMES = ("Apple", "Facebook", "Google", "IBM", "Microsoft")
_LARGEST_TERM = 20  # ratios are p:q with both terms up to this
_EXACT = 1e-6  # relative; true splits in the data fit to 1e-13, its dividends miss every such ratio by more than 1e-4
_SMALLEST_MOVE = 1.2  # a jump below 6:5 is a dividend's
_MARKET_MOVE = 1.3  # how far the price may move on the ex-date beside the split


def infer_splits(symbol: str, session: Dates, close: Floats, adj_close: Floats) -> tuple[Split, ...]:
    """Infer splits from the jumps of the adjustment factor.

    A split lies before bar k where `f = (adj_close / close)[k] / (adj_close / close)[k - 1]` is within 1e-6 of a ratio
    p/q of integers up to 20, is at least 6:5 one way or the other, and the price itself fell (or rose) by f within a
    market move of 30 %. Microsoft's special dividend of 2004-11-15 (f = 1.1124) is none by the first two rules. A
    split and a dividend with the same ex-date would be missed.

    Parameters
    ----------
    symbol
        The canonical symbol.
    session
        Shape (n,), ascending dates.
    close, adj_close
        Shape (n,): the close as traded, and adjusted for splits and dividends.
    """
    factor = adj_close / close
    jump = factor[1:] / factor[:-1]
    splits = []
    for k in np.flatnonzero(np.maximum(jump, 1 / jump) >= _SMALLEST_MOVE * (1 - _EXACT)) + 1:
        f = float(jump[k - 1])
        ratio = Fraction(f).limit_denominator(_LARGEST_TERM)
        if ratio.numerator > _LARGEST_TERM or abs(f / ratio - 1) > _EXACT:
            continue
        market = close[k] / close[k - 1] * f
        if 1 / _MARKET_MOVE < market < _MARKET_MOVE:
            splits.append(Split(symbol, session[k].item(), ratio))
    return tuple(splits)


class SampleProvider:
    """Serves the sample, for a first run without internet or files.

    Raises
    ------
    ConfigurationError
        If the extra that holds the data is not installed.
    """

    name = VENDOR
    vendors = (VENDOR,)
    capabilities = frozenset({Capability.DAILY_BARS, Capability.LISTINGS})

    def __init__(self) -> None:
        try:
            stocks = import_module("bokeh_sampledata.stocks")
        except ImportError as error:
            raise ConfigurationError(
                "QM_SOURCE=sample needs the sample data: pip install 'quantmatrix-pipeline[sample]'"
            ) from error
        batches, self._splits = [], {}
        for symbol in SYMBOLS:
            columns = getattr(stocks, symbol)
            session = np.array(columns["date"], "datetime64[D]")
            values = {n: np.array(columns[n], np.float64) for n in ("open", "high", "low", "close", "volume")}
            batches.append(BarBatch((symbol,), np.zeros(len(session), np.int32), session, **values))
            self._splits[symbol] = infer_splits(symbol, session, values["close"], np.array(columns["adj_close"]))
        self._held = HeldBars(BarBatch.concat(batches))

    def newest_session(self, closed: date) -> date:
        """Return the newest session up to `closed` of the sample, which ends on 2013-03-01."""
        session = self._held.batch.session
        past = session[session <= np.datetime64(closed, "D")]
        if not len(past):
            raise ConfigurationError(f"the sample begins on {session.min()}, after {closed}; set QM_NOW later")
        return past.max().item()  # type: ignore[no-any-return]

    def listings(self) -> Sequence[Listing]:
        """Return the five stocks."""
        spans = self._held.spans()
        return tuple(
            Listing(s, name=name, first_bar=spans[s][0], last_bar=spans[s][1])
            for s, name in zip(SYMBOLS, _NAMES, strict=True)
        )

    async def daily_bars(self, requests: Sequence[BarRequest], *, concurrency: int) -> AsyncIterator[DailyAnswer]:
        """Yield one part: raw bars and the splits inferred from the whole sample."""
        yield DailyAnswer(
            vendor=VENDOR,
            basis=Basis.RAW,
            basis_date=None,
            bars=self._held.serve(requests),
            splits=tuple(split for r in requests for split in self._splits.get(r.symbol, ())),
            failures={
                r.symbol: SymbolNotFound(VENDOR, f"holds only {', '.join(SYMBOLS)}", symbol=r.symbol)
                for r in requests
                if r.symbol not in self._held
            },
        )

    async def splits_of(self, stretches: Mapping[str, tuple[date, date]]) -> Sequence[DailyAnswer]:
        """Return nothing: all that is known came with the bars."""
        return ()

    async def constituents(self, index: str, session: date) -> ConstituentsAnswer:
        """Refuse: five stocks are no index."""
        raise UnsupportedRequest(VENDOR, f"has no members of {index}")
