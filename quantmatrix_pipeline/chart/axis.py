"""The axis that all panes share: bars at equal distances, with dates where a month (or another period) begins."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

from quantmatrix_pipeline.chart.style import WIDTH

MOST_TICKS = 18
LEAST_ROOM = 30  # bars: fewer stand at the left, or their bodies would be as wide as a hand

_DAYS = "%-d %b"
_PERIODS: tuple[tuple[Callable[[date], object], str], ...] = (  # what a tick begins, and how it is written
    (lambda day: day.isocalendar()[:2], _DAYS),
    (lambda day: (day.year, day.month), "%b"),
    (lambda day: (day.year, (day.month - 1) // 3), "%b"),
    (lambda day: day.year, "%Y"),
)


@dataclass(frozen=True, slots=True)
class BarAxis:
    """Positions and labels of the bars from 0 on.

    Attributes
    ----------
    count
        How many bars have room.
    ticks
        Bar -> its label, where a period begins.
    labelled
        Whether the labels are written; the lowest pane does.
    """

    count: int
    ticks: dict[int, str]
    labelled: bool = False

    @classmethod
    def of(cls, sessions: Sequence[date]) -> BarAxis:
        """Label the beginnings of days, weeks, months, quarters or years: the first of which there are few enough."""
        begins, written = _begins(sessions)
        years = [sessions[k].year for k in begins]
        ticks = {
            begin: _label(sessions[begin], written, new_year=years[k] not in years[:k])
            for k, begin in enumerate(begins)
        }
        return cls(max(len(sessions), LEAST_ROOM), ticks)

    @property
    def step(self) -> float:
        """Pixels from bar to bar before anybody zooms."""
        return WIDTH / (self.count + 1)

    def with_labels(self) -> BarAxis:
        """Return the axis of the lowest pane."""
        return replace(self, labelled=True)

    def x(self, field: str = "bar") -> dict[str, Any]:
        """Return the channel that puts something at the bar that a field names."""
        # Vega evaluates the labels: an object literal looked up by the tick's value.
        written = f"({json.dumps({str(k): text for k, text in self.ticks.items()})})[datum.value]"
        return {
            "field": field,
            "type": "quantitative",
            "scale": {"domain": [-1, self.count], "nice": False, "zero": False},
            "axis": {
                "title": None,
                "values": list(self.ticks),
                "labelExpr": written,
                "labels": self.labelled,
                "ticks": self.labelled,
                "labelOverlap": "greedy",
                "labelFlush": 24,
            },
        }


def _begins(sessions: Sequence[date]) -> tuple[list[int], str]:
    begins, written = list(range(len(sessions))), _DAYS
    for period, name in _PERIODS:
        if len(begins) <= MOST_TICKS:
            break
        begins = [k for k in range(1, len(sessions)) if period(sessions[k]) != period(sessions[k - 1])]
        written = name
    return begins, written


def _label(day: date, written: str, *, new_year: bool) -> str:
    label = f"{day:{written}}"
    return f"{label} {day.year}" if new_year and written != "%Y" else label
