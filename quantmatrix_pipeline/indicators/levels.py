"""Which gaps are open and which trend lines hold at the last bar: the zones and lines behind the engine's counts.

They are found anew from the bars, all at once where the engine goes bar by bar, and are as many as it counts.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from quantmatrix_pipeline.indicators.averages import TOLERANCE
from quantmatrix_pipeline.indicators.catalogue import GAP_PERCENT
from quantmatrix_pipeline.indicators.panel import Bools, Floats, Panel
from quantmatrix_pipeline.indicators.recursions import wilder
from quantmatrix_pipeline.indicators.sides import just_above, just_below
from quantmatrix_pipeline.indicators.trend_lines import LEEWAY, LINES, PIVOT_BARS, PIVOTS

Side = Literal["up", "down"]

_INSTRUMENTS_AT_ONCE = 256
_ATR = wilder(14, first=1)


@dataclass(frozen=True, slots=True)
class Gap:
    """A zone from `low` to `high` that price jumped over with the bar in row `bar`."""

    side: Side
    bar: int
    low: float
    high: float

    @property
    def percent(self) -> float:
        """The width, as a percentage of the edge at which price stood before."""
        return 100.0 * (self.high - self.low) / (self.low if self.side == "up" else self.high)


@dataclass(frozen=True, slots=True)
class TrendLine:
    """A line through two pivots, each a row and its price: under lows (up) or over highs (down)."""

    side: Side
    older: tuple[int, float]
    newer: tuple[int, float]

    @property
    def slope(self) -> float:
        """The price that the line gains with each bar."""
        return (self.newer[1] - self.older[1]) / (self.newer[0] - self.older[0])

    def at(self, bar: int) -> float:
        """Return the line's price in a row."""
        return self.older[1] + self.slope * (bar - self.older[0])


def open_gaps(panel: Panel) -> list[list[Gap]]:
    """Return, per instrument, the zones that `indicators.gaps` counts in its last row, oldest first.

    Edges are in the unit of the panel's prices.
    """
    found: list[list[Gap]] = [[] for _ in range(panel.width)]
    for first, some in _parts(panel):
        for side, sign, near, far in _sides(some):
            opened = np.zeros(near.shape, np.bool_)
            opened[1:] = near[1:] >= far[:-1] + (GAP_PERCENT / 100 - TOLERANCE) * np.absolute(far[:-1])
            opened[1:] &= _lowest_after(near)[1:] > just_above(far[:-1])
            for instrument, bar in zip(*(index.tolist() for index in np.nonzero(opened.T)), strict=True):
                low, high = sorted((float(sign * far[bar - 1, instrument]), float(sign * near[bar, instrument])))
                found[first + instrument].append(Gap(side, bar, low, high))
    return [sorted(zones, key=lambda gap: gap.bar) for zones in found]


def trend_lines(panel: Panel) -> list[list[TrendLine]]:
    """Return, per instrument, the lines that `indicators.trend_lines` counts in its last row, those under lows first,
    the newest of a side first. Prices are in the unit of the panel's.
    """
    found: list[list[TrendLine]] = [[] for _ in range(panel.width)]
    for first, some in _parts(panel):
        leeway = _leeway(some)
        for side, sign, low, _ in _sides(some):
            bound = low + leeway
            bound += TOLERANCE * np.absolute(low)
            pivots = _pivots(low)
            for instrument, length in enumerate(some.length.tolist()):
                own = np.ascontiguousarray(low[:length, instrument])
                places = np.flatnonzero(pivots[:length, instrument])[: -PIVOTS - 1 : -1].tolist()
                for older, newer in _lines(own, np.ascontiguousarray(bound[:length, instrument]), places):
                    ends = ((bar, float(sign * own[bar])) for bar in (older, newer))
                    found[first + instrument].append(TrendLine(side, *ends))
    return found


def _lines(low: Floats, bound: Floats, pivots: list[int]) -> Iterator[tuple[int, int]]:
    """Yield the older and the newer pivot of each line that holds; `pivots` are the last ten, the newest first."""
    for place, newer in enumerate(pivots[:LINES]):
        older = next((bar for bar in pivots[place + 1 :] if low[bar] < just_below(low[newer])), None)
        if older is not None:
            age = np.arange(1.0, len(low) - newer)
            slope = (low[newer] - low[older]) / (newer - older)
            if (low[newer] + slope * age <= bound[newer + 1 :]).all():
                yield older, newer


def _parts(panel: Panel) -> Iterator[tuple[int, Panel]]:
    for first in range(0, panel.width, _INSTRUMENTS_AT_ONCE):
        yield first, panel.select(np.arange(first, min(first + _INSTRUMENTS_AT_ONCE, panel.width)))


def _sides(panel: Panel) -> tuple[tuple[Side, int, Floats, Floats], ...]:
    """Return lows and highs as they are, and upside down, so that one rule serves both."""
    return ("up", 1, panel.low, panel.high), ("down", -1, -panel.high, -panel.low)


def _lowest_after(price: Floats) -> Floats:
    """Return the lowest price of all later rows; infinite where there is none."""
    lowest = np.full(price.shape, np.inf)
    ended = np.where(np.isnan(price), np.inf, price)
    lowest[:-1] = np.minimum.accumulate(ended[:0:-1], axis=0)[::-1]
    return lowest


def _pivots(low: Floats) -> Bools:
    """Return which rows are pivots that are known in the last row."""
    pivots = np.zeros(low.shape, np.bool_)
    if len(low) > 2 * PIVOT_BARS:
        lowest = _lowest_of_run(low)
        inner = low[PIVOT_BARS:-PIVOT_BARS]
        before, after = lowest[: len(inner)], lowest[PIVOT_BARS + 1 :]
        pivots[PIVOT_BARS:-PIVOT_BARS] = (inner < just_below(after)) & (inner <= just_above(before))
    return pivots


def _lowest_of_run(price: Floats) -> Floats:
    """Return the lowest price of each row and those after it, `PIVOT_BARS` in all, for the rows that have them."""
    size, lowest = 1, price
    while size < PIVOT_BARS:
        lag = min(size, PIVOT_BARS - size)
        lowest = np.minimum(lowest[:-lag], lowest[lag:])
        size += lag
    return lowest


def _leeway(panel: Panel) -> Floats:
    """Return by how much a price may lie beyond a line, shape (bars, n): a share of ATR14, where that is known."""
    span = np.maximum(panel.high[1:], panel.close[:-1]) - np.minimum(panel.low[1:], panel.close[:-1])
    leeway = np.full(panel.close.shape, np.nan)
    total = np.zeros(panel.width)
    for bar, own in enumerate(span, start=1):
        total = (total if bar <= _ATR.seed else total * _ATR.keep) + own
        if bar >= _ATR.seed:
            leeway[bar] = total * (LEEWAY * _ATR.weight)
    return leeway
