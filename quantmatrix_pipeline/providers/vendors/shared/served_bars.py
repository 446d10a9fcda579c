"""From the bars that a vendor gave to the answer: those that were asked for, and none that had not closed yet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from types import MappingProxyType

import numpy as np

from quantmatrix_pipeline.bars.batch import BarBatch, Basis, Dates, Floats
from quantmatrix_pipeline.errors import SymbolNotFound
from quantmatrix_pipeline.providers.answers import DailyAnswer, Instants, IntradayBars
from quantmatrix_pipeline.providers.contract import BarRequest, Capability, IntradayRequest
from quantmatrix_pipeline.providers.transport.reading import one_symbol
from quantmatrix_pipeline.providers.vendors.shared.held_bars import HeldBars
from quantmatrix_pipeline.providers.vendors.shared.market_hours import closed_bars, closed_sessions

INTRADAY: Mapping[str, Capability] = MappingProxyType({"1m": Capability.BARS_1M, "5m": Capability.BARS_5M})
# Asked for before the first session, over any holidays: a known symbol then has a bar, if not on the day asked for.
MARGIN = timedelta(days=10)


@dataclass(frozen=True, slots=True)
class BarsPart:
    """n bars of one symbol as they came, in any order: one page or one stretch of an answer.

    Attributes
    ----------
    opened_at
        Shape (n,).
    columns
        Open, high, low, close and volume, each of shape (n,).
    learned_at
        When they came.
    """

    opened_at: Instants
    columns: tuple[Floats, ...]
    learned_at: datetime

    def __len__(self) -> int:
        return len(self.opened_at)


def united(parts: Sequence[BarsPart]) -> tuple[Instants, list[Floats]]:
    """Return the bars of parts that may overlap, ascending: where two open at one time, the part named first counts."""
    opened_at, place = np.unique(np.concatenate([part.opened_at for part in parts]), return_index=True)
    return opened_at, [np.concatenate(column)[place] for column in zip(*(p.columns for p in parts), strict=True)]


def no_bar(vendor: str, symbol: str | None, first: date | str, last: date | str) -> SymbolNotFound:
    """Return the error for an answer without any bar, where an unknown symbol is answered like a time without trade."""
    what = f"no bar from {first} to {last}: not known there, or not traded in that time"
    return SymbolNotFound(vendor, what, symbol=symbol)


def closed_daily_bars(symbol: str, session: Dates, columns: Sequence[Floats], at: datetime) -> BarBatch:
    """Return a symbol's bars of the sessions of the US exchanges that had closed at an instant, ascending.

    Parameters
    ----------
    columns
        Open, high, low, close and volume, each of the shape of `session`.
    """
    closed = closed_sessions(session, at)
    return one_symbol(symbol, session[closed], [column[closed] for column in columns])


def serve_daily(
    vendor: str, request: BarRequest, bars: BarBatch, learned_at: datetime, *, adjusted_until: date | None = None
) -> DailyAnswer:
    """Return a symbol's bars on the sessions asked for.

    Parameters
    ----------
    adjusted_until
        The last day whose splits the prices contain; None: they are as traded.
    """
    served = HeldBars(bars).serve([request], weekends=False)
    return DailyAnswer(
        vendor,
        Basis.RAW if adjusted_until is None else Basis.SPLIT,
        adjusted_until,
        served if len(served) else BarBatch.empty(),
        silent=() if len(served) else (request.symbol,),
        learned_at=learned_at,
    )


def serve_intraday(
    vendor: str,
    request: IntradayRequest,
    opened_at: Instants,
    columns: Sequence[Floats],
    learned_at: datetime,
    *,
    known_until: datetime | None = None,
    adjusted_until: date | None = None,
) -> IntradayBars:
    """Return the bars that open at or after the request's start and before its end, and have closed.

    Parameters
    ----------
    opened_at
        Ascending, shape (n,).
    columns
        Open, high, low, close and volume, each of shape (n,).
    learned_at
        When they came.
    known_until
        The instant up to which they tell of the market, where that is not `learned_at`.
    adjusted_until
        The last day whose splits the prices contain; None: they are as traded.
    """
    start, end = (np.datetime64(at.astimezone(UTC).replace(tzinfo=None)) for at in (request.start, request.end))
    inside = (opened_at >= start) & (opened_at < end)
    inside &= closed_bars(opened_at, request.interval, known_until or learned_at)
    opened, high, low, close, volume = (column[inside] for column in columns)
    return IntradayBars(
        vendor=vendor,
        symbol=request.symbol,
        interval=request.interval,
        basis=Basis.RAW if adjusted_until is None else Basis.SPLIT,
        basis_date=adjusted_until,
        opened_at=opened_at[inside],
        open=opened,
        high=high,
        low=low,
        close=close,
        volume=volume,
        learned_at=learned_at,
    )
