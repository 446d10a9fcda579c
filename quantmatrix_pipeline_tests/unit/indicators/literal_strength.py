"""Mansfield's relative strength worked out slowly and literally, and the answers worked out by it.

`python -m quantmatrix_pipeline_tests.unit.indicators.literal_strength` writes answers/relative_strength.csv anew.
"""

from __future__ import annotations

import csv
import datetime as dt
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from quantmatrix_pipeline_tests.unit.indicators.panels import named_panel

ANSWERS = Path(__file__).resolve().parents[2] / "answers" / "relative_strength.csv"
STRETCHES = {
    "AAPL": ("2015-12-01", "2016-03-31"),
    "IBM": ("2020-02-03", "2020-05-29"),
    "MSFT": ("2018-11-01", "2019-02-28"),
    "SPY": ("2020-02-03", "2020-03-31"),
}


def week(day: dt.date) -> tuple[int, int]:
    return day.isocalendar()[:2]


def benchmark_close(day: dt.date, benchmark: Mapping[dt.date, float]) -> float:
    """The benchmark's close of the day, else its last one earlier in the same week."""
    for back in range(day.weekday() + 1):
        if (earlier := day - dt.timedelta(days=back)) in benchmark:
            return benchmark[earlier]
    return math.nan


def strengths(
    sessions: Sequence[dt.date], close: Sequence[float], benchmark: Mapping[dt.date, float]
) -> list[tuple[int, float, float]]:
    """Weeks so far, the mean of 52 weekly ratios and the strength, of every bar; NaN where it is not known."""
    completed: list[float] = []
    found = []
    for bar, day in enumerate(sessions):
        if bar and week(day) != week(sessions[bar - 1]):
            completed.append(close[bar - 1] / benchmark_close(sessions[bar - 1], benchmark))
        ratios = [*completed, close[bar] / benchmark_close(day, benchmark)]
        mean = math.nan if len(ratios) < 52 else sum(ratios[-52:]) / 52
        found.append((len(ratios), mean, 100 * (ratios[-1] / mean - 1)))
    return found


def write() -> None:
    spy = named_panel("SPY")
    benchmark = dict(zip(spy.session[:, 0].tolist(), spy.close[:, 0].tolist(), strict=True))
    with ANSWERS.open("w", newline="") as file:
        lines = csv.writer(file, lineterminator="\n")
        lines.writerow(["symbol", "session", "weeks", "mean_of_52", "rs_mansfield_pct", "rule"])
        for symbol, (first, last) in STRETCHES.items():
            panel = named_panel(symbol)
            days = panel.session[:, 0].tolist()
            before = 0
            for day, (weeks, mean, strength) in zip(
                days, strengths(days, panel.close[:, 0].tolist(), benchmark), strict=True
            ):
                rule = "fewer than 52 weeks" if weeks < 52 else "new week" if weeks > before else "week to date"
                before = weeks
                if first <= day.isoformat() <= last:
                    numbers = ("" if math.isnan(x) else f"{x:.10g}" for x in (mean, strength))
                    lines.writerow([symbol, day, weeks, *numbers, rule])


if __name__ == "__main__":
    write()
