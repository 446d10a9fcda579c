"""Open gaps listed bar by bar, the two directions written out apart."""

from __future__ import annotations

from quantmatrix_pipeline_tests.unit.indicators.literal_td import Row, same
from quantmatrix_pipeline_tests.unit.indicators.panels import Floats


def open_gaps(high: Floats, low: Floats, close: Floats) -> list[Row]:
    """One row per bar from the second on: how many gaps are open, and which rules changed that."""
    rows: list[Row] = []
    up: list[tuple[float, float]] = []  # (bottom, top) of each zone
    down: list[tuple[float, float]] = []
    for bar in range(1, len(close)):
        rules = []
        for zone in [zone for zone in up if low[bar] < zone[0] or same(low[bar], zone[0])]:
            up.remove(zone)
            rules.append("gap up filled")
        for zone in [zone for zone in down if high[bar] > zone[1] or same(high[bar], zone[1])]:
            down.remove(zone)
            rules.append("gap down filled")
        width = (low[bar] - high[bar - 1]) / high[bar - 1]
        if width > 0.005 or abs(width - 0.005) <= 1e-12:
            up.append((high[bar - 1], low[bar]))
            rules.append("gap up")
        elif width > 0:
            rules.append("gap up too narrow")
        width = (low[bar - 1] - high[bar]) / low[bar - 1]
        if width > 0.005 or abs(width - 0.005) <= 1e-12:
            down.append((high[bar], low[bar - 1]))
            rules.append("gap down")
        elif width > 0:
            rules.append("gap down too narrow")
        rows.append({"gaps_unfilled_up": len(up), "gaps_unfilled_down": len(down), "rule": "; ".join(rules)})
    return rows
