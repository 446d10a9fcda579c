"""Which gaps are open and which trend lines hold at the last bar: the zones and lines behind the engine's counts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Literal

import numpy as np

from quantmatrix_pipeline.indicators.averages import TOLERANCE
from quantmatrix_pipeline.indicators.catalogue import GAP_PERCENT
from quantmatrix_pipeline.indicators.panel import Floats, Panel
from quantmatrix_pipeline.indicators.sides import just_above, just_below
from quantmatrix_pipeline.indicators.trend_lines import LEEWAY, LINES, PIVOT_BARS, PIVOTS

Side = Literal["up", "down"]


@dataclass(frozen=True, slots=True)
class Gap:
    """A zone from `low` to `high` that price jumped over with the bar in row `bar`."""

    side: Side
    bar: int
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class TrendLine:
    """A line through two pivots, each a row and its price: under lows (up) or over highs (down)."""

    side: Side
    older: tuple[int, float]
    newer: tuple[int, float]

    def at(self, bar: int) -> float:
        """Return the line's price in a row."""
        slope = (self.newer[1] - self.older[1]) / (self.newer[0] - self.older[0])
        return self.older[1] + slope * (bar - self.older[0])


def open_gaps(panel: Panel) -> list[Gap]:
    """Return the zones that `indicators.gaps` counts in the last row of a panel of one instrument, oldest first."""
    found = []
    for side, sign, near, far in _sides(panel):
        zones: list[int] = []  # the bars that opened them: price meets the newest first
        closes_at = just_above(far)
        wide = near[1:] >= far[:-1] + (GAP_PERCENT / 100 - TOLERANCE) * np.absolute(far[:-1])
        for bar in range(1, len(near)):
            while zones and near[bar] <= closes_at[zones[-1] - 1]:
                zones.pop()
            if wide[bar - 1]:
                zones.append(bar)
        for bar in zones:
            low, high = sorted((float(sign * far[bar - 1]), float(sign * near[bar])))
            found.append(Gap(side, bar, low, high))
    return sorted(found, key=lambda gap: gap.bar)


def trend_lines(panel: Panel, atr: Floats) -> list[TrendLine]:
    """Return the lines that `indicators.trend_lines` counts in the last row of a panel of one instrument.

    `atr` is ATR14, shape (bars,), in the unit of the panel's prices.
    """
    found = []
    for side, sign, low, _ in _sides(panel):
        pivots = list(islice(_pivots(low), PIVOTS))  # the newest first
        for place, newer in enumerate(pivots[:LINES]):
            lower = [older for older in pivots[place + 1 :] if low[older] < just_below(low[newer])]
            if not lower:
                continue
            since = np.arange(newer + 1, len(low))
            slope = (low[newer] - low[lower[0]]) / (newer - lower[0])
            bound = low[since] + LEEWAY * atr[since] + TOLERANCE * np.absolute(low[since])
            if (low[newer] + slope * (since - newer) <= bound).all():
                ends = [(bar, float(sign * low[bar])) for bar in (lower[0], newer)]
                found.append(TrendLine(side, *ends))
    return found


def _sides(panel: Panel) -> tuple[tuple[Side, int, Floats, Floats], ...]:
    """Return lows and highs as they are, and upside down, so that one rule serves both."""
    low, high = panel.low[:, 0], panel.high[:, 0]
    return ("up", 1, low, high), ("down", -1, -high, -low)


def _pivots(low: Floats) -> Iterator[int]:
    """Yield the rows that are pivots and known in the last row, the newest first."""
    for bar in range(len(low) - 1 - PIVOT_BARS, PIVOT_BARS - 1, -1):
        before, after = low[bar - PIVOT_BARS : bar], low[bar + 1 : bar + 1 + PIVOT_BARS]
        if low[bar] < just_below(after.min()) and low[bar] <= just_above(before.min()):
            yield bar
