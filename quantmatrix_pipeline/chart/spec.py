"""The picture as a Vega-Lite spec: panes over one another that share the axis of the bars."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Any

from quantmatrix_pipeline.chart import panes
from quantmatrix_pipeline.chart.axis import BarAxis
from quantmatrix_pipeline.chart.datasets import Records
from quantmatrix_pipeline.chart.interactive import interactive
from quantmatrix_pipeline.chart.marks import price_format
from quantmatrix_pipeline.chart.price_pane import prices
from quantmatrix_pipeline.chart.style import CONFIG

SCHEMA = "https://vega.github.io/schema/vega-lite/v6.4.0.json"  # the version's name, not a place that is asked


@dataclass(frozen=True, slots=True)
class Subject:
    """Whose picture it is.

    Attributes
    ----------
    symbol, name, currency
        As stored; not every instrument has a name.
    dividends_in
        Whether its prices include dividends, because a source had adjusted them so.
    """

    symbol: str
    name: str | None = None
    currency: str = "USD"
    dividends_in: bool = False


def picture(data: dict[str, Records], subject: Subject) -> dict[str, Any]:
    """Return the spec of a still picture of `datasets.datasets`; it carries its data and asks nobody for anything."""
    return _drawn(data, subject)[0]


def page(data: dict[str, Records], subject: Subject) -> dict[str, Any]:
    """Return the spec of the same for a page, where a pointer asks for values and moves along the bars."""
    return interactive(*_drawn(data, subject))


def _drawn(data: dict[str, Records], subject: Subject) -> tuple[dict[str, Any], BarAxis, str]:
    last = data["bars"][-1]
    written = price_format(last["close"])
    axis = BarAxis.of([date.fromisoformat(row["session"]) for row in data["bars"]])
    title = f"{subject.symbol} {subject.name}" if subject.name else subject.symbol
    drawn = {
        "$schema": SCHEMA,
        "title": {"text": f"{title} · {last['session']}", "subtitle": " · ".join(_facts(data, subject))},
        "datasets": data,
        "vconcat": [
            prices(axis, written, data["bars"]),
            panes.stage(axis),
            panes.volume(axis),
            panes.rsi(axis),
            panes.macd(axis.with_labels(), written),
        ],
        "spacing": 8,
        "resolve": {"scale": {"x": "shared"}},
        "config": CONFIG,
    }
    return drawn, axis, written


def _facts(data: dict[str, Records], subject: Subject) -> list[str]:
    """Return what the last bar says."""
    last = data["bars"][-1]
    adjusted = "adjusted for splits and dividends" if subject.dividends_in else "split-adjusted"
    facts = [f"close {last['close']:{price_format(last['close'])}} {subject.currency}, {adjusted}"]
    if last["rsi"] is not None:
        facts.append(f"RSI {last['rsi']:.1f}")
    if data["stages"] and data["stages"][-1]["end"] == last["bar"]:
        facts.append(f"weekly stage {last['stage_label']}")
    for what, sided in (("open gaps", "gaps_unfilled_{}"), ("trend lines", "trend_{}_count")):
        up, down = (last[sided.format(side)] for side in ("up", "down"))
        if up is not None:
            facts.append(f"{what} {up} up, {down} down")
    return facts
