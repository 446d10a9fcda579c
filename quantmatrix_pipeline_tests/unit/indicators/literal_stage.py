"""The weekly stage worked out slowly and literally, and the answers worked out by it.

`python -m quantmatrix_pipeline_tests.unit.indicators.literal_stage` writes answers/weekly_stage.csv anew.
"""

from __future__ import annotations

import csv
import datetime as dt
import math
from dataclasses import dataclass
from pathlib import Path

from quantmatrix_pipeline_tests.unit.indicators.panels import named_panel

ANSWERS = Path(__file__).resolve().parents[2] / "answers" / "weekly_stage.csv"
STRETCHES = {  # each with its turns: a top and a fall in the winter of 2018, a crash and a recovery in 2020
    "AAPL": ("2018-08-01", "2019-08-30"),
    "IBM": ("2019-06-03", "2020-09-30"),
    "MSFT": ("2015-07-01", "2016-10-31"),
    "SPY": ("2019-12-02", "2020-10-30"),
}
FLAT, NEAR, FAR = 0.05, 5.0, 15.0
EPSILON = 1e-12


@dataclass(frozen=True)
class Stage:
    """What one bar comes to; None and UNKNOWN where there is too little history."""

    weeks: int
    average: float | None = None
    slope: float | None = None
    distance: float | None = None
    label: str = "UNKNOWN"
    rule: str = "fewer than 35 weeks"


def above(a: float, b: float) -> bool:
    return a > b and not math.isclose(a, b, rel_tol=EPSILON)


def average(closes: list[float], back: int) -> float:
    """The mean of 30 weekly closes, the last of them `back` weeks before the end."""
    end = len(closes) - back
    return math.fsum(closes[end - 30 : end]) / 30


def trend(closes: list[float], flat: float) -> str | None:
    """2 or 4 as the last of these weeks has it, None where it is neither."""
    now, before, close = average(closes, 0), average(closes, 1), closes[-1]
    if above(now, before * (1 + flat / 100)) and above(close, now):
        return "2"
    if above(before * (1 - flat / 100), now) and above(now, close):
        return "4"
    return None


def stage(closes: list[float], last: str | None, flat: float, near: float, far: float) -> Stage:
    """The stage at the end of these weekly closes; `last` is what the newest completed week with a trend had."""
    mean = average(closes, 0)
    close = closes[-1]
    distance = 100 * (close / mean - 1)
    own = trend(closes, flat)
    within_near = not above(close, mean * (1 + near / 100))
    if own == "2" and within_near:
        label, rule = "2A", "rises and price to 5 % above"
    elif own == "2" and not above(close, mean * (1 + far / 100)):
        label, rule = "2B", "rises and price to 15 % above"
    elif own == "2":
        label, rule = "2C", "rises and price beyond 15 % above"
    elif own == "4":
        label, rule = "4", "falls and price below"
    elif last == "2":
        label, rule = "3", "no trend after 2"
    elif last == "4":
        label, rule = "1", "no trend after 4"
    elif within_near and not above(mean * (1 - near / 100), close):
        label, rule = "1", "no trend yet and near the average"
    else:
        label, rule = "3", "no trend yet and far from the average"
    return Stage(len(closes), mean, 100 * (mean / average(closes, 5) - 1), distance, label, rule)


def stages(
    sessions: list[dt.date], close: list[float], flat: float = FLAT, near: float = NEAR, far: float = FAR
) -> list[Stage]:
    """The stage of every bar: at each one the weekly closes are those of whole weeks and, last, the week to date."""
    completed: list[float] = []
    last: str | None = None
    found: list[Stage] = []
    for bar, day in enumerate(sessions):
        if bar and day.isocalendar()[:2] != sessions[bar - 1].isocalendar()[:2]:
            completed.append(close[bar - 1])
            if len(completed) >= 35:
                last = trend(completed, flat) or last
        closes = [*completed, close[bar]]
        found.append(stage(closes, last, flat, near, far) if len(closes) >= 35 else Stage(len(closes)))
    return found


def write() -> None:
    with ANSWERS.open("w", newline="") as file:
        lines = csv.writer(file, lineterminator="\n")
        lines.writerow(["symbol", "session", "weeks", "sma_30w", "slope_pct", "distance_pct", "label", "rule"])
        for symbol, (first, last) in STRETCHES.items():
            panel = named_panel(symbol)
            days = panel.session[:, 0].tolist()
            for day, s in zip(days, stages(days, panel.close[:, 0].tolist()), strict=True):
                if first <= day.isoformat() <= last:
                    numbers = ("" if x is None else f"{x:.10g}" for x in (s.average, s.slope, s.distance))
                    lines.writerow([symbol, day, s.weeks, *numbers, s.label, s.rule])


if __name__ == "__main__":
    write()
