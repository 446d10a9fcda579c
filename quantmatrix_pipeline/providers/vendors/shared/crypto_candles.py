"""Candles of markets that never close: on the days and minutes of UTC, and only those that have ended."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import numpy.typing as npt

from quantmatrix_pipeline.bars.batch import Floats
from quantmatrix_pipeline.errors import MalformedResponse
from quantmatrix_pipeline.providers.answers import DailyAnswer, IntradayBars
from quantmatrix_pipeline.providers.contract import BarRequest, Capability, IntradayRequest
from quantmatrix_pipeline.providers.transport.calls import Call
from quantmatrix_pipeline.providers.transport.reading import one_symbol
from quantmatrix_pipeline.providers.vendors.shared import served_bars

Seconds = npt.NDArray[np.int64]  # since the epoch

DAY = 24 * 3600
INTRADAY = {"1m": Capability.CRYPTO_1M, "5m": Capability.CRYPTO_5M}


@dataclass(frozen=True, slots=True)
class Candles:
    """n candles of one page or more, ascending.

    Attributes
    ----------
    at
        Shape (n,): the second at which each opens.
    columns
        Open, high, low, close and volume, each of shape (n,).
    learned_at
        When they came; of several pages, when the last one did.
    """

    at: Seconds
    columns: tuple[Floats, ...]
    learned_at: datetime

    def __len__(self) -> int:
        return len(self.at)


def ended(vendor: str, call: Call, candles: Candles, step: int) -> Candles:
    """Return the candles of `step` seconds that had ended when they came; vendors append the one that is under way.

    Raises
    ------
    MalformedResponse
        If they are not in ascending order, or one does not begin on a whole step of UTC.
    """
    _check(vendor, call, candles, step)
    keep = candles.at + step <= int(candles.learned_at.timestamp())
    return Candles(candles.at[keep], tuple(column[keep] for column in candles.columns), candles.learned_at)


def joined(vendor: str, call: Call, pages: Sequence[Candles]) -> Candles:
    """Return several pages as one.

    Raises
    ------
    MalformedResponse
        If a page does not go on where the one before it ended.
    """
    at = np.concatenate([page.at for page in pages])
    columns = tuple(np.concatenate(column) for column in zip(*(page.columns for page in pages), strict=True))
    candles = Candles(at, columns, max(page.learned_at for page in pages))
    _check(vendor, call, candles, 1)
    return candles


def serve_daily(vendor: str, request: BarRequest, candles: Candles) -> DailyAnswer:
    """Return candles of a day as bars on the UTC days asked for."""
    session = (candles.at // DAY).astype("datetime64[D]")
    bars = one_symbol(request.symbol, session, candles.columns)
    return served_bars.serve_daily(vendor, request, bars, candles.learned_at)


def serve_intraday(vendor: str, request: IntradayRequest, candles: Candles) -> IntradayBars:
    """Return candles of minutes that open at or after the request's start and before its end."""
    opened_at = candles.at.astype("datetime64[s]")
    return served_bars.serve_intraday(vendor, request, opened_at, candles.columns, candles.learned_at)


def midnight(day: np.datetime64) -> int:
    """Return the second at which a UTC day begins."""
    return int(day.astype("datetime64[s]").astype(np.int64))


def at_milliseconds(stamp: int) -> datetime:
    """Return a stamp in milliseconds as an instant."""
    return datetime.fromtimestamp(stamp / 1000, UTC)


def _check(vendor: str, call: Call, candles: Candles, step: int) -> None:
    back = np.flatnonzero(np.diff(candles.at) <= 0)
    if len(back):
        what = f"{call.endpoint}: candle {back[0] + 2} does not begin after the one before it"
        raise MalformedResponse(vendor, what, symbol=call.symbol)
    off = np.flatnonzero(candles.at % step)
    if len(off):
        begins = datetime.fromtimestamp(int(candles.at[off[0]]), UTC)
        what = f"{call.endpoint}: candle {off[0] + 1} begins at {begins:%Y-%m-%d %H:%M:%S}, within a step of {step} s"
        raise MalformedResponse(vendor, what, symbol=call.symbol)
