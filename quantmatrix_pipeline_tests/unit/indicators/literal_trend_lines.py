"""Trend lines drawn anew at every bar from the lows and highs known by then, the two directions written out apart."""

from __future__ import annotations

from quantmatrix_pipeline_tests.unit.indicators.literal_td import Row, above, below, same
from quantmatrix_pipeline_tests.unit.indicators.panels import Floats

Line = tuple[int, int]  # bars of the older and the newer pivot


def average_true_range(high: Floats, low: Floats, close: Floats) -> list[float]:
    ranges = [
        max(high[k] - low[k], abs(high[k] - close[k - 1]), abs(low[k] - close[k - 1])) for k in range(1, len(close))
    ]
    result = [float("nan")] * min(14, len(close))
    for bar in range(14, len(close)):
        result.append(sum(ranges[:14]) / 14 if bar == 14 else (13 * result[-1] + ranges[bar - 1]) / 14)
    return result


def is_pivot_low(bar: int, low: Floats) -> bool:
    before, after = low[bar - 20 : bar], low[bar + 1 : bar + 21]
    return all(below(low[bar], x) or same(low[bar], x) for x in before) and all(below(low[bar], x) for x in after)


def is_pivot_high(bar: int, high: Floats) -> bool:
    before, after = high[bar - 20 : bar], high[bar + 1 : bar + 21]
    return all(above(high[bar], x) or same(high[bar], x) for x in before) and all(above(high[bar], x) for x in after)


def on_line(older: tuple[int, float], newer: tuple[int, float], bar: int) -> float:
    return older[1] + (newer[1] - older[1]) * (bar - older[0]) / (newer[0] - older[0])


def lines_up(bar: int, pivots: list[int], low: Floats, atr: list[float]) -> tuple[list[Line], list[Line]]:
    """The lines under the lows that hold at the bar, and those that are broken."""
    held, broken = [], []
    for newer in pivots[-3:]:
        lower = [older for older in pivots[-10:] if older < newer and below(low[older], low[newer])]
        if lower:
            older = lower[-1]
            ends = (older, low[older]), (newer, low[newer])
            pierced = any(
                below(low[k] + 0.1 * atr[k], on_line(*ends, k))
                and not abs(low[k] + 0.1 * atr[k] - on_line(*ends, k)) <= 1e-12 * low[k]
                for k in range(newer + 1, bar + 1)
            )
            (broken if pierced else held).append((older, newer))
    return held, broken


def lines_down(bar: int, pivots: list[int], high: Floats, atr: list[float]) -> tuple[list[Line], list[Line]]:
    held, broken = [], []
    for newer in pivots[-3:]:
        higher = [older for older in pivots[-10:] if older < newer and above(high[older], high[newer])]
        if higher:
            older = higher[-1]
            ends = (older, high[older]), (newer, high[newer])
            pierced = any(
                above(high[k] - 0.1 * atr[k], on_line(*ends, k))
                and not abs(high[k] - 0.1 * atr[k] - on_line(*ends, k)) <= 1e-12 * high[k]
                for k in range(newer + 1, bar + 1)
            )
            (broken if pierced else held).append((older, newer))
    return held, broken


def trend_lines(high: Floats, low: Floats, close: Floats) -> list[Row]:
    """One row per bar from the forty-first on: how many lines hold, and which rules changed that."""
    atr = average_true_range(high, low, close)
    lows: list[int] = []
    highs: list[int] = []
    rows: list[Row] = []
    before: dict[str, list[Line]] = {"up": [], "down": []}
    for bar in range(40, len(close)):
        rules = []
        if is_pivot_low(bar - 20, low):
            lows.append(bar - 20)
            rules.append("pivot low known")
        if is_pivot_high(bar - 20, high):
            highs.append(bar - 20)
            rules.append("pivot high known")
        held_up, broken_up = lines_up(bar, lows, low, atr)
        held_down, broken_down = lines_down(bar, highs, high, atr)
        for name, held, broken in (("up", held_up, broken_up), ("down", held_down, broken_down)):
            rules += [f"line {name} drawn" for line in held if line not in before[name]]
            gone = [line for line in before[name] if line not in held]
            rules += [f"line {name} broken" if line in broken else f"line {name} too old" for line in gone]
            before[name] = held
        rows.append({"trend_up_count": len(held_up), "trend_down_count": len(held_down), "rule": "; ".join(rules)})
    return rows
